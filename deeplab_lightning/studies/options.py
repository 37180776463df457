"""Options of the command line as data: read from files, merged, written as words. No torch, no parser."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError
from ..files import read_text

Options = dict[str, Any]
"""`model.output_stride` -> value."""

_WITHOUT_EFFECT = ("data.num_workers", "trainer.enable_progress_bar")
"""They change no number (docs/decisions/0003-exact-resume.md): what is finished is not run again for them."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: There is no such file, or it holds something else.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" at line {where.line + 1}"
        raise ConfigError(f"{path} is no valid YAML{line}: {getattr(error, 'problem', error)}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}; expected names with values.")
    return content


def as_words(options: Mapping[str, Any]) -> list[str]:
    """Return `--name=value` for each option, in the form that the command line reads."""
    return [f"--{name}={as_word(value)}" for name, value in options.items()]


def as_word(value: Any) -> str:
    """Return a value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def parse_words(words: Sequence[str]) -> Options:
    """Read `--name value` and `--name=value` back; values as YAML reads them.

    Raises:
        ConfigError: A word is no option.
    """
    options: Options = {}
    left = iter(words)
    for word in left:
        name, equals, rest = word.partition("=")
        if not name.startswith("--"):
            raise ConfigError(f"{word!r} is no option: expected --model.output_stride 8 and the like.")
        value = rest if equals else next(left, None)
        if value is None:
            raise ConfigError(f"{name} needs a value.")
        options[name.removeprefix("--")] = yaml.safe_load(value)
    return options


def merged(configs: Sequence[Path], options: Mapping[str, Any]) -> dict[str, Any]:
    """Lay configuration files and then options over each other, as the command line does.

    Args:
        configs: Files, the later ones above the earlier ones.
        options: Above all of them; `model` stands for `model.name`.

    Returns:
        The nested configuration. Defaults of the classes are not in it.
    """
    whole: dict[str, Any] = {}
    for path in configs:
        _lay_over(whole, read_yaml(path))
    for name, value in options.items():
        keys = name.split(".")
        if keys in (["model"], ["data"]):
            keys.append("name")
        inner = whole
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
    return whole


def value_of(configuration: Mapping[str, Any], name: str) -> Any:
    """Return what a merged configuration says of `optimizer.lr` and the like; None where it says nothing."""
    found: Any = configuration
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def content_key(configuration: Mapping[str, Any]) -> str:
    """Return twelve letters that stand for what a configuration says, whatever its order and comments."""
    kept = json.loads(json.dumps(configuration, default=str))
    for name in _WITHOUT_EFFECT:
        section, option = name.split(".")
        kept.get(section, {}).pop(option, None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def _lay_over(lower: dict[str, Any], upper: Mapping[str, Any]) -> None:
    for key, value in upper.items():
        if isinstance(value, Mapping) and isinstance(lower.get(key), dict):
            _lay_over(lower[key], value)
        else:
            lower[key] = dict(value) if isinstance(value, Mapping) else value
