"""The parser behind a configuration: jsonargparse's, with messages of one line and ranges in `--help`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any

import lightning.pytorch.callbacks
import lightning.pytorch.loggers  # noqa: F401 - the parser finds callbacks and loggers by their short names
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from .config_words import in_one_line
from .errors import ConfigError
from .options import Options, constraint_words, hints_of

set_parsing_settings(docstring_parse_attribute_docstrings=True)


class OneLineParser(LightningArgumentParser):
    """Says what is wrong in one line, and how to put it right."""

    words: Sequence[str] | None = None
    """What the user wrote; None in the parsers that jsonargparse makes within this one, which hand their message on."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Raise instead of printing the usage and leaving."""
        if self.words is None:
            raise ValueError(message)
        raise ConfigError(in_one_line(str(message), self.words))


def say_ranges(parser: OneLineParser, groups: Sequence[type[Options]]) -> None:
    """Add the ranges of options to what `--help` says of them."""
    ranges = {
        (group.section, name): words
        for group in groups
        for name, hint in hints_of(group).items()
        if (words := constraint_words(hint))
    }
    for action in parser._actions:
        section, _, name = action.dest.partition(".")
        if (section, name) in ranges:
            action.help = f"{(action.help or '').rstrip('.')}. Allowed: {ranges[section, name]}."


def without_enums(value: Any) -> Any:
    """Return words in place of enums, such as `Interval.step` of Lightning's `Timer`, which YAML does not know."""
    if isinstance(value, Namespace):
        return Namespace({key: without_enums(child) for key, child in vars(value).items()})
    if isinstance(value, dict):
        return {key: without_enums(child) for key, child in value.items()}
    if isinstance(value, list):
        return [without_enums(child) for child in value]
    return value.value if isinstance(value, Enum) and isinstance(value, str) else value


@contextmanager
def as_config_error() -> Iterator[None]:
    """Say in one line what Lightning does not take in the trainer's section."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"--trainer cannot be made with these options: {said.rstrip('.')}.") from error


@contextmanager
def types_named(group: type[Options], for_help: bool) -> Iterator[None]:
    """Let `--help` name the types of options that a group inherits, which the parser cannot resolve by itself.

    Elsewhere it need not: the group checks its values, and says in better words what is wrong with them.
    """
    annotations = group.__init__.__annotations__
    before = dict(annotations)
    if for_help:
        annotations.update(hints_of(group))
    try:
        yield
    finally:
        annotations.update(before)
