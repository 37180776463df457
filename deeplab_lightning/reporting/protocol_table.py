"""One checkpoint under many protocols, as a table: Markdown to read and CSV to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import files
from .tables import markdown_table, number


@dataclass(frozen=True)
class ProtocolRow:
    """One protocol's line.

    Attributes:
        protocol: In words.
        scores: Name -> value.
        published: mIoU that the paper published for the recipe under this protocol, 0..1.
        seconds: For an image, the middle one: from stored pixels to class map.
        peak_bytes: Most memory in use meanwhile: on a GPU its own, else the process's.
        images: Scored.
    """

    protocol: str
    scores: dict[str, float]
    published: float | None
    seconds: float
    peak_bytes: int | None
    images: int


def as_markdown(rows: Sequence[ProtocolRow]) -> str:
    """Return the table; where nothing was published for any row, without that column."""
    names = _score_names(rows)
    with_published = any(row.published is not None for row in rows)
    heading = ["protocol", *names, *(["published mIoU"] if with_published else []), "s/image", "peak MB", "images"]
    cells = []
    for row in rows:
        scores = [*map(row.scores.get, names), *([row.published] if with_published else [])]
        peak = "-" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}"
        cells.append([row.protocol, *map(number, scores), f"{row.seconds:.3g}", peak, str(row.images)])
    return markdown_table(heading, cells)


def write_csv(path: Path, rows: Sequence[ProtocolRow]) -> None:
    """Write the table in full precision; a cell is empty where there is no value."""
    names = _score_names(rows)
    header = ["protocol", *names, "published mIoU", "seconds per image", "peak bytes", "images"]
    cells = (
        [row.protocol, *map(row.scores.get, names), row.published, row.seconds, row.peak_bytes, row.images]
        for row in rows
    )
    files.write_csv(path, header, cells)


def _score_names(rows: Sequence[ProtocolRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.scores))
