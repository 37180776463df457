"""The gate: an exported file against the network it came from, on sizes that it has not seen and on a data set."""

from __future__ import annotations

import math
import statistics
import timeit
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, NotFiniteError, of_image, shown
from ..files import write_json
from ..inference.panoptic import PanopticPredictor
from ..inference.predictor import Predictor
from ..metrics.segmentation import SegmentationScores
from .format import Exported, Precision
from .model import ImageModel
from .object_gate import ObjectComparison, ObjectGate

if TYPE_CHECKING:
    from rich.console import RenderableType

TIMED_RUNS = 9
STRAYS = 0.001
"""Share of values that may differ by more: where two values of a pooling window are equal but for rounding, SegNet's
maximum moves to the pixel beside, and takes a few logits along. The classes are held to by their agreement."""


@dataclass(frozen=True)
class Tolerance:
    """How far a file may be from its original.

    Attributes:
        difference: Of all but `STRAYS` of the logits (or probabilities), as a share of the largest in the image.
        agreement: Share of pixels that must have the same class.
        miou_drop: mIoU that may be lost, 0..1, and PQ where objects are found.
        same_objects: PQ of the file's objects and stuff, the original's being the truth, at least. An object whose
            centre lies at the threshold may go either way.
    """

    difference: float
    agreement: float
    miou_drop: float
    same_objects: float


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(1e-3, 0.999, 0.001, 0.99),
    "fp16": Tolerance(0.05, 0.99, 0.005, 0.9),
    "bf16": Tolerance(0.3, 0.95, 0.01, 0.8),
    "int8": Tolerance(1.0, 0.9, 0.02, 0.5),
}
"""int8 is held by classes and mIoU: a single logit may be off by much."""


class Labelled(NamedTuple):
    """An image whose truth is known."""

    name: str
    image: np.ndarray
    """`(1, C, H, W)` as stored."""
    mask: np.ndarray
    """`(H, W)` uint8 train ids."""
    numbers: np.ndarray | None = None
    """`(H, W)` int32 numbers of objects, where objects are compared."""


@dataclass(frozen=True)
class OutputComparison:
    """One batch of images through both.

    Attributes:
        size: `(B, H, W)`.
        difference: The largest between two values.
        nearly_all: That all but `STRAYS` of the differences stay below.
        largest: The original's largest value.
        agreement: Share of pixels with the same class.
    """

    size: tuple[int, int, int]
    difference: float
    nearly_all: float
    largest: float
    agreement: float


@dataclass(frozen=True)
class GateReport:
    """What the gate saw.

    Attributes:
        compared: `logits`, `probs` or `coarse_logits`.
        comparisons: One for each size.
        images: How many with masks were scored.
        of: What they are, or why there are none.
        miou: Of the original and of the file; None without masks.
        agreement: Share of their pixels with the same class; None without.
        milliseconds: Of the original and of the file: median of one image, warm.
        timed: `(H, W)` of it.
        threads: That both had.
        bytes: Of the weights of the network that was exported (in float32) and of the file.
        runtime: What ran the file.
        tolerance: That it was held to.
        failures: In words; empty if it passed.
        objects: How objects compare; None where the file finds none.
    """

    compared: str
    comparisons: list[OutputComparison]
    images: int
    of: str
    miou: tuple[float, float] | None
    agreement: float | None
    milliseconds: tuple[float, float]
    timed: tuple[int, int]
    threads: int
    bytes: tuple[int, int]
    runtime: str
    tolerance: Tolerance
    failures: list[str]
    objects: ObjectComparison | None = None


class Gate:
    """Runs the original, by its own `predictor` on the CPU, and the file of a `model` side by side."""

    def __init__(self, predictor: Predictor, model: ImageModel, exported: Exported, tolerance: Tolerance) -> None:
        self.predictor, self.model, self.exported, self.tolerance = predictor, model, exported, tolerance
        self.outputs = model.outputs
        self._objects: ObjectGate | None = None

    def check(
        self,
        unseen: Sequence[np.ndarray],
        labelled: Iterable[Labelled],
        of: str,
        class_names: Sequence[str],
        ignore_index: int,
    ) -> GateReport:
        """Compare, score, time and weigh.

        Args:
            unseen: Batches `(B, C, H, W)` as stored, of sizes not seen at export; the first one is timed.
            labelled: Images with their truth.
            of: What the labelled images are, or why there are none.
            class_names: Of the masks.
            ignore_index: Of the masks.
        """
        if self.exported.run_objects is not None:
            assert isinstance(self.predictor, PanopticPredictor)
            self._objects = ObjectGate(self.predictor, self.exported.run_objects, class_names, ignore_index)
        comparisons = [self._compare(batch) for batch in unseen]
        images, miou, agreement = self._score(labelled, class_names, ignore_index)
        first = unseen[0][:1]
        original, given = torch.from_numpy(first), self._input(first)
        report = GateReport(
            compared="logits" if self.outputs == "classes" else self.outputs,
            comparisons=comparisons,
            images=images,
            of=of,
            miou=miou,
            agreement=agreement,
            milliseconds=(
                _median_ms(lambda: self._look(original)),
                _median_ms(lambda: self.exported.run(given)),
            ),
            timed=(first.shape[2], first.shape[3]),
            threads=torch.get_num_threads(),
            bytes=(sum(tensor.numel() * 4 for tensor in self.model.network.parameters()), self.exported.bytes),
            runtime=self.exported.runtime,
            tolerance=self.tolerance,
            failures=[],
            objects=None if self._objects is None else self._objects.comparison(),
        )
        report.failures.extend(failures(report))
        return report

    def _look(self, image: Tensor) -> None:
        """Do with the original what the file does."""
        self.predictor.predict(image)
        if self._objects is not None:
            self._objects.predictor.panoptic()

    def _input(self, stored: np.ndarray) -> np.ndarray:
        if self.model.inputs == "pixels":
            return np.ascontiguousarray(stored)
        return self.predictor.normalise(torch.from_numpy(stored)).numpy()

    def _given(self, stored: np.ndarray) -> Tensor:
        """Return what the file itself says, coarse logits brought to the image's size."""
        result = torch.from_numpy(np.asarray(self.exported.run(self._input(stored))))
        return self._resized(result, stored.shape[2:]) if self.outputs == "coarse_logits" else result

    def _classes(self, given: Tensor) -> Tensor:
        """Return the classes `(B, H, W)` that this means."""
        if self.outputs == "classes":
            return given
        decide = self.predictor.decide
        return decide.of_probs(given) if self.outputs == "probs" else decide(given)

    def _resized(self, coarse: Tensor, size: tuple[int, ...]) -> Tensor:
        """Bring coarse logits to the image's size by the original's own path."""
        finish = Predictor(
            lambda _: coarse,
            self.predictor.normalise,
            output_stride=self.predictor.output_stride,
            align_corners=self.predictor.align_corners,
            side_remainder=self.predictor.side_remainder,
            weights=str(self.exported.path),
        )
        return torch.cat([logits for _, logits in finish.bands(torch.zeros(len(coarse), 1, *size))], dim=2)

    @torch.no_grad()
    def _compare(self, stored: np.ndarray) -> OutputComparison:
        image = torch.from_numpy(stored)
        with of_image("A drawn or given image of {}x{}x{}x{}".format(*stored.shape)):
            logits = torch.cat([band for _, band in self.predictor.bands(image)], dim=2)
        given, expected = self._given(stored), logits
        found = self._classes(given)
        if found.shape != logits.shape[:1] + logits.shape[2:]:
            raise DataError(
                f"{self.exported.path} gives classes of shape {tuple(found.shape)} for images of {stored.shape}."
            )
        if self.outputs == "probs":
            expected = logits.softmax(1)
        elif self.outputs != "coarse_logits":
            assert self.exported.run_logits is not None
            given = torch.from_numpy(np.asarray(self.exported.run_logits(self._input(stored))))
        if self._objects is not None:
            self._objects.add(self._input(stored))
        differences = (given - expected).abs().flatten()
        return OutputComparison(
            (stored.shape[0], stored.shape[2], stored.shape[3]),
            float(differences.max()),
            float(differences.kthvalue(max(1, math.ceil((1 - STRAYS) * differences.numel()))).values),
            float(expected.abs().max()),
            float((found == self.predictor.decide(logits)).float().mean()),
        )

    def _score(
        self, labelled: Iterable[Labelled], class_names: Sequence[str], ignore_index: int
    ) -> tuple[int, tuple[float, float] | None, float | None]:
        ours, theirs = (SegmentationScores(class_names, ignore_index) for _ in range(2))
        same = pixels = count = 0
        for name, stored, mask, numbers in labelled:
            with of_image(name):
                original = self.predictor.predict(torch.from_numpy(stored))[0]
            found = self._classes(self._given(stored))[0]
            if int(found.max()) >= len(class_names):
                raise NotFiniteError(f"{name}: {self.exported.path} makes NaN or infinite logits of it.")
            truth = torch.from_numpy(mask)
            ours.update(original, truth, name)
            theirs.update(found, truth, name)
            if self._objects is not None and numbers is not None:
                self._objects.add(self._input(stored), (mask, numbers))
            same += int((original == found).sum())
            pixels += found.numel()
            count += 1
        if not count:
            return 0, None, None
        return count, (ours.scores().mIoU, theirs.scores().mIoU), same / pixels


def failures(report: GateReport) -> list[str]:
    """Say in words where a report is past its tolerance."""
    tolerance, found = report.tolerance, []
    for entry in report.comparisons:
        where = "{}x{}x{}".format(*entry.size)
        within = entry.nearly_all <= tolerance.difference * entry.largest
        if not within or not math.isfinite(entry.difference):
            found.append(
                f"{report.compared} differ by {entry.nearly_all:.3g} (the worst by {entry.difference:.3g}) on {where}, "
                f"more than {tolerance.difference:g} of the largest ({entry.largest:.3g})"
            )
        if entry.agreement < tolerance.agreement:
            found.append(f"{entry.agreement:.4%} of the pixels of {where} agree, fewer than {tolerance.agreement:.2%}")
    if report.agreement is not None and report.agreement < tolerance.agreement:
        found.append(
            f"{report.agreement:.4%} of the pixels of {report.images} images agree, fewer than "
            f"{tolerance.agreement:.2%}"
        )
    if report.miou is not None and not report.miou[0] - report.miou[1] <= tolerance.miou_drop:
        found.append(
            f"mIoU falls from {report.miou[0]:.4f} to {report.miou[1]:.4f}, by more than {tolerance.miou_drop:g}"
        )
    if report.objects is not None:
        found += report.objects.failures(tolerance.same_objects, tolerance.miou_drop)
    return found


def _median_ms(run: Callable[[], Any]) -> float:
    return 1000 * statistics.median(timeit.repeat(run, number=1, repeat=2 + TIMED_RUNS)[2:])


def as_table(report: GateReport, title: str) -> RenderableType:
    """Lay a report out for the terminal."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=escape(shown(title)), title_justify="left", title_style="bold"
    )
    table.add_column("")
    for heading in ("original", "exported", "difference"):
        table.add_column(heading, justify="right")
    for entry in report.comparisons:
        size = "{}x{}x{}".format(*entry.size)
        table.add_row(f"{report.compared}, {size}", f"up to {entry.largest:.3g}", "", f"{entry.difference:.2e} at most")
        table.add_row(f"classes, {size}", "", "", f"{entry.agreement:.4%} agree")
    if report.miou is not None and report.agreement is not None:
        ours, theirs = report.miou
        table.add_row(f"mIoU, {report.images} images", f"{ours:.4f}", f"{theirs:.4f}", f"{theirs - ours:+.4f}")
        table.add_row(f"classes, {report.images} images", "", "", f"{report.agreement:.4%} agree")
    for row in [] if report.objects is None else report.objects.rows():
        table.add_row(*row)
    ours, theirs = report.milliseconds
    where = "ms an image, {}x{}".format(*report.timed)
    table.add_row(where, f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}x as fast")
    ours, theirs = (size / 1e6 for size in report.bytes)
    table.add_row("MB", f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}x")
    ending = Text()
    ending.append(f"{shown(report.of)}; {report.runtime}; threads: {report.threads}\n", style="dim")
    for failure in report.failures:
        ending.append(f"past the tolerance: {failure}\n", style="bold red")
    ending.append("FAILED" if report.failures else "passed", style="bold")
    return Group(table, ending)


def write_report(path: Path, report: GateReport, metadata: dict[str, Any]) -> None:
    """Write a report, with what was exported, as JSON."""
    write_json(path, {"exported": metadata, "passed": not report.failures, **asdict(report)})
