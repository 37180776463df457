"""The plots: what is drawn, read back from matplotlib's own objects, and that PNGs of sensible size come out."""

from __future__ import annotations

from pathlib import Path

import matplotlib.axes
import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.errors import DataError
from deeplab_lightning.reporting.plots import plot_confusion, plot_curves, smoothed


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """Collect the figures that are saved; saving goes on as ever."""
    saved = []
    save = matplotlib.figure.Figure.savefig

    def savefig(self: matplotlib.figure.Figure, *args: object, **kwargs: object) -> None:
        saved.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    return saved


def lines_of(axes: matplotlib.axes.Axes) -> list[tuple[list[float], list[float]]]:
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_curves_show_what_was_logged(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    (tmp_path / "metrics.csv").write_text(
        "step,epoch,lr,train/loss,val/loss,val/mIoU,val/pixel_acc\n"
        "0,0,0.1,2.0,,,\n5,0,0.08,1.0,,,\n5,0,,,1.2,0.7,0.9\n10,1,0.05,0.5,,,\n10,1,,,0.9,0.6,0.8\n"
    )
    plot_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    loss, score, rate = figures[0].axes
    assert lines_of(loss)[0] == ([0, 5, 10], [2.0, 1.0, 0.5])
    assert lines_of(loss)[2] == ([5, 10], [1.2, 0.9])
    assert lines_of(score)[0] == ([5, 10], [0.7, 0.6])
    assert lines_of(score)[2] == ([5, 10], [0.9, 0.8])
    assert lines_of(rate) == [([0, 5, 10], [0.1, 0.08, 0.05])]
    assert "best 0.700 at step 5" in score.get_legend().get_texts()[0].get_text()
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 800


def test_curves_of_a_resumed_run_take_the_later_row(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss\n0,3\n2,2\n4,9\n1,2.5\n2,1.5\n3,1\n4,0.5\n")
    plot_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    (loss,) = figures[0].axes  # and no empty axes for what was not logged
    assert lines_of(loss)[0] == ([0, 1, 2, 3, 4], [3, 2.5, 1.5, 1, 0.5])


@pytest.mark.parametrize("text", ["", "step,epoch\n0,0\n", "step,lr\n0,\n", "lr\n0.1\n"])
def test_nothing_to_draw(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(DataError, match=r"metrics\.csv has nothing to draw"):
        plot_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")


def test_smoothing_neither_lags_nor_biases() -> None:
    falling = np.linspace(5, 1, 200)
    np.testing.assert_allclose(smoothed(falling), falling)
    noisy = 3 + np.random.default_rng(0).standard_normal(400)
    smooth = smoothed(noisy)
    assert smooth[20:-20].std() < 0.35 * noisy.std()
    assert smooth[200] == pytest.approx(noisy[190:211].mean())
    assert smoothed(np.array([2.0])).tolist() == [2.0]


def test_confusion_is_in_percent_of_the_truth(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    matrix = np.array([[990, 6, 4], [30, 10, 0], [0, 0, 0]])
    plot_confusion(matrix, ("a", "b", "c"), tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    texts = {text.get_position()[::-1]: text.get_text() for text in axes.texts}  # (row, column)
    assert texts == {(0, 0): "99", (0, 1): "1", (1, 0): "75", (1, 1): "25"}
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown, [[99, 0.6, 0.4], [75, 25, 0], [np.nan] * 3])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")


@pytest.mark.parametrize(("size", "numbered"), [(2, True), (25, True), (26, False), (150, False)])
def test_confusion_scales(tmp_path: Path, figures: list[matplotlib.figure.Figure], size: int, numbered: bool) -> None:
    plot_confusion(np.eye(size, dtype=np.int64), [f"class {c}" for c in range(size)], tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    assert len(axes.texts) == (size if numbered else 0)
    # neighbouring labels do not overlap: a letter is lower than a cell
    cell = axes.get_window_extent().height / size
    assert axes.get_yticklabels()[0].get_window_extent().height < cell
    with Image.open(tmp_path / "confusion.png") as image:
        assert 400 < image.width < 3000
