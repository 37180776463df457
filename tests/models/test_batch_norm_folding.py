"""Folded batch norms: nothing changes but rounding, or nothing is folded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning import models
from deeplab_lightning.layers.feature_hook import FeatureHook
from deeplab_lightning.layers.norms import SyncBatchNormAct, batch_norms, replace_norms
from deeplab_lightning.models.batch_norm_folding import fold_batch_norms

from ..models.base import randomise

SMALL: dict[str, Any] = {"aspp_channels": 16, "output_stride": 16}
NETWORKS = {
    "v3 on MobileNetV3, whose norms have activations inside": lambda: models.DeepLabV3(
        5, backbone="mobilenetv3_small_050", first_unit="full", **SMALL
    ),
    "v3+ on Xception, summed branches": lambda: models.DeepLabV3Plus(
        5, backbone="xception41", context="aspp_sum", **SMALL
    ),
    "v2, which sees several scales": lambda: models.DeepLabV2(5, backbone="resnet18"),
    "U-Net": lambda: models.UNet(5, base_width=4),
}


def made(build: Any) -> Any:
    torch.manual_seed(0)
    network = build()
    randomise(network)
    return network.eval()


@pytest.mark.filterwarnings("ignore:Backbone")
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_only_rounding_changes(name: str) -> None:
    network = made(NETWORKS[name])
    before = copy.deepcopy(network.state_dict())
    image = torch.randn(2, 3, 97, 81)
    expected = network.coarse_logits(image)
    folded: Any = fold_batch_norms(network, torch.randn(1, 3, 65, 65))
    assert not batch_norms(folded)
    assert torch.allclose(folded.coarse_logits(image), expected, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(network.coarse_logits(image), expected)  # no hook is left behind


class Small(nn.Module):
    """A convolution, a norm, and what a test does with them."""

    def __init__(self, affine: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=not affine)
        self.norm = nn.BatchNorm2d(4, affine=affine)

    def coarse_logits(self, image: Tensor) -> Tensor:
        return self.norm(self.conv(image))

    def all_maps(self, image: Tensor) -> Tensor:
        return self.coarse_logits(image)


class UsedTwice(Small):
    def coarse_logits(self, image: Tensor) -> Tensor:
        found = self.conv(image)
        return self.norm(found) + found


class TwoSources(Small):
    def coarse_logits(self, image: Tensor) -> Tensor:
        return self.norm(self.norm(self.conv(image)))


@pytest.mark.parametrize("network", [UsedTwice, TwoSources])
def test_what_cannot_be_folded_stays(network: type[nn.Module]) -> None:
    original = made(network)
    assert fold_batch_norms(original, torch.randn(1, 3, 9, 9)) is original


@torch.no_grad()
def test_a_bias_is_kept_and_a_norm_may_have_no_weights() -> None:
    original, image = Small(affine=False).eval(), torch.randn(1, 3, 9, 9)
    original.norm.running_mean.normal_()
    original.norm.running_var.uniform_(0.5, 1.5)
    folded: Any = fold_batch_norms(original, image)
    assert folded is not original
    assert torch.allclose(folded.coarse_logits(image), original.coarse_logits(image), atol=1e-5)


@torch.no_grad()
def test_a_method_in_another_form_is_left_behind() -> None:
    """Compiled for training, say: it would run the original."""
    network, image = made(lambda: models.UNet(5, base_width=4)), torch.randn(1, 3, 65, 65)
    calls: list[Tensor] = []
    method = network.coarse_logits
    network.coarse_logits = lambda image: calls.append(image) or method(image)
    folded: Any = fold_batch_norms(network, image)
    calls.clear()
    folded.coarse_logits(image)
    assert not calls


@torch.no_grad()
def test_norms_of_several_processes_are_folded_too() -> None:
    network, image = made(lambda: models.DeepLabV3(5, backbone="mobilenetv2_035", **SMALL)), torch.randn(1, 3, 65, 65)
    expected = network.coarse_logits(image)
    replace_norms(network, SyncBatchNormAct)
    for norm in batch_norms(network):
        norm.eval()
        norm.forward = lambda x, norm=norm: norm.after(  # its own wants a GPU
            F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        )
    folded: Any = fold_batch_norms(network, image)
    assert not batch_norms(folded)
    assert torch.allclose(folded.coarse_logits(image), expected, atol=1e-4 * float(expected.abs().max()))


class Watching(Small):
    """A network that looks at a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv.register_forward_hook(self.see)

    def see(self, *_: object) -> None:
        """Look."""


@torch.no_grad()
def test_a_network_that_watches_itself_is_copied_all_the_same() -> None:
    network, image = made(Watching), torch.randn(1, 3, 9, 9)
    before = copy.deepcopy(network.state_dict())
    expected = network.coarse_logits(image)
    folded: Any = fold_batch_norms(network, image)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(network.coarse_logits(image), expected)
    assert torch.allclose(folded.coarse_logits(image), expected, atol=1e-5)


@torch.no_grad()
def test_who_watches_the_network_watches_the_copy() -> None:
    """Even while a map of a training step is held, which cannot be copied."""
    network, image = made(lambda: models.UNet(5, base_width=4)), torch.randn(1, 3, 65, 65)
    hook = FeatureHook(network.classifier, before=True)
    with torch.enable_grad():
        network.coarse_logits(image)
    folded: Any = fold_batch_norms(network, image)
    assert folded is not network
    expected = hook.take()
    folded.coarse_logits(image)
    assert torch.allclose(hook.take(), expected, atol=1e-4 * float(expected.abs().max()))
