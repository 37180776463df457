"""Atrous consistency: denser features, subsampled, are the strided ones. And the table of who keeps that promise."""

from __future__ import annotations

import re
from typing import Any

import pytest
import timm
import torch
from torch import nn

from deeplab_lightning.backbones.atrous import APPROXIMATE, EXACT, atrous_support

from ..conftest import REPOSITORY
from ..models.base import timm_backbone

EXACT_SMALL = [
    "resnet18",
    "regnetx_002",
    "mobilenetv1_100",
    "mobilenetv2_035",
    "mobilenetv2_100",
    "mobilenetv4_conv_small",
    "efficientnet_lite0",
    "repvgg_a0",
]
EXACT_LARGE = [
    "resnet26",
    "resnext26ts",
    "mnasnet_050",
    "xception41",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "xception65",
    "xception71",
    "efficientnet_es",
]
APPROXIMATE_SMALL = [
    "seresnet18",
    "regnety_002",
    "resnet18d",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "mobileone_s0",
    "smp_mobilenet_v2",
]


@torch.no_grad()
def randomise(network: nn.Module) -> None:
    """Give batch norms statistics, and layers that start from zero weights, so that every layer matters."""
    for parameter in network.parameters():
        if parameter.abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)


@torch.no_grad()
def drift(name: str, output_stride: Any, sides: tuple[int, ...] = (97, 64)) -> float:
    """Largest difference from the stride-32 features at their places, relative to the largest of them."""
    torch.manual_seed(0)
    strided, dense = timm_backbone(name, 32), timm_backbone(name, output_stride)
    randomise(strided)
    dense.load_state_dict(strided.state_dict())
    strided.double().eval()
    dense.double().eval()
    step = 32 // output_stride
    worst = 0.0
    for side in sides:
        image = torch.randn(1, 3, side, side, dtype=torch.float64)
        expected, features = strided(image), dense(image)
        assert torch.equal(features[0], expected[0])
        assert features[-1].shape[-1] == -(-side // output_stride)
        difference = (features[-1][..., ::step, ::step] - expected[-1]).abs().max()
        worst = max(worst, float(difference / expected[-1].abs().max()))
    return worst


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("name", [*EXACT_SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in EXACT_LARGE)])
def test_exact_backbones_compute_the_same(name: str, output_stride: int) -> None:
    assert atrous_support(name) == "exact"
    assert drift(name, output_stride) < 1e-10


@pytest.mark.parametrize("name", [*EXACT_SMALL, *EXACT_LARGE, *APPROXIMATE_SMALL])
def test_the_page_of_backbones_lists_what_was_measured(name: str) -> None:
    page = (REPOSITORY / "docs" / "backbones.md").read_text()
    assert re.search(rf"^\| `{name}` \| \S+ \| \S+ \| {atrous_support(name)} \|$", page, re.MULTILINE)


@pytest.mark.filterwarnings("ignore:Backbone .* changes what it computes")
@pytest.mark.parametrize("name", APPROXIMATE_SMALL)
def test_approximate_backbones_do_not(name: str) -> None:
    """Otherwise they belong to the other table."""
    assert atrous_support(name) == "approximate"
    assert max(drift(name, output_stride) for output_stride in (16, 8)) > 1e-4


@pytest.mark.parametrize(
    ("name", "support"),
    [
        ("resnet101.tv_in1k", "exact"),
        ("xception71", "exact"),
        ("resnet50d", "approximate"),
        ("resnetv2_50x1_bit", "approximate"),
        ("mnasnet_small", "approximate"),
        ("mobilenetv4_conv_aa_large", "approximate"),
        ("resnext50d_32x4d", "approximate"),
        ("repvgg_d2se", "approximate"),
        ("hrnet_w18", "unknown"),
    ],
)
def test_table_reads_names_to_their_end(name: str, support: str) -> None:
    assert atrous_support(name) == support


def test_no_name_stands_in_both_tables() -> None:
    both = [name for name in timm.list_models() if EXACT.fullmatch(name) and APPROXIMATE.fullmatch(name)]
    assert both == []


@pytest.mark.parametrize("table", [EXACT, APPROXIMATE])
def test_every_entry_of_a_table_names_some_network(table: re.Pattern[str]) -> None:
    names = timm.list_models()
    entries = re.split(r"\|(?![^(]*\))", table.pattern)
    assert len(entries) > 5
    assert [entry for entry in entries if not any(re.fullmatch(entry, name) for name in names)] == []
