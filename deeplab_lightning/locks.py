"""Which of several processes works on what: lock files on a shared disk, without a server.

A lock is a file made with `O_EXCL`, which only one process can make, also over NFS. Its time stamp is renewed while the
work goes on. A lock is stale, and may be taken over, when its owner cannot come back: on the same machine, when the
owner and the program it started are gone; from another machine, when the stamp is `STALE_SECONDS` old.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from .files import read_bytes

BEAT_SECONDS = 5.0
STALE_SECONDS = 120.0


class Lock:
    """A lock that this process holds; made by `acquire`.

    Args:
        path: Its file.
        token: What tells it from everyone else's.
    """

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self._token = token
        self._beat_at = time.monotonic()

    def beat(self) -> None:
        """Say that the work goes on; call it often, it writes only every few seconds."""
        if time.monotonic() - self._beat_at >= BEAT_SECONDS:
            self._beat_at = time.monotonic()
            with suppress(OSError):
                os.utime(self.path)

    def note_program(self, pid: int) -> None:
        """Write down the program that does the work: as long as it runs, nobody takes over."""
        self.path.write_text(json.dumps(_owner(self._token, pid)), encoding="utf-8")

    def release(self) -> None:
        """Let others have it, unless one of them took it over."""
        if (_read(self.path) or {}).get("token") == self._token:
            self.path.unlink(missing_ok=True)


def acquire(path: Path) -> Lock | None:
    """Take a lock, or return None if another process has it.

    Args:
        path: The lock's file; its folder exists.
    """
    token = uuid.uuid4().hex
    if _make(path, token):
        return Lock(path, token)
    if not is_stale(path):
        return None
    # One process at a time may take a stale lock over: otherwise a slow one would remove the lock of a fast one.
    guard = path.with_name(f"{path.name}.takeover")
    if not _make(guard, token):
        if _age(guard) > STALE_SECONDS:
            guard.unlink(missing_ok=True)
        return None
    try:
        if is_stale(path):
            path.unlink(missing_ok=True)
        return Lock(path, token) if _make(path, token) else None
    finally:
        guard.unlink(missing_ok=True)


def wait_for(path: Path, timeout: float = 60.0) -> Lock:
    """Take a lock that everyone holds only for moments.

    Raises:
        TimeoutError: Another process had it all the time.
    """
    until = time.monotonic() + timeout
    while True:
        lock = acquire(path)
        if lock is not None:
            return lock
        if time.monotonic() > until:
            raise TimeoutError(f"{path} is held by {holder(path)}: remove it if that process is gone.")
        time.sleep(0.05)


def is_stale(path: Path) -> bool:
    """Whether the lock's owner cannot come back; False where there is no lock."""
    owner = _read(path)
    if owner is None:
        return False
    if owner.get("host") == socket.gethostname():
        pids = [pid for pid in (owner.get("pid"), owner.get("program")) if pid is not None]
        if pids:
            return not any(_is_alive(pid) for pid in pids)
    return _age(path) > STALE_SECONDS


def holder(path: Path) -> str | None:
    """Return who has the lock, in words; None if nobody does, or its owner is gone."""
    owner = _read(path)
    if owner is None or is_stale(path):
        return None
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"


def _owner(token: str, program: int | None = None) -> dict[str, Any]:
    return {"token": token, "host": socket.gethostname(), "pid": os.getpid(), "program": program}


def _make(path: Path, token: str) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(_owner(token), file)
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """Return what the lock says, `{}` where it is being written; None where there is no lock."""
    try:
        owner = json.loads(read_bytes(path).decode())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _age(path: Path) -> float:
    """Return how long ago the lock was stamped, by the clock of the disk it lies on: clocks of machines differ."""
    probe = path.with_name(f".{uuid.uuid4().hex}.clock")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OSError:  # Windows says so for a process that is gone
        return False
    with suppress(OSError):  # a process that ended but was not waited for does no work any more
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return True
