"""fit, validate and test, on LightningCLI."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks
import lightning.pytorch.loggers  # noqa: F401
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from .arguments import check_options, config_files, in_parsing_order, option_value, without_option
from .callbacks import (
    Divergence,
    EvaluationFiles,
    LastCheckpoint,
    MetricsCsv,
    Preview,
    Progress,
    RunFiles,
    Speed,
    TrainingStopped,
    WandbRun,
)
from .checkpoints.loading import check_fits, checkpoint_config, read_checkpoint
from .data.datamodules import SegmentationDataModule
from .errors import CheckpointError, ConfigError, DeepLabError
from .inference import EvaluationOptions
from .parsing import OneLineParser, asks_for_help, class_named, class_options
from .reporting.runs import RunFolder, find_run, new_run
from .tasks import SegmentationTask
from .trainer_parts import as_list, place_logger, plugins

DEFAULT_DATA = "DrawnScenesDataModule"
RUNS = "runs"
CHECKPOINT_WORDS = ("last", "best")
_SPLITS = {"validate": "val", "test": "test"}
NOT_DETERMINISTIC = """\
Deterministic: the same machine, software and number of processes give the same numbers. PyTorch documents no
deterministic form of three operations used here: cross-entropy of maps on GPUs (NLLLoss), the gradient of pyramid
pooling on GPUs (AdaptiveAvgPool2d, --model.context psp), and SegNet's unpooling (MaxUnpool2d).
`--trainer.deterministic true` stops there; `warn` goes on and says so."""
RUN_FOLDER_VARIABLE = "DEEPLAB_LIGHTNING_RUN_FOLDER"
"""Tells the processes that Lightning starts for further GPUs which folder the first one made."""


def fit(arguments: Sequence[str]) -> int:
    """Train a model: fit -c configs/v3plus.yaml."""
    return _run("fit", arguments)


def validate(arguments: Sequence[str]) -> int:
    """Score a checkpoint on the validation split."""
    return _run("validate", arguments)


def test(arguments: Sequence[str]) -> int:
    """Score a checkpoint on the test split."""
    return _run("test", arguments)


def _run(command: str, arguments: Sequence[str]) -> int:
    quieten()
    try:
        DeepLabCLI(command, list(arguments))
    except TrainingStopped as stop:
        if not _is_first_process():
            return 0  # the first one speaks for all; another's failure would make Lightning kill it
        print(f"deeplab_lightning {command}: {stop}", flush=True)
        return stop.exit_code
    except ValueError as error:
        longer = re.search(r"`val_check_interval` \((\d+)\) must be .* training batches \((\d+)\)", str(error))
        if longer is None:
            raise
        steps, batches = longer.groups()
        raise ConfigError(
            f"--trainer.val_check_interval {steps} is more than the {batches} batches of an epoch. To count steps "
            f"across epochs add --trainer.check_val_every_n_epoch null; to validate at the end of each epoch take 1.0."
        ) from error
    return 0


class DeepLabCLI(LightningCLI):
    """LightningCLI for one command, with our parsing rules and run folders.

    - Configuration files come before options, whatever their order on the command line.
    - A checkpoint's hyper-parameters are the first configuration: everything the user writes wins over them.
    - What the model must know of the data is computed from the datamodule when the configuration is complete;
      contradicting it is an error.

    Args:
        command: fit, validate or test.
        arguments: What follows it on the command line.
    """

    def __init__(self, command: str, arguments: list[str]) -> None:
        self.command = command
        self.checkpoint_path: Path | None = None
        self.checkpoint: dict[str, Any] | None = None
        self.configs = config_files(arguments)
        given_checkpoint = option_value(arguments, "--ckpt_path")
        first_config = None
        if given_checkpoint not in (None, "null") and not asks_for_help(arguments):
            assert given_checkpoint is not None
            self.checkpoint_path = self._resolve_checkpoint(given_checkpoint, arguments)
            self.checkpoint = read_checkpoint(self.checkpoint_path)
            first_config = json.dumps(checkpoint_config(self.checkpoint))
            arguments = [*without_option(arguments, "--ckpt_path"), "--ckpt_path", str(self.checkpoint_path)]
        elif command != "fit" and not asks_for_help(arguments):
            raise CheckpointError(
                f"{command} needs the checkpoint to score: --ckpt_path runs/v3plus/latest/checkpoints/best.ckpt"
            )
        OneLineParser.arguments = arguments
        self.arguments = in_parsing_order(arguments, first_config)
        super().__init__(
            SegmentationTask,
            SegmentationDataModule,
            save_config_callback=None,
            parser_class=OneLineParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={"use_distributed_sampler": False, "enable_model_summary": False},
            args=[command, *self.arguments],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the command at hand: building a parser takes a while."""
        return {self.command: LightningCLI.subcommands()[self.command]}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a command's parser."""
        parser = super().init_parser(**kwargs)
        parser.outermost = True  # type: ignore[attr-defined]
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add where runs go; let the embedded data set be the default."""
        parser.add_argument(
            "--run.name",
            type=str | None,
            default=None,
            help="Name of the run; the first configuration's stem if not given.",
        )
        parser.add_argument("--run.folder", type=str, default=RUNS, help="Folder of all runs.")
        parser.add_class_arguments(EvaluationOptions, "evaluation", help="How images are evaluated")
        parser.add_argument(
            "--run.watch_gradients",
            type=int,
            default=0,
            help="Weights & Biases: histograms of the gradients every so many steps; 0 for none.",
        )
        parser.set_defaults({"data": {"class_path": DEFAULT_DATA}})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Refuse unknown options, then parse."""
        if not asks_for_help(self.arguments):
            subparser = self._subcommand_parsers[self.command]
            known = [option for action in subparser._actions for option in action.option_strings]
            check_options(self.arguments, [*known, "--print_config"], class_options())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
            super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Nothing: the checkpoint's hyper-parameters came first, not last."""

    def before_instantiate_classes(self) -> None:
        """Tell the model what it must know of the data, or raise where it was told something else."""
        config = self.config[self.command]
        if config.ckpt_path and self.checkpoint is None:
            raise ConfigError(
                f"ckpt_path {config.ckpt_path} stands in a configuration file. A checkpoint is chosen on the command "
                f"line, so that no file makes a new run go on from an old one: --ckpt_path {config.ckpt_path}"
            )
        if config.trainer.overfit_batches:
            raise ConfigError(
                "--trainer.overfit_batches changes the order of images behind this framework's back. To see whether "
                "a network learns a few images by heart, add -c configs/debug/overfit.yaml (--data.train_limit 8 "
                "--data.val_on_train true)."
            )
        self._print_kept_settings(config)
        datamodule = class_named("data", config.data.class_path)
        description = datamodule.describe(**config.data.init_args)
        model = config.model.init_args
        if model.get("description") not in (None, description):
            raise ConfigError("--model.description always comes from the data: leave it out.")
        self.config_text = self._config_as_yaml(config)
        model["description"] = description
        config["weights_only"] = True  # nothing in a checkpoint is executed
        if "verbose" in config:
            config["verbose"] = False  # our table says more than Lightning's

    def instantiate_classes(self) -> None:
        """Let our own errors out of jsonargparse's wrapping."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, DeepLabError):
                    raise cause from None
                cause = cause.__cause__
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Open the data, check the checkpoint, make the run folder; then the trainer with our callbacks."""
        self.model.evaluation_options = self._get(self.config_init, "evaluation")
        self.datamodule.setup(self.command)
        if self.checkpoint is not None:
            check_fits(self.model, self.model.description["class_names"], self.checkpoint, self.checkpoint_path or "")
        self.run = self._run_folder()
        config = self._get(self.config_init, "trainer")
        loggers = as_list(config.get("logger"), Logger)
        for logger in loggers:
            place_logger(logger, self.run)
        callbacks = as_list(config.get("callbacks"), Callback)
        if _is_first_process():
            self._print_overview()
        return super().instantiate_trainer(
            **kwargs,
            default_root_dir=str(self.run.path),
            logger=[*loggers, MetricsCsv(self.run)],
            callbacks=[*callbacks, *self._callbacks(config, loggers)],
            plugins=plugins(config),
        )

    def _print_overview(self) -> None:
        """Say in two lines what is about to run."""
        model, splits = self.model, ("train", "val") if self.command == "fit" else (_SPLITS[self.command],)
        parameters = sum(parameter.numel() for parameter in model.model.parameters())
        sizes = ", ".join(f"{len(self.datamodule.dataset(split))} {split}" for split in splits)
        print(f"{type(model.model).__name__}: {parameters:,} parameters, {model.predictor().protocol}")
        print(f"{type(self.datamodule).__name__}: {sizes} images, {model.num_classes} classes", flush=True)
        if self._get(self.config_init, "trainer").get("deterministic"):
            print(NOT_DETERMINISTIC, flush=True)

    def _callbacks(self, trainer_config: Namespace, loggers: list[Logger]) -> list[Callback]:
        callbacks: list[Callback] = [
            EvaluationFiles(self.run, int((self.checkpoint or {}).get("global_step", 0))),
            RunFiles(self.run, self.config_text, self._get(self.config, "seed_everything"), self.command == "fit"),
        ]
        if self.command == "fit":
            callbacks += [Preview(self.run), Divergence(), Speed(self.run)]
        callbacks += self._wandb_callbacks(loggers)
        if trainer_config.get("enable_progress_bar") is not False:
            callbacks.append(Progress())
        if self.command == "fit" and trainer_config.get("enable_checkpointing") is not False:
            folder = self.run.checkpoints
            best = ModelCheckpoint(
                folder,
                "best",
                monitor="val/mIoU",
                mode="max",
                auto_insert_metric_name=False,
                enable_version_counter=False,
            )
            callbacks += [best, LastCheckpoint(self.run)]
        return callbacks

    def _wandb_callbacks(self, loggers: list[Logger]) -> list[Callback]:
        every = self._get(self.config, "run")["watch_gradients"]
        found = [logger for logger in loggers if isinstance(logger, WandbLogger)]
        if every and not found:
            raise ConfigError(
                f"--run.watch_gradients {every} needs Weights & Biases: add --trainer.logger WandbLogger, or leave it "
                f"out."
            )
        if self.command != "fit":
            return []
        return [WandbRun(self.run, self.config_text, logger, every) for logger in found]

    def _run_folder(self) -> RunFolder:
        settings = self._get(self.config, "run")
        if not _is_first_process():
            # Under torchrun or SLURM nobody has told; only the first process writes, so any path will do.
            return RunFolder(Path(os.environ.get(RUN_FOLDER_VARIABLE, settings["folder"])))
        resumed = self._run_of_checkpoint()
        if self.command == "fit":
            run = resumed or new_run(Path(settings["folder"]), self._run_name(settings["name"]))
        elif resumed is not None and settings["name"] is None and settings["folder"] == RUNS:
            run = new_run(resumed.path, self.command)
        else:
            run = new_run(Path(settings["folder"]), f"{self._run_name(settings['name'])}-{self.command}")
        os.environ[RUN_FOLDER_VARIABLE] = str(run.path)
        return run

    def _run_of_checkpoint(self) -> RunFolder | None:
        """Return the run folder that the given checkpoint lies in, if it does."""
        if self.checkpoint_path is None or self.checkpoint_path.parent.name != "checkpoints":
            return None
        return RunFolder(self.checkpoint_path.parent.parent)

    def _run_name(self, given: str | None) -> str:
        if given:
            return given
        if self.configs:
            return self.configs[0].stem
        return self.model.__class__.__name__.removesuffix("Task").lower()

    def _resolve_checkpoint(self, given: str, arguments: list[str]) -> Path:
        """Turn `last` and `best` into the newest run's file; leave paths alone but for links in them."""
        if Path(given).is_dir():  # a run, as `predict` takes it
            run = find_run(Path(given))
            return run.last_checkpoint if self.command == "fit" else run.best_checkpoint
        if given not in CHECKPOINT_WORDS:
            return Path(given).resolve() if Path(given).exists() else Path(given)
        name = option_value(arguments, "--run.name") or (self.configs[0].stem if self.configs else None)
        folder = Path(option_value(arguments, "--run.folder") or RUNS)
        if name is None:
            raise CheckpointError(
                f"--ckpt_path {given} means the newest run of a name, but no name is given: add the configuration "
                f"it was trained with (-c configs/v3plus.yaml), or --run.name."
            )
        try:
            run = find_run(folder / name)
        except ConfigError as error:
            raise CheckpointError(f"--ckpt_path {given}: there is nothing to go on from. {error}") from error
        path = run.last_checkpoint if given == "last" else run.best_checkpoint
        if not path.is_file():
            older = sorted(str(found) for found in (folder / name).glob(f"version_*/checkpoints/{given}.ckpt"))
            hint = f" Older runs have: {', '.join(older)}." if older else " Start without --ckpt_path."
            raise CheckpointError(f"--ckpt_path {given}: {path} does not exist; that run ended before it saved.{hint}")
        return path

    def _config_as_yaml(self, config: Namespace) -> str:
        parser = self._subcommand_parsers[self.command]
        kept = config.clone()
        kept.ckpt_path = None
        return parser.dump(kept, skip_none=False, skip_validation=True)

    def _print_kept_settings(self, config: Namespace) -> None:
        """Say which settings made for one class a later configuration handed on to another."""
        for key, owner in (("model", None), ("data", DEFAULT_DATA)):
            settings: dict[str, Any] = {}
            for path in self.configs:
                section = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(key) or {}
                name, own = section.get("class_path"), section.get("init_args") or {}
                kept = [option for option in settings if option not in own and option in config[key].init_args]
                if name and owner and name != owner and kept:
                    values = ", ".join(f"{option} {settings[option]}" for option in kept)
                    print(f"{key}: {name} keeps from {owner}'s settings: {values}")
                owner = name or owner
                settings |= own


def _is_first_process() -> bool:
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def quieten() -> None:
    """Silence advice that does not apply here and banners that say nothing about this run."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(word in record.getMessage() for word in ("litlogger", "LitModels", "Tip:"))
    )
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*callbacks used to create the checkpoint need to be provided.*",  # evaluation needs none of fit's
        ".*smaller than the logging interval.*",
        ".*sync_dist=True.*",  # all processes log the same scores, of all images
        ".*treespec.*deprecated.*",
    ):
        warnings.filterwarnings("ignore", message=message)
