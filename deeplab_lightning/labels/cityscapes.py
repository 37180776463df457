"""Cityscapes' 19 evaluated classes, and the way between its label ids and their train ids.

Annotation files hold label ids 0..33, of which 19 are evaluated. Networks learn train ids 0..18 and ignore the rest as
255. The benchmark's server wants label ids back.
"""

from __future__ import annotations

import numpy as np

from .label_set import LabelSet

CITYSCAPES = LabelSet(
    class_names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
    ignore_index=255,
    void_colour=(0, 0, 0),
)

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each train id."""

LABEL_ID_COUNT = 34
"""Label ids are 0..33, and -1 (licence plate), which bytes hold as 255."""

UNLABELLED = 0
"""The label id that stands for "none of these" in what is written back."""

_TO_TRAIN_ID = np.full(256, CITYSCAPES.ignore_index, np.uint8)
_TO_TRAIN_ID[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
_TO_LABEL_ID = np.full(256, UNLABELLED, np.uint8)
_TO_LABEL_ID[: len(LABEL_IDS)] = LABEL_IDS


def to_train_ids(label_ids: np.ndarray) -> np.ndarray:
    """Map label ids `(H, W)` uint8 to train ids `(H, W)` uint8: 0..18, and 255 for all that is not evaluated.

    Values that are no label ids become 255 too: check for them beforehand (`LABEL_ID_COUNT`).
    """
    return _TO_TRAIN_ID[label_ids]


def to_label_ids(train_ids: np.ndarray) -> np.ndarray:
    """Map train ids `(H, W)` uint8 to label ids `(H, W)` uint8; whatever is no train id becomes 0, unlabelled."""
    return _TO_LABEL_ID[train_ids]


def label_id_colours() -> np.ndarray:
    """Return the `(256, 3)` uint8 table that paints label ids; ids that are not evaluated are black."""
    return CITYSCAPES.colour_table()[_TO_TRAIN_ID]
