"""One pass over a split: every image and mask is read once, and what later checks need of it is kept."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..data.dataset import SegmentationDataset
from ..data.spacing import spread
from ..errors import DataError


@dataclass(frozen=True)
class Look:
    """What one image and its mask are.

    Attributes:
        index: In the split.
        sample_id: Its name.
        error: Why it cannot be loaded; all below is empty then.
        size: `(height, width)` in pixels.
        image_hash: Of the decoded pixels and their shape: equal for equal images, whatever their files are called.
        mask_hash: Likewise.
        counts: `(256,)` int64, pixels of each value in the mask.
        channel_sums: `(C,)` float64, sum of the stored values of each channel.
        channel_squares: `(C,)` float64, sum of their squares.
    """

    index: int
    sample_id: str
    error: DataError | None = None
    size: tuple[int, int] = (0, 0)
    image_hash: bytes = b""
    mask_hash: bytes = b""
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    channel_sums: np.ndarray = field(default_factory=lambda: np.zeros(0))
    channel_squares: np.ndarray = field(default_factory=lambda: np.zeros(0))


def look_at_split(dataset: SegmentationDataset, split: str, limit: int | None, workers: int) -> list[Look]:
    """Look at `limit` images of a split, spread evenly, or at all; several at a time, with a progress bar.

    Decoding does not hold Python's lock.
    """
    indices = spread(len(dataset), len(dataset) if limit is None else limit)
    pause = 0.1 if sys.stderr.isatty() else 15  # seconds between lines of a file
    with ThreadPoolExecutor(max(1, workers)) as pool:
        looks = pool.map(lambda index: look_at(dataset, index), indices)
        return list(tqdm(looks, desc=f"looking at {split}", unit="image", total=len(indices), mininterval=pause))


def look_at(dataset: SegmentationDataset, index: int) -> Look:
    """Read one image; what cannot be read becomes part of the result."""
    sample_id = dataset.sample_id(index)
    try:
        image, mask = dataset.load(index)
    except DataError as error:
        return Look(index, sample_id, error)
    height, width = mask.shape
    counts = np.bincount(mask.ravel(), minlength=256)
    return Look(index, sample_id, None, (height, width), _hash(image), _hash(mask), counts, *_channel_sums(image))


def files_of(dataset: SegmentationDataset, index: int) -> tuple[Path, ...]:
    """Return the files of an image; none where that cannot be told (a damaged annotation)."""
    try:
        return dataset.files(index)
    except DataError:
        return ()


def class_counts(looks: Sequence[Look], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of each class and the number of images it occurs in, both `(num_classes,)` int64."""
    counts = np.array([look.counts[:num_classes] for look in looks], np.int64).reshape(-1, num_classes)
    return counts.sum(axis=0), (counts > 0).sum(axis=0)


def channel_statistics(looks: Sequence[Look], pixel_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel over all pixels, in units of `pixel_range`, both `(C,)`."""
    readable = [look for look in looks if look.error is None]
    pixels = sum(look.size[0] * look.size[1] for look in readable)
    mean = np.sum([look.channel_sums for look in readable], axis=0) / pixels
    variance = np.sum([look.channel_squares for look in readable], axis=0) / pixels - mean**2
    return mean / pixel_range, np.sqrt(np.maximum(variance, 0)) / pixel_range


def _channel_sums(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of an `(H, W, C)` image's values and of their squares, `(C,)` float64 each."""
    if image.dtype != np.uint8:
        pixels = image.reshape(-1, image.shape[-1]).astype(np.float64)
        return pixels.sum(axis=0), (pixels**2).sum(axis=0)
    # Of 256 values each, a histogram is enough; sums over it are exact.
    values = np.arange(256.0)
    histograms = [np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(image.shape[-1])]
    return np.array([h @ values for h in histograms]), np.array([h @ values**2 for h in histograms])


def _hash(pixels: np.ndarray) -> bytes:
    digest = hashlib.blake2b(f"{pixels.dtype}{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
