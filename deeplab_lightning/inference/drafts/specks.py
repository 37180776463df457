"""Takes regions away that are too small to be corrected by hand."""

from __future__ import annotations

import cv2
import numpy as np


def without_specks(mask: np.ndarray, min_area: int) -> np.ndarray:
    """Give regions of too few pixels to the nearest region that is large enough, all at once.

    Unlike `--min_area` of predict, which asks the network for the second most likely class, this leaves no new specks:
    what is given away hangs together with the region that it is given to, along rows and columns.

    Args:
        mask: `(H, W)` uint8 class ids.
        min_area: Pixels from which a region stays; regions are connected along rows and columns.

    Returns:
        `(H, W)` uint8; the mask itself where there is nothing to do, or no region is large enough.
    """
    small = np.zeros(mask.shape, np.uint8)
    for value in np.unique(mask) if min_area > 1 else ():
        _, regions, stats, _ = cv2.connectedComponentsWithStats((mask == value).view(np.uint8), connectivity=4)
        is_small = stats[:, cv2.CC_STAT_AREA] < min_area
        is_small[0] = False  # all other classes
        small |= is_small[regions]
    if not small.any() or small.all():
        return mask
    # City-block distances are handed on from pixel to pixel along rows and columns, with what lies there.
    _, nearest = cv2.distanceTransformWithLabels(small, cv2.DIST_L1, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL)
    classes = np.zeros(int(nearest.max()) + 1, np.uint8)
    classes[nearest[small == 0]] = mask[small == 0]
    return classes[nearest]
