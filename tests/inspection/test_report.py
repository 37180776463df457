"""The report: nothing is lost in folding, lines stay readable, and what is likely not meant is said."""

from __future__ import annotations

import csv
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from deeplab_lightning.backbones import BackboneOptions, TimmBackbone
from deeplab_lightning.inspection import report, trace, warnings_of, write_layers_csv
from deeplab_lightning.inspection.repetition import folded, unfolded
from deeplab_lightning.models import DeepLabV3Plus


def resnet50() -> nn.Module:
    with torch.device("meta"):
        return TimmBackbone(BackboneOptions(backbone="resnet50"))


def chain(*convs: nn.Module) -> nn.Module:
    return nn.Sequential(*convs)


# --- folding ----------------------------------------------------------------------------------------------------------


def test_equal_blocks_are_told_once() -> None:
    layers = trace(resnet50(), (97, 97)).layers
    rows = folded(layers)
    names = {row.name: len(row.layers) for row in rows}
    assert names["features.layer3.1-5.conv2"] == 5
    assert names["features.layer3.0.conv2"] == 1  # strided
    assert "features.layer3.1.conv2" not in names
    assert names["features.layer4.1-2.conv3"] == 2
    assert [id(layer) for layer in sorted((x for row in rows for x in row.layers), key=layers.index)] == [
        id(layer) for layer in layers
    ]
    assert len(unfolded(layers)) == len(layers)


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (chain(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))), ["0-3"]),
        (chain(*(nn.Conv2d(3, 3, 3, padding=rate, dilation=rate) for rate in (1, 1, 2, 2))), ["0-1", "2-3"]),
        (chain(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)), ["0", "1"]),  # on maps of other sizes
        (chain(*(nn.Conv2d(3, 3, 1, bias=bias) for bias in (True, False, True, False))), ["0-2", "1-3"]),
        (nn.Sequential(OrderedDict({key: nn.Conv2d(3, 3, 1) for key in ("2", "1")})), ["2", "1"]),
        (chain(nn.ModuleDict({"a": nn.Conv2d(3, 3, 1)})["a"], nn.ReLU(), nn.Conv2d(3, 3, 1)), ["0-2"]),
    ],
)
def test_only_what_is_equal_is_folded(network: nn.Module, names: list[str]) -> None:
    assert [row.name for row in folded(trace(network, (33, 33)).layers)] == names


# --- text -------------------------------------------------------------------------------------------------------------


def test_the_table_says_what_was_executed() -> None:
    with torch.device("meta"):
        network = DeepLabV3Plus(21, backbone="resnet50", separable=False)
    text = report(trace(network, (513, 513)))
    assert max(map(len, text.splitlines())) <= 120
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["backbone.features.layer3.1-5.conv2"][1:] == [
        "x5", "3x3", "256>256", "33x33", "16", "267", "2.95", "M", "3.21", "G",
    ]  # fmt: skip
    assert lines["backbone"] == ["backbone", "23,508,032", "58.3%", "34,086,020,288", "47.3%"]
    assert lines["all"] == ["all", "40,352,181", "72,123,505,088", "=", "72.1", "G"]
    assert "\nclassifier" in text
    (rate_12,) = [line for line in text.splitlines() if "branches.2" in line and line.endswith("57.4%")]
    assert rate_12.split()[1:4] == ["3x3", "12", "33x33"]


def test_every_layer_on_demand() -> None:
    executed = trace(resnet50(), (97, 97))
    assert "layer3.1-5.conv2" in report(executed)
    text = report(executed, every_layer=True)
    assert "layer3.1-5.conv2" not in text
    assert all(f"layer3.{block}.conv2" in text for block in range(6))


def test_long_names_keep_their_ends() -> None:
    network: nn.Module = nn.Sequential()
    network.add_module("convolution", nn.Conv2d(3, 8, 3))
    for _ in range(8):
        network = nn.Sequential(OrderedDict(a_rather_long_name=network))
    text = report(trace(network, (33, 33)))
    assert max(map(len, text.splitlines())) <= 120
    assert "long_name.convolution" in text


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "rate", "expected"),
    [
        (33, 6, None),
        (33, 18, "has 40% of its taps on the map"),
        (33, 31, "has 14% of its taps on the map"),
        (33, 32, "has decayed to a 1x1"),
        (33, 40, "has decayed to a 1x1"),
    ],
)
def test_kernels_without_taps_are_warned_of(side: int, rate: int, expected: str | None) -> None:
    network = chain(nn.Conv2d(3, 4, 3, padding=rate, dilation=rate))
    found = warnings_of(trace(network, (side, side)))
    if expected is None:
        assert found == []
    else:
        (warning,) = found
        assert expected in warning
        assert warning.startswith(f"0: a 3x3 kernel of rate {rate} on a map of {side}x{side}")


def test_a_dense_kernel_is_never_warned_of() -> None:
    assert warnings_of(trace(chain(nn.Conv2d(3, 4, 33, padding=16)), (33, 33))) == []


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_has_every_layer_in_full(tmp_path: Path) -> None:
    executed = trace(chain(nn.Conv2d(3, 4, (3, 5), stride=2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1)), (33, 40))
    write_layers_csv(tmp_path / "layers.csv", executed)
    with (tmp_path / "layers.csv").open(newline="") as file:
        first, pooled, last = csv.DictReader(file)
    assert (first["kernel_height"], first["kernel_width"], first["stride"]) == ("3", "5", "2")
    assert (first["height"], first["width"], first["field_height"], first["field_width"]) == ("16", "18", "3", "5")
    assert float(first["output_stride"]) == 2
    assert int(first["multiply_adds"]) == 16 * 18 * 4 * 3 * 15
    assert int(first["parameters"]) == 184
    assert (pooled["kind"], pooled["field_height"], pooled["output_stride"], pooled["sees_all"]) == (
        "global pool", "", "", "1",
    )  # fmt: skip
    assert last["name"] == "2"
