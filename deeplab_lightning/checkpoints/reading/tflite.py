"""TFLite: a flatbuffer of tensors and of the operations that use them (schema version 3)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...files import read_bytes
from . import flatbuffer
from .foreign import BrokenFile, ForeignFile, UnknownForm

IDENTIFIER = b"TFL3"
"""At bytes 4 to 8."""

TYPES = {0: torch.float32, 1: torch.float16, 2: torch.int32, 3: torch.uint8, 9: torch.int8}
"""TensorType of weights; integers with a scale are weights as well."""
CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE, RESIZE_BILINEAR = 3, 4, 6, 23
"""BuiltinOperator."""
SAME = 0
"""Padding."""


def read_tflite(path: Path) -> ForeignFile:
    """Read the weights of a TFLite file, in float32 whatever they are stored in.

    Files of 8 bits say of each constant what its integers mean, `scale * (integer - zero point)`, for the whole or for
    each channel; converters also fuse names. So kernels and biases are named by their convolution's scope, as files of
    float32 name them: `SCOPE/weights` and `SCOPE/Conv2D_bias`, or `SCOPE/depthwise_weights` and `SCOPE/depthwise_bias`.

    Returns:
        Constants by name. Facts: `convolutions`, kernel's name -> (stride, atrous rate) in the order in which they run;
        `align_corners` of the resizes; `input_size`, (height, width) of the image; `stored_as`, such as `uint8`, what
        the kernels were.

    Raises:
        BrokenFile: An offset or a size leads out of the file.
        UnknownForm: It is no network of one image, or its kernels are of another type.
    """
    data = memoryview(bytearray(read_bytes(path)))  # writable, which PyTorch wants; tensors share it
    model = flatbuffer.root(data)
    buffers = [buffer.bytes(0) for buffer in model.tables(4)]
    graph = next(model.tables(2), None)
    if graph is None:
        raise BrokenFile("it has no graph")
    names, shapes, constants = [], [], dict[int, Tensor]()
    for number, tensor in enumerate(graph.tables(0)):
        names.append(tensor.string(3))
        shapes.append(tensor.integers(0))
        constant = _constant(tensor, names[-1], shapes[-1], buffers[_within(tensor.integer(2, "I"), buffers, "buffer")])
        if constant is not None:
            constants[number] = constant
    if sum(constant.numel() * constant.element_size() for constant in constants.values()) > len(data):
        raise BrokenFile("its constants stand for more bytes than it has")
    codes = [max(code.integer(0, "b"), code.integer(3, "i")) for code in model.tables(1)]
    inputs = [shapes[_within(index, shapes, "tensor")] for index in graph.integers(1)]
    if len(inputs) != 1 or len(inputs[0]) != 4:
        raise UnknownForm(f"it takes inputs of shapes {inputs}, where one image (1, height, width, 3) is expected")
    roles, facts = _operations(graph, codes, names, constants)
    stored = {str(constants[index].dtype).removeprefix("torch.") for index in roles if roles[index].endswith("weights")}
    scales = {index: _scale(tensor) for index, tensor in enumerate(graph.tables(0)) if index in constants}
    tensors = {
        roles.get(index, names[index]): _dequantised(constant, *scales[index], names[index])
        for index, constant in constants.items()
        if constant.dtype.is_floating_point or scales[index][0]
    }
    facts |= {"input_size": (inputs[0][1], inputs[0][2]), "stored_as": ", ".join(sorted(stored))}
    return ForeignFile(path, "tflite", tensors, facts)


def _constant(tensor: flatbuffer.Table, name: str, shape: list[int], content: memoryview) -> Tensor | None:
    """Return a constant as it is stored; None for what is computed, or of a type that weights do not have."""
    dtype = TYPES.get(tensor.integer(1, "b"))
    if not len(content) or dtype is None:
        return None
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise BrokenFile(f"its constant {name} has shape {shape} and {len(content)} bytes")
    return torch.frombuffer(content, dtype=dtype).reshape(shape)


def _scale(tensor: flatbuffer.Table) -> tuple[list[float], list[int], int]:
    """Return scales, zero points, and the dimension along which they run, if they are several."""
    quantisation = tensor.table(4)
    if quantisation is None:
        return [], [], 0
    return quantisation.floats(2), quantisation.integers(3, "q"), quantisation.integer(6, "i")


def _dequantised(stored: Tensor, scales: list[float], zeros: list[int], dimension: int, name: str) -> Tensor:
    if stored.dtype.is_floating_point:
        return stored.float()
    zeros = zeros or [0] * len(scales)
    if len(zeros) != len(scales):
        raise BrokenFile(f"its constant {name} has {len(scales)} scales and {len(zeros)} zero points")
    scale, zero = torch.tensor(scales), torch.tensor(zeros, dtype=torch.float32)
    if len(scales) > 1:
        if not 0 <= dimension < stored.dim() or stored.shape[dimension] != len(scales):
            raise BrokenFile(f"its constant {name} of shape {list(stored.shape)} has {len(scales)} scales")
        along = [-1 if place == dimension else 1 for place in range(stored.dim())]
        scale, zero = scale.reshape(along), zero.reshape(along)
    return scale * (stored.float() - zero)


def _operations(
    graph: flatbuffer.Table, codes: list[int], names: list[str], constants: dict[int, Tensor]
) -> tuple[dict[int, str], dict[str, Any]]:
    """Return the names of the convolutions' constants; their strides and rates, and the convention of the resizes."""
    roles = dict[int, str]()
    convolutions: dict[str, tuple[int, int]] = {}
    align_corners, sources = set(), dict[int, int]()
    for operator in graph.tables(3):
        code = codes[_within(operator.integer(0, "I"), codes, "operation")]
        options, inputs, outputs = operator.table(4), operator.integers(1), operator.integers(2)
        if code == DEQUANTIZE and inputs and outputs:  # files of float16 compute in float32
            sources[outputs[0]] = inputs[0]
        elif options is None:
            continue
        elif code in (CONV_2D, DEPTHWISE_CONV_2D):
            if len(inputs) < 2:
                raise BrokenFile("one of its convolutions has no kernel")
            kernel, *bias = [sources.get(index, index) for index in inputs[1:3]]
            name = names[_within(kernel, names, "tensor")]
            if kernel not in constants:
                raise UnknownForm(
                    f"the kernel {name} is no constant of float32, float16 or 8 bits: a sparse or otherwise packed file"
                )
            depthwise = code == DEPTHWISE_CONV_2D
            scope = _scope(name)
            roles[kernel] = f"{scope}/{'depthwise_' * depthwise}weights"
            if bias and bias[0] in constants:
                roles[bias[0]] = f"{scope}/{'depthwise' if depthwise else 'Conv2D'}_bias"
            # The depthwise one has its depth multiplier before the dilation.
            rate = options.integer(5 if depthwise else 4, "i", 1)
            convolutions[roles[kernel]] = options.integer(1, "i", 1), rate
            if options.integer(0, "b") != SAME:
                raise UnknownForm(f"its convolution {name} does not pad, which no DeepLab does")
        elif code == RESIZE_BILINEAR:
            # Fields 0 and 1 are sizes of old, 2 says align_corners, 3 half_pixel_centers.
            align_corners.add(bool(options.integer(2, "b")))
    if len(align_corners) > 1:
        raise UnknownForm("its resizes have different conventions of corners")
    return roles, {
        "convolutions": convolutions,
        "align_corners": align_corners.pop() if align_corners else True,
    }


def _scope(kernel: str) -> str:
    """Return the convolution's scope from its kernel's name, which converters fuse from several with semicolons."""
    parts = kernel.split(";")
    for part in parts:
        scope, found = re.subn(r"/(depthwise_)?weights(_quant)?(/.*)?$", "", part)
        if found:
            return scope
    return parts[0].rpartition("/")[0]


def _within(index: int, items: list[Any], what: str) -> int:
    if not 0 <= index < len(items):
        raise BrokenFile(f"it names {what} {index}, and has {len(items)}")
    return index
