"""PyTorch's own two: an exported program (.pt2), and a TorchScript trace."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..files import atomic_open
from .formats import Exported, Order, Run, expect_open_sizes
from .metadata import KEY, as_json

RUNTIME = f"torch {torch.__version__}"


def write(order: Order) -> Exported:
    """Write the file: `.pt2` by `torch.export`, `.torchscript` by `torch.jit.trace`.

    Raises:
        ConfigError: The network cannot be recorded.
    """
    if order.path.suffix == ".pt2":
        expect_open_sizes(order.model.network, order.path.suffix)
    record, save, load, note = _PT2 if order.path.suffix == ".pt2" else _TORCHSCRIPT
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of branches on sizes: the gate tries other sizes
            program = record(order.model, order.example)
            buffer = io.BytesIO()
            save(program, buffer, {f"{KEY}.json": as_json(order.metadata)})
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
            run_logits = _runner(record(of_logits, order.example))
    return Exported(order.path, _runner(load(str(order.path))), run_logits, None, None, RUNTIME, (note,))


def _exported(model: nn.Module, image: Tensor) -> Any:
    any_size = torch.export.Dim.DYNAMIC
    return torch.export.export(model, (image,), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},))


def _traced(model: nn.Module, image: Tensor) -> Any:
    return torch.jit.trace(model, image, check_trace=False)


def _runner(program: Any) -> Run:
    module = program.module() if isinstance(program, torch.export.ExportedProgram) else program

    @torch.no_grad()
    def run(image: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(np.ascontiguousarray(image))).numpy()

    return run


_PT2 = (
    _exported,
    lambda program, buffer, extra: torch.export.save(program, buffer, extra_files=extra),
    torch.export.load,
    "height, width and batch are open; torch.export.load(FILE).module() runs it",
)
_TORCHSCRIPT = (
    _traced,
    lambda program, buffer, extra: torch.jit.save(program, buffer, _extra_files=extra),
    torch.jit.load,
    "traced: sizes are computed in the graph, while the device and every choice that Python made are fixed",
)
