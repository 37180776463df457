"""Runs written files as other programs do: numpy and the runtime, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..extras import need

Run = Callable[[np.ndarray], np.ndarray]
"""A picture `(B, C, H, W)` in, one output out."""


def onnx_runner(model: Path | bytes, output: str, threads: int) -> Run:
    """Return what runs an ONNX model, a file or its content, to one output in ONNX Runtime on the CPU."""
    onnxruntime = need("onnxruntime", "export", "Running ONNX")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    given = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run([output], {name: image})[0]
