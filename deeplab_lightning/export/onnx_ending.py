"""The end of an ONNX graph, from coarse logits to the output, in the order that ONNX Runtime computes fastest.

```
coarse logits ── channels last ── Resize ─┬─ ArgMax ── cut ── classes
(B, C, h, w)     (B, h, w, C)             ├─ Softmax ─ cut ── channels first ── probs
                                          └─ cut ── channels first ── logits
```

With a pixel's values side by side, `ArgMax` takes a third of the time that it takes over whole maps, and `Resize` half;
the coarse logits are small, so that turning them costs little.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from ..metrics.deciding import Decision
from ..models import Network
from .format import Outputs
from .model import NO_NUMBER, ImageModel
from .onnx_graph import LOGITS
from .onnx_nodes import Nodes
from .panoptic_ending import FullSizeMaps, append_objects

CHANNELS_LAST, CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def append_ending(proto: Any, model: ImageModel) -> None:
    """Let a graph that ends in coarse logits go on to what `model` gives.

    Where that is classes or probabilities, logits become a second output, `LOGITS`, for the gate. Where the model finds
    objects, what `append_objects` makes of their maps follows.

    Args:
        proto: Its only input is the image `(B, C, H, W)`, its outputs the coarse logits and, where the model finds
            objects, centres and offsets; it is changed.
        model: Whose network says where corners lie, and to which sides images are padded.
    """
    if model.outputs == "coarse_logits":
        return
    outputs: dict[str, Outputs] = {model.outputs: model.outputs}
    if model.outputs != "logits":
        outputs[LOGITS] = "logits"
    nodes = Nodes(proto.graph)
    types = nodes.onnx.TensorProto
    image, (coarse, *of_objects) = proto.graph.input[0], list(proto.graph.output)
    batch, _, height, width = (size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim)
    classes = coarse.type.tensor_type.shape.dim[1].dim_value
    aligned = model.network.align_corners
    del proto.graph.output[:]

    sides = nodes.add("Shape", image.name, start=2, end=4)
    padded = _padded(nodes, sides, model.network) if aligned else sides
    corners = "align_corners" if aligned else "half_pixel"

    def enlarged(maps: str, channels: int) -> str:
        size = nodes.add("Concat", nodes.add("Shape", maps, end=1), padded, nodes.constant([channels]), axis=0)
        turned = nodes.add("Transpose", maps, perm=CHANNELS_LAST)
        return nodes.add("Resize", turned, "", "", size, mode="linear", coordinate_transformation_mode=corners)

    resized = enlarged(coarse.name, classes)
    for name, kind in outputs.items():
        if kind == "classes":
            made = nodes.add("Cast", _decided(nodes, resized, model.decision), to=types.UINT8)
        else:
            made = nodes.add("Softmax", resized, axis=3) if kind == "probs" else resized
        if aligned:
            made = nodes.add("Slice", made, nodes.constant([0, 0]), sides, nodes.constant([1, 2]))
        if kind == "classes":
            totals = [nodes.add("ReduceSum", maps.name, keepdims=0) for maps in (coarse, *of_objects)]
            total = reduce(lambda one, other: nodes.add("Add", one, other), totals)
            unfit = nodes.add("IsNaN", nodes.add("Sub", total, total))
            made = nodes.add("Where", unfit, nodes.constant(NO_NUMBER, np.uint8), made)
            nodes.give(made, name, types.UINT8, [batch, height, width])
            if of_objects:
                assert model.objects is not None
                centres, offsets = (enlarged(maps.name, count) for maps, count in zip(of_objects, (1, 2), strict=True))
                append_objects(nodes, FullSizeMaps(made, resized, centres, offsets, classes), model.objects)
        else:
            made = nodes.add("Transpose", made, perm=CHANNELS_FIRST)
            nodes.give(made, name, types.FLOAT, [batch, classes, height, width])


def _decided(nodes: Nodes, logits: str, decision: Decision) -> str:
    """Return the classes of logits whose channels are last: `model.decided`, in nodes."""
    if decision.margin is None:
        return nodes.add("ArgMax", logits, axis=3, keepdims=0)
    first, second = (nodes.add("Gather", logits, nodes.constant(index), axis=3) for index in (0, 1))
    return nodes.add("Greater", nodes.add("Sub", second, first), nodes.constant(decision.margin, np.float32))


def _padded(nodes: Nodes, sides: str, network: Network) -> str:
    """Return the sides that an image is padded to: `layers.resize.padded_side`, in nodes."""
    shift = network.output_stride - 1 - network.side_remainder
    stride, remainder = nodes.constant([network.output_stride]), nodes.constant([network.side_remainder])
    whole = nodes.add("Div", nodes.add("Add", sides, nodes.constant([shift])), stride)
    return nodes.add("Add", nodes.add("Mul", whole, stride), remainder)
