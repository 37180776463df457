"""Honest images, masks, volumes, arrays, videos and tiles of every format, with some of their bytes changed."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import images
from .annotations import changed_bytes


def honest() -> dict[str, bytes]:
    """Name, with its ending -> content."""
    noise = np.random.default_rng(0)
    colours, grey = (noise.integers(0, 256, size, dtype=np.uint8) for size in ((33, 40, 3), (33, 40)))
    classes = (grey // 64).astype(np.uint8)
    indexed = Image.fromarray(classes)
    indexed.putpalette(bytes(range(256)) * 3)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6

    def saved(image: Image.Image, form: str, **options: Any) -> bytes:
        made = io.BytesIO()
        image.save(made, form, **options)
        return made.getvalue()

    def array(**arrays: np.ndarray) -> bytes:
        made = io.BytesIO()
        np.savez_compressed(made, **arrays)  # type: ignore[arg-type,unused-ignore]
        return made.getvalue()

    from scipy.io import savemat

    matlab, plain = io.BytesIO(), io.BytesIO()
    savemat(matlab, {"a": {"b": grey}}, do_compression=True)
    np.save(plain, colours)
    rgb = Image.fromarray(colours)
    return {
        "a.jpg": saved(rgb, "JPEG"), "turned.jpg": saved(rgb, "JPEG", exif=exif), "a.png": saved(rgb, "PNG"),
        "grey.png": saved(Image.fromarray(grey), "PNG"), "palette.png": saved(indexed, "PNG"),
        "alpha.png": saved(rgb.convert("RGBA"), "PNG"), "deep.png": saved(deep, "PNG"), "a.webp": saved(rgb, "WEBP"),
        "a.gif": saved(indexed, "GIF"), "a.bmp": saved(rgb, "BMP"), "a.ppm": saved(rgb, "PPM"),
        "a.tga": saved(rgb, "TGA"), "a.tif": saved(rgb, "TIFF"),
        "packed.tif": saved(rgb, "TIFF", compression="tiff_lzw"),
        "deflated.tif": saved(deep, "TIFF", compression="tiff_deflate"), "a.jp2": saved(rgb, "JPEG2000"),
        "a.npy": plain.getvalue(), "a.npz": array(a=colours), "a.mat": matlab.getvalue(),
        "a.nii": images.nifti((8, 9, 3), body=bytes(8 * 9 * 3)),
        "a.nii.gz": gzip.compress(images.nifti((8, 9, 3), body=bytes(8 * 9 * 3))),
        "a.nrrd": images.nrrd("type: uchar\ndimension: 2\nsizes: 9 8\nencoding: raw", bytes(72)),
        "packed.nrrd": images.nrrd("type: uchar\ndimension: 2\nsizes: 9 8\nencoding: gzip", gzip.compress(bytes(72))),
        "a.dcm": images.dicom(),
    }  # fmt: skip


def read(path: Path) -> None:
    """Read a file in every way that a data set or a command does; refusals are no fault."""
    from deeplab_lightning.data.files.depth_maps import read_depth
    from deeplab_lightning.data.files.rasters import (
        parts_to_segment,
        read_grey,
        read_labels,
        read_labels_in_colours,
        read_source,
        sources_in,
    )
    from deeplab_lightning.data.pairing.pattern_search import holds_few_values
    from deeplab_lightning.doctor.orientation import orientation_of
    from deeplab_lightning.errors import DataError

    ways: list[Callable[[Any], Any]] = [
        *(lambda part: read_source(part, 3, 255), lambda part: read_source(part, 1, 1), read_labels),
        *(read_labels_in_colours, read_grey),
    ]
    try:
        parts = parts_to_segment(path)
    except DataError:
        parts = []
    for part in parts[:20]:
        for way in ways:
            try:
                way(part)
            except DataError:  # noqa: PERF203
                continue
    for other in (read_depth, holds_few_values, orientation_of, lambda each: sources_in(each, 16)):
        try:
            other(path)  # type: ignore[operator]
        except DataError:  # noqa: PERF203
            continue


def entries(folder: Path, count: int = 6, seed: int = 0) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the changed files, and videos and tiles."""
    generator = random.Random(seed)
    for name, data in honest().items():
        (folder / name).write_bytes(data)
        read(folder / name)
        for number in range(count):
            path = folder / f"{number:04}{name}"
            path.write_bytes(changed_bytes(data, generator))
            yield f"{name}: {number}", lambda path=path: read(path)  # type: ignore[misc]
    yield from videos(folder / "videos", generator, count)
    yield from tiles(folder / "tiles", generator, count)


def videos(folder: Path, generator: random.Random, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield videos with changed bytes, of which all frames are decoded."""
    from deeplab_lightning.errors import DataError
    from deeplab_lightning.video.reading import VideoFile

    from ..fakes.video import write_video

    def watch(path: Path) -> None:
        try:
            for frame in VideoFile(path).frames():
                assert frame.image.nbytes < 1 << 24
        except DataError:
            pass

    folder.mkdir()
    for ending in (".mp4", ".mkv", ".avi"):
        data = write_video(folder / f"a{ending}", 8).read_bytes()
        watch(folder / f"a{ending}")
        for number in range(count):
            path = folder / f"{number:04}{ending}"
            path.write_bytes(changed_bytes(data, generator))
            yield f"video {ending}: {number}", lambda path=path: watch(path)  # type: ignore[misc]


def tiles(folder: Path, generator: random.Random, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield files of a cache of tiles, with changed bytes, and headers that are whole and lie."""
    import json

    from deeplab_lightning.data.tiles import _digest

    from ..data.test_tiles import Arrays, TiledDataset, stored_files

    folder.mkdir()
    source = Arrays(folder, [(70, 80, 3)])
    cached = TiledDataset(source, folder / "cache")
    cached.load(0)
    (path,) = stored_files(folder / "cache")
    data, expected = path.read_bytes(), source.load(0)

    def load(content: bytes) -> None:
        path.write_bytes(content)
        for one, other in zip(cached.load(0), expected, strict=True):
            assert np.array_equal(one, other)  # made anew

    header_at = 16 + 4
    size = int.from_bytes(data[16:header_at], "little")
    facts = json.loads(data[header_at : header_at + size])
    lies: list[Any] = [
        [10**6, 10**6, 3], [-1, -1, 3], [0, 0, 3], [70, 80, 10**9], [70], [], ["x", 80, 3], [70.5, 80, 3], None,
    ]  # fmt: skip
    made = [("shape", [lie, *facts["arrays"][0][1:]]) for lie in lies]
    made += [
        ("type", [facts["arrays"][0][0], lie, facts["arrays"][0][2]]) for lie in ("<f8", "|O", "x", 5, "<U9999999")
    ]
    ends = [[], [-5], [10**15], [10**30], ["x"], None]
    made += [("ends", [*facts["arrays"][0][:2], lie]) for lie in ends]
    for number, (what, lie) in enumerate(made):
        header = json.dumps({**facts, "arrays": [lie, facts["arrays"][1]]}).encode()
        content = _digest(header) + len(header).to_bytes(4, "little") + header + data[header_at + size :]
        yield f"tiles: {what} {number}", lambda content=content: load(content)  # type: ignore[misc]
    for number in range(count):
        content = changed_bytes(data, generator)
        yield f"tiles: {number}", lambda content=content: load(content)  # type: ignore[misc]
