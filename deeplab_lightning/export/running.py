"""Runs written files as other programs do: numpy and the runtime, without PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import need

Run = Callable[[np.ndarray], np.ndarray]
"""An image `(B, C, H, W)` in, one output out."""
IN_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""For OpenVINO: it computes in bfloat16 or float16 where the processor can, unless it is told not to."""


def onnx_runner(model: Path | bytes, output: str, threads: int) -> Run:
    """Return what runs an ONNX model, a file or its content, to one output in ONNX Runtime on the CPU."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    given = model if isinstance(model, bytes) else str(model)
    session = runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run([output], {name: image})[0]


def openvino_runner(model: Path | tuple[bytes, bytes], output: str, threads: int) -> Run:
    """Return what runs a model, an `.xml` or the content of both its files, to one output in OpenVINO on the CPU."""
    core = openvino_without_telemetry().Core()
    read = core.read_model(*model) if isinstance(model, tuple) else core.read_model(model)
    options = {**IN_FLOAT32, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(read, "CPU", options)
    return lambda image: compiled(image)[output]


def openvino_without_telemetry() -> Any:
    """Import OpenVINO without the package by which it tells its makers of each import.

    Raises:
        ConfigError: It is not installed.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # as if it were not installed; then a stub of OpenVINO's is used
    return need("openvino", "openvino", "OpenVINO")


def onnxruntime() -> Any:
    """Import ONNX Runtime.

    Raises:
        ConfigError: It is not installed.
    """
    return need("onnxruntime", "export", "ONNX")


def runtime_of(format: str) -> str:
    """Return what runs files of a format, with its version: `onnxruntime 1.32.0`.

    Raises:
        ConfigError: It is not installed.
    """
    package = {"onnx": onnxruntime, "openvino": openvino_without_telemetry}[format]()
    return f"{package.__name__} {package.__version__.split('-')[0]}"


RUNNERS: dict[str, Callable[[Path, str, int], Run]] = {"onnx": onnx_runner, "openvino": openvino_runner}
"""Format -> what runs a file of it."""
