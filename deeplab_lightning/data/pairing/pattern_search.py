"""How images and masks are called in a folder of unknown layout: the patterns that pair most of its files.

Nothing here is a list of layouts. Every path is divided into parts that say something (words for images and masks,
names of splits) and parts that do not; files whose saying parts are alike form a group. For each two groups, what
images' and masks' names have in common is voted on by the names themselves: of `21_training` and `21_manual1` it is
`21`. The patterns that follow are tried on all files. Which of two groups holds the masks is said by words; where no
word says it, by pixels: masks hold few values.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..files.arrays import read_array
from ..files.images import packed
from ..files.limits import expect_size, opened_image
from ..spacing import spread
from ..wording import composed
from .finding import ending_by_content, files_below
from .patterns import ANY, NAME, SPLIT, SUFFIXES, Found, Pairing, Pattern, literal, pair_up, unpadded
from .spellings import SPELLINGS, split_called


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


IMAGE_WORDS = _set_of(
    "image images img imgs photo photos picture pictures pic pics rgb irrg rgbir sat satellite input inputs original "
    "originals origin orig org raw src source sources scan scans ortho frame frames jpegimages jpeg jpg"
)
ANNOTATION_WORDS = _set_of(
    "label labels labeled labelled lbl lbls lab gt gts truth groundtruth annotation annotations annotated annot annots "
    "ann anno annos manual manuals seg segs segm segmentation segmentations segmented semantic semantics semseg "
    "segmentationclass target targets trimap trimaps labelids trainids"
)
MASK_WORDS = _set_of("mask masks msk msks matte mattes")
OTHER_WORDS = _set_of(
    "color colors colour colours colored coloured colormap colormaps rgb vis visual visualization visualisation viz "
    "overlay overlays instance instances inst object objects edge edges boundary boundaries contour contours eroded "
    "panoptic depth disparity dsm dem height fov roi box boxes bbox thumb thumbs thumbnail thumbnails preview weight "
    "weights pred preds prediction predictions superpixels segmentationobject nd second"
)
"""Words of what is made of masks, or lies beside them: taken where there is nothing else."""
SCORES = {"annotation": 3.0, "mask": 2.0, "pixels": 1.0}
"""How plainly it is said that these are the masks. A mask may be another thing, such as a field of view."""
OF_OTHER = 1.75

PER_FOLDER = 100
"""Files of each folder that are looked at before patterns are chosen."""
PLACES = 12
"""Subfolders of no saying name that are looked at one by one; words at either end of a name that are tried."""
VOTERS, CHOICES = 30, 4
"""Names of a folder that vote; what they vote for most, that is tried."""
NEARLY = 0.9
"""Share of the most pairs from which words decide between patterns."""
FEW_VALUES, FEW_COLOURS = 32, 40
"""Values or colours that a mask holds at most."""
ENDS = 0.9
"""Share of nearly black and nearly white pixels of a mask with soft edges."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+|\0")
_HERE = "\0"
"""Stands in names for a split."""


Affixes = tuple[str, str, str, str]
"""What stands before and behind the shared name of an image, then of its mask."""


@dataclass(frozen=True)
class Layout:
    """Two patterns, and what they pair.

    Attributes:
        images: Pattern of the images.
        masks: Pattern of the masks.
        pairing: What they pair.
        stated: How plainly names say which files are the masks, as in `SCORES`.
        by_pixels: Whether only pixels say it.
    """

    images: str
    masks: str
    pairing: Pairing
    stated: float
    by_pixels: bool = False

    @property
    def image_files(self) -> set[Path]:
        """The images that have masks."""
        return {image for image, _ in self.pairing.pairs.values()}

    @property
    def mask_files(self) -> set[Path]:
        """The masks that have images."""
        return {mask for _, mask in self.pairing.pairs.values()}


@dataclass
class _File:
    relative: str
    template: tuple[str, ...]
    runs: list[tuple[str, ...]]
    """Parts that say nothing: what each `{name}` of the template stands for, then those before the file's name."""
    split: str | None
    stem: str
    ending: str


@dataclass
class _Group:
    """Files of alike paths.

    Attributes:
        parts: Of the pattern's folders.
        files: Each with what these folders leave open.
        ending: Of all its files, where the pattern is to say it.
    """

    parts: list[str]
    files: list[tuple[str, _File]]
    ending: str = ""

    def pattern(self, head: str, tail: str) -> str:
        """Return the pattern of those whose names have something before and behind what they share with others."""
        deeper = sum(bool(file.runs[-1]) for _, file in self.files) > len(self.files) / 2
        parts = [*self.parts, *([NAME] if head and deeper and self._leaves_open() else [])]
        return "/".join([*parts, f"{literal(head)}{NAME}{literal(tail)}{self.ending}"]).replace(_HERE, self.mark)

    @cached_property
    def mark(self) -> str:
        """What stands in the pattern where all names hold a split: that of the folders or, of others, anything."""
        named = [(_marked(file)[1], file.split) for _, file in self.files]
        if all(split and split == of_folder for split, of_folder in named):
            return SPLIT
        return ANY if all(split for split, _ in named) and len({split for split, _ in named}) > 1 else ""

    def repeated(self) -> list[str]:
        """Return the patterns of files that are called alike in many folders, such as `{name}/mask`."""
        if not self._leaves_open():
            return []
        folders: Counter[str] = Counter(stem for stems in self.stems(False).values() for stem in stems)
        often = [stem for stem, count in folders.most_common(CHOICES) if count > len(self.stems(False)) / 2]
        return ["/".join([*self.parts, NAME, f"{literal(stem)}{self.ending}"]) for stem in often]

    def _leaves_open(self) -> bool:
        """Whether folders behind the last part differ."""
        return len({file.runs[-1] for _, file in self.files}) > 1

    def stems(self, with_split: bool) -> dict[str, list[str]]:
        """Return names without ending by split and what the folders leave open.

        Where all of them name a split, that is marked.
        """
        marked = [file.stem for _, file in self.files]
        if with_split and self.mark:
            marked = [_marked(file)[0] for _, file in self.files]
        found: dict[str, list[str]] = defaultdict(list)
        for (key, file), stem in zip(self.files, marked, strict=True):
            found[f"{file.split if with_split else ''}:{key}"].append(stem)
        return found


def search(root: Path) -> list[Layout]:
    """Find the patterns that pair images and masks below a folder, best first; those that pair other files, too."""
    everything = [
        (composed(path.relative_to(root).as_posix()) + ending, path)
        for path in files_below(root)
        for ending in [ending_by_content(path)]
        if (path.name.lower() + ending).endswith(SUFFIXES)
    ]
    by_folder: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for relative, path in everything:
        by_folder[relative.rpartition("/")[0]].append((relative, path))
    sample = [one for inside in by_folder.values() for one in inside[:PER_FOLDER]]
    tried: dict[tuple[str, str], Layout] = {}
    fitting = lru_cache(maxsize=None)(lambda text: _fitting(_pattern(text), sample))
    parsed = [[_parsed(relative, opened) for relative, _ in sample] for opened in (False, True)]
    groups = list(_groups(parsed[0]))
    if parsed[0] != parsed[1]:
        groups += _groups(parsed[1])
    for one in groups:
        for other in groups:
            for images, masks in _patterns(one, other):
                if (images, masks) not in tried:
                    layout = _tried(images, masks, fitting(images), fitting(masks))
                    if layout is not None:
                        tried[images, masks] = layout
    ranked = _ranked([_with_one_split(layout, sample) for layout in tried.values()])
    ranked = [_without_needless_ending(layout, sample) for layout in ranked]
    if len(sample) < len(everything):
        whole = []
        for layout in ranked:  # names told so far; now all files are paired
            texts = layout.images, layout.masks
            found = _tried(*texts, *(_fitting(_pattern(text), everything) for text in texts))
            if found is not None:
                whole.append(replace(layout, pairing=found.pairing))
        return whole
    return ranked


@lru_cache(maxsize=4096)
def _pattern(text: str) -> Pattern:
    return Pattern(text)


def _fitting(pattern: Pattern, files: Sequence[tuple[str, Path]]) -> list[Found]:
    return [Found(path, hit[1], hit[0]) for relative, path in files if (hit := pattern.match(relative))]


# ----------------------------------------------------------------------------------------------------- what paths say


def words_of(text: str) -> list[str]:
    """Return the words of a name, in small letters: `leftImg8bit` holds left, img, 8 and bit."""
    return [word.lower() for word in _WORD.findall(text)]


def role_of(word: str) -> str | None:
    """Return what a word stands for, `image`, `mask` or `annotation`; None for all others."""
    if word in ANNOTATION_WORDS:
        return "annotation"
    if word in MASK_WORDS:
        return "mask"
    if word in IMAGE_WORDS:
        return "image"
    ends = {"annotation": ("annot", "labels", "label"), "mask": ("masks", "mask"), "image": ("images", "image", "imgs")}
    return next((role for role, tails in ends.items() if word.endswith(tails)), None)


def _role_of_part(part: str) -> str | None:
    """Return what a part of a path stands for; masks are spoken of in more words than images (`train-label-img`)."""
    roles = {role_of(word) for word in words_of(part.replace(NAME, " ").replace(SPLIT, " "))}
    return next((role for role in ("annotation", "mask", "image") if role in roles), None)


def _bare(name: str) -> str:
    """Return a file's name, or a pattern's last part, without its ending."""
    fits = _pattern(NAME).match(name)
    return fits[1] if fits else name


def _parsed(relative: str, opened: bool = False) -> _File:
    """Divide a path; if `opened`, what stands before or behind a saying word is open: `case_7` of `case_7_masks`."""
    *folders, name = relative.split("/")
    folders = [literal(folder) for folder in folders]
    template: list[str] = []
    runs: list[tuple[str, ...]] = []
    run: list[str] = []
    split: str | None = None
    for folder in folders:
        written, called = _without_split(folder)
        inner = ""
        if called and split in (None, called):
            split, part = called, written
        elif _role_of_part(folder):
            part, inner = _opened(folder) if opened else (folder, "")
        else:
            run.append(folder)
            continue
        if run:
            template.append(NAME)
            runs.append(tuple(run))
            run = []
        template.append(part)
        if inner:
            runs.append((inner,))
    runs.append(tuple(run))
    stem = _bare(name)
    return _File(relative, tuple(template), runs, split, stem, name[len(stem) :].lower())


def _opened(folder: str) -> tuple[str, str]:
    """Return a folder's name with `{name}` in place of a number and what is with it, and that; or as it is."""
    words = list(_WORD.finditer(folder))
    saying = [place for place, word in enumerate(words) if role_of(word[0].lower())]
    head, tail = folder[: words[saying[0] - 1].end()] if saying[0] else "", ""
    if saying[-1] + 1 < len(words):
        tail = folder[words[saying[-1] + 1].start() :]
    if any(letter.isdigit() for letter in head):
        return NAME + folder[len(head) :], head
    if any(letter.isdigit() for letter in tail):
        return folder[: len(folder) - len(tail)] + NAME, tail
    return folder, ""


def names_split(folder: str) -> bool:
    """Tell whether a folder's name, or a pattern's part, names a split."""
    return SPLIT in folder or _without_split(folder)[1] is not None


def _without_split(folder: str) -> tuple[str, str | None]:
    """Return a folder's name with `{split}` in place of the split that it names, and the split."""
    for found in _WORD.finditer(folder):
        word = found[0].lower()
        for spelling in sorted(SPELLINGS, key=len, reverse=True):
            start = found.start()
            if word == spelling or (word.startswith(spelling) and role_of(word[len(spelling) :])):
                return folder[:start] + SPLIT + folder[start + len(spelling) :], split_called(spelling)
            if word.endswith(spelling) and role_of(word[: -len(spelling)]):
                return folder[: found.end() - len(spelling)] + SPLIT + folder[found.end() :], split_called(spelling)
    return folder, None


def _marked(file: _File) -> tuple[str, str | None]:
    """Return a file's stem with a mark in place of the last word that names a split, and that split."""
    for found in reversed(list(_WORD.finditer(file.stem))):
        if split := split_called(found[0]):
            return file.stem[: found.start()] + _HERE + file.stem[found.end() :], split
    return file.stem, None


def _groups(files: Sequence[_File]) -> Iterator[_Group]:
    """Put files of alike paths together, in several ways: what folders of no saying name are is open."""
    by_template: dict[tuple[str, ...], list[_File]] = defaultdict(list)
    for file in files:
        by_template[tuple(part.casefold() for part in file.template)].append(file)
    for alike in by_template.values():
        chosen = [_group(alike, fixed=True), _group(alike, fixed=False)]
        firsts: dict[str, list[_File]] = defaultdict(list)
        for file in alike:
            firsts[next((run[0] for run in file.runs if run), "")].append(file)
        if 1 < len(firsts) <= PLACES:
            chosen += [_group(some, fixed=True) for some in firsts.values()]
        for group in chosen:
            yield group
            endings = {file.ending for _, file in group.files}
            if 1 < len(endings) <= PLACES:
                for ending in sorted(endings):
                    yield _Group(group.parts, [one for one in group.files if one[1].ending == ending], ending)


def _group(files: list[_File], fixed: bool) -> _Group:
    """Make a group; if `fixed`, folders that all its files have stand in its pattern as they are."""
    parts: list[str] = []
    open_runs: list[list[tuple[str, ...]]] = []
    slot = 0
    for part in [*files[0].template, None]:
        if part is not None and part != NAME:
            parts.append(part)
            if NAME in part:
                open_runs.append([file.runs[slot] for file in files])
                slot += 1
            continue
        runs = [file.runs[slot] for file in files]
        head = _shared(runs) if fixed else ()
        rest = [run[len(head) :] for run in runs]
        tail = _shared([run[::-1] for run in rest])[::-1] if fixed and part is not None else ()
        rest = [run[: len(run) - len(tail)] for run in rest]
        parts += [*head, *([NAME] if part is not None and any(rest) else []), *tail]
        open_runs.append(rest)
        slot += 1
    keys = ["/".join(part for run in runs for part in run) for runs in zip(*open_runs, strict=True)]
    return _Group(parts, list(zip(keys, files, strict=True)))


def _shared(runs: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the parts with which all begin."""
    shared = runs[0]
    for run in runs:
        length = next((i for i, (one, other) in enumerate(zip(shared, run, strict=False)) if one != other), None)
        shared = shared[: min(len(shared), len(run)) if length is None else length]
    return shared


# ------------------------------------------------------------------------------------------------- what names share


def _patterns(images: _Group, masks: _Group) -> Iterator[tuple[str, str]]:
    """Propose the patterns of two groups; both may be one."""
    if not _may_be(images.parts, masks.parts):
        return
    with_split = all(any(file.split for _, file in group.files) for group in (images, masks))
    of_images, of_masks = images.stems(with_split), masks.stems(with_split)
    for own, other in product(images.repeated(), masks.repeated()):
        if own != other:
            yield own, other
    both = sorted(of_images.keys() & of_masks.keys())
    if images is not masks:
        alike = sum(len({*map(unpadded, of_images[key])} & {*map(unpadded, of_masks[key])}) for key in both)
        if alike:
            yield images.pattern("", ""), masks.pattern("", "")
        if alike >= NEARLY * min(len(images.files), len(masks.files)):
            return
    votes: Counter[Affixes] = Counter()
    for place in spread(len(both), PLACES):
        votes.update(_votes(of_images[both[place]], of_masks[both[place]]))
    for (head, tail, other_head, other_tail), _ in votes.most_common(CHOICES):
        yield images.pattern(head, tail), masks.pattern(other_head, other_tail)


def _may_be(images: Sequence[str], masks: Sequence[str]) -> bool:
    """Whether words allow these folders to hold images and masks."""
    of_images, of_masks = (
        _role([part for part in images if part not in masks]),
        _role([part for part in masks if part not in images]),
    )
    return of_images in (None, "image") and of_masks != "image"


def _role(parts: Sequence[str]) -> str | None:
    """Return what the innermost part says that says something."""
    parts = [*parts[:-1], _bare(parts[-1])] if parts else []
    return next((role for part in reversed(parts) if (role := _role_of_part(part))), None)


def _votes(images: Sequence[str], masks: Sequence[str]) -> Iterator[Affixes]:
    """Yield what stands around the longest piece that an image's and a mask's name share, for each such two."""
    by_core: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for stem in (images[place] for place in spread(len(images), VOTERS)):
        for start, end in _pieces(stem):
            held = by_core[unpadded(stem[start:end])]
            held[stem] = min(held.get(stem, (start, end)), (start, end))
    for mask in masks:
        shared = 0
        for start, end in _pieces(mask):
            found = by_core.get(unpadded(mask[start:end]), {})
            partners = [(stem, place) for stem, place in found.items() if stem != mask]
            for stem, (at, to) in partners[:CHOICES]:
                yield stem[:at], stem[to:], mask[:start], mask[end:]
            shared += bool(partners)
            if shared == CHOICES:  # the longest may be what masks share among themselves, such as `annotation`
                break


@lru_cache(maxsize=100_000)
def _pieces(stem: str) -> list[tuple[int, int]]:
    """Return where pieces of a name may begin and end, the longest first: whole words, the first and last few."""
    words = [(found.start(), found.end()) for found in _PIECE.finditer(stem)]
    if len(words) > 2 * PLACES:
        words = words[:PLACES] + words[-PLACES:]
    found = [(first[0], last[1]) for i, first in enumerate(words) for last in words[i:]]
    return sorted(found, key=lambda piece: (piece[0] - piece[1], piece))


# --------------------------------------------------------------------------------------------------- which are best


def _tried(images: str, masks: str, image_files: Sequence[Found], mask_files: Sequence[Found]) -> Layout | None:
    stated = _stated(images.split("/"), masks.split("/"))
    if stated is None:
        return None
    try:
        pairing = pair_up(_pattern(images), _pattern(masks), image_files, mask_files)
    except DataError:
        return None
    return Layout(images, masks, pairing, stated) if pairing.pairs else None


def _stated(images: Sequence[str], masks: Sequence[str]) -> float | None:
    """Return how plainly two patterns say that the second is of masks; None where they say the opposite."""
    own, others = [part for part in images if part not in masks], [part for part in masks if part not in images]
    of_images, of_masks = _role(own), _role(others)
    if of_images not in (None, "image") or of_masks == "image":
        return None
    if all(_says_nothing(affix) for affix in (images[-1], masks[-1]) if affix != NAME) and NAME not in (
        images[-1],
        masks[-1],
    ):
        return None  # `cat_1` and `dog_1` share a number
    if of_masks is None:
        return 0.0
    said, image_words = ({word for part in parts for word in words_of(_bare(part))} for parts in (others, own))
    score = SCORES[of_masks] - OF_OTHER * bool(said & OTHER_WORDS) - bool(image_words & OTHER_WORDS - IMAGE_WORDS)
    return max(0.1, score + 0.5 * (of_images is not None))


def _says_nothing(name: str) -> bool:
    """Whether what stands around a name has words of which none tells images from masks, or is of a split."""
    words = words_of(name.replace(NAME, " "))
    known = any(role_of(word) or word in SPELLINGS or word in OTHER_WORDS for word in words)
    return not known and SPLIT not in name and any(word.isalpha() for word in words)


def _ranked(layouts: Iterable[Layout]) -> list[Layout]:
    """Sort layouts, best first, without those that pair the files of a better one, or that nothing supports."""
    layouts = sorted(layouts, key=lambda one: -len(one.pairing.pairs))
    supported: list[Layout] = [one for one in layouts if one.stated]
    if not any(one.stated >= SCORES["pixels"] for one in supported):
        silent = [one for one in layouts if 2 * len(one.pairing.pairs) >= len(layouts[0].pairing.pairs)]
        few = lru_cache(maxsize=None)(holds_few_values)
        supported += [
            replace(one, stated=SCORES["pixels"], by_pixels=True) for one in silent if _pixels_say_so(one, few)
        ]
    plain = [one for one in supported if one.stated >= SCORES["pixels"]] or supported
    most = max((len(one.pairing.pairs) for one in plain), default=0)

    def rank(one: Layout) -> tuple[object, ...]:
        pairing, texts = one.pairing, (one.images, one.masks)
        lonely = len(pairing.lonely_images) + len(pairing.lonely_masks) + sum(pairing.companions.values())
        return (
            len(pairing.pairs) < NEARLY * most,
            -one.stated,
            lonely - len(pairing.pairs),
            sum(text.endswith(SUFFIXES) for text in texts),
            sum(text.count(NAME) for text in texts),
            sum(map(len, texts)),
            texts,
        )

    chosen: list[Layout] = []
    for layout in sorted(supported, key=rank):
        if not any(layout.mask_files <= one.mask_files or layout.mask_files & one.image_files for one in chosen):
            chosen.append(layout)
    return chosen


def _pixels_say_so(layout: Layout, holds_few_values: Callable[[Path], bool]) -> bool:
    pairs = list(layout.pairing.pairs.values())
    some = [pairs[place] for place in spread(len(pairs), 3)]
    return all(holds_few_values(mask) and not holds_few_values(image) for image, mask in some)


def holds_few_values(path: Path) -> bool:
    """Tell whether a file looks like a mask: few values or colours, or nearly all of it black and white."""
    try:
        if path.suffix.lower() == ".npy":
            return len(np.unique(read_array(path))) <= FEW_VALUES
        with opened_image(path) as image:
            expect_size(path, image.height, image.width, 2 * len(image.getbands()))
            pixels = np.asarray(image)
    except Exception:  # whoever reads it says what is wrong
        return False
    if pixels.ndim == 2:
        values, counts = np.unique(pixels, return_counts=True)
        ends = counts[(values <= 16) | (values >= 239) & (values <= 255)].sum()
        return len(values) <= FEW_VALUES or bool(pixels.dtype == np.uint8 and ends >= ENDS * pixels.size)
    return pixels.dtype == np.uint8 and len(np.unique(packed(pixels[..., :3]))) <= FEW_COLOURS


def _without_needless_ending(layout: Layout, files: Sequence[tuple[str, Path]]) -> Layout:
    for bare in ((layout.images, _bare(layout.masks)), (_bare(layout.images), layout.masks)):
        simpler = _tried(*bare, *(_fitting(_pattern(text), files) for text in bare))
        if simpler is not None and simpler.pairing == layout.pairing:
            layout = replace(layout, images=bare[0], masks=bare[1])
    return layout


def splits_of(pairing: Pairing) -> Counter[str]:
    """Return how many pairs each split has that folders tell."""
    splits = [split_called(name.partition("/")[0]) for name in pairing.pairs if "/" in name]
    return Counter(split for split in splits if split)


def _with_one_split(layout: Layout, files: Sequence[tuple[str, Path]]) -> Layout:
    """Name the split in a layout's patterns, where only one has masks."""
    if SPLIT not in layout.images + layout.masks:
        return layout
    if len(splits_of(layout.pairing)) > 1:
        return layout
    image, mask = next(iter(layout.pairing.pairs.values()))
    by_path = {path: relative for relative, path in files}
    texts = _pattern(layout.images).of_split(by_path[image]), _pattern(layout.masks).of_split(by_path[mask])
    return _tried(*texts, *(_fitting(_pattern(text), files) for text in texts)) or layout
