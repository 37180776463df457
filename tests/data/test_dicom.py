"""DICOM: what is shown comes out, in the units of the header, or an error says what to do."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.files.dicom import read_dicom
from deeplab_lightning.data.files.rasters import Source, read_labels, read_source, source, sources_in
from deeplab_lightning.data.pairing import finding
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import DataError
from tests.fakes.dicom import write_dicom

pydicom = pytest.importorskip("pydicom")
GREY = np.random.default_rng(0).integers(0, 4096, (20, 30))
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
"""What pydicom tests itself with."""


def test_dicom_comes_in_rescaled_units(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", GREY)
    np.testing.assert_array_equal(read_dicom(tmp_path / "a.dcm"), GREY[..., None])
    write_dicom(tmp_path / "b.dcm", GREY, RescaleSlope=2, RescaleIntercept=-1024)
    result = read_source(tmp_path / "b.dcm", 1, 1000.0)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[..., 0], GREY * 2.0 - 1024)


def test_dicom_that_cannot_be_read(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", np.zeros((3, 20, 30)), NumberOfFrames=3)
    with pytest.raises(DataError, match=r"a\.dcm has 3 frames: choose one, as in .*a\.dcm#1"):
        read_dicom(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"a\.dcm has 3 frames, 0 to 2; there is no frame 3"):
        read_dicom(tmp_path / "a.dcm", 3)
    (tmp_path / "b.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:500])
    with pytest.raises(DataError, match=r"Cannot read .*b\.dcm"):
        read_dicom(tmp_path / "b.dcm", 0)
    with pytest.raises(DataError, match=r"c\.dcm does not exist"):
        read_dicom(tmp_path / "c.dcm")
    with pytest.raises(DataError, match=r"rtplan\.dcm: it is a RT Plan Storage without pixels"):
        read_dicom(FILES / "rtplan.dcm")


@pytest.mark.parametrize(("bits", "signed"), [(12, False), (16, False), (16, True)])
def test_negatives_are_turned_round(tmp_path: Path, bits: int, signed: bool) -> None:
    """MONOCHROME1: the smallest value is white."""
    stored = GREY.astype(np.int16) - 2000 if signed else GREY.astype(np.uint16)
    options = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": bits, "HighBit": bits - 1}
    write_dicom(tmp_path / "a.dcm", stored, **options)
    expected = -1 - stored.astype(int) if signed else 2**bits - 1 - stored.astype(int)
    np.testing.assert_array_equal(read_dicom(tmp_path / "a.dcm")[..., 0], expected)
    write_dicom(tmp_path / "b.dcm", stored, RescaleSlope=2, RescaleIntercept=5, **options)
    np.testing.assert_array_equal(read_dicom(tmp_path / "b.dcm")[..., 0], expected * 2.0 + 5)
    with pytest.raises(DataError, match=r"a\.dcm is MONOCHROME1, whose 0 is white"):
        read_labels(Source(tmp_path / "a.dcm"))


def test_frames_are_images(tmp_path: Path) -> None:
    frames = np.stack([GREY, GREY[::-1], GREY // 2])
    group = pydicom.Dataset()
    group.PixelValueTransformationSequence = [pydicom.Dataset()]
    group.PixelValueTransformationSequence[0].RescaleSlope = 3
    group.PixelValueTransformationSequence[0].RescaleIntercept = -7
    write_dicom(tmp_path / "a.dcm", frames, NumberOfFrames=3, SharedFunctionalGroupsSequence=[group])
    parts = sources_in(tmp_path / "a.dcm")
    assert [part.mark for part in parts] == ["#000", "#001", "#002"]
    for part, frame in zip(parts, frames, strict=True):
        np.testing.assert_array_equal(read_source(part, 1, 4095.0)[..., 0], frame * 3 - 7)
    np.testing.assert_array_equal(read_source(f"{tmp_path}/a.dcm#2", 1, 4095.0)[..., 0], frames[2] * 3 - 7)


def test_colours(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_dicom(tmp_path / "rgb.dcm", rgb)
    np.testing.assert_array_equal(read_source(tmp_path / "rgb.dcm", 3, 255.0), rgb)
    y = rgb @ [0.299, 0.587, 0.114]  # ITU-R BT.601, as DICOM PS3.3, C.7.6.3.1.2 has it
    ycc = np.stack([y, (rgb[..., 2] - y) / 1.772 + 128, (rgb[..., 0] - y) / 1.402 + 128], -1)
    write_dicom(tmp_path / "ycc.dcm", ycc.round().clip(0, 255).astype(np.uint8), PhotometricInterpretation="YBR_FULL")
    assert np.abs(read_source(tmp_path / "ycc.dcm", 3, 255.0).astype(int) - rgb).max() <= 3
    table = np.array([colorsys.hsv_to_rgb(index / 256, 1, 1) for index in range(256)])
    ids = rgb[..., 0]
    for bits in (8, 16):
        entries = (table * (2**bits - 1)).round().astype(f"u{bits // 8}")
        palette: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
        for channel, name in enumerate(("Red", "Green", "Blue")):
            palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
            palette[f"{name}PaletteColorLookupTableData"] = entries[:, channel].tobytes()
        write_dicom(tmp_path / "palette.dcm", ids, **palette)
        shown = read_source(tmp_path / "palette.dcm", 3, 255.0)
        assert np.abs(shown - table[ids] * 255).max() <= 1
        np.testing.assert_array_equal(read_labels(Source(tmp_path / "palette.dcm")), ids)


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame", "examples_palette", "examples_ybr_color", "MR_small_bigendian"])
def test_files_of_other_writers(name: str) -> None:
    parts = sources_in(FILES / f"{name}.dcm")
    assert len(parts) == {"SC_rgb_rle_2frame": 2, "examples_ybr_color": 30}.get(name, 1)
    image = read_source(parts[-1], *((1, 4095.0) if name.startswith("MR") else (3, 255.0)))
    assert image.dtype == (np.float32 if name.startswith("MR") else np.uint8)
    if name.startswith("MR"):
        np.testing.assert_array_equal(image, read_source(FILES / "MR_small.dcm", 1, 4095.0))


def test_files_without_ending_are_known_by_content(tmp_path: Path) -> None:
    for name in ("IM000001", "1.2.840.10008.7", "1.2.840.10008.8", "c.IMA"):
        write_dicom(tmp_path / "a" / name, GREY)
    (tmp_path / "a" / "README").write_text("no image")
    found = finding.find_images([tmp_path / "a"], (*finding.IMAGE_SUFFIXES, *finding.RASTER_SUFFIXES))
    assert [path.name for path in found] == ["1.2.840.10008.7", "1.2.840.10008.8", "IM000001", "c.IMA"]
    for path in found:
        np.testing.assert_array_equal(read_source(path, 1, 4095.0)[..., 0], GREY)
    stems = [finding.without_ending(path).name for path in found]
    assert stems == ["1.2.840.10008.7", "1.2.840.10008.8", "IM000001", "c"]


def test_a_folder_of_them_is_recognised_and_read(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for number in range(5):
        write_dicom(tmp_path / "images" / f"IM{number}", GREY + number)
        Image.fromarray((GREY > 2000).astype(np.uint8)).save(tmp_path / "masks" / f"IM{number}.png")
    found = propose(tmp_path)
    assert (found.name, found.options["class_names"]) == ("Folder", ["class_0", "class_1"])
    image, mask = FolderDataModule(**found.options).dataset("train").load(0)
    assert image.shape == (20, 30, 1)
    np.testing.assert_array_equal(mask, GREY > 2000)


def test_a_file_whose_name_looks_like_a_slice(tmp_path: Path) -> None:
    write_dicom(tmp_path / "IM#3", GREY)
    assert source(tmp_path / "IM#3") == Source(tmp_path / "IM#3")
    assert source(tmp_path / "scan.nii.gz#3") == Source(tmp_path / "scan.nii.gz", 3)
