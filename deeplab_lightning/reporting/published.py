"""What the papers published for the recipes in configs/paper/, by evaluation protocol. Percent of mIoU on val.

Sources: v1 (ICLR 2015), table of variants; v2 (TPAMI 2017), tables of ASPP and of the ResNet's components; v3 (2017),
tables of inference strategies and section on Cityscapes; v3+ (ECCV 2018), tables of ResNet-101, of Xception and of
Cityscapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
    scales: tuple[float, ...] = SINGLE
    flip: bool = False
    crf: bool = False


PUBLISHED: dict[str, tuple[str, tuple[PublishedRow, ...]]] = {
    "v1_largefov_voc": ("voc", (PublishedRow(62.25, 8), PublishedRow(67.64, 8, crf=True))),
    "v2_vgg16_aspp_l_voc": ("voc", (PublishedRow(68.96, 8), PublishedRow(71.57, 8, crf=True))),
    "v2_resnet101_voc": ("voc", (PublishedRow(76.35, 8), PublishedRow(77.69, 8, crf=True))),
    "v3_cascade_resnet101_voc": (
        "voc",
        (
            PublishedRow(76.66, 16),
            PublishedRow(78.05, 8),
            PublishedRow(78.93, 8, VOC_SCALES),
            PublishedRow(79.35, 8, VOC_SCALES, True),
        ),
    ),
    "v3_resnet101_voc_stage1": (
        "voc",
        (
            PublishedRow(77.21, 16),
            PublishedRow(78.51, 8),
            PublishedRow(79.45, 8, VOC_SCALES),
            PublishedRow(79.77, 8, VOC_SCALES, True),
        ),
    ),
    "v3_resnet101_cityscapes": (
        "cityscapes",
        (
            PublishedRow(77.23, 16),
            PublishedRow(77.82, 8),
            PublishedRow(79.06, 8, CITYSCAPES_SCALES),
            PublishedRow(79.30, 8, CITYSCAPES_SCALES, True),
        ),
    ),
    "v3plus_resnet101_voc": (
        "voc",
        (
            PublishedRow(78.85, 16),
            PublishedRow(80.09, 16, VOC_SCALES),
            PublishedRow(80.22, 16, VOC_SCALES, True),
            PublishedRow(79.35, 8),
            PublishedRow(80.43, 8, VOC_SCALES),
            PublishedRow(80.57, 8, VOC_SCALES, True),
        ),
    ),
    "v3plus_xception65_voc": (
        "voc",
        (
            PublishedRow(79.79, 16),
            PublishedRow(81.21, 16, VOC_SCALES, True),
            PublishedRow(80.02, 8),
            PublishedRow(81.39, 8, VOC_SCALES, True),
        ),
    ),
    "v3plus_xception65_cityscapes": ("cityscapes", (PublishedRow(79.14, 16),)),
    "v3plus_xception71_cityscapes": ("cityscapes", (PublishedRow(79.55, 16),)),
}
"""Recipe -> its data set, and its rows. v2's scales lie within the network, and it was pretrained on COCO."""


def published_miou(
    recipe: str, data: str, output_stride: int, scales: Sequence[float], flip: bool, crf: bool
) -> float | None:
    """Return the published mIoU, 0..1, of a recipe under one protocol; None where there is none.

    Args:
        recipe: Stem of a file in configs/paper/.
        data: Name of the data that was evaluated on, such as `voc`.
        output_stride: Likewise the protocol's other parts.
        scales: Likewise.
        flip: Likewise.
        crf: Likewise.
    """
    where, rows = PUBLISHED.get(recipe, ("", ()))
    if data != where:
        return None
    wanted = (output_stride, tuple(scales), flip, crf)
    return next((row.miou / 100 for row in rows if row[1:] == wanted), None)
