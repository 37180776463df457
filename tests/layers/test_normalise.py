"""From stored pixels to what a network takes in."""

from __future__ import annotations

import pytest
import torch

from deeplab_lightning.layers import Normalise

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize(("dtype", "pixel_range"), [(torch.uint8, 255.0), (torch.int32, 65535.0), (torch.float32, 1.0)])
def test_formula(dtype: torch.dtype, pixel_range: float) -> None:
    values = torch.linspace(0, pixel_range, 256, dtype=torch.float64).to(dtype)
    image = values.view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    mean, std = torch.tensor(MEAN).double().view(3, 1, 1), torch.tensor(STD).double().view(3, 1, 1)
    normalised = Normalise(MEAN, STD, pixel_range)(image)
    assert normalised.dtype == torch.float32
    assert (normalised - (image.double() / pixel_range - mean) / std).abs().max() < 1e-6


def test_zero_is_the_mean_pixel() -> None:
    mean_pixel = torch.tensor([255 * value for value in MEAN]).view(1, 3, 1, 1)
    assert Normalise(MEAN, STD)(mean_pixel).abs().max() < 1e-6


def test_checkpoints_do_not_hold_it() -> None:
    assert Normalise(MEAN, STD).state_dict() == {}
