"""Trimap curves: what is drawn, and what the file holds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.errors import DataError
from deeplab_lightning.metrics.boundary_metrics import Trimap, TrimapCurve
from deeplab_lightning.reporting.boundaries import plot_trimaps, write_trimap_csv

from .test_plots import figures, lines_of

__all__ = ["figures"]


def curve(shift: int, around: str = "boundaries") -> TrimapCurve:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10:30] = 1
    pred = np.roll(mask, shift, axis=1)
    mask[:, 33:] = 255
    trimap = Trimap(("ground", "house", "tree"), 255, around, (1, 2, 5))
    trimap.update(pred, mask, "a")
    return trimap.scores()


def test_a_line_for_each_run(tmp_path: Path, figures: list) -> None:
    near, far = curve(1), curve(2)
    plot_trimaps({"near": near, "far": far}, tmp_path / "trimap.png")
    (axes,) = figures[0].axes
    assert lines_of(axes) == [([1, 2, 5], near.mIoU.tolist()), ([1, 2, 5], far.mIoU.tolist())]
    assert near.mIoU[0] > far.mIoU[0]
    assert axes.get_legend().get_texts()[0].get_text() == f"near ({near.mIoU[0]:.3f} at 1 px)"
    assert axes.get_xlabel() == "width of the band around boundaries, pixels"
    assert Image.open(tmp_path / "trimap.png").width > 600


def test_a_band_without_pixels_is_left_out(tmp_path: Path, figures: list) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[:, 10:13], mask[:, 13:] = 255, 1  # three pixels of void between the classes: 4 pixels from one to the other
    trimap = Trimap(("ground", "house"), 255, widths=(1, 3, 4))
    trimap.update(np.where(mask == 255, 0, mask), mask, "a")
    plot_trimaps({"run": trimap.scores()}, tmp_path / "trimap.png")
    assert figures[0].axes[0].get_legend().get_texts()[0].get_text() == "run (1.000 at 4 px)"


def test_the_file_holds_the_curve_in_full(tmp_path: Path) -> None:
    found = curve(2)
    write_trimap_csv(tmp_path / "trimap.csv", found)
    with (tmp_path / "trimap.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["width"]) for row in rows] == [1, 2, 5]
    assert [float(row["mIoU"]) for row in rows] == found.mIoU.tolist()
    assert [int(row["pixels"]) for row in rows] == found.pixels.tolist()
    assert [float(row["IoU/house"]) for row in rows] == found.iou[:, 1].tolist()
    assert [row["IoU/tree"] for row in rows] == ["", "", ""]


def test_different_bands_are_not_drawn_together(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="around boundaries and around void"):
        plot_trimaps({"a": curve(1), "b": curve(1, "void")}, tmp_path / "trimap.png")
    with pytest.raises(DataError, match="got none"):
        plot_trimaps({}, tmp_path / "trimap.png")
