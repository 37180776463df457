"""A tiny project of Label Studio: images, and the JSON that it exports."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40
SIZES = (3, 4, 8, 16)


def packed(values: np.ndarray, repeat: bool = True) -> list[int]:
    """Pack values as Label Studio does; without `repeat` each stands for itself, in blocks of up to 8."""
    text = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in SIZES)
    if repeat:
        for value, run in groupby(values.ravel().tolist()):
            length = len(list(run))
            while length:
                part = min(length, 1 << 16)
                index = next(index for index, size in enumerate(SIZES) if part <= 1 << size)
                text += f"1{index:02b}{part - 1:0{SIZES[index]}b}{value:08b}"
                length -= part
    else:
        for start in range(0, values.size, 8):
            part = values.ravel()[start : start + 8].tolist()
            text += f"000{len(part) - 1:03b}" + "".join(f"{value:08b}" for value in part)
    text += "0" * (-len(text) % 8)
    return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


def brush(area: np.ndarray, label: str, **fields: Any) -> dict[str, Any]:
    """Return what was painted, `(H, W)` bool; the colours are arbitrary, the last channel is 255 inside."""
    pixels = np.zeros((*area.shape, 4), np.uint8)
    pixels[area] = (13, 200, 7, 255)
    return result("brushlabels", {"format": "rle", "rle": packed(pixels), "brushlabels": [label]}, **fields)


def percent(points: list[list[float]]) -> list[list[float]]:
    """Return points in pixels as percent."""
    return [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in points]


def polygon(points: list[list[float]], label: str, **fields: Any) -> dict[str, Any]:
    """Return an outline of points in pixels."""
    return result("polygonlabels", {"points": percent(points), "closed": True, "polygonlabels": [label]}, **fields)


def result(kind: str, value: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an object as the long form has it."""
    return {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": value,
        "id": f"{kind}{sorted(value)}{len(str(value))}"[-10:],
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        **fields,
    }


def task(number: int, image: str, *annotations: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    """Return a task; an annotation may be its results alone."""
    full = [one if isinstance(one, dict) else annotation(one) for one in annotations]
    return {"id": number, "annotations": full, "predictions": [], "data": {"image": image}, "file_upload": image}


def annotation(results: list[dict[str, Any]], updated_at: str = "2024-05-01T10:00:00.000000Z", **fields: Any) -> Any:
    """Return an annotation."""
    plain = {"id": 7, "completed_by": 1, "result": results, "was_cancelled": False, "updated_at": updated_at}
    return {**plain, "ground_truth": False, "lead_time": 12.5, **fields}


def write_label_studio(root: Path, tasks: list[dict[str, Any]] | None = None, *, seed: int = 0) -> Path:
    """Write six images and an export, and return the folder; `tasks` replaces those of the export."""
    rng = np.random.default_rng(seed)
    folder = root / "images"
    folder.mkdir(parents=True, exist_ok=True)
    own = []
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder / f"p{number}.png")
        area = np.zeros((HEIGHT, WIDTH), bool)
        area[5:20, number + 2 : number + 12] = True
        objects = [brush(area, "car"), polygon([[20, 20], [40, 20], [40, 35], [20, 35]], "road")]
        own.append(task(number + 1, f"/data/upload/3/0a1b2c3{number}-p{number}.png", objects))
    text = json.dumps(own if tasks is None else tasks)
    (root / "project-3-at-2024-05-02-10-11-1a2b3c4d.json").write_text(text, encoding="utf-8")
    return root
