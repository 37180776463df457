"""VGG16: its stages, and its ImageNet weights in every layout, whole and decimated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.models.vgg import VGG, ConvMlp
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.backbones import vgg
from deeplab_lightning.backbones.vgg import (
    imagenet_vgg16,
    load_fully_connected,
    load_stages,
    vgg16_from_state_dict,
    vgg16_stages,
    vgg_stage,
)
from deeplab_lightning.errors import ConfigError

WIDTHS = ((4, 4), (5, 5), (6, 6, 6), (7, 7, 7), (8, 8, 8))
FC_CHANNELS = 32

# --- stages ---------------------------------------------------------------------------------------------------------


def test_stages_are_those_of_vgg16() -> None:
    with torch.device("meta"):
        stages = vgg16_stages(conv5_rate=2)
    convs = [layer for layer in stages.modules() if isinstance(layer, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [conv.dilation[0] for conv in convs] == [1] * 10 + [2] * 3
    assert [conv.padding[0] for conv in convs] == [1] * 10 + [2] * 3
    assert sum(parameter.numel() for parameter in stages.parameters()) == 14_714_688


def test_a_stage_is_convolutions_and_relus() -> None:
    torch.manual_seed(0)
    stage, image = vgg_stage(3, (4, 5), atrous_rate=3), torch.randn(2, 3, 9, 8)
    expected = image
    for conv in (stage[0], stage[2]):
        nn.init.normal_(conv.bias)
        expected = F.conv2d(expected, conv.weight, conv.bias, padding=3, dilation=3).clamp(min=0)
    assert torch.allclose(stage(image), expected, atol=1e-6)


def test_batch_norm_stands_between_convolution_and_relu() -> None:
    stage = vgg_stage(3, (4, 5), norm=True)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2
    assert [type(layer) for layer in stage] == kinds
    assert stage[0].bias is not None


def test_activations_keep_their_size_from_scratch() -> None:
    """Without batch norm nothing else would keep them from vanishing or exploding over 13 layers."""
    torch.manual_seed(0)
    features = torch.randn(1, 3, 33, 33)
    for stage in vgg16_stages():
        with torch.no_grad():
            features = stage(features)
        assert 0.1 < features.square().mean() < 10


# --- weights --------------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> VGG:
    """Return timm's VGG16 of few channels, with random weights, and take ours to be as narrow."""
    monkeypatch.setattr(vgg, "VGG16_WIDTHS", WIDTHS)
    monkeypatch.setattr(vgg, "FC_CHANNELS", FC_CHANNELS)
    torch.manual_seed(0)
    with torch.device("meta"):
        network = VGG([layer for widths in WIDTHS for layer in (*widths, "M")], num_classes=0)
        network.pre_logits = ConvMlp(WIDTHS[-1][-1], FC_CHANNELS, 7)
    network.to_empty(device="cpu")
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1)
    return network.eval()


def as_timm(network: VGG) -> dict[str, Tensor]:
    return dict(network.state_dict())


def as_torchvision(network: VGG) -> dict[str, Tensor]:
    state = dict(network.state_dict())
    for index, name in ((0, "pre_logits.fc1"), (3, "pre_logits.fc2")):
        state[f"classifier.{index}.weight"] = state.pop(f"{name}.weight").flatten(1)
        state[f"classifier.{index}.bias"] = state.pop(f"{name}.bias")
    return state


LAYOUTS: list[Callable[[VGG], dict[str, Tensor]]] = [as_timm, as_torchvision]


def fully_connected(kernel_size: int = 7, channels: int = FC_CHANNELS, rate: int = 1) -> tuple[nn.Conv2d, nn.Conv2d]:
    return nn.Conv2d(WIDTHS[-1][-1], channels, kernel_size, dilation=rate), nn.Conv2d(channels, channels, 1)


@pytest.mark.parametrize("source", [timm.create_model, torchvision.models.get_model])
def test_the_layouts_are_those_of_timm_and_torchvision(source: Callable[[str], nn.Module]) -> None:
    """At full width; without memory, for names and shapes are all that is read."""
    with torch.device("meta"):
        state = source("vgg16").state_dict()
    weights = vgg16_from_state_dict(state, "it")
    assert [tuple(weight.shape[:2]) for weight, _ in weights.convs[:3]] == [(64, 3), (64, 64), (128, 64)]
    assert weights.fc6[0].shape == (4096, 512, 7, 7)
    assert weights.fc7[0].shape == (4096, 4096, 1, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_whole_weights_compute_what_timm_computes(narrow: VGG, layout: Callable[[VGG], dict[str, Tensor]]) -> None:
    """As VGG16 itself: 2x2 pools with stride, and fc6 without padding."""
    stages, (fc6, fc7) = vgg16_stages(), fully_connected()
    weights = vgg16_from_state_dict(layout(narrow), "it")
    load_stages(stages, weights)
    load_fully_connected(fc6, fc7, weights, seed=5)
    image = features = torch.randn(1, 3, 224, 224)
    for stage in stages:
        features = F.max_pool2d(stage(features), 2)
    features = fc7(fc6(features).relu()).relu()
    expected = narrow.pre_logits(narrow.features(image))
    assert expected.std() > 1e-3
    assert torch.allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_weights_from_a_file(narrow: VGG, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(as_timm(narrow), path)
    weights = imagenet_vgg16(str(path))
    assert weights is not None
    assert torch.equal(weights.convs[12][0], narrow.features[28].weight)


@pytest.mark.parametrize(("kernel_size", "taps"), [(3, [0, 3, 6]), (4, [0, 2, 4, 6]), (7, list(range(7)))])
def test_decimation_keeps_taps_and_a_subset_of_filters(narrow: VGG, kernel_size: int, taps: list[int]) -> None:
    weights = vgg16_from_state_dict(as_timm(narrow), "it")
    fc6, fc7 = fully_connected(kernel_size, channels=10)
    load_fully_connected(fc6, fc7, weights, seed=0)
    kept = [int((weights.fc6[1] == bias).nonzero()) for bias in fc6.bias.detach()]
    kept7 = [int((weights.fc7[1] == bias).nonzero()) for bias in fc7.bias.detach()]
    assert len(set(kept)) == len(set(kept7)) == 10
    assert kept != list(range(10))
    assert kept != kept7
    assert torch.equal(fc6.weight, weights.fc6[0][kept][:, :, taps][:, :, :, taps])
    assert torch.equal(fc7.weight, weights.fc7[0][kept7][:, kept])


def test_the_subset_follows_the_seed(narrow: VGG) -> None:
    weights = vgg16_from_state_dict(as_timm(narrow), "it")
    biases = []
    for seed in (0, 0, 1):
        fc6, fc7 = fully_connected(3, channels=10)
        load_fully_connected(fc6, fc7, weights, seed)
        biases.append(fc6.bias.detach())
    assert torch.equal(biases[0], biases[1])
    assert not torch.equal(biases[0], biases[2])


@pytest.mark.parametrize(("kernel_size", "rate"), [(3, 12), (4, 8)])
@torch.no_grad()
def test_kept_taps_read_what_they_read_in_the_whole_kernel(narrow: VGG, kernel_size: int, rate: int) -> None:
    """A 7x7 kernel at rate 4 whose other taps are zero equals the decimated one at the paper's rate."""
    weights = vgg16_from_state_dict(as_timm(narrow), "it")
    step = 6 // (kernel_size - 1)
    sparse = torch.zeros_like(weights.fc6[0])
    sparse[..., ::step, ::step] = weights.fc6[0][..., ::step, ::step]
    weights = weights._replace(fc6=(sparse, weights.fc6[1]))
    whole, small = fully_connected(7, rate=4), fully_connected(kernel_size, rate=rate)
    for fc6, fc7 in (whole, small):
        load_fully_connected(fc6, fc7, weights)
    features = torch.randn(1, WIDTHS[-1][-1], 27, 26)
    assert torch.allclose(whole[0](features), small[0](features), atol=1e-6)


@pytest.mark.parametrize("in_channels", [1, 3, 4])
@torch.no_grad()
def test_images_of_other_channels(narrow: VGG, in_channels: int) -> None:
    """A grey image gives the same whether it has one channel or three equal ones."""
    stages = vgg16_stages(in_channels)
    load_stages(stages, vgg16_from_state_dict(as_timm(narrow), "it"))
    grey = torch.randn(1, 1, 5, 5)
    first = stages[0][0](grey.expand(-1, in_channels, -1, -1))
    if in_channels < 4:
        assert torch.allclose(first, narrow.features[0](grey.expand(-1, 3, -1, -1)), atol=1e-5)
    assert stages[0][0].weight.shape[1] == in_channels


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("features.0.weight"), r"no plain VGG16: it has 12 .* 13 convolutions"),
        (without("features.28.bias"), r"no features\.28\.bias: .*torchvision"),
        (without("pre_logits.fc1.weight"), r"no classifier\.0\.weight: .*pre_logits\.fc1"),
        (without("pre_logits.fc2.bias"), r"no pre_logits\.fc2\.bias"),
        (lambda state: {**state, "features.1.running_mean": torch.zeros(4)}, r"batch norms among them.*not a relative"),
        (
            lambda state: {**state, "features.2.weight": torch.zeros(2, 8, 3, 3)},
            r"\(2, 8, 3, 3\), where VGG16 has \(4,",
        ),
        (lambda state: {}, r"no plain VGG16: it has 0 "),
        (lambda state: {"epoch": 3, "model": state}, r"does not hold a state dict .*save model\.state_dict\(\) alone"),
        (lambda state: 5, r"does not hold a state dict"),
    ],
)
def test_files_that_will_not_do(narrow: VGG, tmp_path: Path, change: Callable[[Any], Any], expected: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(change(as_timm(narrow)), path)
    with pytest.raises(ConfigError, match=expected) as caught:
        imagenet_vgg16(path)
    assert "weights.pth" in str(caught.value)


@pytest.mark.parametrize("name", ["torn.pth", "torn.safetensors"])
def test_torn_and_missing_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigError, match=rf"No file .*{name}.*a file that exists"):
        imagenet_vgg16(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=rf"{name}' could not be read"):
        imagenet_vgg16(path)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(timm, "create_model", offline)
    assert imagenet_vgg16(False) is None
    with pytest.raises(ConfigError, match=r"could not be loaded \(no route\)\..*pretrained FILE.*pretrained false"):
        imagenet_vgg16(True)


def test_weights_that_are_fetched(narrow: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: asked.append((name, pretrained)) or narrow)
    weights = imagenet_vgg16(True)
    assert asked == [("vgg16", True)]
    assert weights is not None
    assert torch.equal(weights.fc7[0], narrow.pre_logits.fc2.weight)
