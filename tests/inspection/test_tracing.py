"""What is said of a network equals what gradients find, and the published check numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.backbones import BackboneOptions, TimmBackbone
from deeplab_lightning.inspection.tracing import Layer, Trace, trace
from deeplab_lightning.models import FCN, DeepLabV1, DeepLabV2, DeepLabV3Plus

# --- against brute force ----------------------------------------------------------------------------------------------


def seen_by_gradient(network: nn.Module, size: tuple[int, int], row: int, column: int) -> list[int]:
    """Return first and last row, first and last column of the pixels that move an output."""
    image = torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True)
    network(image)[..., row, column].sum().backward()
    assert image.grad is not None
    reached = (image.grad[0].abs() > 1e-12).any(0)
    rows, columns = (torch.nonzero(reached.any(axis)).ravel().tolist() for axis in (1, 0))
    return [rows[0], rows[-1], columns[0], columns[-1]]


@torch.no_grad()
def seen_by_change(network: nn.Module, size: tuple[int, int], row: int, column: int) -> list[int]:
    """Likewise by painting over whole rows and columns, many times: it tells of choices, too, as maxima make them."""
    found = []
    for axis in (2, 3):
        moved = set()
        for index in range(size[axis - 2]):
            images = torch.randn(40, 2, *size, dtype=torch.float64)
            before = network(images)[..., row, column]
            images.select(axis, index).copy_(3 * torch.randn_like(images.select(axis, index)))
            if not torch.equal(network(images)[..., row, column], before):
                moved.add(index)
        found += [min(moved), max(moved)]
    return found


class Net(nn.Module):
    """A network written as a function of its parts and the image."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)
        self.last = nn.Conv2d(4, 1, 1)
        torch.manual_seed(0)
        self.double().eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.run(self, image))


def conv(channels_in: int, kernel: int | tuple[int, int] = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels_in, 4, kernel, **options)


def atrous_branches(net: Any, image: Tensor) -> Tensor:
    features = net.stem(image)
    return net.join(torch.cat([net.near(features), net.far(features), features], 1))


def residual(net: Any, image: Tensor) -> Tensor:
    features = net.stem(image)
    return net.down(features) + net.b(F.relu(net.a(features)))


def up(net: Any, image: Tensor, **options: Any) -> Tensor:
    skip = net.stem(image)
    return net.join(F.interpolate(net.down(skip), skip.shape[-2:], **options) + skip)


def unpool(net: Any, image: Tensor) -> Tensor:
    features = net.stem(image)
    pooled, indices = F.max_pool2d(features, 2, ceil_mode=True, return_indices=True)
    return net.join(F.max_unpool2d(pooled, indices, 2, output_size=features.shape[-2:]))


def unpool_by_hand(net: Any, image: Tensor) -> Tensor:
    features = net.stem(image)
    pooled, indices = F.max_pool2d(features, 2, ceil_mode=True, return_indices=True)
    empty = features.new_zeros(*features.shape[:2], features.shape[2] * features.shape[3])
    filled = empty.scatter(2, indices.flatten(2), net.deep(pooled).flatten(2))
    return net.join(filled.unflatten(2, features.shape[2:]))


def cut_and_pad(net: Any, image: Tensor) -> Tensor:
    features = F.pad(net.stem(image), (3, 1, 0, 2), mode="reflect")
    return net.join(F.pad(features[..., 2:-1, 1::2], (1, 2, 3, 4)))


def shuffled(net: Any, image: Tensor) -> Tensor:
    fine = F.pixel_shuffle(net.wide(image), 2)
    return net.join(F.pixel_unshuffle(fine, 4))


NETS: dict[str, Callable[[], Net]] = {
    "chain": lambda: Net(
        lambda net, image: net.chain(image),
        chain=nn.Sequential(
            conv(2, stride=2, padding=1), conv(4, (3, 1), dilation=2, padding=1), nn.AvgPool2d(3, 2, 1), conv(4, 2)
        ),
    ),
    "asymmetric padding": lambda: Net(
        lambda net, image: net.b(net.a(image)), a=conv(2, 4, padding="same", dilation=2), b=conv(4, (2, 5), padding=2)
    ),
    "branches": lambda: Net(
        atrous_branches,
        stem=conv(2, stride=2, padding=1),
        near=conv(4, dilation=2, padding=2),
        far=conv(4, dilation=5, padding=5),
        join=conv(12, 1),
    ),
    "residual": lambda: Net(
        residual,
        stem=conv(2, padding=1),
        down=conv(4, 1, stride=2),
        a=conv(4, stride=2, padding=1),
        b=conv(4, padding=1),
    ),
    "transposed": lambda: Net(
        lambda net, image: net.up(net.down(image)),
        down=conv(2, stride=2, padding=1),
        up=nn.ConvTranspose2d(4, 4, 5, stride=3, padding=1),
    ),
    "unpool": lambda: Net(unpool, stem=conv(2, padding=1), join=conv(4, padding=1)),
    "unpool by hand": lambda: Net(
        unpool_by_hand, stem=conv(2, padding=1), deep=conv(4, padding=1), join=conv(4, padding=1)
    ),
    "max pool": lambda: Net(
        lambda net, image: net.b(F.max_pool2d(net.a(image), 3, 2, 1)), a=conv(2, padding=1), b=conv(4, padding=1)
    ),
    "adaptive pool": lambda: Net(
        lambda net, image: net.b(F.adaptive_avg_pool2d(net.a(image), (5, 3))), a=conv(2, padding=1), b=conv(4, 1)
    ),
    "cut and pad": lambda: Net(cut_and_pad, stem=conv(2, padding=1), join=conv(4, padding=1)),
    "shuffled": lambda: Net(shuffled, wide=nn.Conv2d(2, 16, 3, padding=1), join=nn.Conv2d(64, 4, 1)),
    **{
        f"up {options}": lambda options=options: Net(  # type: ignore[misc]
            lambda net, image: up(net, image, **options),
            stem=conv(2, padding=1),
            down=conv(4, stride=4, padding=1),
            join=conv(4, padding=1),
        )
        for options in (
            {"mode": "nearest"},
            {"mode": "bilinear", "align_corners": True},
            {"mode": "bilinear", "align_corners": False},
            {"mode": "bicubic", "align_corners": False},
        )
    },
}
CHOOSING = ("unpool", "unpool by hand", "max pool")
"""Networks that look at more than a gradient shows."""
SIZE = (40, 34)


@pytest.mark.parametrize("name", NETS)
def test_fields_are_what_gradients_reach(name: str) -> None:
    """At every position whose field lies within the image: others read padding, of which gradients tell nothing."""
    torch.manual_seed(0)
    network, size = NETS[name](), (17, 14) if name in CHOOSING else SIZE
    executed = trace(network, size, channels=2)
    assert executed.unknown == []
    last = executed.layers[-1]
    rows, columns = last.size
    assert (rows, columns) == tuple(network(torch.zeros(1, 2, *size, dtype=torch.float64)).shape[-2:])
    compared: list[list[int]] = []
    for row, column in {(step % rows, step % columns) for step in range(max(rows, columns))}:
        seen, sees_all = executed.graph.field(last.node, np.array([row]), np.array([column]))
        assert seen is not None
        assert not sees_all
        (top, bottom), (left, right) = ((int(first[0]), int(end[0])) for first, end in seen)
        if top < 0 or left < 0 or bottom >= size[0] or right >= size[1]:
            continue
        found = (seen_by_change if name in CHOOSING else seen_by_gradient)(network, size, row, column)
        assert [top, bottom, left, right] == found, (row, column)
        compared.append([bottom - top + 1, right - left + 1])
    assert compared
    assert last.field == tuple(max(sides) for sides in zip(*compared, strict=True))


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("chain", 4),
        ("residual", 2),
        ("transposed", 2 / 3),
        ("unpool", 1),
        ("unpool by hand", 1),
        ("cut and pad", (1, 2)),
        ("shuffled", 2),
        ("up {'mode': 'bilinear', 'align_corners': True}", (4 * 9 / 39, 4 * 8 / 33)),
        ("up {'mode': 'bilinear', 'align_corners': False}", (4 * 10 / 40, 4 * 9 / 34)),
    ],
)
def test_output_strides(name: str, stride: float | tuple[float, float]) -> None:
    expected = stride if isinstance(stride, tuple) else (stride, stride)
    layers = trace(NETS[name](), SIZE, channels=2).layers
    made = next(layer for layer in reversed(layers) if layer.kind == "resize") if "up" in name[:3] else layers[-1]
    assert made.output_stride == pytest.approx(expected)


# --- what is noted of a layer -----------------------------------------------------------------------------------------


def named(executed: Trace) -> dict[str, Layer]:
    return {layer.name or "(network)": layer for layer in executed.layers}


def test_layers_are_noted_as_executed() -> None:
    class Functional(nn.Module):
        """Runs its convolution with another rate than its attribute says."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 8, 3, groups=2)
            self.dense = nn.Linear(8, 3)

        def forward(self, features: Tensor) -> Tensor:
            features = F.conv2d(features, self.conv.weight, None, 2, (3, 0), 3, groups=2)
            return self.dense(features.mean((2, 3)))

    layers = trace(nn.Sequential(nn.Conv2d(3, 4, 1), Functional()), (30, 40)).layers
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("0", "conv"), ("1", "conv"), ("1", "global pool"), ("1.dense", "linear"),
    ]  # fmt: skip
    first, second, pooled, dense = layers
    assert first.parameters == 16
    assert first.multiply_adds == 30 * 40 * 12
    assert first.valid_taps is None
    assert (second.kernel, second.stride, second.padding, second.dilation) == ((3, 3), (2, 2), (3, 0), (3, 3))
    assert (second.groups, second.in_channels, second.out_channels) == (2, 4, 8)
    assert (second.size_in, second.size, second.output_stride) == ((30, 40), (15, 17), (2, 2))
    assert second.field == (7, 7)
    assert second.multiply_adds == 15 * 17 * 8 * 2 * 9
    assert second.is_atrous
    assert second.parameters == 0  # they are its convolution's, which did not run
    assert (pooled.field, pooled.sees_all, pooled.output_stride) == (None, True, None)
    assert (dense.in_channels, dense.out_channels, dense.parameters, dense.multiply_adds) == (8, 3, 27, 0)


def test_a_transposed_convolution_multiplies_what_it_reads() -> None:
    (layer,) = trace(nn.Sequential(nn.ConvTranspose2d(3, 8, 4, stride=2)), (10, 20)).layers
    assert (layer.kind, layer.size, layer.output_stride) == ("transposed conv", (22, 42), (0.5, 0.5))
    assert layer.multiply_adds == 10 * 20 * 3 * 8 * 16
    assert layer.valid_taps is None


class SqueezeExcite(nn.Module):
    def __init__(self, squeeze: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.before = nn.Conv2d(3, 4, 3, padding=1)
        self.gate = nn.Conv2d(4, 4, 1)
        self.after = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.before(image)
        return self.after(features * self.gate(self.squeeze(features)).sigmoid())


def test_a_mean_is_told_apart_from_the_window() -> None:
    layers = named(trace(SqueezeExcite(lambda features: features.mean((2, 3), keepdim=True)), (20, 20)))
    assert (layers["before"].field, layers["before"].sees_all) == ((3, 3), False)
    assert (layers["gate"].field, layers["gate"].sees_all) == (None, True)
    assert (layers["after"].field, layers["after"].sees_all) == ((5, 5), True)
    assert layers["after"].output_stride == (1, 1)


def test_a_window_as_large_as_the_map_is_still_a_window() -> None:
    after = trace(SqueezeExcite(lambda features: F.avg_pool2d(features, 20)), (20, 20)).layers[-1]
    assert not after.sees_all
    assert after.field == (23, 23)  # from two pixels outside on one side to one outside, the pool's, on the other


@pytest.mark.parametrize("mix", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.AdaptiveAvgPool2d(1)])
def test_norms_of_the_image_see_all_of_it(mix: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), mix, nn.Conv2d(4, 4, 1))
    assert trace(network, (20, 20)).layers[-1].sees_all


@pytest.mark.parametrize("mix", [nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Hardswish(), nn.PReLU()])
def test_what_works_by_position_changes_nothing(mix: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), mix, nn.Conv2d(4, 4, 1))
    last = trace(network, (20, 20)).layers[-1]
    assert (last.field, last.sees_all) == ((3, 3), False)


def test_a_module_that_runs_twice_costs_twice_and_counts_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=2, dilation=2)

        def forward(self, image: Tensor) -> Tensor:
            return self.conv(image), self.conv(image[..., ::2, ::2])  # type: ignore[return-value]

    executed = trace(Twice(), (20, 20))
    assert [layer.name for layer in executed.layers] == ["conv", "conv"]
    assert executed.multiply_adds == (400 + 100) * 81
    assert executed.parameters == 84
    (branch,) = executed.atrous_branches()
    assert branch.size == (20, 20)


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    network[1].eval()
    before = {name: (value, value.clone()) for name, value in network.state_dict(keep_vars=True).items()}
    trace(network, (20, 20))
    assert [module.training for module in network] == [True, False, True]
    assert network.training
    for name, value in network.state_dict(keep_vars=True).items():
        assert value is before[name][0]
        assert torch.equal(value, before[name][1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_networks_that_do_not_run_without_values_do_with_them() -> None:
    class PlainTensor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.shift = torch.ones(4, 1, 1)  # no buffer: it does not follow to another device

        def forward(self, image: Tensor) -> Tensor:
            features = self.conv(image)
            return features * self.shift if features.max().item() > -1 else features

    assert trace(PlainTensor(), (20, 24)).layers[0].size == (18, 22)


def test_networks_on_paper_are_run_with_zeros_where_they_need_values() -> None:
    class LooksAtValues(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, image: Tensor) -> Tensor:
            features = self.conv(image)
            return features if features.max().item() > 1 else self.conv(image[..., ::2, ::2])

    network = on_paper(LooksAtValues)
    assert [layer.size for layer in trace(network, (20, 24)).layers] == [(18, 22), (8, 10)]
    assert all(parameter.is_meta for parameter in network.parameters())


def test_what_is_not_understood_is_named() -> None:
    class Picks(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.index_select(2, torch.arange(4, device=image.device))

    assert trace(Picks(), (20, 20)).unknown == ["index_select"]


# --- check numbers ----------------------------------------------------------------------------------------------------


def on_paper(build: Any, *args: Any, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return build(*args, **options)


@pytest.mark.parametrize(
    ("output_stride", "options", "fields"),
    [
        (32, {}, (427, 971)),
        (16, {}, (427, 971)),
        (16, {"first_unit": "full"}, (459, 1003)),
        (16, {"first_unit": "full", "multi_grid": (1, 2, 4)}, (715, 1259)),
        (8, {"first_unit": "full", "multi_grid": (1, 2, 4)}, (731, 1275)),
    ],
)
def test_receptive_fields_of_resnets(output_stride: int, options: dict[str, Any], fields: tuple[int, int]) -> None:
    """Fact sheet, section 11. On a small image: a theoretical field does not depend on it."""
    for name, field in zip(("resnet50", "resnet101"), fields, strict=True):
        form = BackboneOptions(backbone=name, output_stride=output_stride, **options)
        last = trace(on_paper(TimmBackbone, form), (97, 97)).layers[-1]
        assert last.field == (field, field)
        assert last.output_stride == (output_stride, output_stride)


def test_receptive_fields_of_vgg() -> None:
    """Fact sheet, section 11: 2x2 pools in FCN, 3x3 ones in DeepLab, whose v1 adds another behind pool5."""
    layers = named(trace(on_paper(FCN, 21), (97, 97)))
    assert layers["backbone.fc6"].field == (404, 404)
    assert layers["backbone.pool"].field == (212, 212)
    executed = trace(on_paper(DeepLabV2, 21, backbone="vgg16", scales=(1.0,)), (97, 97))
    assert executed.deepest().field == (227, 227)
    assert [branch.field for branch in executed.atrous_branches()] == [(side, side) for side in (323, 419, 515, 611)]
    (largefov,) = trace(on_paper(DeepLabV1, 21), (97, 97)).atrous_branches()
    assert largefov.field == (419 + 2 * 8, 419 + 2 * 8)


def test_deeplab_v3plus_at_513() -> None:
    """Fact sheet, sections 1 and 11."""
    network = on_paper(DeepLabV3Plus, 21, backbone="resnet50", separable=False)
    executed = trace(network, (513, 513))
    assert executed.parameters == 40_352_181
    # 72.19 with the pooled map enlarged before the projection; here its share is computed on one position.
    assert executed.multiply_adds / 1e9 == pytest.approx(72.19 - 256 * 256 * (33 * 33 - 1) / 1e9, abs=0.005)
    assert sum(part.parameters for part in executed.parts) == executed.parameters
    assert executed.parts[0].parameters == 23_508_032
    assert executed.parts[0].multiply_adds / 1e9 == pytest.approx(34.09, abs=0.005)
    branches = executed.atrous_branches()
    assert [branch.dilation for branch in branches] == [(6, 6), (12, 12), (18, 18)]
    assert [branch.valid_taps for branch in branches] == pytest.approx([0.772, 0.574, 0.405], abs=5e-4)
    deepest = executed.deepest()
    assert deepest.size == (33, 33)
    assert deepest.field is not None
    widened = [branch.field[0] - deepest.field[0] for branch in branches if branch.field]
    assert widened == [192, 384, 576]
    logits = executed.layers[-1]
    assert (logits.kind, logits.size, logits.output_stride, logits.sees_all) == ("resize", (513, 513), (1, 1), True)


def test_squares_and_taps_stand_around_the_centre() -> None:
    executed = trace(on_paper(DeepLabV3Plus, 21, backbone="resnet18"), (513, 513))
    for layer in [executed.deepest(), *executed.atrous_branches()]:
        rows, columns = executed.square(layer) or ((0, 0), (0, 0))
        assert rows == columns
        assert sum(rows) / 2 == 256
        assert layer.field == (rows[1] - rows[0] + 1,) * 2
    middle = executed.atrous_branches()[1]
    assert executed.taps(middle) == [
        (256 + 192 * row, 256 + 192 * column) for row in (-1, 0, 1) for column in (-1, 0, 1)
    ]
