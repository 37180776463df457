"""The lists in which data sets name the files of a split."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError


def read_list(list_file: Path, expected: str) -> list[list[str]]:
    """Read the list of a split: one or a few words a line, empty lines left out, backslashes as slashes.

    Args:
        list_file: Text in UTF-8.
        expected: What a line may hold, ways parted by " or ", such as `ID or image label`.

    Raises:
        DataError: A line has another number of words, or the file cannot be read.
    """
    try:
        text = list_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the list {list_file}: {error}.") from error
    allowed = {len(way.split()) for way in expected.split(" or ")}
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.replace("\\", "/").split()
        if words and len(words) not in allowed:
            raise DataError(
                f"{list_file}, line {number}: expected '{expected}', found {len(words)} words: {line.strip()!r}."
            )
        if words:
            lines.append(words)
    return lines
