"""The lists in which data sets name the files of a split."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from ...files import read_text
from ..wording import composed


def read_list(list_file: Path, *ways: str) -> list[list[str]]:
    """Read the list of a split, in UTF-8: one or a few words a line, empty lines left out, backslashes as slashes.

    `ways` are what a line may hold, a word for each of its words, such as `ID` and `image label`.

    Raises:
        DataError: A line has another number of words, or the file cannot be read.
    """
    try:
        text = read_text(list_file)
    except OSError as error:
        raise DataError(f"Cannot read the list {list_file}: {error.strerror}.") from error
    allowed = {len(way.split()) for way in ways}
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = composed(line.replace("\\", "/")).split()
        if words and len(words) not in allowed:
            raise DataError(
                f"{list_file}, line {number}: expected '{' or '.join(ways)}', found {len(words)} words: "
                f"{line.strip()!r}."
            )
        if words:
            lines.append(words)
    return lines
