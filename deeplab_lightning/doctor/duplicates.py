"""Images that are there twice: within a split, with other masks, and in two splits (a leak). By content, not name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from .findings import Finding, finding
from .images import Look


def repeated(split: str, looks: Sequence[Look]) -> list[Finding]:
    """Return the images that a split holds more than once: with one mask, or, which cannot be right, with several."""
    same, other = [], []
    for group in _by_image(looks).values():
        names = " = ".join(look.sample_id for look in group)
        if len({look.mask_hash for look in group}) > 1:
            other.append(names)
        elif len(group) > 1:
            same.append(names)
    found = []
    if same:
        what = f"Images of {split} that are there under several names, with equal masks: {len(same)}."
        remedy = f"keep one of each in the list of {split}: the others count it double"
        found.append(finding("warning", "duplicate", what, remedy, same))
    if other:
        what = f"Images of {split} that are there more than once, with masks that differ: {len(other)}."
        remedy = f"look which mask is right, and take the other out of the list of {split}"
        found.append(finding("error", "contradiction", what, remedy, other))
    return found


def leaks(splits: Mapping[str, Sequence[Look]]) -> list[Finding]:
    """Return the images that two splits share, an error for each two splits."""
    found = []
    groups = {split: _by_image(looks) for split, looks in splits.items()}
    for (one, known), (other, seen) in combinations(groups.items(), 2):
        pairs = [f"{known[key][0].sample_id} = {looks[0].sample_id}" for key, looks in seen.items() if key in known]
        if pairs:
            what = (
                f"{len(pairs)} of {len(seen)} {other} images are {one} images too: their scores tell nothing of other "
                f"images."
            )
            found.append(finding("error", "leak", what, f"take them out of the list of {one} (or of {other})", pairs))
    return found


def _by_image(looks: Sequence[Look]) -> dict[bytes, list[Look]]:
    groups: dict[bytes, list[Look]] = defaultdict(list)
    for look in looks:
        if look.error is None:
            groups[look.image_hash].append(look)
    return groups
