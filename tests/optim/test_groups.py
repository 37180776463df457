"""Parameter groups: a partition of the trainable parameters, for every model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning import models
from deeplab_lightning.optim import parameter_groups

MODELS = [getattr(models, name) for name in models.__all__]
BACKBONES = ["mobilenetv2_035", "resnet18", "resnext50_32x4d"]


def build(model: Any, backbone: str = "mobilenetv2_035") -> nn.Module:
    with torch.device("meta"):
        return model(5, backbone=backbone)


def names_by_group(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {group["name"]: {names[id(parameter)] for parameter in group["params"]} for group in groups}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("model_class", MODELS)
def test_partition(model_class: Any, backbone: str) -> None:
    model = build(model_class, backbone)
    groups = parameter_groups(model, 0.1, 1e-4)
    counts = Counter(id(parameter) for group in groups for parameter in group["params"])
    assert set(counts.values()) == {1}
    assert set(counts) == {id(parameter) for parameter in model.parameters()}


@pytest.mark.parametrize("model_class", MODELS)
def test_frozen_parameters_are_left_out(model_class: Any) -> None:
    model = build(model_class)
    model.backbone.requires_grad_(False)
    model.classifier.bias.requires_grad_(False)
    groups = parameter_groups(model, 0.1, 1e-4)
    listed = {id(parameter) for group in groups for parameter in group["params"]}
    assert listed == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert {group["name"] for group in groups} == {"head/decay", "head/no_decay"}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("model_class", MODELS)
def test_who_decays(model_class: Any, backbone: str) -> None:
    """Convolution kernels, those of ResNeXt's groups included; not depthwise ones, batch norms and biases."""
    model = build(model_class, backbone)
    groups = parameter_groups(model, 0.1, 1e-4)
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "backbone/decay": 1e-4,
        "backbone/no_decay": 0.0,
        "head/decay": 1e-4,
        "head/no_decay": 0.0,
    }
    names = names_by_group(model, groups)
    decaying = names["backbone/decay"] | names["head/decay"]
    for name, parameter in model.named_parameters():
        is_kernel = parameter.ndim == 4
        is_depthwise = is_kernel and parameter.shape[1] == 1
        assert (name in decaying) == (is_kernel and not is_depthwise), name


def test_head_learns_faster() -> None:
    model = build(models.DeepLabV3Plus)
    groups = parameter_groups(model, 0.1, 1e-4, head_lr_multiplier=10)
    for group in groups:
        assert group["lr"] == pytest.approx(0.1 if group["name"].startswith("backbone") else 1.0)
    for name, members in names_by_group(model, groups).items():
        assert all(member.startswith("backbone.") == name.startswith("backbone") for member in members)


def test_shared_and_loose_parameters() -> None:
    """A layer used twice counts once; a parameter of the model itself is not forgotten."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Conv2d(3, 3, 1)
            self.again = self.backbone
            self.tied = nn.Conv2d(3, 3, 1)
            self.tied.weight = self.backbone.weight
            self.scale = nn.Parameter(torch.ones(()))

    model = Odd()
    groups = parameter_groups(model, 0.1, 1e-4)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    torch.optim.SGD(groups, lr=0.1)  # refuses repeated parameters
