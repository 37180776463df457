"""What scores, probabilities and videos are kept by: whatever changes a class map makes it another one."""

from __future__ import annotations

from typing import Any

import torch

from deeplab_lightning.commands.identity import identity
from deeplab_lightning.tasks import EncoderDecoderTask


def made(**options: Any) -> EncoderDecoderTask:
    torch.manual_seed(0)
    return EncoderDecoderTask(num_classes=2, base_width=2, **options)


def test_the_same_is_the_same() -> None:
    assert identity(made(), "data") == identity(made(), "data")


def test_other_data_weights_statistics_options_or_thresholds_are_another_identity() -> None:
    trained_on, moved, decided = made(), made(), made(binary=True)
    with torch.no_grad():
        next(trained_on.parameters()).add_(1e-6)
        next(value for name, value in moved.named_buffers() if name.endswith("running_mean")).add_(1e-6)
    decided.threshold = 0.3
    found = [identity(made(), "data"), identity(made(), "other data"), identity(trained_on, "data")]
    found += [identity(moved, "data"), identity(made(binary=True), "data"), identity(decided, "data")]
    assert all(one != other for place, one in enumerate(found) for other in found[:place])


def test_options_count_where_no_weight_tells_them_apart() -> None:
    """Pixels divided by another standard deviation, for one, are other pixels to the same weights."""
    plain, other = made(), made()
    other.save_hyperparameters({"description": {**other.description, "std": [0.5, 0.5, 0.5]}})
    assert identity(plain, "data") != identity(other, "data")
