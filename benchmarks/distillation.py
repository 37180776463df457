"""What a teacher is worth to a small student on drawn scenes: trained alone and taught, the same three seeds.

    python benchmarks/distillation.py --teacher runs/v3plus [--steps 250] [--seeds 0 1 2] [--option value ...]

The student is DeepLab v3+ with MobileNetV2 at half its width and heads of 48 channels; the teacher a trained v3+, such
as `fit -c configs/v3plus.yaml` leaves. Runs of one seed see the same images in the same order; `both` has the loss of
the scores and that of the features. Further options are handed to `fit`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deeplab_lightning.__main__ import main as command_line
from deeplab_lightning.runs import find_run, read_metrics

V3PLUS = Path(__file__).parent.parent / "configs" / "v3plus.yaml"
STUDENT = ["--model.backbone", "mobilenetv2_050", "--model.aspp_channels", "48", "--model.decoder_channels", "48"]
VARIANTS = {
    "alone": [],
    "scores": ["--loss.distillation.weight", "1"],
    "both": ["--loss.distillation.weight", "1", "--loss.distillation.features", "0.5"],
}


def main() -> None:
    """Train, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="run or checkpoint")
    parser.add_argument("--steps", type=int, default=250, help="of each student")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options, handed_on = parser.parse_known_args()
    teacher = Path(options.teacher)
    if teacher.is_dir():
        teacher = find_run(teacher).best_checkpoint
    print("| student | " + " | ".join(f"seed {seed}" for seed in options.seeds) + " | mean +- std |")
    print("|---|" + "---:|" * (len(options.seeds) + 1))
    for name in options.only:
        taught = ["--loss.distillation.teachers", f"[{teacher}]", *VARIANTS[name]] if VARIANTS[name] else []
        scores = [
            score(f"distillation-{name}-{seed}", seed, options.steps, [*taught, *handed_on]) for seed in options.seeds
        ]
        spread = f"{np.mean(scores):.4f} +- {np.std(scores, ddof=1):.4f}" if len(scores) > 1 else f"{scores[0]:.4f}"
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in scores) + f" | {spread} |", flush=True)


def score(run: str, seed: int, steps: int, options: list[str]) -> float:
    """Train one student through the command line; return its val/mIoU behind the last step."""
    length = ["--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(steps)]
    length += ["--trainer.num_sanity_val_steps", "0"]
    words = ["fit", "-c", str(V3PLUS), *STUDENT, "--seed_everything", str(seed), "--run.name", run, *length, *options]
    if command_line(words) != 0:
        raise SystemExit(f"{run} did not finish")
    scores = read_metrics(find_run(Path("runs") / run).metrics)["val/mIoU"]
    return float(scores[~np.isnan(scores)][-1])


if __name__ == "__main__":
    main()
