"""How a score was measured, `evaluation.json`: without it, two scores cannot stand in one column."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..errors import DataError
from ..files import read_json, write_json
from ..runs import RunFolder

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class EvaluationRecord:
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

    @property
    def words(self) -> str:
        """What the scores were measured on, which stands beside all of them."""
        protocol = f"protocol {UNKNOWN}" if self.protocol == UNKNOWN else self.protocol
        return f"{self.images} images of the split {self.split}; {protocol}"


def write_evaluation(run: RunFolder, evaluation: EvaluationRecord) -> None:
    """Write `evaluation.json`."""
    write_json(run.evaluation, asdict(evaluation))


def read_evaluation(run: RunFolder) -> EvaluationRecord | None:
    """Read `evaluation.json`; None in runs of earlier versions, which have none.

    Raises:
        DataError: It is damaged.
    """
    found = read_json(run.evaluation, "evaluate the checkpoint again.")
    try:
        record = None if found is None else EvaluationRecord(**found)
        number = (int, float, type(None))
        if record is not None and not (
            isinstance(record.split, str)
            and isinstance(record.protocol, str)
            and isinstance(record.images, int)
            and isinstance(record.step, int)
            and isinstance(record.mIoU, number)
            and isinstance(record.seconds, number)
        ):
            raise TypeError("an entry is of another type than expected")
        return record
    except TypeError as error:
        raise DataError(f"{run.evaluation} cannot be read ({error}): evaluate the checkpoint again.") from error
