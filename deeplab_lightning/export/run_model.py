"""Segment images with an exported ONNX model. Needs onnxruntime, numpy and Pillow, and nothing else.

    python run_model.py MODEL.onnx IMAGE ... [--output FOLDER] [--opacity 0.5]

For each image a palette PNG of class ids (`NAME_mask.png`) and an overlay (`NAME_overlay.png`). Classes, colours and
preprocessing are read from the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 1 if an image could not be segmented."""
    parser = argparse.ArgumentParser(description="Segment images with an exported ONNX model.")
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--output", default="segmented", help="folder (%(default)s)")
    parser.add_argument("--opacity", type=float, default=0.5, help="of the classes in overlays, 0..1 (%(default)s)")
    options = parser.parse_args(arguments)

    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["deeplab_lightning"])
    if facts["preprocessing"]["channels"] != 3 or facts["preprocessing"]["pixel_range"] != 255:
        print("This model takes images that are not 8-bit RGB, which this script does not read.", file=sys.stderr)
        return 1
    if facts["output"] == "coarse_logits":
        print("This model gives coarse logits: resizing them is left to your program.", file=sys.stderr)
        return 1
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    failures = 0
    for path in map(Path, options.images):
        try:
            image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        except OSError as error:
            print(f"not segmented: {path}: {error}", file=sys.stderr)
            failures += 1
            continue
        takes = session.get_inputs()[0]
        size = takes.shape[2:]
        if isinstance(size[0], int) and tuple(size) != image.shape[:2]:
            sizes = f"{image.shape[0]}x{image.shape[1]} (height x width); the model takes {size[0]}x{size[1]} alone"
            print(f"not segmented: {path}: {sizes}", file=sys.stderr)
            failures += 1
            continue
        (result,) = session.run(None, {takes.name: prepared(image, facts["preprocessing"])})
        mask = decided(result[0], facts)
        if mask is None:
            source = facts["source"]["checkpoint"]
            print(f"not segmented: {path}: the network of {source} gives values that are no numbers", file=sys.stderr)
            failures += 1
            continue
        save(output, path.stem, image, mask, facts, options.opacity)
        shares = np.bincount(mask.ravel(), minlength=len(facts["class_names"])) / mask.size
        names = [f"{facts['class_names'][index]} {shares[index]:.1%}" for index in np.argsort(-shares) if shares[index]]
        print(f"{path}: {', '.join(names)}")
    print(f"{len(options.images) - failures} of {len(options.images)} images segmented: {output}")
    return 1 if failures else 0


def prepared(image: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Return `(1, 3, H, W)`: uint8, or normalised float32 where the model leaves that to its user."""
    batch = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    if preprocessing["inside"]:
        return batch
    mean, std = (np.array(preprocessing[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    return ((batch / np.float32(preprocessing["pixel_range"]) - mean) / std).astype(np.float32)


def decided(result: np.ndarray, facts: dict) -> np.ndarray | None:
    """Return the class map `(H, W)` uint8 of what the model gives of an image; None where that is no number."""
    if facts["output"] == "classes":
        return result if result.max() < len(facts["class_names"]) else None
    if not np.isfinite(result).all():
        return None
    threshold = facts["threshold"]
    if threshold is None:
        return result.argmax(0).astype(np.uint8)
    if facts["output"] == "probs":
        return (result[1] > threshold).astype(np.uint8)
    return (result[1] - result[0] > np.log(threshold / (1 - threshold))).astype(np.uint8)


def save(output: Path, name: str, image: np.ndarray, mask: np.ndarray, facts: dict, opacity: float) -> None:
    """Write the mask with its palette, and the classes' colours laid over the image."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(facts["palette"])] = facts["palette"]
    palette_png = Image.fromarray(mask)
    palette_png.putpalette(table.tobytes())
    palette_png.save(output / f"{name}_mask.png")
    blended = (1 - opacity) * image + opacity * table[mask]
    Image.fromarray(blended.round().astype(np.uint8)).save(output / f"{name}_overlay.png")


if __name__ == "__main__":
    sys.exit(main())
