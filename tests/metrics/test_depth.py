"""Scores of depth: equal to NumPy's over all pixels at once, whatever the images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeplab_lightning.metrics.depth import DepthScores


def test_scores_are_over_the_pixels_of_the_whole_split() -> None:
    generator = np.random.default_rng(0)
    evaluation, truths, guesses = DepthScores(), [], []
    for number, size in enumerate([(4, 5), (10, 3)]):
        truth, guess = generator.uniform(0.5, 20, size), generator.uniform(0.5, 20, size)
        stored = truth.copy()
        stored[0, 0], stored[1, 1] = 0, np.nan
        evaluation.update(torch.tensor(guess), torch.tensor(stored), f"image-{number}")
        evaluation.update(torch.tensor(guess), torch.tensor(stored), f"image-{number}")  # seen twice, counts once
        known = np.isfinite(stored) & (stored > 0)
        truths.append(truth[known])
        guesses.append(guess[known])
    truth, guess = np.concatenate(truths), np.concatenate(guesses)
    ratio = np.maximum(truth / guess, guess / truth)
    expected = {
        "abs_rel": (np.abs(guess - truth) / truth).mean(),
        "rmse": math.sqrt(((guess - truth) ** 2).mean()),
        "delta_1.25": (ratio < 1.25).mean(),
    }
    assert evaluation.values() == pytest.approx(expected, rel=1e-5)
    evaluation.reset()
    assert all(math.isnan(value) for value in evaluation.values().values())
