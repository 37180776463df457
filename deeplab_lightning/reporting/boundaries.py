"""Trimap curves as an image and as a file.

matplotlib is imported on use and without pyplot, as in `plots`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..files import write_csv
from .plots import BLUE, GREEN, GREY, ORANGE, style

if TYPE_CHECKING:
    from ..metrics.boundary_metrics import TrimapCurve

COLOURS = (BLUE, ORANGE, GREEN, GREY, "#7c4dbd", "#c2416b")
MARKERS = "osD^vP"

INSIDE = 30
"""Characters of a name that fit beside the curves; with a longer one all stand below them."""
WRAPPED = 84
"""Characters of a line there."""


def plot_trimaps(curves: Mapping[str, TrimapCurve], png: Path | IO[bytes]) -> None:
    """Draw mIoU within the band against its width, one line per run, as the papers' figures show it.

    Args:
        curves: What each is called in the legend -> the curve. All of one protocol.
        png: The image to write.

    Raises:
        DataError: There is no curve, or they lie around different things.
    """
    from matplotlib.figure import Figure

    protocols = sorted({curve.protocol for curve in curves.values()})
    if len(protocols) != 1:
        raise DataError(
            f"Trimap curves of one protocol can be drawn together; got {' and '.join(protocols) or 'none'}."
        )
    below = max(map(len, curves)) > INSIDE  # such as protocols in words
    lines = sum(len(textwrap.wrap(name, WRAPPED)) for name in curves) if below else 0
    figure = Figure(figsize=(6.4, 4.2 + 0.2 * lines), layout="constrained")
    axes = figure.subplots()
    style(axes, "mIoU within the band")
    for number, (name, curve) in enumerate(curves.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        narrowest = int(np.isfinite(curve.mIoU).argmax())  # where strips of void are broad, narrow bands are empty
        label = f"{name} ({curve.mIoU[narrowest]:.3f} at {curve.widths[narrowest]} px)"
        label = textwrap.fill(label, WRAPPED) if below else label
        axes.plot(curve.widths, curve.mIoU, color=colour, marker=marker, markersize=4.5, linewidth=1.8, label=label)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"width of the band {protocols[0]}, pixels")
    if below:
        figure.legend(frameon=False, fontsize=9, loc="outside lower left")
    else:
        axes.legend(frameon=False, fontsize=9, loc="best")
    figure.savefig(png, format="png", dpi=130)


def write_trimap_csv(path: Path, curve: TrimapCurve) -> None:
    """Write a curve in full precision, a row per width; cells of classes that do not occur in the band are empty."""
    header = ["width", "mIoU", "pixel_acc", "pixels", *(f"IoU/{name}" for name in curve.class_names)]
    columns = (curve.widths, curve.mIoU, curve.pixel_acc, curve.pixels, *curve.iou.T)
    write_csv(path, header, zip(*columns, strict=True))
