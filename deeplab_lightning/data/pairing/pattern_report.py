"""What a folder's patterns come to: options of the data set `Folder`, and what the user must know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ..wording import composed, first_few
from .finding import files_below
from .groups import patient_of
from .layout import Recognised
from .pattern_search import SCORES, Layout, names_split, splits_of, words_of
from .patterns import NAME, SPLIT, SUFFIXES, Pattern, what_is_left_out, what_is_padded
from .spellings import SPELLINGS, split_called
from .splitting import split_lists


def recognised(root: Path, layouts: Sequence[Layout]) -> Recognised:
    """Say how a folder is read by the first of its layouts, and what of the others is left out.

    Args:
        root: The folder.
        layouts: What `search` found there; one at least.
    """
    best, *others = layouts
    base, inner = _innermost(root, best)

    def option(text: str) -> str:
        """Return a pattern as an option; a folder is enough where it is one."""
        text = text.removeprefix(inner)
        folder = text.removesuffix(f"/{NAME}")
        return text if NAME in folder else folder

    images, masks = option(best.images), option(best.masks)
    pairs = best.pairing.pairs
    divided = split_lists(base)
    splits = Counter() if divided else splits_of(best.pairing)
    found = Recognised(
        f"{images} and {masks}" if NAME in images + masks else f"{images}/ and {masks}/",
        {"root": str(base.resolve()), "images": images, "masks": masks},
        [image for image, _ in pairs.values()],
        splits["train"] or max(1, int(0.8 * len(pairs))),
        [mask for _, mask in pairs.values()],
        sources=frozenset(mask.resolve() for _, mask in pairs.values()),
    )
    found.remarks += _doubts(best, others, option)
    found.remarks += _on_splits(base, best, splits, bool(divided))
    for other in others:
        if not other.image_files & best.image_files:
            found.remarks.append(
                f"Left out: a second data set of {len(other.pairing.pairs)} images. To read it instead: images: "
                f"'{option(other.images)}', masks: '{option(other.masks)}'"
            )
    found.remarks += what_is_padded(best.pairing)
    found.remarks += [f"Left out: {said}." for said in what_is_left_out(best.pairing)]
    found.remarks += _rest(base, inner, layouts)
    return found


TRIED = 2
"""Levels of folders within a folder that `doctor` looks at by themselves."""


def is_of_subfolders(root: Path, layout: Layout) -> bool:
    """Tell whether a layout is that of one folder within, or of several data sets with lists of their own."""
    if split_lists(root):
        return False
    parts = 0
    for image, mask in zip(layout.images.split("/")[:-1], layout.masks.split("/")[:-1], strict=False):
        if image != mask or NAME in image or names_split(image):
            break
        parts += 1
    own_lists = [folder for folder in _folders_above(layout) if split_lists(root / folder)]
    return 1 <= parts <= TRIED or (parts == 0 and bool(own_lists))


def _innermost(root: Path, best: Layout) -> tuple[Path, str]:
    """Return the folder within the root that holds all there is, and its path below the root, with a slash behind."""
    base, inner = root, ""
    while True:
        first, _, rest = best.images.removeprefix(inner).partition("/")
        other = best.masks.removeprefix(inner).partition("/")[0]
        held = [path.name for path in base.iterdir() if not path.name.startswith(".")]
        if not rest or first != other or held != [first] or not (base / first).is_dir():
            return base, inner
        base, inner = base / first, f"{inner}{first}/"


def _doubts(best: Layout, others: Sequence[Layout], option: Callable[[str], str]) -> list[str]:
    """Say what else could be the masks, and where only pixels say which files are masks."""
    said = []
    if best.by_pixels:
        said.append(
            f"No name says which files are masks. '{option(best.masks)}' hold few values, '{option(best.images)}' do "
            f"not: look whether the sheet shows them right."
        )
    for other in others:
        shared = len(other.image_files & best.image_files)
        if shared:
            how = "" if option(other.images) == option(best.images) else f"images: '{option(other.images)}', "
            asked = "Which are the masks? " if other.stated >= SCORES["mask"] or best.by_pixels else ""
            said.append(
                f"{asked}'{option(best.masks)}' was taken; '{option(other.masks)}' are masks of {shared} of these "
                f"images, too. To take those: {how}masks: '{option(other.masks)}'"
            )
    return said


def _on_splits(base: Path, best: Layout, splits: Counter[str], listed: bool) -> list[str]:
    """Say what the folders mean for the division into splits, and what chance does to them."""
    folders = _folders_above(best)
    said = []
    if folders:
        alone = next(
            (f" If they are several, read one alone: doctor {base / one}" for one in folders if (base / one).is_dir()),
            "",
        )
        said.append(
            f"Images of {len(folders)} folders are taken for one data set: {first_few(folders)}. What a folder is "
            f"called is not read as a class.{alone}"
        )
    if listed:
        return said
    if unread := _other_lists(base):
        said.append(
            f"Not read: {first_few(unread)}. If that says how the images are divided, write train.txt and val.txt, an "
            f"image a line."
        )
    if splits:
        if "val" not in splits:
            said.append("There is no folder for validation: a part of train (val_fraction) is taken for it by chance.")
        return said
    named = {split_called(word) for part in best.images.split("/")[:-1] for word in words_of(part)}
    if named & {"val", "test"}:
        said.append("Only this split has masks: training and validation are taken from it by chance.")
    told = Counter(split_called(words_of(name.rpartition("/")[2])[0]) for name in best.pairing.pairs if words_of(name))
    if told["train"] and told["val"]:
        said.append(
            f"Names begin with a split's ({told['train']} train, {told['val']} val, {told['test']} test), which is not "
            f"read: chance divides all of them. Write lists train.txt and val.txt, or put each split into a folder."
        )
    inner = {name.rpartition("/")[0] for name in best.pairing.pairs if patient_of(name) == name}
    if 1 < len(inner) < len(best.pairing.pairs):
        said.append(
            f"Chance divides the images of each of {len(inner)} folders ({first_few(sorted(inner), 3)}) among training "
            f"and validation. Where these are videos, patients or places, write lists train.txt and val.txt: a line "
            f"may be a folder."
        )
    return said


def _other_lists(base: Path) -> list[str]:
    """Return the tables and lists in a folder whose names speak of splits."""
    words = {path.name: {*words_of(path.stem)} for path in sorted(base.iterdir()) if path.suffix.lower() in _LISTS}
    return [name for name, held in words.items() if held & {"split", "splits", "fold", "folds", *SPELLINGS}]


_LISTS = (".csv", ".tsv", ".json", ".txt", ".lst", ".yaml", ".yml")


def _folders_above(best: Layout) -> list[str]:
    """Return the folders that hold images and masks each, where they are told apart by a folder within."""
    head = best.images.partition(NAME)[0]
    is_above = best.images.count(NAME) > 1 and best.masks.startswith(head + NAME) and (not head or head.endswith("/"))
    if not is_above or SPLIT in head:
        return []
    return sorted({name.partition("/")[0] for name in best.pairing.pairs})


def _rest(base: Path, inner: str, layouts: Sequence[Layout]) -> list[str]:
    """Say which files no layout reads, by their folder; those that are left out on purpose are said elsewhere."""
    known = {path for layout in layouts for files in layout.pairing.pairs.values() for path in files}
    images, aside = Pattern(layouts[0].images), layouts[0].pairing.without_masks
    folders: Counter[str] = Counter()
    for path in files_below(base):
        if path.name.lower().endswith(SUFFIXES) and path not in known:
            fits = images.match(inner + composed(path.relative_to(base).as_posix()))
            if fits is None or (fits[0] or fits[1].partition("/")[0]) not in aside:
                folders[f"{path.parent.relative_to(base).as_posix()}/"] += 1
    if not folders:
        return []
    where = first_few([f"{count} in {folder}" for folder, count in folders.most_common()])
    return [f"Read by nothing: {folders.total()} image files: {where}."]
