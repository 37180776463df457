"""ADE20K in the form of the scene parsing benchmark (SceneParse150): scenes of many sizes with 150 classes.

Zhou et al.: "Scene Parsing through ADE20K Dataset", CVPR 2017. Nothing is downloaded. Layout, below
`ADEChallengeData2016`:

    images/training/ADE_train_00000001.jpg      annotations/training/ADE_train_00000001.png
    images/validation/ADE_val_00000001.jpg      annotations/validation/ADE_val_00000001.png

Annotations hold 0 for all that is none of the 150 classes, and 1..150. The classes are learned as 0..149, and 0 becomes
255, ignored. Departure: TensorFlow's DeepLab keeps 151 outputs and ignores the first of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ...errors import ConfigError, DataError
from ...labels import LabelSet
from .. import datamodule
from ..checks import check_choice
from ..classes.mask_samples import hold_only
from ..classes.masks import MaskDecoder
from ..classes.stated_classes import states_others
from ..datamodule import DataOptions, SegmentationDataModule
from ..files.images import read_mask
from ..forms.paired_files import PairedFiles
from ..pairing.finding import files_by_stem, locate
from ..pairing.layout import Recognised
from ..wording import found_instead

# fmt: off
ADE20K = LabelSet(
    class_names=(
        "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
        "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
        "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
        "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
        "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand",
        "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge",
        "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove",
        "palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus",
        "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television", "airplane",
        "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster",
        "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool",
        "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step",
        "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket",
        "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen",
        "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
    ),
    palette=(
        (120, 120, 120), (180, 120, 120), (6, 230, 230), (80, 50, 50), (4, 200, 3), (120, 120, 80), (140, 140, 140),
        (204, 5, 255), (230, 230, 230), (4, 250, 7), (224, 5, 255), (235, 255, 7), (150, 5, 61), (120, 120, 70),
        (8, 255, 51), (255, 6, 82), (143, 255, 140), (204, 255, 4), (255, 51, 7), (204, 70, 3), (0, 102, 200),
        (61, 230, 250), (255, 6, 51), (11, 102, 255), (255, 7, 71), (255, 9, 224), (9, 7, 230), (220, 220, 220),
        (255, 9, 92), (112, 9, 255), (8, 255, 214), (7, 255, 224), (255, 184, 6), (10, 255, 71), (255, 41, 10),
        (7, 255, 255), (224, 255, 8), (102, 8, 255), (255, 61, 6), (255, 194, 7), (255, 122, 8), (0, 255, 20),
        (255, 8, 41), (255, 5, 153), (6, 51, 255), (235, 12, 255), (160, 150, 20), (0, 163, 255), (140, 140, 140),
        (250, 10, 15), (20, 255, 0), (31, 255, 0), (255, 31, 0), (255, 224, 0), (153, 255, 0), (0, 0, 255),
        (255, 71, 0), (0, 235, 255), (0, 173, 255), (31, 0, 255), (11, 200, 200), (255, 82, 0), (0, 255, 245),
        (0, 61, 255), (0, 255, 112), (0, 255, 133), (255, 0, 0), (255, 163, 0), (255, 102, 0), (194, 255, 0),
        (0, 143, 255), (51, 255, 0), (0, 82, 255), (0, 255, 41), (0, 255, 173), (10, 0, 255), (173, 255, 0),
        (0, 255, 153), (255, 92, 0), (255, 0, 255), (255, 0, 245), (255, 0, 102), (255, 173, 0), (255, 0, 20),
        (255, 184, 184), (0, 31, 255), (0, 255, 61), (0, 71, 255), (255, 0, 204), (0, 255, 194), (0, 255, 82),
        (0, 10, 255), (0, 112, 255), (51, 0, 255), (0, 194, 255), (0, 122, 255), (0, 255, 163), (255, 153, 0),
        (0, 255, 10), (255, 112, 0), (143, 255, 0), (82, 0, 255), (163, 255, 0), (255, 235, 0), (8, 184, 170),
        (133, 0, 255), (0, 255, 92), (184, 0, 255), (255, 0, 31), (0, 184, 255), (0, 214, 255), (255, 0, 112),
        (92, 255, 0), (0, 224, 255), (112, 224, 255), (70, 184, 160), (163, 0, 255), (153, 0, 255), (71, 255, 0),
        (255, 0, 163), (255, 204, 0), (255, 0, 143), (0, 255, 235), (133, 255, 0), (255, 0, 235), (245, 0, 255),
        (255, 0, 122), (255, 245, 0), (10, 190, 212), (214, 255, 0), (0, 204, 255), (20, 0, 255), (255, 255, 0),
        (0, 153, 255), (0, 41, 255), (0, 255, 204), (41, 0, 255), (41, 255, 0), (173, 0, 255), (0, 245, 255),
        (71, 0, 255), (122, 0, 255), (0, 255, 184), (0, 92, 255), (184, 255, 0), (0, 133, 255), (255, 214, 0),
        (25, 194, 194), (102, 255, 0), (92, 0, 255),
    ),
    ignore_index=255,
)
# fmt: on
"""Names are the first of each line in the benchmark's own objectInfo150.txt (repository CSAILVision/sceneparsing),
colours those that the field draws its results in. Two classes share a colour there (road and skyscraper)."""

LABEL_MAP = {0: ADE20K.ignore_index, **{label: label - 1 for label in range(1, 151)}, 255: ADE20K.ignore_index}
"""Value in the annotations -> train id: 0, none of the classes, is ignored, as is 255."""

_DECODER = MaskDecoder(ADE20K, LABEL_MAP)

Split = Literal["train", "val"]

FOLDERS: dict[Split, str] = {"train": "training", "val": "validation"}

_NAME = re.compile(r"ADE_train_\d{8}")

SOURCE = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)"


class ADE20KScenes(PairedFiles):
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
        super().__init__(
            names,
            locate([f"images/{folder}/{name}" for name in names], root, what, remedy),
            locate([f"annotations/{folder}/{name}" for name in names], root, what, remedy, (".png",)),
        )

    def read_labels(self, path: Path) -> np.ndarray:
        """Read a mask as 0..149, and 255 for all else."""
        return _DECODER(read_mask(path), path)


@dataclass(frozen=True)
class ADE20KOptions(DataOptions):
    """ADE20K's own options."""

    root: str = "data/ADEChallengeData2016"
    """Folder that holds images/ and annotations/."""


class ADE20KDataModule(SegmentationDataModule):
    """ADE20K scenes: 150 classes, images of many sizes, 20,210 for training and 2,000 for validation."""

    Options = ADE20KOptions
    options: ADE20KOptions
    labels = ADE20K
    layout = "ADE20K (images/training/, annotations/training/)"
    known_by_number = True

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise the scene parsing benchmark, not other classes in its folders: by its images' names and values."""
        images, masks = (files_by_stem(root / kind / "training") for kind in ("images", "annotations"))
        if not images or not masks or not all(map(_NAME.fullmatch, [*images, *masks])):
            return None
        if states_others(root, ADE20K.class_names) or not hold_only(list(masks.values()), LABEL_MAP):
            return None
        return Recognised("ADE20K", {"root": str(root.resolve())}, list(images.values()), len(images))

    def build_dataset(self, split: datamodule.Split) -> ADE20KScenes:
        """Open a split."""
        if split == "test":
            raise ConfigError(
                "The truth of ADE20K's test images is not public: score val with `validate`, or segment the images "
                "with `predict`."
            )
        return ADE20KScenes(self.options.root, split)
