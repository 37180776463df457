"""Metric update and class maps at full size, beside torchmetrics and a plain resize with argmax.

    python benchmarks/evaluation.py [--rounds 7]

Both pairs must give the same matrix and the same map. Medians of interleaved rounds; only ratios within one run mean
anything.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does: docs/decisions/0006-short-spinning.md

import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.metrics.segmentation import SegmentationScores

VOID = 255


def compare(what: str, theirs: Callable[[], object], ours: Callable[[], object], rounds: int) -> None:
    """Print how long both take, and the ratio."""
    times: dict[str, list[float]] = {"theirs": [], "ours": []}
    for number in range(rounds + 1):
        for name, function in (("theirs", theirs), ("ours", ours)):
            started = time.perf_counter()
            function()
            if number > 0:  # the first round warms up
                times[name].append(1000 * (time.perf_counter() - started))
    slow, fast = (statistics.median(times[name]) for name in ("theirs", "ours"))
    print(f"{what:<58}{slow:>9.1f} ms{fast:>9.1f} ms{fast / slow:>8.2f}x", flush=True)


@torch.no_grad()
def main() -> None:
    """Measure and print both lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}: theirs, ours, ours is")
    torch.manual_seed(0)

    logits, mask = torch.randn(4, 21, 513, 513), torch.randint(0, 22, (4, 513, 513))
    mask[mask == 21] = VOID
    theirs = MulticlassConfusionMatrix(21, ignore_index=VOID, validate_args=False)
    ours = SegmentationScores([str(index) for index in range(21)], VOID)  # keeps each image's counts, besides
    compare("metric update, 4 x 21 x 513 x 513", lambda: theirs.update(logits, mask), lambda: ours.update(logits, mask),
            rounds)  # fmt: skip
    if not torch.equal(theirs.compute(), torch.from_numpy(ours.total())):
        raise SystemExit("The confusion matrices differ.")

    coarse, image = torch.randn(1, 19, 256, 512), torch.zeros(1, 3, 1024, 2048, dtype=torch.uint8)
    predictor = Predictor(lambda _: coarse, lambda pixels: pixels.float(), output_stride=16, align_corners=False)

    def plain() -> torch.Tensor:
        return F.interpolate(coarse, size=(1024, 2048), mode="bilinear", align_corners=False).argmax(1)

    compare("logits 19 x 256 x 512 to class map 1024 x 2048", plain, lambda: predictor.predict(image), rounds)
    if not torch.equal(plain(), predictor.predict(image).long()):
        raise SystemExit("The class maps differ.")


if __name__ == "__main__":
    main()
