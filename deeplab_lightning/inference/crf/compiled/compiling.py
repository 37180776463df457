"""How functions are compiled here, and how their work is shared out.

Every sum is made by one thread in a fixed order: results do not depend on the number of threads, which is torch's. The
threads are Python's: numba's own pool (of its OpenMP layer) slows torch's matrix products down fourfold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba  # type: ignore[import-not-found,import-untyped,unused-ignore]
import torch


def compiled(fastmath: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function at its first call, keep it on disk, and let other threads run beside it."""
    return numba.njit(cache=True, nogil=True, fastmath=fastmath)


def in_threads(work: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call `work(first, last, *arguments)` for consecutive parts of `0..count`, one for each of torch's threads."""
    threads = max(1, min(torch.get_num_threads(), count))
    if threads == 1:
        work(0, count, *arguments)
        return
    ends = [count * part // threads for part in range(threads + 1)]
    pool = _pool(threads, os.getpid())
    for done in [pool.submit(work, *ends[part : part + 2], *arguments) for part in range(threads)]:
        done.result()


@lru_cache(maxsize=2)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process: a forked one starts without those of its parent."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"crf-{process}")
