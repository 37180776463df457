"""Getting public archives when asked to: resumable, checked, and unpacked without trusting what they hold.

Nothing here runs unasked. A file appears under its name only when it is whole and its check sum is right; what has been
fetched of it waits beside it as `NAME.part`, and the next attempt goes on from there.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from tqdm import tqdm

from ..errors import DataError
from ..files import writing
from .wording import first_few

CHUNK = 1 << 20
"""Bytes read at a time."""
TIMEOUT = 60.0
"""Seconds without an answer after which a connection counts as cut."""
ATTEMPTS = 3
"""Connections in a row that bring nothing before we give up."""
PAUSE = 2.0
"""Seconds before the second of them; doubled each time."""


@dataclass(frozen=True)
class Archive:
    """A file to get.

    Attributes:
        name: Of the file.
        urls: Where it lies; the next one is tried when one does not answer.
        md5: Its check sum, against damage rather than malice.
        size: In bytes, roughly: for the room on the disk. What the server says counts.
    """

    name: str
    urls: tuple[str, ...]
    md5: str
    size: int

    def by_hand(self, target: Path) -> str:
        """Say how to get the file without us."""
        return f"By hand: get {' or '.join(self.urls)} (wget -c goes on where it stopped), and put it at {target}."


def fetch(archive: Archive, target: Path) -> Path:
    """Get a file, unless it is there already; the folder of `target` is made.

    Raises:
        DataError: There is no room, no server answers, or the check sum is wrong (nothing is kept then).
    """
    if target.is_file() and _md5(target, archive.name) == archive.md5:
        return target
    part = target.with_name(f"{target.name}.part")
    _make_folder(target.parent)
    # The archive's content is about as large as itself.
    needed, free = 2 * archive.size - _size(part), shutil.disk_usage(target.parent).free
    if free < needed:
        raise DataError(
            f"{archive.name} needs {_gigabytes(needed)} in {target.parent} until it is unpacked, {_gigabytes(free)} "
            f"are free. Make room, or choose another place for the data."
        )
    failures = []
    for url in archive.urls:
        try:
            _fetch_from(url, part, archive)
            break
        except (OSError, http.client.HTTPException) as error:
            if _disk_is_full(error):
                raise DataError(f"The disk is full at {part}. Make room; the next attempt goes on from it.") from error
            failures.append(f"{urlparse(url).hostname}: {getattr(error, 'reason', None) or error}")
    else:
        kept = f" {_gigabytes(part.stat().st_size)} are kept in {part}." if part.exists() else ""
        raise DataError(
            f"Cannot download {archive.name}: {'; '.join(failures)}.{kept} Check the network (proxies are taken from "
            f"HTTPS_PROXY) and start again. {archive.by_hand(target)}"
        )
    found = _md5(part, archive.name)
    if found != archive.md5:
        part.unlink()
        raise DataError(
            f"{archive.name} from {url} has the check sum {found}, expected {archive.md5} (MD5): it is damaged, or "
            f"another file. Nothing was kept. {archive.by_hand(target)}"
        )
    os.replace(part, target)
    return target


def _fetch_from(url: str, part: Path, archive: Archive) -> None:
    """Fetch into `part` from where it ends, connecting again as long as that brings something."""
    attempt, pause = 1, PAUSE
    while True:
        before = _size(part)
        try:
            _fetch_once(url, part, before, archive)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing lies behind the part's end
                if error.headers.get("Content-Range", "").endswith(f"/{before}"):
                    return
                part.unlink()  # it is longer than the file, so it is another one's
            elif error.code < 500:
                raise
            failure: Exception = error
        except (OSError, http.client.HTTPException) as error:
            if _disk_is_full(error):
                raise
            failure = error
        attempt, pause = (1, PAUSE) if _size(part) > before else (attempt + 1, 2 * pause)
        if attempt > ATTEMPTS:
            raise failure
        time.sleep(pause)


def _fetch_once(url: str, part: Path, start: int, archive: Archive) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status == 206 and span and int(span[1]) == start:
            whole = int(span[2])
        else:  # a server that does not know ranges sends all of it
            start = 0
            whole = int(response.headers.get("Content-Length") or 0)
        with (
            part.open("r+b" if start else "wb") as file,
            tqdm(total=whole or archive.size, initial=start, desc=archive.name, unit="B", unit_scale=True) as bar,
        ):
            file.seek(start)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
            end = file.tell()
    if end < whole:
        raise ConnectionError(f"the connection was cut after {_gigabytes(end)} of {_gigabytes(whole)}")


def unpack(archive: Path, inner: str, target: Path) -> None:
    """Unpack a folder out of a tar archive; it appears under its name only when it is whole.

    Members that would be written outside, links that lead outside and devices are refused.

    Args:
        archive: `.tar`, `.tgz` or another compression that Python knows.
        inner: The folder in the archive, such as `VOCdevkit/VOC2012`.
        target: What it is to be called; may exist if it is empty.

    Raises:
        DataError: The archive is damaged, unsafe or holds no such folder, the target is taken, or the disk is full.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"This Python is too old to unpack {archive} safely: take 3.10.12, 3.11.4 or newer.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        held = first_few(sorted(path.name for path in target.iterdir())) if target.is_dir() else "a file"
        raise DataError(f"{archive.name} cannot be unpacked to {target}, which holds {held}. Choose an empty folder.")
    workshop = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(workshop, ignore_errors=True)
    _make_folder(workshop)
    try:
        with (
            archive.open("rb") as file,
            tqdm(total=archive.stat().st_size, desc=f"unpacking {archive.name}", unit="B", unit_scale=True) as bar,
            tarfile.open(fileobj=file) as tar,
        ):
            for member in tar:
                tar.extract(member, workshop, filter="data")
                bar.update(file.tell() - bar.n)
        if not (workshop / inner).is_dir():
            held = first_few(sorted(path.name for path in workshop.iterdir()))
            raise DataError(f"{archive} holds {held or 'nothing'}, but no folder {inner}. Is it the right archive?")
        if target.exists():
            target.rmdir()
        os.replace(workshop / inner, target)
    except tarfile.FilterError as error:
        raise DataError(f"{archive} is unsafe to unpack, nothing of it was kept: {error}. Get it elsewhere.") from error
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if _disk_is_full(error):
            raise DataError(f"The disk is full at {target.parent}. Make room to unpack {archive.name}.") from error
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists what each decompressor says
        raise DataError(f"{archive} is damaged: {reason}. Delete it, and download it again.") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def fetch_and_unpack(archive: Archive, inner: str, target: Path) -> None:
    """Get an archive and unpack a folder of it; the archive stays beside the folder, to be deleted at will."""
    packed = fetch(archive, target.parent / archive.name)
    unpack(packed, inner, target)
    print(f"{archive.name} was unpacked to {target}; {packed} can be deleted.", flush=True)


def _md5(path: Path, name: str) -> str:
    """Return a file's check sum."""
    digest = hashlib.md5(usedforsecurity=False)
    with (
        path.open("rb") as file,
        tqdm(total=path.stat().st_size, desc=f"checking {name}", unit="B", unit_scale=True, leave=False) as bar,
    ):
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _make_folder(folder: Path) -> None:
    with writing(folder, "Choose a folder that you may write to."):
        folder.mkdir(parents=True, exist_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _disk_is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
