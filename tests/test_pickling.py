"""What goes from process to process: results, models, options and scores can be pickled."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_lightning
from deeplab_lightning.errors import DataError
from deeplab_lightning.losses import loss_options
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.metrics.scores import scores_from_confusion

from .tiny import tiny_fit


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> deeplab_lightning.api.Segmenter:
    folder: Path = tmp_path_factory.mktemp("pickled")
    assert tiny_fit(folder) == 0
    return deeplab_lightning.load(folder / "tiny" / "version_0", "cpu")


def test_a_result_travels_without_its_network(model: deeplab_lightning.api.Segmenter) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    result = model.predict(image)
    there = pickle.loads(pickle.dumps(result))
    assert np.array_equal(there.mask, result.mask)
    assert np.array_equal(there.overlay(), result.overlay())
    assert there.shares() == result.shares()
    assert len(pickle.dumps(result)) < 20_000  # nothing of the network
    with pytest.raises(DataError, match="ask for"):
        _ = there.probs
    assert np.array_equal(copy.deepcopy(result).probs, result.probs)
    assert np.array_equal(copy.copy(result).probs, result.probs)
    assert np.array_equal(pickle.loads(pickle.dumps(result)).probs, result.probs)


def test_a_model_travels_whole(model: deeplab_lightning.api.Segmenter) -> None:
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    expected = model.predict(image).mask
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(image).mask, expected)
    assert np.array_equal(copy.deepcopy(model).predict(image).mask, expected)


def test_options_and_scores_travel() -> None:
    losses = loss_options().of({"dice": {"weight": 0.5}})
    assert pickle.loads(pickle.dumps(losses)) == losses
    assert copy.deepcopy(losses) == losses
    counts = ImageCounts(("a", "b"))
    counts.add("one", np.array([[3, 1], [0, 2]]))
    scores = pickle.loads(pickle.dumps(scores_from_confusion(counts.total(), ("a", "b"))))
    assert scores.mIoU == scores_from_confusion(counts.total(), ("a", "b")).mIoU
    assert np.array_equal(pickle.loads(pickle.dumps(counts)).total(), counts.total())


def test_a_task_travels_with_its_scores(model: deeplab_lightning.api.Segmenter) -> None:
    task = model.task
    task.evaluation.update(torch.zeros(3, 4, dtype=torch.uint8), torch.zeros(3, 4, dtype=torch.uint8), "one")
    there = pickle.loads(pickle.dumps(task))
    assert there.evaluation.scores().pixel_acc == 1
