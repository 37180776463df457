"""TFLite: a flatbuffer of tensors and of the operations that use them (schema version 3)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from . import flatbuffer
from .foreign import BrokenFile, ForeignFile

IDENTIFIER = b"TFL3"
"""At bytes 4 to 8."""

FLOAT32, INT32 = 0, 2
"""TensorType."""
DEPTHWISE_CONV_2D, CONV_2D, RESIZE_BILINEAR = 4, 3, 23
"""BuiltinOperator."""
SAME = 0
"""Padding."""


def read_tflite(path: Path) -> ForeignFile:
    """Read the constants of a TFLite file.

    Returns:
        Float constants by name. Its facts are `convolutions`: kernel's name -> (stride, atrous rate) in the order in
        which they run; `align_corners` of the resizes; `input_size`, (height, width) of the image.

    Raises:
        BrokenFile: An offset or a size leads out of the file, or a constant is quantised.
    """
    data = memoryview(bytearray(path.read_bytes()))  # writable, which PyTorch wants; tensors share it
    model = flatbuffer.root(data)
    buffers = [buffer.bytes(0) for buffer in model.tables(4)]
    graph = next(model.tables(2), None)
    if graph is None:
        raise BrokenFile("it has no graph")
    names, shapes, tensors = [], [], {}
    for tensor in graph.tables(0):
        name, shape = tensor.string(3), tensor.integers(0)
        names.append(name)
        shapes.append(shape)
        content = buffers[_within(tensor.integer(2, "I"), buffers, "buffer")]
        if not len(content) or tensor.integer(1, "b") == INT32:
            continue
        if tensor.integer(1, "b") != FLOAT32:
            raise BrokenFile(
                f"its constant {name} is quantised (type {tensor.integer(1, 'b')} of TFLite), and only float32 files "
                f"hold what a network can be trained on with"
            )
        if min(shape, default=1) < 0 or math.prod(shape) * 4 != len(content):
            raise BrokenFile(f"its constant {name} has shape {shape} and {len(content)} bytes")
        tensors[name] = torch.frombuffer(content, dtype=torch.float32).reshape(shape)
    codes = [max(code.integer(0, "b"), code.integer(3, "i")) for code in model.tables(1)]
    inputs = [shapes[_within(index, shapes, "tensor")] for index in graph.integers(1)]
    if len(inputs) != 1 or len(inputs[0]) != 4:
        raise BrokenFile(f"it takes inputs of shapes {inputs}, where one image (1, height, width, 3) is expected")
    facts = _operations(graph, codes, names)
    return ForeignFile(path, "tflite", tensors, facts | {"input_size": (inputs[0][1], inputs[0][2])})


def _operations(graph: flatbuffer.Table, codes: list[int], names: list[str]) -> dict[str, Any]:
    """Return strides and rates of the convolutions, and the convention of the resizes."""
    convolutions: dict[str, tuple[int, int]] = {}
    align_corners = set()
    for operator in graph.tables(3):
        code = codes[_within(operator.integer(0, "I"), codes, "operation")]
        options = operator.table(4)
        if options is None:
            continue
        if code in (CONV_2D, DEPTHWISE_CONV_2D):
            inputs = operator.integers(1)
            if len(inputs) < 2:
                raise BrokenFile("one of its convolutions has no kernel")
            dilation = 4 if code == CONV_2D else 5  # the depthwise one has its depth multiplier in between
            kernel = names[_within(inputs[1], names, "tensor")]
            convolutions[kernel] = options.integer(1, "i", 1), options.integer(dilation, "i", 1)
            if options.integer(0, "b") != SAME:
                raise BrokenFile(f"its convolution {kernel} does not pad, which no DeepLab does")
        elif code == RESIZE_BILINEAR:
            # Fields 0 and 1 are sizes of old, 2 says align_corners, 3 half_pixel_centers.
            align_corners.add(bool(options.integer(2, "b")))
    if len(align_corners) > 1:
        raise BrokenFile("its resizes have different conventions of corners")
    return {"convolutions": convolutions, "align_corners": align_corners.pop() if align_corners else True}


def _within(index: int, items: list[Any], what: str) -> int:
    if not 0 <= index < len(items):
        raise BrokenFile(f"it names {what} {index}, and has {len(items)}")
    return index
