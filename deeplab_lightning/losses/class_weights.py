"""Weights of classes from how often they occur."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

WeightRule = Literal["median_frequency", "effective_number", "enet"]


class ClassCounts(NamedTuple):
    """How often classes occur in a training set.

    Attributes:
        pixels: `(C,)` labelled pixels of each class.
        pixels_of_images: `(C,)` labelled pixels of all images in which the class occurs.
    """

    pixels: Tensor
    pixels_of_images: Tensor


def class_weights(rule: WeightRule, counts: ClassCounts) -> Tensor:
    """Return a weight for each class, `(C,)` float64; 0 for classes that do not occur.

    Args:
        rule: `median_frequency` (Eigen and Fergus, 2015; SegNet): the median of all frequencies over the class's, where
            a frequency is the class's share of the pixels of the images it occurs in. `effective_number` (Cui et al.,
            2019): `(1 - b) / (1 - b^n)` for n pixels, b = 1 - 1/total, scaled to a mean of 1. `enet` (Paszke et al.,
            2016): `1 / ln(1.02 + share of all labelled pixels)`.
        counts: Of the training set.
    """
    pixels = counts.pixels.double()
    occurs = pixels > 0
    if rule == "median_frequency":
        frequency = pixels / counts.pixels_of_images.double().clamp(min=1)
        weights = frequency[occurs].quantile(0.5) / frequency  # of an even number the mean of the two in the middle
    elif rule == "enet":
        weights = 1 / (1.02 + pixels / pixels.sum().clamp(min=1)).log()
    else:
        log_b = (-1 / pixels.sum().clamp(min=2)).log1p()
        weights = 1 / -(pixels * log_b).expm1()
        weights = weights / weights[occurs].mean()
    return weights.where(occurs, 0)
