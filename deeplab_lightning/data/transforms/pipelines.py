"""Augmentation pipelines, on albumentations (its MIT line, 2.0.x): the only module that imports it."""

from __future__ import annotations

from collections.abc import Sequence

import albumentations as A
import cv2
import numpy as np

from ...errors import ConfigError


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
        scale_step: Draw one of smallest, smallest + step, ..., largest instead, as the released code does (0.25).
    """

    def __init__(
        self,
        crop_size: int,
        scale_range: tuple[float, float],
        flip: float,
        colour_jitter: float,
        pad_value: Sequence[float],
        ignore_index: int,
        scale_step: float | None = None,
    ) -> None:
        smallest, largest = scale_range
        if scale_step is None:
            scale = _scale(smallest, largest)
        else:
            scale = A.OneOf([_scale(factor, factor) for factor in scale_choices(scale_range, scale_step)], p=1.0)
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


def scale_choices(scale_range: tuple[float, float], scale_step: float) -> list[float]:
    """Return the factors from the smallest to the largest of `scale_range` in steps.

    Raises:
        ConfigError: The steps do not lead from the one to the other.
    """
    smallest, largest = scale_range
    steps = (largest - smallest) / scale_step if scale_step > 0 else -1.0
    if steps < 0 or abs(steps - round(steps)) > 1e-6:
        raise ConfigError(
            f"scale_step {scale_step:g} does not lead from {smallest:g} to {largest:g}, the ends of scale_range. "
            f"0.25 leads from 0.5 to 2; leave it out to draw any factor between."
        )
    return [smallest + index * scale_step for index in range(round(steps) + 1)]


def _scale(smallest: float, largest: float) -> A.RandomScale:
    """Scale by a factor between the two: the picture bilinearly, the mask by nearest neighbour."""
    return A.RandomScale(
        scale_limit=(smallest - 1, largest - 1),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        p=1.0,
    )
