"""DeepLab v1's task: the paper's multipliers and schedule, and a loss at stride 8."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.backbones import vgg, vgg_atrous
from deeplab_lightning.models import deeplab_v1
from deeplab_lightning.tasks import DeepLabV1Task

from .test_base import fit

NUM_CLASSES = 4
VOID = 255


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with few channels."""
    for module in (vgg, vgg_atrous, deeplab_v1):
        monkeypatch.setattr(module, "VGG16_WIDTHS", ((4, 4), (6, 6), (8, 8, 8), (8, 8, 8), (8, 8, 8)))
    monkeypatch.setitem(vgg_atrous.FC6_SHAPES, "largefov", vgg_atrous.FC6Shape(3, 16, 12))


def task(**options: Any) -> DeepLabV1Task:
    torch.manual_seed(0)
    return DeepLabV1Task(num_classes=NUM_CLASSES, **options)


def scene() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, NUM_CLASSES, (2, 33, 41), generator=generator).to(torch.uint8)
    mask[0, 5:20] = VOID
    return torch.randn(2, 3, 33, 41, generator=generator), mask


def test_the_loss_is_taken_at_stride_8() -> None:
    module, (image, mask) = task(dropout=0.0), scene()
    logits = module.model.coarse_logits(image)
    assert logits.shape == (2, NUM_CLASSES, 5, 6)
    expected = F.cross_entropy(logits, mask[:, ::8, ::8].long(), ignore_index=VOID)
    assert module.loss(module.model.training_maps(image), mask).item() == pytest.approx(expected.item(), rel=1e-6)


def test_learning_rates_and_decay_are_the_papers() -> None:
    """Fact sheet, section 2: kernels x1, biases x2 without decay; fc8's kernel x10, its bias x20 without decay."""
    module = task()
    notes = fit(module, 1)
    groups = {group["name"]: group for group in module.trainer.optimizers[0].param_groups}
    found = {name: (group["initial_lr"], group["weight_decay"]) for name, group in groups.items()}
    assert found == {
        "backbone/kernel": (pytest.approx(1e-3), 5e-4),
        "backbone/bias": (pytest.approx(2e-3), 0),
        "head/kernel": (pytest.approx(1e-2), 5e-4),
        "head/bias": (pytest.approx(2e-2), 0),
    }
    head = [id(parameter) for name in ("head/kernel", "head/bias") for parameter in groups[name]["params"]]
    assert head == [id(module.model.classifier.weight), id(module.model.classifier.bias)]
    assert len(notes.losses) == 1


def test_the_heads_of_msc_are_new_layers() -> None:
    module = task(multi_scale_features=True)
    fit(module, 1)
    groups = {group["name"]: group["params"] for group in module.trainer.optimizers[0].param_groups}
    assert len(groups["head/kernel"]) == 1 + 5 * 2
    assert len(groups["backbone/kernel"]) == 13 + 2


def test_the_learning_rate_falls_in_steps() -> None:
    notes = fit(task(optimizer={"step_every": 2}), 5)
    rates = [max(rates) for rates in notes.learning_rates]  # noted behind the scheduler's step
    assert rates == pytest.approx([2e-2, 2e-3, 2e-3, 2e-4, 2e-4])


def test_it_is_described_by_its_hyper_parameters() -> None:
    module = task(fc6_rate=6, multi_scale_features=True, optimizer={"momentum": 0.8})
    optimizer, model = module.hparams["optimizer"], module.hparams["model"]
    assert (optimizer["schedule"], optimizer["step_every"], optimizer["lr"]) == ("step", 2000, 1e-3)
    assert (model["fc6"], model["fc6_rate"], optimizer["momentum"]) == ("largefov", 6, 0.8)
    assert module.model.backbone.branches[0].fc6.dilation == (6, 6)
    assert module.model.multi_scale_heads is not None
    assert module.model.backbone.branches[0].dropout.p == 0.5
