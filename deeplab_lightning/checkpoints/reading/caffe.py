"""Caffe: a `.caffemodel` is a protocol buffer, `NetParameter`, of layers with blobs.

Its present form keeps layers in field 100 (`LayerParameter`), the first one in field 2 (`V1LayerParameter`); a blob has
its shape in field 7, or in four fields of its own.
"""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor

from . import protobuf
from .foreign import BrokenFile, ForeignFile

NAME, BLOBS = {100: 1, 2: 4}, {100: 7, 2: 6}
"""Field numbers in either form of a layer, by that of the layer."""


def read_caffe(path: Path) -> ForeignFile:
    """Read the blobs of a `.caffemodel`.

    Returns:
        Tensors named `LAYER/INDEX`: of a convolution, 0 is the kernel `(out, in, h, w)` and 1 the bias.

    Raises:
        BrokenFile: It is cut off, or a blob's shape does not fit its content.
    """
    data = memoryview(bytearray(path.read_bytes()))
    tensors: dict[str, Tensor] = {}
    for field, value in protobuf.fields(data):
        if field not in NAME or isinstance(value, int):
            continue
        name, blobs = "", []
        for inner, content in protobuf.fields(value):
            if inner == NAME[field]:
                name = protobuf.text(content)
            elif inner == BLOBS[field]:
                blobs.append(_blob(protobuf.message(content)))
        tensors |= {f"{name}/{index}": blob for index, blob in enumerate(blobs)}
    if not tensors:
        raise BrokenFile("it has no layer with weights (a .prototxt is text and has none either)")
    return ForeignFile(path, "caffe", tensors)


def _blob(message: memoryview) -> Tensor:
    shape: list[int] | None = None
    legacy = {1: 1, 2: 1, 3: 1, 4: 1}  # num, channels, height, width
    parts = []
    for field, value in protobuf.fields(message):
        if field == 5:
            parts.append(protobuf.message(value))
        elif field == 7:
            shape = [
                size
                for inner, sizes in protobuf.fields(protobuf.message(value))
                if inner == 1
                for size in protobuf.integers(sizes)
            ]
        elif field in legacy:
            legacy[field] = protobuf.number(value)
    values = protobuf.floats(parts or [memoryview(b"")])
    sizes = list(legacy.values()) if shape is None else shape
    if math.prod(sizes) != values.numel():
        raise BrokenFile(f"a blob of shape {sizes} has {values.numel()} values")
    return values.reshape(sizes)
