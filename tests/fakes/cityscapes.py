"""A tiny Cityscapes: the real layout, with drawn blocks of label ids for images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deeplab_lightning.data.sets.cityscapes import ANNOTATED, Split, label_id_colours

CITIES: dict[Split, tuple[str, ...]] = {
    "train": ("aachen", "bochum"),
    "val": ("lindau",),
    "test": ("berlin",),
    "train_extra": ("erlangen",),
}
PER_CITY = 2
HEIGHT, WIDTH = 48, 96


def write_cityscapes(root: Path, *, seed: int = 0) -> Path:
    """Write images of 96x48 with masks of all label ids 0..33, and return `root`.

    Each annotated image has its `labelIds`, `instanceIds`, `color` and `polygons` files, fine and coarse; in coarse
    masks the upper half is unlabelled.
    """
    rng = np.random.default_rng(seed)
    for split, cities in CITIES.items():
        for city in cities:
            for frame in range(PER_CITY):
                base = f"{city}_{frame:06d}_000019"
                blocks = rng.permutation(np.arange(HEIGHT // 8 * (WIDTH // 8)) % 34).astype(np.uint8)
                label_ids = np.kron(blocks.reshape(HEIGHT // 8, WIDTH // 8), np.ones((8, 8), np.uint8))
                colours = label_id_colours()[label_ids]
                _write(root / "leftImg8bit" / split / city / f"{base}_leftImg8bit.png", colours[..., ::-1])
                for name, splits in ANNOTATED.items():
                    if split in splits:
                        kind = f"gt{name.title()}"
                        ids = np.zeros_like(label_ids) if split == "test" else label_ids.copy()
                        ids[: HEIGHT // 2 if name == "coarse" else 0] = 0
                        start = root / kind / split / city / f"{base}_{kind}"
                        _write(Path(f"{start}_labelIds.png"), ids)
                        _write(Path(f"{start}_instanceIds.png"), ids.astype(np.uint16) * 1000)
                        _write(Path(f"{start}_color.png"), colours[..., ::-1])
                        Path(f"{start}_polygons.json").write_text("{}")
    return root


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
