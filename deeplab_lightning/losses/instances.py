"""What a network learns of objects: centres of mass as a map of Gaussians, and from each pixel the way to its centre.

After Panoptic-DeepLab (Cheng et al., CVPR 2020, section 3) and its released code. Targets are made from the numbers of
the objects in a crop, on the device: what the crop throws away is never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor

from ..options import Options, above, at_least
from .base import in_full_precision


@dataclass(frozen=True)
class InstanceOptions(Options):
    """Losses of a network that tells objects apart; the published constants."""

    section: ClassVar[str] = "loss.instances"

    centre_weight: Annotated[float, at_least(0)] = 200.0
    """Factor of the centres' mean squared error."""
    offset_weight: Annotated[float, at_least(0)] = 0.01
    """Factor of the offsets' mean absolute error, in pixels."""
    sigma: Annotated[float, above(0, near=1)] = 8.0
    """Standard deviation in pixels of the Gaussian around a centre."""
    small_area: Annotated[int, at_least(0)] = 4096
    """Objects of fewer pixels than this are small."""
    small_weight: Annotated[float, at_least(0)] = 1.0
    """What `hard_pixels` multiplies the losses of small objects' pixels by before it chooses the hardest: 3 as
    published."""


class InstanceTargets(NamedTuple):
    """What the maps of objects are compared with, at the crop's size."""

    centres: Tensor
    """`(B, H, W)` float32: 1 on a centre, falling off as a Gaussian; the largest where several overlap."""
    offsets: Tensor
    """`(B, 2, H, W)` float32: rows and columns to the centre of the object; 0 where there is none."""
    areas: Tensor
    """`(B, H, W)` int64: pixels of the object; 0 where there is none."""
    scored: Tensor
    """`(B, H, W)` bool: pixels on which centres are compared, all but void and crowds."""


def instance_targets(numbers: Tensor, mask: Tensor, things: Tensor, ignore_index: int, sigma: float) -> InstanceTargets:
    """Make the targets of crops.

    A centre is the rounded mean of the object's pixels in the crop, as in the released code. A Gaussian ends at a
    distance of 3 sigma + 1 along rows and columns.

    Args:
        numbers: `(B, H, W)` integer: of the object; 0 where there is none.
        mask: `(B, H, W)` train ids; things without a number are a crowd.
        things: `(k,)` train ids of the classes that have objects.
        ignore_index: Of void in `mask`.
        sigma: Of the Gaussians, in pixels.
    """
    batch, height, width = numbers.shape
    is_thing = torch.isin(mask, things)
    numbers = numbers.where(is_thing, 0).long()
    scored = (mask != ignore_index) & ((numbers > 0) | ~is_thing)
    image = torch.arange(batch, device=numbers.device)[:, None, None]
    found, objects = torch.unique(numbers + image * (numbers.max() + 1), return_inverse=True)
    is_object = found % (numbers.max() + 1) > 0
    rows, columns = (
        torch.arange(side, device=numbers.device).reshape(shape).expand(batch, height, width)
        for side, shape in ((height, (1, -1, 1)), (width, (1, 1, -1)))
    )
    areas = torch.bincount(objects.flatten(), minlength=len(found))

    def centre(places: Tensor) -> Tensor:
        sums = torch.zeros_like(areas).scatter_add_(0, objects.flatten(), places.flatten())
        return (sums.double() / areas).round().long()

    centre_row, centre_column = centre(rows), centre(columns)
    offsets = torch.stack([centre_row[objects] - rows, centre_column[objects] - columns], dim=1)
    mine = is_object[objects]
    return InstanceTargets(
        _gaussians(
            torch.div(found, numbers.max() + 1, rounding_mode="floor")[is_object],
            centre_row[is_object],
            centre_column[is_object],
            (batch, height, width),
            sigma,
        ),
        offsets.float().where(mine[:, None], 0),
        areas[objects].where(mine, 0),
        scored,
    )


def _gaussians(image: Tensor, row: Tensor, column: Tensor, shape: tuple[int, int, int], sigma: float) -> Tensor:
    """Return maps `shape` with a Gaussian around each centre `(image, row, column)`, merged by the maximum."""
    _, height, width = shape
    reach = int(3 * sigma) + 1
    distance = torch.arange(-reach, reach + 1, device=row.device)
    bell = torch.exp(-(distance[:, None] ** 2 + distance**2) / (2 * sigma**2))
    rows, columns = row[:, None, None] + distance[:, None], column[:, None, None] + distance
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = (image[:, None, None] * height + rows) * width + columns
    maps = torch.zeros(shape, device=row.device).flatten()
    maps.scatter_reduce_(0, places[inside], bell.expand(len(row), -1, -1)[inside], "amax")
    return maps.reshape(shape)


def centre_loss(centres: Tensor, targets: InstanceTargets) -> Tensor:
    """Mean squared error over the scored pixels; 0 where there are none. `centres` is `(B, H, W)`."""
    errors = (in_full_precision(centres) - targets.centres).square().where(targets.scored, 0)
    return errors.sum() / targets.scored.sum().clamp(min=1)


def offset_loss(offsets: Tensor, targets: InstanceTargets) -> Tensor:
    """Mean over the objects' pixels of the absolute errors of row and column, added. `offsets` is `(B, 2, H, W)`."""
    mine = targets.areas > 0
    errors = (in_full_precision(offsets) - targets.offsets).abs().sum(1).where(mine, 0)
    return errors.sum() / mine.sum().clamp(min=1)
