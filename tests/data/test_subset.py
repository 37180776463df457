"""Some images, some of them several times: named as ever, in an order that a resumed run repeats."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from deeplab_lightning.data.loading import LoaderView
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes, DrawnScenesDataModule
from deeplab_lightning.data.subset import repeated
from deeplab_lightning.errors import ConfigError


def classes_in(dataset: DrawnScenes, index: int) -> set[str]:
    present = np.unique(dataset.load(index)[1])
    return {dataset.labels.class_names[label] for label in present if label != dataset.labels.ignore_index}


def test_images_of_a_class_stand_as_often_as_said() -> None:
    dataset = DrawnScenes("train", 12, 64, 80)
    shown = [classes_in(dataset, index) for index in range(12)]
    frequent = Counter(name for names in shown for name in names)
    rare = next(name for name, count in frequent.items() if count <= 4)
    common = next(name for name, count in frequent.items() if 5 <= count < 12)
    times = {rare: 3, common: 2}
    chosen = repeated(dataset, times, quiet=True)
    counts = Counter(chosen.sample_id(index) for index in range(len(chosen)))
    expected = {
        dataset.sample_id(index): max([times.get(name, 1) for name in names], default=1)
        for index, names in enumerate(shown)
    }
    assert counts == expected
    assert len(chosen) > 12
    assert [chosen.sample_id(index) for index in range(12)] == [dataset.sample_id(index) for index in range(12)]
    again = next(index for index in range(12, len(chosen)))
    assert np.array_equal(chosen.load(again)[0], dataset.load(chosen.positions[again])[0])


def test_an_image_is_augmented_otherwise_each_time() -> None:
    data = DrawnScenesDataModule(
        height=64, width=80, train_size=3, repeat_classes={"background": 2}, crop_size=33, num_workers=0
    )
    assert len(data.drawn_dataset) == 6
    assert len(data.dataset("train")) == 3  # what is counted, looked at and named stays as it is
    view = LoaderView(data.drawn_dataset, data.transform, seed=0)
    first, second = view[0], view[3]
    assert first["sample_id"] == second["sample_id"]
    assert not np.array_equal(first["image"].numpy(), second["image"].numpy())
    assert np.array_equal(view[3]["image"].numpy(), second["image"].numpy())


@pytest.mark.parametrize(
    ("times", "said"), [({"hous": 2}, "'hous', which is no class"), ({"background": 0}, "background: 0; expected")]
)
def test_wrong_classes_and_numbers(times: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        repeated(DrawnScenes("train", 2, 64, 80), times, quiet=True)


def test_a_few_images_to_train_and_to_validate_on() -> None:
    options: dict[str, Any] = {"train_size": 9, "val_size": 4, "height": 64, "width": 80, "crop_size": 33}
    data = DrawnScenesDataModule(**options, train_limit=3, val_on_train=True, batch_size=3, num_workers=0)
    data.setup("fit")
    names = [f"train-{index:06}" for index in range(3)]
    assert [data.dataset("val").sample_id(index) for index in range(len(data.dataset("val")))] == names
    assert sorted(next(iter(data.train_dataloader()))["sample_id"]) == names
    assert [name for batch in data.val_dataloader() for name in batch["sample_id"]] == names
    assert len(DrawnScenesDataModule(**options, train_limit=3).dataset("val")) == 4
    with pytest.raises(ConfigError, match="train_limit is 0"):
        DrawnScenesDataModule(**options, train_limit=0)
