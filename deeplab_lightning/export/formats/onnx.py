"""ONNX: every size and batch in one file, or one size; int8 by ONNX Runtime's static quantisation."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...extras import need
from ...files import atomic_open
from .. import run_model
from ..format import Exported, Format, Order, Run, RunToAll, sizes_in_words
from ..metadata import KEY, as_json

QUANTISED = ("Conv", "ConvTranspose", "Relu", "Clip", "MaxPool", "Add", "Concat")
"""Operators of int8 networks."""
CONVOLUTIONS = ("Conv", "ConvTranspose")
RUNNER = "run_model.py"


class ONNX(Format):
    """One file for every size and batch, or for one size."""

    suffix = ".onnx"
    precisions = ("fp32", "fp16", "int8")
    why_not = {"bf16": "ONNX Runtime has no bfloat16 convolutions on a CPU: fp16 in ONNX, or --format pt2"}  # noqa: RUF012
    made_in = ("int8",)
    sizes = "either"
    finds_objects = True
    timed = True

    def write(self, order: Order) -> Exported:
        """Write the file, and beside it a script that runs it with onnxruntime, numpy and Pillow alone.

        Raises:
            ConfigError: The extra `export` is missing, or the network has something that ONNX does not.
        """
        import torch

        from ..blocked_decoder import block_decoder
        from ..onnx_ending import append_ending
        from ..onnx_graph import fixed_size_of, logits_taken_off, onnx_graph, opset_of, precision_of
        from ..panoptic_ending import OBJECT_OUTPUTS

        onnx = need("onnx", "export", "Export to ONNX")
        need("onnxscript", "export", "Export to ONNX")
        runtime = self.runtime()
        model = copy.deepcopy(order.model)
        model.outputs = "coarse_logits"
        if order.precision == "fp32":  # fp16 gains nothing, and int8 would round every part of a sum by itself
            block_decoder(model.network, order.one_size)
        proto = onnx_graph(model, order)
        if order.precision == "int8":
            proto = _quantise(proto, order)
        append_ending(proto, order.model)
        for key, text in ((KEY, as_json(order.metadata)), ("opset", str(opset_of(proto)))):
            proto.metadata_props.add(key=key, value=text)
        threads = torch.get_num_threads()
        run_logits = logits_taken_off(proto, lambda output: self.runner(proto.SerializeToString(), output, threads))
        onnx.checker.check_model(proto)
        with atomic_open(order.path) as file:
            file.write(proto.SerializeToString())
        runner = order.path.parent / RUNNER
        with atomic_open(runner) as file:
            file.write(Path(run_model.__file__).read_bytes())
        written = onnx.load(order.path)
        order.expect_precision(precision_of(written))
        fixed_size = fixed_size_of(written)
        run = self.runner(order.path, order.model.outputs, threads)
        finds_objects = order.model.objects is not None
        return Exported(
            order.path,
            run,
            run if order.model.outputs == "logits" else run_logits,
            fixed_size,
            runtime,
            (f"opset {opset_of(written)}; {sizes_in_words(fixed_size)}",),
            (runner,),
            run_objects=self.run_to(order.path, OBJECT_OUTPUTS, threads) if finds_objects else None,
        )

    def runtime(self) -> str:
        """Return the name and version of ONNX Runtime."""
        return f"onnxruntime {_onnxruntime().__version__.split('-')[0]}"

    def runner(self, path: Path | bytes, output: str, threads: int) -> Run:
        """Return what runs a file, or its content, to one output in ONNX Runtime on the CPU."""
        run = self.run_to(path, [output], threads)
        return lambda image: run(image)[0]

    def run_to(self, path: Path | bytes, outputs: Sequence[str], threads: int) -> RunToAll:
        """Return what runs a file, or its content, to several outputs."""
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        given = path if isinstance(path, bytes) else str(path)
        session = runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda image: session.run(list(outputs), {name: image})


def _onnxruntime() -> Any:
    return need("onnxruntime", "export", "ONNX")


def _quantise(proto: Any, order: Order) -> Any:
    """Return the graph with weights and activations of 8 bits, measured on the calibration images."""
    assert order.calibration is not None
    import onnx

    from ..onnx_graph import INPUT, quiet

    quantization: Any = need("onnxruntime.quantization", "export", "int8")
    quant_pre_process = need("onnxruntime.quantization.shape_inference", "export", "int8").quant_pre_process

    images = order.calibration

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = iter(images())

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {INPUT: image}

    with tempfile.TemporaryDirectory() as folder, quiet():
        given, prepared, made = (str(Path(folder, f"{name}.onnx")) for name in ("given", "prepared", "made"))
        onnx.save(proto, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)  # batch norms go into their convolutions
        beside = _beside_the_network(onnx.load(prepared).graph)
        quantization.quantize_static(
            prepared,
            made,
            Reader(),
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=beside,
            per_channel=True,
            reduce_range=True,  # without it, 8 bit sums overflow on CPUs that lack VNNI
            extra_options={"ActivationSymmetric": False},
        )
        return onnx.load(made)


def _beside_the_network(graph: Any) -> list[str]:
    """Return the nodes whose values come from no convolution: the normalisation, and the sizes that are computed."""
    of_network: set[str] = set()
    beside = []
    for node in graph.node:  # in order: what a node reads was made before
        if node.op_type in CONVOLUTIONS or (node.op_type != "Shape" and of_network.intersection(node.input)):
            of_network.update(node.output)
        else:
            beside.append(node.name)
    return beside
