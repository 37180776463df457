"""How a score was measured, `evaluation.json`: without it, two scores cannot stand in one column."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass

from ..errors import DataError
from ..files import atomic_open
from ..runs import RunFolder

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Evaluation:
    """What a run folder's scores belong to.

    Attributes:
        split: `val` or `test`.
        protocol: Output stride, scales, flip, window, CRF, in words.
        images: How many were scored.
        step: Optimiser step of the checkpoint.
        mIoU: Of it, in 0..1; None if nothing is labelled.
        seconds: That the evaluation took, panels and files included.
    """

    split: str
    protocol: str
    images: int
    step: int
    mIoU: float | None  # noqa: N815 - the name the field uses
    seconds: float | None = None


def write_evaluation(run: RunFolder, evaluation: Evaluation) -> None:
    """Write `evaluation.json`."""
    with atomic_open(run.evaluation) as file:
        file.write((json.dumps(asdict(evaluation), indent=2) + "\n").encode())


def read_evaluation(run: RunFolder) -> Evaluation | None:
    """Read `evaluation.json`; None in runs of earlier versions, which have none.

    Raises:
        DataError: It is damaged.
    """
    with suppress(FileNotFoundError):
        try:
            return Evaluation(**json.loads(run.evaluation.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DataError(f"{run.evaluation} cannot be read ({error}): evaluate the checkpoint again.") from error
    return None
