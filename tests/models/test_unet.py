"""U-Net: the published sizes and counts, tiles that agree with larger ones, skips that fit, and any size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models import UNet
from deeplab_lightning.models.unet import extend_by_mirroring

from .base import FullSizeLogitsTests, randomise

PUBLISHED: dict[str, Any] = {"padding": "valid", "batch_norm": False}


class TestPadded(FullSizeLogitsTests):
    model_class = UNet
    options = {"base_width": 4}  # noqa: RUF012
    output_strides = (16,)
    align_corners = ()


class TestPublished(FullSizeLogitsTests):
    model_class = UNet
    options = {"base_width": 2, **PUBLISHED}  # noqa: RUF012
    output_strides = (16,)
    align_corners = ()


def on_paper(num_classes: int, **options: Any) -> UNet:
    """Build the network without memory for its weights: shapes are all that counting needs."""
    with torch.device("meta"):
        return UNet(num_classes, **options)


def small(seed: int = 0, **options: Any) -> UNet:
    """Build a network with logits of some size, in float64."""
    torch.manual_seed(seed)
    model = UNet(3, base_width=4, **options).double().eval()
    randomise(model)
    nn.init.normal_(model.classifier.weight)
    return model


@pytest.mark.parametrize(
    ("num_classes", "options", "count"),
    [(2, {"in_channels": 1, **PUBLISHED}, 31_030_658), (21, {}, 31_038_933)],
)
def test_parameter_counts(num_classes: int, options: dict[str, Any], count: int) -> None:
    """Fact sheet, section 11: 1 channel, 2 classes, no batch norm; 3 channels, 21 classes, batch norm, no conv bias."""
    model = on_paper(num_classes, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_the_published_tile() -> None:
    """572 in, 388 out; 1024 channels of 28 x 28 at the bottom."""
    model = on_paper(2, in_channels=1, **PUBLISHED)
    seen: list[torch.Size] = []
    model.encoder[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    assert model.tile_logits(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)
    assert seen == [(1, 1024, 28, 28)]


@pytest.mark.parametrize("side", [512, 573, 172])
def test_a_tile_that_would_shift_the_logits_is_refused(side: int) -> None:
    with pytest.raises(ConfigError, match=rf"tile of {side}x572 .* must be 16 k \+ 12 and at least 188, such as \d+"):
        on_paper(2, **PUBLISHED).tile_logits(torch.empty(1, 3, side, 572, device="meta"))


@torch.no_grad()
def test_tiles_agree_with_a_larger_image() -> None:
    """The overlap-tile strategy: logits of a window, moved by 16 pixels, are the window of the logits."""
    model, image = small(**PUBLISHED), torch.randn(1, 3, 236, 252, dtype=torch.float64)
    whole = model.tile_logits(image)
    assert whole.std() > 0.01
    for top, left in [(0, 0), (16, 48), (32, 16)]:
        tile = model.tile_logits(image[..., top : top + 204, left : left + 204])
        assert torch.allclose(tile, whole[..., top : top + 20, left : left + 20], atol=1e-12)
    shifted = model.tile_logits(image[..., 8:212, 8:212])
    assert not torch.allclose(shifted, whole[..., 8:28, 8:28], atol=1e-3)  # 8 is no period of four pools


@pytest.mark.parametrize(("width", "right"), [(132, 92), (117, 92 + 15)])
@torch.no_grad()
def test_an_image_is_segmented_as_the_middle_of_its_mirrored_extension(width: int, right: int) -> None:
    """116 and 132 need 92 pixels more on each side to be a tile, 16 k + 12; 117 needs 15 besides."""
    model, image = small(**PUBLISHED), torch.randn(2, 3, 116, width, dtype=torch.float64)
    expected = model.tile_logits(F.pad(image, [92, right, 92, 92], mode="reflect"))[..., :width]
    assert torch.allclose(model(image), expected, atol=1e-12)


def test_mirroring_repeats_as_often_as_needed() -> None:
    row = torch.arange(5.0).expand(1, 1, 5, 5)
    period = [0, 1, 2, 3, 4, 3, 2, 1]
    extended = extend_by_mirroring(row, (100, 200))
    assert extended.shape == (1, 1, 100, 200)
    assert extended[0, 0, 0].tolist() == [period[(column - 92) % 8] for column in range(200)]
    assert torch.equal(extended, extended[:, :, :1].expand_as(extended))
    column = extend_by_mirroring(row.transpose(2, 3), (100, 200))
    assert column[0, 0, :, 0].tolist() == [period[(line - 92) % 8] for line in range(100)]
    image = torch.randn(2, 3, 120, 95)
    expected = F.pad(image, [92, 94, 92, 100], mode="reflect")
    assert torch.equal(extend_by_mirroring(image, (312, 281)), expected)
    assert torch.all(extend_by_mirroring(torch.ones(1, 1, 1, 1), (188, 188)) == 1)


def symmetrise(model: nn.Module) -> None:
    """Make every kernel its own mirror image."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = (parameter + parameter.flip(2) + parameter.flip(3) + parameter.flip(2, 3)) / 4


@pytest.mark.parametrize(("options", "side"), [(PUBLISHED, 204), ({}, 64)])
@torch.no_grad()
def test_skips_lie_over_what_comes_up(options: dict[str, Any], side: int) -> None:
    """With symmetric kernels, a mirrored image has mirrored logits: a crop off the middle would break that."""
    model = small(**options)
    symmetrise(model)
    image = torch.randn(1, 3, side, side, dtype=torch.float64)
    logits = model.tile_logits(image)
    assert logits.std() > 0.01
    assert not torch.allclose(logits.flip(2, 3), logits, atol=1e-3)
    assert torch.allclose(model.tile_logits(image.flip(2, 3)).flip(2, 3), logits, atol=1e-10)


class Reference:
    """The fact sheet's words (section 6) on a state dict, with functions only; sides that 16 divides."""

    def __init__(self, state: dict[str, Tensor], norm: bool, padding: int) -> None:
        self.state, self.norm, self.padding = state, norm, padding

    def pair(self, x: Tensor, key: str) -> Tensor:
        for index in range(2):
            name = f"{key}.{index * (3 if self.norm else 2)}"
            x = F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), padding=self.padding)
            if self.norm:
                name = f"{key}.{index * 3 + 1}"
                names = ("running_mean", "running_var", "weight", "bias")
                mean, var, gamma, beta = (self.state[f"{name}.{part}"].view(1, -1, 1, 1) for part in names)
                x = (x - mean) / (var + 1e-5).sqrt() * gamma + beta
            x = x.clamp(min=0)
        return x

    def __call__(self, x: Tensor) -> Tensor:
        skips = []
        for level in range(4):
            x = self.pair(x, f"encoder.{level}")
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.pair(x, "encoder.4")
        for level in range(4):
            x = F.conv_transpose2d(x, self.state[f"up.{level}.weight"], self.state[f"up.{level}.bias"], stride=2)
            skip = skips.pop()
            cut = (skip.shape[-1] - x.shape[-1]) // 2
            skip = skip[..., cut : skip.shape[-2] - cut, cut : skip.shape[-1] - cut]
            x = self.pair(torch.cat([skip, x], 1), f"decoder.{level}")
        return F.conv2d(x, self.state["classifier.weight"], self.state["classifier.bias"])


@pytest.mark.parametrize(("padding", "side"), [("same", 64), ("valid", 204)])
@pytest.mark.parametrize("norm", [True, False])
@torch.no_grad()
def test_logits_equal_an_independent_implementation(padding: Any, norm: bool, side: int) -> None:
    model, tile = small(padding=padding, batch_norm=norm), torch.randn(2, 3, side, side, dtype=torch.float64)
    expected = Reference(model.state_dict(), norm, int(padding == "same"))(tile)
    assert expected.std() > 0.01
    assert torch.allclose(model.tile_logits(tile), expected, atol=1e-10)


@torch.no_grad()
def test_odd_sides_lose_nothing_in_the_padded_form() -> None:
    """The last row and column reach the bottom, where sides are rounded up, and the logits."""
    model, image = small(), torch.randn(1, 3, 33, 49, dtype=torch.float64)
    seen: list[torch.Size] = []
    model.encoder[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-2:]))
    logits = model(image)
    assert seen == [(3, 4)]
    image[..., -1] += 1
    assert (model(image) - logits)[..., -1].abs().max() > 0.01


def test_start_values() -> None:
    """The loss begins at ln(classes), and activations keep their size in both forms."""
    for options in ({}, PUBLISHED):
        torch.manual_seed(0)
        model = UNet(5, base_width=16, **options).eval()
        assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.3)
        assert torch.all(model.classifier.bias == 0)
        seen: list[float] = []
        model.decoder[-1].register_forward_hook(lambda module, inputs, output, s=seen: s.append(output.std().item()))
        with torch.no_grad():
            model(torch.randn(1, 3, 64, 64))
        assert 0.1 < seen[0] < 10


def test_an_unknown_padding() -> None:
    with pytest.raises(ConfigError, match=r"--model.padding is 'sane'; expected .*, same\. Did you mean 'same'\?"):
        UNet(2, padding="sane")
