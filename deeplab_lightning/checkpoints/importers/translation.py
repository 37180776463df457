"""From another program's names to ours: what every importer is made of, and what it returns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import CheckpointError
from ..loading import some

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLUS_MINUS_ONE = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

Renames = dict[str, str]
"""Beginnings of foreign names, at whose end a part of the name ends, and what they are with us; the longest counts."""

NORM_COUNTER = "num_batches_tracked"


@dataclass
class Imported:
    """Another program's network, recognised and by our names.

    Attributes:
        format: Which program wrote it.
        network: What it is, in words.
        generation: The name of our network.
        options: Of that network; all others are left at what it has.
        num_classes: Classes that it tells apart.
        state: Weights by our names, in PyTorch's layout.
        used: Foreign name -> our name.
        not_needed: Foreign name -> why our network has no use for it.
        left_over: Foreign names that nothing is known about.
        mean: Of its images, per channel in 0..1.
        std: Likewise.
        norm_eps: What its batch norms add to the variance: the start of our names -> eps, None for as much as ours; the
            longest start counts.
        notes: What was decided that the file itself does not say, or that one should know.
    """

    format: str
    network: str
    generation: Literal["DeepLabV1", "DeepLabV2", "DeepLabV3", "DeepLabV3Plus"]
    options: dict[str, Any]
    num_classes: int
    state: dict[str, Tensor]
    used: dict[str, str]
    not_needed: dict[str, str] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    norm_eps: dict[str, float | None] = field(default_factory=lambda: {"": 1e-5})
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ImportReport:
    """How the weights of a file and those of our network stand to each other.

    Attributes:
        imported: The file's side.
        missing: Our names for which the file has nothing.
        unfit: Our names for which it has something of another shape, with both shapes.
        expected: How many weights our network has.
    """

    imported: Imported
    missing: list[str]
    unfit: list[str]
    expected: int

    @property
    def complete(self) -> bool:
        """Whether every weight of the file has its place, and every place its weight."""
        return not (self.missing or self.unfit or self.imported.left_over)

    def lines(self) -> list[str]:
        """Return the report, to be printed."""
        imported = self.imported
        lines = [f"used: {len(imported.used)} of the file's weights, for {self.expected} of ours"]
        for reason in sorted(set(imported.not_needed.values())):
            names = [name for name, why in imported.not_needed.items() if why == reason]
            lines.append(f"not needed: {len(names)} ({reason}): {some(names)}")
        for what, names in (("left over", imported.left_over), ("missing", self.missing), ("unfit", self.unfit)):
            if names:
                lines.append(f"{what}: {len(names)}: {some(names, 8)}")
        return lines


def translate(tensors: Mapping[str, Tensor], renames: Renames, not_needed: Mapping[str, str]) -> dict[str, Any]:
    """Sort foreign weights, in PyTorch's layout, into those with a name of ours, those not needed, and those left over.

    `not_needed`, patterns and why they are not, is asked first.

    Returns:
        `state`, `used`, `not_needed` and `left_over`, as in `Imported`.

    Raises:
        CheckpointError: Two weights come by the same name.
    """
    state: dict[str, Tensor] = {}
    used: dict[str, str] = {}
    skipped: dict[str, str] = {}
    left_over: list[str] = []
    for name, tensor in tensors.items():
        reason = next((why for pattern, why in not_needed.items() if re.fullmatch(pattern, name)), None)
        if reason is not None:
            skipped[name] = reason
            continue
        start = name
        while start and start not in renames:
            start = start.rpartition(".")[0]
        if not start:
            left_over.append(name)
            continue
        used[name] = renames[start] + name.removeprefix(start)
        if used[name] in state:
            raise CheckpointError(f"Two weights of the file would become {used[name]}; one is {name}.")
        state[used[name]] = tensor
    return {"state": state, "used": used, "not_needed": skipped, "left_over": left_over}


def rows(table: str, *starts: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table, a line each.

    In a line, `{a,b}` and `{1..3}` stand for each of these in turn; columns, which are separated by blanks and to which
    `starts` are put in front, have braces of as many in the same order.
    """
    for line in filter(None, map(str.strip, table.splitlines())):
        columns = itertools.zip_longest(starts, line.split(), fillvalue="")
        yield from zip(*(_expanded(start + word) for start, word in columns), strict=True)


def renamed(table: str, *starts: str) -> dict[str, str]:
    """Return the renames of a table of foreign beginnings and ours, see `rows`."""
    return dict(rows(table, *starts))  # type: ignore[arg-type]


def _expanded(word: str) -> Iterator[str]:
    choices = []
    for index, part in enumerate(re.split(r"[{}]", word)):
        first, dots, last = part.partition("..")
        inside = map(str, range(int(first), int(last) + 1)) if dots else part.split(",")
        choices.append(inside if index % 2 else [part])
    return map("".join, itertools.product(*choices))


def unit_places(counts: Iterable[int]) -> list[tuple[int, int]]:
    """Return stage and unit, from 0, of units that are numbered through."""
    return [(stage, unit) for stage, count in enumerate(counts) for unit in range(count)]


def place(imported: Imported, model: nn.Module) -> ImportReport:
    """Compare the imported weights with those of `model`; where all fit, complete them to its whole state.

    Where batch norms add another eps than the file's program did, their scale is changed so that they compute the same.
    `model` is built with the options that go with it; on the meta device, since only shapes are read.
    """
    ours = model.state_dict()
    state = imported.state
    missing = [key for key in ours if key not in state and not key.endswith(NORM_COUNTER)]
    unfit = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(ours[key].shape)}"
        for key in ours
        if key in state and state[key].shape != ours[key].shape
    ]
    strangers = [f"{theirs} (our {key})" for theirs, key in imported.used.items() if key not in ours]
    imported.left_over += strangers
    report = ImportReport(imported, missing, unfit, len(ours))
    if report.complete:
        counters = (key for key in ours if key.endswith(NORM_COUNTER))
        state |= {key: torch.zeros((), dtype=torch.int64) for key in counters}
        _match_eps(state, model, imported.norm_eps)
    return report


def _match_eps(state: dict[str, Tensor], model: nn.Module, norm_eps: Mapping[str, float | None]) -> None:
    for name, norm in model.named_modules():
        if not isinstance(norm, _BatchNorm):
            continue
        theirs = norm_eps[max((start for start in norm_eps if name.startswith(start)), key=len)]
        if theirs is not None and theirs != norm.eps:
            variance = state[f"{name}.running_var"].double()
            scale = state[f"{name}.weight"].double() * ((variance + norm.eps) / (variance + theirs)).sqrt()
            state[f"{name}.weight"] = scale.float()


def folded_norm(key: str, bias: Tensor) -> dict[str, Tensor]:
    """Return the state of a batch norm `key` that only adds `bias`, given that its file's eps is 0."""
    one, zero = torch.ones_like(bias), torch.zeros_like(bias)
    return {f"{key}.weight": one, f"{key}.bias": bias, f"{key}.running_mean": zero, f"{key}.running_var": one.clone()}


def first_last(weight: Tensor, width: int) -> Tensor:
    """Move the first `width` input channels of a kernel `(out, in, h, w)` behind all others."""
    return torch.cat([weight[:, width:], weight[:, :width]], dim=1)


def low_level_last(imported: Imported, width: int, separable: bool) -> None:
    """Move the low-level map, of `width` channels, behind the context in what a v3+ decoder concatenates."""
    state = imported.state
    if separable:
        for key in [key for key in state if key.startswith("decoder.refine.0.0.0.")]:  # depthwise
            state[key] = torch.cat([state[key][width:], state[key][:width]])
    first = f"decoder.refine.0.0.{'1.0' if separable else '0'}.weight"
    if first in state:
        state[first] = first_last(state[first], width)
        imported.notes.append("concatenation: the low-level map moved from the first to the last place")


def units(tensors: Mapping[str, Tensor], pattern: str) -> tuple[int, ...]:
    """Count the units of numbered stages: `pattern` has the groups stage and unit, both from any number on."""
    found: dict[int, set[int]] = {}
    for name in tensors:
        if match := re.match(pattern, name):
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    return tuple(len(found[stage]) for stage in sorted(found))
