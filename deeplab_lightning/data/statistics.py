"""Mean and standard deviation of a data set's pixels, per channel, for `data.mean` and `data.std`."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from ..errors import DataError
from .dataset import SegmentationDataset
from .spacing import spread


def channel_statistics(
    dataset: SegmentationDataset, limit: int | None = None, pixel_range: float = 255.0
) -> tuple[list[float], list[float]]:
    """Compute the exact mean and (population) standard deviation over all pixels of all images, in one pass.

    Images are merged one by one in float64 by their means and squared deviations (Chan, Golub, LeVeque: "Updating
    formulae and a pairwise algorithm for computing sample variances", 1979), so nothing is lost where the mean is large
    against the spread. Ignored pixels count too: they are seen by the network.

    Args:
        dataset: Usually the training split.
        limit: Look at no more than so many images, spread evenly.
        pixel_range: The stored value that means 1.0.

    Returns:
        Mean and standard deviation of each channel, in units of `pixel_range`.

    Raises:
        DataError: There are no images, one is unreadable, or their channels differ.
    """
    size = len(dataset) if limit is None else min(limit, len(dataset))
    if size == 0:
        raise DataError("Statistics need at least one image; the split is empty.")
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for index in tqdm(spread(len(dataset), size), desc="mean and std", unit="images"):
        image = dataset.load(index)[0]
        pixels = image.reshape(-1, image.shape[2]).astype(np.float64)
        if count and pixels.shape[1] != len(mean):
            raise DataError(
                f"{dataset.sample_id(index)} has {pixels.shape[1]} channels, the images before it {len(mean)}: all "
                f"must have the same."
            )
        own_mean = pixels.mean(axis=0)
        own_squares = ((pixels - own_mean) ** 2).sum(axis=0)
        total = count + len(pixels)
        squares = squares + own_squares + (own_mean - mean) ** 2 * (count * len(pixels) / total)
        mean = mean + (own_mean - mean) * (len(pixels) / total)
        count = total
    return (mean / pixel_range).tolist(), (np.sqrt(squares / count) / pixel_range).tolist()
