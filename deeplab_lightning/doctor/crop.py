"""A training window for images of given sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LARGEST_CROP = 769
"""The papers' for Cityscapes; larger ones cost memory and teach little more."""
SMALLEST_CROP = 33


def fitting_crop(shorter_sides: Sequence[int] | np.ndarray) -> int:
    """Return the largest `16k + 1` within the median shorter side, from 33 to 769."""
    return int(min(LARGEST_CROP, max(SMALLEST_CROP, (np.median(shorter_sides) - 1) // 16 * 16 + 1)))
