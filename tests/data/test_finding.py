"""What a folder holds is read or named, whatever its kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.files import limits, rasters
from deeplab_lightning.data.files.images import read_image
from deeplab_lightning.data.files.rasters import parts_to_segment, read_source
from deeplab_lightning.data.pairing.finding import (
    DEEPEST,
    IMAGE_SUFFIXES,
    RASTER_SUFFIXES,
    files_below,
    find_images,
    not_read,
)
from tests.fakes.folder import write_geotiff

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_every_kind_that_pillow_writes_is_found(tmp_path: Path) -> None:
    endings = (".jfif", ".jpe", ".mpo", ".gif", ".jp2", ".avif", ".ppm", ".pnm", ".tga", ".PNG")
    for ending in endings:
        Image.fromarray(RGB).save(tmp_path / f"a{ending}")
    (tmp_path / "photo").write_bytes((tmp_path / "a.PNG").read_bytes())
    found = find_images([tmp_path])
    assert len(found) == len(endings) + 1
    for path in found:
        assert read_image(path).shape == RGB.shape
    assert not_read([tmp_path], found) == []


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    for name in ("b/1.heic", "b/2.HEIC", "c.czi", "d.unknown", "e", "notes.txt", ".hidden.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_images([tmp_path], (*IMAGE_SUFFIXES, *RASTER_SUFFIXES))
    lines = not_read([tmp_path], found)
    assert lines[0].startswith("not read: 2 x .heic: convert them to JPEG or PNG")
    assert {line.split(": ")[1] for line in lines} == {"2 x .heic", "1 x .czi", "1 x .unknown", "1 x without ending"}
    assert not_read([tmp_path / "a.png"], found) == []


def test_of_an_animation_the_first_frame_is_read_and_that_is_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB), Image.fromarray(RGB // 2)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=r"a\.png is an animation of 3 frames: the first is read"):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_a_slide_that_is_too_large_is_segmented_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    write_geotiff(
        tmp_path / "a.tif", RGB, photometric="YCBCR", compress="JPEG", tiled=True, blockxsize=16, blockysize=16
    )
    (tmp_path / "a.tif").rename(tmp_path / "a.svs")
    assert parts_to_segment(tmp_path / "a.svs") == [rasters.Source(tmp_path / "a.svs")]
    whole = read_source(tmp_path / "a.svs", 3, 255.0)
    monkeypatch.setattr(limits, "MOST_PIXELS", 300)
    monkeypatch.setattr(rasters, "LARGEST_WINDOW", 16)
    parts = parts_to_segment(tmp_path / "a.svs")
    assert [part.mark for part in parts] == ["#0_0", "#0_15", "#10_0", "#10_15"]
    again = np.vstack([np.hstack([read_source(part, 3, 255.0) for part in row]) for row in (parts[:2], parts[2:])])
    assert again.shape == whole.shape
    assert np.abs(again.astype(int) - whole).mean() < 12


def test_neither_links_to_the_whole_disk_nor_endless_folders_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "a" / "root"
    deep = root.joinpath(*"d" * (DEEPEST + 20))
    deep.mkdir(parents=True)
    for folder in (root, deep, tmp_path):
        (folder / "x.png").touch()
    (root / "all").symlink_to("/")
    (root / "above").symlink_to(tmp_path)
    assert files_below(root) == [root / "x.png"]
