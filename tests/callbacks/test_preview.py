"""The overview of augmented samples."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deeplab_lightning.callbacks.preview import Preview
from deeplab_lightning.data.datamodule import LoaderOptions
from deeplab_lightning.data.files.images import read_image
from deeplab_lightning.data.loading import LoaderView
from deeplab_lightning.data.sampling import Draw
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.runs import RunFolder


def trainer_of(preview: int) -> Any:
    data = DrawnScenesDataModule(
        height=64, width=80, train_size=5, batch_size=2, crop_size=65, num_workers=0, colour_jitter=0.3, preview=preview
    )
    return SimpleNamespace(datamodule=data, is_global_zero=True)


def contains(overview: np.ndarray, image: np.ndarray) -> bool:
    """Whether an image lies somewhere in an overview, pixel by pixel."""
    height, width = image.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(overview[..., 0], (1, width))[:, :, 0]
    rows, columns = np.nonzero((windows == image[0, :, 0]).all(axis=2))
    return any(
        np.array_equal(overview[row : row + height, column : column + width], image)
        for row, column in zip(rows, columns, strict=True)
    )


def test_it_shows_what_training_will_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trainer_of(preview=4)
    Preview(RunFolder(tmp_path)).on_fit_start(trainer, None)
    path = tmp_path / "panels" / "augmented.png"
    assert str(path) in capsys.readouterr().out
    overview, data = read_image(path), trainer.datamodule
    for index in (0, 1, 3, 4):
        sample = LoaderView(data.dataset("train"), data.transform, data.seed)[Draw(0, index)]
        assert contains(overview, sample["image"].permute(1, 2, 0).numpy())
        assert contains(overview, data.labels.colour_table()[sample["mask"].numpy()])


def test_it_is_silent_unless_asked_for(tmp_path: Path) -> None:
    Preview(RunFolder(tmp_path)).on_fit_start(trainer_of(preview=0), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_other_kinds_are_shown(tmp_path: Path, channels: int) -> None:
    class Heights:
        labels = DrawnScenesDataModule.labels

        def __len__(self) -> int:
            return 1

        def open(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            image = np.linspace(0, 3000, 40 * 40 * channels, dtype=np.float32).reshape(40, 40, channels)
            return image, np.zeros((40, 40), np.uint8)

        def sample_id(self, index: int) -> str:
            return "heights"

    data = SimpleNamespace(
        options=LoaderOptions(preview=3),
        seed=0,
        labels=Heights.labels,
        dataset=lambda split: Heights(),
        transform=SimpleNamespace(with_maps=lambda image, mask, maps, seed: (image, mask, maps)),
    )
    trainer: Any = SimpleNamespace(datamodule=data, is_global_zero=True)
    Preview(RunFolder(tmp_path)).on_fit_start(trainer, None)
    assert read_image(tmp_path / "panels" / "augmented.png").max() > 200
