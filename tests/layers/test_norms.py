"""Norms put in the place of batch norms: the rest of the network stays what it was."""

from __future__ import annotations

import copy

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
    put_back_statistics,
    replace_norms,
    without_statistics,
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


def folded_mobilenet() -> nn.Module:
    """A network whose batch norms only scale and add, as files with folded ones are read."""
    model = mobilenet()
    with torch.no_grad():
        for norm in batch_norms(model):
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_(std=0.5)
    return model.double()


def images(count: int = 4) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(8, 3, 96, 96, dtype=torch.float64) * 0.7 + 0.4 for _ in range(count)]


def test_norms_that_were_folded_get_the_statistics_of_images() -> None:
    model = folded_mobilenet()
    norms = without_statistics(model)
    assert len(norms) == len(batch_norms(model))
    fourth, seen = norms[3], dict[str, tuple[torch.Tensor, torch.Tensor]]()

    def look(name: str, batch: torch.Tensor) -> torch.Tensor:
        """Run the network, and keep what the fourth norm gets and gives."""
        hook = fourth.register_forward_hook(
            lambda _, given, out: seen.__setitem__(name, (given[0], out.clone()))  # a ReLU follows in place
        )
        with torch.no_grad():
            logits = model(batch)
        hook.remove()
        return logits

    batch = torch.cat(images())
    model.eval()
    before = look("before", batch)
    free = copy.deepcopy(model.state_dict())
    model.train()
    look("free", batch)
    model.load_state_dict(free)
    put_back_statistics(model, norms, images(), lambda sums: sums)
    assert model.training
    assert not without_statistics(model)
    given, gave = seen["before"]
    assert torch.allclose(fourth.running_mean, given.mean((0, 2, 3)))
    assert torch.allclose(fourth.running_var, given.var((0, 2, 3), correction=0))
    model.eval()
    assert torch.allclose(look("after", batch), before), "what it computes stays"
    model.train()
    look("trained", batch)
    assert torch.allclose(seen["trained"][1], gave), "in training on these images, too"
    assert (seen["free"][1] - gave).abs().mean() > 0.3 * gave.std(), "without statistics it did not"


def test_norms_that_have_statistics_or_are_frozen_are_left_alone() -> None:
    model = folded_mobilenet()
    norms = batch_norms(model)
    norms[0].running_mean += 0.1
    norms[1].running_var *= 1.1
    norms[2].eval()
    assert len(without_statistics(model)) == len(norms) - 3


def test_statistics_are_those_of_all_processes() -> None:
    """As if two had looked at half of the images each."""
    whole, half = folded_mobilenet(), folded_mobilenet()
    put_back_statistics(whole, batch_norms(whole), images(), lambda sums: sums)
    of_others: dict[int, torch.Tensor] = {}
    other = folded_mobilenet()

    def keep(sums: torch.Tensor) -> torch.Tensor:
        of_others[len(of_others)] = sums
        return sums

    put_back_statistics(other, batch_norms(other), images()[2:], keep)
    order = iter(range(len(of_others)))
    put_back_statistics(half, batch_norms(half), images()[:2], lambda sums: sums + of_others[next(order)])
    for key, value in whole.state_dict().items():
        assert torch.allclose(half.state_dict()[key].double(), value.double()), key
