"""Values that mean nothing: each option is tried with some, so that a new one is tried by being declared."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import yaml

from deeplab_lightning.__main__ import COMMANDS, CONFIGURATIONS
from deeplab_lightning.command_line import Argument, CommandLine
from deeplab_lightning.config import Configuration
from deeplab_lightning.data.sets import datamodules
from deeplab_lightning.errors import ConfigError, DeepLabError
from deeplab_lightning.inference import EvaluationOptions
from deeplab_lightning.losses import loss_options
from deeplab_lightning.models import networks
from deeplab_lightning.optim.options import OptimizerOptions
from deeplab_lightning.options import Options, _constraints, group_of, hints_of
from deeplab_lightning.runs import RunOptions
from deeplab_lightning.tasks import TaskOptions
from deeplab_lightning.trainer_checks import RANGES

from .tiny import TINY, tiny_fit

VALUES = ["0", "-1", ".nan", ".inf", "-.inf", "''", "banana", "[]", "[-1, .nan]", "{}", "{a: -1}", "true", "1.5"]
ANY_NUMBER = {
    "mean": "it can be any number",
    "ignore_index": "it can be any number",
    "label_map": "masks hold any numbers",
    "unsure": "a class, which the labels check",
    "largest": "classes, which the labels check",
    "classes": "classes, which the labels check",
}
"""Options without a range, and why."""


def groups() -> Iterator[type[Options]]:
    """All groups of options, those of losses and the like within others included."""
    found = [network.Options for network in networks().values()] + [data.Options for data in datamodules().values()]
    for group in [*found, TaskOptions, OptimizerOptions, EvaluationOptions, RunOptions, loss_options()]:
        yield group
        yield from (inner for hint in hints_of(group).values() if (inner := group_of(hint)) is not None)


OPTIONS = sorted({(name, group.__name__): (group, name) for group in groups() for name in hints_of(group)}.items())


def numbers(hint: Any) -> Iterator[Any]:
    """The types of the numbers in a type."""
    if hint in (int, float):
        yield hint
    for inner in typing.get_args(hint):
        if not isinstance(inner, str | int | float):
            yield from numbers(inner)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_number_has_a_range(name: tuple[str, str], option: tuple[type[Options], str]) -> None:
    group, field = option
    hint = hints_of(group)[field]
    if not list(numbers(hint)) or _constraints(hint) or field in ANY_NUMBER:
        return
    default = next(each.default for each in dataclasses.fields(group) if each.name == field)
    with pytest.raises(ConfigError):  # no range is declared, but the group's own check has one
        group.of({field: (-1,) * len(default) if isinstance(default, tuple) else -1})


def arguments() -> Iterator[Argument]:
    """Words and options of commands."""
    for name, place in COMMANDS.items():
        if name not in CONFIGURATIONS:
            module, function = place.split(":")
            yield from CommandLine(getattr(import_module(f"deeplab_lightning.{module}"), function), name).arguments


@pytest.mark.parametrize("argument", arguments(), ids=lambda argument: argument.name)
def test_every_number_of_a_command_has_a_range(argument: Argument) -> None:
    field = argument.key.rpartition(".")[2]
    assert not list(numbers(argument.hint)) or _constraints(argument.hint) or field in ANY_NUMBER or argument.section


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_value_is_taken_or_refused_in_words(name: tuple[str, str], option: tuple[type[Options], str]) -> None:
    group, field = option
    required = {each.name: "x" for each in dataclasses.fields(group) if each.default is dataclasses.MISSING}
    for text in VALUES:
        value = yaml.safe_load(text)
        try:
            made = getattr(group.of({**required, field: value}), field)
        except DeepLabError:
            continue
        assert not set(re.findall(r"\w+", repr(made))) & {"nan", "inf"}, text


TRAINER = sorted(Configuration(["--model", "EncoderDecoder"]).trainer_options.as_dict())
TRAINER_WORDS = {
    *("accelerator", "strategy", "devices", "precision", "logger", "callbacks", "max_time", "val_check_interval"),
    *("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "deterministic", "benchmark"),
    *("inference_mode", "use_distributed_sampler", "profiler", "detect_anomaly", "barebones", "plugins"),
    *("sync_batchnorm", "default_root_dir", "enable_autolog_hparams", "model_registry"),
}
"""Options of the trainer that are no numbers, or not only; `check_trainer` looks at two of them."""


def test_every_option_of_the_trainer_has_a_range_or_is_none() -> None:
    assert set(TRAINER) == set(RANGES) | TRAINER_WORDS


TRIED = ("0", "-1", "-2", "nan", "inf", "-.inf", "", "banana", "[]", "1.5", "{}")


@pytest.mark.parametrize(
    ("name", "values"),
    [(name, TRIED[number % 4 :: 4]) for number, name in enumerate(TRAINER)]  # each takes a second
    + [pytest.param(name, TRIED, marks=pytest.mark.slow) for name in TRAINER],
)
@pytest.mark.filterwarnings("ignore")
def test_the_trainer_is_made_or_refused_in_words(
    name: str, values: tuple[str, ...], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for value in values:
        words = ["--model", "EncoderDecoder", *TINY, f"--trainer.{name}={value}"]
        try:
            Configuration(words).make_trainer()
        except ConfigError as error:
            said.append(str(error))
    assert all(one.strip() and "\n" not in one for one in said)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("data.batch_size", "0", "1 or more"),
        ("optimizer.lr", "-0.1", "0 or more"),
        ("optimizer.lr", ".nan", "is nan; expected 0 or more"),
        ("optimizer.lr", "nan", "is nan; expected a number"),  # to YAML, a word
        ("trainer.max_steps", "0", "1 or more, or -1 for no end"),
        ("trainer.accumulate_grad_batches", "0", "1 or more"),
        ("trainer.devices", "0", "1 or more, or -1 for all devices"),
        ("trainer.devices", "nan", "1 or more, or -1 for all devices"),
        ("trainer.devices", "inf", "1 or more, or -1 for all devices"),
        ("trainer.limit_val_batches", "-1", "0 or more"),
        ("trainer.limit_train_batches", "1.5", "more than 0 to 1"),
        ("trainer.gradient_clip_val", "-1", "0 or more"),
        ("trainer.val_check_interval", "0", "1 or more"),
        ("trainer.log_every_n_steps", "0", "1 or more"),
        ("trainer.accelerator", "banana", "banana"),
        ("trainer.strategy", "banana", "banana"),
        ("seed_everything", "-1", "0 to 4294967295"),
        ("seed_everything", "18446744073709551616", "0 to 4294967295"),
        ("data.seed", "18446744073709551616", "0 to 4294967295"),
    ],
)
def test_what_once_reached_a_traceback(
    option: str, value: str, message: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny_fit(tmp_path, f"--{option}={value}") == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("deeplab_lightning fit: --")
    assert option.split(".")[0] in said
    assert message in said


def test_a_share_of_no_epoch_is_refused_in_a_line() -> None:
    """What is counted across epochs is a number of batches: 1.0 is none."""
    words = ["--model", "EncoderDecoder", *TINY, "--trainer.val_check_interval=1.0"]
    with pytest.raises(ConfigError, match=r"^--trainer .*val_check_interval.* integer"):
        Configuration([*words, "--trainer.check_val_every_n_epoch=null"]).make_trainer()
