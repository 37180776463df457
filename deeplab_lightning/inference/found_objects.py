"""Objects that were found in an image, one by one, as people and files want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from ..data.files.regions import Bitmap
from .drafts.outlines import outlines
from .panoptic import Panoptic


@dataclass(frozen=True)
class FoundObject:
    """One object.

    Attributes:
        number: In the image's map of objects, 1 or more.
        class_id: Of its class.
        class_name: Likewise.
        score: 0..1: how sure the network is of its centre, times how sure of its pixels' class.
        pixels: That it covers; they need not be connected.
    """

    number: int
    class_id: int
    class_name: str
    score: float
    pixels: Bitmap

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height, in pixels."""
        height, width = self.pixels.pixels.shape
        return self.pixels.left, self.pixels.top, width, height

    @cached_property
    def area(self) -> int:
        """In pixels."""
        return int(self.pixels.pixels.sum())

    @property
    def polygons(self) -> list[np.ndarray]:
        """The outlines of its connected parts without their holes, `(N, 2)` int64 of columns and rows, largest first.

        They run along the borders of pixels, as corners of pixels are counted.
        """
        regions = outlines(self.pixels.pixels.astype(np.uint8), 0, left_out=(0,))
        around = sorted((region.outer for region in regions), key=lambda ring: -ring.area)
        return [ring.corners + np.array([self.pixels.left, self.pixels.top]) for ring in around]


@dataclass(frozen=True)
class PanopticImage:
    """Stuff and objects of an image.

    Attributes:
        classes: `(H, W)` uint8; an object has one class, and what is neither stuff nor an object is ignored.
        numbers: `(H, W)` int32: 1..n on objects, 0 elsewhere.
        objects: By number, the surest centre first.
    """

    classes: np.ndarray
    numbers: np.ndarray
    objects: tuple[FoundObject, ...]


def panoptic_image(found: Panoptic, class_names: Sequence[str]) -> PanopticImage:
    """Return what was decoded, on the host, with a list of its objects."""
    numbers = found.numbers.cpu().numpy()
    classes, scores = found.object_classes.tolist(), found.scores.tolist()
    objects = [
        FoundObject(
            number,
            class_id,
            class_names[class_id],
            score,
            Bitmap(numbers[box] == number, box[1].start, box[0].start),
        )
        for number, (box, class_id, score) in enumerate(
            zip(ndimage.find_objects(numbers), classes, scores, strict=True), start=1
        )
    ]
    return PanopticImage(found.classes.cpu().numpy(), numbers, tuple(objects))
