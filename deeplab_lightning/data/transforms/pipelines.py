"""Augmentation pipelines, on albumentations (its MIT line, 2.0.x): the only module that imports it."""

from __future__ import annotations

from collections.abc import Sequence

import albumentations as A
import cv2
import numpy as np


class ScaleCropFlip:
    """Training augmentation of the DeepLab papers: random scale, padding, random crop, mirror.

    Departure: the papers have no colour jitter; it is off at 0.

    Args:
        crop_size: Side of the square window; `output_stride * k + 1` suits DeepLab.
        scale_range: Smallest and largest factor; uniform between.
        flip: Probability of mirroring left and right.
        colour_jitter: Largest relative change of brightness, contrast and saturation.
        pad_value: Colour beyond the picture, 0..255 per channel (the mean pixel).
        ignore_index: Label beyond the picture.
    """

    def __init__(
        self,
        crop_size: int,
        scale_range: tuple[float, float],
        flip: float,
        colour_jitter: float,
        pad_value: Sequence[float],
        ignore_index: int,
    ) -> None:
        smallest, largest = scale_range
        scale = A.RandomScale(
            scale_limit=(smallest - 1, largest - 1),
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            p=1.0,
        )
        pad = A.PadIfNeeded(
            crop_size,
            crop_size,
            position="top_left",
            border_mode=cv2.BORDER_CONSTANT,
            fill=tuple(pad_value),
            fill_mask=ignore_index,
        )
        jitter = A.ColorJitter(colour_jitter, colour_jitter, colour_jitter, hue=0.0, p=0.8)
        self.compose = A.Compose(
            [
                *([jitter] if colour_jitter > 0 else []),  # before padding, which stays the mean colour
                *([scale] if smallest < largest or smallest != 1 else []),
                pad,
                A.RandomCrop(crop_size, crop_size),
                A.HorizontalFlip(p=flip),
            ]
        )

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an augmented `(crop_size, crop_size, C)` image with its mask; the same for the same seed."""
        self.compose.set_random_seed(seed)
        result = self.compose(image=image, mask=mask)
        return result["image"], result["mask"]
