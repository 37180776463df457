"""OpenVINO, for Intel's processors and others: an `.xml` with the graph and a `.bin` with the weights beside it."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...extras import need
from ...files import atomic_open
from ..format import NO_INT8, Exported, Format, Order, Run, RunToAll, sizes_in_words
from ..metadata import KEY, as_json

if TYPE_CHECKING:
    import numpy as np

IN_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""It computes in bfloat16 or float16 where the processor can, unless it is told not to."""


class OpenVINO(Format):
    """An `.xml` with the graph and a `.bin` with the weights beside it."""

    suffix = ".xml"
    precisions = ("fp32", "fp16")
    why_not = {  # noqa: RUF012
        "bf16": "Its weights are fp32 or fp16; either is computed in bfloat16 where OpenVINO is told to",
        "int8": NO_INT8,
    }
    made_in = ("fp16",)
    sizes = "either"
    finds_objects = True
    timed = True

    def write(self, order: Order) -> Exported:
        """Write both files. In fp16 every float of the weights has 16 bits; they are turned back when a file is loaded.

        The network keeps its decoder: the one for ONNX Runtime (`blocked_decoder`) is no faster in OpenVINO.

        Raises:
            ConfigError: The extra `openvino` is missing, or the network has something that ONNX does not.
        """
        import torch

        from ..onnx_ending import append_ending
        from ..onnx_graph import logits_taken_off, onnx_graph
        from ..panoptic_ending import OBJECT_OUTPUTS

        runtime = self.runtime()
        for package in ("onnx", "onnxscript"):
            need(package, "openvino", "Export to OpenVINO")
        proto = onnx_graph(order.model, order)
        finds_objects = order.model.objects is not None
        if finds_objects:
            append_ending(proto, order.model)
        threads = torch.get_num_threads()
        run_logits = logits_taken_off(proto, lambda output: self.runner(_files_of(proto, order), output, threads))
        graph, weights = _files_of(proto, order)
        beside = order.path.with_suffix(".bin")
        with atomic_open(order.path) as xml, atomic_open(beside) as binary:  # the last one opened is in its place first
            xml.write(graph)
            binary.write(weights)
        fixed_size = _read_back(order)
        run = self.runner(order.path, order.model.outputs, threads)
        return Exported(
            order.path,
            run,
            run if order.model.outputs == "logits" else run_logits,
            fixed_size,
            runtime,
            (
                f"{sizes_in_words(fixed_size)}; its weights stand in {beside.name}",
                "compile it with INFERENCE_PRECISION_HINT f32, as the gate does: by itself OpenVINO chooses bfloat16 "
                "or float16 where the processor has them",
            ),
            (beside,),
            beside,
            self.run_to(order.path, OBJECT_OUTPUTS, threads) if finds_objects else None,
        )

    def runtime(self) -> str:
        """Return the name and version of OpenVINO."""
        return f"openvino {openvino_without_telemetry().__version__.split('-')[0]}"

    def runner(self, path: Path | tuple[bytes, bytes], output: str, threads: int) -> Run:
        """Return what runs an `.xml`, or the content of both its files, to one output in OpenVINO on the CPU."""
        run = self.run_to(path, [output], threads)
        return lambda image: run(image)[0]

    def run_to(self, path: Path | tuple[bytes, bytes], outputs: Sequence[str], threads: int) -> RunToAll:
        """Return what runs an `.xml`, or the content of both its files, to several outputs."""
        core = the_core()
        read = core.read_model(*path) if isinstance(path, tuple) else core.read_model(path)
        options = {**IN_FLOAT32, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = core.compile_model(read, "CPU", options)

        def run(image: np.ndarray) -> list[np.ndarray]:
            made = compiled(image)
            return [made[output] for output in outputs]

        return run


def _read_back(order: Order) -> tuple[int, int] | None:
    """Return the one size that the file takes, None for any; refuse it where its weights have another precision."""
    model = the_core().read_model(order.path)
    names = {"f32": "fp32", "f16": "fp16"}
    constants = (node for node in model.get_ops() if node.get_type_name() == "Constant")
    kinds = ((math.prod(node.get_output_shape(0)), node.get_element_type().get_type_name()) for node in constants)
    order.expect_precision(max((size, names[kind]) for size, kind in kinds if kind in names)[1])
    *_, height, width = model.input(0).get_partial_shape()
    return None if height.is_dynamic else (height.get_length(), width.get_length())


def openvino_without_telemetry() -> Any:
    """Import OpenVINO without the package by which it tells its makers of each import.

    Raises:
        ConfigError: It is not installed.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # as if it were not installed; then a stub of OpenVINO's is used
    return need("openvino", "openvino", "OpenVINO")


@cache
def the_core() -> Any:
    """Return the one `openvino.Core` of this process, which is never let go.

    Where a processor has tiles (AMX), each core's plugin gives the thread a stack for signals and at its end the stack
    that was there before. Cores that end in another order than that of nested brackets leave the thread a stack
    that is freed, and the next signal, such as that of a program that ended, ends the process.
    """
    return openvino_without_telemetry().Core()


def _files_of(proto: Any, order: Order) -> tuple[bytes, bytes]:
    """Return what stands in the `.xml` and in the `.bin` of a graph."""
    model = the_core().read_model(proto.SerializeToString())
    model.set_rt_info(as_json(order.metadata), [KEY])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino_without_telemetry().save_model(model, path, compress_to_fp16=order.precision == "fp16")
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
