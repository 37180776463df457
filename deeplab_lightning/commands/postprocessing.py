"""The options of commands that post-process class maps."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..inference.morphology import Morphology
    from ..labels import LabelSet


class Postprocessing(NamedTuple):
    """A `Morphology` in a user's words: classes by name.

    Attributes:
        threshold: As `Morphology` has it.
        unsure: Class that unsure pixels become; None for the ignored value.
        opening: As `Morphology` has it, and so are the others.
        closing: Likewise.
        largest: Names.
        min_area: Likewise.
        fill_holes: Likewise.
        classes: Names; none for all classes.
    """

    threshold: float = 0.0
    unsure: str | None = None
    opening: int = 0
    closing: int = 0
    largest: tuple[str, ...] = ()
    min_area: int = 0
    fill_holes: int = 0
    classes: tuple[str, ...] = ()

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Give a parser the options."""
        group = parser.add_argument_group("post-processing of masks", "in this order; none by default")
        group.add_argument("--threshold", type=float, default=0.0, metavar="P", help="less likely pixels are unsure")
        group.add_argument("--unsure", metavar="CLASS", help="what unsure pixels become (the ignored value)")
        group.add_argument("--opening", type=int, default=0, metavar="RADIUS", help="take away what no disc fits into")
        group.add_argument("--closing", type=int, default=0, metavar="RADIUS", help="close gaps that no disc fits into")
        group.add_argument("--largest", nargs="+", default=[], metavar="CLASS", help="keep their largest part alone")
        group.add_argument("--min_area", type=int, default=0, metavar="PIXELS", help="take away smaller components")
        group.add_argument("--fill_holes", type=int, default=0, metavar="PIXELS", help="fill holes of up to this size")
        group.add_argument(
            "--postprocess_classes", nargs="+", default=[], metavar="CLASS", help="the classes it is done to (all)"
        )

    @classmethod
    def of(cls, options: argparse.Namespace) -> Postprocessing:
        """Return what was parsed."""
        return cls(
            options.threshold, options.unsure, options.opening, options.closing, tuple(options.largest),
            options.min_area, options.fill_holes, tuple(options.postprocess_classes),
        )  # fmt: skip

    def morphology(self, labels: LabelSet) -> Morphology:
        """Return the steps for these classes.

        Raises:
            ConfigError: A class does not exist, or a number is out of range.
        """
        from ..inference.morphology import Morphology

        ignored = labels.ignore_index if 0 <= labels.ignore_index < 256 else 255
        return Morphology(
            threshold=self.threshold,
            unsure=ignored if self.unsure is None else labels.ids_of([self.unsure])[0],
            opening=self.opening,
            closing=self.closing,
            largest=labels.ids_of(self.largest),
            min_area=self.min_area,
            fill_holes=self.fill_holes,
            classes=labels.ids_of(self.classes) or None,
        )
