"""The options of evaluation on the command lines of commands that do not parse a configuration."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import yaml

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..inference import EvaluationOptions

PREFIX = "--evaluation."
"""The options have the names that they have in `validate`."""


def add_evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--evaluation.scales` and the others; their values are YAML, read by `evaluation_options`."""
    group = parser.add_argument_group("how images are looked at (docs/inference.md)")

    def add(name: str, metavar: str, what: str, *others: str) -> None:
        group.add_argument(f"{PREFIX}{name}", *others, dest=f"{PREFIX}{name}", metavar=metavar, help=what)

    add("scales", "'[0.5, 1]'", "sides relative to the image's (1)")
    add("flip", "BOOL", "mirrored as well (false)")
    add("fusion", "mean|max", "of probabilities, or over the scales of scores as in v2 (mean)")
    add("window_size", "PIXELS", "side of a sliding window, for images that are too large for memory (none)")
    add("overlap", "SHARE", "of a window's side that its neighbours see too (0.25)")
    add("crf", "NAME|'{w1: 4}'", "dense CRF: v1, v2_vgg16, v2_resnet101, or one's own parameters (none)", "--crf")


def evaluation_options(arguments: argparse.Namespace) -> EvaluationOptions:
    """Return the options that were given, above the defaults.

    Raises:
        ConfigError: One cannot be used.
    """
    from ..inference import options_from

    given = {
        name.removeprefix(PREFIX): from_yaml(value, name)
        for name, value in vars(arguments).items()
        if name.startswith(PREFIX) and value is not None
    }
    return options_from(given)


def from_yaml(text: str, what: str) -> object:
    """Read a value of YAML.

    Raises:
        ConfigError: It is none.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{what} is {text!r}, which is not YAML ({str(error).splitlines()[0]}).") from error
