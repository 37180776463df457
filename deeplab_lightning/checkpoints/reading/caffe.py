"""Caffe: a `.caffemodel` is a protocol buffer, `NetParameter`, of layers with blobs.

Its present form keeps layers in field 100 (`LayerParameter`), the first one in field 2 (`V1LayerParameter`); a blob has
its shape in field 7, or in four fields of its own.
"""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor

from ...files import read_bytes
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
    data = memoryview(bytearray(read_bytes(path)))
    tensors: dict[str, Tensor] = {}
    for field, value in protobuf.fields(data):
        if field not in NAME or isinstance(value, int):
            continue
        layer = protobuf.grouped(value)
        name = protobuf.text(layer.get(NAME[field], []))
        blobs = (_blob(blob) for blob in layer.get(BLOBS[field], []))
        tensors |= {f"{name}/{index}": blob for index, blob in enumerate(blobs)}
    if not tensors:
        raise BrokenFile("it has no layer with weights (a .prototxt is text and has none either)")
    return ForeignFile(path, "caffe", tensors)


def _blob(value: protobuf.Value) -> Tensor:
    blob = protobuf.grouped(value)
    values = protobuf.floats(blob.get(5, []))
    if 7 in blob:
        sizes = [size for part in protobuf.grouped(blob[7][-1]).get(1, []) for size in protobuf.integers(part)]
    else:
        sizes = [protobuf.number(blob.get(field, []), 1) for field in (1, 2, 3, 4)]  # num, channels, height, width
    if math.prod(sizes) != values.numel():
        raise BrokenFile(f"a blob of shape {sizes} has {values.numel()} values")
    return values.reshape(sizes)
