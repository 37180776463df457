"""Weights of the classes in the cross-entropy, by a rule from the training masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ..errors import ConfigError
from ..losses.class_weights import ClassCounts, WeightRule, class_weights


def weights_by_rule(rule: WeightRule, datamodule: Any, class_names: Sequence[str]) -> Tensor:
    """Count in the training masks, and return and tell the weights that follow, `(C,)`.

    Raises:
        ConfigError: There is no datamodule.
    """
    if datamodule is None:
        raise ConfigError(
            f"--loss.cross_entropy.class_weights {rule!r} needs a datamodule to count in: give a list of weights "
            f"instead."
        )
    counts = ClassCounts(*(torch.from_numpy(values) for values in datamodule.class_counts()))
    weights = class_weights(rule, counts).float()
    said = (f"{name} {weight:.3g}" for name, weight in zip(class_names, weights.tolist(), strict=True))
    rank_zero_info("Class weights: " + ", ".join(said))
    return weights
