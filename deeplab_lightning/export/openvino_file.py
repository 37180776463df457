"""OpenVINO, for Intel's processors and others: an `.xml` with the graph and a `.bin` with the weights beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from ..extras import need
from ..files import atomic_open
from .formats import Exported, Order
from .metadata import KEY, as_json
from .onnx_graph import LOGITS, drop_second_output, onnx_graph
from .running import openvino_runner, openvino_without_telemetry, runtime_of


def write(order: Order) -> Exported:
    """Write both files. In fp16 every float of the weights has 16 bits; they are turned back when a file is loaded.

    The network keeps its decoder: the one for ONNX Runtime (`blocked_decoder`) is no faster in OpenVINO.

    Raises:
        ConfigError: The extra `openvino` is missing, or the network has something that ONNX does not.
    """
    runtime = runtime_of("openvino")
    for package in ("onnx", "onnxscript"):
        need(package, "openvino", "Export to OpenVINO")
    proto = onnx_graph(order.model, order)
    threads, run_logits = torch.get_num_threads(), None
    if len(proto.graph.output) > 1:
        run_logits = openvino_runner(_files_of(proto, order), LOGITS, threads)
        drop_second_output(proto.graph)
    graph, weights = _files_of(proto, order)
    beside = order.path.with_suffix(".bin")
    with atomic_open(order.path) as xml, atomic_open(beside) as binary:  # the last one opened is in its place first
        xml.write(graph)
        binary.write(weights)
    run = openvino_runner(order.path, order.model.outputs, threads)
    return Exported(
        order.path,
        run,
        run if order.model.outputs == "logits" else run_logits,
        order.fixed_size,
        1 if order.one_size else None,
        runtime,
        (
            f"{order.sizes}; its weights stand in {beside.name}",
            "compile it with INFERENCE_PRECISION_HINT f32, as the gate does: by itself OpenVINO chooses bfloat16 or "
            "float16 where the processor has them",
        ),
        (beside,),
        beside,
    )


def _files_of(proto: Any, order: Order) -> tuple[bytes, bytes]:
    """Return what stands in the `.xml` and in the `.bin` of a graph."""
    openvino = openvino_without_telemetry()
    model = openvino.Core().read_model(proto.SerializeToString())
    model.set_rt_info(as_json(order.metadata), [KEY])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino.save_model(model, path, compress_to_fp16=order.precision == "fp16")
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
