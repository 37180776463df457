"""What the tests of importers share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deeplab_lightning
from deeplab_lightning import tasks
from deeplab_lightning.__main__ import main

from ..models.base import randomise


def shared(name: str) -> Path:
    """Return a path in the folder of real data, or skip the test."""
    folder = os.environ.get("DEEPLAB_SHARED_DATA")
    path = Path(folder) / name if folder else Path("/nowhere")
    if not path.exists():
        pytest.skip(f"needs the folder DEEPLAB_SHARED_DATA with {name}")
    return path


def save(weights: Any, folder: Path, name: str = "theirs.pth") -> Path:
    """Write what a training program would."""
    torch.save(weights, folder / name)
    return folder / name


def take_over(path: Path, *options: str) -> Any:
    """Import a file by command, and load what came out."""
    output = path.parent / "ours.ckpt"
    assert main(["import", str(path), "-o", str(output), *options]) == 0
    return deeplab_lightning.load(output, "cpu")


def imported_task(path: Path, *options: str) -> Any:
    """Import a file by command, and build the task of what came out: quicker than loading it for use."""
    output = path.parent / "ours.ckpt"
    assert main(["import", str(path), "-o", str(output), *options]) == 0
    checkpoint = torch.load(output, weights_only=True)
    with torch.device("meta"):
        kept = checkpoint["hyper_parameters"]
        task = getattr(tasks, checkpoint["deeplab_lightning"]["task"])(kept["description"], **kept["model"])
    task.load_state_dict(checkpoint["state_dict"], assign=True)
    return task.eval()


@torch.no_grad()
def random_weights(make: Callable[[], nn.Module]) -> Any:
    """Build a network with weights that tell images apart, without the time that initialisers take."""
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.num_batches_tracked is not None
            module.num_batches_tracked.zero_()
    randomise(network)
    return network.eval()


@torch.no_grad()
def check_logits(ours: nn.Module, theirs: nn.Module, image: Tensor, tolerance: float = 1e-4) -> None:
    """Compare two whole networks on an image `(B, C, H, W)` that is already normalised."""
    expected = theirs.eval()(image)
    expected = expected["out"] if isinstance(expected, dict) else expected
    assert expected.std() > 0.01
    found = ours(image)
    assert torch.allclose(found, expected, atol=tolerance * float(expected.abs().max()), rtol=0)
