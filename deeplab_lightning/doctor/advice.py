"""What would suit the data: normalisation, crop, class weights; and where train and val are not alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ..data.wording import first_few
from ..labels import LabelSet
from .findings import Finding, finding
from .images import Look, channel_statistics, class_counts

RARE_SHARE = 0.005
"""Of the labelled pixels; fewer make a class rare."""
RARE_IMAGES = 5
IMBALANCE = 20.0
"""How much more frequent the most frequent class is than the rarest before weights are worth a try."""
SHIFT = 0.05
"""Difference of brightness between train and val, of the pixel range, that is worth a word."""
SMALLEST_CROP, LARGEST_CROP = 33, 769
"""The papers' for Cityscapes; larger ones cost memory and teach little more."""


def fitting_crop(shorter_sides: Sequence[int] | np.ndarray) -> int:
    """Return the largest `16k + 1` within the median shorter side, from 33 to 769."""
    return int(min(LARGEST_CROP, max(SMALLEST_CROP, (np.median(shorter_sides) - 1) // 16 * 16 + 1)))


def sizes(looks: Sequence[Look], crop_size: int, scale_range: Sequence[float]) -> list[Finding]:
    """Compare the images' sizes with the training window."""
    found = Counter(look.size for look in looks if look.error is None)
    listed = [f"{width}x{height} ({count})" for (height, width), count in found.most_common()]
    longest = max(max(size) for size in found)
    shorter = np.array([min(size) for size in found.elements()])
    suggested = fitting_crop(shorter)
    seen = [min(1, crop_size / height) * min(1, crop_size / width) for height, width in found.elements()]
    what = (
        f"Train images (width x height): {first_few(listed)}. A crop of {crop_size} shows {np.mean(seen):.0%} of "
        f"one at scale 1; the largest 16k+1 that fits into the shorter side of half of them is {suggested}."
    )
    remedy = "keep it" if suggested == crop_size else f"data: {{crop_size: {suggested}}}"
    notes = [finding("note", "crop", what, remedy)]
    scale = max(scale_range)
    if crop_size - 16 > longest * scale:
        covered = longest * scale / crop_size * min(1, shorter.max() * scale / crop_size)
        what = (
            f"A crop of {crop_size} is larger than every image at every scale (the longest side is {longest}, times "
            f"{scale:g}): {1 - covered:.0%} of it or more is padding."
        )
        notes.append(finding("warning", "crop_too_large", what, f"data: {{crop_size: {suggested}}}"))
    if crop_size % 16 != 1:
        what = f"A crop of {crop_size} is not 16k+1, with which the corners of maps and image would meet."
        remedy = f"data: {{crop_size: {max(SMALLEST_CROP, (crop_size - 1) // 16 * 16 + 1)}}}"
        notes.append(finding("note", "crop_uneven", what, remedy))
    return notes


def normalisation(
    looks: Sequence[Look], mean: Sequence[float], std: Sequence[float], pixel_range: float
) -> list[Finding]:
    """Compare the training images' mean and standard deviation with those that the network normalises by.

    All are by channel, in units of `pixel_range`, the stored value that means 1.
    """
    own_mean, own_std = channel_statistics(looks, pixel_range)
    if len(own_mean) != len(mean):
        what = f"Images have {len(own_mean)} channels, mean and std are given for {len(mean)}."
        return [finding("error", "channels", what, _as_yaml(own_mean, own_std))]
    # Of images normalised by the declared numbers: 0 and 1 would be perfect.
    rest, spread = (own_mean - mean) / np.asarray(std), own_std / np.asarray(std)
    far = bool(np.abs(rest).max() > 1 or spread.max() > 2 or spread.min() < 0.5)
    what = (
        f"Train images have mean {_numbers(own_mean)} and std {_numbers(own_std)}; configured are {_numbers(mean)} "
        f"and {_numbers(std)}, which leaves a mean of {_numbers(rest)} and a std of {_numbers(spread)}."
    )
    if not far:
        return [finding("note", "normalisation", what, "near enough: keep it, above all with pretrained weights")]
    return [finding("warning", "normalisation", what, _as_yaml(own_mean, own_std) + " (when training from scratch)")]


def shift(splits: Mapping[str, Sequence[Look]], pixel_range: float) -> list[Finding]:
    """Say so where val is much brighter or darker than train."""
    if not all(any(look.error is None for look in splits.get(split, ())) for split in ("train", "val")):
        return []
    train, val = (channel_statistics(splits[split], pixel_range)[0].mean() for split in ("train", "val"))
    if abs(train - val) < SHIFT:
        return []
    what = f"Val is {'darker' if val < train else 'brighter'} than train: mean {val:.3f} against {train:.3f}."
    return [finding("note", "shift", what, "data: {colour_jitter: 0.5}")]


def balance(looks: Sequence[Look], labels: LabelSet) -> list[Finding]:
    """Name rare classes, and suggest class weights where some are far more frequent than others."""
    pixels, images = class_counts(looks, labels.num_classes)
    occurs = pixels > 0
    if not occurs.any():
        return []
    share = pixels / pixels.sum()
    notes = []
    few = min(RARE_IMAGES, sum(look.error is None for look in looks) // 2)
    rare = [
        f"{name} ({share[index]:.2%} in {images[index]} images)"
        for index, name in enumerate(labels.class_names)
        if occurs[index] and (share[index] < RARE_SHARE or images[index] < few)
    ]
    if rare:
        what = f"Rare in train: {first_few(rare, 6)}."
        notes.append(finding("note", "rare_class", what, "more images of them help most; class weights a little"))
    most, least = int(share.argmax()), int(np.where(occurs, share, 2).argmin())
    ratio = share[most] / share[least]
    if ratio > IMBALANCE:
        names = labels.class_names
        what = (
            f"{names[most]} has {ratio:.0f} times as many train pixels as {names[least]} ({share[most]:.1%}, "
            f"{share[least]:.2%})."
        )
        remedy = "--loss.cross_entropy.class_weights median_frequency (compare with and without)"
        notes.append(finding("note", "imbalance", what, remedy))
    return notes


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _as_yaml(mean: np.ndarray, std: np.ndarray) -> str:
    return f"data: {{mean: [{_numbers(mean)}], std: [{_numbers(std)}]}}"
