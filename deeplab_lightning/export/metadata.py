"""What a file tells about itself: everything that is needed to use it, in plain JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..files import sha256
from ..types import DataDescription

if TYPE_CHECKING:
    from .model import ImageModel

KEY = "deeplab_lightning"
"""Under which the JSON stands in a file."""


def metadata(
    description: DataDescription, model: ImageModel, precision: str, protocol: str, task: str, source: Path
) -> dict[str, Any]:
    """Return what the exported file of a model says of itself.

    `description` is of the data that the model was trained for, `protocol` says in words how the original segments an
    image, `task` is the class of the task that trained it, and `source` its checkpoint.
    """
    is_bytes = description["pixel_range"] == 255 and model.inputs == "pixels"
    return {
        "written_by": f"deeplab_lightning {__version__}",
        "class_names": list(description["class_names"]),
        "palette": [list(colour) for colour in description["palette"]],
        "ignore_index": description["ignore_index"],
        "preprocessing": {
            "inside": model.inputs == "pixels",
            "formula": "(pixel / pixel_range - mean) / std",
            **{key: description[key] for key in ("mean", "std", "pixel_range", "channels")},
        },
        "input": {
            "layout": "(B, C, H, W)" + (", RGB" if description["channels"] == 3 else ""),
            "dtype": "uint8" if is_bytes else "float32",
        },
        "output": model.outputs,
        "objects": None if model.objects is None else asdict(model.objects),
        "threshold": model.decision.threshold,
        "precision": precision,
        "protocol": protocol,
        "source": {"checkpoint": source.name, "sha256": sha256(source), "task": task},
    }


def as_json(facts: dict[str, Any]) -> str:
    """Return the metadata as one line of JSON."""
    return json.dumps(facts, ensure_ascii=False)
