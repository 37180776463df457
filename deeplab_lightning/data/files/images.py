"""Reading images and masks, so that a bad file is named and never silently changes a number.

Images come out as `(H, W, 3)` uint8 RGB, masks as `(H, W)` uint8. Plain JPEG and PNG images are decoded by OpenCV,
which is a fifth faster; whatever is unusual goes to Pillow, which knows more kinds and refuses truncated files.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ...errors import ConfigError, DataError, of_kind
from ...files import read_bytes as bytes_of
from ...labels import RGB
from ..wording import nearest_sibling
from .annotations import parsing
from .georasters import bits_of, read_raster
from .limits import MOST_CHANNELS, expect_size, formats, most_pixels, opened_image
from .palette_png import unfiltered_indices
from .raster_headers import JPEG2000_STARTS, TIFF_STARTS

_LOSSY_FORMATS = ("JPEG", "MPO", "JPEG2000", "AVIF")
_LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp")  # of a TIFF
_WITH_COLOURS = ("RGB", "RGBA", "LA", "CMYK", "YCbCr")
_PNG_KIND = slice(24, 26)  # where bit depth and colour type stand in a file
_PNG_GREY, _PNG_RGB = (b"\x08\x00", b"\x08\x02")
_SUBFILE_TYPE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL = 254, 262, 277  # TIFF tags; the first is not 0 on reduced copies
_BITS, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 338, 339
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED, _ALPHA = 0, 1, 2, (1, 2)  # what photometric, sample format and extra samples may be
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_GDAL_FORMATS = ("TIFF", "JPEG2000")
_STRETCH = {"L;2": 85, "L;4": 17}  # Pillow spreads 2 and 4 bits over 0..255 by these factors
_THE_IMAGE = "The image"
_FEW_COLOURS = 256
_SCAN = b"\xff\xda"
_MOST_SCANS = 200
"""Of a JPEG; progressive ones have some ten. Each is decoded over the whole image, and takes a few bytes."""
_FETCH_AGAIN = "Copy or download it again, or take it out of the data."
_CUT = "Cut it into smaller images; a TIFF is read in parts with data.window_size."
_SAVE_AS_IDS = "Save masks as 8-bit grey or palette PNG that hold class ids."

"""Endings of the formats that `write_image` writes."""
NO_NUMBER = -(2**31)
"""What NaN in a mask is read as: no class, unless a `label_map` says what it means."""
OPAQUE = 0.9
"""Share of what is not wholly transparent that must be opaque, for a TIFF's fourth channel to pass for transparency."""


@of_kind("unreadable_image")
def read_image(path: str | Path) -> np.ndarray:
    """Read an image of any usual kind as RGB.

    EXIF orientation is applied. Grey is repeated over the three channels. Transparent pixels are composited onto white,
    as a page would show them: the colour hidden beneath is arbitrary. 16-bit values are divided by 257, so that equal
    values stay equal from image to image, and 12-bit ones by 4095/255. Colour profiles are ignored, for CMYK too. Of
    animations and multi-page files the first image is read. A fourth channel of TIFF and JPEG 2000 is transparency only
    where the file says so and most of it is opaque: GDAL calls any fourth channel so, near infrared among them.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF, or another format that Pillow knows. TIFF of 3 channels of 16 bits need the
            extra `geo`.

    Returns:
        `(H, W, 3)` uint8 RGB, writable.

    Raises:
        DataError: The file is missing, truncated, damaged, too large, no image, has values of unknown range (32 bits,
            signed), or a fourth channel that is no transparency.
    """
    return decode_image(_read_bytes(path), path)


@of_kind("unreadable_image")
def decode_image(data: bytes, path: str | Path) -> np.ndarray:
    """Decode a whole file's bytes as `read_image` does; `path` is where they come from, for messages."""
    if data.startswith(b"\xff\xd8") and (scans := data.count(_SCAN)) > _MOST_SCANS:
        raise DataError(f"{path} is a JPEG of {scans:,} scans, where some ten are usual. {_FETCH_AGAIN}")
    # A JPEG is whole down to its end marker: OpenCV before 5 fills what is missing of a cut one with grey.
    is_whole_jpeg = data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9") and all(_declared_size(data))
    if is_whole_jpeg or _is_plain_png(data):
        return _decode_plain(data, cv2.IMREAD_COLOR_RGB, path)
    try:
        image, raw_mode = _decode(data, path)
    except DataError as error:
        return _rgb_by_gdal(data, path, error)
    frames = _frames_in(image, path)
    if frames > 1 and image.format in _ANIMATED:
        warnings.warn(f"{path} is an animation of {frames} frames: the first is read.", stacklevel=2)
    if image.format in _GDAL_FORMATS and image.mode in ("RGBA", "LA"):
        _check_transparency(image, data, path)
    return _to_rgb(image, raw_mode, path)


def _rgb_by_gdal(data: bytes, path: str | Path, error: DataError) -> np.ndarray:
    """Read three channels of 8 or 16 bits that Pillow cannot; whatever else it is stays the error that it was."""
    if not data.startswith((*TIFF_STARTS, *JPEG2000_STARTS)) or error.kind:
        raise error
    stored = _by_gdal(path, error)
    if stored.shape[2] != 3 or stored.dtype not in (np.uint8, np.uint16):
        raise error
    return stored if stored.dtype == np.uint8 else _eight_bits(stored, bits_of(path))


def _by_gdal(path: str | Path, error: DataError) -> np.ndarray:
    """Read what Pillow cannot; where the extra is missing, say so too."""
    try:
        return read_raster(path)
    except ConfigError as missing:
        raise DataError(f"{error} Or is it whole, and of a kind that Pillow does not know? {missing}") from error


def _check_transparency(image: Image.Image, data: bytes, path: str | Path) -> None:
    """Refuse a last channel that the file does not call transparency, or that does not look like it.

    Raises:
        DataError: Says what to do for a channel of its own, and for transparency.
    """
    stated = _tag(image, _EXTRA_SAMPLES) in _ALPHA if image.format == "TIFF" else _jp2_alpha(data)
    alpha = np.asarray(image.getchannel("A"))
    visible = alpha[alpha > 0]
    opaque = float((visible == 255).mean()) if visible.size else 1.0
    if stated and opaque >= OPAQUE:
        return
    channels = len(image.getbands())
    if stated:
        why = f"is called transparency, as GDAL calls any, but only {opaque:.0%} of its values above 0 are opaque"
    else:
        why = "is not called transparency in the file"
    numbers = ", ".join(["..."] * channels)
    raise DataError(
        f"{path} has {channels} channels, of which the last {why}. If it is a channel of its own, such as near "
        f"infrared, set mean: [{numbers}] and std: [{numbers}]; if it is transparency, save the images without it.",
        kind="unfit_image",
    )


def _jp2_alpha(data: bytes) -> bool:
    """Whether a JPEG 2000 file defines a channel (box `cdef`) as opacity: ISO/IEC 15444-1, annex I.5.3.6."""
    start = data.find(b"cdef", 0, data.find(b"jp2c")) + 4
    if start < 4:
        return False
    count = int.from_bytes(data[start : start + 2], "big")
    kinds = (int.from_bytes(data[at : at + 2], "big") for at in range(start + 4, start + 4 + 6 * count, 6))
    return any(kind in _ALPHA for kind in kinds)


def rgb_of(image: Image.Image) -> np.ndarray:
    """Return a Pillow image as `read_image` reads its file, `(H, W, 3)` uint8 RGB; the image itself is left alone.

    Raises:
        DataError: It cannot be decoded, or has 32-bit values.
    """
    loaded, raw_mode = _decode(image, _THE_IMAGE)
    if loaded.format == "TIFF" and loaded.mode in ("RGBA", "LA"):
        _check_transparency(loaded, b"", _THE_IMAGE)
    return _to_rgb(loaded, raw_mode, _THE_IMAGE)


def stored_in(image: Image.Image) -> np.ndarray:
    """Return a Pillow image as `read_stored` reads its file, `(H, W, C)`.

    Raises:
        DataError: It cannot be decoded.
    """
    return _page_pixels(_decode(image, _THE_IMAGE)[0], _THE_IMAGE)


@of_kind("unreadable_mask")
def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask as the numbers that it stores: never as colours, never rescaled.

    Accepted are grey (1 to 8 bits; 16 bits where all values are below 256), palette (its indices) and RGB(A) with equal
    channels (that value). A 1-bit mask gives {0, 1}. EXIF orientation is applied, as to its image.

    Args:
        path: PNG, BMP, TIFF or another lossless format.

    Returns:
        `(H, W)` uint8.

    Raises:
        DataError: The file is unreadable or lossy (JPEG, WebP), or holds colours or values above 255.
    """
    values = _stored_mask(path)
    if values.ndim == 3:
        return equal_channels(values, path)
    if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
        raise DataError(
            f"Mask {path} holds values from {values.min()} to {values.max()}; class ids are 0..255. {_SAVE_AS_IDS}",
            kind="labels",
        )
    return values.astype(np.uint8, copy=False)


@of_kind("unreadable_mask")
def read_mask_as_stored(path: str | Path) -> np.ndarray:
    """Read a mask whose numbers or colours are not class ids yet.

    Returns:
        `(H, W)` integers of any range, or `(H, W, 3)` uint8 RGB.

    Raises:
        DataError: The file is unreadable, lossy, partly transparent, or of another kind.
    """
    values = _stored_mask(path)
    if values.ndim == 2:
        return values
    colours = _opaque(values, path)
    return colours if colours.shape[2] == 3 else colours[..., 0]


def palette_of(path: str | Path) -> np.ndarray | None:
    """Return the colours `(N, 3)` uint8 in which a palette image shows its numbers; None for other files."""
    try:
        with opened_image(path) as image:
            colours = image.getpalette("RGB") if image.mode == "P" else None
    except Exception:  # whoever reads the pixels says what is wrong
        return None
    return None if colours is None else np.array(colours, np.uint8).reshape(-1, 3)


def _stored_mask(path: str | Path) -> np.ndarray:
    """Return `(H, W)` integers, or `(H, W, C)` uint8 where the file holds colours or an alpha channel."""
    data = _read_bytes(path)
    if _is_plain_png(data):
        if data[_PNG_KIND] == _PNG_GREY:
            return _decode_plain(data, cv2.IMREAD_GRAYSCALE, path)
        return _decode_plain(data, cv2.IMREAD_COLOR_RGB, path)
    indices = unfiltered_indices(data)
    if indices is not None:
        return indices
    try:
        image, raw_mode = _decode(data, path)
    except DataError as error:
        if error.kind or data[:4] not in TIFF_STARTS:
            raise
        values = _by_gdal(path, error)
        return whole_numbers(values[..., 0] if values.shape[2] == 1 else values, path)
    if _is_lossy(image, data):
        raise DataError(
            f"Mask {path} is compressed as {image.format}, which changes values, above all near edges. "
            f"{_SAVE_AS_IDS} Make them anew from the annotations: re-saving this file does not fix it.",
            kind="lossy_mask",
        )
    check_one_page(data, path)
    upright = _upright(image, path)
    if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO and _tag(image, _BITS) != 1:
        raise DataError(
            f"Mask {path} is a TIFF that calls 0 white: whether its numbers are meant as stored or as shown, from the "
            f"top, is not said. {_SAVE_AS_IDS}"
        )
    values = _numbers(upright, image)
    if image.mode == "L" and raw_mode in _STRETCH:
        return values // _STRETCH[raw_mode]
    if image.mode in ("L", "P", "1") or image.mode.startswith(("I", "F")):
        return whole_numbers(values, path)
    if image.mode in ("LA", "RGB", "RGBA"):
        return values if ";16" not in raw_mode else _eight_of_sixteen_bits(_deep_colours(data, path), path)
    raise DataError(
        f"Mask {path} has pixels of kind {raw_mode}, expected 8-bit grey or palette. {_SAVE_AS_IDS}",
        kind="colour_mask" if image.mode in _WITH_COLOURS else "",
    )


def check_one_page(data: bytes, path: str | Path) -> None:
    """Refuse a mask of several pages or frames: classes may lie on each. Smaller copies in a TIFF are none.

    Args:
        data: All bytes of a file that Pillow knows.
        path: Where they come from, for messages.

    Raises:
        DataError: There are several of one size.
    """
    with parsing(path, _FETCH_AGAIN), opened_image(data) as file:
        size, pages = file.size, getattr(file, "n_frames", 1)
        if pages == 1:
            return
        file.seek(1)
        if file.size != size or _tag(file, _SUBFILE_TYPE):
            return
    raise DataError(
        f"Mask {path} holds {pages} pages, expected one class id per pixel in one page. If each is the mask of a "
        f"class, write one PNG of class ids; if each belongs to an image of its own, save them as files."
    )


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    """Whether compression may have changed values. WebP is of either kind: its pixels lie in a chunk `VP8L` if not."""
    if image.format == "WEBP":
        return b"VP8L" not in data[12:64] and b"VP8 " in data
    return image.format in _LOSSY_FORMATS or image.info.get("compression") in _LOSSY_COMPRESSIONS


def whole_numbers(values: np.ndarray, where: str | Path) -> np.ndarray:
    """Return what a mask stores as integers; floating point must be whole numbers, or NaN, which becomes `NO_NUMBER`.

    Raises:
        DataError: There are fractions, or values of more than 31 bits.
    """
    if values.dtype.kind != "f":
        return values
    unknown = np.isnan(values)
    whole = np.where(unknown, 0, values)
    fractions = whole[whole != np.trunc(whole)]
    if fractions.size or np.abs(whole).max(initial=0) >= 2**31:
        worst = fractions[0] if fractions.size else np.abs(whole).max()
        raise DataError(f"Mask {where} holds fractions such as {worst:g}, expected class ids. {_SAVE_AS_IDS}")
    return np.where(unknown, NO_NUMBER, whole.astype(np.int64))


def _deep_colours(data: bytes, path: str | Path) -> np.ndarray:
    """Decode colours of 16 bits, of which Pillow keeps the high byte only: `(H, W, C)` uint16, RGB or RGBA."""
    deep = _decode_plain(data, cv2.IMREAD_UNCHANGED, path)
    return deep[..., [2, 1, 0, 3][: deep.shape[2]]]


def _eight_of_sixteen_bits(deep: np.ndarray, path: str | Path) -> np.ndarray:
    """Return the 8-bit colours that were stored in 16 bits, in whichever of the usual ways; no other value is guessed.

    Raises:
        DataError: The values are no 8-bit ones.
    """
    for stretch in (257, 256, 1):  # 255 became 65535, 65280, or stayed
        if not (deep % stretch).any() and deep.max() <= 255 * stretch:
            return (deep // stretch).astype(np.uint8)
    raise DataError(
        f"Mask {path} has colours of 16 bits that are not those of an 8-bit mask, as blended ones are. {_SAVE_AS_IDS}",
        kind="colour_mask",
    )


def read_stored(path: str | Path) -> np.ndarray:
    """Read an image with the channels and values that the file stores: nothing is repeated, composited or rescaled.

    EXIF orientation is applied. Palettes give their colours, a 1-bit image {0, 1}. The pages of a TIFF are its
    channels; reduced copies of the image among them are left out.

    Args:
        path: As for `read_image`, and TIFF of 1 to 512 channels (several of more than 8 bits: extra `geo`).

    Returns:
        `(H, W, C)`: uint8, or what the file stores (Pillow's types: int32 or float32 for more than 16 bits).

    Raises:
        DataError: The file is missing, truncated, damaged, no image, or a kind of TIFF that needs the extra `geo`.
    """
    data = _read_bytes(path)
    is_tiff = data[:4] in TIFF_STARTS
    try:
        image, raw_mode = _decode(data, path)
    except DataError as error:
        if error.kind or not data.startswith((*TIFF_STARTS, *JPEG2000_STARTS)):
            raise
        return _by_gdal(path, error)
    if image.mode in ("LAB", "YCbCr"):
        image = image.convert("RGB")
    elif is_tiff and _samples(image) > 1 and raw_mode != "RGB":
        return read_raster(path)
    elif image.format == "JPEG2000" and image.mode.startswith("I"):
        return read_raster(path)  # Pillow spreads 12 bits over 16
    if image.mode in ("RGB", "RGBA", "LA") and ";16" in raw_mode:
        return _deep_colours(data, path)
    pages = [_page_pixels(image, path)]
    for page in range(1, _frames_in(image, path) if is_tiff else 1):
        with parsing(path, _FETCH_AGAIN):
            image.seek(page)
            expect_size(path, image.height, image.width, _bytes_of_pixel(image) * (len(pages) + 1), _CUT)
            if not image.tag_v2.get(_SUBFILE_TYPE, 0):  # type: ignore[attr-defined]
                pages.append(_page_pixels(image, path))
        if len(pages) > MOST_CHANNELS:
            raise DataError(f"{path} has more than {MOST_CHANNELS} pages, which would be its channels. {_FETCH_AGAIN}")
    sizes = {f"{page.shape[1]}x{page.shape[0]}" for page in pages}
    if len(sizes) > 1:
        raise DataError(
            f"{path} has {len(pages)} pages of different sizes ({', '.join(sorted(sizes))}), expected channels of one "
            f"image. Save each image as a file of its own."
        )
    return pages[0] if len(pages) == 1 else np.concatenate(pages, axis=2)


def _frames_in(image: Image.Image, path: str | Path) -> int:
    """Return how many pages or frames there are, for which Pillow looks through the file."""
    with parsing(path, _FETCH_AGAIN):
        return getattr(image, "n_frames", 1)


def _upright(image: Image.Image, path: str | Path) -> Image.Image:
    """Return an image turned as its EXIF orientation says.

    Raises:
        DataError: Its EXIF data is damaged.
    """
    with parsing(f"The EXIF data of {path}", "Save the image anew, or without it."):
        return ImageOps.exif_transpose(image)


def _page_pixels(image: Image.Image, path: str | Path) -> np.ndarray:
    turned = _upright(image, path)
    if turned.mode == "P":
        turned = turned.convert("RGB")
    pixels = _numbers(turned, image)
    if pixels.dtype == np.uint16 and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels = np.iinfo(np.uint16).max - pixels
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _numbers(image: Image.Image, file: Image.Image | None = None) -> np.ndarray:
    """Return the numbers of an image, those of a TIFF in the type that it states.

    Pillow drops the sign of 8 bits, and gives 32 bits one.

    Args:
        image: Decoded, perhaps turned.
        file: The image as it was opened, which has the tags.
    """
    pixels = np.array(image)
    sample_format = _tag(file or image, _SAMPLE_FORMAT)
    if pixels.dtype == np.uint8 and sample_format == _SIGNED:
        return pixels.view(np.int8)
    if pixels.dtype == np.int32 and sample_format == _UNSIGNED and _tag(file or image, _BITS) == 32:
        return pixels.view(np.uint32)
    return pixels.astype(np.uint8 if pixels.dtype == bool else pixels.dtype.newbyteorder("="), copy=False)


def _tag(image: Image.Image, number: int) -> int | None:
    """Return the first value of a TIFF's tag; None for other files."""
    value = image.tag_v2.get(number) if image.format == "TIFF" else None  # type: ignore[attr-defined]
    return next(iter(value), None) if isinstance(value, tuple) else value


def _read_bytes(path: str | Path) -> bytes:
    try:
        data = bytes_of(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.{nearest_sibling(Path(path))}") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check the path and its permissions.") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes). {_FETCH_AGAIN}")
    return data


def _is_plain_png(data: bytes) -> bool:
    """Whether this is a complete PNG of 8-bit grey or RGB, without transparency, orientation or animation."""
    if (
        not data.startswith(b"\x89PNG\r\n\x1a\n")
        or data[-8:-4] != b"IEND"
        or data[_PNG_KIND] not in (_PNG_GREY, _PNG_RGB)
    ):
        return False
    header = data[: data.find(b"IDAT")]
    return not any(chunk in header for chunk in (b"tRNS", b"eXIf", b"acTL"))


def _decode_plain(data: bytes, flag: int, path: str | Path) -> np.ndarray:
    """Decode with OpenCV, which applies EXIF orientation by itself."""
    width, height = _declared_size(data)
    expect_size(path, height, width, 3, _CUT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:  # more pixels than OpenCV takes
        raise DataError(f"Cannot read {path}: {error.err}. {_CUT}") from error
    if pixels is None:
        raise DataError(f"Cannot read {path}: its data is damaged. {_FETCH_AGAIN}")
    return pixels


def _decode(source: bytes | Image.Image, path: str | Path) -> tuple[Image.Image, str]:
    """Decode the whole file with Pillow; also return its "raw mode", which tells the stored bits (`RGB;16B`, `L;4`)."""
    try:
        with _truncation_refused():
            image = source if isinstance(source, Image.Image) else Image.open(io.BytesIO(source), formats=formats())
            expect_size(path, image.height, image.width, _bytes_of_pixel(image), _CUT)
            tile = getattr(image, "tile", None)
            layout = tile[0][3] if tile else None  # loading clears it
            image.load()
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a limit that a user has set
        raise DataError(f"{path} is too large to be read: {error} {_CUT}", kind="unreadable_image") from error
    except MemoryError as error:
        raise DataError(f"{path} needs more memory than there is. {_CUT}", kind="unreadable_image") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image, or is damaged from its first bytes on. {_FETCH_AGAIN}") from error
    except Exception as error:  # Pillow's decoders raise half a dozen kinds, SyntaxError among them
        raise DataError(f"Cannot read {path}: {error}. {_FETCH_AGAIN}") from error
    if isinstance(layout, tuple):
        layout = layout[0]
    samples = _samples(image)
    if samples > len(image.getbands()):  # of channels stored one behind the other Pillow takes the first
        raise DataError(f"{path} has {samples} channels, expected grey, RGB or RGBA.")
    return image, layout if isinstance(layout, str) else image.mode  # of GIF it is a number


def _samples(image: Image.Image) -> int:
    """Return how many channels a TIFF says it has; 1 for other files."""
    return _tag(image, _SAMPLES_PER_PIXEL) or 1


def _bytes_of_pixel(image: Image.Image) -> int:
    return len(image.getbands()) * (4 if image.mode in ("I", "F") else 2 if image.mode.startswith("I;16") else 1)


def is_too_large(path: Path) -> bool:
    """Tell whether an image has more pixels than are read whole; False of what Pillow does not know."""
    try:
        with opened_image(path) as image:
            return image.width * image.height > most_pixels()
    except Image.DecompressionBombError:
        return True
    except Exception:  # whoever reads it says what is wrong
        return False


def _declared_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the header of a PNG or a JPEG; 0, 0 if a JPEG does not say."""
    if data.startswith(b"\x89PNG"):
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


@contextmanager
def _truncation_refused() -> Iterator[None]:
    """Undo, while decoding, what some notebooks set and what turns cut files into half-grey images."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _eight_bits(deep: np.ndarray, bits: int = 16) -> np.ndarray:
    """Return values of more bits in 8, rounded."""
    if bits == 16:
        return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.round(deep * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)


def _to_rgb(image: Image.Image, raw_mode: str, path: str | Path) -> np.ndarray:
    white_is_zero = _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    signed = raw_mode.endswith("S") or _tag(image, _SAMPLE_FORMAT) == _SIGNED
    image = _upright(image, path)
    if signed or image.mode.startswith(("I", "F")):
        deep = image.mode.startswith("I;16") or ";16" in raw_mode or raw_mode == "I;12"
        if signed or not deep:
            raise DataError(
                f"{path} has {'signed' if deep else '32-bit'} values (kind {raw_mode}), whose range is unknown. Save "
                f"it with 8 or 16 bits per channel, or set pixel_range, and mean and std of one number each."
            )
        grey = np.asarray(image)
        grey = _eight_bits(grey, 12 if raw_mode == "I;12" else 16)
        return cv2.cvtColor(255 - grey if white_is_zero else grey, cv2.COLOR_GRAY2RGB)
    if "transparency" in image.info or image.mode.endswith(("A", "a")):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    try:
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise DataError(f"Cannot convert {path} from {image.mode} to RGB. Save it as RGB.") from error


def packed(colours: np.ndarray) -> np.ndarray:
    """Return `(..., 3)` colours of 8 bits as one int32 each."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def unpacked(numbers: np.ndarray) -> list[RGB]:
    """Return the colours that `packed` made numbers of."""
    return [(number >> 16, number >> 8 & 255, number & 255) for number in numbers.tolist()]


def equal_channels(values: np.ndarray, path: str | Path, remedy: str | None = None) -> np.ndarray:
    """Return the one value of `(H, W, C)` uint8 pixels whose colour channels agree and whose alpha, if any, is 255.

    Args:
        values: 2 to 4 channels.
        path: Where they come from, for the message.
        remedy: What to do about colours, where more is known than here.

    Raises:
        DataError: There are colours, named with the three commonest, or the mask is partly transparent.
    """
    colours = values[..., :-1] if values.shape[2] in (2, 4) else values
    if (colours != colours[..., :1]).any():
        found, counts = np.unique(packed(colours), return_counts=True)
        common = unpacked(found[np.argsort(-counts)[:3]])
        raise DataError(
            f"Mask {path} holds {len(found)} colours, such as {', '.join(map(str, common))}, "
            f"expected one class id per pixel. {remedy or f'Replace each colour by its id. {_SAVE_AS_IDS}'}",
            kind="colour_mask",
        )
    return np.ascontiguousarray(_opaque(values, path)[..., 0])


def _opaque(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Return the colour channels of a mask; its alpha channel must say nothing that the colours do not.

    That is so where no colour is more transparent in one place than in another, as where a tool leaves clear what it
    shows as black.
    """
    if values.shape[2] not in (2, 4):
        return values
    alpha, colours = values[..., -1], values[..., :-1]
    if (alpha == alpha.flat[0]).all():
        return colours
    numbers = packed(colours) if colours.shape[2] == 3 else colours[..., 0].astype(np.int32)
    if len(np.unique(numbers * np.int64(256) + alpha)) == len(np.unique(numbers)):
        return colours
    remedy = _SAVE_AS_IDS
    if (numbers == numbers.flat[0]).all():
        remedy = "All of it has one colour, so the alpha channel seems to be the label: save that, as 8-bit grey PNG."
    elif len(np.unique(numbers)) > _FEW_COLOURS:
        remedy = (
            "It looks like a cut-out, whose alpha channel is the mask: save that, as 8-bit grey PNG "
            "(Image.open(path).getchannel('A') in Pillow). A folder of cut-outs alone is read as data.name: Cutouts."
        )
    raise DataError(f"Mask {path} is partly transparent; what that means is unclear. {remedy}", kind="colour_mask")
