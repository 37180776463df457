"""What the user wrote behind a command's name: taken apart, and what is wrong with it in one line.

A configuration's own files are read here, too, so that a mistake in a file gets the same words as one on the command
line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError, did_you_mean
from .files import read_text
from .packaged_files import find_file, nearest_name

MOST_VALUES, DEEPEST = 200_000, 50
"""In a file of settings, when all its aliases are written out."""
CONFIG_FLAGS = ("-c", "--config")
SECTIONS = ("model", "optimizer", "loss", "data", "trainer", "evaluation", "run")
TOP_LEVEL_KEYS = (*SECTIONS, "seed_everything", "ckpt_path")


def config_files(words: Sequence[str]) -> list[Path]:
    """Return the configuration files among `words`, in order; those that come along are found by name."""
    return [find_file(value) for flag, value in _flags(words) if flag in CONFIG_FLAGS and value is not None]


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


def said_in(words: Sequence[str]) -> dict[str, Any]:
    """Return what files and options say, by option (`model.backbone`); groups within a section are taken whole."""
    said = merged({}, {})
    for path in config_files(words):
        said = merged(said, read_config(path))
    for flag, value in _flags(without_config_files(words)):
        section, _, option = flag.removeprefix("--").partition(".")
        if flag.startswith("--") and section in SECTIONS and value is not None:
            content = load_yaml(value, flag) if option else value
            for name in reversed((option or "name").split(".")):
                content = {name: content}
            said = merged(said, {section: content})
    return {f"{section}.{option}": value for section in SECTIONS for option, value in (said.get(section) or {}).items()}


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


LARGEST_YAML = 1 << 20
"""Letters of settings; those of a run have some thousand, and PyYAML takes a minute for these."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one section, of which PyYAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = (key_node.tag, key_node.value), key_node.start_mark.line + 1
            if key in lines:
                raise _KeyTwiceError(
                    f"{key_node.value} stands twice in one section, in lines {lines[key]} and {line}. Only the last "
                    "would count: keep one."
                )
            lines[key] = line
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge (`<<`), each name once: merges of merges would grow without end."""
        super().flatten_mapping(node)
        merged_keys = {
            (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key): (key, value)
            for key, value in node.value
        }
        node.value = list(merged_keys.values())


class _LoaderOfNumbers(_StrictLoader):
    """Takes 1e-4 for a number as well, as the command line does: to YAML 1.1 it is a word, and 1.0e-4 the number."""


_LoaderOfNumbers.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class _KeyTwiceError(yaml.YAMLError):
    pass


class _TooLargeError(yaml.YAMLError):
    pass


def load_yaml(text: str, where: str | Path, plain: bool = False) -> Any:
    """Read YAML, strictly.

    Args:
        text: The YAML.
        where: Where it stands, for messages.
        plain: Read numbers as YAML 1.1 does, for files that other programs read, too.

    Raises:
        ConfigError: A key stands twice in one section.
        YAMLError: It is none.
    """
    try:
        if len(text) > LARGEST_YAML:
            raise _TooLargeError(f"it has {len(text):,} letters; {LARGEST_YAML:,} are read, of settings.")
        content = yaml.load(text, Loader=_StrictLoader if plain else _LoaderOfNumbers)
        _count_values(content, [MOST_VALUES], 0)
        return content
    except (_KeyTwiceError, _TooLargeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: it is nested too deeply.") from error
    except (ValueError, TypeError, OverflowError, AttributeError) as error:  # of a date or a number that is none
        raise yaml.YAMLError(str(error)) from error


def _count_values(value: Any, left: list[int], depth: int) -> None:
    """Refuse what is larger than it looks: a few lines of aliases can stand for as many values as one likes."""
    left[0] -= 1
    if left[0] < 0 or depth > DEEPEST:
        raise _TooLargeError(
            f"it stands for more than {MOST_VALUES:,} values, or is nested more than {DEEPEST} deep: too many for "
            f"settings. Write out what its aliases (*name) stand for."
        )
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ():
        _count_values(each, left, depth + 1)


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ConfigError: It is missing, no YAML, or holds a key that no section has.
    """
    try:
        text = read_text(path)
        content = load_yaml(text, path)
    except FileNotFoundError as error:
        raise ConfigError(f"The configuration {path} does not exist.{_nearest_file(path)}") from error
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        quotes = " Put values that begin with a brace into quotes: '{name}_mask'." if ": {" in text else ""
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}{quotes}") from error
    if content is None:
        raise ConfigError(f"{path} holds no settings: it is empty, or all of it is comments. Leave it out, or fill it.")
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}, expected sections such as model: and data:.")
    for key, section in content.items():
        if key not in TOP_LEVEL_KEYS and isinstance(section, dict):
            inside = [str(name) for name in section if name in TOP_LEVEL_KEYS]
            near = did_you_mean(str(key), TOP_LEVEL_KEYS)
            if inside or not near:
                raise ConfigError(
                    f"{path}: there is no section {key!r}, for a command or for what several share: "
                    + (f"write {', '.join(inside)} at the top of the file." if inside else "the sections are "
                       f"{', '.join(SECTIONS)}.")
                )  # fmt: skip
        if key not in TOP_LEVEL_KEYS:
            raise ConfigError(f"Unknown configuration key {key!r} in {path}.{did_you_mean(str(key), TOP_LEVEL_KEYS)}")
        if key in SECTIONS and section is not None and not isinstance(section, dict):
            raise ConfigError(f"{path}: {key} is {section!r}; expected options and their values.")
        for name in section if isinstance(section, dict) else ():
            if not isinstance(name, str):
                raise ConfigError(
                    f"{path}: {key} has {name!r} for an option. Values of a list stand in brackets: [6, 12, 18]"
                )
    _check_class_paths(path, content)
    _check_class_names(path, content)
    return content


def check_class_paths_on_line(words: Sequence[str]) -> None:
    """Refuse such a mistake on the command line: options beside a `class_path`."""
    for flag, value in _flags(words):
        if flag.startswith("--") and value is not None and "class_path" in value:
            with suppress(yaml.YAMLError):  # the parser says what is wrong with it
                _check_class_paths(flag, yaml.safe_load(value))


def _check_class_paths(where: str | Path, value: Any) -> None:
    """Refuse options beside a `class_path`, which belong below `init_args`."""
    if isinstance(value, Mapping):
        beside = [str(key) for key in value if key not in ("class_path", "init_args", "dict_kwargs")]
        if "class_path" in value and beside:
            raise ConfigError(
                f"{where}: {', '.join(beside)} stands beside class_path {value['class_path']}. A class's options are "
                f"written below it, as init_args: {{{beside[0]}: ...}}"
            )
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for one in inner:
        _check_class_paths(where, one)


def _check_class_names(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse class names that YAML takes for something else than words."""
    names = (content.get("data") or {}).get("class_names")
    for name in names if isinstance(names, list) else ():
        if not isinstance(name, str):
            raise ConfigError(f"{path}: {not_a_word('data.class_names', name)}")


def not_a_word(option: str, value: Any) -> str:
    """Say that a name was read as something else, and how to write it."""
    written = "no" if value is False else "yes" if value is True else str(value)
    return (
        f"{option} holds {value!r}, which is no word: YAML takes no, off, yes, on, null and digits for other things. "
        f"Put the name in quotes: {written!r}"
    )


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
    if key and (found := re.search(r"Expected a <class 'str'>\. Got value: (True|False|None|[-\d.]+)", message)):
        value = {"True": True, "False": False, "None": None}.get(found[1], found[1])
        return f"--{not_a_word(key, value)}"
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
        known |= dict.fromkeys(("list", "tuple"), "a list in brackets, such as '[a, b]'")
        return known.get(found[1], f"options of {found[1].rsplit('.', 1)[-1]}, such as '{{weight: 1}}'")
    if expected.startswith(("list[float]", "tuple[float", "list[int]", "tuple[int", "tuple[typing.Annotated")):
        return "a list of numbers"
    return expected.replace("typing.", "")


def _nearest_file(path: Path) -> str:
    folder = path.parent
    names = [str(entry) for entry in sorted(folder.glob("[!.]*.yaml"))] if folder.is_dir() else []
    near = did_you_mean(str(path), names) or nearest_name(path)
    return near or (f" There are: {', '.join(names)}." if names else "")
