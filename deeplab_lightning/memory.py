"""How much memory this process has used."""

from __future__ import annotations

import sys
from pathlib import Path


def forget_peak() -> bool:
    """Let `peak_memory` begin anew; returns False where the system cannot (all but Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory() -> int | None:
    """Return the most bytes that this process has had in memory; None where the system does not tell (Windows)."""
    try:
        # Not getrusage, which on Linux counts what the parent had in use before this program began.
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
