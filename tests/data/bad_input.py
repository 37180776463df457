"""Input that cannot be used, and the message that each kind gets: the table of docs/bad_input.md.

    python -m tests.data.bad_input > docs/bad_input.md

`test_bad_input.py` runs every case and compares the table. A case writes its input into a folder, and returns the call
that is to fail.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from PIL import Image

from deeplab_lightning.data import download
from deeplab_lightning.data.download import Archive, fetch, unpack
from deeplab_lightning.data.files.georasters import read_raster
from deeplab_lightning.data.files.images import read_image, read_mask
from deeplab_lightning.data.files.limits import MOST_PIXELS, VARIABLE
from deeplab_lightning.data.files.rasters import Source, read_source
from deeplab_lightning.data.pairing.finding import find_images
from deeplab_lightning.data.sets.camvid import CAMVID, CamVid
from deeplab_lightning.data.sets.cityscapes import CityscapesDataModule
from deeplab_lightning.data.sets.coco import COCODataModule
from deeplab_lightning.data.sets.labelme import LabelMeDataModule
from deeplab_lightning.data.sets.voc import PascalVOC, VOCDataModule
from deeplab_lightning.errors import ConfigError, DataError, DeepLabError

from ..fakes.camvid import write_camvid
from ..fakes.coco import image_entry, thing, write_annotations, write_coco
from ..fakes.labelme import shape, write_annotation, write_labelme
from ..fakes.voc import TRAIN, VAL, write_palette_mask, write_sbd, write_voc
from ..hostile import images as hostile

Call = Callable[[], object]
CLASSES = ["background", "person", "bottle"]


class Case(NamedTuple):
    """One kind of bad input."""

    part: str
    title: str
    error: type[DeepLabError]
    prepare: Callable[[Path], Call]
    """Writes the input into a folder, and returns the call that fails."""


CASES: list[Case] = []


def case(part: str, title: str, error: type[DeepLabError] = DataError) -> Callable[[Callable[[Path], Call]], None]:
    """Add the decorated function to the cases."""

    def add(prepare: Callable[[Path], Call]) -> None:
        CASES.append(Case(part, title, error, prepare))

    return add


def message(one: Case, folder: Path) -> str:
    """Return what a case's call says, with `DATA` for the folder it lies in.

    Raises:
        AssertionError: It raises something else, or nothing.
    """
    call = one.prepare(folder)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            call()
    except DeepLabError as error:
        if type(error) is not one.error:
            raise AssertionError(f"{one.title}: {type(error).__name__}, expected {one.error.__name__}") from error
        return str(error).replace(str(folder.resolve()), "DATA").replace(str(folder), "DATA")
    raise AssertionError(f"{one.title}: no error")


def document() -> str:
    """Return the page with the table, made by running every case."""
    lines = [
        "# Bad input",
        "",
        "What is said of data that cannot be used: which file it is, what is wrong with it, and what to do. The tests",
        "make this page (`python -m tests.data.bad_input > docs/bad_input.md`); `DATA` is the folder of the data.",
    ]
    part = ""
    with tempfile.TemporaryDirectory() as folder:
        for number, one in enumerate(CASES):
            if one.part != part:
                part = one.part
                lines += ["", f"## {part}", "", "| input | message |", "|---|---|"]
            own = Path(folder, str(number))
            own.mkdir()
            lines.append(f"| {one.title} | {_escaped(message(one, own))} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    for character in "\\|*_<>[]":
        text = text.replace(character, f"\\{character}")
    return text


def image(width: int = 50, height: int = 40) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


# ---------------------------------------------------------------------------------------------------------- images

IMAGES = "Images"


@case(IMAGES, "An image that is not there")
def _(folder: Path) -> Call:
    image().save(folder / "street_01.jpg")
    return lambda: read_image(folder / "street_1.jpg")


@case(IMAGES, "An empty file")
def _(folder: Path) -> Call:
    (folder / "a.jpg").touch()
    return lambda: read_image(folder / "a.jpg")


@case(IMAGES, "A JPEG that was cut off")
def _(folder: Path) -> Call:
    image().save(folder / "a.jpg")
    _cut_in_half(folder / "a.jpg")
    return lambda: read_image(folder / "a.jpg")


@case(IMAGES, "A PNG that was cut off")
def _(folder: Path) -> Call:
    image().save(folder / "a.png")
    _cut_in_half(folder / "a.png")
    return lambda: read_image(folder / "a.png")


@case(IMAGES, "A web page saved as an image")
def _(folder: Path) -> Call:
    (folder / "a.jpg").write_text("<html>404 Not Found</html>")
    return lambda: read_image(folder / "a.jpg")


@case(IMAGES, "A pipe in place of a file")
def _(folder: Path) -> Call:
    os.mkfifo(folder / "a.png")
    return lambda: read_image(folder / "a.png")


@case(IMAGES, "A link to a device")
def _(folder: Path) -> Call:
    (folder / "a.png").symlink_to("/dev/zero")
    return lambda: read_image(folder / "a.png")


@case(IMAGES, "A header of more pixels than are read")
def _(folder: Path) -> Call:
    (folder / "a.png").write_bytes(hostile.png(60000, 60000))

    def call() -> object:
        with mock.patch.dict(os.environ, {VARIABLE: str(MOST_PIXELS)}):  # by default it is what memory holds
            return read_image(folder / "a.png")

    return call


@case(IMAGES, "A TIFF of 198 bytes that announces 65,535 channels")
def _(folder: Path) -> Call:
    (folder / "a.tif").write_bytes(hostile.tiff(t277=(3, 65535)))
    return lambda: read_image(folder / "a.tif")


@case(IMAGES, "PostScript called PNG")
def _(folder: Path) -> Call:
    (folder / "a.png").write_text(hostile.EPS)
    return lambda: read_image(folder / "a.png")


@case(IMAGES, "An array that announces more than it holds")
def _(folder: Path) -> Call:
    (folder / "a.npy").write_bytes(hostile.npy((10**6, 10**6, 3)))
    return lambda: read_source(folder / "a.npy", 3, 255)


@case(IMAGES, "A volume whose numbers lie elsewhere")
def _(folder: Path) -> Call:
    (folder / "a.nhdr").write_bytes(
        hostile.nrrd("type: uchar\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: ../../etc/passwd")
    )
    return lambda: read_source(folder / "a.nhdr", 1, 255)


@case(IMAGES, "A volume that announces 10^9 slices")
def _(folder: Path) -> Call:
    (folder / "a.nrrd").write_bytes(
        hostile.nrrd("type: uchar\ndimension: 3\nsizes: 1 1 1000000000\nencoding: raw", bytes(64))
    )
    return lambda: read_source(Source(folder / "a.nrrd", 0), 1, 255)


@case(IMAGES, "A raster that names another file to read (VRT called TIFF)")
def _(folder: Path) -> Call:
    (folder / "a.tif").write_text(hostile.VRT.format("/vsicurl/http://example.org/x.tif"))
    return lambda: read_raster(folder / "a.tif")


@case(IMAGES, "An image of 32-bit floats")
def _(folder: Path) -> Call:
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(folder / "depth.tif")
    return lambda: read_image(folder / "depth.tif")


@case(IMAGES, "A folder without images")
def _(folder: Path) -> Call:
    (folder / "notes.txt").touch()
    return lambda: find_images([folder])


@case(IMAGES, "A pattern that matches nothing")
def _(folder: Path) -> Call:
    return lambda: find_images([str(folder / "*.jpg")])


# ------------------------------------------------------------------------------------------------------------- masks

MASKS = "Masks"


@case(MASKS, "A mask saved as JPEG")
def _(folder: Path) -> Call:
    image().convert("L").save(folder / "mask.jpg")
    return lambda: read_mask(folder / "mask.jpg")


@case(MASKS, "A mask of colours instead of class ids")
def _(folder: Path) -> Call:
    Image.fromarray(CAMVID.colour_table()[np.tile(np.arange(3, dtype=np.uint8), (4, 1))]).save(folder / "mask.png")
    return lambda: read_mask(folder / "mask.png")


@case(MASKS, "A 16-bit mask with values above 255")
def _(folder: Path) -> Call:
    Image.fromarray(np.array([[0, 7], [300, 26000]], np.uint16)).save(folder / "mask.png")
    return lambda: read_mask(folder / "mask.png")


@case(MASKS, "A partly transparent mask")
def _(folder: Path) -> Call:
    Image.fromarray(np.dstack([np.ones((4, 4, 3), np.uint8), np.eye(4, dtype=np.uint8) * 255])).save(folder / "m.png")
    return lambda: read_mask(folder / "m.png")


@case(MASKS, "A mask of another size than its image")
def _(folder: Path) -> Call:
    write_voc(folder, aug=False)
    write_palette_mask(folder / "SegmentationClass" / f"{VAL[0]}.png", np.zeros((20, 25), np.uint8))
    return lambda: PascalVOC(folder, "val").load(0)


@case(MASKS, "A mask that was turned when its image was not")
def _(folder: Path) -> Call:
    write_voc(folder, aug=False)
    path = folder / "SegmentationClass" / f"{VAL[0]}.png"
    write_palette_mask(path, np.array(Image.open(path)).T)
    return lambda: PascalVOC(folder, "val").load(0)


@case(MASKS, "A mask with a value that is no class")
def _(folder: Path) -> Call:
    write_voc(folder, aug=False)
    path = folder / "SegmentationClass" / f"{VAL[0]}.png"
    mask = np.zeros_like(np.array(Image.open(path)))
    mask[:2, :5] = 21
    write_palette_mask(path, mask)
    return lambda: PascalVOC(folder, "val").load(0)


@case(MASKS, "A black and white mask, 0 and 255, where 255 is no class")
def _(folder: Path) -> Call:
    write_camvid(folder)
    path = next((folder / "valannot").iterdir())
    mask = np.zeros_like(np.array(Image.open(path)))
    mask[:2, :5] = 255
    Image.fromarray(mask).save(path)
    data = CamVid(folder, "val")
    return lambda: [data.load(index) for index in range(len(data))]


# --------------------------------------------------------------------------------------------------- public data sets

PUBLIC = "Public data sets"


@case(PUBLIC, "A root that does not exist")
def _(folder: Path) -> Call:
    write_voc(folder / "VOCdevkit" / "VOC2012", aug=False)
    return lambda: PascalVOC(folder / "VOCdevkit" / "VOC2021", "val")


@case(PUBLIC, "A root one level too high")
def _(folder: Path) -> Call:
    write_voc(folder / "VOCdevkit" / "VOC2012", aug=False)
    return lambda: PascalVOC(folder / "VOCdevkit", "val")


@case(PUBLIC, "A data set behind a registration that is missing")
def _(folder: Path) -> Call:
    return lambda: CityscapesDataModule(root=str(folder / "cityscapes")).dataset("val")


@case(PUBLIC, "Missing masks")
def _(folder: Path) -> Call:
    write_voc(folder, aug=False)
    (folder / "SegmentationClass" / f"{VAL[1]}.png").unlink()
    return lambda: PascalVOC(folder, "val")


@case(PUBLIC, "Missing images")
def _(folder: Path) -> Call:
    write_voc(folder, aug=False)
    for name in VAL:
        (folder / "JPEGImages" / f"{name}.jpg").unlink()
    return lambda: PascalVOC(folder, "val")


def _voc_list(folder: Path, *lines: str) -> Call:
    write_voc(folder, aug=False)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(lines) + "\n")
    return lambda: PascalVOC(folder, "val")


@case(PUBLIC, "A list that names an image twice")
def _(folder: Path) -> Call:
    return _voc_list(folder, VAL[0], VAL[1], VAL[0])


@case(PUBLIC, "A list with too many words in a line")
def _(folder: Path) -> Call:
    return _voc_list(folder, VAL[0], f"{VAL[1]} 1 -1")


@case(PUBLIC, "A list that pairs an image with another's mask")
def _(folder: Path) -> Call:
    return _voc_list(folder, f"/JPEGImages/{VAL[0]}.jpg /SegmentationClass/{VAL[1]}.png")


@case(PUBLIC, "An empty list")
def _(folder: Path) -> Call:
    return _voc_list(folder)


@case(PUBLIC, "A split that does not exist", ConfigError)
def _(folder: Path) -> Call:
    return lambda: PascalVOC(folder, "trainaug")  # type: ignore[arg-type]


@case(PUBLIC, "A list for training that names images of val")
def _(folder: Path) -> Call:
    write_voc(folder)
    with (folder / "ImageSets" / "SegmentationAug" / "train_aug.txt").open("a") as file:
        file.write(f"{VAL[0]}\n")
    return lambda: PascalVOC(folder, "train_aug")


@case(PUBLIC, "A damaged annotation of SBD")
def _(folder: Path) -> Call:
    root, sbd = write_voc(folder / "VOC2012", aug=False), write_sbd(folder / "sbd")
    (sbd / "cls" / "2008_000031.mat").write_bytes(b"")
    data = PascalVOC(root, "train_aug", sbd)
    return lambda: data.load(len(TRAIN))


# ------------------------------------------------------------------------------------------- one's own images: splits

SPLITS = "Splits of one's own images"


def _labelme(root: Path, **options: Any) -> LabelMeDataModule:
    return LabelMeDataModule(root=str(root), class_names=CLASSES, **options)


def _with_lists(folder: Path, **lists: Sequence[str]) -> Call:
    write_labelme(folder)
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
    return lambda: _labelme(folder).dataset("train")


@case(SPLITS, "A list for training alone")
def _(folder: Path) -> Call:
    return _with_lists(folder, train=["a", "b"])


@case(SPLITS, "Images in both lists")
def _(folder: Path) -> Call:
    return _with_lists(folder, train=["a", "b"], val=["b.jpg"])


@case(SPLITS, "A list that names what is not there")
def _(folder: Path) -> Call:
    return _with_lists(folder, train=["a", "day 2/dd.jpg"], val=["b"])


@case(SPLITS, "A list in another encoding than UTF-8")
def _(folder: Path) -> Call:
    call = _with_lists(folder, train=["a"], val=["b"])
    (folder / "val.txt").write_bytes("straße".encode("latin-1"))
    return call


@case(SPLITS, "A share that leaves nothing for training", ConfigError)
def _(folder: Path) -> Call:
    write_labelme(folder)
    return lambda: _labelme(folder, val_fraction=1.0).dataset("train")


@case(SPLITS, "A test split that was not asked for", ConfigError)
def _(folder: Path) -> Call:
    write_labelme(folder)
    return lambda: _labelme(folder).dataset("test")


# ------------------------------------------------------------------------------------------------------------ LabelMe

LABELME = "LabelMe"


def _annotated(folder: Path, *shapes: Any, **fields: Any) -> Call:
    """Write two annotated images, the first with these shapes, and return the reading of it."""
    image().save(folder / "a.jpg")
    write_annotation(folder / "a.json", list(shapes), **fields)
    image().save(folder / "b.jpg")
    write_annotation(folder / "b.json", [])
    for split, name in (("train", "a"), ("val", "b")):
        (folder / f"{split}.txt").write_text(name)
    return lambda: _labelme(folder).dataset("train").load(0)


@case(LABELME, "A folder without annotations")
def _(folder: Path) -> Call:
    image().save(folder / "a.jpg")
    return lambda: _labelme(folder).dataset("train")


@case(LABELME, "A label that was not declared")
def _(folder: Path) -> Call:
    return _annotated(folder, shape("bottel", [[2, 2], [9, 9]], "rectangle"))


@case(LABELME, "Damaged JSON")
def _(folder: Path) -> Call:
    call = _annotated(folder)
    _cut_in_half(folder / "a.json")
    return call


@case(LABELME, "JSON of another program")
def _(folder: Path) -> Call:
    call = _annotated(folder)
    (folder / "a.json").write_text('{"images": [], "annotations": []}')
    return call


@case(LABELME, "An annotation without its image")
def _(folder: Path) -> Call:
    call = _annotated(folder)
    (folder / "a.jpg").unlink()
    return call


@case(LABELME, "An image that was scaled after it was annotated")
def _(folder: Path) -> Call:
    call = _annotated(folder)
    image(25, 20).save(folder / "a.jpg")
    return call


@case(LABELME, "A polygon of two points")
def _(folder: Path) -> Call:
    return _annotated(folder, shape("person", [[2, 2], [9, 9]]))


@case(LABELME, "A kind of shape that is not known")
def _(folder: Path) -> Call:
    return _annotated(folder, shape("person", [[2, 2], [9, 9]], "rectangel"))


@case(LABELME, "A point that is no number")
def _(folder: Path) -> Call:
    return _annotated(folder, shape("person", [[2, 2], [9, float("nan")]], "line"))


@case(LABELME, "A label that is both a class and ignored", ConfigError)
def _(folder: Path) -> Call:
    write_labelme(folder)
    return lambda: _labelme(folder, ignored_labels=["person"]).dataset("train")


# --------------------------------------------------------------------------------------------------------------- COCO

COCO = "COCO"


def _coco(folder: Path, segmentation: Any, category: int = 1) -> Call:
    for name in ("a", "b"):
        image().save(folder / f"{name}.jpg")
        (folder / f"{'train' if name == 'a' else 'val'}.txt").write_text(name)
    images = [image_entry(1, "a.jpg"), image_entry(2, "b.jpg")]
    write_annotations(folder / "annotations.json", images, [thing(1, category, segmentation)])
    return lambda: (
        COCODataModule(root=str(folder), class_names=["background", "person", "cars"]).dataset("train").load(0)
    )


@case(COCO, "A category that was not declared")
def _(folder: Path) -> Call:
    return _coco(folder, [[2, 2, 9, 2, 9, 9]], category=3)


@case(COCO, "Boxes without outlines")
def _(folder: Path) -> Call:
    return _coco(folder, [])


@case(COCO, "A polygon of two points")
def _(folder: Path) -> Call:
    return _coco(folder, [[2, 2, 9, 9]])


@case(COCO, "Run lengths of another image")
def _(folder: Path) -> Call:
    return _coco(folder, {"size": [20, 25], "counts": [500]})


@case(COCO, "Run lengths that are damaged")
def _(folder: Path) -> Call:
    return _coco(folder, {"size": [40, 50], "counts": [10, 20, 300]})


@case(COCO, "A file of captions instead of instances")
def _(folder: Path) -> Call:
    (folder / "annotations.json").write_text('{"info": {}, "images": [], "annotations": []}')
    options = {"annotations": ["annotations.json"]}
    return lambda: COCODataModule(root=str(folder), class_names=CLASSES, **options).dataset("train")


@case(COCO, "Images in another folder")
def _(folder: Path) -> Call:
    write_coco(folder)
    options = {"annotations": ["annotations/instances_train2017.json"], "images": "val2017"}
    return lambda: COCODataModule(
        root=str(folder), class_names=["background", "person", "car", "toothbrush"], **options
    ).dataset("train")


# ----------------------------------------------------------------------------------------------------------- settings

SETTINGS = "Settings"


@case(SETTINGS, "Fewer images than a batch", ConfigError)
def _(folder: Path) -> Call:
    write_voc(folder, aug=False)
    return lambda: VOCDataModule(root=str(folder), train_split="train", batch_size=16).train_dataloader()


@case(SETTINGS, "A negative seed", ConfigError)
def _(folder: Path) -> Call:
    return lambda: VOCDataModule(root=str(folder), seed=-1)


@case(SETTINGS, "A single class", ConfigError)
def _(folder: Path) -> Call:
    return lambda: LabelMeDataModule(root=str(folder), class_names=["person"])


@case(SETTINGS, "A class named twice", ConfigError)
def _(folder: Path) -> Call:
    return lambda: LabelMeDataModule(root=str(folder), class_names=["background", "person", "person"])


@case(SETTINGS, "Means and deviations of different channels", ConfigError)
def _(folder: Path) -> Call:
    return lambda: VOCDataModule.describe(VOCDataModule.Options(mean=(0.5,)))


@case(SETTINGS, "Scoring images whose truth is secret", ConfigError)
def _(folder: Path) -> Call:
    return lambda: VOCDataModule(root=str(folder)).dataset("test")


# ---------------------------------------------------------------------------------------------------------- downloads

DOWNLOADS = "Downloads"


def _archive(url: str) -> Archive:
    return Archive("kit.tar", (url,), "0123456789abcdef0123456789abcdef", 1000)


@case(DOWNLOADS, "A network that is not there")
def _(folder: Path) -> Call:
    def call() -> None:
        pause, download.PAUSE = download.PAUSE, 0.0
        try:
            fetch(_archive("http://127.0.0.1:9/kit.tar"), folder / "kit.tar")
        finally:
            download.PAUSE = pause

    return call


@case(DOWNLOADS, "A file with another check sum")
def _(folder: Path) -> Call:
    (folder / "served.tar").write_bytes(b"something else")
    return lambda: fetch(_archive((folder / "served.tar").as_uri()), folder / "kit.tar")


@case(DOWNLOADS, "An archive that is damaged")
def _(folder: Path) -> Call:
    (folder / "kit.tar").write_bytes(b"")
    return lambda: unpack(folder / "kit.tar", "kit", folder / "kit")


@case(DOWNLOADS, "An archive that would write elsewhere")
def _(folder: Path) -> Call:
    with tarfile.open(folder / "kit.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("kit/../../escaped.txt"))
    return lambda: unpack(folder / "kit.tar", "kit", folder / "kit")


@case(DOWNLOADS, "A folder that already holds something else")
def _(folder: Path) -> Call:
    with tarfile.open(folder / "kit.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("kit/a.txt"))
    (folder / "kit").mkdir()
    (folder / "kit" / "thesis.tex").touch()
    return lambda: unpack(folder / "kit.tar", "kit", folder / "kit")


if __name__ == "__main__":
    print(document(), end="")
