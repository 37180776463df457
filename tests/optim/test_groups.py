"""Parameter groups: a partition of the trainable parameters, for every model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning import models
from deeplab_lightning.optim.groups import parameter_groups
from deeplab_lightning.optim.options import OptimizerOptions

PLAIN = OptimizerOptions(lr=0.1, weight_decay=1e-4)
MEMBERS = {"members": ({"name": "DeepLabV3Plus", "backbone": "resnet18"},)}
NETWORKS = [(network, MEMBERS if name == "Ensemble" else {}) for name, network in models.networks().items()] + [
    (models.DeepLabV3Plus, {"backbone": name}) for name in ("mobilenetv2_035", "resnet18", "resnext50_32x4d")
]


def build(model: Any, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return model(5, **options)


def names_by_group(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {group["name"]: {names[id(parameter)] for parameter in group["params"]} for group in groups}


@pytest.mark.parametrize(("model_class", "options"), NETWORKS)
def test_partition(model_class: Any, options: dict[str, Any]) -> None:
    model = build(model_class, **options)
    groups = parameter_groups(model, PLAIN)
    counts = Counter(id(parameter) for group in groups for parameter in group["params"])
    assert set(counts.values()) == {1}
    assert set(counts) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_frozen_parameters_are_left_out() -> None:
    model = build(models.DeepLabV3Plus, backbone="mobilenetv2_035")
    model.backbone.requires_grad_(False)
    model.classifier.bias.requires_grad_(False)
    groups = parameter_groups(model, PLAIN)
    listed = {id(parameter) for group in groups for parameter in group["params"]}
    assert listed == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert {group["name"] for group in groups} == {"head/kernel", "head/other"}


@pytest.mark.parametrize(("model_class", "options"), NETWORKS)
def test_who_decays(model_class: Any, options: dict[str, Any]) -> None:
    """Convolution kernels, those of ResNeXt's groups included; not depthwise ones, batch norms and biases."""
    model = build(model_class, **options)
    groups = parameter_groups(model, PLAIN)
    decay = {group["name"]: group["weight_decay"] for group in groups}
    assert all(value == (1e-4 if name.endswith("/kernel") else 0) for name, value in decay.items())
    names = names_by_group(model, groups)
    decaying = names.get("backbone/kernel", set()) | names["head/kernel"]
    for name, parameter in model.named_parameters():
        is_kernel = parameter.ndim == 4
        is_depthwise = is_kernel and parameter.shape[1] == 1 and parameter.shape[0] > 1
        if parameter.requires_grad:
            assert (name in decaying) == (is_kernel and not is_depthwise), name


def test_head_learns_faster() -> None:
    model = build(models.DeepLabV3Plus, backbone="mobilenetv2_035")
    groups = parameter_groups(model, OptimizerOptions(lr=0.1, head_lr_multiplier=10))
    for group in groups:
        assert group["lr"] == pytest.approx(0.1 if group["name"].startswith("backbone") else 1.0)
    for name, members in names_by_group(model, groups).items():
        assert all(member.startswith("backbone.") == name.startswith("backbone") for member in members)


def test_biases_learn_twice_as_fast_and_twenty_times_in_the_head() -> None:
    """As in v1 and v2 (fact sheet, section 2)."""

    class TwoParts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
            self.classifier = nn.Conv2d(4, 2, 1)

    model = TwoParts()
    options = OptimizerOptions(lr=0.1, weight_decay=5e-4, head_lr_multiplier=10, bias_lr_multiplier=2)
    groups = parameter_groups(model, options)
    assert {group["name"]: group["lr"] for group in groups} == pytest.approx(
        {"backbone/kernel": 0.1, "backbone/bias": 0.2, "backbone/other": 0.1, "head/kernel": 1.0, "head/bias": 2.0}
    )
    assert names_by_group(model, groups)["backbone/other"] == {"backbone.1.weight", "backbone.1.bias"}


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
    groups = parameter_groups(model, PLAIN)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    torch.optim.SGD(groups, lr=0.1)  # refuses repeated parameters


@pytest.mark.parametrize(
    ("backbone", "decay", "do_not"),
    [
        ("nf_resnet26", {"weight"}, {"gain", "bias"}),  # weights are standardised, and a gain stands beside them
        ("nf_regnet_b0", {"weight"}, {"gain", "bias"}),
        ("ecaresnet26t", {"weight"}, {"bias"}),  # attention by convolutions over channels
        ("convnext_atto", {"weight"}, {"gamma", "bias"}),  # scales of layers
    ],
)
@pytest.mark.filterwarnings("ignore:.*output stride.*")
def test_of_other_convolutions_the_kernels_decay_alone(backbone: str, decay: set[str], do_not: set[str]) -> None:
    model = build(models.DeepLabV3Plus, backbone=backbone, output_stride=32)
    names = names_by_group(model, parameter_groups(model, PLAIN))
    assert {name.rpartition(".")[2] for name in names["backbone/kernel"]} == decay
    others = names.get("backbone/other", set()) | names.get("backbone/bias", set())
    assert do_not <= {name.rpartition(".")[2] for name in others}
    one_dimensional = [name for name, module in model.named_modules() if isinstance(module, nn.Conv1d)]
    assert all(f"{name}.weight" in names["backbone/kernel"] for name in one_dimensional)
    assert bool(one_dimensional) == backbone.startswith("eca")
