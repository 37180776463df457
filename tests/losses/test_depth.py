"""Losses of depth: the figures written out by hand, and unknown pixels that move nothing."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from deeplab_lightning.losses.depth import DepthOptions, depth_l1, scale_invariant


def test_figures_by_hand() -> None:
    depth = torch.tensor([[[1.0, 2.0], [4.0, 0.0]]])
    log_depth = torch.tensor([[[math.log(2.0), math.log(2.0)], [math.log(2.0), 9.0]]])
    two = math.log(2.0)
    expected = (2 * two**2) / 3 - 0.5 * (two + 0 - two) ** 2 / 9  # ln 2, 0 and -ln 2: their mean is 0
    assert scale_invariant(log_depth, depth).item() == pytest.approx(expected, rel=1e-6)
    shifted = scale_invariant(log_depth + 1, depth).item()
    assert shifted == pytest.approx(expected + 1 - 0.5, rel=1e-6)  # the mean square grows by 1, its half is taken off
    assert scale_invariant(log_depth + 1, depth, share=1.0).item() == pytest.approx(expected, rel=1e-5)
    assert depth_l1(log_depth, depth).item() == pytest.approx((1 + 0 + 2) / 3, rel=1e-6)


def test_images_count_by_their_known_pixels() -> None:
    torch.manual_seed(0)
    log_depth, depth = torch.randn(2, 4, 5, dtype=torch.float64), torch.rand(2, 4, 5, dtype=torch.float64) + 0.1
    depth[1, :3] = 0
    parts = [scale_invariant(log_depth[i : i + 1], depth[i : i + 1]).item() for i in range(2)]
    assert scale_invariant(log_depth, depth).item() == pytest.approx((20 * parts[0] + 5 * parts[1]) / 25)


@pytest.mark.parametrize("kind", ["scale_invariant", "l1"])
@pytest.mark.parametrize("unknown", [0.0, -1.0, math.nan, math.inf])
def test_unknown_depth_moves_nothing(kind: Literal["scale_invariant", "l1"], unknown: float) -> None:
    torch.manual_seed(0)
    log_depth = torch.randn(1, 3, 3, requires_grad=True)
    depth = torch.rand(1, 3, 3) + 0.5
    depth[0, 1] = unknown
    loss = DepthOptions(weight=0.5, form=kind)(log_depth, depth)
    alone = {"scale_invariant": scale_invariant, "l1": depth_l1}[kind]
    assert loss.item() == pytest.approx(0.5 * alone(log_depth, depth).item())
    loss.backward()
    assert loss.isfinite()
    assert log_depth.grad is not None
    assert (log_depth.grad[0, 1] == 0).all()
    assert (log_depth.grad[0, [0, 2]] != 0).all()
    nothing = DepthOptions(form=kind)(log_depth, torch.full_like(depth, unknown))
    nothing.backward()
    assert nothing.item() == 0
    assert log_depth.grad.isfinite().all()


def test_a_wild_prediction_stays_finite() -> None:
    log_depth = torch.full((1, 2, 2), 500.0, requires_grad=True)
    depth_l1(log_depth, torch.ones(1, 2, 2)).backward()
    assert log_depth.grad is not None
    assert log_depth.grad.isfinite().all()
