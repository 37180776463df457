"""Images of an evaluation kept for reports, `images.zip`: each with its truth and its prediction.

Kept are the `WORST` images with the lowest IoU and `SPREAD` more, spread evenly over the split: the first are what a
reader wants to see, the second what the split looks like, and the same ones in every run. Longer sides are shrunk to
`MAX_SIDE`; masks keep their ids (nearest neighbour). With several processes, those of the first one are kept.

The archive holds `index.json` (class names, palette, and for each image its id, size and why it was kept) and for
each image a JPEG and two palette PNGs, of runs with objects two more with their outlines. It is one file, so that it is
there whole or not at all.
"""

from __future__ import annotations

import heapq
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError
from ..files import atomic_open
from ..labels import VOID_COLOUR
from .outlines import CLEAR, layer_colours, outline_layer
from .panels import scaled

WORST = 48
SPREAD = 48
MAX_SIDE = 448
JPEG_QUALITY = 80
LARGEST_SIDE = 2 * MAX_SIDE
"""Of a picture that is read: any other was not written here."""
VOID = 255
"""Id of void pixels in the PNGs."""
_OUTLINES = ("true_objects", "objects")


@dataclass(frozen=True, eq=False)
class KeptImage:
    """An image with its masks, at the size in which it is kept.

    Attributes:
        sample_id: Its name.
        size: `(height, width)` of the original.
        image: `(H, W, 3)` uint8 RGB.
        truth: `(H, W)` uint8 class ids, `VOID` where nothing counts.
        pred: `(H, W)` uint8 class ids.
        why: `worst` or `spread`.
        outlines: Of the truth's objects and of the predicted ones, `(H, W)` uint8 each, as `outline_layer` draws them;
            None where there are no objects.
    """

    sample_id: str
    size: tuple[int, int]
    image: np.ndarray
    truth: np.ndarray
    pred: np.ndarray
    why: str
    outlines: tuple[np.ndarray, ...] | None = None


class GalleryCollector:
    """Chooses images while they come by, in bounded memory.

    Args:
        num_classes: Ids from 0 to below this are classes; all others in the truth are void.
        worst: How many with the lowest score to keep.
        spread: How many others.
    """

    def __init__(self, num_classes: int, worst: int = WORST, spread: int = SPREAD) -> None:
        self.num_classes, self.worst, self.spread = num_classes, worst, spread
        self._heap: list[tuple[float, int, KeptImage]] = []  # the least bad first: (-score, number)
        self._spread: list[KeptImage] = []
        self._number = 0

    def wants(self, score: float, is_spread: bool) -> bool:
        """Whether an image would be kept, before it is copied from the device.

        Its score is in 0..1, NaN if nothing is labelled; with `is_spread` it is one of those spread over the split.
        """
        if is_spread:
            return True
        return not np.isnan(score) and (len(self._heap) < self.worst or -score > self._heap[0][0])

    def add(
        self,
        sample_id: str,
        image: np.ndarray,
        truth: np.ndarray,
        pred: np.ndarray,
        score: float,
        is_spread: bool,
        objects: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> None:
        """Keep an image, if it is among the worst so far or one of those spread over the split; see `wants`.

        The image is `(H, W, C)` or `(H, W)`, as stored, truth and prediction are `(H, W)` integer train ids. `objects`
        are classes and numbers (`(H, W)` each) of the truth, then of the prediction.
        """
        if not self.wants(score, is_spread) or len(self._spread) + is_spread > self.spread:
            return
        scale = min(1.0, MAX_SIDE / max(truth.shape))
        shown, small, small_pred = scaled(image, truth, pred, scale)
        small = np.where((small < 0) | (small >= self.num_classes), VOID, small).astype(np.uint8)
        height, width = truth.shape
        why = "spread" if is_spread else "worst"
        outlines = None
        if objects is not None:
            outlines = tuple(outline_layer(*scaled(image, *pair, scale)[1:]) for pair in objects)
        kept = KeptImage(sample_id, (height, width), shown, small, small_pred.astype(np.uint8), why, outlines)
        if is_spread:
            self._spread.append(kept)
            return
        self._number += 1  # images cannot be compared with one another
        entry = (-score, -self._number, kept)
        if len(self._heap) < self.worst:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def images(self) -> list[KeptImage]:
        """Return what is kept, by name."""
        return sorted([*self._spread, *(kept for _, _, kept in self._heap)], key=lambda kept: kept.sample_id)


def write_gallery(
    path: Path, images: Sequence[KeptImage], class_names: Sequence[str], palette: Sequence[Sequence[int]]
) -> None:
    """Write `images.zip`; the classes have `C` names and as many RGB colours, 0..255."""
    table = np.zeros((256, 3), np.uint8)
    table[VOID] = VOID_COLOUR
    table[: len(palette)] = palette
    colours = table.ravel().tolist()
    entries = [
        {"id": kept.sample_id, "height": kept.size[0], "width": kept.size[1], "why": kept.why}
        | ({} if kept.outlines is None else {"objects": True})
        for kept in images
    ]
    lines, drawn = layer_colours(table).ravel().tolist(), bytes(0 if index == CLEAR else 255 for index in range(256))
    index = {"class_names": list(class_names), "palette": [list(map(int, c)) for c in palette], "images": entries}
    with atomic_open(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("index.json", json.dumps(index, ensure_ascii=False, indent=1))
        for number, kept in enumerate(images):
            jpeg = io.BytesIO()
            Image.fromarray(kept.image).save(jpeg, "JPEG", quality=JPEG_QUALITY)
            archive.writestr(f"{number:04}.jpg", jpeg.getvalue())
            archive.writestr(f"{number:04}.truth.png", mask_png(kept.truth, colours))
            archive.writestr(f"{number:04}.pred.png", mask_png(kept.pred, colours))
            for which, layer in zip(_OUTLINES, kept.outlines or (), strict=False):
                archive.writestr(f"{number:04}.{which}.png", mask_png(layer, lines, drawn))


def mask_png(mask: np.ndarray, colours: Sequence[int], alpha: bytes | None = None) -> bytes:
    """Return a palette PNG of a mask `(H, W)` uint8.

    `colours` are red, green, blue of index 0, then of 1, ...; `alpha` is the opacity of each, opaque if not given.
    """
    indexed = Image.frombytes("P", (mask.shape[1], mask.shape[0]), np.ascontiguousarray(mask).tobytes())
    indexed.putpalette(colours)
    data = io.BytesIO()
    options = {} if alpha is None else {"transparency": alpha}
    indexed.save(data, "PNG", optimize=False, compress_level=6, **options)
    return data.getvalue()


@dataclass(frozen=True)
class StoredImage:
    """An image of the archive, as its files.

    Attributes:
        sample_id: Its name.
        size: `(height, width)` of the original.
        why: `worst` or `spread`.
        jpeg: The image.
        truth_png: Its truth.
        pred_png: The prediction.
        outline_pngs: Outlines of the truth's objects and of the predicted ones, clear elsewhere; none where there are
            no objects.
    """

    sample_id: str
    size: tuple[int, int]
    why: str
    jpeg: bytes = field(repr=False)
    truth_png: bytes = field(repr=False)
    pred_png: bytes = field(repr=False)
    outline_pngs: tuple[bytes, ...] = field(default=(), repr=False)

    def truth(self) -> np.ndarray:
        """`(H, W)` uint8 class ids, `VOID` where nothing counts."""
        return _small_mask(self.truth_png)

    def pred(self) -> np.ndarray:
        """`(H, W)` uint8 class ids."""
        return _small_mask(self.pred_png)


@dataclass(frozen=True)
class Gallery:
    """What `images.zip` holds.

    Attributes:
        class_names: `C` names.
        palette: `C` RGB colours, 0..255.
        images: By name.
    """

    class_names: tuple[str, ...]
    palette: tuple[tuple[int, ...], ...]
    images: dict[str, StoredImage]


def _check_image(image: StoredImage) -> None:
    """Refuse what is no picture of a report, before a page shows it; nothing is decoded."""
    sizes = set()
    pngs = (image.truth_png, image.pred_png, *image.outline_pngs)
    for data, kind in ((image.jpeg, "JPEG"), *((png, "PNG") for png in pngs)):
        with Image.open(io.BytesIO(data), formats=[kind]) as opened:
            sizes.add(opened.size)
            if max(opened.size) > LARGEST_SIDE or (kind == "PNG" and opened.mode not in ("P", "L")):
                raise ValueError(f"a picture in it is {opened.mode} of {opened.size[0]}x{opened.size[1]}")
    if len(sizes) != 1 or not isinstance(image.sample_id, str) or image.why not in ("worst", "spread"):
        raise ValueError("a picture in it is not like its masks")
    if not all(isinstance(side, int) and side > 0 for side in image.size):
        raise ValueError("a picture in it has no size")


def _small_mask(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))


def read_gallery(path: Path) -> Gallery:
    """Read `images.zip`.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
            if unpacked > path.stat().st_size:  # it holds pictures, which are compressed as they are
                raise ValueError(f"it would unpack to {unpacked:,} bytes, more than it has")
            index = json.loads(archive.read("index.json"))
            images = {
                entry["id"]: StoredImage(
                    entry["id"],
                    (entry["height"], entry["width"]),
                    entry["why"],
                    archive.read(f"{number:04}.jpg"),
                    archive.read(f"{number:04}.truth.png"),
                    archive.read(f"{number:04}.pred.png"),
                    tuple(archive.read(f"{number:04}.{which}.png") for which in _OUTLINES if entry.get("objects")),
                )
                for number, entry in enumerate(index["images"])
            }
            for image in images.values():
                _check_image(image)
            names, palette = index["class_names"], [tuple(map(int, colour)) for colour in index["palette"]]
            if not all(isinstance(name, str) for name in names) or any(len(colour) != 3 for colour in palette):
                raise ValueError("its classes have no names or no colours")
            return Gallery(tuple(names), tuple(palette), images)
    except Exception as error:  # of what is torn or made up, zipfile and json raise a dozen kinds
        raise DataError(f"{path} cannot be read ({error}): `validate` on the checkpoint writes it anew.") from error
