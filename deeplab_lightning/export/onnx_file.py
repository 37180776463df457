"""ONNX: every size and batch in one file, or one size; int8 by ONNX Runtime's static quantisation."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError
from ..extras import need
from ..files import atomic_open
from . import run_model
from .blocked_decoder import block_decoder
from .formats import Exported, Order, Run, expect_open_sizes
from .metadata import KEY, as_json
from .onnx_ending import append_ending

INPUT = "image"
LOGITS = "logits_for_the_gate"
QUANTISED = ("Conv", "ConvTranspose", "Relu", "Clip", "MaxPool", "Add", "Concat")
"""Operators of int8 networks."""
CONVOLUTIONS = ("Conv", "ConvTranspose")
RUNNER = "run_model.py"


def write(order: Order) -> Exported:
    """Write the file, and beside it a script that runs it with onnxruntime, numpy and Pillow alone.

    Raises:
        ConfigError: The extra `export` is missing, or the network has something that ONNX does not.
    """
    onnx = need("onnx", "export", "Export to ONNX")
    need("onnxscript", "export", "Export to ONNX")
    need("onnxruntime", "export", "Export to ONNX")
    if not order.one_size:
        expect_open_sizes(order.model.network, order.path.suffix)
    proto = _convert(order)
    if order.precision == "int8":
        proto = _quantise(proto, order)
    output = order.model.outputs
    if output != "coarse_logits":
        append_ending(
            proto, order.model, {output: output} if output == "logits" else {output: output, LOGITS: "logits"}
        )
    for key, text in ((KEY, as_json(order.metadata)), ("opset", str(order.opset))):
        proto.metadata_props.add(key=key, value=text)
    run_logits = _session(proto.SerializeToString(), LOGITS) if len(proto.graph.output) > 1 else None
    if run_logits is not None:
        _drop_second_output(proto.graph)
    onnx.checker.check_model(proto)
    with atomic_open(order.path) as file:
        file.write(proto.SerializeToString())
    runner = order.path.parent / RUNNER
    with atomic_open(runner) as file:
        file.write(Path(run_model.__file__).read_bytes())
    run = _session(str(order.path), output)
    height, width = order.example.shape[-2:]
    sizes = f"takes one picture of {height}x{width}" if order.one_size else "height, width and batch are open"
    return Exported(
        order.path,
        run,
        run if output == "logits" else run_logits,
        (height, width) if order.one_size else None,
        1 if order.one_size else None,
        f"onnxruntime {need('onnxruntime', 'export', 'Export to ONNX').__version__}",
        (f"opset {order.opset}; {sizes}",),
        (runner,),
    )


def _convert(order: Order) -> Any:
    """Return the graph from the picture to coarse logits."""
    model = copy.deepcopy(order.model)
    model.outputs = "coarse_logits"
    if order.precision == "fp32":  # fp16 gains nothing, and int8 would round every part of a sum by itself
        block_decoder(model.network, order.one_size)
    any_size = torch.export.Dim.DYNAMIC
    open_sizes = None if order.one_size else ({0: any_size, 2: any_size, 3: any_size},)
    image = order.example[:1].clone() if order.one_size else order.example
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                model.eval(),
                (image,),
                dynamo=True,
                dynamic_shapes=open_sizes,
                input_names=[INPUT],
                output_names=["coarse_logits"],
                opset_version=order.opset,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ConfigError(
            f"{type(order.model.network).__name__} cannot be written as ONNX of opset {order.opset}: {reason}. What "
            f"works is --format torchscript."
        ) from error
    assert program is not None
    return _named_sizes(program.model_proto)


def _named_sizes(proto: Any) -> Any:
    """Call the open sizes what they are: batch, height, width."""
    names = {0: "batch", 2: "height", 3: "width"}
    sizes = proto.graph.input[0].type.tensor_type.shape.dim
    renamed = {sizes[axis].dim_param: name for axis, name in names.items() if sizes[axis].dim_param}
    for value in [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in renamed:
                size.dim_param = renamed[size.dim_param]
    return proto


def _drop_second_output(graph: Any) -> None:
    """Remove it with all that only it needs: ONNX Runtime would go on computing that."""
    del graph.output[1]
    needed = {graph.output[0].name}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _session(model: str | bytes, output: str) -> Run:
    """Return what runs a model to one output, with as many threads as PyTorch has."""
    onnxruntime = need("onnxruntime", "export", "Running ONNX")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run([output], {INPUT: image})[0]


def _quantise(proto: Any, order: Order) -> Any:
    """Return the graph with weights and activations of 8 bits, measured on the calibration pictures."""
    assert order.calibration is not None
    import onnx

    quantization: Any = need("onnxruntime.quantization", "export", "int8")
    quant_pre_process = need("onnxruntime.quantization.shape_inference", "export", "int8").quant_pre_process

    pictures = order.calibration

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = iter(pictures())

        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(self.left, None)
            return None if picture is None else {INPUT: picture}

    with tempfile.TemporaryDirectory() as folder, _quiet():
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters say to their own developers to themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
