"""The ONNX graph of a model, which ONNX files and OpenVINO's are made from."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError
from .format import Order, Run, expect_open_sizes
from .model import ImageModel, WithLogits
from .panoptic_ending import CENTRES, OFFSETS, CoarseMaps

INPUT = "image"
LOGITS = "logits_for_the_gate"


def onnx_graph(model: ImageModel, order: Order) -> Any:
    """Return the graph of an order's model, or of one that computes the same.

    Its second output, where the first is no logits, is for the gate. The graph of a model that finds objects ends in
    `CoarseMaps`, for `append_ending` to go on from.

    Raises:
        ConfigError: The network has something that ONNX does not, or not for open sizes.
    """
    if not order.one_size:
        expect_open_sizes(model.network, order.path.suffix)
    module: nn.Module = model
    outputs: list[str] = [model.outputs]
    if model.objects is not None:
        module, outputs = CoarseMaps(model), ["coarse_logits", CENTRES, OFFSETS]
    elif model.outputs in ("classes", "probs"):
        module, outputs = WithLogits(model), [model.outputs, LOGITS]
    any_size = torch.export.Dim.DYNAMIC
    open_sizes = None if order.one_size else ({0: any_size, 2: any_size, 3: any_size},)
    try:
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                module.eval(),
                (order.image,),
                dynamo=True,
                dynamic_shapes=open_sizes,
                input_names=[INPUT],
                output_names=outputs,
                opset_version=order.opset,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ConfigError(
            f"{type(model.network).__name__} cannot be written as ONNX of opset {order.opset}: {reason}. What "
            f"works is --format torchscript."
        ) from error
    assert program is not None
    proto = program.model_proto
    if (written := opset_of(proto)) != order.opset:
        raise ConfigError(
            f"--opset {order.opset}: PyTorch writes {type(model.network).__name__} in opset {written} in its place. "
            f"What works is --opset {written}."
        )
    return _named_sizes(proto)


def opset_of(proto: Any) -> int:
    """Return the opset that a graph is written in."""
    return next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))


def fixed_size_of(proto: Any) -> tuple[int, int] | None:
    """Return the `(H, W)` of the one image that a graph takes; None for any."""
    *_, height, width = proto.graph.input[0].type.tensor_type.shape.dim
    return (height.dim_value, width.dim_value) if height.dim_value else None


def precision_of(proto: Any) -> str:
    """Return the precision of a graph's weights: of the largest tensor."""
    from onnx import TensorProto

    names = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.INT8: "int8"}
    weights = [tensor for tensor in proto.graph.initializer if tensor.data_type in names]
    return names[max(weights, key=lambda tensor: math.prod(tensor.dims)).data_type]


def logits_taken_off(proto: Any, runner: Callable[[str], Run]) -> Run | None:
    """Remove the output for the gate with all that only it needs, which a runtime would go on computing.

    Returns:
        What runs the graph as it was to that output, made by `runner`; None where there is none.
    """
    graph = proto.graph
    kept_outputs = [output for output in graph.output if output.name != LOGITS]
    if len(kept_outputs) == len(graph.output):
        return None
    run_logits = runner(LOGITS)
    del graph.output[:]
    graph.output.extend(kept_outputs)
    needed = {output.name for output in kept_outputs}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            bodies = (attribute.g.node for attribute in node.attribute)  # of loops, which read what stands around them
            needed.update(name for body in bodies for inner in body for name in inner.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    return run_logits


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


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the exporters say to their own developers to themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
