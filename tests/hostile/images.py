"""Images, masks, volumes and videos that mean harm, or are broken: a few bytes each, made by code."""

from __future__ import annotations

import functools
import gzip
import io
import os
import random
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Make = Callable[[Path], None]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int = 8, colour: int = 2, pixels: bytes = b"") -> bytes:
    """A PNG that announces a size, and holds as many pixels as are given."""
    header = struct.pack(">II5B", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return start + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")


def jpeg(width: int, height: int, fill: bytes = b"") -> bytes:
    """A JPEG of 8x8 pixels that announces another size."""
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, "JPEG")
    data = made.getvalue()
    at = data.index(b"\xff\xc0")
    return data[:at] + fill + data[at : at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def tiff(order: str = "<", big: bool = False, **changes: Any) -> bytes:
    """A TIFF of one strip with tags by their numbers: `t277=(3, 65535)` is 65,535 samples (kind 3 is 16 bits)."""
    tags = {256: (4, 4), 257: (4, 4), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8), 277: (3, 1), 278: (4, 4),
            279: (4, 16)}  # fmt: skip
    tags |= {int(name[1:]): value for name, value in changes.items()}
    mark = {"<": b"II", ">": b"MM"}[order]
    entries = b""
    for tag, (kind, value) in sorted(tags.items()):
        wide = "Q" if big else "I"
        stored = struct.pack(order + {1: "B", 3: "H", 4: "I", 16: "Q"}[kind], value).ljust(8 if big else 4, b"\0")
        entries += struct.pack(f"{order}HH{wide}", tag, kind, 1) + stored
    if big:
        head = mark + struct.pack(order + "HHHQ", 43, 8, 0, 32) + bytes(16)
        return head + struct.pack(order + "Q", len(tags)) + entries + bytes(8)
    head = mark + struct.pack(order + "HI", 42, 24) + bytes(16)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def _scans(count: int) -> bytes:
    """A progressive JPEG whose last scan, of some bytes, is repeated: each is decoded over the whole image."""
    made = io.BytesIO()
    Image.new("L", (2000, 2000)).save(made, "JPEG", progressive=True)
    data = made.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def _with_exif(form: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(made, form, exif=bytes(5))
    return made.getvalue()


def npy(shape: tuple[int, ...], descr: str = "|u1", body: bytes = bytes(16)) -> bytes:
    """An array that announces a shape."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(118) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


def _zip(**parts: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(f"{name}.npy", content)
    return made.getvalue()


def nifti(shape: tuple[int, ...], datatype: int = 2, bits: int = 8, body: bytes = bytes(64)) -> bytes:
    """A NIfTI-1 file that announces a shape."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", header, 70, datatype, bits)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<f", header, 108, 352.0)
    struct.pack_into("<h", header, 254, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *(1.0 if column == row else 0.0 for column in range(4)))
    header[344:348] = b"n+1\0"
    return bytes(header) + body


def nrrd(fields: str, body: bytes = b"") -> bytes:
    """An NRRD file."""
    return f"NRRD0004\n{fields}\n\n".encode() + body


def _raw_nrrd(sizes: str, encoding: str = "raw", body: bytes = bytes(64), more: str = "") -> bytes:
    count = len(sizes.split())
    return nrrd(f"type: uchar\ndimension: {count}\nsizes: {sizes}\nencoding: {encoding}{more}", body)


def dicom(**changes: Any) -> bytes:
    """A DICOM image of 4x4 pixels, with some of its elements changed; deflated if its syntax says so."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("x", {}, file_meta=meta, preamble=bytes(128))
    values = {
        "Rows": 4, "Columns": 4, "SamplesPerPixel": 1, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
        "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2", "PixelData": bytes(16),
    } | changes  # fmt: skip
    for name, value in values.items():
        if value is not None:
            setattr(made, name, value)
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _matlab(announced: int) -> bytes:
    """A file of MATLAB with one compressed matrix, all zeros."""
    from scipy.io import savemat

    made = io.BytesIO()
    savemat(made, {"a": np.zeros((announced, 1000), np.uint8)}, do_compression=True)
    return made.getvalue()


def _nested_matlab(depth: int) -> bytes:
    """Structures within structures: of each another matrix, of one cell."""
    inner = b""
    for _ in range(depth):
        flags = struct.pack("<IIII", 6, 8, 1, 0)
        sizes = struct.pack("<IIii", 5, 8, 1, 1)
        name = struct.pack("<II", 1, 0)
        inner = struct.pack("<II", 14, len(flags + sizes + name + inner)) + flags + sizes + name + inner
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + inner


def _listen(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _write(data: bytes) -> Make:
    return lambda path: path.write_bytes(data) and None


VRT = (
    '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
    "<SourceFilename>{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
)
EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n(marker) (w) file closefile\nshowpage\n%%EOF\n"
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"


@functools.cache
def files() -> dict[str, tuple[str, Make]]:
    """Name -> the ending, and what makes the file. None of them can be segmented."""
    made: dict[str, tuple[str, Make]] = {
        "a pipe": (".png", os.mkfifo), "a pipe without an ending": ("", os.mkfifo),
        "a pipe of arrays": (".npy", os.mkfifo),
        "a pipe of a volume": (".nii.gz", os.mkfifo), "a pipe called by a number": (".17", os.mkfifo),
        "a pipe of NRRD": (".nrrd", os.mkfifo), "a pipe of DICOM": (".dcm", os.mkfifo),
        "a pipe of TIFF": (".tif", os.mkfifo),
        "a pipe of MATLAB": (".mat", os.mkfifo),
        "a socket": (".png", _listen),
        "a link to a device": (".png", lambda path: path.symlink_to("/dev/zero")),
        "a link to a device, TIFF": (".tif", lambda path: path.symlink_to("/dev/zero")),
        "a link to a device, array": (".npy", lambda path: path.symlink_to("/dev/zero")),
        "a link to the terminal": (".jpg", lambda path: path.symlink_to("/dev/tty")),
        "a link to nothing": (".png", lambda path: path.symlink_to("nothing")),
        "a link to itself": (".png", lambda path: path.symlink_to(path.name)),
        "a link to memory": (".png", lambda path: path.symlink_to("/proc/self/mem")),
    }  # fmt: skip
    data: dict[str, tuple[str, bytes]] = {
        "PNG 65500x65500": (".png", png(65500, 65500)), "PNG 60000x60000": (".png", png(60000, 60000)),
        "PNG of 2^31 - 1": (".png", png(2**31 - 1, 2**31 - 1)), "PNG of 2^31 rows": (".png", png(1, 2**31 - 1)),
        "PNG of no pixels": (".png", png(0, 0)), "PNG 12000x12000 grey": (".png", png(12000, 12000, colour=0)),
        "PNG of a palette, 60000x60000": (".png", png(60000, 60000, colour=3)),
        "PNG of a palette, 8000x8000": (".png", png(8000, 8000, colour=3)),
        "PNG 16 bits, 40000x40000": (".png", png(40000, 40000, 16, 6)),
        "PNG with transparency, 50000x50000": (".png", png(50000, 50000, 8, 6)),
        "PNG whose rows are missing": (".png", png(64, 64, pixels=bytes(100))),
        "JPEG 65500x65500": (".jpg", jpeg(65500, 65500)), "JPEG 30000x30000": (".jpg", jpeg(30000, 30000)),
        "JPEG 65500x65500 behind fill bytes": (".jpg", jpeg(65500, 65500, b"\xff\xff\xff")),
        "JPEG 30000x30000 behind a comment": (".jpg", jpeg(30000, 30000, b"\xff\xfe\x00\x04ab")),
        "TIFF of 65,535 samples": (".tif", tiff(t277=(3, 65535))),
        "TIFF of 65,535 samples, big-endian": (".tif", tiff(">", t277=(3, 65535))),
        "TIFF of 65,535 samples, in planes": (".tif", tiff(t277=(3, 65535), t284=(3, 2))),
        "BigTIFF of 65,535 samples": (".tif", tiff(big=True, t277=(3, 65535))),
        "TIFF of 2^32 - 1 samples": (".tif", tiff(t277=(4, 2**32 - 1))),
        "TIFF 65500x65500": (".tif", tiff(t256=(4, 65500), t257=(4, 65500), t278=(4, 65500))),
        "TIFF of 2^31 - 1": (".tif", tiff(t256=(4, 2**31 - 1), t257=(4, 2**31 - 1), t278=(4, 2**31 - 1))),
        "BigTIFF of 2^31 - 1": (".tif", tiff(big=True, t256=(4, 2**31 - 1), t257=(4, 2**31 - 1), t278=(4, 1))),
        "TIFF whose tags are its tags": (".tif", tiff()[:4] + struct.pack("<I", 4) + tiff()[8:]),
        "TIFF of tags beyond its end": (".tif", b"II*\0" + struct.pack("<I", 2**31)),
        "TIFF of one tag": (".tif", b"II*\0" + struct.pack("<IH", 8, 65535)),
        "VRT called TIFF, of a file": (".tif", VRT.format("/etc/hostname").encode()),
        "VRT called TIFF, of an address": (".tif", VRT.format("/vsicurl/http://127.0.0.1:9/x.tif").encode()),
        "EPS called PNG": (".png", EPS.encode()), "EPS called JPEG": (".jpg", EPS.encode()),
        "GIF 65535x65535": (".gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
                            + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x01\x04\x00;"),
        "BMP of 2^31 - 1": (".bmp", b"BM" + struct.pack("<IHHI", 100, 0, 0, 54)
                            + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)),
        "PPM of 99999999": (".ppm", b"P6 99999999 99999999 255 "), "PPM of many digits": (".ppm", b"P6 " + b"9" * 5000),
        "TGA 65535x65535": (".tga", bytes([0, 0, 2]) + bytes(9) + struct.pack("<HHBB", 65535, 65535, 24, 0)),
        "WebP 16384x16384": (".webp", b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4)
                             + (16383).to_bytes(3, "little") * 2),
        "JPEG 2000 of 16,384 channels": (".jp2", b"\xff\x4f\xff\x51" + struct.pack(
            ">HHIIIIIIIIH", 38 + 3 * 16384, 0, 4, 4, 0, 0, 4, 4, 0, 0, 16384) + b"\x07\x01\x01" * 16384),
        "JPEG 2000 of 2^32 - 1": (".j2k", b"\xff\x4f\xff\x51" + struct.pack(
            ">HHIIIIIIIIH", 47, 0, 2**32 - 1, 2**32 - 1, 0, 0, 1, 1, 0, 0, 3) + b"\x07\x01\x01" * 3),
        "JPEG of 5,000 scans": (".jpg", _scans(5000)), "JPEG of 300 scans": (".jpg", _scans(300)),
        "EXIF that is none, PNG": (".png", _with_exif("PNG")), "EXIF that is none, WebP": (".webp", _with_exif("WEBP")),
        "NRRD of text without end": (".nrrd", _raw_nrrd("4 4", "ascii", b"x " * 20_000_000)),
        "nothing": (".png", b""), "a zip of nothing": (".npz", _zip()),
        "noise": (".png", random.Random(0).randbytes(999)),
        "array (10^6, 10^6, 3)": (".npy", npy((10**6, 10**6, 3))), "array of 10^30": (".npy", npy((10**30, 2, 3))),
        "array of no sides": (".npy", npy(())), "array of negative sides": (".npy", npy((-4, -4))),
        "array of no elements": (".npy", npy((0, 5, 3), body=b"")), "array of objects": (".npy", npy((2, 2), "|O")),
        "array of records": (".npy", npy((2,), "[('a', '<i8')]")), "array of code": (".npy", npy((1,), "x") [:60]),
        "array of 9 dimensions": (".npy", npy((1,) * 9, body=b"\0")), "array of texts": (".npy", npy((2, 2), "<U1")),
        "array of empty texts": (".npy", npy((10**9, 10**9), "<U0", b"")),
        "array of complex numbers": (".npy", npy((2, 2), "<c8", bytes(32))),
        "array of a header of 10^9": (".npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 10**9)),
        "array of version 9": (".npy", b"\x93NUMPY\x09\x00" + bytes(20)),
        "archive of an array of 10^12": (".npz", _zip(a=npy((10**6, 10**6)))),
        "archive that is a bomb": (".npz", _zip(a=npy((25000, 25000), body=bytes(625_000_000)))),
        "MATLAB's zeros": (".mat", _matlab(1_000_000)), "MATLAB's cells in cells": (".mat", _nested_matlab(3000)),
        "MATLAB cut": (".mat", _matlab(100)[:200]), "MATLAB 7.3": (".mat", b"MATLAB 7.3 MAT-file".ljust(512)),
        "NIfTI of 32767": (".nii", nifti((32767, 32767, 32767))), "NIfTI of 32767, packed": (
            ".nii.gz", gzip.compress(nifti((32767, 32767, 32767)))),
        "NIfTI of 32767 channels": (".nii", nifti((300, 300, 1, 32767), 64, 64)),
        "NIfTI of negative sides": (".nii", nifti((-5, 5, 5))), "NIfTI of no sides": (".nii", nifti((0, 0, 0))),
        "NIfTI of 7 dimensions": (".nii", nifti((2,) * 7)), "NIfTI of unknown numbers": (".nii", nifti((4, 4, 4), 999)),
        "NIfTI cut": (".nii", nifti((4, 4, 4))[:100]), "NIfTI cut, packed": (
            ".nii.gz", gzip.compress(nifti((400, 400, 4), body=random.Random(1).randbytes(640_000)))[:300]),
        "NIfTI of NaN places": (".nii", _with_nan(nifti((4, 4, 4)))),
        "NRRD of 10^9 slices": (".nrrd", _raw_nrrd("1 1 1000000000")), "NRRD of 10^12": (
            ".nrrd", _raw_nrrd("1000000 1000000", "gzip", gzip.compress(bytes(10**6)))),
        "NRRD of a bomb": (".nrrd", _raw_nrrd("40000 40000", "gzip", gzip.compress(bytes(2 * 10**6)))),
        "NRRD of negative sides": (".nrrd", _raw_nrrd("-1 -1")), "NRRD of words": (".nrrd", _raw_nrrd("a b")),
        "NRRD of 5,000 digits": (".nrrd", _raw_nrrd("9" * 5000 + " 1")), "NRRD of infinity": (
            ".nrrd", _raw_nrrd("4 4 4", more="\nspace: ras\nspace directions: (inf,0,0) (0,nan,0) (0,0,1)", body=b"")),
        "NRRD of a device": (".nhdr", _raw_nrrd("4 4", more="\ndata file: /dev/zero")),
        "NRRD of a file elsewhere": (".nhdr", _raw_nrrd("4 4", more="\ndata file: ../../../../etc/hostname")),
        "NRRD of a file elsewhere, whole path": (".nhdr", _raw_nrrd("2 2", more="\ndata file: /etc/passwd")),
        "NRRD that begins before its beginning": (".nrrd", _raw_nrrd("99 99", more="\nbyte skip: -1")),
        "NRRD of a place beyond": (".nrrd", _raw_nrrd("4 4", more="\nbyte skip: 99999999999999999999")),
        "NRRD of directions of one number": (
            ".nrrd", _raw_nrrd("2 2 2", more="\nspace: ras\nspace directions: (1) (1) (1)")),
        "DICOM 65535x65535": (".dcm", dicom(Rows=65535, Columns=65535)), "DICOM of 10^9 frames": (
            ".dcm", dicom(NumberOfFrames=10**9)), "DICOM of no rows": (".dcm", dicom(Rows=None)),
        "DICOM of negative frames": (".dcm", dicom(NumberOfFrames=-5)), "DICOM of 65535 samples": (
            ".dcm", dicom(SamplesPerPixel=65535)), "DICOM of 1 bit in 65535": (".dcm", dicom(BitsAllocated=65535)),
        "DICOM of no pixels": (".dcm", dicom(PixelData=None)),
        "DICOM of few pixels": (".dcm", dicom(PixelData=b"\0\0")),
        "DICOM cut": (".dcm", dicom()[:300]), "DICOM without its start": (".dcm", dicom()[132:]),
        "DICOM of unknown colours": (".dcm", dicom(PhotometricInterpretation="<b>\x1b[2J")),
        "DICOM of a palette without one": (".dcm", dicom(PhotometricInterpretation="PALETTE COLOR")),
        "DICOM of slope without end": (
            ".dcm", dicom(RescaleSlope="1e308", RescaleIntercept="1e308", PixelData=b"\xff" * 16)),
        "DICOM in a DICOM": (".dcm", _nested_dicom(2000)),
    }  # fmt: skip
    return made | {name: (ending, _write(content)) for name, (ending, content) in data.items()}


def _with_nan(data: bytes) -> bytes:
    return data[:280] + struct.pack("<12f", *[float("nan")] * 12) + data[328:]


def _nested_dicom(depth: int) -> bytes:
    """Sequences in sequences, of undefined length: (0008,1140)."""
    start = dicom()[: dicom().index(b"\x08\x00\x16\x00") if b"\x08\x00\x16\x00" in dicom() else 132 + 200]
    opened = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return start + opened * depth


def entries(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the reading of each, all of its parts, as `predict` does."""
    from deeplab_lightning.data.files.rasters import parts_to_segment, read_source

    for number, (name, (ending, make)) in enumerate(files().items()):
        path = folder / f"{number:03}{ending}"
        make(path)

        def read(path: Path = path) -> None:
            for part in parts_to_segment(path):
                read_source(part, 3, 255)

        yield name, read
