"""The baselines' tasks: options that reach the network, training, evaluation at every image's own size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deeplab_lightning import tasks
from deeplab_lightning.backbones import vgg
from deeplab_lightning.data.sets import datamodules
from deeplab_lightning.models import fcn, segnet
from deeplab_lightning.options import hints_of

from .test_base import NUM_CLASSES, batches, fit

BASELINES: dict[str, dict[str, Any]] = {
    "EncoderDecoderTask": {"base_width": 4},
    "FCNTask": {},
    "SegNetTask": {},
    "UNetTask": {"base_width": 4},
}


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with few channels."""
    for module in (vgg, fcn, segnet):
        monkeypatch.setattr(module, "VGG16_WIDTHS", ((4, 4), (6, 6), (8, 8, 8), (8, 8, 8), (8, 8, 8)))
    for module in (vgg, fcn):
        monkeypatch.setattr(module, "FC_CHANNELS", 16)


def task(name: str, **options: Any) -> tasks.SegmentationTask:
    torch.manual_seed(0)
    return getattr(tasks, name)(num_classes=NUM_CLASSES, **{**BASELINES[name], **options})


@pytest.mark.parametrize("name", BASELINES)
def test_it_trains(name: str) -> None:
    """From equal chances for all classes, every parameter moves."""
    module = task(name)
    before = {key: value.clone() for key, value in module.model.named_parameters()}
    notes = fit(module, 3)
    assert notes.losses[0] == pytest.approx(np.log(NUM_CLASSES), rel=0.1)
    assert all(np.isfinite(notes.losses))
    assert [key for key, value in module.model.named_parameters() if torch.equal(value, before[key])] == []


@pytest.mark.parametrize("name", BASELINES)
@torch.no_grad()
def test_the_predictor_sees_the_networks_own_logits(name: str) -> None:
    """The logits have the image's size already: neither padding nor a resize stands in between."""
    module = task(name).eval()
    for layer in module.model.modules():
        if isinstance(layer, nn.Conv2d) and layer.out_channels == NUM_CLASSES:
            nn.init.normal_(layer.weight)
    for image in batches(7)[0]["image"][2:]:
        expected = module.model(module.normalise(image[None]))
        bands = [logits for _, logits in module.predictor().bands(image[None])]
        assert torch.allclose(torch.cat(bands, dim=2), expected, atol=1e-5)


def test_options_reach_the_network() -> None:
    network: Any = task("FCNTask", output_stride=16, at_once=True, dropout=0.25).model
    assert (network.output_stride, network.pool4_scale, network.backbone.dropout.p) == (16, 0.01, 0.25)
    network = task("UNetTask", base_width=6, padding="valid", batch_norm=False).model
    assert (network.classifier.in_channels, network.padding) == (6, "valid")
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    network = task("SegNetTask", variant="basic").model
    assert (network.output_stride, network.classifier.in_channels) == (16, 64)
    assert task("EncoderDecoderTask", base_width=6).model.classifier.in_channels == 6


def test_no_option_of_data_is_named_like_a_section_of_the_model() -> None:
    """Lightning logs what model and data were made by together, and refuses a name with two values."""
    options_of_data = {name for each in datamodules().values() for name in hints_of(each.Options)}
    assert "width" in options_of_data
    assert options_of_data & set(task("EncoderDecoderTask").hparams) == set()


def test_pretrained_reaches_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    for module in (fcn, segnet):
        monkeypatch.setattr(module, "imagenet_vgg16", lambda pretrained: asked.append(pretrained))
    for name in ("FCNTask", "SegNetTask"):
        task(name, pretrained="vgg16.pth")
    assert asked == ["vgg16.pth"] * 2


def test_fcns_biases_learn_twice_as_fast() -> None:
    """Fact sheet, section 6: weight decay 5e-4 (in this framework on kernels only), biases at twice the rate."""
    module = task("FCNTask", optimizer={"lr": 0.01})
    fit(module, 1)
    groups = module.trainer.optimizers[0].param_groups
    assert {group["name"]: (group["initial_lr"], group["weight_decay"]) for group in groups} == {
        f"{part}/{kind}": (pytest.approx(lr), decay)
        for part in ("backbone", "head")
        for kind, lr, decay in (("kernel", 0.01, 5e-4), ("bias", 0.02, 0.0))
    }
