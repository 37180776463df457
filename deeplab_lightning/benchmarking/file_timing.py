"""Timing an exported file, in a process that loads nothing but its runtime: what it takes where it will be used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ..export.format import format_named
from ..memory import peak_memory
from .measuring import WARM_UP


def time_file(format: str, path: Path, shape: tuple[int, ...], dtype: str, rounds: int, threads: int) -> dict[str, Any]:
    """Time a file from stored images to class maps.

    Args:
        format: Name of a format that is `timed`.
        path: The file.
        shape: `(B, C, H, W)` of the images.
        dtype: Of their pixels.
        rounds: Timed ones, after three to warm up.
        threads: For the runtime.

    Returns:
        `milliseconds`, `peak_gib` and `idle_gib`, as `measuring.measure`.
    """
    run = format_named(format).runner(path, "classes", threads)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    idle, times = _gib(), []
    for _ in range(WARM_UP + rounds):
        started = time.perf_counter()
        run(image)
        times.append(1000 * (time.perf_counter() - started))
    return {"idle_gib": idle, "milliseconds": times[WARM_UP:], "peak_gib": _gib()}


def _gib() -> float | None:
    used = peak_memory()
    return None if used is None else used / 2**30
