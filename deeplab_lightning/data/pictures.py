"""Reading and writing pictures and masks, so that a bad file is named and never silently changes a number.

Pictures come out as `(H, W, 3)` uint8 RGB, masks as `(H, W)` uint8. Plain JPEG and PNG pictures are decoded by OpenCV,
which is a fifth faster; whatever is unusual goes to Pillow, which knows more kinds and refuses truncated files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import DataError
from ..files import atomic_open
from .checks import check_labels, check_pair
from .finding import IMAGE_SUFFIXES, find_images, nearest_sibling

__all__ = [
    "IMAGE_SUFFIXES",
    "check_labels",
    "check_pair",
    "find_images",
    "read_image",
    "read_mask",
    "write_image",
    "write_mask",
]

_LOSSY_FORMATS = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF")
_PNG_KIND = slice(24, 26)  # where bit depth and colour type stand in a file
_PNG_GREY, _PNG_RGB = (b"\x08\x00", b"\x08\x02")
_STRETCH = {"L;2": 85, "L;4": 17}  # Pillow spreads 2 and 4 bits over 0..255 by these factors
_FETCH_AGAIN = "Copy or download it again, or take it out of the data."
_SAVE_AS_IDS = "Save masks as 8-bit grey or palette PNG that hold class ids."


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture of any usual kind as RGB.

    EXIF orientation is applied. Grey is repeated over the three channels. Transparent pixels are composited onto white,
    as a page would show them: the colour hidden beneath is arbitrary. 16-bit values are divided by 257, so that equal
    values stay equal from picture to picture. Colour profiles are ignored, for CMYK too. Of animations and
    multi-page files the first picture is read.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF, or another format that Pillow knows.

    Returns:
        `(H, W, 3)` uint8 RGB, writable.

    Raises:
        DataError: The file is missing, truncated, damaged, no picture, or has 32-bit values.
    """
    data = _read_bytes(path)
    if _is_plain_jpeg(data) or _is_plain_png(data):
        return cv2.cvtColor(_decode_plain(data, cv2.IMREAD_COLOR, path), cv2.COLOR_BGR2RGB)
    return _to_rgb(*_decode(data, path), path)


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask as the numbers that it stores: never as colours, never rescaled.

    Accepted are grey (1 to 8 bits; 16 bits where all values are below 256), palette (its indices) and RGB(A) with equal
    channels (that value). A 1-bit mask gives {0, 1}. EXIF orientation is applied, as to its picture.

    Args:
        path: PNG, BMP, TIFF or another lossless format.

    Returns:
        `(H, W)` uint8.

    Raises:
        DataError: The file is unreadable or lossy (JPEG, WebP), or holds colours or values above 255.
    """
    data = _read_bytes(path)
    if _is_plain_png(data) and data[_PNG_KIND] == _PNG_GREY:
        return _decode_plain(data, cv2.IMREAD_GRAYSCALE, path)
    picture, raw_mode = _decode(data, path)
    if picture.format in _LOSSY_FORMATS or picture.info.get("compression") == "jpeg":
        raise DataError(
            f"Mask {path} is compressed as {picture.format}, which changes values, above all near edges. "
            f"{_SAVE_AS_IDS} Make them anew from the annotations: re-saving this file does not mend it."
        )
    ImageOps.exif_transpose(picture, in_place=True)
    values = np.array(picture)
    if picture.mode == "L" and raw_mode in _STRETCH:
        return values // _STRETCH[raw_mode]
    if picture.mode in ("L", "P", "1"):
        return values.astype(np.uint8, copy=False)
    if picture.mode.startswith("I"):
        if values.min() < 0 or values.max() > 255:
            raise DataError(
                f"Mask {path} holds values from {values.min()} to {values.max()}; class ids are 0..255. {_SAVE_AS_IDS}"
            )
        return values.astype(np.uint8)
    if picture.mode in ("LA", "RGB", "RGBA") and ";16" not in raw_mode:  # of 16-bit colours Pillow keeps the high byte
        return _equal_channels(values, path)
    raise DataError(f"Mask {path} has pixels of kind {raw_mode}, expected 8-bit grey or palette. {_SAVE_AS_IDS}")


def _read_bytes(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.{nearest_sibling(Path(path))}") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check the path and its permissions.") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes). {_FETCH_AGAIN}")
    return data


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether this is a JPEG down to its end marker; OpenCV before 5 fills what is missing of a cut one with grey."""
    return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")


def _is_plain_png(data: bytes) -> bool:
    """Whether this is a complete PNG of 8-bit grey or RGB, without transparency or orientation."""
    if (
        not data.startswith(b"\x89PNG\r\n\x1a\n")
        or data[-8:-4] != b"IEND"
        or data[_PNG_KIND] not in (_PNG_GREY, _PNG_RGB)
    ):
        return False
    header = data[: data.find(b"IDAT")]
    return b"tRNS" not in header and b"eXIf" not in header


def _decode_plain(data: bytes, flag: int, path: str | Path) -> np.ndarray:
    """Decode with OpenCV, which applies EXIF orientation by itself."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        raise DataError(f"Cannot read {path}: its data is damaged. {_FETCH_AGAIN}")
    return pixels


def _decode(data: bytes, path: str | Path) -> tuple[Image.Image, str]:
    """Decode the whole file with Pillow; also return its "raw mode", which tells the stored bits (`RGB;16B`, `L;4`)."""
    try:
        with _truncation_refused():
            picture = Image.open(io.BytesIO(data))
            layout = picture.tile[0][3] if picture.tile else None  # loading clears it
            picture.load()
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not a picture, or is damaged from its first bytes on. {_FETCH_AGAIN}") from error
    except Exception as error:  # Pillow's decoders raise half a dozen kinds, SyntaxError among them
        raise DataError(f"Cannot read {path}: {error}. {_FETCH_AGAIN}") from error
    if isinstance(layout, tuple):
        layout = layout[0]
    return picture, layout or picture.mode


@contextmanager
def _truncation_refused() -> Iterator[None]:
    """Undo, while decoding, what some notebooks set and what turns cut files into half-grey pictures."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _to_rgb(picture: Image.Image, raw_mode: str, path: str | Path) -> np.ndarray:
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith(("I", "F")):
        if ";16" not in raw_mode:
            raise DataError(
                f"{path} has 32-bit values (kind {raw_mode}), whose range is unknown. "
                f"Save it with 8 or 16 bits per channel."
            )
        grey = ((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    if "transparency" in picture.info or picture.mode.endswith(("A", "a")):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    try:
        return np.array(picture.convert("RGB"))
    except ValueError as error:
        raise DataError(f"Cannot convert {path} from {picture.mode} to RGB. Save it as RGB.") from error


def _equal_channels(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Return the one value of `(H, W, C)` uint8 pixels whose colour channels agree and whose alpha, if any, is 255."""
    colours, alpha = (values[..., :-1], values[..., -1]) if values.shape[2] in (2, 4) else (values, None)
    if (colours != colours[..., :1]).any():
        packed = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        found, counts = np.unique(packed, return_counts=True)
        common = [(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in found[np.argsort(-counts)[:3]]]
        raise DataError(
            f"Mask {path} holds {len(found)} colours, such as {', '.join(map(str, common))}, "
            f"expected one class id per pixel. Replace each colour by its id. {_SAVE_AS_IDS}"
        )
    if alpha is not None and (alpha != 255).any():
        raise DataError(f"Mask {path} is partly transparent; what that means is unclear. {_SAVE_AS_IDS}")
    return np.ascontiguousarray(colours[..., 0])


def write_mask(path: str | Path, mask: np.ndarray, palette: np.ndarray) -> None:
    """Write a mask as palette PNG: the file stores the ids, and viewers show the colours.

    The file appears whole or not at all; its folder is made if need be.

    Args:
        path: Ends in `.png`.
        mask: `(H, W)` uint8.
        palette: `(256, 3)` uint8 RGB, as `LabelSet.colour_table()` gives it.

    Raises:
        DataError: The name does not end in `.png`, or the place cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise DataError(f"Masks are written as palette PNG, so {path} must end in .png.")
    picture = Image.fromarray(mask)
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    _write_whole(Path(path), buffer.getvalue())


def write_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write a picture in the format that its name's ending says (JPEG with quality 95).

    The file appears whole or not at all; its folder is made if need be.

    Args:
        path: Ends in one of `IMAGE_SUFFIXES`.
        rgb: `(H, W, 3)` uint8.

    Raises:
        DataError: The ending is unknown, or the place cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise DataError(f"Cannot write {path}: its ending must be one of {', '.join(IMAGE_SUFFIXES)}.")
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    _write_whole(Path(path), encoded.tobytes())


def _write_whole(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as file:
            file.write(data)
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror}. Choose a folder that you may write to.") from error
