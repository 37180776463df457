"""A tiny CamVid: the layout of the SegNet tutorial with drawn blocks for images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from deeplab_lightning.data.sets.camvid import CAMVID, Split

SIZES: dict[Split, int] = {"train": 6, "val": 3, "test": 2}
HEIGHT, WIDTH = 48, 60


def write_camvid(
    root: Path,
    *,
    sizes: dict[Split, int] = SIZES,
    suffix: Literal[".png", ".jpg"] = ".png",
    lists: bool = True,
    prefix: str = "/SegNet/CamVid/",
    seed: int = 0,
) -> Path:
    """Write images of 60x48 with masks of 0..11, and return `root`.

    Args:
        root: Where `train/`, `trainannot/`, `train.txt` and so on are put.
        sizes: Images per split.
        suffix: Of the images. Lists always say `.png`, as the original's do.
        lists: Whether to write `<split>.txt`.
        prefix: Stands before each path in the lists.
        seed: Decides the content.
    """
    rng = np.random.default_rng(seed)
    colours = CAMVID.colour_table()
    for split, count in sizes.items():
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        lines = []
        for index in range(count):
            name = f"Seq_{split}_{index:05d}"
            blocks = rng.integers(0, 12, (HEIGHT // 12, WIDTH // 12), dtype=np.uint8)
            mask = blocks.repeat(12, axis=0).repeat(12, axis=1)
            image = np.clip(colours[mask] + rng.normal(0, 12, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / split / f"{name}{suffix}"), image[..., ::-1])
            cv2.imwrite(str(root / f"{split}annot" / f"{name}.png"), mask)
            lines.append(f"{prefix}{split}/{name}.png {prefix}{split}annot/{name}.png")
        if lists:
            (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root
