"""Options: declared once, with type, default, range and one sentence, and read by the command line, YAML and Python.

A group of options is a frozen dataclass. The string behind a field is its documentation, which `--help` shows; the
annotation is its type, and a range stands in it:

    @dataclass(frozen=True)
    class Dropout(Options):
        dropout: Annotated[float, Between(0, 1)] = 0.1
        \"\"\"Probability of dropping an activation behind ASPP's projection.\"\"\"

Groups are put together by inheritance, so that the names stay flat (`--model.dropout 0.2`), and whoever needs one group
takes the whole object and declares that group as its parameter's type: no hand passes single options on.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from .errors import ConfigError, did_you_mean

Own = TypeVar("Own", bound="Options")


def in_digits(number: float) -> str:
    """Return a number as people write it: whole ones with all their digits."""
    return str(int(number)) if math.isfinite(number) and number == int(number) else f"{number:g}"


class Constraint:
    """What a value must be like, besides its type."""

    def words(self) -> str:
        """Return it for a reader, such as `0 to 1`."""
        raise NotImplementedError

    def problem(self, value: Any) -> str | None:
        """Return what to say of a value that is not allowed: what is expected, and the nearest that works."""
        raise NotImplementedError


@dataclass(frozen=True)
class Between(Constraint):
    """A number from `low` to `high`; the ends belong to it unless they are open.

    Args:
        low: Smallest value, `-inf` for none.
        high: Largest value, `inf` for none.
        open_low: Leave the smallest out.
        open_high: Leave the largest out.
        near: What to propose where an open end would be the nearest value.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    near: float | None = None

    def words(self) -> str:
        """Return the range for a reader."""
        if self.high == math.inf:
            return f"more than {in_digits(self.low)}" if self.open_low else f"{in_digits(self.low)} or more"
        if self.low == -math.inf:
            return f"less than {in_digits(self.high)}" if self.open_high else f"{in_digits(self.high)} or less"
        low = f"more than {in_digits(self.low)}" if self.open_low else in_digits(self.low)
        return f"{low} to {'below ' if self.open_high else ''}{in_digits(self.high)}"

    def problem(self, value: Any) -> str | None:
        """Return what to say of a number out of the range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"a number, {self.words()}"
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        if above and below:
            return None
        at_open_end = (not above and self.open_low) or (not below and self.open_high) or math.isnan(value)
        near = self.near if at_open_end else self.low if not above else self.high
        return self.words() + (f", such as {in_digits(near)}" if near is not None else "")


def at_least(low: float) -> Between:
    """Return the range from `low` on."""
    return Between(low)


def above(low: float, near: float | None = None) -> Between:
    """Return the range beyond `low`; `near` is what to propose."""
    return Between(low, open_low=True, near=near)


@dataclass(frozen=True)
class OneOf(Constraint):
    """One of several names that are only known when asked for, such as those of all context heads.

    Args:
        names: Returns them.
    """

    names: Callable[[], Iterable[str]]

    def words(self) -> str:
        """Return the names."""
        return "one of " + ", ".join(self.names())

    def problem(self, value: Any) -> str | None:
        """Return what to say of another name."""
        names = list(self.names())
        return None if value in names else f"one of {', '.join(names)}.{did_you_mean(str(value), names)}"


class Written:
    """How an option is written on a command's line, where name and type alone do not say it.

    Args:
        names: Short or other names, such as `-o`. One that begins with two dashes, if it is the first, replaces the
            option's own name.
        metavar: What its value is called; several for several values.
        repeated: The option may be given several times, with one value each time.
        hidden: It is for our own processes, and `--help` leaves it out.
    """

    def __init__(
        self, *names: str, metavar: str | tuple[str, ...] | None = None, repeated: bool = False, hidden: bool = False
    ) -> None:
        self.names, self.metavar, self.repeated, self.hidden = names, metavar, repeated, hidden


@dataclass(frozen=True)
class Options:
    """Base of all groups of options. Making one checks every value.

    Raises:
        ConfigError: A value is not one of those allowed, or out of range; with the nearest that works.
    """

    section: ClassVar[str] = ""
    """How options of this group begin on the command line, such as `model` for `--model.dropout`."""
    _hints: ClassVar[dict[str, Any]]

    def __post_init__(self) -> None:
        """Check all values; what YAML and checkpoints have no form of becomes what is declared: tuples, paths, keys."""
        for name, hint in hints_of(type(self)).items():
            value = _as_declared(getattr(self, name), hint)
            object.__setattr__(self, name, value)
            problem = problem_of(value, hint)
            if problem is not None:
                said = f"{value!r} (write null for no value)" if value == "None" else repr(value)
                raise ConfigError(f"{option_name(self.section, name)} is {said}; expected {problem.rstrip('.')}.")
        self.check()

    def check(self) -> None:
        """Refuse what contradicts itself; overridden where single values are not all there is to check."""

    @classmethod
    def of(cls: type[Own], given: Mapping[str, Any]) -> Own:
        """Make the group of names and values, as they stand in YAML.

        Raises:
            ConfigError: A name is unknown, an option without default is missing, or a value cannot be used.
        """
        names = hints_of(cls)
        for name in given:
            if name not in names:
                raise ConfigError(f"Unknown option {option_name(cls.section, name)}.{did_you_mean(name, names)}")
        for field in fields(cls):
            required = field.default is MISSING and field.default_factory is MISSING
            if required and field.init and field.name not in given:
                raise ConfigError(f"{option_name(cls.section, field.name)} is missing; it has no default.")
        return cls(**given)

    def values(self) -> dict[str, Any]:
        """Return names and values as declared."""
        return {name: getattr(self, name) for name in hints_of(type(self))}

    def plain(self) -> dict[str, Any]:
        """Return names and values of plain types, for checkpoints and YAML."""
        return {name: _plain(value) for name, value in self.values().items()}

    def replaced(self: Own, **changes: Any) -> Own:
        """Return these options with some of them changed."""
        return type(self).of({**self.values(), **changes})


def option_name(section: str, name: str) -> str:
    """Return an option as it is written on the command line; its bare name where it has no section."""
    return f"--{section}.{name}" if section else name


def hints_of(group: type[Options]) -> dict[str, Any]:
    """Return the type of each option of a group, ranges included."""
    if "_hints" not in group.__dict__:
        hints = typing.get_type_hints(group, include_extras=True)
        group._hints = {field.name: hints[field.name] for field in fields(group) if field.init}
    return group._hints


def constraint_words(hint: Any) -> str:
    """Return the ranges that stand in a type, for `--help`; empty where there is none."""
    return ", ".join(found.words() for found in _constraints(hint))


def _constraints(hint: Any) -> list[Constraint]:
    """Return the ranges that stand in a type, on the outside and within."""
    if typing.get_origin(hint) is Annotated:
        return [*_outer_constraints(hint), *_constraints(hint.__origin__)]
    return [found for inner in typing.get_args(hint) for found in _constraints(inner)]


def _outer_constraints(hint: Any) -> list[Constraint]:
    """Return those that are of the whole value, not of what is within."""
    return [found for found in hint.__metadata__ if isinstance(found, Constraint)]


_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text (in YAML, in quotes)"}


def problem_of(value: Any, hint: Any) -> str | None:
    """Return what is expected in place of a value, judged by the ranges, choices and plain types of its declaration."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if value is None and type(None) in (inner if origin is not Annotated else typing.get_args(inner[0])):
        return None
    if origin is Annotated:
        said = [] if value is None else [found.problem(value) for found in _outer_constraints(hint)]
        return next(filter(None, said), None) or problem_of(value, inner[0])
    if (group := group_of(hint)) is not None:
        if isinstance(value, group) or (value is None and group is not hint):
            return None
        return f"options by name ({', '.join(hints_of(group))})" + ("" if group is hint else ", or null")
    if origin in (typing.Union, types.UnionType):
        kinds = [each for each in inner if each is not type(None)]
        possible = [each for each in inner if _may_be(value, each)]
        problems = [problem_of(value, each) for each in possible or kinds]
        if None in problems:
            return None
        return problems[0] if possible else "; or ".join(filter(None, problems))
    if hint in _PLAIN:
        endless = isinstance(value, float) and not math.isfinite(value)
        return None if _may_be(value, hint) and not endless else _PLAIN[hint]
    if origin is Literal and value not in inner:
        near = did_you_mean(str(value), [str(choice) for choice in inner])
        return f"one of {', '.join(map(str, inner))}.{near}"
    if _is_listed(hint) and not isinstance(value, tuple | list):
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [str(value)]
        return f"a list in brackets, such as '[{', '.join(parts)}]'"
    if _is_listed(hint):
        any_number = origin is list or Ellipsis in inner
        if not any_number and len(value) != len(inner):
            return f"{len(inner)} values in brackets"
        wanted = inner[:1] * len(value) if any_number else inner
        return next(filter(None, (problem_of(each, kind) for each, kind in zip(value, wanted, strict=True))), None)
    if origin is dict:
        if not isinstance(value, Mapping):
            return "values by name, such as '{name: value}'"
        return next(filter(None, (problem_of(each, inner[1]) for each in value.values())), None)
    return None


def _is_listed(hint: Any) -> bool:
    return typing.get_origin(hint) in (tuple, list)


def group_of(hint: Any) -> type[Options] | None:
    """Return the group of options that a type is, or is beside None; None for other types."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    found = [kind for kind in kinds if kind is not type(None)]
    is_group = len(found) == 1 and isinstance(found[0], type) and issubclass(found[0], Options)
    return found[0] if is_group else None


def _may_be(value: Any, hint: Any) -> bool:
    """Whether a value could be of a type of a union, as far as ranges depend on it."""
    kind = _bare(hint)
    if kind is type(None):
        return value is None
    if typing.get_origin(kind) is Literal:
        return isinstance(value, str | int) and not isinstance(value, bool)
    kind = typing.get_origin(kind) or kind
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)


def _bare(hint: Any) -> Any:
    """Return a type without its ranges."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _as_declared(value: Any, hint: Any) -> Any:
    """Return names and values as the group of options that is declared, and a list as a tuple where that is."""
    group = group_of(hint)
    if group is not None and isinstance(value, Mapping):
        return group.of(value)
    kinds = {typing.get_origin(kind) or kind: typing.get_args(kind) for kind in _alternatives(hint)}
    if isinstance(value, Mapping) and dict in kinds and kinds[dict]:
        of_key, of_value = kinds[dict]
        return {_as_declared(_number(key, of_key), of_key): _as_declared(each, of_value) for key, each in value.items()}
    if isinstance(value, str) and Path in kinds and str not in kinds:
        return Path(value)
    enum = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)), None)
    if enum is not None and isinstance(value, str) and value in enum.__members__:
        return enum[value]
    if not isinstance(value, list) or tuple not in kinds or list in kinds:
        return value
    inner = {each for each in kinds[tuple] if each is not Ellipsis}
    return tuple(_as_declared(each, *inner) if len(inner) == 1 else each for each in value)


def _alternatives(hint: Any) -> list[Any]:
    """Return a type, or those of a union, without ranges."""
    kind = _bare(hint)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [other for each in typing.get_args(kind) for other in _alternatives(each)]
    return [kind]


def _number(key: Any, hint: Any) -> Any:
    """Return the whole number that a key stands for which became text, as in JSON."""
    return int(key) if hint is int and isinstance(key, str) and key.lstrip("-").isdigit() else key


def _plain(value: Any) -> Any:
    if isinstance(value, Options):
        return value.plain()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Enum):
        return value.name
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
