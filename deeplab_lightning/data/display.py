"""Any image as something to look at: one way for panels, overviews, galleries and previews."""

from __future__ import annotations

import numpy as np

STRETCH_PERCENT = 2
"""Of pixels that may be shown as plain black, and as plain white, where an image has to be stretched."""


def displayable(image: np.ndarray) -> np.ndarray:
    """Return an image of any kind as RGB to look at.

    RGB and grey of 8 bits stay as they are. Of others the first three channels are shown, or the first alone where
    there are fewer, each stretched so that all but its darkest and brightest `STRETCH_PERCENT` fill 0..255.

    Args:
        image: `(H, W)` or `(H, W, C)`, uint8 or any real type.

    Returns:
        `(H, W, 3)` uint8.
    """
    channels = image[:, :, None] if image.ndim == 2 else image
    shown = channels[:, :, : 3 if channels.shape[2] >= 3 else 1]
    if image.dtype != np.uint8 or channels.shape[2] not in (1, 3):
        dark, bright = np.percentile(shown, (STRETCH_PERCENT, 100 - STRETCH_PERCENT), axis=(0, 1))
        spread = np.where(bright > dark, bright - dark, 1)
        shown = ((shown - dark) / spread * 255).clip(0, 255).round().astype(np.uint8)
    return np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else np.ascontiguousarray(shown)
