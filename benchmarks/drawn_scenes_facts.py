"""The figures of docs/drawn_scenes.md: class shares, and how far colour alone gets.

    python benchmarks/drawn_scenes_facts.py [images] [docs/images/drawn_scenes.png]

The colour classifier is a table of 16x16x16 RGB cells, fitted on two thirds of the images and scored on the rest:
every pixel gets the class most often seen with its colour, once as the classes come and once balanced. With a file
name, an overview of validation images and their masks is written there.
"""

from __future__ import annotations

import platform
import sys
import time

import numpy as np
from PIL import Image

from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.metrics.scores import scores_from_confusion


def main(count: int) -> None:
    """Draw `count` images and print the tables."""
    source = DrawnScenes("train", count, 129, 129)
    labels = source.labels
    classes = labels.num_classes
    pixels, present = np.zeros(256, np.int64), np.zeros(classes, np.int64)
    seen = np.zeros((classes, 4096), np.int64)
    held_out: list[tuple[np.ndarray, np.ndarray]] = []
    spent = 0.0
    for index in range(count):
        started = time.process_time()
        image, mask = source.load(index)
        spent += time.process_time() - started
        counts = np.bincount(mask.ravel(), minlength=256)
        pixels += counts
        present += counts[:classes] >= 20
        known = mask < classes
        red, green, blue = (image[known] >> 4).astype(np.int64).T
        truth, colour = mask[known].astype(np.int64), red << 8 | green << 4 | blue
        if index < 2 * count // 3:
            seen += np.bincount(truth * 4096 + colour, minlength=classes * 4096).reshape(classes, 4096)
        else:
            held_out.append((truth, colour))

    labelled = pixels[:classes].sum()
    print(f"{count} images of 129x129; {1000 * spent / count:.1f} ms of CPU time each ({platform.machine()})")
    print(f"{'class':<12}{'pixels':>8}{'images':>10}   (at least 20 pixels)")
    for name, area, images in zip(labels.class_names, pixels[:classes], present, strict=True):
        print(f"{name:<12}{area / labelled:>8.3f}{images / count:>10.2f}")
    print(f"void: {pixels[labels.ignore_index] / pixels.sum():.3f} of all pixels")

    everywhere = np.zeros((classes, classes), np.int64)
    everywhere[:, 0] = pixels[:classes]
    print(f"mIoU of background everywhere: {scores_from_confusion(everywhere, labels.class_names).mIoU:.3f}")
    share = seen.sum(1, keepdims=True)
    for name, table in (("as they come", seen + share / share.sum()), ("balanced", (seen + 1) / share)):
        guess = table.argmax(0)
        matrix = np.zeros((classes, classes), np.int64)
        for truth, colour in held_out:
            matrix += np.bincount(truth * classes + guess[colour], minlength=classes**2).reshape(classes, classes)
        print(f"mIoU of colour alone, classes {name}: {scores_from_confusion(matrix, labels.class_names).mIoU:.3f}")


def write_overview(path: str, rows: int = 3, columns: int = 4, side: int = 160, gap: int = 6) -> None:
    """Write images beside their masks."""
    source = DrawnScenes("val", rows * columns, side, side)
    colours = np.full((256, 3), 255, np.uint8)
    colours[: source.labels.num_classes] = source.labels.palette
    pairs = [np.hstack([image, colours[mask]]) for image, mask in map(source.load, range(rows * columns))]
    overview = np.full((rows * (side + gap) - gap, columns * (2 * side + gap) - gap, 3), 255, np.uint8)
    for index, pair in enumerate(pairs):
        top, left = index // columns * (side + gap), index % columns * (2 * side + gap)
        overview[top : top + side, left : left + 2 * side] = pair
    Image.fromarray(overview).save(path)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
    if len(sys.argv) > 2:
        write_overview(sys.argv[2])
