"""ADE20K in the form of the scene parsing benchmark (SceneParse150): scenes of many sizes with 150 classes.

Zhou et al.: "Scene Parsing through ADE20K Dataset", CVPR 2017. Nothing is downloaded. Layout, below
`ADEChallengeData2016`:

    images/training/ADE_train_00000001.jpg      annotations/training/ADE_train_00000001.png
    images/validation/ADE_val_00000001.jpg      annotations/validation/ADE_val_00000001.png

Annotations hold 0 for all that is none of the 150 classes, and 1..150. The classes are learned as 0..149, and 0 becomes
255, ignored (`labels/ade20k.py`). Departure: TensorFlow's DeepLab keeps 151 outputs and ignores the first of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ...errors import DataError
from ...labels import ADE20K
from ...labels.ade20k import LABEL_MAP
from ..checks import check_pair
from ..finding import check_choice, files_by_stem, found_instead, locate
from ..images import read_image, read_mask
from ..masks import MaskDecoder
from .base import SegmentationDataset

Split = Literal["train", "val"]

FOLDERS: dict[Split, str] = {"train": "training", "val": "validation"}

SPLIT_SIZES: dict[Split, int] = {"train": 20210, "val": 2000}
"""Images per split of the whole data set."""

SOURCE = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)"


class ADE20KScenes(SegmentationDataset):
    """One split of ADE20K.

    Args:
        root: The folder that holds `images/` and `annotations/`.
        split: Which part to read.

    Raises:
        ConfigError: There is no such split.
        DataError: A folder is missing or laid out otherwise, or an image lacks its mask.
    """

    labels = ADE20K

    def __init__(self, root: str | Path, split: Split) -> None:
        check_choice(split, get_args(Split), "ADE20K has no split")
        root = Path(root).expanduser()
        folder = FOLDERS[split]
        names = sorted(files_by_stem(root / "images" / folder))
        if not names:
            raise DataError(
                f"ADE20K {split} was not found: {found_instead(root, f'images/{folder}')} Expected images/{folder}/ "
                f"and annotations/{folder}/. Get the data from {SOURCE}, and set data.root to the folder that holds "
                f"images/ (ADEChallengeData2016)."
            )
        what, remedy = f"ADE20K {split}", f"Unpack it again, from {SOURCE}."
        self._images = locate([f"images/{folder}/{name}" for name in names], root, what, remedy)
        self._masks = locate([f"annotations/{folder}/{name}" for name in names], root, what, remedy, (".png",))
        self._decoder = MaskDecoder(ADE20K, LABEL_MAP)

    def __len__(self) -> int:
        return len(self._images)

    def sample_id(self, index: int) -> str:
        """Return the image's name, such as `ADE_val_00000001`."""
        return self._images[index].stem

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file and its mask's."""
        return self._images[index], self._masks[index]

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`.

        Returns:
            The image `(H, W, 3)` uint8 RGB and the mask `(H, W)` uint8 of 0..149, and 255 for all else.

        Raises:
            DataError: A file is unreadable, the sizes differ, or a label is out of range.
        """
        image_path, mask_path = self._images[index], self._masks[index]
        image, mask = read_image(image_path), self._decoder(read_mask(mask_path), mask_path)
        check_pair(image, mask, image_path, mask_path)
        return image, mask
