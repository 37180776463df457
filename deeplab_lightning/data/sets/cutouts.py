"""Cut-outs: images whose alpha channel is the mask, as remove.bg, Photoshop and matting data sets write them.

    NAME.png               RGBA or grey with alpha, PNG or WebP, in any folders; alpha 0 is background, 255 the object

Whether transparency is meant as a mask no file says, so this is tried last, where nothing else tells what is on the
images, and `doctor` asks. Half-transparent edges are divided in the middle. The colours are taken as they are stored,
below the transparent pixels too: composited, the background would be one colour. Where it is one colour in the file,
the picture is gone, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image

from ...errors import DataError
from ...labels import LabelSet
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..files.images import packed, read_stored
from ..files.limits import opened_image
from ..forms.own_images import OwnImagesDataModule
from ..pairing.finding import images_below
from ..pairing.layout import Recognised
from ..pairing.named_images import short_names
from ..pairing.splitting import names_of
from ..spacing import spread
from ..wording import first_few

SUFFIXES = (".png", ".webp")
"""Of four channels in TIFF the last is often near infrared."""
OBJECT = 128
"""Alpha from which a pixel is the object's."""
CLEAR, OPAQUE = 16, 239
"""Nearly transparent, up to there, and nearly opaque, from there on."""
ENDS = 0.9
"""Share of the pixels of a cut-out that are one or the other."""
LOOKED_AT = 12
MOST = 0.75
"""Share of the images looked at that must be cut-outs."""


class Cutouts(SegmentationDataset):
    """Images with an alpha channel that is their mask.

    Args:
        files: Name -> file.
        names: Which to read.
        labels: Background, and what is opaque.
    """

    def __init__(self, files: dict[str, Path], names: Sequence[str], labels: LabelSet) -> None:
        self.labels = labels
        self._files, self._names = files, list(names)

    def __len__(self) -> int:
        return len(self._names)

    def sample_id(self, index: int) -> str:
        """Return the image's name."""
        return self._names[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file, which holds the mask."""
        return (self._files[self._names[index]],)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index` as `(H, W, 3)` uint8 RGB, and its mask `(H, W)` uint8 of 0 and 1.

        Raises:
            DataError: The file cannot be read, or has no alpha channel of 8 bits.
        """
        colours, alpha = read_cutout(self._files[self._names[index]])
        return colours, (alpha >= OBJECT).astype(np.uint8)


class CutoutsDataModule(OwnImagesDataModule):
    """The user's own images, cut out: what is transparent is the background."""

    layout = "cut-outs (images whose alpha channel is the mask)"
    generality = 9
    reads_subfolders = True

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise images of which most are partly transparent and hardly anywhere half so."""
        files = images_below(root)
        with_alpha = [path for path in files if has_alpha(path)]
        looked_at = [with_alpha[place] for place in spread(len(with_alpha), LOOKED_AT)]
        held = [read for path in looked_at if (read := _cut_out(path)) is not None]
        if len(with_alpha) < MOST * len(files) or len(held) < max(2, MOST * len(looked_at)):
            return None
        found = Recognised(
            "cut-outs",
            {"root": str(root.resolve()), "class_names": ["background", "foreground"]},
            with_alpha,
            max(1, int(0.8 * len(with_alpha))),
            comments={"class_names": "a question: is what is transparent the background? Name the other"},
        )
        found.remarks.append(
            f"A question: is the alpha channel the mask? {len(held)} of {len(looked_at)} images looked at are partly "
            f"transparent, and nothing else here says what is on them. What is transparent is read as background. If "
            f"it means nothing, the images have to be annotated first."
        )
        empty = sum(len(np.unique(packed(colours[alpha <= CLEAR]))) <= 2 for colours, alpha in held)
        if empty > len(held) / 2:
            found.remarks.append(
                f"Below the transparent pixels of {empty} of these there is one colour: the picture around the objects "
                f"is gone. A network learns that colour, and fails on photos: paste the objects onto backgrounds, or "
                f"take the photos that they were cut from."
            )
        return found

    @cached_property
    def cutouts(self) -> dict[str, Path]:
        """Name -> file. Images without an alpha channel are left out, which is said.

        Raises:
            DataError: There is none.
        """
        found = images_below(self.root) if self.root.is_dir() else []
        files = [path for path in found if has_alpha(path)]
        if not files:
            raise DataError(f"{self.root} holds no PNG or WebP with an alpha channel, of {len(found)} images.")
        if others := [path.name for path in found if path not in {*files}]:
            rank_zero_warn(f"{self.root}: {len(others)} images have no alpha channel: left out, {first_few(others, 3)}")
        return {name: path for path, name in short_names(files).items()}

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images."""
        return self.divided(list(self.cutouts))

    def build_dataset(self, split: Split) -> Cutouts:
        """Open a split."""
        return Cutouts(self.cutouts, names_of(self.splits, split), self.labels)


def has_alpha(path: Path) -> bool:
    """Tell from a file's head whether it has an alpha channel."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        with opened_image(path) as image:
            return image.mode in ("RGBA", "LA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def read_cutout(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the colours `(H, W, 3)` and the alpha `(H, W)` of a file, both uint8, as they are stored.

    Raises:
        DataError: It cannot be read, or has no alpha channel of 8 bits.
    """
    stored = read_stored(path)
    if stored.shape[2] not in (2, 4) or stored.dtype != np.uint8:
        raise DataError(
            f"{path} has {stored.shape[2]} channels of {stored.dtype}, expected colours and alpha of 8 bits. Save it "
            f"as RGBA, or take it away."
        )
    colours = stored[..., :-1]
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3))), stored[..., -1]


def _cut_out(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what a file holds if it is a cut-out, and None if it is none, or cannot be read."""
    try:
        colours, alpha = read_cutout(path)
    except DataError:
        return None
    clear, opaque = (alpha <= CLEAR).mean(), (alpha >= OPAQUE).mean()
    return (colours, alpha) if clear > 0 and opaque > 0 and clear + opaque >= ENDS else None
