"""SegNet: counts to the unit, unpooling against loops over windows, and an independent implementation."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.backbones import vgg
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models import SegNet, segnet
from deeplab_lightning.models.segnet import unpool

from .base import FullSizeLogitsTests, randomise

WIDTHS = ((4, 4), (5, 5), (6, 6, 6), (7, 7, 7), (8, 8, 8))


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 and SegNet-Basic with few channels."""
    for module in (vgg, segnet):
        monkeypatch.setattr(module, "VGG16_WIDTHS", WIDTHS)
    monkeypatch.setattr(segnet, "BASIC_CHANNELS", 6)


@pytest.mark.usefixtures("_narrow")
class TestSegNet(FullSizeLogitsTests):
    model_class = SegNet
    output_strides = (32,)
    align_corners = ()


@pytest.mark.usefixtures("_narrow")
class TestSegNetBasic(FullSizeLogitsTests):
    model_class = SegNet
    options = {"variant": "basic"}  # noqa: RUF012
    output_strides = (16,)
    align_corners = ()


def on_paper(num_classes: int, **options: Any) -> SegNet:
    """Build the network without memory for its weights: shapes are all that counting needs."""
    with torch.device("meta"):
        return SegNet(num_classes, **options)


def small(num_classes: int = 3, **options: Any) -> SegNet:
    """Build a network in float64 that keeps its activations, and so its maxima, apart."""
    torch.manual_seed(0)
    model = SegNet(num_classes, **options).double().eval()
    randomise(model)
    nn.init.normal_(model.classifier.weight)
    return model


def test_parameter_counts() -> None:
    """SegNet: fact sheet, section 11. Basic: eight 7x7 layers with their batch norms, a 1x1 classifier."""
    count = sum(parameter.numel() for parameter in on_paper(11).parameters())
    assert count == 29_449_355
    basic = 49 * 3 * 64 + 7 * 49 * 64 * 64 + 8 * 2 * 64 + 64 * 11 + 11
    assert sum(parameter.numel() for parameter in on_paper(11, variant="basic").parameters()) == basic


def test_the_decoder_mirrors_the_encoder() -> None:
    """Fact sheet, section 6: 512,512,512 / 512,512,256 / 256,256,128 / 128,64 / 64,classes, the last one plain."""
    model = on_paper(11)
    widths = [[layer.out_channels for layer in stage if isinstance(layer, nn.Conv2d)] for stage in model.decoder]
    assert widths == [[512, 512, 512], [512, 512, 256], [256, 256, 128], [128, 64], [64]]
    assert model.classifier.kernel_size == (3, 3)
    for stage in model.decoder:
        assert [type(layer) for layer in stage] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * (len(stage) // 3)


def test_sizes_of_camvid() -> None:
    """Fact sheet, section 1: 360 x 480 has maps of 23 x 30 at stride 16, and 12 x 15 at 32: halves are rounded up."""
    model, seen = on_paper(11), []
    for stage in (*model.backbone, *model.decoder):
        stage.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[-2:])))
    assert model(torch.empty(1, 3, 360, 480, device="meta")).shape == (1, 11, 360, 480)
    down = [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30)]
    assert seen == [*down, *down[::-1]]
    for variant, output_stride in (("vgg16", 32), ("basic", 16)):
        assert on_paper(2, variant=variant).output_stride == output_stride


def pool_with_places(features: Tensor) -> tuple[Tensor, list[tuple[int, int, int, int, int, int]]]:
    """Take the maximum of every 2x2 window, clipped at the border; remember where each one stood."""
    batch, channels, height, width = features.shape
    rows, columns = -(-height // 2), -(-width // 2)
    pooled, places = features.new_zeros(batch, channels, rows, columns), []
    for b, c, row, column in itertools.product(range(batch), range(channels), range(rows), range(columns)):
        cells = itertools.product(
            range(2 * row, min(2 * row + 2, height)), range(2 * column, min(2 * column + 2, width))
        )
        y, x = max(cells, key=lambda cell: features[b, c, cell[0], cell[1]].item())
        pooled[b, c, row, column] = features[b, c, y, x]
        places.append((b, c, row, column, y, x))
    return pooled, places


def naive_unpool(features: Tensor, places: list[tuple[int, int, int, int, int, int]], size: torch.Size) -> Tensor:
    """Put every value where the maximum stood, and zeros elsewhere."""
    result = features.new_zeros(*features.shape[:2], *size)
    for b, c, row, column, y, x in places:
        result[b, c, y, x] = features[b, c, row, column]
    return result


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_unpooling_puts_values_where_the_maxima_were(size: tuple[int, int]) -> None:
    features, other = torch.randn(2, 3, *size), torch.randn(2, 3, -(-size[0] // 2), -(-size[1] // 2))
    pooled, indices = F.max_pool2d(features, 2, ceil_mode=True, return_indices=True)
    naively_pooled, places = pool_with_places(features)
    assert torch.equal(pooled, naively_pooled)
    unpooled = unpool(other, indices, size)
    assert torch.equal(unpooled, naive_unpool(other, places, torch.Size(size)))
    assert torch.equal(unpooled, F.max_unpool2d(other, indices, (2, 2), output_size=size))
    assert int((unpooled != 0).sum()) == other.numel()


class Reference:
    """The fact sheet's words (section 6) on a state dict, with functions and loops only."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, conv: str, norm: str | None = None, relu: bool = True) -> Tensor:
        weight = self.state[f"{conv}.weight"]
        x = F.conv2d(x, weight, self.state.get(f"{conv}.bias"), padding=weight.shape[-1] // 2)
        if norm is not None:
            names = ("running_mean", "running_var", "weight", "bias")
            mean, var, gamma, beta = (self.state[f"{norm}.{name}"].view(1, -1, 1, 1) for name in names)
            x = (x - mean) / (var + 1e-5).sqrt() * gamma + beta
        return x.clamp(min=0) if relu and norm is not None else x

    def __call__(self, x: Tensor, convs_down: list[int], convs_up: list[int], relu_up: bool) -> Tensor:
        pools = []
        for stage, convs in enumerate(convs_down):
            for index in range(convs):
                x = self.conv(x, f"backbone.{stage}.{3 * index}", f"backbone.{stage}.{3 * index + 1}")
            size = x.shape[-2:]
            x, places = pool_with_places(x)
            pools.append((places, size))
        for stage, convs in enumerate(convs_up):
            x = naive_unpool(x, *pools.pop())
            for index in range(convs):
                x = self.conv(x, f"decoder.{stage}.{3 * index}", f"decoder.{stage}.{3 * index + 1}", relu_up)
        return self.conv(x, "classifier")


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("size", [(33, 38), (32, 64)])
@torch.no_grad()
def test_logits_equal_an_independent_implementation(size: tuple[int, int]) -> None:
    model, image = small(), torch.randn(1, 3, *size, dtype=torch.float64)
    expected = Reference(model.state_dict())(image, [2, 2, 3, 3, 3], [3, 3, 3, 2, 1], True)
    assert expected.std() > 0.01
    assert torch.allclose(model(image), expected, atol=1e-10)


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("size", [(33, 38), (32, 48)])
@torch.no_grad()
def test_basic_equals_an_independent_implementation(size: tuple[int, int]) -> None:
    """Its input is divided by (1 + 1e-4 / 5 * the sum of squares over the channels) ** 0.75."""
    model, image = small(variant="basic"), 100 * torch.randn(1, 3, *size, dtype=torch.float64)
    normalised = image / (1 + 1e-4 / 5 * image.square().sum(1, keepdim=True)) ** 0.75
    assert (normalised / image).min() < 0.8
    expected = Reference(model.state_dict())(normalised, [1] * 4, [1] * 4, False)
    assert expected.std() > 0.01
    assert torch.allclose(model(image), expected, atol=1e-10)


@pytest.mark.usefixtures("_narrow")
def test_the_encoder_starts_from_imagenet_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg, "FC_CHANNELS", 4)
    channels = [3, *itertools.chain.from_iterable(WIDTHS)]
    state = {"classifier.0.weight": torch.zeros(4, 8 * 49), "classifier.3.weight": torch.zeros(4, 4)}
    state |= {"classifier.0.bias": torch.zeros(4), "classifier.3.bias": torch.zeros(4)}
    for index in range(13):
        state[f"features.{2 * index}.weight"] = torch.randn(channels[index + 1], channels[index], 3, 3)
        state[f"features.{2 * index}.bias"] = torch.randn(channels[index + 1])
    torch.save(state, tmp_path / "vgg16.pth")
    model = SegNet(3, pretrained=str(tmp_path / "vgg16.pth"))
    convs = [layer for stage in model.backbone for layer in stage if isinstance(layer, nn.Conv2d)]
    for index, conv in enumerate(convs):
        assert torch.equal(conv.weight, state[f"features.{2 * index}.weight"])
        assert torch.equal(conv.bias, state[f"features.{2 * index}.bias"])


def test_start_values() -> None:
    torch.manual_seed(0)
    for variant in ("vgg16", "basic"):
        model = SegNet(11, variant=variant)
        assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.2)
        assert torch.all(model.classifier.bias == 0)
        kernels = [p for p in (*model.backbone.parameters(), *model.decoder.parameters()) if p.ndim == 4]
        for kernel in kernels:
            assert kernel.std().item() == pytest.approx((2 / kernel[0].numel()) ** 0.5, rel=0.1)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"--model.variant is 'vgg'; expected .*, basic\. Did you mean 'vgg16'\?"):
        SegNet(2, variant="vgg")
    with pytest.raises(ConfigError, match=r"SegNet-Basic has no ImageNet weights.*pretrained false.*variant vgg16"):
        SegNet(2, variant="basic", pretrained=True)
