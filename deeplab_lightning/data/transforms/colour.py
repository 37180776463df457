"""Colour jitter as one matrix: brightness, contrast, saturation and hue in a single pass over the pixels.

Departures from `A.ColorJitter` and torchvision's, which apply the four one after the other:

- Values are clipped and rounded once, at the end; colours that leave the range on the way and come back are kept.
- The order is fixed: hue, saturation, contrast, brightness. As linear maps they nearly commute.
- Contrast pivots on mid-grey, not on the image's mean grey: the matrix does not depend on the pixels. So contrast
  also moves the mean of a dark or bright image.
- Hue turns the colour plane about the grey axis and keeps brightness (the luma of ITU-R BT.601); HSV keeps the largest
  channel. Both leave grey alone.
"""

from __future__ import annotations

import math
from typing import Any

import albumentations as A
import cv2
import numpy as np

from ...errors import ConfigError

MID_GREY = 127.5

_TO_YIQ = np.array([(0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
"""RGB to luma and two axes of colour (NTSC)."""
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_LUMA = _FROM_YIQ[:, :1] @ _TO_YIQ[:1]
"""RGB to its grey; the rest is colour, and what that becomes when turned by a quarter:"""
_COLOUR, _TURNED = _FROM_YIQ[:, 1:] @ _TO_YIQ[1:], _FROM_YIQ[:, 1:] @ np.array([(0, 1), (-1, 0)]) @ _TO_YIQ[1:]


def colour_matrix(
    brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue: float = 0.0
) -> np.ndarray:
    """Return the matrix `(3, 4)` float32 that changes RGB pixels in 0..255: `[R', G', B'] = M @ [R, G, B, 1]`.

    Args:
        brightness: Factor; 1 leaves it.
        contrast: Factor of the distance from mid-grey.
        saturation: Factor of the distance from grey; 0 gives a grey image.
        hue: Turn of the colours, as a share of the circle: 1/3 takes red near green.
    """
    turned = math.cos(2 * math.pi * hue) * _COLOUR + math.sin(2 * math.pi * hue) * _TURNED
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = brightness * contrast * (_LUMA + saturation * turned)
    matrix[:, 3] = brightness * (1 - contrast) * MID_GREY
    return matrix


class ColourMatrix(A.ImageOnlyTransform):
    """Random brightness, contrast, saturation and hue of an RGB uint8 image; for any `A.Compose`.

    Before `RandomWindow` it works on the whole image; after it, the border is recoloured, too. `TrainingTransform`
    does neither: it recolours the crop before its border is filled.

    Args:
        brightness: Largest relative change: the factor is uniform in 1 - x .. 1 + x. Likewise the next two.
        contrast: Of the distance from mid-grey.
        saturation: Of the distance from grey.
        hue: Largest turn, as a share of the colour circle, 0..0.5.
        p: Probability of changing anything.

    Raises:
        ConfigError: A strength is out of range.
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.0,
        p: float = 0.8,
    ) -> None:
        super().__init__(p=p)
        for name, value in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value:g}; expected a relative change from 0 to 1, such as 0.3.")
        if not 0 <= hue <= 0.5:
            raise ConfigError(f"hue is {hue:g}; expected a share of the colour circle from 0 to 0.5, such as 0.05.")
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw a matrix `(3, 4)`."""
        brightness, contrast, saturation, hue = (2 * generator.random(4) - 1).tolist()
        return colour_matrix(
            1 + brightness * self.brightness,
            1 + contrast * self.contrast,
            1 + saturation * self.saturation,
            hue * self.hue,
        )

    def get_params(self) -> dict[str, Any]:
        """Draw the matrix, from albumentations' generator."""
        return {"matrix": self.draw(self.random_generator)}

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        """Return the image `(H, W, 3)` uint8 with its colours changed, rounded and clipped."""
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise ConfigError(
                f"Colour jitter is for RGB images of 8 bits, not for {img.dtype} of shape {img.shape}. Set "
                f"colour_jitter and hue_jitter to 0."
            )
        return cv2.transform(img, matrix)
