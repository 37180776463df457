"""fit, validate and test: a configuration becomes a task, its data and Lightning's trainer, and runs."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from .callbacks.alone import Alone
from .callbacks.best_checkpoint import BestCheckpoint
from .callbacks.divergence import Divergence
from .callbacks.evaluation_files import EvaluationFiles
from .callbacks.last_checkpoint import LastCheckpoint, TrainingStopped
from .callbacks.metrics_csv import MetricsCsv
from .callbacks.preview import Preview
from .callbacks.progress import TrainingProgress
from .callbacks.run_files import RunFiles
from .callbacks.speed import Speed
from .callbacks.wandb_run import WandbRun
from .checkpoints.loading import read_checkpoint
from .config import Configuration
from .config_words import asks_for_help, config_files, option_value, without_option
from .data.datamodule import Split
from .errors import CheckpointError, ConfigError, DataError, DivergenceError
from .runs import RUNS, RunFolder, new_run, resolve_checkpoint, run_of
from .trainer_checks import check_monitors
from .trainer_parts import as_list, place_logger, plugins

Command = Literal["fit", "validate", "test"]

_SPLITS: dict[Command, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
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


def _run(command: Command, words: Sequence[str]) -> int:
    quieten()
    try:
        _run_session(command, list(words))
    except TrainingStopped as stop:
        if not _is_first_process():
            return 0  # the first one speaks for all; another's failure would make Lightning kill it
        print(f"deeplab_lightning {command}: {stop}", flush=True)
        return stop.exit_code
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    except RuntimeError as error:  # beside callbacks of the user's own, nobody knows beforehand what will be logged
        if "Early stopping conditioned on metric" not in str(error):
            raise
        raise ConfigError(f"--trainer.callbacks: {' '.join(str(error).split())}") from error
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


def _run_session(command: Command, words: list[str]) -> None:
    """Run; where half precision made numbers that are none, go on once from the last good state in float32."""
    session = Session(command, words)
    try:
        session.run()
    except DivergenceError as error:
        again = session.words_in_full_precision(error)
        if again is None:
            raise
        last = option_value(again, "--ckpt_path")
        print(
            f"deeplab_lightning {command}: {error}\nThe precision was {session.trainer.precision}: once more in "
            f"float32, from {last or 'the start'}",
            flush=True,
        )
        Session(command, again).run()


class Session:
    """One run of fit, validate or test.

    A checkpoint's own settings are the first configuration: everything the user writes wins over them.

    Args:
        command: Which of them.
        words: What follows it on the command line.
    """

    def __init__(self, command: Command, words: list[str]) -> None:
        self.command, self.words = command, words
        given = option_value(words, "--ckpt_path")
        path = None
        if asks_for_help(words):
            pass
        elif given not in (None, "null"):
            assert given is not None
            path = _resolve_checkpoint(command, given, words)
        elif command != "fit":
            raise CheckpointError(
                f"{command} needs the checkpoint to score: --ckpt_path runs/v3plus/latest/checkpoints/best.ckpt"
            )
        self.configuration = Configuration(without_option(words, "--ckpt_path"), path, goes_on=command == "fit")

    def run(self) -> None:
        """Make everything, and start."""
        configuration = self.configuration
        if configuration.trainer_options.overfit_batches:
            raise ConfigError(
                "--trainer.overfit_batches changes the order of images behind this framework's back. To see whether "
                "a network learns a few images by heart, add -c configs/debug/overfit.yaml (--data.train_limit 8 "
                "--data.val_on_train true)."
            )
        if configuration.seed is not None:
            seed_everything(configuration.seed, workers=True, verbose=_is_first_process())
        parts = configuration.trainer_parts()
        self.datamodule = configuration.datamodule()
        self.task = configuration.make_task()
        self.datamodule.setup(self.command)
        configuration.check_fits(self.task)
        self.folder, self.goes_on = self._run_folder()
        loggers = as_list(parts.get("logger"), Logger)
        for logger in loggers:
            place_logger(logger, self.folder)
        if _is_first_process():
            self._print_overview()
        if self.command == "fit":
            check_monitors(as_list(parts.get("callbacks"), Callback), self.task)
        alone = Alone(self.folder) if self.command == "fit" and _is_first_process() else None
        try:
            self._run_alone(configuration, parts, loggers, [] if alone is None else [alone])
            self._expect_folder()
        except OSError:  # of a file in it
            self._expect_folder()
            raise
        finally:
            if alone is not None:
                alone.release()

    def _expect_folder(self) -> None:
        """Refuse to call a training finished whose run folder was deleted meanwhile, wholly or in part."""
        trained = self.command == "fit" and _is_first_process() and self.trainer.global_step > self._step
        if trained and not self.folder.config.is_file():
            raise DataError(
                f"{self.folder.path} was deleted while the run went on, which ended at step "
                f"{self.trainer.global_step}: what was written before is gone. Start it again."
            )

    def _run_alone(
        self, configuration: Configuration, parts: dict[str, Any], loggers: list[Logger], before: list[Callback]
    ) -> None:
        trainer = self.trainer = configuration.make_trainer(
            default_root_dir=str(self.folder.path),
            logger=[*loggers, MetricsCsv(self.folder)],
            callbacks=[*before, *as_list(parts.get("callbacks"), Callback), *self._callbacks(parts, loggers)],
            plugins=plugins(parts),
        )
        if self.command == "fit":
            self.task.trainer_settings = configuration.decisive
            self._say_changes(trainer.world_size)
        options: dict[str, Any] = {"weights_only": True}  # nothing in a checkpoint is executed
        if self.command != "fit":
            options["verbose"] = False  # our table says more than Lightning's
        path = None if configuration.checkpoint_path is None else str(configuration.checkpoint_path)
        getattr(trainer, self.command)(self.task, datamodule=self.datamodule, ckpt_path=path, **options)
        if self.command == "fit" and trainer.state.finished and trainer.global_step == self._step:
            if self._step and trainer.num_training_batches:
                print(f"Nothing was left to train: {path} is of step {self._step}, where the run ends.", flush=True)
                return
            raise ConfigError(
                f"No step was trained: an epoch has {trainer.num_training_batches} batches. Set --trainer.max_steps or "
                f"--trainer.max_epochs above 0, and --trainer.limit_train_batches so that a batch is left."
            )

    def words_in_full_precision(self, error: DivergenceError) -> list[str] | None:
        """Return the words that go on in float32 from the newest state; None where that would not help.

        Several processes would all have to be started anew: they stop.
        """
        if error.kind != "not_finite" or self.trainer.precision == "32-true" or self.trainer.world_size > 1:
            return None
        words = [*self.words, "--trainer.precision", "32-true"]
        if self.folder.last_checkpoint.is_file():
            words = [*without_option(words, "--ckpt_path"), "--ckpt_path", str(self.folder.last_checkpoint)]
        return words

    @property
    def _step(self) -> int:
        """The checkpoint's."""
        return int((self.configuration.checkpoint or {}).get("global_step", 0))

    def _say_changes(self, processes: int) -> None:
        """Say what is not as in the training that goes on; the card keeps it."""
        checkpoint = self.configuration.checkpoint
        if checkpoint is None:
            return
        changed = self.configuration.changed()
        before = checkpoint["deeplab_lightning"].get("processes", processes)
        if before != processes:
            changed["processes"] = (before, processes)
        self.run_files.changed = {name: list(values) for name, values in changed.items()}
        if changed and _is_first_process():
            said = ", ".join(f"{name} {now} ({then} so far)" for name, (then, now) in changed.items())
            print(f"Goes on from step {self._step} otherwise than before: {said}", flush=True)

    def _print_overview(self) -> None:
        """Say in two lines what is about to run."""
        task, splits = self.task, _SPLITS[self.command]
        parameters = sum(parameter.numel() for parameter in task.model.parameters())
        sizes = ", ".join(f"{len(self.datamodule.dataset(split))} {split}" for split in splits)
        print(f"{type(task.model).__name__}: {parameters:,} parameters, {task.predictor().protocol}")
        print(f"{type(self.datamodule).__name__}: {sizes} images, {task.num_classes} classes", flush=True)
        if self.configuration.trainer_options.deterministic:
            print(NOT_DETERMINISTIC, flush=True)

    def _callbacks(self, parts: dict[str, Any], loggers: list[Logger]) -> list[Callback]:
        text, seed = self.configuration.as_yaml(), self.configuration.seed
        self.run_files = RunFiles(self.folder, text, seed, self.command == "fit")
        if self.command == "fit" and not self.goes_on and self.configuration.checkpoint_path is not None:
            self.run_files.branch_of = str(self.configuration.checkpoint_path)
        callbacks: list[Callback] = [EvaluationFiles(self.folder, self._step, self.goes_on), self.run_files]
        if self.command == "fit":
            callbacks += [Preview(self.folder), Divergence(), Speed(self.folder)]
        callbacks += self._wandb_callbacks(text, loggers)
        has_bar = any(isinstance(callback, ProgressBar) for callback in as_list(parts.get("callbacks"), Callback))
        if parts.get("enable_progress_bar") is not False and not has_bar:
            callbacks.append(TrainingProgress())
        if self.command == "fit" and parts.get("enable_checkpointing") is not False:
            callbacks += [BestCheckpoint(self.folder, self.goes_on), LastCheckpoint(self.folder)]
        return callbacks

    def _wandb_callbacks(self, text: str, loggers: list[Logger]) -> list[Callback]:
        every = self.configuration.run.watch_gradients
        found = [logger for logger in loggers if isinstance(logger, WandbLogger)]
        if every and not found:
            raise ConfigError(
                f"--run.watch_gradients {every} needs Weights & Biases: add --trainer.logger WandbLogger, or leave it "
                f"out."
            )
        if self.command != "fit":
            return []
        return [WandbRun(self.folder, text, logger, every) for logger in found]

    def _run_folder(self) -> tuple[RunFolder, bool]:
        """Return where this run writes, and whether that is where an earlier part of it wrote.

        A training that goes on does so in its folder. One that leaves from a checkpoint before the newest, or is given
        another name or folder, is a branch, and gets a folder of its own: nothing newer is overwritten.
        """
        run, root = self.configuration.run, Path(self.configuration.run.folder or RUNS)
        path = self.configuration.checkpoint_path
        old = None if path is None else run_of(path)
        goes_on = self.command == "fit" and old is not None and self._is_same_run(old)
        if not _is_first_process():
            # Under torchrun or SLURM nobody has told; only the first process writes, so any path will do.
            return RunFolder(Path(os.environ.get(RUN_FOLDER_VARIABLE, root))), goes_on
        if self.command != "fit":
            if old is not None and run.name is None and run.folder is None:
                folder = new_run(old.path, self.command)
            else:
                folder = new_run(root, f"{self._run_name()}-{self.command}")
        elif goes_on and old is not None:
            folder = old
        else:
            if old is not None:
                parent = old.path.parent
                folder = new_run(parent.parent if run.folder is None else root, run.name or parent.name)
                print(f"{path} is of step {self._step}: what comes now is a branch, in {folder.path}", flush=True)
            else:
                folder = new_run(root, self._run_name())
        os.environ[RUN_FOLDER_VARIABLE] = str(folder.path)
        return folder, goes_on

    def _is_same_run(self, old: RunFolder) -> bool:
        """Whether training goes on in the checkpoint's run: neither another place nor an older state is asked for."""
        run, parent = self.configuration.run, old.path.parent
        asked_for = Path(parent.parent if run.folder is None else run.folder) / (run.name or parent.name)
        if asked_for.resolve() != parent.resolve():
            return False
        if not old.last_checkpoint.is_file():
            return True
        try:
            return int(read_checkpoint(old.last_checkpoint)["global_step"]) <= self._step
        except CheckpointError:  # damaged: this one is what there is to go on from
            return True

    def _run_name(self) -> str:
        if self.configuration.run.name:
            return self.configuration.run.name
        if self.configuration.files:
            return self.configuration.files[0].stem
        return self.configuration.network_class.__name__.lower()


def _resolve_checkpoint(command: Command, given: str, words: list[str]) -> Path:
    """Return the checkpoint that the user means; of a run the one to go on from, or to score."""
    files = config_files(words)
    name = option_value(words, "--run.name") or (files[0].stem if files else None)
    folder = Path(option_value(words, "--run.folder") or RUNS)
    return resolve_checkpoint(given, "last" if command == "fit" else "best", name, folder)


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
