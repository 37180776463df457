"""A TorchScript trace (.torchscript)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..recorded import Recorded


class TorchScript(Recorded):
    """What `torch.jit.trace` makes."""

    suffix = ".torchscript"
    note = "traced: sizes are computed in the graph, while the device and every choice that Python made are fixed"

    def record(self, model: nn.Module, image: Tensor) -> Any:
        """Return the trace."""
        return torch.jit.trace(model, image, check_trace=False)

    def save(self, program: Any, file: io.BytesIO, texts: dict[str, str]) -> None:
        """Write a trace."""
        torch.jit.save(program, file, _extra_files=texts)

    def load(self, path: Path) -> nn.Module:
        """Return what runs a file."""
        module: nn.Module = torch.jit.load(str(path))
        return module
