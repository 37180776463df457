"""Errors a user can do something about, and the words that help him do it.

Every message says what was found, what was expected, and the nearest thing that works. The command line prints a
`DeepLabError` as its message alone; any other exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DeepLabError(Exception):
    """Base of the errors that the user, not the developer, can fix."""

    def __init__(self, message: str) -> None:
        # PyTorch hands on an error of a loader's worker with its whole traceback for a message: keep the last words.
        if message.startswith("Caught ") and "Traceback (most recent call last)" in message:
            message = message.rsplit(f"{type(self).__qualname__}: ", 1)[-1].strip()
        super().__init__(message)


class ConfigError(DeepLabError, ValueError):
    """A setting that cannot be used, or that contradicts another."""


class DataError(DeepLabError, ValueError):
    """A file or folder of the data set that is missing, unreadable or inconsistent."""


class CheckpointError(DeepLabError, ValueError):
    """A checkpoint that is missing, torn, or belongs to another model."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest of `choices`, or an empty string when none is close.

    Args:
        word: What the user wrote.
        choices: What he could have written.
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    begun = sorted((choice for choice in by_folded if choice.startswith(word.casefold())), key=len)
    matches = begun or difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean {by_folded[matches[0]]!r}?" if matches else ""
