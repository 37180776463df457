"""Runs side by side: what differs in their configurations, scores, and images.

Scores stand in one column only where they were measured in the same way: on the same images with the same masks, of
the same split, by the same protocol. Runs that do not share all of that form groups of their own, each with a table of
its own and a first run that the others of the group are compared with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError
from ..reporting.card import energy_joules, wall_seconds
from ..reporting.evaluation import UNKNOWN
from ..reporting.records import ABSENT, RunRecord, config_differences
from . import statistics
from .statistics import RESAMPLES, Tallies, tally


class Disagreement(NamedTuple):
    """An image that runs score differently.

    Attributes:
        sample_id: Its name.
        scores: IoU of each run of the group, averaged over the classes of the image.
        spread: The highest less the lowest.
    """

    sample_id: str
    scores: list[float]
    spread: float


@dataclass(frozen=True, eq=False)
class Measured:
    """One score of several runs.

    Attributes:
        tallies: What the score needs of each image, for each run.
        comparisons: Of each run with the first one; None for that.
        adjusted_p: Their p-values, adjusted for how many there are (Holm); NaN for the first run.
    """

    tallies: list[Tallies]
    comparisons: list[statistics.PairedComparison | None]
    adjusted_p: list[float]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs whose scores can be compared.

    Attributes:
        records: The runs, the baseline first.
        regions: Their mIoU.
        panoptic: Their PQ, where all have it against the same truth.
        disagreements: All images, those scored most differently first; empty for a single run.
    """

    records: list[RunRecord]
    regions: Measured
    panoptic: Measured | None
    disagreements: list[Disagreement]

    @property
    def measured(self) -> list[Measured]:
        """The scores that there are."""
        return [self.regions] if self.panoptic is None else [self.regions, self.panoptic]

    @property
    def title(self) -> str:
        """What the scores were measured on, in words."""
        return self.records[0].evaluation.words

    @property
    def same_machine(self) -> bool:
        """Whether times of its runs can be compared."""
        return len({machine(record) for record in self.records}) == 1


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs.

    Attributes:
        records: In the order given.
        config: Setting -> its value in each run; only settings that differ.
        only_in_some: Likewise for settings that not all runs have: their classes or versions have other ones.
        groups: Of runs that can be compared, in the order of their first runs.
        notes: What a reader must know before he looks at a number.
    """

    records: list[RunRecord]
    config: dict[str, list[str]]
    only_in_some: dict[str, list[str]]
    groups: list[Group]
    notes: list[str]


def compare_runs(records: Sequence[RunRecord], resamples: int = RESAMPLES) -> Comparison:
    """Compare runs, at least two, by so many resamples of the bootstrap over images; the first is the baseline.

    Raises:
        ConfigError: There is only one run.
    """
    if len(records) < 2:
        raise ConfigError(f"A comparison needs two runs or more, got {len(records)}: compare RUN RUN [RUN ...]")
    members: dict[tuple[str, ...], list[tuple[RunRecord, Tallies]]] = {}
    for record in records:
        counted = tally(record.counts)
        members.setdefault(_measured_on(record, counted), []).append((record, counted))
    groups = [_group(entries, resamples) for entries in members.values()]
    differing = config_differences(records)
    in_all = {key: values for key, values in differing.items() if ABSENT not in values}
    only_in_some = {key: values for key, values in differing.items() if ABSENT in values}
    return Comparison(list(records), in_all, only_in_some, groups, _notes(list(records), groups))


def costs(record: RunRecord) -> dict[str, float]:
    """Return what a run cost, as far as its folder tells: name with unit -> value."""
    found: dict[str, float] = {}
    if record.card.get("parameters") is not None:
        found["parameters"] = float(record.card["parameters"])
    steps = record.speed.get("seconds_per_step", np.zeros(0))
    if len(steps) and not np.isnan(steps).all():
        found["seconds per training step"] = float(np.nanmedian(steps))
    seconds = wall_seconds(record.card)
    if seconds:
        found["minutes of training"] = seconds / 60
    joules = [value for value in energy_joules(record.card).values() if value is not None]
    if joules:
        found["kJ of training"] = sum(joules) / 1000
    if record.evaluation.seconds and record.evaluation.images:
        found["seconds per evaluated image"] = record.evaluation.seconds / record.evaluation.images
    return found


def machine(record: RunRecord) -> str:
    """Return where a run was made: times of different machines are no measure of the network."""
    card = record.card
    if not card:
        return "not recorded"
    processes = f", {card['devices']} process{'es' if card['devices'] > 1 else ''}" if card.get("devices") else ""
    return f"{card.get('gpu') or card.get('cpu')}{processes}"


def _measured_on(record: RunRecord, counted: Tallies) -> tuple[str, ...]:
    """Return what must be equal for scores to be comparable."""
    return record.evaluation.split, record.evaluation.protocol, _content(counted)


def _content(counted: Tallies) -> str:
    """Return what images, classes and truth amount to."""
    content = hashlib.sha256("\n".join([*counted.sample_ids, "", *counted.class_names]).encode())
    content.update(np.ascontiguousarray(counted.truth).tobytes())
    return content.hexdigest()


def _group(entries: Sequence[tuple[RunRecord, Tallies]], resamples: int) -> Group:
    records, tallies = [record for record, _ in entries], [counted for _, counted in entries]
    segments = [tally(record.panoptic) for record in records if record.panoptic is not None]
    same = len(segments) == len(records) and len({_content(counted) for counted in segments}) == 1
    panoptic = _measured(segments, resamples) if same else None
    return Group(records, _measured(tallies, resamples), panoptic, _disagreements(records))


def _measured(tallies: list[Tallies], resamples: int) -> Measured:
    comparisons: list[statistics.PairedComparison | None] = [None]
    comparisons += [statistics.compare(tallies[:1], [counted], resamples) for counted in tallies[1:]]
    p_values = [float("nan") if found is None else found.p_value for found in comparisons]
    return Measured(tallies, comparisons, statistics.holm(p_values))


def _disagreements(records: Sequence[RunRecord]) -> list[Disagreement]:
    if len(records) < 2:
        return []
    found = []
    for sample_id in records[0].counts.sample_ids:
        scores = [record.image_scores(sample_id).mIoU for record in records]
        if not any(map(math.isnan, scores)):
            found.append(Disagreement(sample_id, scores, max(scores) - min(scores)))
    return sorted(found, key=lambda entry: (-entry.spread, entry.sample_id))


def _notes(records: Sequence[RunRecord], groups: Sequence[Group]) -> list[str]:
    notes = []
    if len(groups) > 1:
        titles = "; ".join(f"({', '.join(record.name for record in group.records)}) {group.title}" for group in groups)
        same = len({group.title for group in groups}) < len(groups)
        what = " or with other masks, classes or images" if same else ""
        notes.append(
            f"These runs were not measured in the same way{what}: their scores stand in {len(groups)} tables and are "
            f"not to be compared across them. {titles}."
        )
    compared = [group for group in groups if len(group.records) > 1]
    notes += dict.fromkeys(filter(None, (statistics.too_few(len(group.records[0].counts)) for group in compared)))
    for group in compared:
        with_objects = [record.name for record in group.records if record.panoptic is not None]
        if with_objects and group.panoptic is None:
            notes.append(
                f"PQ is known of {', '.join(with_objects)}, and compared only where all runs of a table have it, with "
                "the same objects in the truth."
            )
    unknown = [record.name for record in records if record.evaluation.protocol == UNKNOWN]
    if unknown:
        notes.append(
            f"{', '.join(unknown)}: from before protocols were recorded, so that nobody knows whether they were "
            "measured in the same way. `validate` on their checkpoints writes it down."
        )
    data = {str((record.card.get("data") or {}).get("train")) for record in records if record.card.get("data")}
    if len(data) > 1:
        notes.append("The runs were trained on different data: the fingerprints of their training splits differ.")
    cards = [record.card for record in records if record.card]
    code = {f"{str(card.get('git_commit'))[:10]}{' with changes' if card.get('git_dirty') else ''}" for card in cards}
    if len(code) > 1 or any(card.get("git_dirty") for card in cards):
        notes.append(f"The runs come from this code: {', '.join(sorted(code))}.")
    machines = {machine(record) for record in records}
    if len(machines) > 1:
        notes.append(f"Times are of different machines: {', '.join(sorted(machines))}.")
    if compared:
        notes.append(
            "Intervals and p-values are of the paired bootstrap over images: they speak of other images, not of "
            "other seeds. One run of each configuration says nothing of the spread over seeds."
        )
    return notes
