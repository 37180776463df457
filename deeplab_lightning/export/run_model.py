"""Segment images with an exported ONNX model. Needs onnxruntime, numpy and Pillow, and nothing else.

    python run_model.py MODEL.onnx IMAGE ... [--output FOLDER] [--opacity 0.5]

For each image a palette PNG of class ids (`NAME_mask.png`) and an overlay (`NAME_overlay.png`), named and read as
`predict` does. Of a model that tells objects apart also their numbers (`NAME_numbers.png`, 16 bits, 0 for none), the
classes behind that (`NAME_panoptic.png`) and a line for each object of all images (`objects.csv`). Classes, colours and
preprocessing are read from the model's file.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

COLUMNS = ("image", "number", "class", "score", "left", "top", "width", "height", "area")
"""Of `objects.csv`, as `predict` writes it."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "AVIF", "PPM", "TGA")
"""Of Pillow's, those that `predict` reads; some of the others start programs."""
MOST_PIXELS = 2**28
BYTES_PER_PIXEL = 1000
"""Of memory that a network takes while it sees an image, of all its layers that are alive at once (400 to 750 were
measured, of seven)."""


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 1 if an image could not be segmented."""
    parser = argparse.ArgumentParser(description="Segment images with an exported ONNX model.")
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--output", default="segmented", help="folder (%(default)s)")
    parser.add_argument("--max_pixels", type=int, help="refuse larger images (by default what memory holds)")
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
    failures, objects = 0, []
    paths = [Path(image) for image in options.images]
    for path, name in zip(paths, output_names(paths)):  # noqa: B905  # strict came with Python 3.10
        try:
            image = read_image(path, options.max_pixels or most_pixels())
            mask, result = segmented(session, image, facts)
            save(output, name, image, mask, facts, options.opacity)
            if facts.get("objects"):
                save_palette(output / f"{name}_panoptic.png", result["panoptic"][0], facts)
                Image.fromarray(result["numbers"][0].astype(np.uint16)).save(output / f"{name}_numbers.png")
                objects += object_lines(name, result, facts)
        except Exception as error:  # Pillow and ONNX Runtime raise half a dozen kinds; whatever it is, others follow
            said = str(error) or type(error).__name__
            print(shown(f"not segmented: {path}: {said}"), file=sys.stderr)
            failures += 1
            continue
        shares = np.bincount(mask.ravel(), minlength=len(facts["class_names"])) / mask.size
        names = [f"{facts['class_names'][index]} {shares[index]:.1%}" for index in np.argsort(-shares) if shares[index]]
        print(shown(f"{path}: {', '.join(names)}"))
    if facts.get("objects"):
        with (output / "objects.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *objects])
        print(f"{len(objects)} objects: {output / 'objects.csv'}")
    print(f"{len(options.images) - failures} of {len(options.images)} images segmented: {output}")
    return 1 if failures else 0


def shown(text: str) -> str:
    """Return a text, in which names of files and classes stand, without what a terminal obeys."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def most_pixels() -> int:
    """Return how many pixels the memory that is free holds, as a network sees them whole."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # another system than Linux
        return MOST_PIXELS
    return min(MOST_PIXELS, free // BYTES_PER_PIXEL)


def segmented(session: Any, image: np.ndarray, facts: dict) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the class map `(H, W)` uint8 of an image `(H, W, 3)`, and all that the model gives, by name.

    Of a model that tells objects apart: `numbers (1, H, W)` int32, 1..n on objects; `panoptic (1, H, W)` uint8, classes
    behind that; `object_classes (n,)` and `scores (n,)` by number.

    Raises:
        ValueError: The model takes images of another size, or gives values that are no numbers.
    """
    takes = session.get_inputs()[0]
    size = takes.shape[2:]
    if isinstance(size[0], int) and tuple(size) != image.shape[:2]:
        raise ValueError(
            f"{image.shape[0]}x{image.shape[1]} (height x width); the model takes {size[0]}x{size[1]} alone"
        )
    names = [output.name for output in session.get_outputs()]
    results = session.run(names, {takes.name: prepared(image, facts["preprocessing"])})
    result = dict(zip(names, results))  # noqa: B905  # strict came with Python 3.10
    mask = decided(result[facts["output"]][0], facts)
    if mask is None:
        raise ValueError(f"the network of {facts['source']['checkpoint']} gives values that are no numbers")
    return mask, result


def read_image(path: Path, most: int = MOST_PIXELS) -> np.ndarray:
    """Read an image as `(H, W, 3)` uint8 RGB, as in training: upright, transparent on white, of 16 bits the high ones.

    Raises:
        ValueError: It is no ordinary file, has more than `most` pixels, 32-bit values, or other channels; and Pillow's
            own errors.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no ordinary file")
    Image.init()
    with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
        if image.width * image.height > most:
            raise ValueError(f"it has {image.width}x{image.height} pixels, more than {most:,}; see --max_pixels")
        layout = image.tile[0][3] if image.tile else None  # loading clears it
        image.load()
        samples = image.tag_v2.get(277, 1) if image.format == "TIFF" else 1  # type: ignore[attr-defined,unused-ignore]
        if samples > len(image.getbands()):
            raise ValueError(f"it has {samples} channels, expected grey, RGB or RGBA")
        layout = str((layout[0] if isinstance(layout, tuple) else layout) or image.mode)
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        if ";16" not in layout:
            raise ValueError(f"it has 32-bit values (kind {layout}), whose range is unknown")
        grey = ((np.asarray(upright).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if "transparency" in upright.info or upright.mode.endswith(("A", "a")):
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    return np.array(upright.convert("RGB"))


def output_names(
    images: Sequence[Path], without_ending: Callable[[Path], Path] = lambda image: image.with_suffix("")
) -> list[Path]:
    """Name the outputs after the images, without endings, keeping the folders below their common one.

    Where two images would have one name, their endings stay.
    """
    absolute = [Path(os.path.abspath(image)) for image in images]
    common = Path(os.path.commonpath([image.parent for image in absolute]))
    names = {image: without_ending(image.relative_to(common)) for image in absolute}
    while True:
        taken = Counter(names.values())
        clashing = [image for image, name in names.items() if taken[name] > 1 and name != image.relative_to(common)]
        if not clashing:
            return [names[image] for image in absolute]
        names.update((image, image.relative_to(common)) for image in clashing)


def prepared(image: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Return `(1, 3, H, W)`: uint8, or normalised float32 where the model leaves that to its user."""
    batch = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    if preprocessing["inside"]:
        return batch
    mean, std = (np.array(preprocessing[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    return ((batch / np.float32(preprocessing["pixel_range"]) - mean) / std).astype(np.float32)


def object_lines(name: Path, result: dict[str, np.ndarray], facts: dict) -> list[tuple]:
    """Return the lines of `objects.csv` for an image: `COLUMNS` of each object, boxes and areas in pixels."""
    numbers, lines = result["numbers"][0], []
    for index, (class_id, score) in enumerate(zip(result["object_classes"], result["scores"])):  # noqa: B905
        rows, columns = np.nonzero(numbers == index + 1)
        left, top = int(columns.min()), int(rows.min())
        box = (left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top)
        class_name = facts["class_names"][class_id]
        lines.append((name.as_posix(), index + 1, class_name, round(float(score), 6), *box, len(rows)))
    return lines


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


def save(output: Path, name: Path, image: np.ndarray, mask: np.ndarray, facts: dict, opacity: float) -> None:
    """Write the mask with its palette, and the classes' colours laid over the image."""
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    table = save_palette(output / f"{name}_mask.png", mask, facts)
    blended = (1 - opacity) * image + opacity * table[mask]
    Image.fromarray(blended.round().astype(np.uint8)).save(output / f"{name}_overlay.png")


def save_palette(path: Path, mask: np.ndarray, facts: dict) -> np.ndarray:
    """Write class ids with the classes' palette, and return that, `(256, 3)` uint8."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(facts["palette"])] = facts["palette"]
    palette_png = Image.fromarray(mask)
    palette_png.putpalette(table.tobytes())
    palette_png.save(path)
    return table


if __name__ == "__main__":
    sys.exit(main())
