"""The dense VGG16 of v1 and v2: sizes, the hole algorithm, and its fc branches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeplab_lightning.backbones import VGGAtrous, vgg, vgg_atrous
from deeplab_lightning.backbones.vgg_atrous import FullyConvolutional

WIDTHS = ((2, 2), (3, 3), (4, 4, 4), (5, 5, 5), (6, 6, 6))


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (vgg, vgg_atrous):
        monkeypatch.setattr(module, "VGG16_WIDTHS", WIDTHS)


def vgg_with(
    atrous_rates: tuple[int, ...] = (12,), fc6: Any = "largefov", pool5a: bool = True, **options: Any
) -> VGGAtrous:
    branches = [vgg_atrous.FC6_SHAPES[fc6]._replace(atrous_rate=rate) for rate in atrous_rates]
    return VGGAtrous(vgg.VGGOptions(**options), branches=branches, pool5a=pool5a)


def on_paper(**options: Any) -> VGGAtrous:
    with torch.device("meta"):
        return vgg_with(**options)


@pytest.mark.parametrize(("size", "side"), [(321, 41), (306, 39), (33, 5), (64, 8), (360, 45)])
def test_maps_are_at_stride_8(size: int, side: int) -> None:
    """321 and 306 are the v1 paper's."""
    features = on_paper(atrous_rates=(6, 12))(torch.empty(2, 3, size, 321, device="meta"))
    assert [tuple(branch.shape) for branch in features[1]] == [(2, 1024, side, 41)] * 2
    assert [pool.shape[1] for pool in features[0]] == [64, 128, 256, 512]
    assert [pool.shape[-1] for pool in features[0]] == [161, 81, 41, 41]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("fc6", ["largefov", "7x7", "4x4"])
@pytest.mark.parametrize("rate", [3, 4, 8, 12])
@pytest.mark.parametrize("size", [(33, 33), (50, 71)])
def test_every_fc6_keeps_the_size(fc6: Any, rate: int, size: tuple[int, int]) -> None:
    branch = on_paper(fc6=fc6, atrous_rates=(rate,))(torch.empty(1, 3, *size, device="meta"))[1][0]
    assert branch.shape[-2:] == (-(-size[0] // 8), -(-size[1] // 8))


@pytest.mark.parametrize(
    ("kernel_size", "rate", "reached"),
    [
        (3, 12, [-12, 0, 12]),
        (7, 4, [-12, -8, -4, 0, 4, 8, 12]),
        (4, 4, [-6, -2, 2, 6]),
        (4, 8, [-12, -4, 4, 12]),
        (4, 3, [-4, -1, 2, 5]),
    ],
)
def test_what_fc6_reads(kernel_size: int, rate: int, reached: list[int]) -> None:
    """Rows that a place reads, relative to it: around it, and one further below where an odd rate leaves a rest."""
    branch = FullyConvolutional(vgg_atrous.FC6Shape(kernel_size, 2, rate), dropout=0.0)
    nn.init.ones_(branch.fc6.weight)
    features = torch.zeros(1, 512, 33, 33, requires_grad=True)
    branch.fc6(features)[0, 0, 16, 16].backward()
    assert features.grad is not None
    rows, columns = features.grad[0, 0].nonzero().unbind(1)
    assert sorted(set((rows - 16).tolist())) == sorted(set((columns - 16).tolist())) == reached


@pytest.mark.usefixtures("_narrow")
@torch.no_grad()
def test_dense_features_subsampled_are_the_strided_ones() -> None:
    """The hole algorithm: conv5 of the network with a strided pool4, to rounding, borders included."""
    torch.manual_seed(0)
    network = vgg_with(atrous_rates=(12,), pool5a=True).double()
    for size in ((65, 97), (70, 83)):
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        dense = network.stages[4](network(x)[0][3])
        for stage, pool in zip(network.stages[:4], network.pools, strict=False):
            x = F.max_pool2d(stage(x), 3, stride=2, padding=1)
            assert pool.kernel_size == 3
        for conv in network.stages[4][::2]:
            x = F.conv2d(x, conv.weight, conv.bias, padding=1).relu()
        assert x.std() > 0.01
        assert torch.allclose(dense[..., ::2, ::2], x, atol=1e-12)


@pytest.mark.usefixtures("_narrow")
@torch.no_grad()
def test_what_stands_before_fc6() -> None:
    """pool5, and v1's average pool only where it is asked for."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, 41, 33)
    seen = []
    for pool5a in (True, False):
        torch.manual_seed(0)
        network = vgg_with(atrous_rates=(12,), pool5a=pool5a)
        network.branches[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        conv5 = network.stages[4](network(image)[0][3])
        pooled = F.max_pool2d(conv5, 3, stride=1, padding=1)
        assert torch.allclose(seen[-1], F.avg_pool2d(pooled, 3, stride=1, padding=1) if pool5a else pooled)
    assert not torch.allclose(*seen)


def test_dropout_follows_fc6_and_fc7() -> None:
    torch.manual_seed(0)
    branch = FullyConvolutional(vgg_atrous.FC6Shape(3, 64, 12), dropout=0.5).train()
    dropped = branch(torch.rand(1, 512, 9, 9)) == 0
    live = branch.eval()(torch.rand(1, 512, 9, 9)) == 0
    assert live.float().mean() < 0.6 < dropped.float().mean() < 0.9
    inputs = []
    branch.fc7.register_forward_hook(lambda module, given, output: inputs.append(given[0]))
    for mode in (True, False):
        branch.train(mode)(torch.rand(1, 512, 9, 9))
    trained, evaluated = ((values == 0).float().mean() for values in inputs)
    assert trained > evaluated + 0.15


@pytest.mark.usefixtures("_narrow")
def test_imagenet_weights_reach_the_trunk_and_every_branch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vgg, "FC_CHANNELS", 32)
    monkeypatch.setitem(vgg_atrous.FC6_SHAPES, "largefov", vgg_atrous.FC6Shape(3, 8, 12))
    torch.manual_seed(1)
    state = {}
    channels, number = 3, 0
    for widths in WIDTHS:
        for width in widths:
            state[f"features.{number}.weight"], state[f"features.{number}.bias"] = (
                torch.randn(width, channels, 3, 3),
                torch.randn(width),
            )
            channels, number = width, number + 2
        number += 1
    state |= {"classifier.0.weight": torch.randn(32, channels * 49), "classifier.0.bias": torch.randn(32)}
    state |= {"classifier.3.weight": torch.randn(32, 32), "classifier.3.bias": torch.randn(32)}
    torch.save(state, tmp_path / "vgg16.pth")
    network = vgg_with(atrous_rates=(6, 12), pool5a=False, pretrained=str(tmp_path / "vgg16.pth"))
    assert torch.equal(network.stages[4][4].bias, state["features.28.bias"])
    kept = [set(branch.fc6.bias.tolist()) for branch in network.branches]
    assert all(biases < set(state["classifier.0.bias"].tolist()) for biases in kept)
    assert kept[0] != kept[1]
