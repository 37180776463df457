"""The boundary measures: milliseconds of one core per image of 500 x 375 with 21 classes.

    python benchmarks/boundary.py [--rounds 5] [--data FOLDER]

Masks are those of VOC in DEEPLAB_SHARED_DATA or --data (a few classes each), and drawn ones with all 21 classes, which
is the dearest case. The prediction is the mask moved by three pixels, with its void painted over. Processor time is
counted, not that of the clock.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import cv2
import numpy as np

from deeplab_lightning.data.files.images import read_mask
from deeplab_lightning.metrics.boundary_metrics import BFScore, BoundaryIoU, Trimap
from deeplab_lightning.metrics.by_image import ByImage

CLASSES, VOID = [f"class {index}" for index in range(21)], 255


def drawn(seed: int) -> np.ndarray:
    """Return a mask `(375, 500)` with blobs of all classes, and strips of void between them."""
    draw = np.random.default_rng(seed)
    fields = np.stack([cv2.GaussianBlur(draw.normal(size=(375, 500)), (0, 0), 15) for _ in CLASSES])
    two_best = np.sort(fields, axis=0)[-2:]
    return np.where(two_best[1] - two_best[0] < 0.001, VOID, fields.argmax(0)).astype(np.uint8)


def main() -> None:
    """Measure and print a line per measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default=os.environ.get("DEEPLAB_SHARED_DATA"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    sets = {"21 classes": [drawn(seed) for seed in range(8)]}
    voc = Path(options.data or "") / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    if options.data and voc.is_dir():
        masks = [read_mask(path) for path in sorted(voc.glob("*.png"))]
        sets["VOC"] = masks[:50]
    measures = {
        "trimap around boundaries": lambda: Trimap(CLASSES, VOID),
        "trimap around void": lambda: Trimap(CLASSES, VOID, "void"),
        "boundary IoU": lambda: BoundaryIoU(CLASSES, VOID),
        "BF score": lambda: BFScore(CLASSES, VOID),
    }
    print(f"{platform.machine()}, OpenCV {cv2.__version__}, ms of one core per image")
    for what, masks in sets.items():
        moved = [np.where(mask == VOID, 0, np.roll(mask, 3, axis=1)) for mask in masks]
        preds = [np.where(pred == VOID, 0, pred).astype(np.uint8) for pred in moved]
        for name, make in measures.items():
            times = [per_image(make(), preds, masks) for _ in range(options.rounds)]
            print(f"{what:<12} {len(masks):>3} images  {name:<26}{statistics.median(times):>8.1f}", flush=True)


def per_image(measure: ByImage, preds: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """Return milliseconds."""
    started = time.process_time()
    for number, (pred, mask) in enumerate(zip(preds, masks, strict=True)):
        measure.update(pred, mask, str(number))
    return 1000 * (time.process_time() - started) / len(masks)


if __name__ == "__main__":
    main()
