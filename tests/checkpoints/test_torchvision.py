"""Weights of torchvision's own networks compute here what they compute there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.data.sets.voc import VOC

from .helpers import check_logits, imported_task, random_weights, save, take_over


def network(name: str, **options: Any) -> Any:
    segmentation = pytest.importorskip("torchvision.models.segmentation")
    return random_weights(lambda: getattr(segmentation, name)(weights=None, weights_backbone=None, **options))


@pytest.mark.parametrize("depth", [50, pytest.param(101, marks=pytest.mark.slow)])
def test_resnet(depth: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = network(f"deeplabv3_resnet{depth}", aux_loss=True, num_classes=21)
    model = take_over(save(theirs.state_dict(), tmp_path))
    image = torch.randn(1, 3, 97, 81)
    check_logits(model.task.model, theirs, image)
    with torch.no_grad():
        expected = theirs(image)["aux"]
        aux_logits = model.task.model.training_maps(image).further[0]
        assert torch.allclose(aux_logits, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    assert model.labels.class_names == VOC.class_names
    assert model.protocol.startswith("os8")
    printed = capsys.readouterr().out
    assert f"deeplabv3_resnet{depth}, 21 classes, as torchvision writes it" in printed
    assert "first unit (lag)" in printed
    assert "predict IMAGE --ckpt_path" in printed


def test_mobilenet_and_other_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Batch norms with an eps of 0.001 become ours of 0.00001."""
    theirs = network("deeplabv3_mobilenet_v3_large", aux_loss=True, num_classes=4)
    (tmp_path / "names.txt").write_text("sky\nroad\n\ncar\nperson\n")
    task = imported_task(save(theirs.state_dict(), tmp_path), "--classes", str(tmp_path / "names.txt"))
    check_logits(task.model, theirs, torch.randn(1, 3, 97, 81))
    assert task.description["class_names"] == ["sky", "road", "car", "person"]
    assert "an auxiliary head on another map" in capsys.readouterr().out


def test_fcn_is_a_v3_with_one_convolution_for_aspp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = network("fcn_resnet50", aux_loss=True, num_classes=5)
    task = imported_task(save(theirs.state_dict(), tmp_path))
    check_logits(task.model, theirs, torch.randn(1, 3, 65, 81))
    assert "fcn_resnet50, 5 classes, as torchvision writes it" in capsys.readouterr().out
