"""The command line around jsonargparse: order what the user wrote, and say in one line what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .errors import ConfigError, did_you_mean

CONFIG_FLAGS = ("-c", "--config")
GROUPS = ("--trainer", "--run", "--evaluation")
"""Prefixes that are no class: every option below them is known beforehand."""
TOP_LEVEL_KEYS = ("model", "data", "trainer", "run", "evaluation", "seed_everything", "ckpt_path")
CLASS_FLAGS = ("--model", "--model.class_path", "--data", "--data.class_path")


def in_parsing_order(arguments: Sequence[str], first_config: str | None = None) -> list[str]:
    """Move configuration files to the front and class choices behind them, keeping the order among each.

    jsonargparse applies arguments from left to right: an option before a `-c` would be overridden by the file, and an
    option of a class before the class is chosen would fail.

    Args:
        arguments: What the user wrote after the command's name.
        first_config: A configuration in JSON, below all of the user's.
    """
    configs: list[str] = [] if first_config is None else [f"--config={first_config}"]
    classes: list[str] = []
    others: list[str] = []
    position = 0
    while position < len(arguments):
        word = arguments[position]
        flag, equals, _ = word.partition("=")
        group = configs if flag in CONFIG_FLAGS else classes if flag in CLASS_FLAGS else others
        group.append(word)
        position += 1
        if group is not others and not equals and position < len(arguments):
            group.append(arguments[position])
            position += 1
    return configs + classes + others


def config_files(arguments: Sequence[str]) -> list[Path]:
    """Return the configuration files among `arguments`, in order."""
    found = []
    for position, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        if flag in CONFIG_FLAGS:
            if equals:
                found.append(Path(value))
            elif position + 1 < len(arguments):
                found.append(Path(arguments[position + 1]))
    return found


def option_value(arguments: Sequence[str], option: str) -> str | None:
    """Return the last value given to `option` (such as `--ckpt_path`), or None."""
    value = None
    for position, word in enumerate(arguments):
        flag, equals, rest = word.partition("=")
        if flag == option:
            value = rest if equals else next(iter(arguments[position + 1 : position + 2]), None)
    return value


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """Return `arguments` without `option` and its value."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept


def check_options(arguments: Iterable[str], known: Iterable[str], class_options: Mapping[str, Sequence[str]]) -> None:
    """Refuse options that do not exist.

    argparse alone would take `--trainer.max_step` for `max_steps` without a word.

    Args:
        arguments: What the user wrote.
        known: All options of the parser, with their dashes.
        class_options: Options of the classes that `model` and `data` can be.

    Raises:
        ConfigError: One is unknown; the nearest is named.
    """
    known = set(known)
    choices = known | {f"--{key}.{name}" for key, names in class_options.items() for name in names}
    for word in arguments:
        option = word.partition("=")[0].rstrip("+")
        if not option.startswith("--") or option == "--":
            continue
        parents = [option[:dot] for dot in range(len(option)) if option[dot] == "." and option[:dot] not in GROUPS]
        if option not in known and not any(parent in known for parent in parents):
            raise ConfigError(f"Unknown option {option}.{did_you_mean(option, choices)}")


def in_one_line(
    message: str,
    arguments: Sequence[str],
    class_options: Mapping[str, Sequence[str]],
    class_names: Mapping[str, Sequence[str]],
) -> str:
    """Turn jsonargparse's nested message into one line with a suggestion.

    Args:
        message: As given to the parser's `error`.
        arguments: What the user wrote.
        class_options: Options of the classes that `model` and `data` can be.
        class_names: Names of those classes.
    """
    outer = re.search(r'Parser key "([\w.]+)"', message)
    key = outer[1] if outer else ""

    if found := re.search(r"Option '([\w.]+)' is not accepted", message):
        return _unknown_class_option(key, found[1], class_options)
    if found := re.search(r"does not accept option '([\w.]+)'", message):
        top = found[1].split(".")[0]
        return f"Unknown configuration key {top!r}.{did_you_mean(top, TOP_LEVEL_KEYS)}"
    if key in class_names and (found := re.search(r"Expected a dot import path string: (\S+)", message)):
        names = class_names[key]
        return f"Unknown {key} class {found[1]!r}.{did_you_mean(found[1], names)} There are: {', '.join(names)}."
    if found := re.search(
        r'Parser key "([\w.]+)":\s+Expected an? (.+?)\. Got value: (.*?)(?:>>)?$', message, re.MULTILINE
    ):
        inner, expected, value = found.groups()
        option = f"--{key}.{inner}" if key != inner else f"--{key}"
        hint = " (write null for no value)" if value == "None" else ""
        return f"{option} is {value}{hint}; expected {_describe_type(expected)}."
    if found := re.search(
        r'- Parser key "(\w+)":\s+Does not validate against any of the Union subtypes\s+Subtypes: \[(.*)\]\n'
        r"[\s\S]*?\n {8}Given value: (.*)",
        message,
    ):
        inner, alternatives, value = found.groups()
        expected = " or ".join(_describe_type(one) for one in _union_members(alternatives))
        return f"--{key}.{inner} is {value}; expected {expected}."
    if found := re.search(r"argument \S+: expected one argument", message):
        bare = [
            word
            for word, after in zip(arguments, [*arguments[1:], "--"], strict=True)
            if word.startswith("--") and "=" not in word and after.startswith("--")
        ]
        return f"{' and '.join(bare) or found[0]} needs a value, such as {bare[0] if bare else 'it'} true."
    if re.search(r"required: \w+\.model", message):
        return (
            f"No model is chosen: give a configuration such as -c configs/v3plus.yaml, or --model with one of "
            f"{', '.join(class_names['model'])}."
        )
    if found := re.search(r"File does not exist: '?([^'\n]+)", message):
        return f"The configuration {found[1]} does not exist.{_nearest_file(found[1])}"
    if found := re.search(r"NestedArg\(key='([\w.]+)'", message):
        return _unknown_class_option(key, found[1], class_options)
    return re.sub(r"\s*\n\s*", " ", message).strip()


def _union_members(listed: str) -> list[str]:
    """Split `list[float], typing.Literal['a', 'b'], <class 'str'>` at the commas outside brackets; leave out None."""
    members = re.findall(r"(?:[^,\[]|\[[^\]]*\])+", listed)
    return [member.strip() for member in members if "NoneType" not in member]


def _unknown_class_option(key: str, name: str, class_options: Mapping[str, Sequence[str]]) -> str:
    names = class_options.get(key, ())
    if name.split(".")[0] in names:
        return (
            f"--{key}.{name} belongs to a class that is not chosen: name it with a configuration such as "
            f"-c configs/v3plus.yaml, or with --{key}."
        )
    return f"Unknown option --{key}.{name}.{did_you_mean(name, names)}"


def _describe_type(expected: str) -> str:
    if found := re.search(r"Literal\[(.*)\]", expected):
        return f"one of {found[1]}".replace("'", "")
    if found := re.fullmatch(r"<class '(\w+)'>", expected):
        return {"bool": "true or false", "int": "a whole number", "float": "a number"}.get(found[1], found[1])
    if expected.startswith(("list[float]", "tuple[float", "list[int]", "tuple[int")):
        return "a list of numbers"
    if expected == "dict[str, float]":
        return "names with numbers, such as '{dice: 1, cross_entropy: 0.5}'"
    return expected.replace("typing.", "")


def _nearest_file(path: str) -> str:
    folder = Path(path).parent
    names = [str(entry) for entry in sorted(folder.glob("*.yaml"))] if folder.is_dir() else []
    return did_you_mean(path, names) or (f" There are: {', '.join(names)}." if names else "")
