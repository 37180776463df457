"""Reading and writing images and masks, so that a bad file is named and never silently changes a number.

Images come out as `(H, W, 3)` uint8 RGB, masks as `(H, W)` uint8. Plain JPEG and PNG images are decoded by OpenCV,
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

from ..errors import ConfigError, DataError, of_kind
from ..files import atomic_open, writing
from ..labels import RGB
from .finding import IMAGE_SUFFIXES
from .georasters import read_raster
from .palette_png import unfiltered_indices
from .wording import nearest_sibling

_LOSSY_FORMATS = ("JPEG", "MPO", "JPEG2000", "AVIF")
_LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp")  # of a TIFF
_WITH_COLOURS = ("RGB", "RGBA", "LA", "CMYK", "YCbCr")
_PNG_KIND = slice(24, 26)  # where bit depth and colour type stand in a file
_PNG_GREY, _PNG_RGB = (b"\x08\x00", b"\x08\x02")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE_TYPE, _SAMPLES_PER_PIXEL = 254, 277  # TIFF tags; the first is not 0 on reduced copies and masks
_STRETCH = {"L;2": 85, "L;4": 17}  # Pillow spreads 2 and 4 bits over 0..255 by these factors
_THE_IMAGE = "The image"
_FETCH_AGAIN = "Copy or download it again, or take it out of the data."
_CUT = "Cut it into smaller images."
_SAVE_AS_IDS = "Save masks as 8-bit grey or palette PNG that hold class ids."


@of_kind("unreadable_image")
def read_image(path: str | Path) -> np.ndarray:
    """Read an image of any usual kind as RGB.

    EXIF orientation is applied. Grey is repeated over the three channels. Transparent pixels are composited onto white,
    as a page would show them: the colour hidden beneath is arbitrary. 16-bit values are divided by 257, so that equal
    values stay equal from image to image. Colour profiles are ignored, for CMYK too. Of animations and
    multi-page files the first image is read.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF, or another format that Pillow knows.

    Returns:
        `(H, W, 3)` uint8 RGB, writable.

    Raises:
        DataError: The file is missing, truncated, damaged, no image, or has 32-bit values.
    """
    return decode_image(_read_bytes(path), path)


@of_kind("unreadable_image")
def decode_image(data: bytes, path: str | Path) -> np.ndarray:
    """Decode a whole file's bytes as `read_image` does; `path` is where they come from, for messages."""
    # A JPEG is whole down to its end marker: OpenCV before 5 fills what is missing of a cut one with grey.
    if (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")) or _is_plain_png(data):
        return _decode_plain(data, cv2.IMREAD_COLOR_RGB, path)
    return _to_rgb(*_decode(data, path), path)


def rgb_of(image: Image.Image) -> np.ndarray:
    """Return a Pillow image as `read_image` reads its file, `(H, W, 3)` uint8 RGB; the image itself is left alone.

    Raises:
        DataError: It cannot be decoded, or has 32-bit values.
    """
    loaded, raw_mode = _decode(image, _THE_IMAGE)
    return _to_rgb(loaded.copy(), raw_mode, _THE_IMAGE)


def stored_in(image: Image.Image) -> np.ndarray:
    """Return a Pillow image as `read_stored` reads its file, `(H, W, C)`.

    Raises:
        DataError: It cannot be decoded.
    """
    return _page_pixels(_decode(image, _THE_IMAGE)[0])


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
        with Image.open(path) as image:
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
    image, raw_mode = _decode(data, path)
    if _is_lossy(image, data):
        raise DataError(
            f"Mask {path} is compressed as {image.format}, which changes values, above all near edges. "
            f"{_SAVE_AS_IDS} Make them anew from the annotations: re-saving this file does not fix it.",
            kind="lossy_mask",
        )
    ImageOps.exif_transpose(image, in_place=True)
    values = np.array(image)
    if image.mode == "L" and raw_mode in _STRETCH:
        return values // _STRETCH[raw_mode]
    if image.mode in ("L", "P", "1"):
        return values.astype(np.uint8, copy=False)
    if image.mode.startswith("I"):
        return values
    if image.mode in ("LA", "RGB", "RGBA"):
        return values if ";16" not in raw_mode else _eight_of_sixteen_bits(_deep_colours(data, path), path)
    raise DataError(
        f"Mask {path} has pixels of kind {raw_mode}, expected 8-bit grey or palette. {_SAVE_AS_IDS}",
        kind="colour_mask" if image.mode in _WITH_COLOURS else "",
    )


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    """Whether compression may have changed values. WebP is of either kind: its pixels lie in a chunk `VP8L` if not."""
    if image.format == "WEBP":
        return b"VP8L" not in data[12:64] and b"VP8 " in data
    return image.format in _LOSSY_FORMATS or image.info.get("compression") in _LOSSY_COMPRESSIONS


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
    is_tiff = data[:4] in _TIFF_STARTS
    try:
        image, raw_mode = _decode(data, path)
    except DataError as error:
        if not is_tiff:
            raise
        try:
            return read_raster(path)  # GDAL knows more kinds of TIFF
        except ConfigError as missing:
            raise DataError(f"{error} Or is it whole, and of a kind that Pillow does not know? {missing}") from error
    if is_tiff and _samples(image) > 1 and raw_mode != "RGB":
        return read_raster(path)
    if image.mode in ("RGB", "RGBA", "LA") and ";16" in raw_mode:
        return _deep_colours(data, path)
    pages = [_page_pixels(image)]
    for page in range(1, getattr(image, "n_frames", 1) if is_tiff else 1):
        image.seek(page)
        if not image.tag_v2.get(_SUBFILE_TYPE, 0):  # type: ignore[attr-defined]
            pages.append(_page_pixels(image))
    sizes = {f"{page.shape[1]}x{page.shape[0]}" for page in pages}
    if len(sizes) > 1:
        raise DataError(
            f"{path} has {len(pages)} pages of different sizes ({', '.join(sorted(sizes))}), expected channels of one "
            f"image. Save each image as a file of its own."
        )
    return pages[0] if len(pages) == 1 else np.concatenate(pages, axis=2)


def _page_pixels(image: Image.Image) -> np.ndarray:
    turned = ImageOps.exif_transpose(image)
    if turned.mode == "P":
        turned = turned.convert("RGB")
    pixels = np.array(turned)
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _read_bytes(path: str | Path) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.{nearest_sibling(Path(path))}") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check the path and its permissions.") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes). {_FETCH_AGAIN}")
    return data


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
            image = source if isinstance(source, Image.Image) else Image.open(io.BytesIO(source))
            tile = getattr(image, "tile", None)
            layout = tile[0][3] if tile else None  # loading clears it
            image.load()
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large to be read: {error} {_CUT}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image, or is damaged from its first bytes on. {_FETCH_AGAIN}") from error
    except Exception as error:  # Pillow's decoders raise half a dozen kinds, SyntaxError among them
        raise DataError(f"Cannot read {path}: {error}. {_FETCH_AGAIN}") from error
    if isinstance(layout, tuple):
        layout = layout[0]
    samples = _samples(image)
    if samples > len(image.getbands()):  # of channels stored one behind the other Pillow takes the first
        raise DataError(f"{path} has {samples} channels, expected grey, RGB or RGBA.")
    return image, layout or image.mode


def _samples(image: Image.Image) -> int:
    """Return how many channels a TIFF says it has; 1 for other files."""
    return int(image.tag_v2.get(_SAMPLES_PER_PIXEL, 1)) if image.format == "TIFF" else 1  # type: ignore[attr-defined]


@contextmanager
def _truncation_refused() -> Iterator[None]:
    """Undo, while decoding, what some notebooks set and what turns cut files into half-grey images."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _to_rgb(image: Image.Image, raw_mode: str, path: str | Path) -> np.ndarray:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        if ";16" not in raw_mode:
            raise DataError(
                f"{path} has 32-bit values (kind {raw_mode}), whose range is unknown. "
                f"Save it with 8 or 16 bits per channel."
            )
        grey = ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
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
    raise DataError(f"Mask {path} is partly transparent; what that means is unclear. {remedy}", kind="colour_mask")


def write_mask(path: str | Path, mask: np.ndarray, palette: np.ndarray) -> None:
    """Write a mask `(H, W)` uint8 as palette PNG: the file stores the ids, and viewers show the colours.

    The file appears whole or not at all; its folder is made if need be. The palette `(256, 3)` is what
    `LabelSet.colour_table()` gives.

    Raises:
        DataError: The name does not end in `.png`, or the place cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise DataError(f"Masks are written as palette PNG, so {path} must end in .png.")
    image = Image.fromarray(mask)
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    _write_whole(Path(path), buffer.getvalue())


def write_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write an image `(H, W, 3)` uint8 in the format that its name's ending says (JPEG with quality 95).

    The file appears whole or not at all; its folder is made if need be.

    Raises:
        DataError: The ending is none of `IMAGE_SUFFIXES`, or the place cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise DataError(f"Cannot write {path}: its ending must be one of {', '.join(IMAGE_SUFFIXES)}.")
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    _write_whole(Path(path), encoded.tobytes())


def _write_whole(path: Path, data: bytes) -> None:
    with writing(path, "Choose a folder that you may write to."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as file:
            file.write(data)
