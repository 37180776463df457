"""A sweep file of Weights & Biases, read strictly: what `wandb sweep` takes as it is, and runs without a server too.

Only what this package can run locally is accepted; their format knows more (normal and beta distributions, nested
parameters).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config_words import config_files, without_option
from ..errors import ConfigError, did_you_mean
from ..files import expect_name
from .options import Options, as_word, as_words, merged, parse_words, read_yaml, value_of

MOST_TRIALS = 100_000
"""Of a grid: more would fill the memory before the first was trained."""
_KEYS = ("name", "description", "project", "entity", "program", "method", "metric", "run_cap", "early_terminate",
         "parameters", "command")  # fmt: skip
_METHODS = ("grid", "random", "bayes")
_DISTRIBUTIONS = {
    "categorical": {"values"},
    "constant": {"value"},
    "uniform": {"min", "max"},
    "int_uniform": {"min", "max"},
    "q_uniform": {"min", "max", "q"},
    "log_uniform_values": {"min", "max"},
}
_BEGINNING = ["${env}", "${interpreter}", "-m", "${program}", "fit"]
_ARGUMENTS = "${args}"
_PROGRAM = "deeplab_lightning"


@dataclass(frozen=True)
class Parameter:
    """What is searched over.

    Attributes:
        name: Of the option, such as `optimizer.lr`.
        kind: Of its distribution.
        values: Of a categorical or constant parameter, as written on the command line where they are no plain values.
        low: Least value of a range.
        high: Greatest.
        step: Between values of `q_uniform`, else None.
    """

    name: str
    kind: str
    values: tuple[str | int | float | bool, ...] = ()
    low: float = math.nan
    high: float = math.nan
    step: float | None = None

    def holds(self, value: Any) -> bool:
        """Whether the search could come upon this value."""
        if self.kind in ("categorical", "constant"):
            return value in self.values
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.step is not None:
            return math.isclose((value - self.low) / self.step, round((value - self.low) / self.step), abs_tol=1e-9)
        return self.kind != "int_uniform" or isinstance(value, int)


@dataclass(frozen=True)
class Sweep:
    """A sweep file, understood.

    Attributes:
        name: Of its folder.
        method: How values are chosen.
        metric: Logged key that is made best.
        maximise: Whether more is better.
        run_cap: How many trials; for a grid, at most.
        halving: When trials are given up, at the same points as W&B's Hyperband with one bracket: after how many
            validations they are first compared, and a factor: one of so many goes on, and the next comparison comes
            after so many times the validations. None for never.
        parameters: What is searched over.
        words: Of the command, from `fit` on, with `${args}` in its place.
    """

    name: str
    method: str
    metric: str
    maximise: bool
    run_cap: int
    halving: tuple[int, int] | None
    parameters: tuple[Parameter, ...]
    words: tuple[str, ...]

    def trial_words(self, values: Mapping[str, Any], more: Sequence[str]) -> list[str]:
        """Return the words of a trial: the command with the values of parameters in the place of `${args}`.

        `more` are options behind the file's own, below the values.
        """
        words = without_option(self.words, "--trainer.logger")
        place = words.index(_ARGUMENTS)
        return [*words[:place], *more, *as_words(values), *words[place + 1 :]]

    def grid(self) -> list[Options]:
        """Return all combinations of the values."""
        names = [parameter.name for parameter in self.parameters]
        combinations = itertools.product(*(parameter.values for parameter in self.parameters))
        return [dict(zip(names, values, strict=True)) for values in combinations]

    def start(self, more: Sequence[str]) -> Options:
        """Return what the command and `more` options say of the parameters, where the search could come upon it."""
        words = list(self.words[1:])
        configs = config_files(words)
        for flag in ("-c", "--config"):
            words = without_option(words, flag)
        configuration = merged(configs, parse_words([*(word for word in words if word != _ARGUMENTS), *more]))
        found = {}
        for parameter in self.parameters:
            value = value_of(configuration, parameter.name)
            value = value if isinstance(value, str | int | float | bool) else as_word(value)
            if parameter.kind != "constant" and parameter.holds(value):
                found[parameter.name] = value
        return found


def load_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        ConfigError: It is not of this form; says where and what would be.
    """
    content = read_yaml(path, plain=True)
    for key in content:
        if key not in _KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}.{did_you_mean(str(key), _KEYS)}")
    method = content.get("method")
    if method not in _METHODS:
        raise ConfigError(f"{path}: method is {method!r}; expected one of {', '.join(_METHODS)}.")
    if content.get("program") != _PROGRAM:
        raise ConfigError(f"{path}: program is {content.get('program')!r}; expected {_PROGRAM}.")
    metric = content.get("metric")
    if not isinstance(metric, dict) or not set(metric) <= {"name", "goal"} or "name" not in metric:
        raise ConfigError(f"{path}: metric is {metric!r}; expected {{name: val/mIoU, goal: maximize}}.")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise ConfigError(f"{path}: the metric's goal is {goal!r}; expected minimize or maximize.")
    given = content.get("parameters")
    if not isinstance(given, dict) or not given:
        raise ConfigError(f"{path}: parameters are {given!r}; expected options with values or ranges.")
    parameters = tuple(_parameter(path, str(name), choice) for name, choice in given.items())
    if method == "grid":
        for parameter in parameters:
            if not parameter.values:
                raise ConfigError(f"{path}: {parameter.name} has a range, of which there is no grid: give values.")
    run_cap = content.get("run_cap")
    if run_cap is None and method == "grid":
        run_cap = math.prod(len(parameter.values) for parameter in parameters)
    count = math.prod(len(parameter.values) for parameter in parameters) if method == "grid" else 0
    if count > MOST_TRIALS:
        raise ConfigError(f"{path}: its grid has {count:,} trials; {MOST_TRIALS:,} are allowed: take method random.")
    name = str(content.get("name", path.stem))
    expect_name(f"{path}: name", name)
    if type(run_cap) is not int or run_cap < 1:
        raise ConfigError(f"{path}: run_cap is {run_cap!r}; expected the number of trials, such as 20.")
    return Sweep(
        name=name,
        method=method,
        metric=str(metric["name"]),
        maximise=goal == "maximize",
        run_cap=run_cap,
        halving=_halving(path, content.get("early_terminate")),
        parameters=parameters,
        words=_words(path, content.get("command")),
    )


def _parameter(path: Path, name: str, choice: Any) -> Parameter:
    if not isinstance(choice, dict):
        raise ConfigError(f"{path}: {name} is {choice!r}; expected {{values: [...]}} or {{min: ..., max: ...}}.")
    kind = choice.get("distribution")
    if kind is None:
        whole = type(choice.get("min")) is type(choice.get("max")) is int
        kind = "categorical" if "values" in choice else "constant" if "value" in choice else (
            "int_uniform" if whole else "uniform"
        )  # fmt: skip
    if kind not in _DISTRIBUTIONS:
        hint = " (log_uniform takes exponents)" if kind == "log_uniform" else ""
        raise ConfigError(
            f"{path}: {name} has the distribution {kind!r}{hint}, which is not known here."
            f"{did_you_mean(str(kind), _DISTRIBUTIONS)} There are: {', '.join(_DISTRIBUTIONS)}."
        )
    expected = _DISTRIBUTIONS[kind]
    keys = set(choice) - {"distribution"}
    if not expected - {"q"} <= keys <= expected:
        raise ConfigError(f"{path}: {name} has {', '.join(sorted(keys))}; {kind} takes {', '.join(sorted(expected))}.")
    if kind in ("categorical", "constant"):
        values = choice["values"] if kind == "categorical" else [choice["value"]]
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: {name} has no values.")
        return Parameter(name, kind, tuple(_plain(path, name, value) for value in values))
    low, high = choice["min"], choice["max"]
    for end in (low, high, choice.get("q")):
        if isinstance(end, str) and (number := _yaml_number(end)):
            raise ConfigError(f"{path}: {name} has the end {end!r}, which YAML takes for a word: write {number}.")
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in (low, high)) or low >= high:
        raise ConfigError(f"{path}: {name} reaches from {low!r} to {high!r}; expected two numbers, the lesser first.")
    if kind == "log_uniform_values" and low <= 0:
        raise ConfigError(f"{path}: {name} reaches from {low}; a logarithmic range begins above 0.")
    step = float(choice.get("q", 1.0)) if kind == "q_uniform" else None
    return Parameter(name, kind, low=low, high=high, step=step)


def _yaml_number(word: str) -> str:
    """Write `1e-4` as the number that it is to YAML 1.1, with a point; empty for a word that is no number."""
    mantissa, letter, exponent = word.lower().partition("e")
    try:
        float(word)
    except ValueError:
        return ""
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{letter}{exponent}"


def _plain(path: Path, name: str, value: Any) -> str | int | float | bool:
    """Return the value if W&B's agent writes it so that our command line reads the same."""
    if isinstance(value, str | int | float | bool):
        return value
    if value is None:
        raise ConfigError(f'{path}: {name} has the value null, which W&B would write as None: write "null", in quotes.')
    # Python's words for lists of numbers are YAML's too; None and mappings are not sure to be.
    raise ConfigError(
        f"{path}: {name} has the value {value!r}; write lists and mappings in quotes, as on the command line: "
        f"{as_word(as_word(value))}."
    )


def _halving(path: Path, given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    allowed = {"type", "min_iter", "max_iter", "s", "eta", "strict"}
    if not isinstance(given, dict) or given.get("type") != "hyperband" or not set(given) <= allowed:
        raise ConfigError(f"{path}: early_terminate is {given!r}; expected {{type: hyperband, min_iter: 2, eta: 3}}.")
    factor = given.get("eta", 3)
    if type(factor) is not int or factor < 2:
        raise ConfigError(f"{path}: eta is {factor!r}; expected a whole number from 2 up.")
    if "min_iter" in given:
        first = given["min_iter"]
    elif {"max_iter", "s"} <= set(given):
        first = given["max_iter"] // factor ** given["s"]
    else:
        raise ConfigError(f"{path}: early_terminate needs min_iter, or max_iter and s.")
    if type(first) is not int or first < 1:
        raise ConfigError(f"{path}: trials are first compared after {first!r} validations; expected 1 or more.")
    return first, factor


def _words(path: Path, command: Any) -> tuple[str, ...]:
    if not isinstance(command, list) or [str(word) for word in command[: len(_BEGINNING)]] != _BEGINNING:
        raise ConfigError(f"{path}: the command is {command!r}; expected it to begin with {_BEGINNING}.")
    words = [str(word) for word in command[len(_BEGINNING) - 1 :]]
    if words[-1] != _ARGUMENTS or words.count(_ARGUMENTS) != 1:
        raise ConfigError(f"{path}: the command has to end with {_ARGUMENTS}, so that the sweep's values win.")
    return tuple(words)
