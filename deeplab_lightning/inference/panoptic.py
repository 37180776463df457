"""From maps of classes, centres and offsets to objects: Panoptic-DeepLab's decoding (section 3), on the device.

```
centres ── peaks: above a threshold, largest within a window, the best few ─┐
offsets ── each pixel of a thing points to a place ── nearest peak ─────────┴── number ── class of most of its pixels
classes ── stuff keeps its class, but for areas that are too small ─────────────────────────────────────┘
```

There is no loop over pixels or objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .options import EvaluationOptions, ObjectOptions
from .predictor import Predictor

CELL, MARGIN = 32, 4
"""Side in pixels of the cells for which the places that may be nearest are found first, and cells around all places."""
BAND_DISTANCES = 1 << 18
"""Distances that are looked at together: few enough for a core's cache."""


class Panoptic(NamedTuple):
    """An image as stuff and objects."""

    classes: Tensor
    """`(H, W)` uint8 train ids; `ignore_index` where neither stuff nor an object was found."""
    numbers: Tensor
    """`(H, W)` int32: 1..n on objects, the highest centre first; 0 on stuff and void."""
    object_classes: Tensor
    """`(n,)` int64 train ids."""
    scores: Tensor
    """`(n,)` float32, 0..1: the centre's value, at most 1, times the mean of what the object's pixels are sure of."""


def decode(
    classes: Tensor,
    sureness: Tensor,
    centres: Tensor,
    offsets: Tensor,
    things: Tensor,
    ignore_index: int,
    options: ObjectOptions,
) -> Panoptic:
    """Make objects of an image's maps.

    Args:
        classes: `(H, W)` uint8 train ids.
        sureness: `(H, W)` float: probability of that class.
        centres: `(H, W)` float.
        offsets: `(2, H, W)` float: rows and columns to the centre.
        things: `(k,)` train ids of the classes that have objects.
        ignore_index: Label for pixels of neither.
        options: The constants.
    """
    width, flat = classes.shape[1], classes.flatten()
    is_thing = torch.zeros(256, dtype=torch.bool, device=classes.device)
    is_thing[things] = True
    pixels = is_thing[flat.int()].nonzero()[:, 0]  # of things
    areas = torch.bincount(flat, minlength=256)
    is_small = (areas < options.min_stuff_area) & ~is_thing
    found = (
        flat.masked_fill(is_small[flat.int()], ignore_index) if bool((is_small & (areas > 0)).any()) else flat.clone()
    )
    numbers = torch.zeros_like(flat, dtype=torch.int32)
    places, heights = peaks(centres, options)
    if not len(places):
        found[pixels] = ignore_index
        nothing = pixels[:0]
        return Panoptic(found.view_as(classes), numbers.view_as(classes), nothing, heights)
    pointed = offsets.flatten(1)[:, pixels].float()
    pointed[0] += torch.div(pixels, width, rounding_mode="floor")
    pointed[1] += pixels % width
    nearest = nearest_of(pointed, places)
    votes = torch.bincount(nearest * 256 + flat[pixels], minlength=len(places) * 256).reshape(-1, 256)
    sure = torch.bincount(nearest, sureness.flatten()[pixels].double(), len(places))
    kept = votes.sum(1) > 0  # a peak to which no pixel points is no object
    object_classes = votes.argmax(1)
    numbers[pixels] = (kept.cumsum(0) * kept).int()[nearest]
    found[pixels] = object_classes.to(found.dtype)[nearest]
    scores = heights.clamp(max=1) * (sure / votes.sum(1).clamp(min=1)).float()
    return Panoptic(found.view_as(classes), numbers.view_as(classes), object_classes[kept], scores[kept])


def peaks(centres: Tensor, options: ObjectOptions) -> tuple[Tensor, Tensor]:
    """Return the places `(n, 2)` of the centres, rows and columns, int64, and their values `(n,)`, highest first.

    A peak is the largest value of the window around it, and so of the block that it lies in, half a window wide. Only
    those of blocks are looked at in their windows, and of equal neighbours only the first is one.
    """
    reach = options.centre_window // 2
    height, width = centres.shape
    largest, at = F.max_pool2d(centres[None, None], reach + 1, ceil_mode=True, return_indices=True)
    at = at.flatten()[largest.flatten() > options.centre_threshold]
    rows, columns = torch.div(at, width, rounding_mode="floor"), at % width
    steps = torch.arange(-reach, reach + 1, device=centres.device)
    around = (rows[:, None] + steps).clamp(0, height - 1)[:, :, None], (columns[:, None] + steps).clamp(0, width - 1)
    values = centres[rows, columns]
    window = centres[around[0], around[1][:, None, :]].flatten(1)
    is_peak = values >= window.amax(1)
    places, values = torch.stack([rows, columns], dim=1)[is_peak], values[is_peak]
    order = values.argsort(descending=True, stable=True)[: options.max_objects]
    return places[order], values[order]


def nearest_of(points: Tensor, places: Tensor) -> Tensor:
    """Return which place is nearest to each point, the first of equals, `(N,)` int64.

    The plane is divided into cells. A place can be nearest to a point of a cell only if it is no farther from the
    cell's middle than the nearest one plus the cell's diagonal: a few places are compared with each point, not all.

    Args:
        points: `(2, N)` float32, rows and columns; not finite ones get any place.
        places: `(n, 2)` whole numbers, at least one.
    """
    targets = places.float()
    low = targets.amin(0) - MARGIN * CELL
    down, across = (int(side) for side in (targets.amax(0) - low) // CELL + 1 + MARGIN)
    cells = torch.cartesian_prod(torch.arange(down, device=low.device), torch.arange(across, device=low.device))
    distances = torch.cdist(low + CELL * (cells + 0.5), targets)
    possible = distances <= distances.amin(1, keepdim=True) + CELL * (2**0.5 + 1e-3)
    possible = torch.cat([possible, torch.ones_like(possible[:1])])  # the last for points outside of all cells
    counts = possible.sum(1)
    listed = possible.nonzero()[:, 1]
    first = counts.cumsum(0) - counts

    row, column = ((points - low[:, None]) / CELL).floor()
    inside = (row >= 0) & (row < down) & (column >= 0) & (column < across)
    cell_of = (row * across + column).where(inside, len(cells)).int()
    nearest = torch.zeros(points.shape[1], dtype=torch.int64, device=points.device)
    fewer, most = 0, int(counts.max())
    while fewer < most:  # cells of few places with others of few, so that no list is padded much
        size = min(max(8, 4 * fewer), most)
        lists = listed[first[:, None] + torch.arange(size, device=low.device).minimum(counts[:, None] - 1)]
        candidates = targets[lists]
        chosen = ((fewer < counts) & (counts <= size))[cell_of].nonzero()[:, 0]
        for band in chosen.split(max(1, BAND_DISTANCES // size)):
            cell = cell_of[band]
            away = (candidates[cell] - points[:, band].T[:, None]).square_().sum(2)
            nearest[band] = lists[cell].gather(1, away.argmin(1, keepdim=True))[:, 0]
        fewer = size
    return nearest


class PanopticPredictor(Predictor):
    """A predictor whose network finds objects as well: `panoptic` tells them apart behind the classes.

    Classes are those of a `Predictor`, whatever its views. Centres and offsets are always of one look at the whole
    image; where that is how classes are made, too, it is the same one.

    Args:
        network: Normalised image -> coarse logits.
        normalise: As of `Predictor`.
        all_maps: Normalised image -> coarse logits, centres and offsets, as of `Network.all_maps`.
        things: Train ids of the classes that have objects.
        ignore_index: Label for pixels of neither stuff nor objects.
        looking: As of `Predictor`.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        normalise: Callable[[Tensor], Tensor],
        *,
        all_maps: Callable[[Tensor], Tensor],
        things: Sequence[int],
        ignore_index: int,
        **looking: Any,
    ) -> None:
        super().__init__(network, normalise, **looking)
        self.things, self.ignore_index = tuple(things), ignore_index
        self._whole: Predictor | None = None
        if self.options.is_one_look:
            self.network = all_maps
        else:
            plain = {**looking, "options": EvaluationOptions()}
            self._whole = Predictor(all_maps, normalise, **plain)
        self.objects = self.options.object_options
        self.protocol = f"{self.protocol}, {self.objects}"
        self._classes = self._sureness = self._maps = torch.empty(0)

    def bands(self, image: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield what a `Predictor` does, and keep what `panoptic` needs of the image."""
        height, width = image.shape[-2:]
        self._maps = image.new_empty((len(image), 3, height, width), dtype=torch.float32)
        self._sureness = image.new_empty((len(image), height, width), dtype=torch.float32)
        self._classes = image.new_empty((len(image), height, width), dtype=torch.uint8)
        if self._whole is not None:
            for rows, values in self._whole.bands(image):
                self._maps[:, :, rows] = values[:, -3:]
        for rows, values in super().bands(image):
            scores = values
            if self._whole is None:
                scores, self._maps[:, :, rows] = values[:, :-3], values[:, -3:]
            self._classes[:, rows] = self.decide(scores)
            self._sureness[:, rows] = (scores.amax(1) - scores.logsumexp(1)).exp()
            yield rows, scores

    @torch.no_grad()
    def panoptic(self) -> list[Panoptic]:
        """Return stuff and objects of the images whose bands were yielded last."""
        things = torch.tensor(self.things, device=self._classes.device)
        kept = zip(self._classes, self._sureness, self._maps, strict=True)
        return [
            decode(classes, sureness, maps[0], maps[1:], things, self.ignore_index, self.objects)
            for classes, sureness, maps in kept
        ]
