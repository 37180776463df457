"""Run folders made for tests, without training: what `fit` leaves, with predictions drawn from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from deeplab_lightning.metrics.panoptic_quality import PanopticCounts
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.metrics.scores import scores_from_confusion
from deeplab_lightning.reporting import card
from deeplab_lightning.reporting.evaluation import EvaluationRecord, write_evaluation
from deeplab_lightning.reporting.gallery import GalleryCollector, write_gallery
from deeplab_lightning.runs import RunFolder

NAMES = ("road", "car <b>", "sky", "tram")
PALETTE = ((128, 64, 128), (0, 0, 142), (70, 130, 180), (0, 80, 100))


def made_run(
    folder: Path,
    right: float = 0.8,
    images: int = 12,
    split: str = "val",
    protocol: str | None = "os16, scale 1, whole image",
    truth_seed: int = 0,
    size: tuple[int, int] = (24, 32),
    objects: bool = False,
    **settings: Any,
) -> RunFolder:
    """Write a run.

    Args:
        folder: `runs/NAME/version_0`.
        right: Share of pixels predicted right.
        images: How many.
        split: Of the evaluation.
        protocol: Likewise; no `evaluation.json` if None.
        truth_seed: Of the masks.
        size: Of the images.
        objects: Whether it has counts of segments, and images with outlines; cars are things.
        settings: Of the model.
    """
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    truths, rng = np.random.default_rng(truth_seed), np.random.default_rng(round(1000 * right))
    counts, gallery = ImageCounts(NAMES), GalleryCollector(len(NAMES), worst=3, spread=images)
    segments, of_segments = {}, np.random.default_rng(truth_seed)
    for number in range(images):
        truth = truths.integers(0, 3, size).astype(np.uint8)
        truth[0] = 255
        image = truths.integers(0, 256, (*size, 3), dtype=np.uint8)
        share = right * (0.5 + number / images / 2)
        pred = np.where(rng.random(size) < share, np.where(truth == 255, 0, truth), rng.integers(0, 3, size))
        matrix = np.zeros((4, 4), np.int64)
        np.add.at(matrix, (truth[truth != 255], pred[truth != 255]), 1)
        counts.add(f"val-{number:03}", matrix)
        numbers = np.zeros(size, np.int32)
        numbers[4:20, 4:20] = 1
        pairs = ((truth, numbers), (pred, numbers)) if objects else None
        gallery.add(f"val-{number:03}", image, truth, pred, 0.5, True, pairs)
        matched = np.array([1, of_segments.binomial(5, share), 0, 0])
        tally = np.stack([matched, [0, of_segments.integers(0, 3), 0, 0], np.array([1, 5, 0, 0]) - matched])
        segments[f"val-{number:03}"] = tally, matched * share
    counts.save(run.per_image)
    if objects:
        PanopticCounts(NAMES, [1], segments).save(run.panoptic)
    write_gallery(run.images, gallery.images(), NAMES, PALETTE)
    config = {
        "seed_everything": 0,
        "model": {"name": "DeepLabV3Plus"} | settings,
        "optimizer": {"lr": 0.1},
        "run": {"name": folder.parent.name, "folder": str(folder.parent.parent)},
    }
    run.config.write_text(yaml.safe_dump(config))
    score = scores_from_confusion(counts.total(), NAMES).mIoU
    if protocol is not None:
        write_evaluation(run, EvaluationRecord(split, protocol, images, 40, score, 1.5))
    facts = card.environment(0) | {"devices": 1, "parameters": round(1e6 * right)}
    session = card.begin_session(facts, 0)
    session |= {"to_step": 40, "seconds": 60 * right}
    facts["sessions"] = [session]
    card.write_card(run, facts)
    run.metrics.write_text(f"step,train/loss,val/mIoU\n10,2.0,\n20,1.5,0.25\n40,1.0,{score:.4f}\n")
    run.speed.write_text("step,seconds_per_step\n10,0.5\n20,0.4\n")
    return run
