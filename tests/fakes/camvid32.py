"""A tiny CamVid in its originals' form: masks in 32 colours, and the lists of the SegNet tutorial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lightning.data.sets.camvid32 import CAMVID32

from .folder import draw

SPLITS = {"train": 4, "val": 2, "test": 1}


def write_camvid32(root: Path) -> Path:
    """Write images with masks of all colours, Void among them, and lists of `/SegNet/...` pairs; return `root`."""
    colours = np.array([*CAMVID32.palette, (0, 0, 0)], np.uint8)
    for folder in ("701_StillsRaw_full", "LabeledApproved_full"):
        (root / folder).mkdir(parents=True)
    number = 0
    for split, count in SPLITS.items():
        lines = []
        for _ in range(count):
            number += 1
            name = f"0001TP_{number:06}"
            mask, image = draw(number, 32)
            Image.fromarray(image).save(root / "701_StillsRaw_full" / f"{name}.png")
            Image.fromarray(colours[mask]).save(root / "LabeledApproved_full" / f"{name}_L.png")
            lines.append(f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png")
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root
