"""PyTorch's exported program (.pt2)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..format import Exported, Order, expect_open_sizes
from ..recorded import Recorded


class ExportedProgram(Recorded):
    """What `torch.export` makes: a graph in which sizes are symbols."""

    suffix = ".pt2"
    note = "height, width and batch are open; torch.export.load(FILE).module() runs it"

    def write(self, order: Order) -> Exported:
        """Write the file.

        Raises:
            ConfigError: The network cannot be recorded for open sizes.
        """
        expect_open_sizes(order.model.network, self.suffix)
        return super().write(order)

    def record(self, model: nn.Module, image: Tensor) -> Any:
        """Return the program, with batch, height and width open."""
        any_size = torch.export.Dim.DYNAMIC
        return torch.export.export(model, (image,), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},))

    def save(self, program: Any, file: io.BytesIO, texts: dict[str, str]) -> None:
        """Write a program."""
        torch.export.save(program, file, extra_files=texts)

    def load(self, path: Path) -> nn.Module:
        """Return what runs a file."""
        return torch.export.load(str(path)).module()
