"""Errors a user can do something about, and the words that help him do it.

Every message says what was found, what was expected, and the nearest thing that works. The command line prints a
`DeepLabError` as its message alone; any other exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

EXIT_MISTAKE = 2
"""Exit code of a command that ends with a `DeepLabError`: a mistake that the user can fix."""
EXIT_DIVERGED = 3
"""Exit code of a `fit` whose loss is no number any more, or far above where it began."""

Kind = Literal[
    "",
    "leak",
    "missing_files",
    "unreadable_image",
    "unfit_image",
    "unreadable_mask",
    "lossy_mask",
    "colour_mask",
    "size",
    "labels",
    "black_white",
    "not_finite",
]
"""What an error is of, for programs: messages are for people, and may be worded anew.

leak: images that are trained on are scored. missing_files: of a split, images or masks. unreadable_image and
unreadable_mask: the file cannot be decoded. unfit_image: it has other channels or values than declared. lossy_mask:
compressed so that values changed. colour_mask: colours in place of class ids. size: a mask of another size than its
image. labels: values that are no class. black_white: such values, 0 and 255. not_finite: a loss or logits that are NaN
or infinite, and not because an image is. Empty: none of these.
"""


class DeepLabError(Exception):
    """Base of the errors that the user, not the developer, can fix.

    Args:
        message: What was found, what was expected, and the nearest thing that works.
        kind: What the error is of. PyTorch hands on the message alone of an error in a loader's worker.

    Attributes:
        exit_code: Of a command that it ends.
    """

    exit_code = EXIT_MISTAKE

    def __init__(self, message: str, *, kind: Kind = "") -> None:
        # PyTorch hands on an error of a loader's worker with its whole traceback for a message: keep the last words.
        if message.startswith("Caught ") and "Traceback (most recent call last)" in message:
            message = message.rsplit(f"{type(self).__qualname__}: ", 1)[-1].strip()
        super().__init__(message)
        self.kind = kind


class ConfigError(DeepLabError, ValueError):
    """A setting that cannot be used, or that contradicts another."""


class DataError(DeepLabError, ValueError):
    """A file or folder of the data set that is missing, unreadable or inconsistent."""


class NotFiniteError(DataError):
    """An image for which a network gives NaN or infinite logits: no class can be made of them."""


class DivergenceError(DeepLabError, ArithmeticError):
    """The loss or the logits are no numbers any more, or the loss has risen far beyond where it began."""

    exit_code = EXIT_DIVERGED


class CheckpointError(DeepLabError, ValueError):
    """A checkpoint that is missing, torn, or belongs to another model."""


@contextmanager
def of_kind(kind: Kind) -> Iterator[None]:
    """Give data errors that are raised inside, or in a function that this decorates, a kind where they have none."""
    try:
        yield
    except DataError as error:
        error.kind = error.kind or kind
        raise


@contextmanager
def of_image(name: object) -> Iterator[None]:
    """Name the image in an error of logits that are not finite, and where memory ends."""
    try:
        yield
    except NotFiniteError as error:
        raise NotFiniteError(f"{name}: {error}") from error
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        raise DataError(
            f"{name} needs more memory than there is{why}. Cut it into smaller images, look at it in windows "
            f"(--evaluation.window_size 512), or take it out of the data.",
            kind="unfit_image",
        ) from error


def shown(text: object, lines: bool = False) -> str:
    """Return a text that may hold names of files, classes or runs as a terminal can show it and be fooled by nothing.

    Signs that move the cursor, clear the screen or turn the direction of writing are written as Python writes them.

    Args:
        text: Any.
        lines: It is a message of our own, which may have several lines: what follows a line break is set in, so that
            none in a name forges a line. Otherwise line breaks are written like the other signs.
    """
    return "".join(
        sign
        if sign.isprintable() or unicodedata.category(sign) == "Zs"
        else "\n  "
        if lines and sign == "\n"
        else sign.encode("unicode_escape").decode("ascii")
        for sign in str(text)
    )


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
