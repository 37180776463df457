"""The generations side by side on drawn scenes: mIoU, parameters, multiply-adds, step time; equal minutes of training.

    python benchmarks/generations.py [--minutes 3] [--only v1 v3 ...] [--option value ...]

Each `configs/NAME.yaml` is timed for a few steps; it then trains for as many as fit into the minutes (its schedule made
that long), through the command line, and is scored on all validation images. The same time is not the same number of
images: small networks see more of them, and large ones from scratch have hardly begun. So this says what a CPU gets
out of each in those minutes, not which generation is better. Further options are handed to `fit`.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import torch

from deeplab_lightning.__main__ import main as command_line
from deeplab_lightning.config import Configuration
from deeplab_lightning.inspection import trace
from deeplab_lightning.runs import find_run, read_metrics

CONFIGS = Path(__file__).parent.parent / "configs"
GENERATIONS = ("v1", "v2", "v3", "v3_cascade", "v3plus", "fcn", "unet", "segnet", "encoder_decoder")
WARM_UP, TIMED = 1, 4


def seconds_per_step(name: str) -> tuple[float, int, int, int]:
    """Return the median time of a training step, the batch, the parameters and the multiply-adds at the crop's size."""
    configuration = Configuration(["-c", str(CONFIGS / f"{name}.yaml")])
    task, side, batch = configuration.make_task().train(), configuration.data.crop_size, configuration.data.batch_size
    image = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    mask = torch.randint(0, task.num_classes, (batch, side, side), dtype=torch.uint8)
    optimizer = torch.optim.SGD((p for p in task.parameters() if p.requires_grad), lr=1e-6, momentum=0.9)
    times = []
    for step in range(WARM_UP + TIMED):
        started = time.perf_counter()
        optimizer.zero_grad()
        task.loss(task.model.training_maps(task.normalise(image)), mask).backward()
        optimizer.step()
        if step >= WARM_UP:
            times.append(time.perf_counter() - started)
    on_paper = configuration.make_task(on_paper=True).model.eval()
    parameters = sum(parameter.numel() for parameter in on_paper.parameters())
    executed = trace(on_paper, (side, side))
    return float(np.median(times)), batch, parameters, sum(layer.multiply_adds for layer in executed.layers)


def main() -> None:
    """Measure, train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, for each")
    parser.add_argument("--only", nargs="+", default=GENERATIONS, choices=GENERATIONS)
    options, handed_on = parser.parse_known_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    rows = []
    for name in options.only:
        step, batch, parameters, multiply_adds = seconds_per_step(name)
        steps = max(2, int(60 * options.minutes / step))
        run = f"generations-{name}"
        length = ["--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(steps)]
        words = ["fit", "-c", str(CONFIGS / f"{name}.yaml"), "--run.name", run, *length, *handed_on]
        if command_line(words) != 0:
            raise SystemExit(f"{name} did not finish")
        metrics = read_metrics(find_run(Path("runs") / run).metrics)
        score = float(np.nanmax(metrics["val/mIoU"]))
        losses = metrics["train/loss"][~np.isnan(metrics["train/loss"])]
        cells = [
            name,
            f"{score:.3f}",
            f"{losses[0]:.2f}, {losses[-3:].mean():.2f}",
            f"{steps * batch:,}",
            f"{parameters / 1e6:.1f} M",
            f"{multiply_adds / 1e9:.2f} B",
            f"{1000 * step / batch:.0f} ms",
        ]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    head = f"val mIoU after {options.minutes:g} min | loss at first, at last | images seen | parameters | multiply-adds"
    print(f"\n| config | {head} | step, per image |\n|---|---:|---:|---:|---:|---:|---:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
