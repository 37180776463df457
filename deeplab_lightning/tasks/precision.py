"""The precisions that a task computes in; Lightning offers more, in which images and scores would not be right."""

from __future__ import annotations

from collections.abc import Sequence

from ..config_words import option_value
from ..errors import ConfigError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
SHORT = {"32": "32-true", "64": "64-true", "16": "16-mixed", "bf16": "bf16-mixed"}


def expect_precision(given: str | int | None) -> None:
    """Refuse a precision that is none of `PRECISIONS`.

    Args:
        given: As Lightning takes it, such as 32 or bf16-mixed; None for its default.

    Raises:
        ConfigError: What works.
    """
    name = str(given or "32-true")
    if SHORT.get(name, name) not in PRECISIONS:
        raise ConfigError(
            f"--trainer.precision {name} is not supported: weights stay in float32 here. What works is "
            f"{', '.join(PRECISIONS)}; bf16-mixed is the fastest that needs no scaling of losses."
        )


def expect_full_precision(words: Sequence[str], command: str) -> None:
    """Refuse words that ask for another precision, of a command that has none but float32.

    Raises:
        ConfigError: What has others.
    """
    given = option_value(words, "--trainer.precision")
    if given not in (None, "null", "32", "32-true"):
        raise ConfigError(
            f"--trainer.precision {given}: {command} computes in float32. Leave it out; `validate` and `test` score in "
            f"other precisions."
        )
