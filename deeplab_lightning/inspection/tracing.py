"""Run a network once and write down what was executed: every convolution, pooling, resize and linear layer.

The pass is watched below PyTorch's modules and functions, at its operators: what counts is what runs, whoever wrote it
and whatever its configuration says. Weights and image live on the `meta` device, which has shapes and no values, so
that a large network takes no memory and hardly any time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from .fields import FROM_SINGLE, IMAGE, SAME, Graph, Link, Reach, unpooled, valid_taps
from .operators import (
    FACTORIES,
    LAYERS,
    LAYOUT,
    LINEAR,
    OVER_THE_MAP,
    REACHES,
    REDUCTIONS,
    Kind,
    Operation,
    Pair,
    is_over_the_map,
    size_of,
)


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
            the image.
        field: Side of the largest window of pixels that a position sees through kernels and resizes; None where only
            means lead to the image. It may be larger than the image.
        sees_all: A mean over a whole map (or the like) lies on some path, so that every pixel has a say.
        parameters: Of the module itself, its weight and bias.
        multiply_adds: Of a convolution, for one image; else 0.
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
        multiply_adds: Of its convolutions, for one image.
    """

    name: str
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Trace:
    """An executed forward pass.

    Attributes:
        size: `(H, W)` of the image.
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
        """Of all convolutions, for one image."""
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
        """Return where in the image, `(row, column)`, the taps of a kernel stand that is put on the map's centre."""
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
    """Run `network` on one image and write down what it does. It is left as it was.

    Args:
        network: Any module that takes `(B, channels, H, W)`. It runs in evaluation mode.
        size: `(H, W)` of the image.
        channels: Of the image.
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
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with recorder.following(network), torch.no_grad(), recorder:
            torch.func.functional_call(network, state, (image,))
    finally:
        for module in training:
            module.training = True
    return recorder


def _parts(network: nn.Module, layers: list[Layer]) -> list[Part]:
    costs: Counter[str] = Counter()
    for layer in layers:
        costs[layer.part] += layer.multiply_adds
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in network.named_children()}
    counts[""] = sum(parameter.numel() for parameter in network.parameters(recurse=False))
    parts = [Part(name, count, costs[name]) for name, count in counts.items()]
    return [part for part in parts if part.parameters or part.multiply_adds]


# --- watching the pass ------------------------------------------------------------------------------------------------


class _Recorder(TorchDispatchMode):
    """Sees every operator between entering and leaving, and notes those that read something made from the image."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.graph = Graph()
        self.layers: list[Layer] = []
        self.unknown: set[str] = set()
        self._nodes = WeakTensorKeyDictionary()
        self._nodes[image] = IMAGE
        self._sizes = WeakTensorKeyDictionary()
        self._sizes[image] = size_of(image)
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
        if read and made and name not in FACTORIES:
            node = self._note(name, args, read, made[0])
            for tensor in made:
                self._nodes[tensor] = node
                self._sizes[tensor] = size_of(tensor) or self._sizes[read[0]]  # flattened, it is still a map
        return result

    def _note(self, name: str, args: Sequence[Any], read: list[Tensor], made: Tensor) -> int:
        """Return the node of the tensor that operator `name` made."""
        parent = self._nodes[read[0]]
        step = LAYERS[name](args, made) if name in LAYERS else self._refilled(name, read[0], made)
        if step is not None:
            node = self.graph.add([Link(parent, step.rows, step.columns)])
            self._append(step, read[0], made, parent, node)
            return node
        if name in REDUCTIONS and is_over_the_map(args):
            node = self.graph.add([], everywhere=True)
            self._append(Operation("global pool", SAME, SAME), read[0], made, parent, node)
            return node
        if name in LINEAR and len(read) == 1:
            self._append(Operation("linear", SAME, SAME), read[0], made, parent, parent)
            return parent
        if name in REACHES:
            return self.graph.add([Link(parent, *REACHES[name](args, made))])
        links = [Link(self._nodes[tensor], *_reaches_of_operand(tensor, made)) for tensor in read]
        everywhere = name in OVER_THE_MAP and OVER_THE_MAP[name](args, read)
        if name not in LAYOUT and any(size_of(tensor) not in (None, (1, 1), size_of(made)) for tensor in read):
            self.unknown.add(name)
        if len(set(links)) == 1 and links[0] == Link(parent) and not everywhere:
            return parent  # position by position: nothing to remember
        return self.graph.add(links, everywhere)

    def _refilled(self, name: str, read: Tensor, made: Tensor) -> Operation | None:
        """Recognise unpooling by hand: a flattened map that comes back as one with more or fewer positions."""
        size_in, size = self._sizes[read], size_of(made)
        if name != "view" or read.ndim != 3 or size is None or size_in is None or math.prod(size_in) == math.prod(size):
            return None
        rows, columns = (unpooled(*sides) for sides in zip(size_in, size, strict=True))
        return Operation("unpool", rows, columns)

    def _append(self, step: Operation, read: Tensor, made: Tensor, parent: int, node: int) -> None:
        name, module = self._running[-1]
        size_in, size = self._sizes[read] or (1, 1), size_of(made) or (1, 1)
        channel = 1
        if step.kind == "linear":
            size, channel = (1, made.shape[:-1].numel()), -1
        taps = None
        if step.kind == "conv" and max(step.kernel) > 1:
            taps = valid_taps(size_in, size, step.kernel, step.stride, step.padding, step.dilation)
        # All rows and all columns, the shorter axis repeating its last: fields are asked for in pairs.
        longer = np.arange(max(size))
        seen, sees_all = self.graph.field(node, *(np.minimum(longer, side - 1) for side in size))
        has_weights = step.kind in ("conv", "transposed conv", "linear")
        facts = step._asdict()
        del facts["rows"], facts["columns"]
        self.layers.append(
            Layer(
                **facts,
                name=name,
                in_channels=read.shape[channel],
                out_channels=made.shape[channel],
                size_in=size_in,
                size=size,
                output_stride=self.graph.stride(node) if any(self.graph.stride(node)) else None,
                field=None if seen is None else (_largest(*seen[0]), _largest(*seen[1])),
                sees_all=sees_all,
                parameters=sum(p.numel() for p in module.parameters(recurse=False)) if has_weights else 0,
                valid_taps=taps,
                node=node,
                parent=parent,
            )
        )


def _largest(first: np.ndarray, last: np.ndarray) -> int:
    return int((last - first).max()) + 1


def _reaches_of_operand(operand: Tensor, made: Tensor) -> tuple[Reach, Reach]:
    """Return the reaches of an operator that works position by position; a single value may stand for a whole axis."""
    sides, sides_made = size_of(operand), size_of(made)
    if sides is None or sides_made is None:
        return SAME, SAME
    rows, columns = (
        FROM_SINGLE if side == 1 and side_made > 1 else SAME for side, side_made in zip(sides, sides_made, strict=True)
    )
    return rows, columns
