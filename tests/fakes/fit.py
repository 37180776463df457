"""A stand-in for the whole command line that "trains" in no time, and leaves the files that a run leaves.

Its mIoU depends on `--optimizer.lr` (best at 0.05), on the decoder, and grows with the validations; its images' counts
follow from it, and with `$FAKE_FIT_SEGMENTS` its segments. It resumes, stops politely, and writes a line into
`$FAKE_FIT_CALLS` each time it is started.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import numpy as np

from deeplab_lightning.config_words import option_value
from deeplab_lightning.errors import EXIT_DIVERGED
from deeplab_lightning.metrics.panoptic_quality import PanopticCounts
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.runs import RunFolder, mark_latest

IMAGES, PIXELS = 40, 1000


def score(lr: float, decoder: bool, seed: int, share: float) -> float:
    """MIoU of a run that has made this share of its validations."""
    best = 0.8 * math.exp(-((math.log10(lr / 0.05)) ** 2)) + (0.05 if decoder else 0) + 0.002 * (seed % 3)
    return best * (1 - math.exp(-4 * share))


def write(run: RunFolder, rows: list[tuple[int, float]], seed: int) -> None:
    """Leave what a validation leaves."""
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    run.config.write_text("fake: true\n")
    run.speed.write_text("step,seconds_per_step\n1,0.25\n2,0.25\n")
    best = max(value for _, value in rows)
    if rows[-1][1] == best:
        counts = ImageCounts(("ground", "thing"))
        generator = np.random.default_rng(seed)
        for index in range(IMAGES):
            truth = np.random.default_rng(index).integers(200, 800)
            right = np.clip(best + generator.normal(0, 0.01), 0, 1)
            hits = (round(truth * right), round((PIXELS - truth) * right))
            counts.add(f"{index:03}", np.array([[hits[0], truth - hits[0]], [PIXELS - truth - hits[1], hits[1]]]))
        counts.save(run.per_image)
        if os.environ.get("FAKE_FIT_SEGMENTS"):
            found = {f"{index:03}": np.array([1, generator.binomial(9, best)]) for index in range(IMAGES)}
            images = {name: (np.stack([hit, [0, 1], [1, 9] - hit]), 0.9 * hit) for name, hit in found.items()}
            PanopticCounts(("ground", "thing"), [1], images).save(run.panoptic)
        run.best_checkpoint.write_text("best")
    replace(run.last_checkpoint, json.dumps(rows))
    mark_latest(run)
    # Last, because tests kill the process once a step stands here: by then its checkpoint must be whole.
    lines = ["step,train/loss,val/mIoU", *(f"{step},{1 - value},{value:.6f}" for step, value in rows)]
    replace(run.metrics, "\n".join(lines) + "\n")


def replace(path: Path, text: str) -> None:
    """Write a file that a killed process leaves either old or new, never half."""
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def main(words: list[str]) -> int:
    """`fit` or `validate`."""
    command, *arguments = words
    with open(os.environ["FAKE_FIT_CALLS"], "a", encoding="utf-8") as calls:
        calls.write(json.dumps(words) + "\n")
    folder = Path(option_value(arguments, "--run.folder") or "runs")
    name = option_value(arguments, "--run.name") or "fake"
    if command == "validate":
        run = RunFolder(folder / f"{name}-validate" / "version_0")
        run.path.mkdir(parents=True)
        write(run, [(0, 0.9 if option_value(arguments, "--model.output_stride") == "8" else 0.8)], 0)
        return 0
    lr = float(option_value(arguments, "--optimizer.lr") or 0.2)
    decoder = option_value(arguments, "--model.decoder") != "false"
    seed = int(option_value(arguments, "--seed_everything") or 0)
    steps = int(option_value(arguments, "--trainer.max_steps") or 5)
    if lr > 5:
        print("deeplab_lightning fit: Stopped: the loss is nan.")
        return EXIT_DIVERGED
    run = RunFolder(folder / name / "version_0")
    rows: list[tuple[int, float]] = []
    if (given := option_value(arguments, "--ckpt_path")) is not None:
        rows = [tuple(row) for row in json.loads(Path(given).read_text())]
    elif run.last_checkpoint.exists():
        raise SystemExit("begun anew although there is a run")

    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for step in range(len(rows), steps):
        time.sleep(float(os.environ.get("FAKE_FIT_SECONDS", "0")))
        rows.append((step + 1, score(lr, decoder, seed, (step + 1) / steps)))
        write(run, rows, seed)
        if stopped:
            return 128 + stopped[0]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
