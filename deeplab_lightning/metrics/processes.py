"""Bringing together what several processes counted."""

from __future__ import annotations

from typing import TypeVar

import torch

Counts = TypeVar("Counts")


def from_all_processes(counts: Counts) -> list[Counts]:
    """Return every process's `counts`, in the order of the ranks; a list of one where there is one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [counts]
    everyone: list[Counts | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, counts)
    return [each for each in everyone if each is not None]
