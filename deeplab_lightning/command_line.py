"""Commands are typed functions: their options are read off the signature, `--help` off the docstrings.

    def predict(images: list[str], /, *, ckpt_path: str, opacity: Annotated[float, Between(0, 1)] = 0.5) -> int:
        \"\"\"Segment images.

Args:
            images: Files, folders or globs.
            ...

- Parameters before the `/` are words without a name; all others are options of their names, or as `Written` says.
- `list[str]` takes one word or more, `tuple[int, int]` two, and `bool` is a flag.
- A group of `Options` gives each of its fields. Those of a group with a section are written as in a configuration, with
  values of YAML (`--evaluation.scales '[0.5, 1]'`); those of others as the command's own.
- `ConfigurationWords` are what belongs to a configuration: `-c FILE.yaml`, `--model.output_stride 8` and the like.

This needs neither torch nor jsonargparse: `--help` appears at once.
"""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from .errors import ConfigError, did_you_mean
from .options import Options, Written, constraint_words, hints_of, option_name, problem_of

_OF_CONFIGURATION = object()
ConfigurationWords = Annotated[Sequence[str], _OF_CONFIGURATION]
"""The type of the parameter that gets the words of a configuration."""
CONFIGURATION = (
    "-c",
    "--config",
    "--model",
    "--optimizer",
    "--loss",
    "--data",
    "--trainer",
    "--seed_everything",
    "--ckpt_path",
)
"""Options that belong to a configuration, as do all with a dot in their name."""
EMPTY = inspect.Parameter.empty


def run(function: Callable[..., int], words: Sequence[str], name: str) -> int:
    """Call a command with what the user wrote.

    Args:
        function: The command.
        words: What follows its name on the command line.
        name: Its name there.

    Returns:
        The command's exit code.

    Raises:
        ConfigError: An option is unknown or missing, or has a value that it cannot have.
        SystemExit: The help was asked for, and was printed.
    """
    line = CommandLine(function, name)
    positional, options = line.parse(words)
    return function(*positional, **options)


def split_words(words: Sequence[str], own: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command's own words from those of a configuration, each with its value.

    Args:
        words: What the user wrote.
        own: The command's own options, which may have a dot in their name.

    Returns:
        The command's words, and the configuration's.
    """
    of_command: list[str] = []
    configuration: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        flag, equals, _ = word.partition("=")
        if flag not in own and (flag in CONFIGURATION or (flag.startswith("--") and "." in flag)):
            configuration.append(word)
            if not equals and left and not left[0].startswith("--"):
                configuration.append(left.pop(0))
        else:
            of_command.append(word)
    return of_command, configuration


def from_yaml(text: str, what: str) -> Any:
    """Read a value of YAML.

    Raises:
        ConfigError: It is none.
    """
    import yaml

    from .config_words import load_yaml

    try:
        return load_yaml(text, what)
    except yaml.YAMLError as error:
        raise ConfigError(f"{what} is {text!r}, which is not YAML ({str(error).splitlines()[0]}).") from error


@dataclass(frozen=True)
class Argument:
    """A word or an option of a command.

    Attributes:
        key: Of the parameter; of a group's field, with the parameter's before it and a dot.
        hint: The type, ranges and spelling included.
        default: `EMPTY` if it must be given.
        what: A sentence on it.
        positional: Whether it has no name on the command line.
        section: Of the configuration, if it is written as it stands there.
    """

    key: str
    hint: Any
    default: Any
    what: str
    positional: bool = False
    section: str = ""

    @cached_property
    def written(self) -> Written:
        """How it is spelled, where its declaration says so."""
        found = [one for one in getattr(self.hint, "__metadata__", ()) if isinstance(one, Written)]
        return found[0] if found else Written()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its names, the one that messages use first."""
        if self.positional:
            return ()
        others = self.written.names
        field = self.key.rpartition(".")[2]
        if self.section:
            return option_name(self.section, field), *others
        return others if others and others[0].startswith("--") else (f"--{field}", *others)

    @property
    def name(self) -> str:
        """What messages call it."""
        metavar = self.written.metavar
        return self.names[0] if self.names else metavar if isinstance(metavar, str) else self.key.upper()

    def add_to(self, parser: Any) -> None:
        """Declare it to a parser or one of its groups."""
        kind, count = _kind_and_count(self.hint)
        more: dict[str, Any] = {"default": argparse.SUPPRESS, "help": self.help()}
        if kind is bool and not self.section:
            more["action"] = "store_true"
        else:
            more["metavar"] = self.written.metavar or self._metavar(kind)
            if self.written.repeated:
                more["action"] = "append"
            elif self.section:
                pass
            elif count is not None or (self.positional and self.default is not EMPTY):
                more["nargs"] = count or "?"
        if self.names:
            more |= {"dest": self.key, "required": self.default is EMPTY}
        parser.add_argument(*(self.names or [self.key]), **more)

    def help(self) -> str:
        """Return its sentence, with what it can be and what it is by default."""
        if self.written.hidden:
            return argparse.SUPPRESS
        kind, _ = _kind_and_count(self.hint)
        notes = [constraint_words(self.hint)]
        if kind is bool:
            notes += [f"default: {str(self.default).lower()}"] if self.section else []
        elif self.default is not EMPTY and self.default not in (None, "", ()):
            shown = self.default if isinstance(self.default, tuple) else [self.default]
            notes.append(f"default: {' '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in shown)}")
        noted = "; ".join(filter(None, notes))
        return f"{self.what}{f' ({noted})' if noted else ''}".replace("%", "%%")

    def value(self, given: Any) -> Any:
        """Return what was written as what is declared.

        Raises:
            ConfigError: It cannot be that.
        """
        if self.section:
            return from_yaml(given, self.name)
        kind, _ = _kind_and_count(self.hint)
        made: Any
        if isinstance(given, list):
            several = tuple if typing.get_origin(_bare(self.hint)) is tuple else list
            made = several(_as_kind(word, kind) for word in given)
        else:
            made = _as_kind(given, kind)
        problem = problem_of(made, self.hint)
        if problem is not None:
            shown = " ".join(given) if isinstance(given, list) else repr(made)
            raise ConfigError(f"{self.name} is {shown}; expected {problem.rstrip('.')}{'' if '?' in problem else '.'}")
        return made

    def _metavar(self, kind: Any) -> str:
        if typing.get_origin(kind) is Literal:
            return "|".join(map(str, typing.get_args(kind)))
        return {int: "N", float: "X", bool: "BOOL"}.get(kind, self.key.rpartition(".")[2].upper())


class CommandLine:
    """The words and options of a command.

    Args:
        function: The command.
        name: Its name on the command line.
    """

    def __init__(self, function: Callable[..., int], name: str) -> None:
        import docstring_parser

        self.name = name
        self.doc = docstring_parser.parse(inspect.getdoc(function) or "")
        self.hints = typing.get_type_hints(function, include_extras=True)
        self.parameters = inspect.signature(function).parameters
        self.texts = {entry.arg_name: _one_line(entry.description) for entry in self.doc.params}
        self.groups: dict[str, type[Options]] = {}
        self.configuration: str | None = None
        self.arguments = list(self._arguments())

    def _arguments(self) -> Iterator[Argument]:
        for key, parameter in self.parameters.items():
            hint = self.hints[key]
            group = _bare(hint)
            if _OF_CONFIGURATION in getattr(hint, "__metadata__", ()):
                self.configuration = key
            elif isinstance(group, type) and issubclass(group, Options):
                self.groups[key] = group
                texts = field_texts(group)
                defaults = {field.name: field.default for field in fields(group)}
                for name, of_field in hints_of(group).items():
                    default = EMPTY if defaults[name] is MISSING else defaults[name]
                    yield Argument(f"{key}.{name}", of_field, default, texts[name], section=group.section)
            else:
                positional = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
                yield Argument(key, hint, parameter.default, self.texts.get(key, ""), positional)

    def parse(self, words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        """Return the function's positional and named arguments.

        Raises:
            ConfigError: A word cannot be used.
            SystemExit: The help was asked for, and was printed.
        """
        known = [name for argument in self.arguments for name in argument.names]
        own, configuration = split_words(words, known) if self.configuration else (list(words), [])
        parsed, unknown = self.parser().parse_known_args(own)
        for word in unknown:
            if word.startswith("-"):
                option = word.partition("=")[0]
                raise ConfigError(f"Unknown option {option}.{did_you_mean(option, known)}")
            raise ConfigError(f"{self.name} has no use for {word!r}; {self.name} --help says what it takes.")
        values = {
            argument.key: argument.value(getattr(parsed, argument.key))
            for argument in self.arguments
            if hasattr(parsed, argument.key)
        }
        positional = [values.pop(one.key, one.default) for one in self.arguments if one.positional]
        for key, group in self.groups.items():
            given = {name: values.pop(f"{key}.{name}") for name in hints_of(group) if f"{key}.{name}" in values}
            values[key] = group.of(given)
        if self.configuration:
            values[self.configuration] = configuration
        return positional, values

    def parser(self) -> argparse.ArgumentParser:
        """Return what tells words from options and prints the help."""
        needed = [f"{one.name} {one.written.metavar or one.name[2:].upper()}" for one in self.arguments
                  if one.names and one.default is EMPTY]  # fmt: skip
        words = [_usage(one) for one in self.arguments if one.positional]
        options = ["[-c FILE.yaml ...]"] if self.configuration else []
        parser = _Parser(
            prog=f"python -m deeplab_lightning {self.name}",
            usage=" ".join(["%(prog)s", *words, *needed, *options, "[--option value ...]"]),
            description=_one_line(f"{self.doc.short_description} {self.doc.long_description or ''}"),
            epilog=self.texts.get(self.configuration or "", ""),
            allow_abbrev=False,
        )
        parser.command = self.name
        sections = {}
        for key, group in self.groups.items():
            import docstring_parser

            doc = docstring_parser.parse(inspect.getdoc(group) or "")
            sections[key] = parser.add_argument_group((doc.short_description or key).rstrip("."))
        for argument in self.arguments:
            argument.add_to(sections.get(argument.key.partition(".")[0], parser))
        return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    command = ""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        if found := re.search(r"required: (.*)", message):
            raise ConfigError(f"{self.command} needs {found[1]}; {self.command} --help says more.")
        if found := re.search(r"argument (\S+): expected (\w+(?: \w+)*?) arguments?$", message):
            raise ConfigError(
                f"{found[1].split('/')[0]} needs {found[2]} value{'' if found[2].endswith('one') else 's'}."
            )
        raise ConfigError(f"{message[:1].upper()}{message[1:]}.")


def field_texts(group: type[Options]) -> dict[str, str]:
    """Return the sentence behind each field of a group, those that it inherits included."""
    import docstring_parser

    texts: dict[str, str] = {}
    for base in reversed(group.__mro__):
        if base is not Options and issubclass(base, Options):
            documented = docstring_parser.parse_from_object(base)
            texts |= {entry.arg_name: _one_line(entry.description) for entry in documented.params}
    return texts


def _usage(argument: Argument) -> str:
    _, count = _kind_and_count(argument.hint)
    shown = f"{argument.name} ..." if count == "+" else argument.name
    return shown if argument.default is EMPTY else f"[{shown}]"


def _bare(hint: Any) -> Any:
    """Return a type without ranges, spelling, and the None that stands for "not given"."""
    if typing.get_origin(hint) is Annotated:
        return _bare(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(hint) if each is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else typing.Union[tuple(inner)]  # noqa: UP007
    return hint


def _kind_and_count(hint: Any) -> tuple[Any, str | int | None]:
    """Return the type of one value, and how many there are: a number, `+` for one or more, None for a single one."""
    bare = _bare(hint)
    origin, inner = typing.get_origin(bare), typing.get_args(bare)
    if origin is list or (origin is tuple and Ellipsis in inner):
        return _bare(inner[0]), "+"
    return (_bare(inner[0]), len(inner)) if origin is tuple else (bare, None)


def _as_kind(word: Any, kind: Any) -> Any:
    """Return a word as a number, a path or a choice; as it is where it is none, to be refused by its type."""
    if kind is Path:
        return Path(word)
    if typing.get_origin(kind) is Literal:
        return next((choice for choice in typing.get_args(kind) if str(choice) == word), word)
    if kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            return word
    return word


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
