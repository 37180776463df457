"""What PyTorch's own two formats share: a recording of the network, saved with its metadata."""

from __future__ import annotations

import copy
import io
import warnings
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..files import atomic_open
from .format import NO_INT8, Exported, Format, Order, Run
from .metadata import KEY, as_json

PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class Recorded(Format):
    """A network as PyTorch records it."""

    precisions = ("fp32", "fp16", "bf16")
    why_not = {"int8": NO_INT8}  # noqa: RUF012 - it is not changed
    folded = True
    note: ClassVar[str]
    """What a user must know of the file."""

    @abstractmethod
    def record(self, model: nn.Module, image: Tensor) -> Any:
        """Return the network as it runs on an image."""

    @abstractmethod
    def save(self, program: Any, file: io.BytesIO, texts: dict[str, str]) -> None:
        """Write a recording, and texts by name beside it in the file."""

    @abstractmethod
    def load(self, path: Path) -> nn.Module:
        """Return what runs a file."""

    def write(self, order: Order) -> Exported:
        """Write the file.

        Raises:
            ConfigError: The network cannot be recorded.
        """
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of branches on sizes: the gate tries other sizes
                program = self.record(order.model, order.example)
                buffer = io.BytesIO()
                self.save(program, buffer, {f"{KEY}.json": as_json(order.metadata)})
        except (RuntimeError, torch._dynamo.exc.Unsupported) as error:
            raise ConfigError(
                f"{type(order.model.network).__name__} cannot be written as {order.path.suffix}: "
                f"{str(error).strip().splitlines()[0]}. What may work is --format onnx."
            ) from error
        with atomic_open(order.path) as file:
            file.write(buffer.getvalue())
        run_logits = None
        if order.model.outputs != "coarse_logits":
            of_logits = copy.copy(order.model)
            of_logits.outputs = "logits"
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                recorded = self.record(of_logits, order.example)
            run_logits = _runner(recorded.module() if hasattr(recorded, "module") else recorded)
        loaded = self.load(order.path)
        weights = [value for value in loaded.state_dict().values() if value.dtype in PRECISIONS]
        order.expect_precision(PRECISIONS[max(weights, key=Tensor.numel).dtype])
        return Exported(order.path, _runner(loaded), run_logits, None, self.runtime(), (self.note,))

    def runtime(self) -> str:
        """Return the version of PyTorch."""
        return f"torch {torch.__version__}"


def _runner(module: nn.Module) -> Run:
    @torch.no_grad()
    def run(image: np.ndarray) -> np.ndarray:
        result: Tensor = module(torch.from_numpy(np.ascontiguousarray(image)))
        return result.numpy()

    return run
