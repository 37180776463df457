"""The depth head: it learns, it costs nothing where it is not wanted, and it says what it cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from deeplab_lightning.checkpoints.transfer import transfer
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.tasks import (
    DeepLabV1Task,
    DeepLabV2Task,
    DeepLabV3CascadeTask,
    DeepLabV3PlusTask,
    DeepLabV3Task,
    FCNTask,
    UNetTask,
)

SMALL: dict[str, Any] = {"backbone": "mobilenetv2_035", "aspp_channels": 16, "decoder_channels": 16}


def data(**options: Any) -> DrawnScenesDataModule:
    sizes: dict[str, Any] = {"height": 64, "width": 64, "train_size": 4, "val_size": 3, "crop_size": 65}
    return DrawnScenesDataModule(**sizes, batch_size=4, num_workers=0, scale_range=(1.0, 1.0), flip=0.0, **options)


def trainer(**options: Any) -> Trainer:
    quiet: dict[str, Any] = dict.fromkeys(
        ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False
    )
    return Trainer(accelerator="cpu", devices=1, use_distributed_sampler=False, **quiet, **options)


@pytest.mark.parametrize("kind", ["scale_invariant", "l1"])
def test_it_learns_a_fixed_batch(kind: Any) -> None:
    """By its own weights and the network's, in thirty steps."""
    torch.manual_seed(0)
    module = data()
    module.deliver("depth")
    batch = next(iter(module.train_dataloader()))
    task = DeepLabV3PlusTask(description=module.description, loss={"depth": {"weight": 1.0, "form": kind}}, **SMALL)
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        maps = task.model.training_maps(task.normalise(batch["image"]))
        assert task.depth is not None
        loss = task.depth.losses(maps, batch)["depth"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_training_and_validation_with_a_trainer() -> None:
    module = data(train_limit=4)
    task = DeepLabV3PlusTask(
        description=module.description, loss={"depth": {"weight": 0.1}}, optimizer={"lr": 0.05}, **SMALL
    )
    fitting = trainer(max_steps=2, num_sanity_val_steps=0)
    fitting.fit(task, module)
    logged = {key: float(value) for key, value in fitting.callback_metrics.items()}
    assert logged["train/loss"] == pytest.approx(logged["train/loss/labels"] + logged["train/loss/depth"], rel=1e-5)
    assert {"val/depth/abs_rel", "val/depth/rmse", "val/depth/delta_1.25"} <= set(logged)
    trained = {id(p) for group in fitting.optimizers[0].param_groups for p in group["params"]}
    assert task.depth is not None
    assert {id(p) for p in task.depth.parameters()} <= trained

    # The logged scores are those of the predicted maps.
    task.eval()
    errors, pixels = 0.0, 0
    with torch.no_grad():
        for index in range(3):
            image, _ = module.dataset("val").load(index)
            truth = module.dataset("val").depth(index)
            bands = task.depth_predictor().bands(torch.from_numpy(image).permute(2, 0, 1)[None])
            predicted = torch.cat([band for _, band in bands], dim=2)[0, 0].numpy()
            assert predicted.shape == truth.shape
            errors += float((np.abs(predicted - truth) / truth).sum())
            pixels += truth.size
    assert logged["val/depth/abs_rel"] == pytest.approx(errors / pixels, rel=1e-4)


def test_off_by_default() -> None:
    plain = DeepLabV3PlusTask(num_classes=3, **SMALL)
    assert plain.depth is None
    assert not any("depth" in name for name in plain.state_dict())
    assert not plain.model.classifier._forward_hooks
    with pytest.raises(ConfigError, match="no depth head"):
        plain.depth_predictor()


def test_a_head_is_added_to_trained_weights_or_left_behind() -> None:
    plain, deep = (
        DeepLabV3PlusTask(num_classes=3, **SMALL),
        DeepLabV3PlusTask(num_classes=3, loss={"depth": {"weight": 0.1}}, **SMALL),
    )
    before = {key: value.clone() for key, value in deep.state_dict().items() if key.startswith("depth.")}
    for task, other in ((deep, plain), (plain, deep)):
        facts: dict[str, Any] = {"state_dict": other.state_dict(), "hyper_parameters": {}, "deeplab_lightning": {}}
        assert transfer(task, task.model.classifiers, task.description, facts, "other.ckpt") == []
    assert all(torch.equal(deep.state_dict()[key], value) for key, value in before.items())
    assert torch.equal(deep.model.classifier.weight, plain.model.classifier.weight)


@pytest.mark.parametrize(
    ("task_class", "options"),
    [
        (DeepLabV3Task, {"backbone": "mobilenetv2_035"}),
        (DeepLabV3CascadeTask, {"backbone": "resnet50", "last_block": 4}),
        (UNetTask, {"base_width": 4}),
        (DeepLabV1Task, {}),
    ],
)
def test_generations_that_can(task_class: Any, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        assert task_class(num_classes=3, loss={"depth": {"weight": 0.1}}, **options).depth is not None


@pytest.mark.parametrize(
    ("task_class", "options"), [(DeepLabV2Task, {}), (FCNTask, {}), (UNetTask, {"padding": "valid", "base_width": 4})]
)
def test_generations_that_cannot(task_class: Any, options: dict[str, Any]) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="no depth map can be read from them"):
        task_class(num_classes=3, loss={"depth": {"weight": 0.1}}, **options)


def test_batches_without_depth_are_named() -> None:
    task = DeepLabV3PlusTask(num_classes=3, loss={"depth": {"weight": 0.1}}, **SMALL)
    image, mask = torch.zeros(2, 3, 33, 33, dtype=torch.uint8), torch.zeros(2, 33, 33, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="no entry 'depth'"):
        task.training_step({"image": image, "mask": mask, "sample_id": ["a", "b"]}, 0)
