"""A file, the same image in Pillow's hands, and the script beside an exported model: all are read alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.files import limits
from deeplab_lightning.data.files.images import read_image, read_mask, read_stored
from deeplab_lightning.data.files.rasters import of_pillow, read_source
from deeplab_lightning.doctor.contents import suggested_window
from deeplab_lightning.errors import DataError
from deeplab_lightning.export import run_model
from deeplab_lightning.export.run_model import output_names

COLOURS = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8), (60, 48))
DEEP = COLOURS[..., 0].astype(np.uint16) * 200 + 77
ALPHA = np.broadcast_to(np.linspace(0, 255, 60).astype(np.uint8), (48, 60))


def kinds() -> dict[str, tuple[Image.Image, dict]]:
    """Name -> an image and how to save it."""
    rgb, grey = Image.fromarray(COLOURS), Image.fromarray(COLOURS[..., 0])
    palette = rgb.quantize(16)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "rgb.png": (rgb, {}),
        "grey.png": (grey, {}),
        "bits.png": (grey.point(lambda value: 255 * (value > 99)).convert("1"), {}),
        "palette.png": (palette, {}),
        "clear_palette.png": (palette, {"transparency": 3}),
        "clear_colour.png": (rgb, {"transparency": tuple(COLOURS[3, 4].tolist())}),
        "rgba.png": (Image.fromarray(np.dstack([COLOURS, ALPHA])), {}),
        "la.png": (Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA]), "LA"), {}),
        "deep.png": (Image.fromarray(DEEP), {}),
        "deep.tif": (Image.fromarray(DEEP), {}),
        "twelve.png": (Image.fromarray(DEEP // 16), {}),
        "cmyk.tif": (rgb.convert("CMYK"), {}),
        "lossless.webp": (rgb, {"lossless": True}),
        "turned.png": (rgb, {"exif": turned}),
        "turned.tif": (rgb, {"exif": turned}),
        "turned.jpg": (rgb, {"exif": turned, "quality": 98}),
        "turned_deep.png": (Image.fromarray(DEEP), {"exif": turned}),
    }


@pytest.mark.parametrize("name", list(kinds()))
def test_all_readers_agree(tmp_path: Path, name: str) -> None:
    image, options = kinds()[name]
    image.save(tmp_path / name, **options)
    expected = read_image(tmp_path / name)
    tolerance = 3 if name.endswith(".jpg") else 0
    opened, loaded = Image.open(tmp_path / name), Image.open(tmp_path / name)
    loaded.load()
    mode = opened.mode
    for got in (
        of_pillow(opened, 3, 255),
        of_pillow(loaded, 3, 255),
        of_pillow(loaded.copy(), 3, 255),
        of_pillow(opened, 3, 255),
        run_model.read_image(tmp_path / name),
    ):
        assert got.dtype == np.uint8
        assert got.shape == expected.shape
        assert np.abs(got.astype(int) - expected).max() <= tolerance
    assert opened.mode == mode


@pytest.mark.parametrize(("name", "channels", "pixel_range"), [("deep.png", 1, 65535), ("turned_deep.png", 1, 65535)])
def test_stored_values_agree(tmp_path: Path, name: str, channels: int, pixel_range: float) -> None:
    image, options = kinds()[name]
    image.save(tmp_path / name, **options)
    expected = read_source(tmp_path / name, channels, pixel_range)
    got = of_pillow(Image.open(tmp_path / name), channels, pixel_range)
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


def test_values_of_unknown_range_are_refused() -> None:
    for image in (Image.fromarray(DEEP.astype(np.int32)), Image.fromarray(DEEP.astype(np.float32))):
        with pytest.raises(DataError, match="32-bit values"):
            of_pillow(image, 3, 255)


def test_an_image_that_is_too_large_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One limit for all decoders; Pillow's guard against decompression bombs raises an error of its own kind."""
    monkeypatch.setattr(limits, "MOST_PIXELS", 1000)
    for name in ("rgba.png", "rgb.png", "turned.jpg", "deep.tif"):
        image, options = kinds()[name]
        image.save(tmp_path / name, **options)
        with pytest.raises(DataError, match=rf"{name} is too large to be read whole: 60x48 .* 1,000 .*window_size"):
            read_image(tmp_path / name)
        if name.endswith("png"):
            with pytest.raises(DataError, match=f"{name} is too large"):
                read_mask(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"rgba\.png is too large to be read: .* Cut it"):
        read_image(tmp_path / "rgba.png")
    assert suggested_window([tmp_path / "rgba.png"]) == suggested_window([])


def test_large_maps_raise_no_warning() -> None:
    """Pillow warns from 89 megapixels on."""
    assert Image.MAX_IMAGE_PIXELS is not None
    assert Image.MAX_IMAGE_PIXELS >= limits.MOST_PIXELS >= 192_000_000


def test_a_plain_image_that_opencv_finds_too_large_is_refused_by_name(tmp_path: Path) -> None:
    from .test_images import png

    (tmp_path / "wide.png").write_bytes(png([b"\0" * 4] * 4, 1 << 24, 8, 0))
    with pytest.raises(DataError, match=r"Cannot read .*wide\.png"):
        read_image(tmp_path / "wide.png")


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["x.png"], ["x"]),
        (["a/x.png", "a/y.jpg"], ["x", "y"]),
        (["a/x.png", "b/x.png"], ["a/x", "b/x"]),
        (["a/x.png", "a/x.jpg", "a/y.png"], ["x.png", "x.jpg", "y"]),
        (["a/x.png", "a/x.jpg", "a/x.png.tif"], ["x.png", "x.jpg", "x.png.tif"]),
        (["a/x.png", "a/b/x.png", "a/x.png"], ["x", "b/x", "x"]),
    ],
)
def test_no_two_images_have_one_output(images: list[str], names: list[str]) -> None:
    assert output_names([Path(image) for image in images]) == [Path(name) for name in names]


class Session:
    """In place of ONNX Runtime's: of two classes, the second where an image is bright."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def get_modelmeta(self) -> SimpleNamespace:
        facts = {"output": "classes", "class_names": ["dark", "bright"], "palette": [[0, 0, 0], [255, 0, 0]]}
        facts |= {"threshold": None, "preprocessing": {"channels": 3, "pixel_range": 255, "inside": True}}
        return SimpleNamespace(custom_metadata_map={"deeplab_lightning": json.dumps(facts)})

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image", shape=["batch", 3, "height", "width"])]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="classes")]

    def run(self, _: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [(given["image"].mean(1) > 127).astype(np.uint8)]


def test_the_script_gives_each_image_a_file_and_passes_over_one_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    images = [tmp_path / name for name in ("a/x.png", "b/large.png", "b/x.png")]
    for path, side in zip(images, (40, 80, 50), strict=True):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (side, side), "white").save(path)
    assert run_model.main(["model.onnx", *map(str, images), "--output", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "2 of 3 images segmented" in captured.out
    assert f"not segmented: {images[1]}" in captured.err
    assert Image.open(tmp_path / "out" / "a" / "x_mask.png").size == (40, 40)
    assert Image.open(tmp_path / "out" / "b" / "x_mask.png").size == (50, 50)


def test_the_pages_of_a_tiff_have_a_limit_together(tmp_path: Path) -> None:
    """Each of them is small enough alone, and a few bytes hold hundreds."""
    page = Image.new("L", (6, 6))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page] * 600)
    with pytest.raises(DataError, match=r"a\.tif has more than 512 pages"):
        read_stored(tmp_path / "a.tif")
    page.save(tmp_path / "b.tif", save_all=True, append_images=[Image.new("L", (60, 60))])
    with pytest.raises(DataError, match=r"b\.tif is too large"), pytest.MonkeyPatch.context() as patched:  # noqa: PT012
        patched.setattr(limits, "MOST_PIXELS", 100)
        read_stored(tmp_path / "b.tif")
