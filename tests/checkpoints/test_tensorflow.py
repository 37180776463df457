"""Checkpoints and frozen graphs that TensorFlow itself writes, read without it, compute what they compute there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_lightning.checkpoints.reading import read_foreign

from .helpers import imported_task

WRITER = Path(__file__).with_name("tensorflow_writer.py")


def write(network: str, folder: Path) -> None:
    """Let TensorFlow write, in a process of its own: here, or with the interpreter DEEPLAB_TENSORFLOW_PYTHON."""
    python = os.environ.get("DEEPLAB_TENSORFLOW_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import tensorflow"], capture_output=True, check=False).returncode:
        pytest.skip("needs TensorFlow, or DEEPLAB_TENSORFLOW_PYTHON, an interpreter that has it")
    subprocess.run([python, str(WRITER), network, str(folder)], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "backbone"),
    [("mobilenet_v2", "mobilenetv2_050_unrounded"), ("xception_41", "xception41"), ("resnet_v1_50_beta", "resnet50")],
)
def test_logits(network: str, backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(network, tmp_path)
    image = torch.from_numpy(np.load(tmp_path / "image.npy").transpose(0, 3, 1, 2))
    expected = torch.from_numpy(np.load(tmp_path / "logits.npy").transpose(0, 3, 1, 2))
    assert expected.std() > 0.01
    for name in ("model.ckpt.index", "graph.pb"):
        task = imported_task(tmp_path / name)
        assert task.hparams["model"]["backbone"] == backbone
        with torch.no_grad():
            found = task.model(image)
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    printed = capsys.readouterr().out
    assert f"on {backbone}, 5 classes, as tensorflow writes it" in printed
    assert "counts the training's steps" in printed
    assert "the optimiser's" in printed


@pytest.mark.slow
def test_a_checkpoint_is_found_by_any_of_its_files(tmp_path: Path) -> None:
    write("mobilenet_v2", tmp_path)
    names = ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001")
    found = [read_foreign(tmp_path / name) for name in names]
    assert all(set(file.tensors) == set(found[0].tensors) for file in found)
    assert found[0].tensors["global_step"].dtype == torch.int64
