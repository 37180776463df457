"""Two classes by one logit: the same probabilities and losses, and a threshold that goes from validation to predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.commands.videos import segmenter_of
from deeplab_lightning.data.images import write_image, write_mask
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference.morphology import Morphology
from deeplab_lightning.layers.heads import OneLogit
from deeplab_lightning.losses import loss_options
from deeplab_lightning.options import hints_of
from deeplab_lightning.tasks import DeepLabV1Task, DeepLabV2Task, DeepLabV3PlusTask, DeepLabV3Task

from ..conftest import SMALL, V3PLUS

SMALL_HEADS: dict[str, Any] = {"backbone": "mobilenetv2_035", "aspp_channels": 8, "num_classes": 2}


def test_one_logit_says_what_two_said() -> None:
    torch.manual_seed(0)
    two = torch.nn.Conv2d(6, 2, 3, padding=2, dilation=2)
    features = torch.randn(2, 6, 9, 9)
    one = OneLogit(two)
    assert [tuple(parameter.shape) for parameter in one.parameters()] == [(1, 6, 3, 3), (1,)]
    assert torch.allclose(one(features).softmax(1), two(features).softmax(1), atol=1e-6)
    assert (one(features)[:, 0] == 0).all()


@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_loss_is_the_binary_one(auxiliary: bool) -> None:
    torch.manual_seed(0)
    task = DeepLabV3Task(binary=True, aux_head=auxiliary, **SMALL_HEADS).eval()
    assert task.model.classifier.weight.shape == (1, 8, 1, 1)
    image, mask = torch.rand(2, 3, 33, 33), torch.randint(0, 2, (2, 33, 33))
    mask[0, :5] = 255
    labelled = mask != 255

    def binary(z: torch.Tensor) -> torch.Tensor:
        z = F.interpolate(z[:, 1:], size=(33, 33), mode="bilinear", align_corners=True)[:, 0]
        return F.binary_cross_entropy_with_logits(z[labelled], mask[labelled].float())

    stages = task.model.backbone(image).stages
    expected = binary(task.model.classifier(task.model.context(stages[-1])))
    if auxiliary:
        assert task.model.aux_head[-1].weight.shape[0] == 1
        expected = expected + 0.4 * binary(task.model.aux_head(stages[-2]))
    assert task.loss(task.model.training_maps(image), mask).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("task_class", [DeepLabV1Task, DeepLabV2Task])
def test_the_background_stays_zero_through_sums_and_scales(task_class: Any) -> None:
    options = {} if task_class is DeepLabV1Task else {"backbone": "mobilenetv2_035"}
    with torch.device("meta"):
        on_paper = task_class(num_classes=2, binary=True, **options)
    heads = [module for module in on_paper.model.modules() if isinstance(module, OneLogit)]
    assert len(heads) == (1 if task_class is DeepLabV1Task else 4)
    if task_class is DeepLabV2Task:
        task = task_class(num_classes=2, binary=True, **options).eval()
        with torch.no_grad():
            maps = task.model.training_maps(torch.rand(1, 3, 65, 65))
            assert len(maps.further) == 3
            assert all((logits[:, 0] == 0).all() for logits in (maps.main, *maps.further))


def test_every_loss_takes_it() -> None:
    torch.manual_seed(0)
    image, mask = torch.rand(2, 3, 33, 33), torch.randint(0, 2, (2, 33, 33))
    names = [name for name in hints_of(loss_options()) if name not in ("depth", "distillation")]
    assert len(names) > 7
    options = {"binary": True, "loss": {name: {} for name in names}, "decoder_channels": 8, **SMALL_HEADS}
    task = DeepLabV3PlusTask(**options)
    loss = task.loss(task.model.training_maps(image), mask)
    loss.backward()
    assert loss.isfinite()


def test_other_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data of two classes; this has 3"):
        DeepLabV3PlusTask(num_classes=3, binary=True)


def test_the_threshold_of_validation_is_used_by_test_and_predict(tmp_path: Path) -> None:
    """One command each, on an own folder: found in training, kept in the checkpoint, named beside the score."""
    generator = np.random.default_rng(0)
    for number in range(8):
        mask = np.zeros((64, 64), np.uint8)
        mask[:, : 8 + number] = 1
        image = np.clip(90 + 60 * mask[..., None] + generator.normal(0, 40, (64, 64, 3)), 0, 255).astype(np.uint8)
        split = "train" if number < 5 else "val" if number < 7 else "test"
        write_image(tmp_path / "data" / split / "images" / f"{number}.png", image)
        write_mask(tmp_path / "data" / split / "masks" / f"{number}.png", mask, np.zeros((256, 3), np.uint8))
    words = ["fit", "-c", str(V3PLUS), *SMALL, "--data", "Folder", "--data.root", str(tmp_path / "data")]
    words += ["--data.class_names", "[ground, crack]", "--model.binary", "true", "--run.folder", str(tmp_path / "runs")]
    assert main([*words, "--trainer.max_steps", "2", "--optimizer.warmup_steps", "0"]) == 0
    last = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    threshold = checkpoint["deeplab_lightning"]["threshold"]
    assert checkpoint["state_dict"]["model.classifier.weight"].shape[0] == 1
    log = (tmp_path / "runs" / "v3plus" / "version_0" / "metrics.csv").read_text()
    assert {"val/best_threshold", "val/best_threshold_IoU"} <= set(log.splitlines()[0].split(","))

    model = deeplab_lightning.load(last)
    assert f"threshold {threshold:.3g}" in model.protocol
    noise = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    probs = model.task.predictor().probs(noise[None])[0, 1]
    expected = (probs > threshold).numpy()
    assert (model.predict(noise).mask == expected).mean() > 0.999

    # What decides behind post-processing and smoothing is the threshold too; here one at neither class's half.
    model.task.threshold = float(probs.median())
    parted = (probs > model.task.threshold).numpy()
    assert 0.4 < parted.mean() < 0.6
    assert ((probs > 0.5).numpy() != parted).mean() > 0.2
    frame = noise.permute(1, 2, 0).numpy()
    assert (segmenter_of(model, 0.5, Morphology())(frame) == parted).mean() > 0.999
    assert (model.predict(frame, Morphology(min_area=1)).mask == parted).mean() > 0.999
