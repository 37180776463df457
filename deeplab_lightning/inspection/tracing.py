"""Run a network once and write down what was executed: every convolution, pooling, resize and linear layer.

The pass is watched below PyTorch's modules and functions, at its operators: what counts is what runs, whoever wrote it
and whatever its configuration says. Weights and picture live on the `meta` device, which has shapes and no values, so
that a large network takes no memory and hardly any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from .fields import (
    FROM_SINGLE,
    IMAGE,
    SAME,
    Graph,
    Link,
    Reach,
    adaptive,
    interpolated,
    nearest,
    transposed,
    unpooled,
    valid_taps,
    windowed,
)

Kind = Literal["conv", "transposed conv", "max pool", "average pool", "global pool", "unpool", "resize", "linear"]
Pair = tuple[int, int]
"""Rows, columns."""


@dataclass(frozen=True)
class Layer:
    """One executed layer. Pairs are (rows, columns).

    Attributes:
        name: The module that ran it, by its path in the network; empty for the network itself.
        kind: What it is.
        kernel: Side of the kernel or window; 1 where there is none.
        stride: Of the kernel.
        padding: On either side, in positions.
        dilation: Atrous rate, as executed.
        groups: Of a convolution; equal to the channels it is depthwise.
        in_channels: Channels read.
        out_channels: Channels made.
        size_in: Side of the map read.
        size: Side of the map made; of a linear layer, 1 and the number of vectors it is applied to.
        output_stride: Pixels between neighbouring positions, the most where paths meet; None where only means lead to
            the picture.
        field: Side of the largest window of pixels that a position sees through kernels and resizes; None where only
            means lead to the picture. It may be larger than the picture.
        sees_all: A mean over a whole map (or the like) lies on some path, so that every pixel has a say.
        parameters: Of the module itself, its weight and bias.
        multiply_adds: Of a convolution, for one picture; else 0.
        valid_taps: Share of a convolution's taps that fall on the map and not on its padding; None without a kernel.
        node: In the trace's graph, of the map made.
        parent: In the trace's graph, of the map read.
    """

    name: str
    kind: Kind
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    in_channels: int
    out_channels: int
    size_in: Pair
    size: Pair
    output_stride: tuple[float, float] | None
    field: Pair | None
    sees_all: bool
    parameters: int
    multiply_adds: int
    valid_taps: float | None
    node: int
    parent: int

    @property
    def is_atrous(self) -> bool:
        """Whether its kernel has holes."""
        return max(self.dilation) > 1 and max(self.kernel) > 1

    @property
    def part(self) -> str:
        """The part of the network it belongs to: the first word of its name."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Part:
    """What a part of the network has and costs.

    Attributes:
        name: The network's attribute.
        parameters: All of them, batch norms included.
        multiply_adds: Of its convolutions, for one picture.
    """

    name: str
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Trace:
    """An executed forward pass.

    Attributes:
        size: `(H, W)` of the picture.
        layers: In the order of execution.
        parts: In the order of the network; what belongs to no part comes last under an empty name.
        graph: What the fields were computed from.
        unknown: Operators that changed a map's size in a way that is not understood; fields behind them are guesses.
    """

    size: Pair
    layers: list[Layer]
    parts: list[Part]
    graph: Graph
    unknown: list[str]

    @property
    def parameters(self) -> int:
        """All parameters of the network."""
        return sum(part.parameters for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        """Of all convolutions, for one picture."""
        return sum(part.multiply_adds for part in self.parts)

    def atrous_branches(self) -> list[Layer]:
        """Return the last atrous convolution on every path, such as the branches of ASPP, or LargeFOV.

        Of a module that ran at several scales, the run on the largest map.
        """
        atrous = [layer for layer in self.layers if layer.is_atrous]
        inner = set().union(*(self.graph.ancestors(layer.node) for layer in atrous))
        last: dict[str, Layer] = {}
        for layer in atrous:
            if layer.node not in inner and (layer.name not in last or layer.size > last[layer.name].size):
                last[layer.name] = layer
        return list(last.values())

    def deepest(self) -> Layer:
        """Return the layer that makes the map on which the atrous branches stand; else the last of largest stride."""
        branches = self.atrous_branches()
        if branches:
            before = self.graph.ancestors(branches[-1].node)
            return next(layer for layer in reversed(self.layers) if layer.node in before)
        return max(reversed(self.layers), key=lambda layer: max(layer.output_stride or (0.0, 0.0)))

    def square(self, layer: Layer) -> tuple[Pair, Pair] | None:
        """Return the rows (first, last) and columns of pixels that the centre of a layer's map sees through windows."""
        centre = [np.array([side // 2]) for side in layer.size]
        seen, _ = self.graph.field(layer.node, *centre)
        if seen is None:
            return None
        rows, columns = ((int(first[0]), int(last[0])) for first, last in seen)
        return rows, columns

    def taps(self, layer: Layer) -> list[tuple[float, float]]:
        """Return where in the picture, `(row, column)`, the taps of a kernel stand that is put on the map's centre."""
        grids = [
            side // 2 * s - p + np.arange(k) * d
            for side, s, p, k, d in zip(
                layer.size, layer.stride, layer.padding, layer.kernel, layer.dilation, strict=True
            )
        ]
        rows, columns = (grid.ravel() for grid in np.meshgrid(*grids, indexing="ij"))
        seen, _ = self.graph.field(layer.parent, rows, columns)
        if seen is None:
            return []
        middles = ((first + last) / 2 for first, last in seen)
        return [(float(row), float(column)) for row, column in zip(*middles, strict=True)]


def trace(network: nn.Module, size: Pair, channels: int = 3) -> Trace:
    """Run `network` on one picture and write down what it does. It is left as it was.

    Args:
        network: Any module that takes `(B, channels, H, W)`. It runs in evaluation mode.
        size: `(H, W)` of the picture.
        channels: Of the picture.
    """
    try:
        recorder = _run(network, size, channels, on_meta=True)
    except (NotImplementedError, RuntimeError):
        # An operator without a `meta` form, or tensors that are no part of the state: run it where its weights are,
        # or with zeros for weights where they are on paper only.
        recorder = _run(network, size, channels, on_meta=False)
    parts = _parts(network, recorder.layers)
    return Trace(size, recorder.layers, parts, recorder.graph, sorted(recorder.unknown))


def _run(network: nn.Module, size: Pair, channels: int, on_meta: bool) -> _Recorder:
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    example = next((value for value in state.values() if value.is_floating_point()), torch.empty(0))
    if on_meta:
        state = {name: value.detach().to("meta") for name, value in state.items()}
    elif example.is_meta:
        state = {name: torch.zeros_like(value, device="cpu") for name, value in state.items()}
    device = next((value.device for value in state.values()), torch.device("cpu"))
    image = torch.zeros(1, channels, *size, dtype=example.dtype, device=device)
    recorder = _Recorder(image)
    with _in_evaluation(network), recorder.following(network), torch.no_grad(), recorder:
        torch.func.functional_call(network, state, (image,))
    return recorder


@contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _parts(network: nn.Module, layers: list[Layer]) -> list[Part]:
    costs: dict[str, int] = {}
    for layer in layers:
        costs[layer.part] = costs.get(layer.part, 0) + layer.multiply_adds
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in network.named_children()}
    counts[""] = sum(parameter.numel() for parameter in network.parameters(recurse=False))
    parts = [Part(name, count, costs.get(name, 0)) for name, count in counts.items()]
    return [part for part in parts if part.parameters or part.multiply_adds]


# --- watching the pass ------------------------------------------------------------------------------------------------


class _Step(NamedTuple):
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


class _Recorder(TorchDispatchMode):
    """Sees every operator between entering and leaving, and notes those that read something made from the picture.

    Args:
        image: The picture, before the network is called on it.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.graph = Graph()
        self.layers: list[Layer] = []
        self.unknown: set[str] = set()
        self._nodes = WeakTensorKeyDictionary()
        self._nodes[image] = IMAGE
        self._sizes = WeakTensorKeyDictionary()
        self._sizes[image] = _size(image)
        self._running: list[tuple[str, nn.Module]] = []

    @contextmanager
    def following(self, network: nn.Module) -> Iterator[None]:
        """Know at any time which module of `network` is running."""

        def enter(module: nn.Module, _: Any) -> None:
            self._running.append((names[module], module))

        def leave(*_: Any) -> None:
            self._running.pop()

        names = {module: name for name, module in network.named_modules()}
        hooks = [module.register_forward_pre_hook(enter) for module in names]
        hooks += [module.register_forward_hook(leave) for module in names]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Execute an operator, and note it."""
        result = operator(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf in self._nodes]
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        name = operator.overloadpacket.__name__
        if read and made and name not in _FACTORIES:
            node = self._note(name, args, read, made[0])
            for tensor in made:
                self._nodes[tensor] = node
                self._sizes[tensor] = _size(tensor) or self._sizes[read[0]]  # flattened, it is still a map
        return result

    def _note(self, name: str, args: Sequence[Any], read: list[Tensor], made: Tensor) -> int:
        """Return the node of the tensor that operator `name` made."""
        parent = self._nodes[read[0]]
        step = _LAYERS[name](args, made) if name in _LAYERS else self._refilled(name, read[0], made)
        if step is not None:
            node = self.graph.add([Link(parent, step.rows, step.columns)])
            self._append(step, read[0], made, parent, node)
            return node
        if name in _REDUCTIONS and _is_over_the_map(args):
            node = self.graph.add([], everywhere=True)
            self._append(_Step("global pool", SAME, SAME), read[0], made, parent, node)
            return node
        if name in _LINEAR and len(read) == 1:
            self._append(_Step("linear", SAME, SAME), read[0], made, parent, parent)
            return parent
        if name in _REACHES:
            return self.graph.add([Link(parent, *_REACHES[name](args, made))])
        links = [Link(self._nodes[tensor], *_reaches_of_operand(tensor, made)) for tensor in read]
        everywhere = name in _OVER_THE_MAP and _OVER_THE_MAP[name](args, read)
        if name not in _LAYOUT and any(_size(tensor) not in (None, (1, 1), _size(made)) for tensor in read):
            self.unknown.add(name)
        if len(set(links)) == 1 and links[0] == Link(parent) and not everywhere:
            return parent  # position by position: nothing to remember
        return self.graph.add(links, everywhere)

    def _refilled(self, name: str, read: Tensor, made: Tensor) -> _Step | None:
        """Recognise unpooling by hand: a flattened map that comes back as one with more or fewer positions."""
        size_in, size = self._sizes[read], _size(made)
        if name != "view" or read.ndim != 3 or size is None or size_in is None or math.prod(size_in) == math.prod(size):
            return None
        rows, columns = (unpooled(*sides) for sides in zip(size_in, size, strict=True))
        return _Step("unpool", rows, columns)

    def _append(self, step: _Step, read: Tensor, made: Tensor, parent: int, node: int) -> None:
        name, module = self._running[-1]
        size_in, size = self._sizes[read] or (1, 1), _size(made) or (1, 1)
        has_weights = step.kind in ("conv", "transposed conv", "linear")
        channel = -1 if step.kind == "linear" else 1
        if step.kind == "linear":
            size = (1, made.shape[:-1].numel())
        taps = None
        if step.kind == "conv" and max(step.kernel) > 1:
            taps = valid_taps(size_in, size, step.kernel, step.stride, step.padding, step.dilation)
        seen, sees_all = self.graph.field(node, *_all_positions(size))
        self.layers.append(
            Layer(
                name=name,
                kind=step.kind,
                kernel=step.kernel,
                stride=step.stride,
                padding=step.padding,
                dilation=step.dilation,
                groups=step.groups,
                in_channels=read.shape[channel],
                out_channels=made.shape[channel],
                size_in=size_in,
                size=size,
                output_stride=self.graph.stride(node) if any(self.graph.stride(node)) else None,
                field=None if seen is None else (_largest(*seen.rows), _largest(*seen.columns)),
                sees_all=sees_all,
                parameters=sum(p.numel() for p in module.parameters(recurse=False)) if has_weights else 0,
                multiply_adds=step.multiply_adds,
                valid_taps=taps,
                node=node,
                parent=parent,
            )
        )


def _size(tensor: Tensor) -> Pair | None:
    return (tensor.shape[-2], tensor.shape[-1]) if tensor.ndim == 4 else None


def _all_positions(size: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return all rows and all columns, the shorter axis repeating its last: fields are asked for in pairs."""
    longer = np.arange(max(size))
    return np.minimum(longer, size[0] - 1), np.minimum(longer, size[1] - 1)


def _largest(first: np.ndarray, last: np.ndarray) -> int:
    return int((last - first).max()) + 1


def _reaches_of_operand(operand: Tensor, made: Tensor) -> tuple[Reach, Reach]:
    """Return the reaches of an operator that works position by position; a single value may stand for a whole axis."""
    sides, sides_made = _size(operand), _size(made)
    if sides is None or sides_made is None:
        return SAME, SAME
    rows, columns = (
        FROM_SINGLE if side == 1 and side_made > 1 else SAME for side, side_made in zip(sides, sides_made, strict=True)
    )
    return rows, columns


# --- the operators, by PyTorch's names --------------------------------------------------------------------------------


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    return value[0], value[-1]


def _argument(args: Sequence[Any], index: int, default: Any) -> Any:
    """Return a positional argument; trailing ones that have their default value are not handed over."""
    return args[index] if len(args) > index and args[index] not in ([], None) else default


def _convolution(args: Sequence[Any], made: Tensor) -> _Step | None:
    read, weight, _, stride, padding, dilation, is_transposed, _, groups = args
    if weight.ndim != 4:
        return None
    kernel, stride, padding, dilation = (_pair(value) for value in (weight.shape[2:], stride, padding, dilation))
    reach = transposed if is_transposed else windowed
    rows, columns = (reach(*facts) for facts in zip(kernel, stride, padding, dilation, strict=True))
    # Each value that is read (transposed: spread) meets one filter: a row of the weight.
    multiply_adds = (read if is_transposed else made).numel() * weight[0].numel()
    kind: Kind = "transposed conv" if is_transposed else "conv"
    return _Step(kind, rows, columns, kernel, stride, padding, dilation, groups, multiply_adds)


def _pooling(kind: Kind, dilated: bool = False) -> Callable[[Sequence[Any], Tensor], _Step]:
    def step(args: Sequence[Any], made: Tensor) -> _Step:
        kernel = _pair(args[1])
        stride, padding = _pair(_argument(args, 2, kernel)), _pair(_argument(args, 3, 0))
        dilation = _pair(_argument(args, 4, 1) if dilated else 1)
        rows, columns = (windowed(*facts) for facts in zip(kernel, stride, padding, dilation, strict=True))
        return _Step(kind, rows, columns, kernel, stride, padding, dilation)

    return step


def _adaptive_pooling(kind: Kind) -> Callable[[Sequence[Any], Tensor], _Step | None]:
    def step(args: Sequence[Any], made: Tensor) -> _Step | None:
        sizes = list(zip(_size(args[0]) or (1, 1), _size(made) or (1, 1), strict=True))
        rows, columns = (adaptive(*sides) for sides in sizes)
        height, width = (-(-side_in // side) for side_in, side in sizes)
        return None if _size(made) == (1, 1) else _Step(kind, rows, columns, (height, width), (height, width))

    return step


def _resize(margin: int) -> Callable[[Sequence[Any], Tensor], _Step]:
    def step(args: Sequence[Any], made: Tensor) -> _Step:
        read = _size(args[0]) or (1, 1)
        sizes = zip(read, _size(made) or (1, 1), strict=True)
        rows, columns = (
            interpolated(side_in, side, args[2], margin) if side_in > 1 else FROM_SINGLE for side_in, side in sizes
        )
        return _Step("resize", rows, columns)

    return step


def _copy(kind: Kind, reach: Callable[[int, int], Reach]) -> Callable[[Sequence[Any], Tensor], _Step]:
    def step(args: Sequence[Any], made: Tensor) -> _Step:
        sizes = zip(_size(args[0]) or (1, 1), _size(made) or (1, 1), strict=True)
        rows, columns = (reach(*sides) for sides in sizes)
        return _Step(kind, rows, columns)

    return step


_LAYERS: dict[str, Callable[[Sequence[Any], Tensor], _Step | None]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling("max pool", dilated=True),
    "avg_pool2d": _pooling("average pool"),
    "_adaptive_avg_pool2d": _adaptive_pooling("average pool"),
    "adaptive_max_pool2d": _adaptive_pooling("max pool"),
    "max_unpool2d": _copy("unpool", unpooled),
    "upsample_nearest2d": _copy("resize", nearest),
    "upsample_bilinear2d": _resize(margin=0),
    "upsample_bicubic2d": _resize(margin=1),
}
"""Operators that are reported; each gives None where it is used in a way that is none of the layer's."""

_LINEAR = ("addmm", "mm")
_REDUCTIONS = ("mean", "sum", "amax", "amin", "var", "var_mean", "std", "adaptive_max_pool2d")


def _is_over_the_map(args: Sequence[Any]) -> bool:
    """Whether a reduction takes in one of the last two axes, or everything."""
    tensor, dims = args[0], _argument(args, 1, range(args[0].ndim))
    dims = [dims] if isinstance(dims, int) else dims
    return tensor.ndim >= 3 and any(dim % tensor.ndim >= tensor.ndim - 2 for dim in dims)


def _nearest(args: Sequence[Any], made: Tensor) -> tuple[Reach, Reach]:
    rows, columns = (nearest(*sides) for sides in zip(_size(args[0]) or (1, 1), _size(made) or (1, 1), strict=True))
    return rows, columns


def _cut(args: Sequence[Any], made: Tensor) -> tuple[Reach, Reach]:
    tensor, axis = args[0], _argument(args, 1, 0) % args[0].ndim
    start, step = _argument(args, 2, 0), _argument(args, 4, 1)
    reach = windowed(1, step, -(start % tensor.shape[axis] if start < 0 else start))
    return (reach if axis == 2 else SAME, reach if axis == 3 else SAME) if tensor.ndim == 4 else (SAME, SAME)


def _pad(args: Sequence[Any], made: Tensor) -> tuple[Reach, Reach]:
    left, top = args[1][0], args[1][2] if len(args[1]) > 2 else 0
    return windowed(1, padding=top), windowed(1, padding=left)


def _unshuffle(args: Sequence[Any], made: Tensor) -> tuple[Reach, Reach]:
    return windowed(args[1], args[1]), windowed(args[1], args[1])


_REACHES: dict[str, Callable[[Sequence[Any], Tensor], tuple[Reach, Reach]]] = {
    "slice": _cut,
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "pixel_shuffle": _nearest,
    "pixel_unshuffle": _unshuffle,
}
"""Operators that move or resample positions without being worth a line in a report."""

_OVER_THE_MAP: dict[str, Callable[[Sequence[Any], list[Tensor]], bool]] = {
    "native_group_norm": lambda args, read: True,
    "native_batch_norm": lambda args, read: args[5],  # with the statistics of this picture
    "bmm": lambda args, read: len(read) == 2,  # attention
    "baddbmm": lambda args, read: len(read) == 2,
    "_scaled_dot_product_flash_attention_for_cpu": lambda args, read: True,
}
"""Operators that work position by position but for what they have read from the whole map."""

_FACTORIES = ("new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "empty_like")
"""Operators that take a tensor's kind over, and nothing of what is in it."""

_LAYOUT = ("view", "_unsafe_view", "reshape", "permute", "transpose", "select", "unsqueeze", "squeeze", "expand", "bmm")
"""Operators that may change what the last two axes are, without a change of what is seen."""
