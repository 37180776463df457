"""Any image as something to look at: the same pixels wherever it is shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deeplab_lightning.callbacks import preview
from deeplab_lightning.callbacks.preview import Preview
from deeplab_lightning.data.datamodule import LoaderOptions
from deeplab_lightning.data.dataset import SegmentationDataset
from deeplab_lightning.data.display import displayable
from deeplab_lightning.doctor import overview
from deeplab_lightning.doctor.examination import Examination
from deeplab_lightning.doctor.images import look_at
from deeplab_lightning.labels import own_labels
from deeplab_lightning.reporting.panels import PanelImage, fit
from deeplab_lightning.runs import RunFolder

LABELS = own_labels(["ground", "box"])


def test_rgb_and_grey_of_8_bits_are_shown_as_they_are() -> None:
    rgb = np.random.default_rng(0).integers(100, 120, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(displayable(rgb), rgb)
    np.testing.assert_array_equal(displayable(rgb[..., 0]), rgb[..., [0, 0, 0]])
    np.testing.assert_array_equal(displayable(rgb[..., :1]), rgb[..., [0, 0, 0]])


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.float32), (2, np.uint8), (3, np.float32), (5, np.uint16)])
def test_other_images_are_stretched_channel_by_channel(channels: int, dtype: type) -> None:
    ramp = np.linspace(20, 220, 101)[:, None, None] * np.linspace(0.5, 1, channels)
    image = np.repeat(ramp, 4, axis=1).astype(dtype)
    shown = displayable(image)
    assert shown.shape == (101, 4, 3)
    assert shown.dtype == np.uint8
    assert (shown[:3] == 0).all()  # two hundredths of the pixels, and what stands at that value
    assert (shown[-3:] == 255).all()
    assert np.abs(shown[50].astype(int) - 127).max() <= 2
    assert (np.diff(shown.astype(int), axis=0) >= 0).all()


def test_an_image_of_one_value_is_shown() -> None:
    assert (displayable(np.full((4, 5, 2), 7, np.uint16)) == 0).all()


def test_an_image_of_8_bits_keeps_its_pixels_and_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    before = image.copy()
    displayable(image.astype(np.uint16))
    assert np.array_equal(displayable(image), before)
    assert np.array_equal(image, before)


class Deep(SegmentationDataset):
    """One 16-bit image of few of the values that could be, as cameras store them, and one hot pixel."""

    labels = LABELS

    def __len__(self) -> int:
        return 1

    def sample_id(self, index: int) -> str:
        return "deep"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.random.default_rng(0).integers(900, 2400, (300, 300, 3)).astype(np.float32)
        image[0, 0] = 65535
        return image, np.zeros((300, 300), np.uint8)


def test_panels_preview_and_overview_show_one_image_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Deep()
    image, mask = dataset.load(0)
    shown: dict[str, np.ndarray] = {"panels": fit(PanelImage("deep", image, mask, mask)).image}

    def keep(samples: Any, table: np.ndarray, caption: str) -> np.ndarray:
        shown["preview"] = samples[0][1]
        return samples[0][1]

    monkeypatch.setattr(preview, "augmented_overview", keep)
    data = SimpleNamespace(
        options=LoaderOptions(preview=1),
        seed=0,
        labels=LABELS,
        dataset=lambda split: dataset,
        transform=SimpleNamespace(with_maps=lambda image, mask, maps, seed: (image, mask, maps)),
    )
    trainer: Any = SimpleNamespace(datamodule=data, is_global_zero=True)
    Preview(RunFolder(tmp_path)).on_fit_start(trainer, None)

    def keep_fitted(panel: PanelImage) -> PanelImage:
        shown["overview"] = fit(panel).image
        return fit(panel)

    monkeypatch.setattr(overview, "fit", keep_fitted)
    done = Examination(LABELS, {"train": dataset}, {"train": [look_at(dataset, 0)]})
    overview.write_overview(done, "deep", tmp_path / "overview.png")

    assert len(np.unique(shown["panels"])) > 200  # one hot pixel does not make all others dark
    for where in ("preview", "overview"):
        np.testing.assert_array_equal(shown[where], shown["panels"], err_msg=where)
