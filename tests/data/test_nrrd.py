"""NRRD and arrays of other programs, against arrays; headers by the format's own description."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from deeplab_lightning.data.files.rasters import Source, check_same_place, read_labels, read_source, sources_in
from deeplab_lightning.errors import DataError
from tests.fakes.scans import as_slice, volume

DIRECTIONS = {
    "left-posterior-superior": ("(-1,0,0) (0,-1,0) (0,0,2)", "(3,4,5)"),
    "RAS": ("(1,0,0) (0,1,0) (0,0,2)", "(-3,-4,5)"),
}


def write_nrrd(path: Path, stored: np.ndarray, encoding: str = "gzip", data_file: str = "", **fields: str) -> None:
    """Write an array whose first axis is the fastest."""
    name = {"i2": "short", "u1": "uchar", "f4": "float"}[stored.dtype.str[1:]]
    header = {
        "type": name,
        "dimension": str(stored.ndim),
        "sizes": " ".join(map(str, stored.shape)),
        "endian": "big" if stored.dtype.str[0] == ">" else "little",
        "encoding": encoding,
    } | {key.replace("_", " "): value for key, value in fields.items()}
    if data_file:
        header["data file"] = data_file
    raw = stored.tobytes(order="F")
    if encoding == "ascii":
        raw = " ".join(map(str, stored.ravel(order="F"))).encode()
    raw = gzip.compress(raw) if encoding == "gzip" else raw
    text = (
        "NRRD0004\n# a comment\n" + "".join(f"{key}: {value}\n" for key, value in header.items()) + "tool:=Slicer\n\n"
    )
    if data_file:
        (path.parent / data_file).write_bytes(raw)
        raw = b""
    path.write_bytes(text.encode() + raw)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
@pytest.mark.parametrize("space", list(DIRECTIONS))
@pytest.mark.parametrize("data_file", ["", "a.raw"])
def test_slices_lie_as_those_of_nifti_do(tmp_path: Path, encoding: str, space: str, data_file: str) -> None:
    scan, mask = volume(0)
    directions, origin = DIRECTIONS[space]
    place = {"space": space, "space_directions": directions, "space_origin": origin}
    write_nrrd(tmp_path / "a.nrrd", scan, encoding, data_file, **place)
    write_nrrd(tmp_path / "b.nrrd", mask, encoding, **place)
    parts = sources_in(tmp_path / "a.nrrd")
    assert len(parts) == 4
    for index, part in enumerate(parts):
        np.testing.assert_array_equal(read_source(part, 1, 1.0)[..., 0], as_slice(scan, index))
        np.testing.assert_array_equal(read_labels(Source(tmp_path / "b.nrrd", index)), as_slice(mask, index))
    check_same_place(tmp_path / "a.nrrd", tmp_path / "b.nrrd")
    write_nrrd(tmp_path / "b.nrrd", mask, **(place | {"space_origin": "(9,4,5)"}))
    with pytest.raises(DataError, match=r"b\.nrrd lie 1?\d mm apart"):
        check_same_place(tmp_path / "a.nrrd", tmp_path / "b.nrrd")


def test_axes_in_another_order_and_channels(tmp_path: Path) -> None:
    scan, _ = volume(0)
    stored = np.ascontiguousarray(scan.transpose(2, 0, 1))[:, ::-1].astype(">i2")  # up, left, front
    write_nrrd(tmp_path / "a.nrrd", stored, space="RAS", space_directions="(0,0,1) (-1,0,0) (0,1,0)")
    np.testing.assert_array_equal(read_source(f"{tmp_path}/a.nrrd#2", 1, 1.0)[..., 0], as_slice(scan, 2))
    rgb = np.random.default_rng(0).integers(0, 256, (3, 30, 20), dtype=np.uint8)
    write_nrrd(tmp_path / "b.nrrd", rgb, kinds="RGB-color domain domain")
    np.testing.assert_array_equal(read_source(tmp_path / "b.nrrd", 3, 255.0), rgb.transpose(2, 1, 0))


def test_nrrd_that_cannot_be_read(tmp_path: Path) -> None:
    scan, _ = volume(0)
    write_nrrd(tmp_path / "a.nrrd", scan)
    (tmp_path / "b.nrrd").write_bytes((tmp_path / "a.nrrd").read_bytes()[:300])
    (tmp_path / "c.nrrd").write_bytes(b"text")
    write_nrrd(tmp_path / "d.nrrd", scan, "bzip2")
    write_nrrd(tmp_path / "e.nrrd", scan, "raw", sizes="24 20")
    write_nrrd(tmp_path / "f.nrrd", scan, "raw", sizes="9999999 9999999 9999999")
    write_nrrd(tmp_path / "g.nrrd", scan, endian="middle")
    for name, words in {
        "a": "is a volume of 4 slices: choose one",
        "b": r"b\.nrrd",
        "c": "is no NRRD file",
        "d": r"encoding bzip2.*which is not read.*NIfTI",
        "e": r"axes of \[24, 20\]",
        "f": "is too small",
        "g": "header of .*g.nrrd cannot be read",
    }.items():
        with pytest.raises(DataError, match=words):
            read_source(Source(tmp_path / f"{name}.nrrd", None if name == "a" else 0), 1, 1.0)


def test_arrays_of_matlab_and_numpy(tmp_path: Path) -> None:
    mask = volume(0)[1][..., 0]
    savemat(tmp_path / "a.mat", {"inst": {"map": mask}, "count": 3, "names": np.array(["a", "b"], object)})
    np.savez_compressed(tmp_path / "a.npz", label=mask, spacing=np.ones(2))
    for name in ("a.mat", "a.npz"):
        np.testing.assert_array_equal(read_labels(Source(tmp_path / name)), mask)
    savemat(tmp_path / "b.mat", {"labels": mask, "instances": mask})
    with pytest.raises(DataError, match=r"b\.mat holds labels uint8 of shape \(24, 20\), instances .*one in a file"):
        read_labels(Source(tmp_path / "b.mat"))
    (tmp_path / "c.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + b" " * 500)
    with pytest.raises(DataError, match=r"c\.mat: it is of MATLAB's format 7\.3.*'-v7'"):
        read_labels(Source(tmp_path / "c.mat"))
    (tmp_path / "d.mat").write_bytes(b"no matlab")
    with pytest.raises(DataError, match=r"Cannot read .*d\.mat"):
        read_labels(Source(tmp_path / "d.mat"))
