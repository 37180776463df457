"""Kinds of pixels that files may have, each compared with what was written, or with GDAL."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from deeplab_lightning.data.files.images import NO_NUMBER, read_image, read_mask, read_mask_as_stored, read_stored
from deeplab_lightning.data.files.rasters import of_pillow, read_source
from deeplab_lightning.doctor.contents import unusual_images
from deeplab_lightning.errors import DataError
from tests.fakes.folder import write_geotiff

pytest.importorskip("rasterio")
RNG = np.random.default_rng(0)
FOUR = RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30, 3)).astype(np.uint16)


def with_alpha() -> np.ndarray:
    """Return RGB with a hole and a soft edge, as `(20, 30, 4)`."""
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[5:10, 5:10], alpha[10, 5:10] = 0, 128
    return np.dstack([FOUR[..., :3], alpha])


# -------------------------------------------------------------------------------------------- a fourth channel


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize(
    "options",
    [{}, {"photometric": "RGB", "alpha": "unspecified"}, {"photometric": "MINISBLACK"}, {"alpha": "premultiplied"}],
    ids=str,
)
def test_near_infrared_is_no_transparency(tmp_path: Path, options: dict, interleave: str) -> None:
    """GDAL calls any fourth channel of 8 bits alpha."""
    write_geotiff(tmp_path / "a.tif", FOUR, interleave=interleave, **options)
    with pytest.raises(DataError, match=r"a\.tif has 4 channels.*set mean: \[\.\.\., \.\.\., \.\.\."):
        read_source(tmp_path / "a.tif", 3, 255.0)
    with pytest.raises(DataError):
        read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_source(tmp_path / "a.tif", 4, 255.0), FOUR)
    proposed = unusual_images([tmp_path / "a.tif"])
    assert proposed["pixel_range"] == 255
    np.testing.assert_allclose(proposed["mean"], FOUR.mean((0, 1)) / 255, atol=1e-4)


def test_transparency_that_a_file_states_is_shown_on_white(tmp_path: Path) -> None:
    stored = with_alpha()
    write_geotiff(tmp_path / "a.tif", stored)
    alpha = stored[..., 3:] / 255
    expected = stored[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read_source(tmp_path / "a.tif", 3, 255.0) - expected).max() <= 1
    assert np.abs(of_pillow(Image.open(tmp_path / "a.tif"), 3, 255.0) - expected).max() <= 1
    assert unusual_images([tmp_path / "a.tif"]) == {}


def test_a_fourth_channel_of_which_nothing_is_said(tmp_path: Path) -> None:
    """Whatever it looks like: tag 338 is missing."""
    Image.fromarray(with_alpha()).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data.replace(b"\x52\x01\x03\x00", b"\xe8\xfd\x03\x00"))
    with pytest.raises(DataError, match=r"a\.tif has 4 channels"):
        read_source(tmp_path / "a.tif", 3, 255.0)


def test_a_fourth_channel_of_jpeg_2000(tmp_path: Path) -> None:
    """Its box `cdef` says which channel is opacity, and Pillow writes it; Pillow takes any fourth for opacity."""
    import rasterio

    Image.fromarray(with_alpha()).save(tmp_path / "a.jp2")
    assert (read_image(tmp_path / "a.jp2")[6, 6] == 255).all()
    path = tmp_path / "b.jp2"
    with rasterio.open(path, "w", "JP2OpenJPEG", 30, 20, 4, dtype="uint8", QUALITY=100, REVERSIBLE="YES") as raster:
        raster.write(with_alpha().transpose(2, 0, 1))
    with pytest.raises(DataError, match=r"b\.jp2 has 4 channels, of which the last is not called transparency"):
        read_image(path)


# -------------------------------------------------------------------------------------------- bits and signs


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_rgb_of_16_bits(tmp_path: Path, order: str, interleave: str) -> None:
    write_geotiff(tmp_path / "a.tif", DEEP, interleave=interleave, endianness=order, compress="lzw", predictor=2)
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif"), DEEP)
    for read in (read_image, lambda path: read_source(path, 3, 255.0)):
        assert np.abs(read(tmp_path / "a.tif") - DEEP / 257).max() <= 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_12_bits(tmp_path: Path, channels: int) -> None:
    stored = DEEP[..., :channels] >> 4
    write_geotiff(tmp_path / "a.tif", stored, nbits=12)
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif"), stored)
    assert np.abs(read_image(tmp_path / "a.tif") - stored * (255 / 4095)).max() <= 0.51


@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_2000_of_deep_values(tmp_path: Path, bits: int) -> None:
    """Pillow spreads 12 bits over 16, and does not read three channels."""
    import rasterio

    for channels in (1, 3):
        stored = DEEP[..., :channels] >> (16 - bits)
        options = {"QUALITY": 100, "REVERSIBLE": "YES", "NBITS": bits}
        path = tmp_path / f"{channels}.jp2"
        with rasterio.open(path, "w", "JP2OpenJPEG", 30, 20, channels, dtype="uint16", **options) as raster:
            raster.write(stored.transpose(2, 0, 1))
        np.testing.assert_array_equal(read_stored(path), stored)
        assert np.abs(read_image(path) - stored * (255 / (2**bits - 1))).max() <= 1


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_signs_are_kept(tmp_path: Path, dtype: str, order: str) -> None:
    """Pillow reads -1 of 8 bits as 255, and 2**31 of 32 bits as negative."""
    if dtype == "uint32":
        stored = RNG.integers(0, 2**32, (20, 30), dtype=np.uint32)
    else:
        stored = RNG.integers(-100, 100, (20, 30)).astype(dtype)
    write_geotiff(tmp_path / "a.tif", stored, endianness=order)
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif")[..., 0], stored)
    np.testing.assert_array_equal(read_mask_as_stored(tmp_path / "a.tif"), stored)
    with pytest.raises(DataError):
        read_image(tmp_path / "a.tif")  # what would be black, and what white?
    with pytest.raises(DataError, match="holds values from"):
        read_mask(tmp_path / "a.tif")


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", FOUR[..., 0].astype(np.complex64))
    with pytest.raises(DataError, match="complex"):
        read_stored(tmp_path / "a.tif")


# -------------------------------------------------------------------------------------------- kinds of colour


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_is_zero(tmp_path: Path, dtype: str) -> None:
    """Of scanners: images are turned round, and of masks it is not known what is meant."""
    stored, top = (DEEP[..., 0], 65535) if dtype == "uint16" else (FOUR[..., 0], 255)
    write_geotiff(tmp_path / "a.tif", stored, photometric="MINISWHITE")
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif")[..., 0], top - stored)
    expected = np.repeat((top - stored.astype(float))[..., None] * (255 / top), 3, 2)
    for image in (read_image(tmp_path / "a.tif"), of_pillow(Image.open(tmp_path / "a.tif"), 3, 255.0)):
        assert np.abs(image - expected).max() <= 0.51
    with pytest.raises(DataError, match=r"a\.tif is a TIFF that calls 0 white"):
        read_mask(tmp_path / "a.tif")


def test_colour_spaces_of_tiff(tmp_path: Path) -> None:
    rgb = Image.fromarray(cv2.resize(FOUR[::5, ::5, :3], (30, 20), interpolation=cv2.INTER_LINEAR) // 2 + 60)
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB", ImageCms.Intent.PERCEPTUAL
    )
    kinds = {"lab": ImageCms.applyTransform(rgb, to_lab), "ycc": rgb.convert("YCbCr"), "cmyk": rgb.convert("CMYK")}
    for name, image in kinds.items():
        assert image is not None
        image.save(tmp_path / f"{name}.tif")
        assert np.abs(read_image(tmp_path / f"{name}.tif").astype(int) - np.asarray(rgb)).max() <= 12
    for name in ("lab", "ycc"):
        np.testing.assert_array_equal(read_stored(tmp_path / f"{name}.tif"), read_image(tmp_path / f"{name}.tif"))
    write_geotiff(tmp_path / "jpeg.tif", np.asarray(rgb), photometric="YCBCR", compress="JPEG")
    assert np.abs(read_image(tmp_path / "jpeg.tif").astype(int) - np.asarray(rgb)).mean() < 12


def test_palette_with_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(FOUR[..., 0] % 4)
    palette.putpalette([200, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110])
    palette.save(tmp_path / "a.png", transparency=bytes([255, 0, 255, 255]))
    image, ids = read_image(tmp_path / "a.png"), FOUR[..., 0] % 4
    assert (image[ids == 1] == 255).all()
    assert (image[ids == 0] == (200, 10, 20)).all()
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), ids)


def test_what_is_no_number_in_a_mask_is_no_class(tmp_path: Path) -> None:
    stored = (FOUR[..., 0] % 3).astype(np.float32)
    write_geotiff(tmp_path / "a.tif", stored)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), stored)
    stored[2, 3] = np.nan
    write_geotiff(tmp_path / "a.tif", stored, nodata=float("nan"))
    found = read_mask_as_stored(tmp_path / "a.tif")
    assert found[2, 3] == NO_NUMBER
    assert (found == stored).sum() == stored.size - 1
    with pytest.raises(DataError, match="holds values from -2147483648 to 2"):
        read_mask(tmp_path / "a.tif")
    stored[2, 3] = 0.5
    write_geotiff(tmp_path / "a.tif", stored)
    with pytest.raises(DataError, match=r"a\.tif holds fractions such as 0\.5"):
        read_mask(tmp_path / "a.tif")


def test_formats_of_cameras_and_the_web(tmp_path: Path) -> None:
    rgb = cv2.resize(FOUR[::5, ::5, :3], (30, 20))
    image = Image.fromarray(rgb)
    for name, options in {
        "a.jfif": {"format": "JPEG", "quality": 98, "subsampling": 0},
        "a.mpo": {"format": "MPO", "quality": 98, "subsampling": 0},
        "a.jp2": {},
        "a.avif": {"quality": 99, "subsampling": "4:4:4"},
        "a.webp": {"lossless": True},
    }.items():
        buffer = io.BytesIO()
        image.save(buffer, options.pop("format", name[2:].upper().replace("JP2", "JPEG2000")), **options)
        (tmp_path / name).write_bytes(buffer.getvalue())
        assert np.abs(read_image(tmp_path / name).astype(int) - rgb).max() <= 24, name
