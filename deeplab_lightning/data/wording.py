"""What messages say of files and names that are missing: what is there instead, and what comes closest."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import did_you_mean


def nearest_sibling(path: Path) -> str:
    """Say what comes closest to the first part of `path` that does not exist."""
    while not path.parent.exists() and path.parent != path:
        path = path.parent
    if glob.has_magic(path.name):
        return ""
    if not path.parent.is_dir():
        return f" {path.parent} is a file, not a folder."
    suggestion = did_you_mean(path.name, os.listdir(path.parent))
    return f" There is no {path.name!r} in {path.parent.resolve()}.{suggestion}"


def found_instead(root: Path, wanted: str) -> str:
    """Say what `root` is or holds, and which folder near it, if any, holds `wanted`, by which one is recognised."""
    if not root.is_dir():
        return f"{root} is a file." if root.is_file() else f"{root} does not exist.{nearest_sibling(root)}"
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
    holds = f"{root} holds {', '.join(names[:10]) or 'nothing'}{', ...' if len(names) > 10 else ''}."
    near = [root.parent, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))]
    meant = next((str(folder) for folder in near if (folder / wanted).exists()), None)
    return f"{holds} Did you mean {meant!r}?" if meant else holds


def first_few(names: Iterable[str], count: int = 5) -> str:
    """Return the first `count` names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return f"{', '.join(names[:count])}{more}"
