"""What the papers published for the recipes in configs/paper/, by evaluation protocol. Percent of mIoU on val.

Sources: v1 (ICLR 2015), table of variants; v2 (TPAMI 2017), tables of ASPP and of the ResNet's components; v3 (2017),
tables of inference strategies and section on Cityscapes; v3+ (ECCV 2018), tables of ResNet-101, of Xception and of
Cityscapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..files import read_csv

SINGLE = (1.0,)
VOC_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Of v3 and v3+ on PASCAL VOC."""
CITYSCAPES_SCALES = (0.75, 1.0, 1.25)
"""Likewise on Cityscapes."""


class PublishedRow(NamedTuple):
    """One published figure: whole images of the validation split.

    Attributes:
        miou: Percent.
        output_stride: At evaluation.
        scales: Averaged over these.
        flip: And over the mirrored image.
        crf: Dense CRF behind the network.
    """

    miou: float
    output_stride: int
    scales: tuple[float, ...]
    flip: bool
    crf: bool


def _read() -> dict[str, tuple[str, tuple[PublishedRow, ...]]]:
    scales = {"single": SINGLE, "voc": VOC_SCALES, "cityscapes": CITYSCAPES_SCALES}
    found: dict[str, tuple[str, tuple[PublishedRow, ...]]] = {}
    for row in read_csv(Path(__file__).with_name("published.csv")):
        views = scales[row["scales"]], row["flip"] == "yes", row["crf"] == "yes"
        figure = PublishedRow(float(row["miou"]), int(row["output_stride"]), *views)
        found[row["recipe"]] = row["data"], (*found.get(row["recipe"], ("", ()))[1], figure)
    return found


PUBLISHED = _read()
"""Recipe -> its data set, and its rows. v2's scales lie within the network, and it was pretrained on COCO."""


def published_miou(
    recipe: str, data: str, output_stride: int, scales: Sequence[float], flip: bool, crf: bool
) -> float | None:
    """Return the published mIoU, 0..1, of a recipe under one protocol; None where there is none.

    Args:
        recipe: Stem of a file in configs/paper/.
        data: Name of the data that was evaluated on, such as `voc`.
        output_stride: Of the network that looked.
        scales: That were averaged over.
        flip: Whether the mirrored image was, too.
        crf: Whether the dense CRF came last.
    """
    where, rows = PUBLISHED.get(recipe, ("", ()))
    if data != where:
        return None
    wanted = (output_stride, tuple(scales), flip, crf)
    return next((row.miou / 100 for row in rows if row[1:] == wanted), None)
