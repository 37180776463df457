"""What the user wrote behind a command's name: taken apart, and what is wrong with it in one line.

A configuration's own files are read here, too, so that a mistake in a file gets the same words as one on the command
line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError, did_you_mean

CONFIG_FLAGS = ("-c", "--config")
SECTIONS = ("model", "optimizer", "loss", "data", "trainer", "evaluation", "run")
TOP_LEVEL_KEYS = (*SECTIONS, "seed_everything", "ckpt_path")


def config_files(words: Sequence[str]) -> list[Path]:
    """Return the configuration files among `words`, in order."""
    return [Path(value) for flag, value in _flags(words) if flag in CONFIG_FLAGS and value is not None]


def without_config_files(words: Sequence[str]) -> list[str]:
    """Return `words` without `-c` and its values."""
    return without_option(without_option(words, "-c"), "--config")


def option_value(words: Sequence[str], option: str) -> str | None:
    """Return the last value given to `option` (such as `--ckpt_path`), or None."""
    return next((value for flag, value in reversed(_flags(words)) if flag == option), None)


def without_option(words: Sequence[str], option: str) -> list[str]:
    """Return `words` without `option` and its value."""
    kept, is_value = list[str](), False
    for word in words:
        if not (is_value or word == option or word.startswith(f"{option}=")):
            kept.append(word)
        is_value = word == option and not is_value
    return kept


def _flags(words: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return every word that could be an option, and what stands behind it."""
    found = []
    for position, word in enumerate(words):
        flag, equals, value = word.partition("=")
        found.append((flag, value if equals else next(iter(words[position + 1 : position + 2]), None)))
    return found


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether a command is asked to explain itself, or its configuration, and not to run."""
    return any(word in ("-h", "--help") or word.startswith("--print_config") for word in words)


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ConfigError: It is missing, no YAML, or holds a key that no section has.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"The configuration {path} does not exist.{_nearest_file(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}, expected sections such as model: and data:.")
    for key, section in content.items():
        if key not in TOP_LEVEL_KEYS:
            raise ConfigError(f"Unknown configuration key {key!r} in {path}.{did_you_mean(str(key), TOP_LEVEL_KEYS)}")
        if key in SECTIONS and section is not None and not isinstance(section, dict):
            raise ConfigError(f"{path}: {key} is {section!r}; expected options and their values.")
    return content


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two nested mappings as one, in which `above` wins."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return result


def check_options(words: Iterable[str], known: Iterable[str], others: Mapping[str, Iterable[str]]) -> None:
    """Refuse options that do not exist.

    argparse alone would take `--trainer.max_step` for `max_steps` without a word.

    Args:
        words: What the user wrote.
        known: All options of the parser, with their dashes.
        others: Options of classes that are not chosen, by section, to tell them from misspelt ones.

    Raises:
        ConfigError: One is unknown; the nearest is named.
    """
    known = set(known)
    nested = {option for option in known if option.startswith(("--trainer.", "--evaluation.crf"))}
    for word in words:
        option = word.partition("=")[0].rstrip("+")
        if not option.startswith("--") or option == "--" or option in known:
            continue
        if any(option.startswith(f"{each}.") for each in nested):
            continue
        section, _, name = option.removeprefix("--").partition(".")
        raise ConfigError(unknown_option(section, name, known, others))


def unknown_option(section: str, name: str, known: Iterable[str], others: Mapping[str, Iterable[str]]) -> str:
    """Say that there is no such option: not at all, or not in the class that is chosen."""
    known = set(known)
    if name.split(".")[0] in set(others.get(section, ())):
        return (
            f"--{section}.{name} belongs to a class that is not chosen: name it with a configuration such as "
            f"-c configs/v3plus.yaml, or with --{section}."
        )
    prefix = f"--{section}."
    own = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
    near = did_you_mean(name, own) if name and section in ("model", "data") else ""
    full = f"--{section}.{name}" if name else f"--{section}"
    return f"Unknown option {full}.{near or did_you_mean(full, known)}"


def in_one_line(message: str, words: Sequence[str]) -> str:
    """Turn jsonargparse's nested message into one line.

    Args:
        message: As given to the parser's `error`.
        words: What the user wrote.
    """
    message = re.sub(r'^Parser key "config":\s*', "", message)  # the files' layer, whose key says nothing to a reader
    if message.startswith("--") and "\n" not in message:
        return message
    outer = re.search(r'Parser key "([\w.]+)"', message)
    key = outer[1] if outer else ""
    if found := re.search(r'^ +- Parser key "([\w.]+)":\n((?: {8,}.*\n?)+)', message, re.MULTILINE):
        return in_one_line(f'Parser key "{key}.{found[1]}":\n{textwrap.dedent(found[2])}', words)
    if found := re.search(r"NestedArg\(key='([\w.]+)'", message):
        return f"Unknown option --{key}.{found[1]}."
    if found := re.search(r"Option '([\w.]+)' is not accepted", message):
        return f"Unknown option --{key + '.' if key else ''}{found[1]}."
    if found := re.search(r"Subtypes: \[(.*)\]\n[\s\S]*?\n *Given value: (.*)", message):
        expected = " or ".join(_type_for_reader(one) for one in _union_members(found[1]))
        return f"--{key} is {found[2]}{_null_hint(found[2])}; expected {expected}."
    if found := re.search(r"Expected an? (.+?)\. Got value: (.*?)(?:>>)?$", message, re.MULTILINE):
        return f"--{key} is {found[2]}{_null_hint(found[2])}; expected {_type_for_reader(found[1])}."
    if found := re.search(r"argument \S+: expected one argument", message):
        bare = [
            word
            for word, after in zip(words, [*words[1:], "--"], strict=True)
            if word.startswith("--") and "=" not in word and after.startswith("--")
        ]
        return f"{' and '.join(bare) or found[0]} needs a value, such as {bare[0] if bare else 'it'} true."
    return re.sub(r"\s*\n\s*", " ", message).strip()


def _null_hint(value: str) -> str:
    return " (write null for no value)" if value == "None" else ""


def _union_members(listed: str) -> list[str]:
    """Split `list[float], typing.Literal['a', 'b'], <class 'str'>` at the commas outside brackets; leave out None."""
    members = re.findall(r"(?:[^,\[]|\[[^\]]*\])+", listed)
    return [member.strip() for member in members if "NoneType" not in member]


def _type_for_reader(expected: str) -> str:
    if found := re.search(r"Literal\[(.*)\]", expected):
        return f"one of {found[1]}".replace("'", "")
    if found := re.fullmatch(r"<class '([\w.]+)'>", expected):
        known = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a word"}
        return known.get(found[1], f"options of {found[1].rsplit('.', 1)[-1]}, such as '{{weight: 1}}'")
    if expected.startswith(("list[float]", "tuple[float", "list[int]", "tuple[int", "tuple[typing.Annotated")):
        return "a list of numbers"
    return expected.replace("typing.", "")


def _nearest_file(path: Path) -> str:
    folder = path.parent
    names = [str(entry) for entry in sorted(folder.glob("*.yaml"))] if folder.is_dir() else []
    return did_you_mean(str(path), names) or (f" There are: {', '.join(names)}." if names else "")
