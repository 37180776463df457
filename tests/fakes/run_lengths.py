"""Tiny folders of images with run lengths in CSV, as Kaggle's competitions have them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40


def encoded(area: np.ndarray, order: str = "columns", first: int = 1) -> str:
    """Return an object's run lengths by going through its pixels one by one, from `first` on; `(H, W)` bool."""
    runs: list[int] = []
    previous = False
    pixels = (area.T if order == "columns" else area).ravel()
    for number, inside in enumerate([*pixels.tolist(), False], start=first):
        if inside and not previous:
            runs.append(number)
        if previous and not inside:
            runs.append(number - runs[-1])
        previous = inside
    return " ".join(map(str, runs))


def blob(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a disc with a hole, elsewhere for each number."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - 15 - number, columns - 20 - 2 * number)
    return (distance < 9) & (distance > 3)


def write_images(folder: Path, count: int = 6, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Write p0.jpg and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"p{number}.jpg")


def write_table(path: Path, header: str, rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header.split(","))
        table.writerows(rows)


def write_run_lengths(root: Path, order: str = "columns", width: int = WIDTH, height: int = HEIGHT) -> Path:
    """Write a folder like Severstal's, and return it; the images p4 and p5 have no line."""
    write_images(root / "train_images", width=width, height=height)
    rows = [(f"p{n}.jpg", kind, encoded(blob(n + kind, width, height), order)) for n in range(4) for kind in (1, 3)]
    write_table(root / "train.csv", "ImageId,ClassId,EncodedPixels", rows)
    write_table(root / "sample_submission.csv", "ImageId,EncodedPixels,ClassId", [("p5.jpg", "1 1", 1)])
    return root
