"""What a result depends on: one identity of weights and data, by which everything that is kept is found again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tasks import SegmentationTask


def identity(task: SegmentationTask, data: str | None = None) -> dict[str, Any]:
    """Return what the class maps of a network depend on, for JSON: not where its files lie, but what they hold.

    Args:
        task: The network, as it is run.
        data: `exact_fingerprint` of the images.
    """
    import hashlib

    import torch

    from .. import __version__

    weights = hashlib.sha256()
    for name, tensor in task.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    found = {
        "version": __version__,
        "model": dict(task.hparams),
        "weights": weights.hexdigest(),
        "threshold": task.threshold,
        "data": data,
    }
    return dict(json.loads(json.dumps(found, default=str, sort_keys=True)))
