"""Kill `fit` at random moments, go on, and compare the end with that of the run that nobody disturbed, bit by bit.

    python benchmarks/kill_and_resume.py [--kills 10] [--lengths epochs steps time] [--processes 1 2]
                                         [--signals SIGTERM SIGKILL] [--output kill_and_resume.md]

A tiny v3+ on drawn scenes, with an average of the weights, two accumulated batches a step (one in the last step of an
epoch), workers, dropout and augmentation. Every run is the command line's, in processes forked from this one to save
the imports; several of them are the processes of one training, over gloo. SIGTERM comes amid a batch; SIGKILL amid a
batch, amid a validation, or when half of a checkpoint is written. Some runs are killed a second time. The run that the
clock would end (`time`) is ended by SIGTERM at a fixed step, since the clock strikes where it likes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from deeplab_lightning.__main__ import main as command_line
from deeplab_lightning.data.sets import drawn_scenes  # noqa: F401 - here, so that no fork has to import it
from deeplab_lightning.runs import RunFolder
from deeplab_lightning.tasks import SegmentationTask

V3PLUS = Path(__file__).parent.parent / "configs" / "v3plus.yaml"
NETWORK = [
    *("--model.backbone", "mobilenetv2_035", "--model.pretrained", "false", "--model.dropout", "0.3"),
    *("--model.aspp_channels", "8", "--model.decoder_channels", "8"),
]
DATA = [
    *("--data.height", "64", "--data.width", "80", "--data.train_size", "22", "--data.val_size", "3"),
    *("--data.crop_size", "33", "--data.batch_size", "2", "--data.num_workers", "2"),
]
TRAINING = [
    *("--optimizer.ema_decay", "0.8", "--trainer.accumulate_grad_batches", "2", "--trainer.log_every_n_steps", "1"),
    *("--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "4"),
    *("--trainer.num_sanity_val_steps", "0", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
]
FIRST_SAVE = 2
"""Steps behind which the first validation saves."""
SECONDS = 300
PLACES = {"SIGTERM": ("step",), "SIGKILL": ("step", "validation", "writing")}


@dataclass(frozen=True)
class Length:
    """A way to say how long a run is, and the steps that it has, by the number of processes."""

    options: list[str]
    steps: dict[int, int]
    ends_by_signal: bool = False


NO_STEPS = ["--trainer.max_steps", "-1"]
LENGTHS = {
    "epochs": Length([*NO_STEPS, "--trainer.max_epochs", "3"], {1: 18, 2: 9}),
    "steps": Length(["--trainer.max_steps", "15"], {1: 15, 2: 15}),
    "time": Length(
        [*NO_STEPS, "--trainer.max_epochs", "-1", "--trainer.max_time", "01:00:00:00", "--optimizer.schedule", "step"],
        {1: 14, 2: 14},
        ends_by_signal=True,
    ),
}


@dataclass(frozen=True)
class Kill:
    """A signal that a run gets: at which step, and amid what."""

    name: str
    step: int
    place: str = "step"


@dataclass
class Row:
    """What came of the kills of one kind."""

    length: str
    processes: int
    name: str
    same_weights: int = 0
    same_log: int = 0
    kills: list[list[Kill]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fit(words: list[str], processes: int, kill: Kill | None, log: Path) -> list[int | None]:
    """Run `fit`, and return the exit codes of its processes."""
    context = multiprocessing.get_context("fork")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    started = [
        context.Process(target=be, args=(rank, processes, port, words, kill, log.with_suffix(f".{rank}.txt")))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    until = time.monotonic() + SECONDS
    while any(process.is_alive() for process in started) and time.monotonic() < until:
        time.sleep(0.02)
        if any(process.exitcode not in (None, 0) for process in started) and kill and kill.name == "SIGKILL":
            break  # the scheduler would end the others, too
    for process in started:
        if process.is_alive():
            process.kill()
        process.join()
    return [process.exitcode for process in started]


def be(rank: int, processes: int, port: int, words: list[str], kill: Kill | None, log: Path) -> None:
    """Be one process of a run."""
    os.setpgid(0, 0)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    torch.set_num_threads(1)
    if processes > 1:
        os.environ.update(
            {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "kills", "GROUP_RANK": "0",
             "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
             "LOCAL_WORLD_SIZE": str(processes)}
        )  # fmt: skip
        rank_zero_only.rank = rank
        words = [*words, "--trainer.strategy", "ddp", "--trainer.devices", str(processes)]
    if kill is not None and rank == processes - 1 - (kill.place == "writing") * (processes - 1):
        arm(kill)
    code = command_line(words)
    sys.stdout.flush()
    os._exit(code)


def arm(kill: Kill) -> None:
    """Let this process get the signal, once."""
    number = signal.Signals[kill.name]
    step, evaluate, save = SegmentationTask.training_step, SegmentationTask.validation_step, torch.save
    sent: list[int] = []

    def send() -> None:
        if not sent:
            sent.append(1)
            os.kill(os.getpid(), number)

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        if kill.place == "step" and self.global_step == kill.step:
            send()
        return step(self, batch, batch_idx)

    def validation_step(self: SegmentationTask, batch: Any, batch_idx: int) -> Any:
        if kill.place == "validation" and self.global_step >= kill.step:
            send()
        return evaluate(self, batch, batch_idx)

    def torn(checkpoint: Any, file: Any, *rest: Any, **options: Any) -> None:
        if kill.place == "writing" and checkpoint["global_step"] >= kill.step:
            file.write(b"half")
            file.flush()
            send()
        save(checkpoint, file, *rest, **options)

    SegmentationTask.training_step = training_step  # type: ignore[method-assign]
    SegmentationTask.validation_step = validation_step  # type: ignore[method-assign]
    torch.save = torn


def differences(expected: RunFolder, found: RunFolder) -> tuple[list[str], bool]:
    """Return what differs in two runs' last checkpoints, and whether their logs are the same."""
    one, other = (torch.load(run.last_checkpoint, weights_only=True) for run in (expected, found))
    wrong = [] if one["global_step"] == other["global_step"] else [f"step {other['global_step']}"]
    flat = [dict(flattened({key: each[key] for key in ("state_dict", "current_model_state", "optimizer_states")}))
            for each in (one, other)]  # fmt: skip
    if flat[0].keys() != flat[1].keys():
        wrong.append("other entries")
    wrong += [key for key, value in flat[0].items() if key in flat[1] and not torch.equal(value, flat[1][key])]
    return wrong, expected.metrics.read_text() == found.metrics.read_text()


def flattened(value: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """Return the tensors of a nested value, with their places as names."""
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in entries for found in flattened(inner, f"{name}.{key}")]


def trained(root: Path, name: str, length: Length, processes: int, kills: list[Kill]) -> tuple[RunFolder, str]:
    """Train with kills, going on after each; return the run, and what went wrong besides."""
    words = ["fit", "-c", str(V3PLUS), *NETWORK, *DATA, *TRAINING, *length.options]
    words += ["--run.folder", str(root), "--run.name", name]
    run = RunFolder(root / name / "version_0")
    last = [Kill("SIGTERM", length.steps[processes] - 1)] if length.ends_by_signal else [None]
    for kill in [*kills, *last]:
        more = ["--ckpt_path", str(run.last_checkpoint)] if run.last_checkpoint.is_file() else []
        codes = fit([*words, *more], processes, kill, root / name)
        wanted = {None: (0,), "SIGTERM": (143,), "SIGKILL": (-9,)}[kill.name if kill else None]
        if not any(code in wanted for code in codes):
            return run, f"{kill}: exit codes {codes}"
    return run, ""


def moment(name: str, steps: int) -> Kill:
    """Draw when a run is killed: behind its first save, before its last validation where that is the place."""
    place = random.choice(PLACES[name])
    low, high = (FIRST_SAVE, steps - 2) if place == "step" else (FIRST_SAVE + 1, steps - 3)
    return Kill(name, random.randint(low, high), place)


def measure(root: Path, row: Row, kills: int) -> None:
    """Fill a row."""
    length = LENGTHS[row.length]
    name = f"{row.length}-{row.processes}-whole"
    whole = RunFolder(root / name / "version_0")
    if not whole.last_checkpoint.is_file():
        whole, wrong = trained(root, name, length, row.processes, [])
        if wrong:
            row.notes.append(wrong)
            return
    steps = length.steps[row.processes]
    for number in range(kills):
        chosen = [moment(row.name, steps) for _ in range(random.choice([1, 1, 2]))]
        chosen = sorted({kill.step: kill for kill in chosen}.values(), key=lambda kill: kill.step)  # one in a step
        name = f"{row.length}-{row.processes}-{row.name}-{number}"
        run, wrong = trained(root, name, length, row.processes, chosen)
        row.kills.append(chosen)
        if wrong:
            row.notes.append(f"{name}: {wrong}")
            continue
        found, same_log = differences(whole, run)
        row.same_weights += not found
        row.same_log += same_log
        if found or not same_log:
            row.notes.append(f"{name} ({chosen}): {len(found)} tensors differ{'' if same_log else ', and the log'}")
        else:
            shutil.rmtree(run.path)


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = ["| length | processes | signal | runs | killed in step | same weights and averages | same log |",
             "|---|---:|---|---:|---|---:|---:|"]  # fmt: skip
    for row in rows:
        at = "; ".join(", ".join(f"{kill.step + 1}{_PLACE[kill.place]}" for kill in kills) for kills in row.kills)
        count = len(row.kills)
        lines.append(
            f"| {row.length} | {row.processes} | {row.name} | {count} | {at} | {row.same_weights} of {count} | "
            f"{row.same_log} of {count} |"
        )
    notes = [note for row in rows for note in row.notes]
    return "\n".join([*lines, "", "v: in the next validation; w: in the next writing of a checkpoint.", *notes]) + "\n"


_PLACE = {"step": "", "validation": "v", "writing": "w"}


def main() -> int:
    """Kill, compare, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="runs of each kind")
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--processes", nargs="+", type=int, choices=(1, 2), default=[1, 2])
    parser.add_argument("--signals", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", type=Path, default=Path("kill_and_resume.md"))
    options = parser.parse_args()
    random.seed(options.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for length in options.lengths:
            for processes in options.processes:
                for name in options.signals:
                    rows.append(Row(length, processes, name))
                    measure(Path(folder), rows[-1], options.kills)
                    options.output.write_text(table(rows))
                    print(table(rows[-1:]), flush=True)
    print(table(rows))
    return 0 if all(row.same_weights == row.same_log == len(row.kills) > 0 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
