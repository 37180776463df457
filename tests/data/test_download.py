from __future__ import annotations

import functools
import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from deeplab_lightning.data import download
from deeplab_lightning.data.download import Archive, fetch, fetch_and_unpack, unpack
from deeplab_lightning.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)


class Server:
    """Serves one file, with ranges; may cut connections, as servers of large files do."""

    def __init__(self) -> None:
        self.content, self.cuts, self.status, self.ranges = CONTENT, 0, 200, True
        self.asked: list[str | None] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, self))
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *arguments: Any) -> None:
        self.told = server
        super().__init__(*arguments)

    def do_GET(self) -> None:
        told, span = self.told, self.headers.get("Range")
        told.asked.append(span)
        start = int(span.removeprefix("bytes=").rstrip("-")) if span and told.ranges else 0
        total = len(told.content)
        if told.status != 200:
            self.send_error(told.status)
            return
        if start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if span and told.ranges else 200)
        if span and told.ranges:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        body = told.content[start:]
        if told.cuts:
            told.cuts -= 1
            body = body[:100_000]
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "CHUNK", 1 << 14)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = Server()
    yield served
    served.http.shutdown()
    served.http.server_close()


def archive_of(*urls: str, content: bytes = CONTENT, name: str = "file.bin") -> Archive:
    return Archive(name, urls, hashlib.md5(content).hexdigest(), len(content))


# ----------------------------------------------------------------------------------------------------------- fetching


def test_a_file_is_fetched_once(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "file.bin"
    assert fetch(archive_of(server.url), target) == target
    assert target.read_bytes() == CONTENT
    bar = capsys.readouterr().err
    assert "file.bin: 100%" in bar
    assert "B/s" in bar
    fetch(archive_of(server.url), target)
    assert server.asked == [None]
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    assert fetch(archive_of(server.url), tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_cut_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    assert fetch(archive_of(server.url), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_the_next_start_goes_on_too(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:123_456])
    assert fetch(archive_of(server.url), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == ["bytes=123456-"]
    (tmp_path / "file.bin").rename(tmp_path / "file.bin.part")  # whole, but not yet checked
    assert fetch(archive_of(server.url), tmp_path / "file.bin").read_bytes() == CONTENT
    (tmp_path / "file.bin").unlink()
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"longer")
    server.asked.clear()
    assert fetch(archive_of(server.url), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == ["bytes=300006-", None]


def test_servers_without_ranges_begin_anew(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    assert fetch(archive_of(server.url), tmp_path / "file.bin").read_bytes() == CONTENT


def test_connections_that_bring_nothing_are_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 503
    with pytest.raises(DataError, match=r"Cannot download file.bin: 127.0.0.1: Service Unavailable\. Check"):
        fetch(archive_of(server.url), tmp_path / "file.bin")
    assert len(server.asked) == download.ATTEMPTS
    server.status, server.cuts = 200, 1
    monkeypatch.setattr(download, "ATTEMPTS", 0)
    message = r"cut after 0.00 GB of 0.00 GB\. 0.00 GB are kept in .*file.bin.part"
    with pytest.raises(DataError, match=message):
        fetch(archive_of(server.url), tmp_path / "file.bin")
    assert (tmp_path / "file.bin.part").stat().st_size == 100_000


def test_the_next_address_is_tried(server: Server, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:9/file.bin"  # nothing listens there
    assert fetch(archive_of(gone, server.url), tmp_path / "file.bin").read_bytes() == CONTENT
    server.status = 404
    with pytest.raises(DataError, match=r"Connection refused; 127.0.0.1: Not Found\..*By hand: get .* or .*put it at"):
        fetch(archive_of(gone, server.url), tmp_path / "other.bin")
    assert not (tmp_path / "other.bin").exists()


def test_a_wrong_check_sum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    found, expected = hashlib.md5(CONTENT[::-1]).hexdigest(), hashlib.md5(CONTENT).hexdigest()
    with pytest.raises(DataError, match=f"the check sum {found}, expected {expected} .*Nothing was kept. By hand"):
        fetch(archive_of(server.url), tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []


def test_room_is_looked_for_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9))
    big = Archive("file.bin", (server.url,), hashlib.md5(CONTENT).hexdigest(), 2 * 10**9)
    with pytest.raises(DataError, match=r"needs 4.00 GB in .* until it is unpacked, 1.00 GB are free"):
        fetch(big, tmp_path / "file.bin")
    assert server.asked == []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(2 * len(CONTENT) - 1000))
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])  # what is there needs no more room
    fetch(archive_of(server.url), tmp_path / "file.bin")


def test_a_full_disk_is_said(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_fetch_once", full)
    with pytest.raises(DataError, match=r"The disk is full at .*file.bin.part"):
        fetch(archive_of(server.url), tmp_path / "file.bin")


# ---------------------------------------------------------------------------------------------------------- unpacking


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def member(name: str, content: bytes = b"hello", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz")])
def test_a_folder_is_unpacked(tmp_path: Path, name: str, mode: str) -> None:
    packed = tar_of(tmp_path / name, member("kit/VOC2012/a/b.txt"), member("kit/VOC2012/c.txt"), mode=mode)
    for target in (tmp_path / "somewhere" / "else", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        unpack(packed, "kit/VOC2012", target)
        assert (target / "a" / "b.txt").read_text() == "hello"
        assert sorted(path.name for path in target.parent.iterdir() if path.name.startswith(".")) == []
        assert sorted(path.name for path in target.iterdir()) == ["a", "c.txt"]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "a.tar", member("kit/c.txt"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").touch()
    with pytest.raises(DataError, match=r"cannot be unpacked to .*mine, which holds precious.txt\. Choose an empty"):
        unpack(packed, "kit", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    "evil",
    [
        [member("kit/../../escaped.txt")],
        [member("kit/link", b"", type=tarfile.SYMTYPE, linkname="../../..")],
        [member("kit/link", b"", type=tarfile.SYMTYPE, linkname="/etc")],
        [member("kit/hard", b"", type=tarfile.LNKTYPE, linkname="../../escaped.txt")],
        [member("kit/device", b"", type=tarfile.CHRTYPE)],
    ],
    ids=["traversal", "link", "absolute link", "hard link", "device"],
)
def test_unsafe_archives_are_refused(tmp_path: Path, evil: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    folder = tmp_path / "deep" / "data"
    folder.mkdir(parents=True)
    packed = tar_of(folder / "a.tar", member("kit/fine.txt"), *evil)
    with pytest.raises(DataError, match=r"a.tar is unsafe to unpack, nothing of it was kept: "):
        unpack(packed, "kit", folder / "kit")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "data", "deep"]


def test_absolute_names_stay_inside(tmp_path: Path) -> None:
    unpack(tar_of(tmp_path / "a.tar", member("/kit/c.txt")), "kit", tmp_path / "kit")
    assert (tmp_path / "kit" / "c.txt").is_file()


def test_damaged_archives(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(50_000)
    for name, mode in (("a.tar", "w"), ("a.tgz", "w:gz")):
        packed = tar_of(tmp_path / name, member("kit/a.bin", content), member("kit/b.bin", content), mode=mode)
        whole = packed.read_bytes()
        for broken in (whole[:60_000], b"<html>", b""):
            packed.write_bytes(broken)
            with pytest.raises(DataError, match=f"{name} is damaged: .* Delete it, and download it again"):
                unpack(packed, "kit", tmp_path / "kit")
            assert not (tmp_path / "kit").exists()
    with pytest.raises(DataError, match=r"a.tar holds other, but no folder kit\. Is it the right archive"):
        unpack(tar_of(tmp_path / "a.tar", member("other/c.txt")), "kit", tmp_path / "kit")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "a.tgz"]


def test_fetching_and_unpacking(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.content = tar_of(tmp_path / "made.tar", member("kit/c.txt")).read_bytes()
    archive = archive_of(server.url, content=server.content, name="a.tar")
    fetch_and_unpack(archive, "kit", tmp_path / "data" / "kit")
    assert (tmp_path / "data" / "kit" / "c.txt").read_text() == "hello"
    assert "a.tar was unpacked to" in capsys.readouterr().out
    assert (tmp_path / "data" / "a.tar").is_file()
