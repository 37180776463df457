"""Which files a user means: by paths and globs, or by the names that a data set's layout gives them."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...errors import DataError
from ...files import open_file
from ..wording import composed, first_few, nearest_sibling

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".jfif", ".jpe", ".mpo", ".gif", ".jp2", ".j2k", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".svs",
)  # fmt: skip
"""Endings by which images are found in folders, lower case. `read_image` itself goes by content, not by name."""

RASTER_SUFFIXES = (".npy", ".npz", ".mat", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".dcm", ".dicom", ".ima")
"""Endings of what is no image file but holds images: arrays, volumes, DICOM."""

_CONVERT = "convert them to JPEG or PNG"
_AS_TIFF = "write them, or the part that matters, as TIFF"
_AS_NIFTI = "save them as NIfTI (.nii.gz)"
UNREAD = (
    dict.fromkeys((".heic", ".heif", ".hif"), f"{_CONVERT}, as pillow-heif or the phone itself does")
    | dict.fromkeys((".jxl", ".svg", ".pdf", ".eps", ".psd", ".psb", ".xcf"), _CONVERT)
    | dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".exr", ".hdr"), f"{_CONVERT}, or TIFF"
    )
    | dict.fromkeys(
        (".ndpi", ".mrxs", ".scn", ".czi", ".bif", ".lif", ".nd2", ".vsi"), f"{_AS_TIFF} (QuPath, OpenSlide)"
    )
    | dict.fromkeys((".vrt", ".ecw", ".sid", ".hgt", ".grd", ".asc"), f"{_AS_TIFF} (gdal_translate)")
    | dict.fromkeys((".mha", ".mhd", ".mgz", ".mgh", ".img", ".minc", ".mnc"), _AS_NIFTI)
    | dict.fromkeys((".h5", ".hdf5", ".nc", ".zarr"), "write their images as .npy or TIFF, one in a file")
)
"""Ending -> the way to images that are read, for the kinds that hold images and are not read."""
NO_IMAGES = (
    ".txt", ".json", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".md", ".rst", ".html", ".py", ".ipynb", ".ini", ".cfg",
    ".log", ".db", ".cache", ".aux", ".tfw", ".jgw", ".pgw", ".wld", ".prj", ".ovr", ".geojson", ".shp", ".dbf", ".shx",
    ".cpg", ".zip", ".gz", ".tar", ".7z", ".pt", ".pth", ".ckpt", ".raw", ".xls", ".xlsx", ".doc", ".docx",
)  # fmt: skip
"""Endings of what lies beside images, and of which nobody expects to be read as one."""

DEEPEST = 100
"""Folders within folders."""
STARTS = {
    ".jpg": (0, b"\xff\xd8\xff"),
    ".png": (0, b"\x89PNG\r\n\x1a\n"),
    ".gif": (0, b"GIF8"),
    ".tif": (0, b"II*\0"),
    ".tiff": (0, b"MM\0*"),
    ".webp": (8, b"WEBP"),
    ".dcm": (128, b"DICM"),
}
"""Ending -> what stands where in a file that should have it: by this, files without an ending are known."""


def find_images(inputs: Sequence[str | Path], suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Find the images that files, folders and globs stand for.

    Folders are searched through by ending, linked ones too, hidden files left out. A file named in full is taken
    whatever its ending, so that reading it can say what is wrong.

    Args:
        inputs: Paths or patterns; `**` matches any depth of folders.
        suffixes: Endings that count, lower case.

    Returns:
        Each image once, in the order of `inputs` and sorted within each.

    Raises:
        DataError: An input stands for no image.
    """
    found: dict[Path, None] = {}
    for entry in map(str, inputs):
        images = _matches(entry, suffixes)
        if not images:
            raise DataError(_no_match(entry, suffixes))
        found.update(dict.fromkeys(images))
    return list(found)


def _matches(entry: str, suffixes: tuple[str, ...]) -> list[Path]:
    path = on_disk(Path(entry).expanduser())
    if path.is_file():
        return [path]
    if path.is_dir():
        return images_below(path, suffixes)
    images: set[Path] = set()
    for match in map(Path, glob.glob(str(path), recursive=True)):
        if match.is_dir():  # as if the shell had expanded the pattern
            images.update(images_below(match, suffixes))
        elif match.name.lower().endswith(suffixes):
            images.add(match)
    return sorted(images)


def images_below(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """List the images in a folder and the folders in it, sorted; hidden ones left out.

    They are known by their endings, and where they have none, or a number as DICOM's UIDs do, by how they begin.
    """
    return [path for path in files_below(folder) if is_of_kind(path, suffixes)]


def not_read(inputs: Sequence[str | Path], read: Iterable[Path]) -> list[str]:
    """Say which files of the folders among `inputs` are no images that are read, kind by kind; texts are left out.

    Args:
        inputs: Files, folders and globs.
        read: What is read of them.
    """
    known = set(read)
    folders = [path for path in (on_disk(Path(entry).expanduser()) for entry in inputs) if path.is_dir()]
    left = [path for folder in folders for path in files_below(folder) if path not in known]
    kinds = Counter(path.suffix.lower() for path in left if path.suffix.lower() not in NO_IMAGES)
    return [
        f"not read: {count} x {ending or 'without ending'}{f': {UNREAD[ending]}' if ending in UNREAD else ''}"
        for ending, count in kinds.most_common()
    ]


def is_of_kind(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Tell whether a file has one of these endings, or, having none, should have one by how it begins."""
    return (path.name.lower() + ending_by_content(path)).endswith(suffixes)


def ending_by_content(path: Path) -> str:
    """Return the ending that a file without one should have, by how it begins; nothing if it has one or none fits."""
    if path.suffix and not path.suffix[1:].isdigit():
        return ""
    try:
        with open_file(path) as file:
            begin = file.read(132)
    except OSError:
        return ""
    return next((ending for ending, (at, start) in STARTS.items() if begin[at:].startswith(start)), "")


def files_below(folder: Path) -> list[Path]:
    """List the files in a folder and the folders in it, linked ones too, sorted; hidden ones left out.

    A link to a folder that it lies in, or that the whole lies in, is not followed: there would be no end, or all of the
    disk. Nor are folders more than `DEEPEST` deep.
    """
    files: list[Path] = []
    whole = Path(os.path.realpath(folder))
    above = {os.fspath(folder): frozenset([os.path.realpath(folder)])}
    for parent, folders, names in os.walk(folder, followlinks=True):
        followed = []
        for name in folders:
            path = os.path.join(parent, name)
            real = os.path.realpath(path)
            if name.startswith(".") or len(above[parent]) > DEEPEST or whole.is_relative_to(real):
                continue
            if real not in above[parent]:
                above[path] = above[parent] | {real}
                followed.append(name)
        folders[:] = followed
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files)


def on_disk(path: Path) -> Path:
    """Return a path as the disk spells it: an accented letter may be one character there, or two (NFC, NFD)."""
    try:
        if path.exists() or path.parent == path:
            return path
    except OSError:  # its name is longer than any
        return path
    parent = on_disk(path.parent)
    names = os.listdir(parent) if not path.name.isascii() and parent.is_dir() else []
    return parent / next((name for name in names if composed(name) == composed(path.name)), path.name)


def without_ending(path: Path) -> Path:
    """Return a file's path without its ending: `a/pic.one` for `a/pic.one.png`, `a/scan` for `a/scan.nii.gz`.

    A number is no ending: it is what names of DICOM files end in.
    """
    if path.suffix[1:].isdigit():
        return path
    return path.with_suffix("").with_suffix("") if path.name.lower().endswith(".nii.gz") else path.with_suffix("")


def _no_match(entry: str, suffixes: tuple[str, ...]) -> str:
    path = Path(entry).expanduser()
    wanted = f"images end in {', '.join(suffixes)}"
    if path.is_dir():
        endings = Counter(Path(name).suffix or "no ending" for name in files_below(path))
        held = ", ".join(f"{count} x {ending}" for ending, count in endings.most_common(5)) or "nothing"
        return f"No images in folder {path}: it holds {held}; {wanted}."
    if glob.has_magic(entry):
        return f"No images match {entry!r}: {wanted}.{nearest_sibling(path)}"
    return f"{entry} does not exist.{nearest_sibling(path)}"


def files_by_stem(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """List a folder's files, if there is one, by name without ending; of several endings PNG wins, being lossless.

    Accented letters in the names are composed, as `composed` does.
    """
    folder = on_disk(folder)
    if not folder.is_dir():
        return {}
    paths = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    paths.sort(key=lambda path: (path.suffix.lower() == ".png", path.name))
    return {composed(path.stem): path for path in paths}


def locate(
    names: Sequence[str], root: Path, what: str, remedy: str, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """Find a data set's files whatever their endings, listing each folder once.

    Args:
        names: Paths below `root` without endings, such as `JPEGImages/2007_000032`.
        root: Folder of the data set.
        what: Data set and split, for the message.
        remedy: What to do about missing files.
        suffixes: Endings that count, lower case.

    Returns:
        A path for each name.

    Raises:
        DataError: Files are missing: how many, and the first five.
    """
    names = [composed(name) for name in names]
    folders = {name.rpartition("/")[0] for name in names}
    files = {
        f"{folder}/{stem}": path for folder in folders for stem, path in files_by_stem(root / folder, suffixes).items()
    }
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"{what}: {len(missing)} of {len(names)} files are missing in {root} under any ending "
            f"({', '.join(suffixes)}): {first_few(missing)}. {remedy}",
            kind="missing_files",
        )
    return [files[name] for name in names]
