"""A command of ours in a process of its own: watched, stopped politely, and never left behind."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from .. import plugins
from ..errors import CheckpointError
from ..runs import resolve_checkpoint

PROGRAM = (sys.executable, "-m", "deeplab_lightning")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS_BETWEEN_LOOKS = 0.5
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        code: Its exit code.
        stopped_by_user: A signal that we got was handed on to it.
        stopped_by_us: `watch` asked for its end.
    """

    code: int
    stopped_by_user: bool
    stopped_by_us: bool


def run(
    words: Sequence[str],
    log: Path | None = None,
    watch: Callable[[], bool] | None = None,
    started: Callable[[int], None] | None = None,
) -> Ended:
    """Run a command; hand signals on to it and wait until it has saved.

    If this process is killed, the command gets SIGTERM (on Linux), saves and ends: it does not go on unseen.

    Args:
        words: The command and its arguments, after the program's name.
        log: Where its output is appended; this process's own if None.
        watch: Called about twice a second; True asks the command to save and end.
        started: Called with the process's id.
    """
    signalled: list[int] = []
    output = None if log is None else log.open("ab")
    try:
        # In a session of its own: a terminal would send it Ctrl-C besides, and the second one stops without saving.
        process = subprocess.Popen(
            [*PROGRAM, *words, *(f"--import={module}" for module in plugins.handed_on)],
            start_new_session=True,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            preexec_fn=_end_with_parent if _LIBC is not None else None,
        )
    finally:
        if output is not None:
            output.close()

    def hand_on(number: int, frame: FrameType | None) -> None:
        signalled.append(number)
        process.send_signal(number)

    before: dict[int, Any] = {number: signal.signal(number, hand_on) for number in SIGNALS}
    asked = False
    try:
        if started is not None:
            started(process.pid)
        if watch is None:
            return Ended(process.wait(), bool(signalled), asked)
        while True:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=SECONDS_BETWEEN_LOOKS)
                watch()  # what it wrote last
                return Ended(code, bool(signalled), asked)
            if watch() and not asked and not signalled:
                asked = True
                process.terminate()
    except BaseException:
        # A mistake of ours must not leave a run behind that nobody waits for.
        process.terminate()
        process.wait()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def going_on(run_folder: Path) -> list[str]:
    """Return the words by which `fit` goes on with the newest run below `runs/<name>`; none where nothing was saved."""
    with suppress(CheckpointError):
        return ["--ckpt_path", str(resolve_checkpoint(run_folder, "last"))]
    return []


def tail(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log, each shortened; empty where there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(f"  {line[:300]}" for line in text.strip().splitlines()[-lines:])


def describe_duration(seconds: float) -> str:
    """Return `1:02:03`, or `?` for NaN."""
    if seconds != seconds:
        return "?"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def rarely(say: Callable[[], None]) -> Callable[[], None]:
    """Return `say`, to be called often: progress on a terminal is to be fresh, and in a log should not fill it."""
    said = time.monotonic()

    def call() -> None:
        nonlocal said
        if time.monotonic() - said >= (2.0 if sys.stdout.isatty() else 30.0):
            said = time.monotonic()
            say()

    return call


def _end_with_parent() -> None:
    """Ask Linux to send this process SIGTERM when its parent ends in whatever way."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
