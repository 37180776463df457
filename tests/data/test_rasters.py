"""Images beyond RGB of 8 bits: what is stored comes out, or an error says what to do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.files import dicom, georasters, volumes
from deeplab_lightning.data.files.dicom import read_dicom
from deeplab_lightning.data.files.georasters import RasterPart, check_same_grid, read_raster, windows_of
from deeplab_lightning.data.files.images import read_image, read_mask_as_stored, read_stored
from deeplab_lightning.data.files.rasters import Source, read_labels, read_source, source, sources_in
from deeplab_lightning.data.files.volumes import read_slice, slice_count
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.extras import need
from tests.fakes.folder import draw, write_geotiff, write_image, write_nifti


def values(dtype: str, channels: int, height: int = 20, width: int = 30) -> np.ndarray:
    rng = np.random.default_rng(channels)
    lower, upper = {"uint8": (0, 256), "uint16": (0, 60_000), "int16": (-2000, 2000)}.get(dtype, (-50, 50))
    return rng.uniform(lower, upper, (height, width, channels)).astype(dtype)


# -------------------------------------------------------------------------------------------- TIFF, PNG and arrays


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_tiff_of_any_type_and_channels(tmp_path: Path, dtype: str, channels: int, interleave: str) -> None:
    pytest.importorskip("rasterio")
    stored = values(dtype, channels)
    write_geotiff(tmp_path / "a.tif", stored, interleave=interleave, compress="lzw")
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif"), stored)
    if channels != 3 or dtype != "uint8":
        result = read_source(tmp_path / "a.tif", channels, 255.0 if dtype == "uint8" else 65535.0)
        assert result.dtype == (np.uint8 if dtype == "uint8" else np.float32)
        np.testing.assert_allclose(result, stored, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_of_one_channel_needs_no_extra(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(georasters, "need", None)
    stored = values(dtype, 1)
    Image.fromarray(stored[..., 0]).save(tmp_path / "a.tif", compression="tiff_deflate")
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif"), stored)


def test_pages_of_a_tiff_are_channels(tmp_path: Path) -> None:
    stored = values("uint16", 3)
    pages = [Image.fromarray(stored[..., channel].copy()) for channel in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_source(tmp_path / "a.tif", 3, 65535.0), stored)
    with pytest.raises(DataError, match="has 3 channels, but mean and std declare 1 channel"):
        read_source(tmp_path / "a.tif", 1, 65535.0)
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[pages[1].crop((0, 0, 9, 9))])
    with pytest.raises(DataError, match=r"2 pages of different sizes \(30x20, 9x9\)"):
        read_stored(tmp_path / "a.tif")


def test_reduced_copies_in_a_tiff_are_left_out(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    stored = values("uint16", 1, 64, 64)
    write_geotiff(tmp_path / "a.tif", stored)
    with rasterio.open(tmp_path / "a.tif", "r+") as raster:
        raster.build_overviews([2, 4])
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif"), stored)


@pytest.mark.parametrize("channels", [1, 2])
def test_cut_tiff_is_refused(tmp_path: Path, channels: int) -> None:
    pytest.importorskip("rasterio")
    write_geotiff(tmp_path / "a.tif", values("uint16", channels, 200, 200))
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"Cannot read .*a\.tif"):
        read_stored(tmp_path / "a.tif")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_of_16_bits_keeps_them(tmp_path: Path, channels: int) -> None:
    stored = values("uint16", channels)
    write_image(tmp_path / "a.png", stored if channels > 1 else stored[..., 0])
    np.testing.assert_array_equal(read_source(tmp_path / "a.png", channels, 65535.0), stored)


def test_8_bit_images_keep_their_channels(tmp_path: Path) -> None:
    stored = values("uint8", 4)
    for channels in (1, 3, 4):
        image = stored[..., :channels] if channels > 1 else stored[..., 0]
        Image.fromarray(image).save(tmp_path / f"{channels}.png")
        result = read_source(tmp_path / f"{channels}.png", channels, 255.0)
        np.testing.assert_array_equal(result, stored[..., :channels])
        assert result.dtype == np.uint8
    Image.fromarray(stored[..., 0] > 99).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_source(tmp_path / "bits.png", 1, 255.0), stored[..., :1] > 99)
    palette = Image.fromarray(stored[..., 0] // 64)
    palette.putpalette(bytes(range(12)))
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_stored(tmp_path / "palette.png"), np.array(palette.convert("RGB")))


def test_rgb_of_8_bits_goes_the_usual_way(tmp_path: Path) -> None:
    """Grey becomes RGB, what is transparent is white, 16 bits become 8: as everywhere else."""
    rgba = values("uint8", 4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(rgba[..., 0]).save(tmp_path / "b.tif")
    Image.fromarray(values("uint16", 1)[..., 0]).save(tmp_path / "c.tif")
    Image.fromarray(rgba[..., :3]).save(tmp_path / "d.jpg")
    for name in ("a.png", "b.tif", "c.tif", "d.jpg"):
        np.testing.assert_array_equal(read_source(tmp_path / name, 3, 255.0), read_image(tmp_path / name))


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_no_channel_of_a_tiff_is_dropped_without_a_word(tmp_path: Path, interleave: str) -> None:
    """Pillow reads the first of channels that are stored one behind the other, and says nothing."""
    pytest.importorskip("rasterio")
    for channels in (2, 4, 5):
        write_geotiff(tmp_path / "a.tif", values("uint8", channels), interleave=interleave, photometric="MINISBLACK")
        with pytest.raises(DataError, match=r"a\.tif"):
            read_image(tmp_path / "a.tif")
        with pytest.raises(DataError, match=rf"a\.tif has {channels} channels, but mean and std declare 3"):
            read_source(tmp_path / "a.tif", 3, 255.0)
    deep = values("uint16", 3)
    write_geotiff(tmp_path / "a.tif", deep, interleave=interleave)
    expected = np.round(deep / 257)
    assert np.abs(read_source(tmp_path / "a.tif", 3, 255.0) - expected).max() <= 1


def test_a_fourth_channel_that_a_tiff_calls_alpha_changes_nothing(tmp_path: Path) -> None:
    """Pillow divides the others by it."""
    pytest.importorskip("rasterio")
    stored = values("uint8", 4)
    write_geotiff(tmp_path / "a.tif", stored, photometric="RGB", alpha="premultiplied")
    np.testing.assert_array_equal(read_source(tmp_path / "a.tif", 4, 255.0), stored)


def test_three_floating_point_channels_of_0_to_255(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    stored = values("float32", 3)
    write_geotiff(tmp_path / "a.tif", stored)
    np.testing.assert_array_equal(read_source(tmp_path / "a.tif", 3, 255.0), stored)


def test_wrong_number_of_channels_names_what_to_set(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    write_geotiff(tmp_path / "a.tif", values("uint16", 5))
    with pytest.raises(DataError, match=r"a\.tif has 5 channels.*declare 3 channels\. .*mean: .*5 numbers each"):
        read_source(tmp_path / "a.tif", 3, 255.0)
    np.save(tmp_path / "a.npy", np.zeros((4, 20, 30), np.float32))
    with pytest.raises(DataError, match=r"a\.npy has 30 channels.*seem to come first: save it as \(height, width"):
        read_source(tmp_path / "a.npy", 4, 1.0)


def test_arrays(tmp_path: Path) -> None:
    for stored in (values("float32", 5), values("uint8", 2), values("uint16", 1)[..., 0]):
        np.save(tmp_path / "a.npy", stored)
        expected = stored if stored.ndim == 3 else stored[..., None]
        result = read_source(tmp_path / "a.npy", expected.shape[2], 255.0 if stored.dtype == np.uint8 else 4095.0)
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == (np.uint8 if stored.dtype == np.uint8 else np.float32)
    np.save(tmp_path / "object.npy", np.array([[{}]]), allow_pickle=True)
    np.save(tmp_path / "line.npy", np.zeros(9))
    (tmp_path / "text.npy").write_text("no array")
    for name, words in {
        "object.npy": "holds object",
        "line.npy": r"float64 of shape \(9,\), expected .*\(height, width\)",
        "text.npy": "cannot be read .*as plain numbers",
        "bject.npy": r"does not exist.*Did you mean 'object\.npy'",
    }.items():
        with pytest.raises(DataError, match=words):
            read_source(tmp_path / name, 1, 1.0)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    stored = values("float32", 2)
    stored[3, 4:6, 1] = np.nan, np.inf
    np.save(tmp_path / "a.npy", stored)
    with pytest.raises(DataError, match=r"a\.npy holds 2 values that are no numbers"):
        read_source(tmp_path / "a.npy", 2, 1.0)


# -------------------------------------------------------------------------------------------------- windows of rasters


@pytest.mark.parametrize(("height", "width", "size"), [(100, 70, 32), (32, 32, 32), (33, 7, 32), (5, 6, 100)])
def test_windows_cover_each_pixel_once_and_are_alike(tmp_path: Path, height: int, width: int, size: int) -> None:
    pytest.importorskip("rasterio")
    stored = values("uint16", 2, height, width)
    write_geotiff(tmp_path / "a.tif", stored)
    seen = np.zeros((height, width), int)
    windows = windows_of(tmp_path / "a.tif", size)
    for window in windows:
        part = (slice(window.row, window.row + window.height), slice(window.column, window.column + window.width))
        seen[part] += 1
        np.testing.assert_array_equal(read_raster(tmp_path / "a.tif", window), stored[part])
        assert max(window.height, window.width) <= size
    assert (seen == 1).all()
    for sides in ({window.height for window in windows}, {window.width for window in windows}):
        assert max(sides) - min(sides) <= 1


def test_a_window_is_read_without_the_rest_of_the_file(tmp_path: Path) -> None:
    """The file is cut behind its first tiles: those can be read, all of it cannot."""
    pytest.importorskip("rasterio")
    stored = values("uint8", 2, 256, 256)
    write_geotiff(tmp_path / "a.tif", stored, tiled=True, blockxsize=64, blockysize=64, interleave="pixel")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif", RasterPart(0, 0, 64, 64)), stored[:64, :64])
    with pytest.raises(DataError, match="Cannot read"):
        read_raster(tmp_path / "a.tif")


def test_rasters_of_other_places_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    stored = values("uint8", 1)
    for name, left in {"a": 100.0, "b": 100.0, "c": 101.0, "d": None}.items():
        write_geotiff(tmp_path / f"{name}.tif", stored, left=left)
    write_geotiff(tmp_path / "e.tif", stored[:-1], left=100.0)
    check_same_grid(tmp_path / "a.tif", tmp_path / "b.tif")
    check_same_grid(tmp_path / "a.tif", tmp_path / "d.tif")  # which says nothing of its place
    with pytest.raises(DataError, match=r"lie in different places: .*100\.0.*101\.0"):
        check_same_grid(tmp_path / "a.tif", tmp_path / "c.tif")
    with pytest.raises(DataError, match=r"is 30x20, .*e\.tif is 30x19"):
        check_same_grid(tmp_path / "a.tif", tmp_path / "e.tif")


# ---------------------------------------------------------------------------------------------------- medical images


@pytest.mark.parametrize("axes", ["RAS", "LPS", "ASR", "SPL", "PIR", "RSA"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_slices_are_the_same_however_a_volume_is_stored(
    tmp_path: Path, axes: str, ending: str, channels: tuple[int, ...]
) -> None:
    """Axes of `volume` run right, front and up: rows shall run back, columns right, slices up."""
    pytest.importorskip("nibabel")
    volume = np.random.default_rng(0).integers(-1000, 1000, (7, 9, 5, *channels)).astype(np.int16)
    path = tmp_path / f"scan{ending}"
    write_nifti(path, volume, axes)
    assert sources_in(path) == [Source(path, index) for index in range(5)]
    for index in (0, 3):
        expected = volume[:, :, index].swapaxes(0, 1)[::-1]
        expected = expected if channels else expected[..., None]
        np.testing.assert_array_equal(read_slice(path, index), expected)
        np.testing.assert_array_equal(read_source(f"{path}#{index}", expected.shape[2], 1000.0), expected)


def test_volumes_that_cannot_be_read(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "scan.nii.gz"
    write_nifti(path, np.random.default_rng(0).integers(0, 1000, (40, 40, 12)).astype(np.int16))
    assert slice_count(path) == 12
    with pytest.raises(DataError, match=r"12 slices, 0 to 11; there is no slice 12"):
        read_slice(path, 12)
    with pytest.raises(DataError, match=r"a volume of 12 slices: choose one, as in .*scan\.nii\.gz#6"):
        read_source(path, 1, 1.0)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"Cannot read .*scan\.nii\.gz"):
        read_slice(path, 11)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"Cannot read .*scan\.nii\.gz"):
        slice_count(path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5), np.int16), np.eye(4)), tmp_path / "flat.nii")
    with pytest.raises(DataError, match=r"shape \(4, 5\), expected a volume"):
        slice_count(tmp_path / "flat.nii")


def test_a_missing_package_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"Reading x needs the package nowhere_to_be.*deeplab-lightning\[geo\]"):
        need("nowhere_to_be", "geo", "Reading x")

    def absent(package: str, extra: str, purpose: str) -> None:
        need("no_" + package, extra, purpose)

    pytest.importorskip("rasterio")
    write_geotiff(tmp_path / "a.tif", values("uint16", 5))
    monkeypatch.setattr(georasters, "need", absent)
    with pytest.raises(DataError, match=r"a\.tif.* Pillow does not know.*deeplab-lightning\[geo\]"):
        read_stored(tmp_path / "a.tif")
    monkeypatch.setattr(volumes, "need", absent)
    monkeypatch.setattr(dicom, "need", absent)
    for call, words in (
        (lambda: windows_of("a.tif", 9), r"a\.tif.*\[geo\]"),
        (lambda: slice_count("a.nii"), r"a\.nii.*\[medical\]"),
        (lambda: read_dicom("a.dcm"), r"a\.dcm.*\[medical\]"),
    ):
        with pytest.raises(ConfigError, match=words):
            call()


# --------------------------------------------------------------------------------------------------------------- masks


def test_sources_know_their_parts() -> None:
    assert source("a/scan.nii.gz#17") == Source(Path("a/scan.nii.gz"), 17)
    assert source("a#1.png") == Source(Path("a#1.png"))
    assert str(Source(Path("a.nii"), 7)) == "a.nii#007"
    assert Source(Path("a.tif"), RasterPart(512, 0, 9, 9)).mark == "#512_0"
    assert Source(Path("a.png")).mark == ""


def test_masks_of_every_kind_give_their_numbers(tmp_path: Path) -> None:
    mask = draw(0, 3)[0]
    np.save(tmp_path / "a.npy", mask.astype(np.int64))
    np.save(tmp_path / "b.npy", mask.astype(np.float32))
    Image.fromarray(mask).save(tmp_path / "c.png")
    Image.fromarray(mask.astype(np.uint16) * 1000).save(tmp_path / "d.png")
    for name in ("a.npy", "b.npy", "c.png"):
        np.testing.assert_array_equal(read_labels(Source(tmp_path / name)), mask)
    np.testing.assert_array_equal(read_labels(Source(tmp_path / "d.png")), mask.astype(int) * 1000)
    np.save(tmp_path / "e.npy", mask + 0.5)
    with pytest.raises(DataError, match=r"e\.npy holds fractions such as"):
        read_labels(Source(tmp_path / "e.npy"))
    np.save(tmp_path / "f.npy", np.zeros((4, 4, 2)))
    with pytest.raises(DataError, match=r"f\.npy has 2 channels, expected one class id"):
        read_labels(Source(tmp_path / "f.npy"))


def test_colours_of_masks_come_out_exactly(tmp_path: Path) -> None:
    colours = values("uint8", 3)
    Image.fromarray(colours).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([colours, np.full((20, 30), 255, np.uint8)])).save(tmp_path / "b.png")
    Image.fromarray(colours).save(tmp_path / "c.bmp")
    for name in ("a.png", "b.png", "c.bmp"):
        np.testing.assert_array_equal(read_mask_as_stored(tmp_path / name), colours)
    cv2.imwrite(str(tmp_path / "d.jpg"), colours)
    with pytest.raises(DataError, match="compressed as JPEG"):
        read_mask_as_stored(tmp_path / "d.jpg")
    clear = np.where(colours[..., 0] < 100, 0, 255).astype(np.uint8)  # says no more than red does
    Image.fromarray(np.dstack([colours, clear])).save(tmp_path / "e.png")
    np.testing.assert_array_equal(read_mask_as_stored(tmp_path / "e.png"), colours)
    Image.fromarray(np.dstack([colours * 0, clear])).save(tmp_path / "f.png")
    with pytest.raises(DataError, match=r"f\.png is partly transparent.*alpha channel seems to be the label"):
        read_mask_as_stored(tmp_path / "f.png")
