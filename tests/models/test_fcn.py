"""FCN: counts to the unit, logits that lie over their pixels, and an independent implementation."""

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
from deeplab_lightning.models import FCN, fcn
from deeplab_lightning.models.fcn import BilinearDeconvolution, FCNBackbone, bilinear_kernel

from .base import FullSizeLogitsTests

WIDTHS = ((4, 4), (5, 5), (6, 6, 6), (7, 7, 7), (8, 8, 8))
FC_CHANNELS = 12


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with few channels."""
    for module in (vgg, fcn):
        monkeypatch.setattr(module, "VGG16_WIDTHS", WIDTHS)
        monkeypatch.setattr(module, "FC_CHANNELS", FC_CHANNELS)


def randomise_scores(model: FCN) -> None:
    """Give the score layers, which start at zero, something to say."""
    for score in (model.classifier, model.score_pool4, model.score_pool3):
        if score is not None:
            nn.init.normal_(score.weight)
            nn.init.normal_(score.bias)


@pytest.mark.usefixtures("_narrow")
class FCNTests(FullSizeLogitsTests):
    model_class = FCN
    output_strides = ()  # 16s and 8s have score layers that 32s has not
    align_corners = ()

    def build(self, num_classes: int = 5, **options: Any) -> FCN:
        model = super().build(num_classes, **options)
        randomise_scores(model)
        return model


class TestFCN8s(FCNTests):
    options = {"output_stride": 8}  # noqa: RUF012


class TestFCN16s(FCNTests):
    options = {"output_stride": 16}  # noqa: RUF012


class TestFCN32s(FCNTests):
    options = {"output_stride": 32}  # noqa: RUF012


@pytest.mark.parametrize(("output_stride", "count"), [(32, 134_346_581), (16, 134_357_354), (8, 134_362_751)])
def test_parameter_counts(output_stride: Any, count: int) -> None:
    """Fact sheet, section 11: without the fixed deconvolutions, which are neither trained nor saved."""
    with torch.device("meta"):
        model = FCN(21, output_stride=output_stride)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert sum(value.numel() for value in model.state_dict().values()) == count
    assert model.output_stride == output_stride


# --- the bilinear deconvolution -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 16, 32, 64])
def test_the_kernel_is_the_published_formula(size: int) -> None:
    """Fact sheet, section 6: f = (k + 1) // 2, centre f - 0.5 for even k, (1 - |x - c| / f)(1 - |y - c| / f)."""
    f = (size + 1) // 2
    centre = f - 0.5
    expected = [[(1 - abs(x - centre) / f) * (1 - abs(y - centre) / f) for x in range(size)] for y in range(size)]
    assert torch.allclose(bilinear_kernel(size), torch.tensor(expected), atol=1e-7)


@pytest.mark.parametrize("factor", [2, 32])
def test_deconvolution_adds_up_kernels_class_by_class(factor: int) -> None:
    scores, kernel = torch.randn(2, 3, 4, 5), bilinear_kernel(2 * factor)
    expected = torch.zeros(2, 3, factor * 5, factor * 6)
    for b, c, row, column in itertools.product(range(2), range(3), range(4), range(5)):
        top, left = factor * row, factor * column
        expected[b, c, top : top + 2 * factor, left : left + 2 * factor] += scores[b, c, row, column] * kernel
    assert torch.allclose(BilinearDeconvolution(factor)(scores), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_constant_scores_stay_constant_inside_and_fade_outside(factor: int) -> None:
    enlarged = BilinearDeconvolution(factor)(torch.ones(1, 2, 3, 4))
    assert torch.allclose(enlarged[..., factor:-factor, factor:-factor], torch.ones(()), atol=1e-5)
    ramp = (torch.arange(factor) + 0.5) / factor
    assert torch.allclose(enlarged[0, 0, factor, :factor], ramp, atol=1e-5)
    assert torch.allclose(enlarged[0, 0, factor, -factor:], ramp.flip(0), atol=1e-5)


# --- logits lie over their pixels -----------------------------------------------------------------------------------

CENTRES = {"pool3": (8, -95.5, 44), "pool4": (16, -91.5, 100), "fc7": (32, 12.5, 404)}
"""Stride, pixel over which entry 0 lies, and width of what an entry sees (fact sheet, section 11: 404 at fc6)."""


@pytest.mark.parametrize("pixel", [0, 37, 202, 310, 418])
@torch.no_grad()
def test_where_the_entries_of_the_maps_lie(pixel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single bright pixel wakes just the entries whose field of view, around their centre, it is in."""
    for module in (vgg, fcn):
        monkeypatch.setattr(module, "VGG16_WIDTHS", ((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)))
        monkeypatch.setattr(module, "FC_CHANNELS", 1)
    backbone = FCNBackbone(vgg.VGGOptions(dropout=0.0), 1).double()
    for name, parameter in backbone.named_parameters():
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    image = torch.zeros(1, 1, 1, 419, dtype=torch.float64)
    image[..., pixel] = 1
    maps = dict(zip(CENTRES, backbone(image), strict=True))
    for name, (stride, start, width) in CENTRES.items():
        awake = (maps[name].amax((0, 1, 2)) > 0).nonzero().flatten().tolist()
        centres = [stride * entry + start for entry in range(maps[name].shape[-1])]
        assert awake == [entry for entry, centre in enumerate(centres) if abs(pixel - centre) < width / 2], name
        assert awake


class Coordinates(nn.Module):
    """A trunk whose maps say over which row and column of the image their entries lie."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for name, fewer in (("pool3", 0), ("pool4", 0), ("fc7", 6)):
            stride, start, _ = CENTRES[name]
            rows, columns = (
                stride * torch.arange(-(-(side + 198) // stride) - fewer) + start for side in image.shape[-2:]
            )
            maps.append(torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None])
        return tuple(maps)


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize(
    ("output_stride", "source"),
    [(32, "fc7"), (16, "fc7"), (16, "pool4"), (8, "fc7"), (8, "pool4"), (8, "pool3")],
)
@pytest.mark.parametrize("size", [(129, 200), (161, 96)])
@torch.no_grad()
def test_logits_lie_over_their_pixels(output_stride: Any, source: str, size: tuple[int, int]) -> None:
    """Scores that name their place are interpolated to the place of every pixel, away from the border."""
    model = FCN(2, output_stride=output_stride)
    scores = {"fc7": "classifier", "pool4": "score_pool4", "pool3": "score_pool3"}
    model.backbone = Coordinates()
    for name, layer in scores.items():
        conv = nn.Conv2d(2, 2, 1)
        conv.weight.copy_(torch.eye(2).view(2, 2, 1, 1) * (name == source))
        conv.bias.zero_()
        if getattr(model, layer) is not None:
            setattr(model, layer, conv)
    logits = model(torch.zeros(1, 3, *size))
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in size)
    inside = (slice(45, -45), slice(45, -45))
    if source == "fc7":  # its scores end at the border, where they fade
        assert not torch.allclose(logits[0, 0], rows[:, None].expand(size), atol=1)
    assert torch.allclose(logits[0, 0][inside], rows[:, None].expand(size)[inside], atol=1e-3)
    assert torch.allclose(logits[0, 1][inside], columns.expand(size)[inside], atol=1e-3)


# --- an independent implementation ----------------------------------------------------------------------------------


class Reference:
    """The published network, layer by layer, on a state dict, with functions only."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, key: str, padding: int = 0) -> Tensor:
        return F.conv2d(x, self.state[f"{key}.weight"], self.state[f"{key}.bias"], padding=padding)

    @staticmethod
    def deconv(x: Tensor, size: int) -> Tensor:
        """A dense kernel with the bilinear one on its diagonal, as in Caffe's files."""
        weight = x.new_zeros(x.shape[1], x.shape[1], size, size)
        weight[range(x.shape[1]), range(x.shape[1])] = bilinear_kernel(size).to(x)
        return F.conv_transpose2d(x, weight, stride=size // 2)

    def __call__(self, image: Tensor, output_stride: int, scales: tuple[float, float]) -> Tensor:
        x, pools = image, []
        for stage, convs in enumerate((2, 2, 3, 3, 3)):
            for index in range(convs):
                padding = 100 if stage == index == 0 else 1
                x = self.conv(x, f"backbone.stages.{stage}.{2 * index}", padding).clamp(min=0)
            x = F.max_pool2d(x, 2, ceil_mode=True)
            pools.append(x)
        x = self.conv(self.conv(x, "backbone.fc6").clamp(min=0), "backbone.fc7").clamp(min=0)
        x = self.conv(x, "classifier")
        if output_stride <= 16:
            x = self.deconv(x, 4)
            skip = self.conv(pools[3] * scales[0], "score_pool4")
            x = x + skip[..., 5 : 5 + x.shape[2], 5 : 5 + x.shape[3]]
        if output_stride == 8:
            x = self.deconv(x, 4)
            skip = self.conv(pools[2] * scales[1], "score_pool3")
            x = x + skip[..., 9 : 9 + x.shape[2], 9 : 9 + x.shape[3]]
        first = {32: 19, 16: 27, 8: 31}[output_stride]
        x = self.deconv(x, 2 * output_stride)
        return x[..., first : first + image.shape[2], first : first + image.shape[3]]


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("output_stride", [32, 16, 8])
@torch.no_grad()
def test_logits_equal_an_independent_implementation(output_stride: Any, at_once: bool) -> None:
    torch.manual_seed(0)
    model = FCN(4, output_stride=output_stride, at_once=at_once).double().eval()
    randomise_scores(model)
    for name, parameter in model.named_parameters():
        if name.startswith("backbone") and name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    image = torch.randn(2, 3, 65, 50, dtype=torch.float64)
    scales = (0.01, 0.0001) if at_once else (1.0, 1.0)
    expected = Reference(model.state_dict())(image, output_stride, scales)
    assert expected.std() > 0.01
    assert torch.allclose(model(image), expected, atol=1e-10)


# --- start ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_narrow")
def test_scores_start_at_zero_and_the_trunk_learns_from_the_second_step_on() -> None:
    torch.manual_seed(0)
    model, image = FCN(5, dropout=0.0), torch.randn(1, 3, 33, 33)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    target = torch.randint(0, 5, (1, 33, 33))
    assert torch.all(model(image) == 0)
    for step in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(image), target).backward()
        trunk = [parameter.grad for parameter in model.backbone.parameters()]
        assert all((gradient.abs().sum() > 0) == (step > 0) for gradient in trunk if gradient.ndim == 4)
        scores = [layer.weight.grad for layer in (model.classifier, model.score_pool4, model.score_pool3)]
        assert all(gradient.abs().sum() > 0 for gradient in scores)
        optimizer.step()


@pytest.mark.usefixtures("_narrow")
@torch.no_grad()
def test_a_finer_network_starts_from_a_coarser_one() -> None:
    """Its state dict is the coarser one with one score layer more; started so, it says nearly the same."""
    torch.manual_seed(0)
    image, coarse = torch.randn(1, 3, 97, 97), FCN(3, output_stride=32).eval()
    randomise_scores(coarse)
    expected = coarse(image)
    for output_stride, new in ((16, {"score_pool4"}), (8, {"score_pool4", "score_pool3"})):
        fine = FCN(3, output_stride=output_stride).eval()
        missing, unexpected = fine.load_state_dict(coarse.state_dict(), strict=False)
        assert {key.split(".")[0] for key in missing} == new
        assert unexpected == []
        assert (fine(image) - expected).abs().mean() < 0.1 * expected.abs().mean()


@pytest.mark.usefixtures("_narrow")
def test_it_starts_from_imagenet_weights(tmp_path: Path) -> None:
    channels = [3, *itertools.chain.from_iterable(WIDTHS)]
    state = {"classifier.0.weight": torch.randn(FC_CHANNELS, 8 * 49), "classifier.0.bias": torch.randn(FC_CHANNELS)}
    state |= {
        "classifier.3.weight": torch.randn(FC_CHANNELS, FC_CHANNELS),
        "classifier.3.bias": torch.randn(FC_CHANNELS),
    }
    for index in range(13):
        state[f"features.{2 * index}.weight"] = torch.randn(channels[index + 1], channels[index], 3, 3)
        state[f"features.{2 * index}.bias"] = torch.randn(channels[index + 1])
    torch.save(state, tmp_path / "vgg16.pth")
    model = FCN(3, pretrained=str(tmp_path / "vgg16.pth"))
    convs = [layer for stage in model.backbone.stages for layer in stage if isinstance(layer, nn.Conv2d)]
    assert all(torch.equal(conv.weight, state[f"features.{2 * i}.weight"]) for i, conv in enumerate(convs))
    assert torch.equal(model.backbone.fc6.weight.flatten(1), state["classifier.0.weight"])
    assert torch.equal(model.backbone.fc7.weight.flatten(1), state["classifier.3.weight"])
    assert torch.equal(model.backbone.fc6.bias, state["classifier.0.bias"])
    assert torch.all(model.classifier.weight == 0)


def test_another_output_stride() -> None:
    with pytest.raises(ConfigError, match=r"--model.output_stride is 4; expected one of 8, 16, 32"):
        FCN(2, output_stride=4)
