"""What ASPP and the decoder are worth on drawn scenes: the same run with each taken out.

    python benchmarks/drawn_scenes_ablation.py [--option value ...]

Trains `configs/v3plus.yaml` three times through the command line (further options are handed on, for example
`--trainer.max_steps 600`) and prints the best validation mIoU of each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from deeplab_lightning.__main__ import main as command_line
from deeplab_lightning.runs import find_run, read_metrics

VARIANTS = {
    "whole": [],
    "one-1x1-instead-of-aspp": ["--model.atrous_rates", "[]", "--model.image_pooling", "false"],
    "no-decoder": ["--model.decoder", "false"],
}


def main(options: list[str]) -> None:
    """Train the variants and print the table."""
    config = Path(__file__).parent.parent / "configs" / "v3plus.yaml"
    scores = {}
    for name, changes in VARIANTS.items():
        run_name = f"ablation-{name}"
        if command_line(["fit", "-c", str(config), "--run.name", run_name, *changes, *options]) != 0:
            raise SystemExit(f"{name} did not finish")
        scores[name] = float(np.nanmax(read_metrics(find_run(Path("runs") / run_name).metrics)["val/mIoU"]))
    print(f"\n{'variant':<28}{'val mIoU':>10}{'difference':>12}")
    for name, score in scores.items():
        print(f"{name:<28}{score:>10.4f}{score - scores['whole']:>+12.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
