"""Which images belong into one split, as far as names tell: those of one patient, and copies of one another.

patient01_slice03, patient01/03, sub-01_T1w, case_00012_0000, TCGA_CS_4941_19960909_1      of a patient
p0 (1), p0 - Copy, p0 copy 2, Copy of p0                                                   copies, where p0 is there
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..wording import composed, first_few
from .spellings import split_called

_PATIENT = re.compile(
    r"(.*?(?:(?<![^\W\d_])(?:patient|patients|subject|subj|sub|pat|case)[-_ ]?\d+"
    r"|BraTS-[^-]+-\d+|(?<![^\W_])TCGA[-_][0-9A-Z]{2}[-_][0-9A-Z]{4}))(?:(?![^\W_]).*)?",
    re.IGNORECASE,
)
_COPY_WORD = r"(?:copy|copie|copia|kopie|kópia)"
_COPY = re.compile(
    rf"(?:{_COPY_WORD} (?:of|von|de|di) )?(?P<name>.+?)(?:[ _]*\(\d+\)|[ _]*[ _-][ _]*{_COPY_WORD}(?:[ _]?\d+)?)*",
    re.IGNORECASE,
)


def patient_of(name: str) -> str:
    """Return whose image a name says it is: `patient001` of `patient001_frame01`; the name itself if it does not say.

    Of a path the outermost part that says it counts.
    """
    told = (_PATIENT.fullmatch(part) for part in name.split("/"))
    return next((match[1] for match in told if match), name)


def copies_among(names: Iterable[str]) -> dict[str, str]:
    """Return name -> name without the mark of a copy, for those where both are there, splits' folders aside."""
    bare = {name: _without_split(composed(name)).casefold() for name in names}
    known = {key: name for name, key in reversed(bare.items())}
    found = {}
    for name, key in bare.items():
        folder, slash, last = key.rpartition("/")
        match = _COPY.fullmatch(last)
        if match and match["name"] != last and (original := known.get(f"{folder}{slash}{match['name']}")):
            found[name] = original
    return found


def kept_together(names: Iterable[str]) -> dict[str, str]:
    """Return name -> what it must share a split with all others of: its patient, or what it is a copy of."""
    names = list(names)
    copies = copies_among(names)
    return {name: patient_of(_without_split(copies.get(name, name))) for name in names}


def divided_groups(splits: Mapping[str, Iterable[str]], groups: Mapping[str, str]) -> str:
    """Say which groups lie in several splits, of those that have several images in one; nothing if there is none.

    Without several images a name is one that two splits use, each for an image of its own.
    """
    held: dict[str, dict[str, list[str]]] = {}
    for split, names in splits.items():
        for name in names:
            held.setdefault(groups[name], {}).setdefault(split, []).append(name)
    copies = copies_among(groups)
    divided = [
        f"{group} ({' and '.join(by_split)})"
        for group, by_split in held.items()
        if len(by_split) > 1
        and (
            any(len(names) > 1 for names in by_split.values())
            or any(name in copies for names in by_split.values() for name in names)
        )
    ]
    if not divided:
        return ""
    return (
        f"{len(divided)} patients, or images and their copies, as names or headers tell them, are in several splits: "
        f"{first_few(divided, 3)}. Scores then tell nothing of other patients. Write lists train.txt and val.txt that "
        f"keep them together, or let chance divide all images: it does."
    )


def _without_split(name: str) -> str:
    """Return a path without its parts that name a split."""
    *folders, last = name.split("/")
    return "/".join([*(folder for folder in folders if not split_called(folder)), last])
