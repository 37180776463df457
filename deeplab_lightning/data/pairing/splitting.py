"""Which images of a user's own folder are for training and which for scoring: by lists, by folders, or by a fraction.

Names are those of images below some folder, with slashes and without endings: `pic1`, `train/pic1`, `day 2/pic1`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath

from ...errors import ConfigError, DataError, did_you_mean
from ...files import read_text
from ..checks import check_unique
from ..wording import composed, first_few
from .finding import IMAGE_SUFFIXES
from .groups import kept_together
from .spellings import SPELLINGS, SPLITS, split_called

LIST_FOLDERS = ("ImageSets/Segmentation", "ImageSets", "splits", "lists")
"""Where lists are, if not in the root; otherwise in another folder of `ImageSets/`."""


def split_folders(root: Path) -> list[str]:
    """Return the names of the folders in `root` that hold splits, training first."""
    held = [path.name for path in root.iterdir() if path.is_dir() and split_called(path.name)] if root.is_dir() else []
    return sorted(held, key=lambda name: (SPLITS.index(SPELLINGS[name.casefold()]), name))


def split_lists(root: Path) -> dict[str, Path]:
    """Return the lists that `root` holds, or its folder of lists (`LIST_FOLDERS`, `ImageSets/...`), by split.

    Raises:
        DataError: Two lists are of one split, or two folders hold lists.
    """
    for places in ([root], *([root / name] for name in LIST_FOLDERS), sorted(root.glob("ImageSets/*/"))):
        found = {place: lists for place in places if (lists := _lists_in(place))}
        if len(found) > 1:
            held = " and ".join(str(place.relative_to(root)) for place in found)
            raise DataError(f"{root} holds lists of splits in {held}. Copy those that count to {root}.")
        if found:
            return next(iter(found.values()))
    return {}


def _lists_in(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.txt")):
        split = split_called(path.stem)
        if split is not None and split in found:
            raise DataError(f"{folder} holds both {found[split].name} and {path.name}: keep one list of {split}.")
        if split is not None:
            found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def split_names(
    root: Path,
    names: Sequence[str],
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Divide images by what the user has laid down, or by chance where he has laid down nothing.

    1. Lists `train.txt` and `val.txt` (and `test.txt`, if there is one) in `root`: what none of them names is left out.
    2. Otherwise folders `train/` and `val/` (and `test/`), if all names begin with one of them.
    3. Otherwise `fraction_split`.

    Chance keeps together what `groups` says, or else names (`kept_together`), as far as there are groups enough.

    Lists and folders may also be called as `SPELLINGS` has it. Where they lay down `train` and `test` alone, `val` is
    taken from `train` by chance: what a test holds is never looked at before.

    Args:
        root: Where the lists are looked for.
        names: All images, as in the module's first lines; each once.
        val_fraction: Share of images for validation, 0..1, where neither lists nor folders decide.
        test_fraction: Share of images for the test, likewise.
        seed: Of chance.
        groups: Name -> its group, such as the patient.

    Returns:
        Split -> its names, `train` and `val` always, `test` only if there is one.

    Raises:
        ConfigError: The fractions cannot be used.
        DataError: There are lists or folders, but not for both `train` and `val`, a list cannot be used (see
            `listed_split`), a name is in two splits, some names lie outside the folders, or there are too few of them.
    """
    lists = split_lists(root)
    if lists:
        _check_both(lists, f"{root} holds", ".txt")
        splits = {split: listed_split(path, names) for split, path in lists.items()}
        _check_disjoint(splits, root)
        return _with_val(splits, val_fraction, seed, groups)
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(name.partition("/")[0] if "/" in name else "", []).append(name)
    folders: dict[str, str] = {}
    for folder in by_folder:
        split = split_called(folder)
        if split is not None and split in folders:
            raise DataError(f"{root} holds both {folders[split]}/ and {folder}/: keep one folder of {split}.")
        if split is not None:
            folders[split] = folder
    found = [split for split in SPLITS if split in folders]
    if found:
        _check_both(found, f"Images of {root} lie in", "/")
        outside = [name for folder, inside in by_folder.items() if folder not in folders.values() for name in inside]
        if outside:
            raise DataError(
                f"{len(outside)} of {len(names)} images of {root} lie in none of its folders {'/, '.join(found)}/: "
                f"{first_few(outside)}. Move them into one of these, or write lists train.txt and val.txt."
            )
        return _with_val({split: by_folder[folders[split]] for split in found}, val_fraction, seed, groups)
    fractions = {"val": val_fraction} | ({"test": test_fraction} if test_fraction else {})
    return fraction_split(names, fractions, seed, groups)


def _with_val(
    splits: dict[str, list[str]], fraction: float, seed: int, groups: Mapping[str, str] | None
) -> dict[str, list[str]]:
    """Take `val` from `train`, if there is none."""
    if "val" in splits:
        return splits
    return {**fraction_split(splits["train"], {"val": fraction}, seed, groups), "test": splits["test"]}


def split_groups(
    root: Path,
    groups: Mapping[str, str],
    stated: Mapping[str, str | None],
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Divide images by what the user has laid down, or by chance, all images of a group into one split.

    Args:
        root: Where lists are looked for.
        groups: Name -> its group, such as the patient.
        stated: Name -> the split that its folder says, or None.
        val_fraction: Share of the images for validation, where neither lists nor folders decide.
        test_fraction: Share of them for the test, likewise.
        seed: Of chance.

    Returns:
        Split -> its names, `train` and `val` always.

    Raises:
        ConfigError: The fractions cannot be used.
        DataError: A list cannot be used, or there are fewer groups than splits.
    """
    if split_lists(root):
        return split_names(root, list(groups), val_fraction, test_fraction, seed, groups)
    by_folder: dict[str, list[str]] = {}
    for name in groups:
        by_folder.setdefault(stated[name] or "train", []).append(name)
    if "train" in by_folder and "val" in by_folder:
        return by_folder
    fractions = {"val": val_fraction} | ({"test": test_fraction} if test_fraction and "test" not in by_folder else {})
    known = [name for split, names in by_folder.items() if split != "test" for name in names]
    if len({groups[name] for name in known}) <= len(fractions):
        raise DataError(
            f"The {len(known)} annotated images of {root} are of too few patients or scans to divide them into train, "
            f"{', '.join(fractions)}: each needs one at least. Annotate more of them."
        )
    splits = fraction_split(known, fractions, seed, groups)
    return splits | ({"test": by_folder["test"]} if "test" in by_folder else {})


def fraction_split(
    names: Sequence[str], fractions: Mapping[str, float], seed: int = 0, groups: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Divide names by chance, so that few move to another split when names are added or taken away.

    Groups are put into the order of a hash of seed and group; each split takes from the front what its share has room
    for. The same names and seed give the same splits on every machine, whatever the order of `names`.

    Args:
        names: Each once.
        fractions: Split -> share of all names, 0 < share < 1; rounded, but one group at least. `train` gets the rest.
        seed: Another one gives other splits.
        groups: Name -> its group, all of which comes into one split; as names tell (`kept_together`) if not given. Too
            few groups are not kept together.

    Returns:
        Split -> its names, sorted; `train` comes first.

    Raises:
        ConfigError: A share is not between 0 and 1, or they leave nothing for training.
        DataError: There are fewer names than splits.
    """
    if any(not 0 < share < 1 for share in fractions.values()) or sum(fractions.values()) >= 1:
        given = ", ".join(f"{split}_fraction {share:g}" for split, share in fractions.items())
        raise ConfigError(f"{given}: set each between 0 and 1, so that together they leave something for train.")
    counts = {split: max(1, round(share * len(names))) for split, share in fractions.items()}
    if sum(counts.values()) >= len(names):
        raise DataError(
            f"{len(names)} annotated images cannot be divided into train, {', '.join(fractions)}: each needs one at "
            f"least. Annotate more of them."
        )
    members = _members(names, groups, len(fractions) + 1)
    left = _by_chance(members, seed)
    splits: dict[str, list[str]] = {"train": []}
    for split, count in counts.items():
        chosen: list[str] = []
        for group in left:
            if sum(len(members[one]) for one in chosen) + len(members[group]) <= count:
                chosen.append(group)
        chosen = chosen or [min(left, key=lambda group: len(members[group]))]
        left = [group for group in left if group not in chosen]
        splits[split] = sorted(name for group in chosen for name in members[group])
    splits["train"] = sorted(name for group in left for name in members[group])
    return splits


def _members(names: Iterable[str], groups: Mapping[str, str] | None, fewest: int) -> dict[str, list[str]]:
    """Return group -> its names; each name by itself where there are fewer groups than are needed."""
    names = list(names)
    known = kept_together(names) if groups is None else groups
    if len({known[name] for name in names}) < fewest:
        return {name: [name] for name in names}
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(known[name], []).append(name)
    return members


def fold_split(
    splits: Mapping[str, list[str]], folds: int, fold: int, seed: int = 0, groups: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Divide `train` and `val` anew: every image is in `val` of exactly one of `folds` divisions; `test` stays.

    Args:
        splits: As they were.
        folds: How many divisions there are.
        fold: Which of them, from 0.
        seed: Of chance.
        groups: Name -> its group, such as the patient, whose images stay together; as names tell if not given, where
            they tell of groups enough.

    Raises:
        DataError: There are fewer images, or groups, than folds.
    """
    members = _members([*splits["train"], *splits["val"]], groups, 1 if groups else folds)
    if len(members) < folds:
        what = "groups of images, such as patients," if groups else "images"
        raise DataError(f"{len(members)} {what} cannot be divided into {folds} folds: set --data.folds {len(members)}.")
    chosen = _by_chance(members, seed)[fold::folds]
    val = {name for group in chosen for name in members[group]}
    train = [name for names in members.values() for name in names if name not in val]
    return {**splits, "train": sorted(train), "val": sorted(val)}


def _by_chance(names: Iterable[str], seed: int) -> list[str]:
    """Put names into an order that depends on each name and the seed alone."""
    return sorted(names, key=lambda name: hashlib.blake2b(f"{seed}/{name}".encode()).digest())


def listed_split(list_file: Path, names: Sequence[str]) -> list[str]:
    """Read which of `names` a list holds, one a line, with or without ending and folders.

    `images/pic1.jpg`, `pic1.jpg` and `pic1` all name `pic1`; `pic1` and `day2/pic1.jpg` also name `day2/pic1`, as long
    as only one name ends so. Spaces belong to names, backslashes are read as slashes, empty lines are left out.
    A line may also name image and mask (`pic1.jpg pic1_mask.png`), or a folder, for all images in it. The list is in
    UTF-8, and its order is kept.

    Raises:
        DataError: The list cannot be read, is empty, or has a line that fits no name, several names, or the name of
            another line.
    """
    try:
        text = composed(read_text(list_file))
    except OSError as error:
        raise DataError(f"Cannot read the list {list_file}: {error.strerror}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{list_file} is empty. Write one image a line, or remove the file.")
    by_last: dict[str, list[str]] = {}
    for name in names:
        by_last.setdefault(name.rpartition("/")[2], []).append(name)

    chosen, unknown = [], []
    for line in lines:
        matches = _matches(line, by_last) or _matches(_first_of_two(line), by_last)
        if len(matches) > 1:
            raise DataError(
                f"{list_file}: {line!r} may be {first_few(matches)}. Write the folder too, as in {matches[0]!r}."
            )
        matches = matches or [name for name in names if f"/{line.strip('/')}/" in f"/{name}"]  # all of a folder
        chosen += matches
        unknown += [] if matches else [line]
    if unknown:
        near = did_you_mean(_without_ending(unknown[0]), names)
        raise DataError(
            f"{list_file}: {len(unknown)} of {len(lines)} lines name no annotated image: {first_few(unknown)}.{near} "
            f"Take them out of the list, or add the files."
        )
    check_unique(chosen, f"List {list_file.stem}", list_file)
    return chosen


def _first_of_two(line: str) -> str:
    """Return the image of a line that names image and mask, `a.jpg b.png`."""
    ends = re.search(rf"({'|'.join(map(re.escape, IMAGE_SUFFIXES))})[\s,;]", line, re.IGNORECASE)
    return line[: ends.end(1)] if ends else line


def _matches(line: str, by_last: Mapping[str, list[str]]) -> list[str]:
    """Return the names that a line fits: the one that it spells out, else those of which one ends in the other."""
    written = line.replace("\\", "/")
    spellings = {str(PurePosixPath(written)), _without_ending(written)}  # names may have dots of their own
    candidates = [name for spelling in spellings for name in by_last.get(spelling.rpartition("/")[2], [])]
    exact = [name for name in candidates if name in spellings]
    return exact or sorted({name for name in candidates if any(_one_ends_in_other(name, one) for one in spellings)})


def _without_ending(line: str) -> str:
    path = PurePosixPath(line.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in (*IMAGE_SUFFIXES, ".json") else path)


def _one_ends_in_other(name: str, spelling: str) -> bool:
    parts, others = name.split("/"), spelling.strip("/").split("/")
    shared = min(len(parts), len(others))
    return parts[-shared:] == others[-shared:]


def _check_both(found: Iterable[str], what: str, mark: str) -> None:
    """Refuse some splits that are laid down without both `train` and `val`, or `train` and `test`."""
    if {"train", "test"} <= {*found}:
        return
    missing = " and ".join(f"{split}{mark}" for split in ("train", "val") if split not in found)
    if missing:
        present = " and ".join(f"{split}{mark}" for split in found)
        raise DataError(
            f"{what} {present} but not {missing}: train and val are both needed. Add {missing}, or take away {present} "
            f"and let chance divide the images."
        )


def _check_disjoint(splits: Mapping[str, list[str]], root: Path) -> None:
    """Refuse lists that share images."""
    for one, other in combinations(splits, 2):
        shared = sorted(set(splits[one]) & set(splits[other]))
        if shared:
            raise DataError(
                f"{len(shared)} images are in both {one}.txt and {other}.txt of {root}: {first_few(shared)}. "
                f"Scores of images that were trained on are worth nothing: take them out of one list.",
                kind="leak",
            )


def names_of(splits: Mapping[str, list[str]], split: str) -> list[str]:
    """Return the names of a split.

    Raises:
        ConfigError: There is no such split; only `test` may be missing.
    """
    if split not in splits:
        raise ConfigError(
            f"There is no {split} split. Set --data.{split}_fraction 0.1, or write a list {split}.txt beside train.txt "
            f"and val.txt, or score val with `validate`."
        )
    return splits[split]
