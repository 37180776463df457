"""Files: written whole or not at all, and told apart by their content."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ConfigError, DataError, DeepLabError
from .memory import free_memory

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""With which spreadsheets begin formulas; in front of them stands a `'`, which says that the cell is text."""


@contextmanager
def atomic_open(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing bytes that appears under its name only when it is whole.

    It is written under another name in the same folder and then moved: a run that is killed, or a report made in the
    middle of writing, never meets half a file.

    Args:
        path: The file to write; an older one is replaced.
    """
    # Of its name no more than the disk takes, which counts bytes (255): 40 letters have 160 at most.
    temporary = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(what: object, remedy: str, kind: type[DeepLabError] = DataError) -> Iterator[None]:
    """Turn an error of the file system into one that says what cannot be written, and what to do about it."""
    try:
        yield
    except OSError as error:
        raise kind(f"Cannot write {what}: {error.strerror}. {remedy}") from error


def expect_name(what: str, name: str, remedy: str = "say where runs go with --folder") -> None:
    """Refuse a name of a run, or of several, that leads out of the folder of runs.

    Raises:
        ConfigError: Says which, and what to do.
    """
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute() or not name.isprintable():
        raise ConfigError(
            f"{what} is {name!r}, which is no name within the folder of runs: write it without '..' and a leading "
            f"slash, and {remedy}."
        )


def open_file(path: str | Path) -> BinaryIO:
    """Open an ordinary file for reading bytes; whatever a stranger has made is opened here.

    A pipe would be waited for, a device read for ever.

    Raises:
        OSError: It is not there, may not be read, or is no ordinary file; `strerror` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        expect_ordinary(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def expect_ordinary(mode: int, path: str | Path) -> None:
    """Refuse what is no ordinary file, by what `os.stat` says of it.

    Raises:
        OSError: `strerror` says what it is.
    """
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise OSError(errno.EINVAL, f"it is {kind}, expected an ordinary file", str(path))


def read_bytes(path: str | Path) -> bytes:
    """Return all bytes of an ordinary file.

    Raises:
        OSError: As for `open_file`, or it has more bytes than there is memory.
    """
    with open_file(path) as file:
        size, free = os.fstat(file.fileno()).st_size, free_memory()
        if size > free:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, and {free:,} of memory are free", str(path))
        return file.read()


def expect_parsed_fits(data: bytes) -> None:
    """Refuse JSON whose values would take more memory than there is: `[[],[],...]` takes thirty times its bytes.

    Raises:
        OSError: Says how much it would take.
    """
    needed = len(data) + 90 * data.count(b"[") + 240 * data.count(b"{") + 40 * data.count(b",")
    if needed > (free := free_memory()):
        raise OSError(errno.EFBIG, f"its values would take some {needed:,} bytes of memory, and {free:,} are free")


def read_text(path: Path) -> str:
    """Return a file's text, with or without a byte order mark.

    Raises:
        OSError: It cannot be read, or is not in UTF-8; `strerror` says which.
    """
    try:
        return read_bytes(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "it is not text in UTF-8; save it in that encoding", str(path)) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all; lone surrogates, which UTF-8 lacks, are escaped as in JSON."""
    with atomic_open(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object] | Mapping[str, object]]) -> None:
    """Write a table, floats with all their digits; cells are empty where there is nothing: None or NaN.

    Args:
        path: The file.
        header: Names of the columns.
        rows: Cells in the order of the columns, or by their names.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        cells = [row.get(name) for name in header] if isinstance(row, Mapping) else row
        writer.writerow("" if isinstance(cell, float) and math.isnan(cell) else _as_text(cell) for cell in cells)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by the names of its columns.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with io.TextIOWrapper(open_file(path), newline="", encoding="utf-8") as file:
            return [{name: _from_text(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise OSError(errno.EILSEQ, f"it is no table: {error}", str(path)) from error


def _as_text(cell: object) -> object:
    """Return a cell which spreadsheets do not take for a formula: `=HYPERLINK(...)` may be the name of an image."""
    if not isinstance(cell, str) or not cell.startswith(FORMULAS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _from_text(cell: str) -> str:
    return cell[1:] if isinstance(cell, str) and cell.startswith(tuple(f"'{sign}" for sign in FORMULAS)) else cell


def write_json(path: Path, value: object, indent: int | None = 2) -> None:
    """Write a value as JSON.

    Args:
        path: The file.
        value: Names with values, lists, texts, numbers, None.
        indent: Of each level, in spaces; None for a single line, as for lists of very many numbers.
    """
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """Return what a JSON file holds; None if there is no such file.

    Args:
        path: The file.
        remedy: What to do about one that cannot be used.

    Raises:
        DataError: It cannot be read, or is damaged.
    """
    try:
        data = read_bytes(path)
        expect_parsed_fits(data)
        return json.loads(data.decode())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}): {remedy}") from error
