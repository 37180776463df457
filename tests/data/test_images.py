from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from deeplab_lightning.data.checks import check_labels, check_pair
from deeplab_lightning.data.files import images
from deeplab_lightning.data.files.images import read_image, read_mask, read_mask_as_stored
from deeplab_lightning.data.files.rasters import Source, read_grey
from deeplab_lightning.data.files.saving import write_image, write_mask
from deeplab_lightning.data.pairing.finding import find_images
from deeplab_lightning.data.sets.camvid import CAMVID
from deeplab_lightning.errors import DataError


def smooth(height: int = 64, width: int = 80, seed: int = 0) -> np.ndarray:
    """An image that JPEG keeps well and that no turn or mirror leaves as it is."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def ids(height: int = 20, width: int = 30, upper: int = 12) -> np.ndarray:
    return np.random.default_rng(1).integers(0, upper, (height, width), dtype=np.uint8)


def png(rows: list[bytes], width: int, depth: int, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG of raw rows, for the kinds that no library writes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def close(result: np.ndarray, expected: np.ndarray, tolerance: int) -> None:
    assert result.dtype == np.uint8
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= tolerance


# ------------------------------------------------------------------------------------------------------- read_image


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.bmp", {}, 0),
        ("a.tif", {}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.jpg", {"quality": 98, "subsampling": 0}, 6),
        ("a.jpg", {"quality": 98, "subsampling": 0, "progressive": True}, 6),
        ("straße 道路.JPG", {"quality": 98, "subsampling": 0, "format": "JPEG"}, 6),
        ("wrong ending.jpg", {"format": "PNG"}, 0),
    ],
)
def test_rgb_in_every_format(tmp_path: Path, name: str, options: dict, tolerance: int) -> None:
    Image.fromarray(smooth()).save(tmp_path / name, **options)
    result = read_image(tmp_path / name)
    close(result, smooth(), tolerance)
    assert result.flags.writeable
    assert result.flags.c_contiguous


def test_plain_files_take_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_decode", None)
    for name in ("a.jpg", "a.png"):
        write_image(tmp_path / name, smooth())
        close(read_image(tmp_path / name), smooth(), 20)
    Image.fromarray(ids()).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), ids())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {"quality": 98, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(smooth()).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }[orientation]
    close(read_image(tmp_path / f"a.{suffix}"), turn(smooth()), 6)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_grey_is_repeated(tmp_path: Path, suffix: str) -> None:
    grey = smooth()[..., 0]
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}", quality=98)
    close(read_image(tmp_path / f"a.{suffix}"), np.stack([grey] * 3, axis=2), 3)


def test_transparency_is_composited_onto_white(tmp_path: Path) -> None:
    alpha = np.zeros((64, 80), np.uint8)
    alpha[:, 40:] = 255
    alpha[:, 79] = 128
    expected = np.where(alpha[..., None] > 0, smooth(), 255)
    expected[:, 79] = np.round((smooth()[:, 79] * 128.0 + 255 * 127) / 255)
    Image.fromarray(np.dstack([smooth(), alpha])).save(tmp_path / "rgba.png")
    close(read_image(tmp_path / "rgba.png"), expected, 1)
    Image.fromarray(np.dstack([smooth()[..., 0], alpha]), "LA").save(tmp_path / "la.png")
    close(read_image(tmp_path / "la.png"), np.repeat(expected[..., :1], 3, axis=2), 1)


def test_transparent_colour_of_png(tmp_path: Path) -> None:
    rgb = smooth()
    rgb[:10] = (1, 2, 3)
    Image.fromarray(rgb).save(tmp_path / "a.png", transparency=(1, 2, 3))
    rgb[:10] = 255
    close(read_image(tmp_path / "a.png"), rgb, 0)


def test_palette_image(tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    indices = ids(upper=255)
    write_mask(tmp_path / "a.png", indices, table)
    close(read_image(tmp_path / "a.png"), table[indices], 0)
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "b.png", transparency=7)
    table[7] = 255
    close(read_image(tmp_path / "b.png"), table[indices], 0)


def test_bilevel_image(tmp_path: Path) -> None:
    Image.fromarray(ids(upper=2) > 0).save(tmp_path / "a.png")
    close(read_image(tmp_path / "a.png"), np.stack([ids(upper=2) * 255] * 3, axis=2), 0)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_by_257(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = np.random.default_rng(0).integers(900, 30_000, (30, 40, channels), dtype=np.uint16)  # not the whole range
    (tmp_path / f"a{suffix}").write_bytes(cv2.imencode(suffix, deep)[1].tobytes())
    expected = np.round(deep / 257).astype(np.uint8)[..., ::-1]
    close(read_image(tmp_path / f"a{suffix}"), np.broadcast_to(expected, (30, 40, 3)), 0 if channels == 1 else 1)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", quality=98, subsampling=0)
    close(read_image(tmp_path / "a.jpg"), smooth(), 6)


def test_32_bits_are_refused(tmp_path: Path) -> None:
    for pixels in (np.linspace(0, 1, 64, dtype=np.float32), np.arange(64, dtype=np.int32) * 9999):
        Image.fromarray(pixels.reshape(8, 8)).save(tmp_path / "a.tif")
        with pytest.raises(DataError, match=r"a\.tif has 32-bit values .* Save it with 8 or 16 bits"):
            read_image(tmp_path / "a.tif")


def encodings() -> dict[str, bytes]:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6
    thumbnail = io.BytesIO()  # EXIF of cameras holds a small JPEG, whose end marker is not the image's
    image.resize((20, 16)).save(thumbnail, "JPEG")
    kinds: dict[str, tuple[Image.Image, str, dict]] = {
        "plain.jpg": (image, "JPEG", {}),
        "progressive.jpg": (image, "JPEG", {"progressive": True}),
        "thumbnail.jpg": (image, "JPEG", {"exif": exif.tobytes() + thumbnail.getvalue()}),
        "grey.jpg": (image.convert("L"), "JPEG", {}),
        "cmyk.jpg": (image.convert("CMYK"), "JPEG", {}),
        "plain.png": (image, "PNG", {}),
        "grey.png": (image.convert("L"), "PNG", {}),
        "palette.png": (image.quantize(200), "PNG", {}),
        "alpha.png": (image.convert("RGBA"), "PNG", {}),
        "a.webp": (image, "WEBP", {}),
        "a.bmp": (image, "BMP", {}),
        "a.tif": (image, "TIFF", {}),
        "packed.tif": (image, "TIFF", {"compression": "tiff_lzw"}),
    }
    result = {}
    for name, (source, kind, options) in kinds.items():
        buffer = io.BytesIO()
        source.save(buffer, kind, **options)
        result[name] = buffer.getvalue()
    return result


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("name", list(encodings()))
def test_truncated_images_are_refused(
    tmp_path: Path, name: str, lenient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)  # as some notebooks set it
    data = encodings()[name]
    path = tmp_path / name
    path.write_bytes(data)
    read_image(path)
    for share in (0.02, 0.3, 0.6, 0.9, 0.98):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=f"{name}.*again"):
            read_image(path)
        with pytest.raises(DataError, match=name):
            read_mask(path)
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("name", ["plain.jpg", "progressive.jpg", "thumbnail.jpg", "plain.png", "grey.png"])
def test_truncation_is_found_without_opencv(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV before 5 hands out the rows that it could read; no cut file may reach it."""
    monkeypatch.setattr(cv2, "imdecode", lambda data, flag: np.full((64, 80, 3), 128, np.uint8))
    data = encodings()[name]
    for share in (0.3, 0.6, 0.9):
        (tmp_path / name).write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["plain.png", "grey.png"])
def test_damaged_png_is_refused(tmp_path: Path, name: str) -> None:
    """A flipped bit does not pass: PNG carries check sums."""
    data = encodings()[name]
    path = tmp_path / name
    for position in range(50, len(data) - 20, len(data) // 20):
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        with pytest.raises(DataError, match=name):
            read_image(path)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    data = encodings()["plain.jpg"]
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "b.jpg").write_bytes(data + b"\0" * 100)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpg"))


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_what_is_no_image(tmp_path: Path, read: object) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    (tmp_path / "folder.png").mkdir()
    for name, words in {
        "empty.png": r"is empty \(0 bytes\)",
        "page.jpg": "is not an image",
        "folder.png": "Cannot read .*: Is a directory",
        "pages.jpg": r"does not exist.*Did you mean 'page.jpg'\?",
        "floder/a.jpg": "There is no 'floder' in .* Did you mean 'folder.png'",
        "page.jpg/a.jpg": "page.jpg",
    }.items():
        with pytest.raises(DataError, match=words):
            read(tmp_path / name)  # type: ignore[operator]


# -------------------------------------------------------------------------------------------------------- read_mask


def test_palette_mask_gives_indices(tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    table[9] = table[3]  # two ids in one colour stay apart
    mask = ids()
    mask[0, :3] = 255
    write_mask(tmp_path / "a.png", mask, table)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), mask)
    small = Image.fromarray(ids(upper=4))  # few colours are packed into 2 bits
    small.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    small.save(tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes()[24] == 2
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png"), ids(upper=4))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_masks_keep_their_values_at_every_depth(tmp_path: Path, depth: int) -> None:
    values = ids(6, 16, upper=min(2**depth, 256))
    bits = np.unpackbits(values[..., None], axis=2)[..., -depth:] if depth < 8 else None
    rows = values.astype(">u2") if depth == 16 else values if bits is None else np.packbits(bits.reshape(6, -1), axis=1)
    (tmp_path / "a.png").write_bytes(png([row.tobytes() for row in rows], 16, depth, 0))
    result = read_mask(tmp_path / "a.png")
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, values)


@pytest.mark.parametrize("suffix", ["bmp", "tif"])
def test_masks_of_other_lossless_formats(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(ids()).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"a.{suffix}"), ids())


def test_mask_with_gamma_or_transparent_value_keeps_its_values(tmp_path: Path) -> None:
    Image.fromarray(ids()).save(tmp_path / "a.png", transparency=3)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), ids())
    gamma = b"gAMA" + struct.pack(">I", 100_000)
    extra = struct.pack(">I", 4) + gamma + struct.pack(">I", zlib.crc32(gamma))
    (tmp_path / "b.png").write_bytes(png([row.tobytes() for row in ids()], 30, 8, 0, extra))
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png"), ids())


def test_mask_is_turned_like_its_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ids()).save(tmp_path / "grey.png", exif=exif)
    palette = Image.fromarray(ids())
    palette.putpalette(CAMVID.colour_table().tobytes())
    palette.save(tmp_path / "palette.png", exif=exif)
    for name in ("grey.png", "palette.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), np.rot90(ids(), -1))


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_equal_channels_are_read_as_that_value(tmp_path: Path, mode: str) -> None:
    Image.fromarray(ids()).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), ids())


def test_colour_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(CAMVID.colour_table()[np.minimum(ids(), 2)]).save(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=r"a\.png holds 3 colours, such as \(192, 192, 128\), \(.*Replace each colour by its id"
    ):
        read_mask(tmp_path / "a.png")


def test_partly_transparent_mask_is_refused(tmp_path: Path) -> None:
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[3, 4] = 0
    Image.fromarray(np.dstack([ids(), ids(), ids(), alpha])).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="partly transparent"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("stretch", [257, 256, 1])
@pytest.mark.parametrize("alpha", [False, True])
def test_colours_of_8_bits_stored_in_16_are_read(tmp_path: Path, stretch: int, alpha: bool) -> None:
    """As LabelMeFacade's masks are."""
    colours = CAMVID.colour_table()[np.minimum(ids(), 2)].astype(np.uint16)
    stored = colours[..., ::-1] * stretch  # OpenCV writes blue first
    if alpha:
        stored = np.dstack([stored, np.full(stored.shape[:2], 255 * stretch, np.uint16)])
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    assert (read_mask_as_stored(tmp_path / "a.png") == colours).all()


def test_blended_colours_of_16_bits_are_refused(tmp_path: Path) -> None:
    colours = np.full((20, 30, 3), 128 * 257, np.uint16)
    colours[3, 4] = 12_345
    cv2.imwrite(str(tmp_path / "a.png"), colours)
    with pytest.raises(DataError, match="colours of 16 bits that are not those of an 8-bit mask"):
        read_mask_as_stored(tmp_path / "a.png")


def test_large_values_are_refused(tmp_path: Path) -> None:
    values = ids().astype(np.uint16)
    values[0, 0] = 26_001  # Cityscapes instance ids look like this
    cv2.imwrite(str(tmp_path / "a.png"), values)
    with pytest.raises(DataError, match=r"values from 0 to 26001; class ids are 0\.\.255"):
        read_mask(tmp_path / "a.png")


def test_lossy_masks_are_refused_whatever_their_name(tmp_path: Path) -> None:
    for kind, options in {"JPEG": {}, "WEBP": {}, "TIFF": {"compression": "jpeg"}}.items():
        Image.fromarray(ids() * 20).convert("RGB").save(tmp_path / "a.png", kind, **options)
        with pytest.raises(DataError, match=rf"compressed as {kind}.*8-bit grey or palette PNG.*annotations"):
            read_mask(tmp_path / "a.png")


# ---------------------------------------------------------------------------------------------------------- checks


def test_check_pair_names_both_sizes() -> None:
    check_pair(np.zeros((5, 7, 3)), np.zeros((5, 7)), "a.jpg", "a.png")
    with pytest.raises(DataError, match=r"a\.jpg is 7x5, b\.png is 8x5") as caught:
        check_pair(np.zeros((5, 7, 3)), np.zeros((5, 8)), "a.jpg", "b.png")
    assert "EXIF" not in str(caught.value)
    with pytest.raises(DataError, match=r"a\.jpg is 7x5, b\.png is 5x7 .*EXIF"):
        check_pair(np.zeros((5, 7, 3)), np.zeros((7, 5)), "a.jpg", "b.png")


def test_check_labels_accepts_classes_and_ignore() -> None:
    check_labels(np.array([[0, 10], [11, 3]], np.uint8), 11, 11, "m")
    check_labels(np.array([[0, 10], [255, 3]], np.uint8), 11, 255, "m")
    check_labels(np.arange(256, dtype=np.uint8).reshape(16, 16), 256, -100, "m")
    check_labels(np.array([[0, 255]], np.uint8), 2, 255, "m")  # black and white, or a VOC mask without objects


def test_check_labels_names_values_counts_and_remedy() -> None:
    with pytest.raises(DataError) as caught:
        check_labels(np.array([[0, 13, 13], [20, 1, 11]], np.uint8), 11, 11, "some/m.png")
    assert str(caught.value) == (
        "Mask some/m.png holds labels out of range: 13 (2 pixels), 20 (1 pixels). Allowed are the classes 0..10 and 11 "
        "(ignored). If these are classes, name all 21 in class_names; if not, write 11."
    )
    with pytest.raises(DataError, match=r"out of range: 11 \(1 pixels\)\. Allowed"):
        check_labels(np.array([[0, 11]], np.uint8), 11, 255, "m")
    with pytest.raises(DataError, match=r"out of range: 255 \(1 pixels\).*set ignore_index to 255"):
        check_labels(np.array([[0, 3, 255]], np.uint8), 11, 11, "m")
    with pytest.raises(DataError, match=r" 29 \(1 pixels\) and 226 more\. Allowed"):
        check_labels(np.arange(256, dtype=np.uint8)[None], 20, -100, "m")


@pytest.mark.parametrize("values", [[0, 255], [255, 255]])
def test_black_and_white_mask_is_recognised(values: list[int]) -> None:
    with pytest.raises(DataError, match=r"its 255 means foreground, not void\. Write 1 in place of 255"):
        check_labels(np.array([values], np.uint8), 2, 11, "m")


def test_check_labels_is_fast() -> None:
    mask = ids(513, 513)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        check_labels(mask, 12, 255, "m")
        times.append(time.perf_counter() - start)
    assert min(times) < 1e-3


# ---------------------------------------------------------------------------------------------------------- writing


def test_write_mask_is_a_palette_png_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.png"
    table = CAMVID.colour_table()
    write_mask(path, ids(), table)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), table[ids()])
    np.testing.assert_array_equal(read_mask(path), ids())
    write_mask(path, ids() + 1, table)
    np.testing.assert_array_equal(read_mask(path), ids() + 1)
    assert os.listdir(path.parent) == ["a.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".PNG"])
def test_write_image_comes_back(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", smooth())
    close(read_image(tmp_path / f"a{suffix}"), smooth(), 20)
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_unknown_endings_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.png"):
        write_mask(tmp_path / "a.jpg", ids(), CAMVID.colour_table())
    with pytest.raises(DataError, match=r"one of \.jpg, "):
        write_image(tmp_path / "a.pgn", smooth())


def test_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.png", tmp_path / "file" / "deeper" / "a.png"):
        with pytest.raises(DataError, match=r"Cannot write .*a\.png: .*Choose a folder that you may write to"):
            write_mask(path, ids(), CAMVID.colour_table())
        with pytest.raises(DataError, match=r"Cannot write .*a\.png"):
            write_image(path, smooth())


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", smooth())

    class FullDisk(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(bytes(data)[: len(data) // 2])
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as full, pytest.raises(DataError, match="No space left on device"):  # noqa: PT012
        full.setattr(Path, "open", lambda self, mode: FullDisk(str(self), mode))
        write_image(tmp_path / "a.png", 255 - smooth())
    assert os.listdir(tmp_path) == ["a.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), smooth())


# ---------------------------------------------------------------------------------------------------------- finding


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.png", "in/c.webp", "in/deep/d.tif", ".cache/e.png", "[x].bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["."], ["[x].bmp", "a.PNG", "b.jpg", "in/c.webp", "in/deep/d.tif"]),
        (["in", "b.jpg"], ["in/c.webp", "in/deep/d.tif", "b.jpg"]),
        (["b.jpg", "."], ["b.jpg", "[x].bmp", "a.PNG", "in/c.webp", "in/deep/d.tif"]),
        (["?.*"], ["a.PNG", "b.jpg"]),
        (["**/*.tif"], ["in/deep/d.tif"]),
        (["**"], ["[x].bmp", "a.PNG", "b.jpg", "in/c.webp", "in/deep/d.tif"]),
        (["i*"], ["in/c.webp", "in/deep/d.tif"]),
        (["[x].bmp"], ["[x].bmp"]),
        (["notes.txt", ".hidden.png"], ["notes.txt", ".hidden.png"]),
    ],
)
def test_find_images(tree: Path, inputs: list[str], expected: list[str]) -> None:
    # `Path / name` keeps an absolute result, and "." disappears
    assert find_images([str(tree / entry) for entry in inputs]) == [tree / name for name in expected]


def test_find_images_relative_to_here(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert find_images(["in", Path("b.jpg")]) == [Path("in/c.webp"), Path("in/deep/d.tif"), Path("b.jpg")]


def test_inputs_that_match_nothing(tree: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "texts").mkdir()
    (tree / "texts" / "a.txt").touch()
    for entry, words in {
        "bb.jpg": r"bb\.jpg does not exist.*Did you mean 'b\.jpg'\?",
        "inn/c.webp": r"There is no 'inn' in .*Did you mean 'in'\?",
        "inn/*.webp": r"No images match .*There is no 'inn' in .*Did you mean 'in'\?",
        "in/*.psd": r"No images match '.*in/\*\.psd': images end in \.jpg, .*\.svs\.$",
        "empty": "No images in folder .*empty: it holds nothing",
        "texts": r"it holds 1 x \.txt; images end in \.jpg, ",
        "b.jpg/c.jpg": r"b\.jpg is a file, not a folder",
    }.items():
        with pytest.raises(DataError, match=words):
            find_images([str(tree / "b.jpg"), str(tree / entry)])


@pytest.mark.parametrize("ending", ["tif", "gif"])
def test_masks_of_several_pages_are_refused(tmp_path: Path, ending: str) -> None:
    """A class on each page: the first alone would be half of the mask."""
    pages = [Image.fromarray(np.eye(8, k=k, dtype=np.uint8) * 255) for k in (0, 3)]
    path = tmp_path / f"a.{ending}"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=rf"a\.{ending} holds 2 pages, expected one class id per pixel in one page"):
        read_mask_as_stored(path)
    with pytest.raises(DataError, match=r"holds 2 (pages|channels), expected"):
        read_grey(Source(path))
