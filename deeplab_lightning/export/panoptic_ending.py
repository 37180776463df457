"""The end of an ONNX graph that finds objects: `inference.panoptic.decode` in nodes, for several images at once.

```
centres ── largest of its block and of its window ── TopK ── places (n) ─┐
offsets ── of the pixels of things (P) ── where they point ── Loop over places: nearer? ── votes ── class of an object
classes ── areas of stuff ── too small: void ──────────────────────────────────────────────────────┴── panoptic
```

Numbers go on from image to image: object `i` of the lists has number `i + 1`, and its pixels lie in one image. The loop
keeps the smallest distance and its place, two values a pixel of a thing: memory does not grow with pixels times places.
Sums of squares are taken in `decode`'s order, so that numbers are the same to the bit on the same maps. Distances
between images are put too far for any offset by a third coordinate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from ..inference.options import ObjectOptions
from .model import ImageModel, Objects
from .onnx_nodes import Nodes

CENTRES, OFFSETS = "centres", "offsets"
NUMBERS, PANOPTIC, OBJECT_CLASSES, SCORES = OBJECT_OUTPUTS = ("numbers", "panoptic", "object_classes", "scores")
"""Outputs beside the classes: `(B, H, W)` int32, `(B, H, W)` uint8, `(n,)` int64, `(n,)` float32."""
APART, FARTHEST = 1 << 24, 1 << 23
"""Pixels of two images in the coordinate that tells them apart, and how far from a place may be pointed at most. Whole
numbers: OpenVINO would write floats of that size into 16 bits, and counts in 32."""
IDS = 256
ROWS_COLUMNS, ALL = [1, 2], [-1]


class CoarseMaps(nn.Module):
    """A model up to its coarse maps: logits, centres and offsets, each an output of its own, float32."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model
        self.network: Any = model.network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(B, C, H, W)` -> `(B, num_classes, h, w)`, `(B, 1, h, w)`, `(B, 2, h, w)`."""
        logits, (centres, offsets) = self.network.coarse_maps(self.model.prepared(image)[0])
        return logits.float(), centres.float(), offsets.float()


class FullSizeMaps(NamedTuple):
    """Names of what objects are read from. All but classes may be larger than the image, below and at the right."""

    classes: str
    """`(B, H, W)` uint8."""
    logits: str
    """`(B, >= H, >= W, num_classes)`."""
    centres: str
    """`(B, >= H, >= W, 1)`."""
    offsets: str
    """`(B, >= H, >= W, 2)`."""
    num_classes: int


class Peaks(NamedTuple):
    """Names of what is known of the centres that were found."""

    total: str
    """n, a scalar int64."""
    places: str
    """`(n, 3, 1)` float32: image, row, column."""
    heights: str
    """`(n,)` float32."""


def append_objects(nodes: Nodes, maps: FullSizeMaps, objects: Objects) -> None:
    """Let a graph give `OBJECT_OUTPUTS`, too."""
    types = nodes.onnx.TensorProto
    is_thing = np.isin(np.arange(IDS), objects.things)
    void = objects.ignore_index
    ids = nodes.add("Cast", maps.classes, to=types.INT64)
    at = nodes.add("NonZero", nodes.add("Gather", nodes.constant(is_thing, np.bool_), ids))  # (3, P)
    pixels = nodes.add("Transpose", at, perm=(1, 0))
    found = _peaks(nodes, maps, objects.options)
    nearest = _nearest(nodes, pixels, maps.offsets, found)

    one = nodes.constant(1)
    rows = nodes.add("Add", found.total, one)  # the last for pixels of no object
    width = nodes.constant(maps.num_classes)
    row_vector = nodes.add("Reshape", rows, nodes.constant([1]))
    voted = nodes.add("Add", nodes.add("Mul", nearest, width), nodes.add("GatherND", ids, pixels))
    votes = _sums(nodes, nodes.add("Mul", row_vector, width), voted, None, types.INT32)
    table = nodes.add("Reshape", votes, nodes.constant([-1, maps.num_classes]))
    areas = nodes.add("ReduceSum", table, nodes.constant([1]), keepdims=0)
    sure = _sums(nodes, row_vector, nearest, _sureness(nodes, maps.logits, pixels), types.DOUBLE)
    below = nodes.add("Less", nodes.add("Range", nodes.constant(0), rows, one), found.total)
    real = nodes.add("And", nodes.add("Greater", areas, nodes.constant(0, np.int32)), below)
    kept = nodes.add("Cast", real, to=types.INT32)
    numbers = nodes.add("Mul", nodes.add("CumSum", kept, nodes.constant(0)), kept)
    majority = nodes.add("ArgMax", table, axis=1, keepdims=0)
    classes = nodes.add("Where", real, majority, nodes.constant(void))
    area = nodes.add("Cast", nodes.add("Max", areas, nodes.constant(1, np.int32)), to=types.DOUBLE)
    mean = nodes.add("Cast", nodes.add("Div", sure, area), to=types.FLOAT)
    heights = nodes.add("Concat", found.heights, nodes.constant([0], np.float32), axis=0)

    nothing = nodes.add("Mul", nodes.add("Cast", maps.classes, to=types.INT32), nodes.constant(0, np.int32))
    painted = nodes.add("ScatterND", nothing, pixels, nodes.add("Gather", numbers, nearest))
    stuff = _stuff(nodes, ids, ~is_thing, objects)
    whole = nodes.add("ScatterND", stuff, pixels, nodes.add("Gather", classes, nearest))
    shape: list[int | str] = ["batch", "height", "width"]
    nodes.give(painted, NUMBERS, types.INT32, shape)
    nodes.give(nodes.add("Cast", whole, to=types.UINT8), PANOPTIC, types.UINT8, shape)
    nodes.give(nodes.add("Compress", classes, real, axis=0), OBJECT_CLASSES, types.INT64, ["objects"])
    nodes.give(
        nodes.add(
            "Compress", nodes.add("Mul", nodes.add("Min", heights, nodes.constant(1, np.float32)), mean), real, axis=0
        ),
        SCORES,
        types.FLOAT,
        ["objects"],
    )


def _peaks(nodes: Nodes, maps: FullSizeMaps, options: ObjectOptions) -> Peaks:
    """Find centres as `inference.panoptic.peaks` does: of each block's largest those that are their window's."""
    types, flat = nodes.onnx.TensorProto, nodes.constant(ALL)
    reach, window = options.centre_window // 2, options.centre_window
    sides = nodes.add("Shape", maps.classes, start=1)
    cut = nodes.add("Slice", maps.centres, nodes.constant([0, 0]), sides, nodes.constant(ROWS_COLUMNS))
    centres = nodes.add("Transpose", cut, perm=(0, 3, 1, 2))
    down = nodes.add("MaxPool", centres, kernel_shape=(window, 1), pads=(reach, 0, reach, 0))
    around = nodes.add("MaxPool", down, kernel_shape=(1, window), pads=(0, reach, 0, reach))
    block = (reach + 1, reach + 1)
    largest, at = nodes.add_several(2, "MaxPool", centres, kernel_shape=block, strides=block, ceil_mode=1)
    listed = nodes.constant([0, -1])
    largest, at = (nodes.add("Reshape", nodes.add("Flatten", each, axis=1), listed) for each in (largest, at))
    of_window = nodes.add("Gather", nodes.add("Reshape", around, flat), at)
    threshold = nodes.constant(options.centre_threshold, np.float32)
    high, is_peak = nodes.add("Greater", largest, threshold), nodes.add("GreaterOrEqual", largest, of_window)
    values = nodes.add("Where", nodes.add("And", high, is_peak), largest, nodes.constant(-1, np.float32))
    blocks = nodes.add("Shape", values, start=1)
    most = nodes.add("Min", blocks, nodes.constant([options.max_objects]))
    top, which = nodes.add_several(2, "TopK", values, most, axis=1)
    chosen = nodes.add("Reshape", nodes.add("Greater", top, threshold), flat)
    places = nodes.add("Reshape", nodes.add("GatherElements", at, which, axis=1), flat)
    places = nodes.add("Compress", places, chosen, axis=0)
    heights = nodes.add("Compress", nodes.add("Reshape", top, flat), chosen, axis=0)

    width = nodes.add("Gather", sides, nodes.constant(1))
    area = nodes.add("Mul", nodes.add("Gather", sides, nodes.constant(0)), width)
    within = nodes.add("Mod", places, area)
    image, row = nodes.add("Div", places, area), nodes.add("Div", within, width)
    column, last = nodes.add("Mod", within, width), nodes.constant([1, 2])
    each = nodes.add("Concat", *(nodes.add("Unsqueeze", one, last) for one in (image, row, column)), axis=1)
    apart = nodes.constant([[APART], [1], [1]])
    total = nodes.add("Reshape", nodes.add("Shape", heights), nodes.constant([]))
    return Peaks(total, nodes.add("Cast", nodes.add("Mul", each, apart), to=types.FLOAT), heights)


def _nearest(nodes: Nodes, pixels: str, offsets: str, found: Peaks) -> str:
    """Return which place is nearest to where each pixel points, `(P,)` int64, the first of equals; n where none is."""
    types = nodes.onnx.TensorProto
    at = nodes.add("Cast", nodes.add("Mul", pixels, nodes.constant([APART, 1, 1])), to=types.FLOAT)
    away = nodes.add("Pad", nodes.add("GatherND", offsets, pixels), nodes.constant([0, 1, 0, 0]))
    points = nodes.add("Transpose", nodes.add("Add", at, away), perm=(1, 0))  # (3, P)
    count = nodes.add("Shape", pixels, end=1)
    reach = nodes.add("Cast", nodes.constant(FARTHEST), to=types.FLOAT)
    farthest = nodes.add("Expand", nodes.add("Mul", reach, reach), count)
    none = nodes.add("Expand", found.total, count)

    def step(inside: Nodes, index: str, values: list[str]) -> list[str]:
        best, nearest = values
        difference = inside.add("Sub", points, inside.add("Gather", found.places, index, axis=0))
        squares = inside.add("Mul", difference, difference)
        distance = inside.add("ReduceSum", squares, inside.constant([0]), keepdims=0)
        closer = inside.add("Less", distance, best)
        return [inside.add("Where", closer, distance, best), inside.add("Where", closer, index, nearest)]

    return nodes.loop(found.total, {farthest: types.FLOAT, none: types.INT64}, step)[1]


def _sureness(nodes: Nodes, logits: str, pixels: str) -> str:
    """Return the probability of the likeliest class at some pixels, `(P,)`: 1 / sum of exp(logit - largest)."""
    those = nodes.add("GatherND", logits, pixels)
    below = nodes.add("Sub", those, nodes.add("ReduceMax", those, nodes.constant([1])))
    return nodes.add("Reciprocal", nodes.add("ReduceSum", nodes.add("Exp", below), nodes.constant([1]), keepdims=0))


def _sums(nodes: Nodes, size: str, index: str, values: str | None, kind: int) -> str:
    """Return the sums of values (ones if none are given) of equal index, `(size,)`."""
    dtype: Any = nodes.onnx.helper.tensor_dtype_to_np_dtype(kind).type
    if values is None:
        values = nodes.add("Expand", nodes.constant(1, dtype), nodes.add("Shape", index))
    else:
        values = nodes.add("Cast", values, to=kind)
    nothing = nodes.add("Expand", nodes.constant(0, dtype), size)
    return nodes.add("ScatterElements", nothing, index, values, axis=0, reduction="add")


def _stuff(nodes: Nodes, ids: str, is_stuff: np.ndarray, objects: Objects) -> str:
    """Return the classes `(B, H, W)` int64 without stuff that covers too little of its image."""
    flat = nodes.add("Flatten", ids, axis=1)
    ones = nodes.add("Expand", nodes.constant(1, np.int32), nodes.add("Shape", flat))
    size = nodes.add("Concat", nodes.add("Shape", ids, end=1), nodes.constant([IDS]), axis=0)
    nothing = nodes.add("Expand", nodes.constant(0, np.int32), size)
    areas = nodes.add("ScatterElements", nothing, flat, ones, axis=1, reduction="add")
    few = nodes.add("Less", areas, nodes.constant(objects.options.min_stuff_area, np.int32))
    small = nodes.add("And", few, nodes.constant(is_stuff, np.bool_))
    becomes = nodes.add("Where", small, nodes.constant(objects.ignore_index), nodes.constant(np.arange(IDS)))
    return nodes.add("Reshape", nodes.add("GatherElements", becomes, flat, axis=1), nodes.add("Shape", ids))
