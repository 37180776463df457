"""What a plan needs to know of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import DataDescription
from .advice import fitting_crop
from .examination import Examination
from .images import channel_statistics, class_counts


@dataclass(frozen=True)
class Facts:
    """What was measured of the data.

    Attributes:
        minutes: The time there is.
        train_images: In the training split.
        val_images: In the validation split.
        largest_crop: Largest crop that fits into half of them.
        val_pixels: Pixels of a validation image, the mean.
        imbalance: Pixels of the most frequent class over those of the rarest.
        shift: Difference of brightness between train and val, of the pixel range.
        colours: Whether images are RGB of 8 bits.
        images_per_second: What the training loader delivers; None if that is not known.
    """

    minutes: float
    train_images: int
    val_images: int
    largest_crop: int
    val_pixels: float
    imbalance: float
    shift: float
    colours: bool
    images_per_second: float | None = None


def facts_of(done: Examination, description: DataDescription, minutes: float) -> Facts:
    """Return what a plan needs to know of data that were looked at."""
    train, val = ([look for look in done.looks.get(split, ()) if look.error is None] for split in ("train", "val"))
    pixels = class_counts(train, done.labels.num_classes)[0]
    brightness = [channel_statistics(looks, description["pixel_range"])[0].mean() for looks in (train, val) if looks]
    return Facts(
        minutes=minutes,
        train_images=len(done.datasets["train"]),
        val_images=len(done.datasets.get("val", ())),
        largest_crop=fitting_crop([min(look.size) for look in train]),
        val_pixels=float(np.mean([look.size[0] * look.size[1] for look in val])) if val else 0.0,
        imbalance=float(pixels.max() / pixels[pixels > 0].min()) if pixels.any() else 1.0,
        shift=float(abs(brightness[0] - brightness[-1])),
        colours=description["channels"] == 3 and description["pixel_range"] == 255,
    )
