"""The threshold that is chosen is the best of all, by the very decision that uses it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeplab_lightning.errors import DataError
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.metrics.deciding import Decision
from deeplab_lightning.metrics.threshold import BINS, BestThreshold

VOID = 255


def example(seed: int, size: tuple[int, int] = (20, 30)) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `(2, H, W)` that lean to the background, and labels with void."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(size, generator=generator) < 0.3).to(torch.uint8)
    z = 1.5 * torch.randn(size, generator=generator) + 2.0 * mask - 2.5
    mask[torch.rand(size, generator=generator) < 0.1] = VOID
    return torch.stack([torch.zeros_like(z), z]), mask


def foreground(logits: torch.Tensor) -> torch.Tensor:
    return (logits[1] - logits[0]).sigmoid()


def iou_at(threshold: float, images: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    predictor = Predictor(lambda x: x, lambda x: x, output_stride=1, align_corners=False, decision=Decision(threshold))
    hit = union = 0
    for logits, mask in images:
        pred, labelled = predictor.decide(logits[None])[0] == 1, mask != VOID
        hit += int((pred & (mask == 1) & labelled).sum())
        union += int(((pred | (mask == 1)) & labelled).sum())
    return hit / union


def test_it_is_the_best_of_all_thresholds() -> None:
    images = [example(seed) for seed in range(3)]
    search = BestThreshold(VOID)
    for number, (logits, mask) in enumerate(images):
        bands = [foreground(logits[:, :7]), foreground(logits[:, 7:])]  # as evaluation sees them
        search.update(torch.cat(bands), mask, str(number))
        search.update(torch.cat(bands).flip(0), mask, str(number))  # an image counts once
    best = search.best()
    ious = {step / BINS: iou_at(step / BINS, images) for step in range(1, BINS)}
    assert best.iou == pytest.approx(max(ious.values()), abs=1e-12)
    assert best.iou == pytest.approx(ious[best.value], abs=1e-12)
    assert best.value < 0.4  # the logits lean to the background
    assert best.iou > ious[0.5] + 0.05


def test_a_tie_at_the_threshold_is_decided_as_by_the_most_likely_class() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    half = Predictor(lambda x: x, lambda x: x, output_stride=1, align_corners=False, decision=Decision(0.5))
    plain = Predictor(lambda x: x, lambda x: x, output_stride=1, align_corners=False)
    assert torch.equal(half.decide(logits), plain.decide(logits))
    search = BestThreshold(VOID)
    search.update(foreground(logits[0]), torch.tensor([[0, 0]], dtype=torch.uint8), "a")
    search.update(foreground(torch.tensor([[[0.0]], [[0.1]]])), torch.tensor([[1]], dtype=torch.uint8), "b")
    assert search.best() == (0.5, 1.0)


def test_nothing_to_choose_by() -> None:
    search = BestThreshold(VOID)
    search.update(foreground(torch.zeros(2, 3, 3)), torch.zeros(3, 3, dtype=torch.uint8), "a")
    assert search.best().value == 0.5
    assert math.isnan(search.best().iou)
    assert np.isnan(BestThreshold(VOID).best().iou)


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_that_is_no_class_is_an_error(label: int) -> None:
    truth = torch.tensor([[0, 1, 255, label]])
    with pytest.raises(DataError, match="is no class"):
        BestThreshold(255).update(torch.full((1, 4), 0.4), truth)
