"""The configuration: what the words behind a command, its files and a checkpoint say together, as typed objects.

It has one section a noun. `model` is a network with its options, `data` a data set with its own; both are chosen by
`name`. `optimizer`, `loss`, `evaluation` and `run` are groups of options, `trainer` is Lightning's. Commands ask for
what they need: `doctor` for the data, `inspect` for the network, `fit` for everything.

What is lower in this list wins: declared defaults, a checkpoint's own settings, `-c` files in their order, options.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer

from .checkpoints.loading import (
    ON_THE_USERS_WORD,
    check_fits,
    checkpoint_config,
    own_hyper_parameters,
    proposals,
    read_checkpoint,
    training_config,
)
from .checkpoints.parts import no_larger_than
from .config_parser import OneLineParser, as_config_error, say_ranges, types_named, without_enums
from .config_words import (
    asks_for_help,
    check_class_paths_on_line,
    check_options,
    config_files,
    merged,
    option_value,
    read_config,
    unknown_option,
    without_config_files,
    without_option,
)
from .data.sets import SegmentationDataModule, datamodule_named, datamodules
from .errors import ConfigError
from .inference import EvaluationOptions
from .losses import loss_options
from .models import networks
from .models.base import NetworkOptions
from .optim.options import OptimizerOptions
from .options import Between, Options, group_of, hints_of, problem_of
from .plugins import bring_in, name_of, named_by_user
from .runs import RunOptions, resolve_checkpoint
from .tasks import SegmentationTask, TaskOptions, model_named, task_class_in, task_class_of
from .tasks.precision import expect_precision
from .trainer_checks import check_trainer
from .types import DataDescription

DEFAULT_DATA = "DrawnScenes"
DEFAULT_MODEL = "DeepLabV3Plus"
"""Of commands that look at data alone, and of `--help`."""
CHOICES = ("model", "data")
"""Sections that choose a class by its name, whose options they then have."""
SEED = Annotated[int, Between(0, 2**32 - 1)]
TRAINER_DEFAULTS = {"enable_model_summary": False}
LENGTHS = ("max_steps", "max_epochs", "max_time")
DECISIVE = (
    *LENGTHS, "min_steps", "min_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val",
    "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches", "val_check_interval",
    "check_val_every_n_epoch", "log_every_n_steps", "sync_batchnorm", "deterministic", "callbacks",
)  # fmt: skip
"""Settings of the trainer that decide a run's numbers: they travel in its checkpoints. (Machine and devices do not.)"""
CALLBACKS = (
    "EarlyStopping",
    "Timer",
    "GradientAccumulationScheduler",
    "StochasticWeightAveraging",
    "LearningRateMonitor",
)
"""Those of Lightning's that a checkpoint alone may bring back: they decide numbers, write nothing and run nothing."""
WITHOUT_EFFECT = ("pretrained", "weights", "compile", "num_workers", "max_pixels", "eval_batch_size", "cache",
                  "preview", "root")  # fmt: skip
"""Options that say where a training began or how fast it is, or that a copied data set must set anew."""


class Configuration:
    """A whole configuration, each part of which is made when it is asked for.

    Args:
        words: What the user wrote behind the command's name.
        checkpoint: A checkpoint's file, or a run (its best one): its own settings lie below all that the user writes.
        needs_model: Refuse a configuration without a model; otherwise `DEFAULT_MODEL` stands for one.
        goes_on: The checkpoint's training goes on: its seed, and what decides numbers of its trainer, lie below, too.
        of_others: Files among the words that the user has not written, as a run folder's that he was given: they
            choose network, data and their options, and nothing is imported, fetched or written for their sake.

    Attributes:
        files: The configuration files, in their order.
        checkpoint_path: The checkpoint's file.
        checkpoint: What it holds.
        network_class: The network that `model.name` names.
        model: Its options.
        task: What is done with it in training.
        optimizer: The optimiser and its schedule.
        loss: The losses and their constants.
        data_class: The datamodule that `data.name` names.
        data: Its options.
        evaluation: How images are evaluated.
        run: Where the run goes.

    Raises:
        ConfigError: An option is unknown, misspelt, of another type, or out of range.
    """

    def __init__(
        self,
        words: Sequence[str],
        checkpoint: str | Path | None = None,
        *,
        needs_model: bool = True,
        goes_on: bool = False,
        of_others: Collection[Path] = (),
    ) -> None:
        self.files = config_files(words)
        self.checkpoint_path = None if checkpoint is None else resolve_checkpoint(checkpoint)
        self.checkpoint = None if self.checkpoint_path is None else read_checkpoint(self.checkpoint_path)
        helps = asks_for_help(words)
        first = {} if self.checkpoint is None else checkpoint_config(self.checkpoint)
        said = [read_config(path) for path in self.files]
        own = [path not in of_others for path in self.files]
        said = [
            layer if ours else _of_another(layer, path) for layer, ours, path in zip(said, own, self.files, strict=True)
        ]
        options = without_config_files(words)
        so_far: dict[str, Any] | None = None
        if self.checkpoint is not None:
            path = self.checkpoint_path or ""
            _expect_no_classes(first, path)
            if goes_on:
                told = any("callbacks" in (layer.get("trainer") or {}) for layer in said)
                so_far = training_config(self.checkpoint)
                first |= _known_training(so_far, told or _says_callbacks(options), path)
        self._so_far = first | ({} if so_far is None else so_far)
        if _says_length(said, options):  # in steps, epochs or time: the old one of another kind must not end the run
            first["trainer"] = {key: value for key, value in first.get("trainer", {}).items() if key not in LENGTHS}
        layers = [first, *said]
        names = {key: [(layer.get(key) or {}).get("name") for layer in layers] for key in CHOICES}
        on_line = {key: _name_on_line(options, key) for key in CHOICES}
        for key in CHOICES:  # what a checkpoint names is not imported: it may be anyone's
            in_files = [(layer.get(key) or {}).get("name") for layer, ours in zip(said, own, strict=True) if ours]
            for name in filter(None, [*in_files, on_line[key]]):
                if isinstance(name, str) and "." in name:
                    bring_in(
                        f"the {'network or task' if key == 'model' else 'data set'} {name}", name.rpartition(".")[0]
                    )
        chosen_model = on_line["model"] or _last(names["model"])
        chosen_data = on_line["data"] or _last(names["data"]) or DEFAULT_DATA
        if chosen_model is None and needs_model and not helps:
            _refuse_without_model(options)
        self.network_class, self.task_class = model_named(chosen_model or DEFAULT_MODEL)
        if self.checkpoint is not None and chosen_model == first["model"]["name"]:
            self.task_class = task_class_in(self.checkpoint)
        self.data_class = datamodule_named(chosen_data)
        for key in CHOICES:
            options = without_option(without_option(options, f"--{key}"), f"--{key}.name")
        self._trainer: dict[str, Any] | None = None
        self._parser = self._make_parser(words)
        check_options(options, self._known_options(), options_of_all_classes())
        check_class_paths_on_line(options)
        below = self._below_options(layers, names)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"[\s\S]*a tuple is serialized as list")  # of --print_config
            self._namespace = self._parser.parse_args([f"--config={yaml.safe_dump(below)}", *options])
        expect_precision(self.trainer_options.precision)
        self._take_sections()
        if self.checkpoint is not None and not helps:
            self._say_proposals(proposals(self.checkpoint))

    # --- what commands ask for ----------------------------------------------------------------------------------------

    @property
    def seed(self) -> int | None:
        """The run's seed; None where it is not to be seeded."""
        seed = self._namespace.seed_everything
        if seed is False or seed is None:
            return None
        if (problem := problem_of(seed, SEED)) is not None:
            raise ConfigError(f"--seed_everything is {seed!r}; expected a whole number, {problem}, or false for none.")
        return int(seed)

    @property
    def trainer_options(self) -> Namespace:
        """The trainer's section, as parsed."""
        return self._namespace.trainer

    @property
    def describes(self) -> DataDescription:
        """What a model must know of the data, found without reading a pixel."""
        return self.data_class.describe(self.data)

    def datamodule(self) -> SegmentationDataModule:
        """Make the datamodule; nothing is opened."""
        return self.data_class(**self.data.values())

    def make_task(self, *, on_paper: bool = False, untrained: bool = False) -> SegmentationTask:
        """Make the task with its network.

        Args:
            on_paper: On the meta device: shapes without values, and nothing is fetched.
            untrained: Leave out the weights that the configuration starts from: nothing is fetched, either.
        """
        values = {**self.model.values(), **self.task.values()}
        if (on_paper or untrained) and "pretrained" in values:
            values["pretrained"] = False
        if untrained:
            values["weights"] = None
        bounded = self.checkpoint is not None and not on_paper
        limit = no_larger_than(self.checkpoint or {}, self.checkpoint_path or "") if bounded else nullcontext()
        with limit, torch.device("meta" if on_paper else torch.get_default_device()):
            task = self.task_class(
                self.describes,
                network=self.network_class,
                optimizer=self.optimizer,
                loss=self.loss,
                **values,
                **self._own_hyper_parameters(),
            )
        task.evaluation_options = self.evaluation
        task.weights_from = str(self.checkpoint_path or task.weights_from)
        return task

    def _own_hyper_parameters(self) -> dict[str, Any]:
        """Return what the checkpoint's task saved of its own, if it is this one."""
        if self.checkpoint is None or self.checkpoint["deeplab_lightning"]["task"] != name_of(self.task_class):
            return {}
        return own_hyper_parameters(self.checkpoint)

    def trained_task(self) -> SegmentationTask:
        """Make the task with the checkpoint's weights; with those that training starts from where there is none.

        Raises:
            CheckpointError: The weights are those of another network, or of other classes.
        """
        task = self.make_task()
        if self.checkpoint is not None:
            self.check_fits(task)
            task.load_state_dict(self.checkpoint["state_dict"])
            task.on_load_checkpoint(self.checkpoint)  # the threshold of a binary network is no weight
        return task

    def check_fits(self, task: SegmentationTask) -> None:
        """Refuse a checkpoint whose classes, pixels or weights are not those of `task`."""
        if self.checkpoint is not None:
            check_fits(task, task.description, self.checkpoint, self.checkpoint_path or "")

    def make_trainer(self, **ours: Any) -> Trainer:
        """Make the trainer, with its callbacks and loggers.

        Args:
            ours: What this framework adds; it wins over the configuration.
        """
        with as_config_error():
            return Trainer(**{**self.trainer_parts(), **ours})

    def trainer_parts(self) -> dict[str, Any]:
        """Return the trainer's arguments, with callbacks, loggers and plugins made."""
        if self._trainer is None:
            check_trainer(self._namespace.trainer.as_dict())
            with as_config_error():
                self._trainer = self._parser.instantiate(Namespace(trainer=self._namespace.trainer)).trainer.as_dict()
        return self._trainer

    def as_yaml(self) -> str:
        """Return the whole configuration, resolved."""
        kept = self._namespace.clone()
        for key in ("config", "ckpt_path"):
            kept.pop(key, None)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"[\s\S]*a tuple is serialized as list")
            return self._parser.dump(without_enums(kept), skip_none=False, skip_validation=True)

    @property
    def decisive(self) -> dict[str, Any]:
        """The trainer's settings that decide numbers, as plain values."""
        trainer = yaml.safe_load(self.as_yaml())["trainer"]
        return {key: trainer[key] for key in DECISIVE}

    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Return what decides numbers and is not as in the training that goes on: by option, its value then and now."""
        now = {
            "model": {**self.model.plain(), **self.task.plain()},
            "optimizer": self.optimizer.plain(),
            "loss": self.loss.plain(),
            "data": {"name": self.data_class.name_in_yaml(), **self.data.plain()},
            "evaluation": self.evaluation.plain(),
            "trainer": self.decisive,
        }
        found = {
            f"{section}.{key}": (then, ours[key])
            for section, ours in now.items()
            for key, then in self._so_far.get(section, {}).items()
            if key in ours and key not in WITHOUT_EFFECT and ours[key] != then
        }
        seed = self._so_far.get("seed_everything", self.seed)
        return found if self.seed in (None, seed) else {**found, "seed_everything": (seed, self.seed)}

    # --- how it is read ----------------------------------------------------------------------------------------------

    def _make_parser(self, words: Sequence[str]) -> OneLineParser:
        parser = OneLineParser(prog="deeplab_lightning", default_env=False)
        parser.words = list(words)
        parser.add_argument(
            "-c",
            "--config",
            action="config",
            help="Configuration file, or the name of a packaged one (v3plus); later ones win.",
        )
        what = "Seed of everything random; false for none."
        parser.add_argument("--seed_everything", type=bool | int, default=0, help=what)
        for section, group, defaults in self._groups():
            if section in ("model", "data") and group in (self.network_class.Options, self.data_class.Options):
                name = self._model_name() if section == "model" else self.data_class.name_in_yaml()
                parser.add_argument(f"--{section}.name", type=str, default=name, help="Which one it is.")
            with types_named(group, for_help=bool({"-h", "--help"} & set(words))):
                parser.add_class_arguments(group, section, instantiate=False, as_group=group is not TaskOptions)
            if defaults is not None:
                parser.set_defaults({f"{section}.{name}": value for name, value in defaults.plain().items()})
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        parser.add_argument("--ckpt_path", type=str | None, default=None, help="Checkpoint or run to start from.")
        say_ranges(parser, [group for _, group, _ in self._groups()])
        return parser

    def _model_name(self) -> str:
        """Return what chooses the network, and a task of the user's own with it."""
        own = self.task_class is not task_class_of(self.network_class)
        return name_of(self.task_class if own and self.task_class.network_class else self.network_class)

    def _groups(self) -> list[tuple[str, type[Options], Options | None]]:
        """Return section, options and other defaults than theirs."""
        return [
            ("model", self.network_class.Options, None),
            ("model", TaskOptions, None),
            ("optimizer", OptimizerOptions, self.task_class.optimizer_defaults),
            ("loss", loss_options(), None),
            ("data", self.data_class.Options, None),
            ("evaluation", EvaluationOptions, None),
            ("run", RunOptions, None),
        ]

    def _known_options(self) -> list[str]:
        known = [option for action in self._parser._actions for option in action.option_strings]
        losses = {name: group_of(hint) for name, hint in hints_of(loss_options()).items()}
        constants = [
            f"--loss.{name}.{constant}" for name, group in losses.items() if group for constant in hints_of(group)
        ]
        return [*known, *constants, "--print_config", "--help", "-h"]

    def _below_options(
        self, layers: Sequence[Mapping[str, Any]], names: Mapping[str, Sequence[str | None]]
    ) -> dict[str, Any]:
        """Return the layers as one, without what was said of classes that a later layer replaced."""
        result: dict[str, Any] = {}
        for number, layer in enumerate(layers):
            kept = {key: value for key, value in layer.items() if value is not None}
            for key, section in kept.items():
                if isinstance(section, Mapping):
                    kept[key] = self._known_in(key, section, names.get(key, ())[: number + 1])
            result = merged(result, kept)
        if (path := result.pop("ckpt_path", None)) is not None:
            raise ConfigError(
                f"ckpt_path {path} stands in a configuration file. A checkpoint is chosen on the command line, so that "
                f"no file makes a new run go on from an old one: --ckpt_path {path}"
            )
        self._print_kept_settings(layers, names)
        return result

    def _known_in(self, key: str, section: Mapping[str, Any], names: Sequence[str | None]) -> dict[str, Any]:
        """Return a section without its name, and without options of a class that a later layer replaced."""
        if key == "trainer":
            return dict(section)
        known = self._options_of(key, None)
        earlier = self._options_of(key, _last(names)) if names else known
        own = {name: value for name, value in section.items() if name != "name" or key not in CHOICES}
        for name in own:
            if name not in known and name not in earlier:
                raise ConfigError(
                    unknown_option(key, name, [f"--{key}.{one}" for one in known], options_of_all_classes())
                )
        return {name: value for name, value in own.items() if name in known}

    def _options_of(self, key: str, class_name: str | None) -> list[str]:
        """Return the options of a section, with those of the named class, or of the one that is chosen."""
        if key == "model" and class_name is not None:
            return [*hints_of(model_named(class_name)[0].Options), *hints_of(TaskOptions)]
        if key == "data" and class_name is not None:
            return list(hints_of(datamodule_named(class_name).Options))
        return [name for section, group, _ in self._groups() if section == key for name in hints_of(group)]

    def _print_kept_settings(
        self, layers: Sequence[Mapping[str, Any]], names: Mapping[str, Sequence[str | None]]
    ) -> None:
        """Say which settings made for one class a later file handed on to another."""
        for key, first_owner in (("model", None), ("data", DEFAULT_DATA)):
            owner, settings = first_owner, dict[str, Any]()
            for layer, name in zip(layers, names[key], strict=True):
                own = layer.get(key) or {}
                if name and owner and name != owner:
                    known = self._options_of(key, name)
                    kept = [option for option in settings if option not in own and option in known]
                    if kept:
                        values = ", ".join(f"{option} {settings[option]}" for option in kept)
                        print(f"{key}: {name} keeps from {owner}'s settings: {values}")
                owner = name or owner
                settings |= {option: value for option, value in own.items() if option != "name"}

    def _say_proposals(self, proposed: Mapping[str, Any]) -> None:
        """Say what a checkpoint's training did beside its run, and this command does not: it was not asked to."""
        now = {f"--data.{name}": value for name, value in self.data.plain().items()}
        left = {option: value for option, value in proposed.items() if not now.get(option)}
        if left:
            said = ", ".join(f"{option} {json.dumps(value)}" for option, value in left.items())
            _say_once(f"{self.checkpoint_path} was trained with {said}, which is not done here unless you say so, too.")

    def _take_sections(self) -> None:
        sections = self._namespace
        model = sections.model.as_dict()
        self.model: NetworkOptions = self.network_class.Options.of(_only(model, self.network_class.Options))
        self.task = TaskOptions.of(_only(model, TaskOptions))
        self.optimizer = OptimizerOptions.of(sections.optimizer.as_dict())
        self.loss = loss_options().of(sections.loss.as_dict())
        self.data = self.data_class.Options.of(_only(sections.data.as_dict(), self.data_class.Options))
        self.evaluation = EvaluationOptions.of(sections.evaluation.as_dict())
        self.run = RunOptions.of(sections.run.as_dict())


def _only(section: Mapping[str, Any], group: type[Options]) -> dict[str, Any]:
    return {name: section[name] for name in hints_of(group)}


def _name_on_line(words: Sequence[str], key: str) -> str | None:
    return option_value(words, f"--{key}.name") or option_value(words, f"--{key}")


def _says_callbacks(words: Sequence[str]) -> bool:
    return any(word.partition("=")[0] == "--trainer.callbacks" for word in words)


def _known_training(training: dict[str, Any], told: bool, checkpoint: str | Path) -> dict[str, Any]:
    """Return what a checkpoint says of its training, without all that is no number: it may be anyone's.

    Args:
        training: See `training_config`.
        told: The user says himself which callbacks there are.
        checkpoint: For messages.

    Raises:
        ConfigError: It had callbacks that are none of a few of Lightning's, and the user did not name them.
    """
    trainer = {key: value for key, value in training["trainer"].items() if key in DECISIVE}
    given = trainer.pop("callbacks", None)
    _expect_no_classes({**training, "trainer": trainer}, checkpoint)
    callbacks = [] if given is None or told else given if isinstance(given, list) else [given]
    for each in callbacks:
        path = each.get("class_path") if isinstance(each, Mapping) else each
        arguments = each.get("init_args") or {} if isinstance(each, Mapping) else {}
        module, _, name = str(path).rpartition(".")
        known = name in CALLBACKS and (not module or f"{module}.".startswith("lightning.pytorch.callbacks."))
        if not (
            known
            and isinstance(arguments, Mapping)
            and _is_plain(arguments)
            and set(each if isinstance(each, Mapping) else ()) <= {"class_path", "init_args"}
        ):
            if isinstance(path, str) and named_by_user(module):
                continue
            raise ConfigError(
                f"{checkpoint} was trained with the callback {str(path)[:100]}, and nothing is imported because a file "
                f"names it. If you know it and trust it, add --import {module or 'MODULE'}, or name all callbacks "
                f"with --trainer.callbacks; to go on without, --trainer.callbacks null."
            )
    return training | {"trainer": trainer | ({"callbacks": callbacks} if callbacks else {})}


def _is_plain(value: Any) -> bool:
    """Whether the parser imports nothing for a value: a text with a dot could be the place of a function."""
    if isinstance(value, Mapping):
        return "class_path" not in value and all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and "." not in value)


def _expect_no_classes(settings: Any, path: str | Path) -> None:
    """Refuse a `class_path` among what a checkpoint says of network, training and data: the parser would import it."""
    if isinstance(settings, Mapping) and "class_path" in settings:
        raise ConfigError(
            f"{path} names the class {str(settings['class_path'])[:100]} where an option's value is expected: it was "
            f"made by something else than this program, and is not used."
        )
    for each in settings.values() if isinstance(settings, Mapping) else settings if isinstance(settings, list) else ():
        _expect_no_classes(each, path)


def _of_another(layer: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what another's configuration says of network and data, without what fetches or writes."""
    kept = {key: value for key, value in layer.items() if key not in ("trainer", "run")}
    _expect_no_classes(kept, path)
    data = {key: value for key, value in (kept.get("data") or {}).items() if key not in ON_THE_USERS_WORD}
    return kept | ({"data": data} if data else {})


@functools.cache
def _say_once(text: str) -> None:
    print(text, flush=True)


def _says_length(files: Sequence[Mapping[str, Any]], options: Sequence[str]) -> bool:
    """Whether a file or the command line says how long the run is."""
    said = {word.partition("=")[0].removeprefix("--trainer.") for word in options}
    return not said.union(*(layer.get("trainer") or {} for layer in files)).isdisjoint(LENGTHS)


def _last(names: Sequence[str | None]) -> str | None:
    return next((name for name in reversed(names) if name is not None), None)


def _refuse_without_model(words: Sequence[str]) -> None:
    others = options_of_all_classes()["model"]
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--model.") and option.removeprefix("--model.") in others:
            raise ConfigError(unknown_option("model", option.removeprefix("--model."), [], {"model": others}))
    raise ConfigError(
        f"No model is chosen: give a configuration such as -c configs/v3plus.yaml, or --model with one of "
        f"{', '.join(networks())}."
    )


def options_of_all_classes() -> dict[str, list[str]]:
    """Return the options of all networks and all data sets, by section."""
    of_models = {name for network in networks().values() for name in hints_of(network.Options)}
    of_data = {name for data in datamodules().values() for name in hints_of(data.Options)}
    return {"model": sorted(of_models | set(hints_of(TaskOptions))), "data": sorted(of_data)}
