"""PyTorch's operators as the tracer sees them: which are layers, and how far each reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from torch import Tensor

from .fields import FROM_SINGLE, SAME, Pair, Reach, adaptive, interpolated, nearest, transposed, unpooled, windowed

T = TypeVar("T")
Kind = Literal["conv", "transposed conv", "max pool", "average pool", "global pool", "unpool", "resize", "linear"]


class Operation(NamedTuple):
    """What an operator did to the one map it read."""

    kind: Kind
    rows: Reach
    columns: Reach
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    multiply_adds: int = 0


def size_of(tensor: Tensor) -> Pair | None:
    """Return the rows and columns of a map `(B, C, H, W)`; None of what is none."""
    return (tensor.shape[-2], tensor.shape[-1]) if tensor.ndim == 4 else None


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    return value[0], value[-1]


def _argument(args: Sequence[Any], index: int, default: Any) -> Any:
    """Return a positional argument; trailing ones that have their default value are not handed over."""
    return args[index] if len(args) > index and args[index] not in ([], None) else default


def _convolution(args: Sequence[Any], made: Tensor) -> Operation | None:
    read, weight, _, stride, padding, dilation, is_transposed, _, groups = args
    if weight.ndim != 4:
        return None
    kernel, stride, padding, dilation = (_pair(value) for value in (weight.shape[2:], stride, padding, dilation))
    reach = transposed if is_transposed else windowed
    rows, columns = (reach(*facts) for facts in zip(kernel, stride, padding, dilation, strict=True))
    # Each value that is read (transposed: spread) meets one filter: a row of the weight.
    multiply_adds = (read if is_transposed else made).numel() * weight[0].numel()
    kind: Kind = "transposed conv" if is_transposed else "conv"
    return Operation(kind, rows, columns, kernel, stride, padding, dilation, groups, multiply_adds)


def _pooling(kind: Kind, dilated: bool, args: Sequence[Any], made: Tensor) -> Operation:
    kernel = _pair(args[1])
    stride, padding = _pair(_argument(args, 2, kernel)), _pair(_argument(args, 3, 0))
    dilation = _pair(_argument(args, 4, 1) if dilated else 1)
    rows, columns = (windowed(*facts) for facts in zip(kernel, stride, padding, dilation, strict=True))
    return Operation(kind, rows, columns, kernel, stride, padding, dilation)


def _by_sides(reach: Callable[[int, int], T], args: Sequence[Any], made: Tensor) -> tuple[T, T]:
    """Return what follows from the rows, and from the columns, of the map read and the one made."""
    rows, columns = (reach(*sides) for sides in zip(size_of(args[0]) or (1, 1), size_of(made) or (1, 1), strict=True))
    return rows, columns


def _adaptive_pooling(kind: Kind, args: Sequence[Any], made: Tensor) -> Operation | None:
    if size_of(made) == (1, 1):
        return None
    cells = _by_sides(lambda side_in, side: -(-side_in // side), args, made)
    return Operation(kind, *_by_sides(adaptive, args, made), cells, cells)


def _resize(margin: int, args: Sequence[Any], made: Tensor) -> Operation:
    def reach(side_in: int, side: int) -> Reach:
        return interpolated(side_in, side, args[2], margin) if side_in > 1 else FROM_SINGLE

    return Operation("resize", *_by_sides(reach, args, made))


LAYERS: dict[str, Callable[[Sequence[Any], Tensor], Operation | None]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": partial(_pooling, "max pool", True),
    "avg_pool2d": partial(_pooling, "average pool", False),
    "_adaptive_avg_pool2d": partial(_adaptive_pooling, "average pool"),
    "adaptive_max_pool2d": partial(_adaptive_pooling, "max pool"),
    "max_unpool2d": lambda args, made: Operation("unpool", *_by_sides(unpooled, args, made)),
    "upsample_nearest2d": lambda args, made: Operation("resize", *_by_sides(nearest, args, made)),
    "upsample_bilinear2d": partial(_resize, 0),
    "upsample_bicubic2d": partial(_resize, 1),
}
"""Operators that are reported; each gives None where it is used in a way that is none of the layer's."""

LINEAR = ("addmm", "mm")
REDUCTIONS = ("mean", "sum", "amax", "amin", "var", "var_mean", "std", "adaptive_max_pool2d")


def is_over_the_map(args: Sequence[Any]) -> bool:
    """Whether a reduction takes in one of the last two axes, or everything."""
    tensor, dims = args[0], _argument(args, 1, range(args[0].ndim))
    dims = [dims] if isinstance(dims, int) else dims
    return tensor.ndim >= 3 and any(dim % tensor.ndim >= tensor.ndim - 2 for dim in dims)


def _cut(args: Sequence[Any], made: Tensor) -> tuple[Reach, Reach]:
    tensor, axis = args[0], _argument(args, 1, 0) % args[0].ndim
    start, step = _argument(args, 2, 0), _argument(args, 4, 1)
    reach = windowed(1, step, -(start % tensor.shape[axis] if start < 0 else start))
    return (reach if axis == 2 else SAME, reach if axis == 3 else SAME) if tensor.ndim == 4 else (SAME, SAME)


def _pad(args: Sequence[Any], made: Tensor) -> tuple[Reach, Reach]:
    left, top = args[1][0], args[1][2] if len(args[1]) > 2 else 0
    return windowed(1, padding=top), windowed(1, padding=left)


REACHES: dict[str, Callable[[Sequence[Any], Tensor], tuple[Reach, Reach]]] = {
    "slice": _cut,
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "pixel_shuffle": lambda args, made: _by_sides(nearest, args, made),
    "pixel_unshuffle": lambda args, made: (windowed(args[1], args[1]), windowed(args[1], args[1])),
}
"""Operators that move or resample positions without being worth a line in a report."""

OVER_THE_MAP: dict[str, Callable[[Sequence[Any], list[Tensor]], bool]] = {
    "native_group_norm": lambda args, read: True,
    "native_batch_norm": lambda args, read: args[5],  # with the statistics of this image
    "bmm": lambda args, read: len(read) == 2,  # attention
    "baddbmm": lambda args, read: len(read) == 2,
    "_scaled_dot_product_flash_attention_for_cpu": lambda args, read: True,
}
"""Operators that work position by position but for what they have read from the whole map."""

FACTORIES = ("new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "empty_like")
"""Operators that take a tensor's kind over, and nothing of what is in it."""

LAYOUT = ("view", "_unsafe_view", "reshape", "permute", "transpose", "select", "unsqueeze", "squeeze", "expand", "bmm")
"""Operators that may change what the last two axes are, without a change of what is seen."""
