"""Starting from trained weights: all of them, or all but the classifiers, where the classes are others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from ..types import DataDescription
from .loading import check_pixels, check_weights, trained_for

DEPTH_HEAD = "depth."
"""Beginning of the names of a depth head's weights."""


def transfer(
    task: nn.Module,
    classifiers: Collection[str],
    description: DataDescription,
    checkpoint: Mapping[str, Any],
    path: str,
) -> list[str]:
    """Load the weights of a checkpoint into a network that is the same, perhaps for other classes.

    Where the class names are not the checkpoint's, the layers that tell classes apart keep the values they start from.

    Args:
        task: Whose network is its attribute `model`.
        classifiers: Parts of the network that end in one channel for each class.
        description: Its data.
        checkpoint: As read.
        path: Where from, for messages.

    Returns:
        The names of the layers that start anew, within the network; none if the classes are the same.

    Raises:
        CheckpointError: The network is another one, or was trained on pixels of another scale.
    """
    check_pixels(description, checkpoint, path)
    ours, weights = task.state_dict(), dict(checkpoint["state_dict"])
    num_classes = len(description["class_names"])
    channels = (1, 2) if num_classes == 2 else (num_classes,)  # two classes may share one logit
    in_last_layers = (key for key in ours if _within_network(key).split(".")[0] in classifiers)
    last_layers = [key for key in in_last_layers if ours[key].dim() > 0 and ours[key].shape[0] in channels]
    theirs = trained_for(checkpoint).get("class_names")
    unfit = any(key in weights and weights[key].shape != ours[key].shape for key in last_layers)
    new = last_layers if unfit or (theirs is not None and list(theirs) != description["class_names"]) else []
    weights |= {key: ours[key] for key in new}
    # A depth head starts anew, or is left behind, where only one of the two networks has one.
    weights = {key: value for key, value in weights.items() if key in ours or not key.startswith(DEPTH_HEAD)}
    weights |= {key: value for key, value in ours.items() if key.startswith(DEPTH_HEAD) and key not in weights}
    check_weights(task, {**checkpoint, "state_dict": weights}, path)
    task.load_state_dict(weights)
    return sorted({_within_network(key).rpartition(".")[0] for key in new})


def _within_network(key: str) -> str:
    return key.removeprefix("model.")
