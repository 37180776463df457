"""How people spell the splits."""

from __future__ import annotations

SPLITS = ("train", "val", "test")
SPELLINGS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "evaluation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What folders and lists of a split are called, in letters of any case."""


def split_called(name: str) -> str | None:
    """Return the split that a folder or a list of this name (without ending) holds; None if it is none."""
    return SPELLINGS.get(name.casefold())
