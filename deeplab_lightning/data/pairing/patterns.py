"""Which files of a folder are images, and which masks: patterns of paths, such as `{split}/{name}_sat`.

A pattern is a path below the root without ending. `{name}` stands for the name that an image shares with its mask; it
may hold slashes, and may occur several times: the name is then what all of them stand for, joined by slashes.
`{split}` stands for any spelling of a split, as a folder or within a name, `*` for anything but a slash, and `?` for
one letter, such as a brace. A pattern without `{name}` is a folder.

Letters count in any case. An ending that a pattern has is the only one that its files may have; an ending that stands
twice (`a.jpg.png`) is cut off as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import ConfigError, DataError
from ..wording import composed, first_few
from .finding import IMAGE_SUFFIXES, RASTER_SUFFIXES, ending_by_content, files_below, on_disk
from .spellings import SPELLINGS, split_called

NAME, SPLIT, ANY, ONE = "{name}", "{split}", "*", "?"
SUFFIXES = (*IMAGE_SUFFIXES, *RASTER_SUFFIXES)
"""Endings of images and of masks."""
COMMON_TAIL = 0.5
"""Share of all images that have a companion with the same tail, from which these are no images of their own."""
_ENDING_OF_SPLIT = "|".join(sorted(SPELLINGS, key=len, reverse=True))


@dataclass(frozen=True)
class Found:
    """A file that fits a pattern.

    Attributes:
        path: Where it is.
        name: What `{name}` stands for.
        split: What `{split}` stands for, as it is spelled; empty if the pattern has none.
    """

    path: Path
    name: str
    split: str = ""

    @property
    def full_name(self) -> str:
        """The name with its split before it."""
        return f"{self.split}/{self.name}" if self.split else self.name


def literal(text: str) -> str:
    """Return a piece of a name as a pattern has it: braces of its own would stand for something, and are any letter."""
    return text.replace("{", ONE).replace("}", ONE)


class Pattern:
    """A pattern of paths.

    Args:
        text: The pattern, or a folder.
        suffixes: Endings that files may have, where the pattern has none.

    Attributes:
        text: The pattern, always with `{name}`.
        fixed: How many of its letters stand for themselves: of two patterns that a file fits, the one with more.

    Raises:
        ConfigError: It leads out of the root, or has other words in braces.
    """

    def __init__(self, text: str, suffixes: Sequence[str] = SUFFIXES) -> None:
        text = composed(text.replace("\\", "/")).strip("/")
        parts = [part for part in text.split("/") if part not in ("", ".")]
        unknown = [word for word in re.findall(r"\{.*?\}|[{}]", text) if word not in (NAME, SPLIT)]
        if ".." in parts or unknown:
            wrong = f"{unknown[0]} stands for nothing" if unknown else "it leads out of the root"
            raise ConfigError(
                f"{text!r} is no pattern of files: {wrong}. Expected a folder below data.root, or a path with {NAME}, "
                f"and {SPLIT} where folders divide the images, such as {SPLIT}/{NAME}_mask."
            )
        if NAME not in text:
            parts.append(NAME)
        self.text = "/".join(parts)
        bare = _without_endings(parts[-1], suffixes)
        endings = parts[-1][len(bare) :].lower()
        self.suffixes = (endings,) if endings else tuple(suffixes)
        self._known = tuple(suffixes)
        self._parts = [*parts[:-1], bare]
        self._whole = _regex("/".join(self._parts))
        self.has_split = SPLIT in self.text
        self.fixed = len(self.text.replace(NAME, "").replace(SPLIT, "").replace(ANY, "").replace(ONE, ""))

    def __str__(self) -> str:
        return self.text

    def match(self, relative: str) -> tuple[str, str] | None:
        """Return split (as it is spelled) and name of a path below the root, with ending; None if it does not fit."""
        if not relative.lower().endswith(self.suffixes):
            return None
        fits = self._whole.fullmatch(_without_endings(relative, self._known))
        if fits is None:
            return None
        groups = fits.groupdict()
        splits = [value for key, value in groups.items() if key.startswith("s")]
        if len({split_called(split) for split in splits}) > 1:
            return None
        return splits[0] if splits else "", "/".join(value for key, value in groups.items() if key.startswith("n"))

    def of_split(self, relative: str) -> str:
        """Return the pattern with `{split}` as it is spelled in the path of a file that fits."""
        fits = self._whole.fullmatch(_without_endings(relative, self._known))
        assert fits is not None
        spelled = [value for key, value in fits.groupdict().items() if key.startswith("s")]
        pieces = self.text.split(SPLIT)
        return "".join(piece + split for piece, split in zip(pieces, [*spelled, ""], strict=True))

    def files(self, root: Path) -> list[Found]:
        """List the files below `root` that fit, sorted by path. Folders without any part in it are not searched."""
        places = [(root, "")]
        for part in self._parts[:-1]:
            if NAME in part:
                break
            places = [found for place in places for found in _folders(*place, part)]
        found = []
        for folder, start in places:
            for path in files_below(folder):
                hit = self.match(start + composed(path.relative_to(folder).as_posix()) + ending_by_content(path))
                if hit is not None:
                    found.append(Found(path, hit[1], hit[0]))
        return found


def _regex(pattern: str) -> re.Pattern[str]:
    written, count = "", 0
    for piece in re.split(r"(\{name\}|\{split\}|\*|\?)", pattern):
        if piece in (NAME, SPLIT):
            count += 1
            written += f"(?P<n{count}>.+)" if piece == NAME else f"(?P<s{count}>{_ENDING_OF_SPLIT})"
        else:
            written += {ANY: "[^/]*", ONE: "[^/]"}.get(piece, re.escape(piece))
    return re.compile(written, re.IGNORECASE | re.DOTALL)


def _folders(folder: Path, start: str, part: str) -> list[tuple[Path, str]]:
    """Return the folders in a folder that fit a part; the one that is spelled alike, if there is one."""
    exact = on_disk(folder / part)
    if exact.is_dir():
        return [(exact, f"{start}{part}/")]
    fits = _regex(part)
    if not folder.is_dir():
        return []
    held = [path for path in sorted(folder.iterdir()) if fits.fullmatch(composed(path.name)) and path.is_dir()]
    return [(path, f"{start}{composed(path.name)}/") for path in held]


def _without_endings(name: str, suffixes: Sequence[str]) -> str:
    """Cut off all known endings, but never the whole of a file's name."""
    while True:
        lower = name.lower()
        ending = next((one for one in suffixes if lower.endswith(one)), None)
        if ending is None or name[: -len(ending)].endswith("/") or len(name) == len(ending):
            return name
        name = name[: -len(ending)]


@dataclass
class Pairing:
    """What belongs together.

    Attributes:
        pairs: Name, its split before it -> the files of image and mask, in the order of the names.
        lonely_images: Names of images without a mask, likewise.
        lonely_masks: Names of masks without an image, likewise.
        companions: What stands behind or before images' or masks' names in files that are neither: `_instances`.
        without_masks: Split -> how many images it has, none of which has a mask.
        padded: Name of each image -> its mask's, where one has zeros before its numbers that the other has not.
    """

    pairs: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    lonely_images: list[str] = field(default_factory=list)
    lonely_masks: list[str] = field(default_factory=list)
    companions: dict[str, int] = field(default_factory=dict)
    without_masks: dict[str, int] = field(default_factory=dict)
    padded: dict[str, str] = field(default_factory=dict)


def pair_up(images: Pattern, masks: Pattern, image_files: Iterable[Found], mask_files: Iterable[Found]) -> Pairing:
    """Pair the files of two patterns by name: as it is spelled, in letters of any case, without zeros before numbers.

    A file that fits both is of the pattern that says more.

    Raises:
        DataError: The patterns fit the same files, or a name has several files.
    """
    image_files, mask_files = list(image_files), list(mask_files)
    shared = {found.path for found in image_files} & {found.path for found in mask_files}
    if shared and images.fixed == masks.fixed:
        raise DataError(
            f"data.images {images} and data.masks {masks} stand for the same files, such as {sorted(shared)[0]}. Say "
            f"what tells images from masks, such as {NAME} and {NAME}_mask, or their endings, {NAME}.jpg and "
            f"{NAME}.png."
        )
    if images.fixed < masks.fixed:
        image_files = [found for found in image_files if found.path not in shared]
    else:
        mask_files = [found for found in mask_files if found.path not in shared]
    with_split = images.has_split and masks.has_split
    by_image = _by_key(image_files, images, with_split)
    by_mask = _by_key(mask_files, masks, with_split)

    found = Pairing()
    partners = {key: key for key in by_image if key in by_mask}
    for fold in (str.casefold, unpadded):
        taken = set(partners.values())
        images_left = _once_folded([key for key in by_image if key not in partners], fold)
        masks_left = _once_folded([key for key in by_mask if key not in taken], fold)
        pairs = {key: masks_left[folded] for folded, key in images_left.items() if folded in masks_left}
        partners |= pairs
        if fold is unpadded:
            found.padded = {image[1]: mask[1] for image, mask in pairs.items()}
    for key, other in partners.items():
        image, mask = by_image[key], by_mask[other]
        name = image.full_name if image.split or not mask.split else f"{mask.split}/{image.name}"
        found.pairs[name] = image.path, mask.path
    found.pairs = dict(sorted(found.pairs.items()))
    used = set(partners.values())
    found.lonely_images = _without_companions(by_image, set(partners), found.companions)
    found.lonely_masks = _without_companions(by_mask, used, found.companions)
    _set_splits_aside(found)
    return found


def _by_key(files: Iterable[Found], pattern: Pattern, with_split: bool) -> dict[tuple[str, str], Found]:
    found: dict[tuple[str, str], Found] = {}
    for one in files:
        key = (split_called(one.split) or "") if with_split else "", one.name
        if key in found:
            first, second = found[key].path, one.path
            if first.suffix.lower() == second.suffix.lower():
                raise DataError(f"{first} and {second} have one name in {pattern}. Keep one of them.")
            raise DataError(
                f"{first} and {second.name} have one name. Keep one of them, or say which ending counts: "
                f"{pattern}{second.suffix}."
            )
        found[key] = one
    return found


def unpadded(name: str) -> str:
    """Return a name in small letters, without zeros before its numbers: `pic_1` of `Pic_001`."""
    return re.sub(r"0*(\d+)", r"\1", name.casefold())


def _once_folded(keys: Iterable[tuple[str, str]], fold: Callable[[str], str]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return those keys whose names no other shares once they are folded, by split and folded name."""
    folded: dict[tuple[str, str], tuple[str, str] | None] = {}
    for key in keys:
        small = key[0], fold(key[1])
        folded[small] = None if small in folded else key
    return {small: key for small, key in folded.items() if key is not None}


def _without_companions(
    files: dict[tuple[str, str], Found], used: set[tuple[str, str]], companions: dict[str, int]
) -> list[str]:
    """Return the full names of what is lonely, without what most of the paired files have beside them."""
    lonely = [key for key in files if key not in used]
    affixes: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key in lonely:
        split, name = key
        for place in range(1, len(name)):
            if not name[place].isalnum() and (split, name[:place]) in used:
                affixes.setdefault(("", name[place:]), []).append(key)
            if not name[place - 1].isalnum() and name[place - 1] != "/" and (split, name[place:]) in used:
                affixes.setdefault((name[:place], ""), []).append(key)
    aside: set[tuple[str, str]] = set()
    for (head, tail), keys in affixes.items():
        if len(keys) > 1 and len(keys) >= COMMON_TAIL * len(used):
            aside.update(keys)
            companions[f"{head}NAME{tail}"] = len(keys)
    return sorted(files[key].full_name for key in lonely if key not in aside)


def _set_splits_aside(found: Pairing) -> None:
    """Take splits in which nothing has a mask out of what is lonely, where others have: they wait for `predict`."""
    with_masks = {name.partition("/")[0] for name in found.pairs if "/" in name}
    if not any(split_called(folder) for folder in with_masks):
        return
    lonely = []
    for name in found.lonely_images:
        folder = name.partition("/")[0]
        if "/" in name and split_called(folder) and folder not in with_masks:
            found.without_masks[folder] = found.without_masks.get(folder, 0) + 1
        else:
            lonely.append(name)
    found.lonely_images = lonely


def what_is_padded(found: Pairing) -> list[str]:
    """Say which names were taken for one though zeros before their numbers differ."""
    if not found.padded:
        return []
    shown = first_few([f"{image} and {mask}" for image, mask in found.padded.items()], 2)
    return [f"{len(found.padded)} images and masks are paired by number, whatever zeros stand before it: {shown}."]


def what_is_left_out(found: Pairing) -> list[str]:
    """Say which files a pairing leaves aside on purpose, in a sentence for each reason."""
    said = [
        f"{split}/ has {count} images and no mask: it is left out (predict can segment them)"
        for split, count in found.without_masks.items()
    ]
    if found.companions:
        beside = first_few([f"{count} x {tail}" for tail, count in found.companions.items()])
        said.append(f"files beside images or masks are left out: {beside}")
    return said
