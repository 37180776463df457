"""Norms put in the place of batch norms: the rest of the network stays what it was."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from deeplab_lightning.layers.norms import (
    GroupNormAct,
    SyncBatchNormAct,
    batch_norms,
    groups_for,
    pause_statistics,
    replace_norms,
)
from deeplab_lightning.trainer_parts import SyncBatchNorm


def mobilenet() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("mobilenetv2_035", num_classes=3)


@pytest.mark.parametrize(("channels", "groups"), [(256, 32), (64, 32), (48, 24), (24, 12), (16, 8), (2, 1), (1, 1)])
def test_groups_divide_the_channels_and_hold_two(channels: int, groups: int) -> None:
    assert groups_for(channels) == groups


def test_group_norm_takes_the_place_of_every_batch_norm_and_keeps_the_activations() -> None:
    model = mobilenet()
    names = {name for name, _ in model.named_parameters()}
    count, activations = len(batch_norms(model)), sum(isinstance(module, nn.ReLU6) for module in model.modules())
    replace_norms(model, GroupNormAct)
    assert not batch_norms(model)
    assert sum(isinstance(module, GroupNormAct) for module in model.modules()) == count
    assert sum(isinstance(module, nn.ReLU6) for module in model.modules()) == activations > 0
    assert {name for name, _ in model.named_parameters()} == names
    image = torch.randn(2, 3, 64, 64)
    model.eval()
    assert torch.allclose(model(image)[:1], model(image[:1]), atol=1e-5)  # no image depends on another


def test_group_norm_computes_group_norm_and_the_activation() -> None:
    norm = timm.layers.BatchNormAct2d(8)
    nn.init.uniform_(norm.weight)
    x = torch.randn(2, 8, 5, 5)
    expected = nn.functional.group_norm(x, 4, norm.weight, norm.bias, norm.eps).relu()
    assert torch.allclose(GroupNormAct(norm)(x), expected)


def test_synchronised_batch_norms_compute_the_same_and_come_back() -> None:
    """torch's own conversion, which Lightning uses, loses the activations inside timm's batch norms."""
    model, image = mobilenet(), torch.randn(2, 3, 64, 64)
    model(image)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    kinds = [type(norm) for norm in batch_norms(model)]
    expected = model.eval()(image)
    plugin = SyncBatchNorm()
    model = plugin.apply(model)
    assert all(isinstance(norm, SyncBatchNormAct) for norm in batch_norms(model))
    assert list(model.state_dict()) == list(state)
    assert torch.equal(model.eval()(image), expected)
    for norm in batch_norms(model):
        norm.running_mean += 1
    model = plugin.revert(model)
    assert [type(norm) for norm in batch_norms(model)] == kinds
    moved = model.state_dict()
    for key, value in state.items():
        assert torch.equal(moved[key], value + 1 if key.endswith("running_mean") else value)


def test_frozen_norms_stay_frozen_when_synchronised() -> None:
    model = mobilenet().eval()
    SyncBatchNorm().apply(model)
    assert not any(norm.training for norm in batch_norms(model))


def test_statistics_that_do_not_move() -> None:
    norm, x = nn.BatchNorm2d(4), torch.randn(3, 4, 5, 5)
    expected = norm(x)
    state = {key: value.clone() for key, value in norm.state_dict().items()}
    resume = pause_statistics(norm)
    assert torch.equal(norm(x), expected)
    resume()
    assert all(torch.equal(value, state[key]) for key, value in norm.state_dict().items())
    norm(x)
    assert norm.num_batches_tracked == state["num_batches_tracked"] + 1
