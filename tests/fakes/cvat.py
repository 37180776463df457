"""A tiny export of CVAT for images 1.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40
LABELS = {"crack": "#fa3253", "spall": "#33ddff"}


def polygon(label: str, *points: tuple[float, float], z_order: int = 0) -> str:
    """Return a polygon's element."""
    written = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return f'<polygon label="{label}" source="manual" occluded="0" points="{written}" z_order="{z_order}"></polygon>'


def rectangle(label: str, left: int, top: int, right: int, bottom: int, z_order: int = 0) -> str:
    """Return a polygon around columns `left` to `right` - 1, and rows likewise."""
    return polygon(label, (left, top), (right, top), (right, bottom), (left, bottom), z_order=z_order)


def brush(label: str, block: np.ndarray, left: int, top: int, z_order: int = 0) -> str:
    """Return a mask's element: run lengths along the rows of a block, beginning with what is outside."""
    runs = [(value, len(list(group))) for value, group in groupby(block.astype(bool).ravel().tolist())]
    counts = ([0] if runs[0][0] else []) + [count for _, count in runs]
    height, width = block.shape
    return (
        f'<mask label="{label}" source="manual" occluded="0" rle="{", ".join(map(str, counts))}" left="{left}" '
        f'top="{top}" width="{width}" height="{height}" z_order="{z_order}"></mask>'
    )


def xml_of(images: Mapping[str, Sequence[str]], subset: str = "", labels: Sequence[str] = tuple(LABELS)) -> str:
    """Return annotations.xml of images and their elements."""
    named = "".join(
        f"<label><name>{name}</name><color>{LABELS.get(name, '#000000')}</color><type>any</type></label>"
        for name in labels
    )
    of_subset = f' subset="{subset}"' if subset else ""
    entries = "".join(
        f'<image id="{number}" name="{name}"{of_subset} width="{WIDTH}" height="{HEIGHT}">{"".join(shapes)}</image>'
        for number, (name, shapes) in enumerate(images.items())
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><id>1</id>'
        f"<labels>{named}</labels></task><dumped>2024-01-01</dumped></meta>{entries}</annotations>"
    )


def write_images(folder: Path, names: Sequence[str]) -> None:
    """Write black images."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)


def write_cvat(root: Path) -> Path:
    """Write annotations.xml and images/, and return the root."""
    names = [f"{number}.png" for number in range(5)]
    write_images(root / "images", names)
    shapes = [rectangle("crack", 10, 5, 30, 25), brush("spall", np.ones((4, 8)), 12, 8)]
    (root / "annotations.xml").write_text(xml_of(dict.fromkeys(names, shapes)), encoding="utf-8")
    return root
