"""What a run leaves behind, looked at from outside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.metrics.scores import scores_from_confusion
from deeplab_lightning.runs import read_metrics

from ..conftest import Fit


def test_the_folder_has_everything(trained_run: Path) -> None:
    names = {path.relative_to(trained_run).as_posix() for path in trained_run.rglob("*") if path.is_file()}
    assert names >= {
        *("config.yaml", "metrics.csv", "per_class.csv", "confusion.npz", "per_image.npz", "environment.json"),
        *("checkpoints/last.ckpt", "checkpoints/best.ckpt", "curves.png", "confusion.png", "panels/panels.png"),
    }
    assert (trained_run.parent / "latest").resolve() == trained_run.resolve()


def test_the_files_agree_with_one_another(trained_run: Path) -> None:
    matrix = np.load(trained_run / "confusion.npz")["matrix"]
    images = ImageCounts.load(trained_run / "per_image.npz")
    scores = scores_from_confusion(matrix, images.class_names)
    assert np.array_equal(images.total(), matrix)
    assert images.sample_ids == [f"val-{index:06}" for index in range(5)]
    logged = read_metrics(trained_run / "metrics.csv")["val/mIoU"]
    assert scores.mIoU == pytest.approx(np.nanmax(logged), abs=1e-9)
    with (trained_run / "per_class.csv").open() as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert float(rows["house"]["IoU"]) == pytest.approx(scores.iou[1], abs=1e-9)


def test_the_configuration_can_be_run_again(trained_run: Path, tmp_path: Path) -> None:
    config = trained_run / "config.yaml"
    stored = yaml.safe_load(config.read_text())
    assert stored["model"]["backbone"] == "test_efficientnet"
    assert stored["model"]["class_names"] is None
    assert main(["fit", "-c", str(config), "--run.folder", str(tmp_path), "--run.name", "again"]) == 0
    again = read_metrics(tmp_path / "again" / "version_0" / "metrics.csv")
    first = read_metrics(trained_run / "metrics.csv")
    assert all(np.array_equal(again[key], first[key], equal_nan=True) for key in first)


def test_the_environment_is_written(trained_run: Path) -> None:
    environment = json.loads((trained_run / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["seed"] == 0


def test_the_table_is_printed_at_the_end(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    printed = capfd.readouterr().out
    assert "step 4/4" in printed
    assert "0:00:00 left" in printed
    assert all(word in printed for word in ("house", "macro average", "weighted average", "pixel acc", "os16, scale 1"))


@pytest.mark.parametrize(("command", "images"), [("validate", 5), ("test", 3)])
def test_evaluation_gets_a_folder_inside_the_run(
    trained_run: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str], command: str, images: int
) -> None:
    assert main([command, "--ckpt_path", str(checkpoint)]) == 0
    folder = sorted((trained_run / command).iterdir())[-1]
    assert len(ImageCounts.load(folder / "per_image.npz")) == images
    assert (folder / "panels" / "panels.png").is_file()
    assert (folder / "config.yaml").is_file()
    assert f"{images} images; os16, scale 1, whole image" in capfd.readouterr().out
    assert (trained_run.parent / "latest").resolve() == trained_run.resolve()


def test_validating_the_best_checkpoint_gives_its_files_again(trained_run: Path) -> None:
    assert main(["validate", "--ckpt_path", str(trained_run / "checkpoints" / "best.ckpt")]) == 0
    folder = sorted((trained_run / "validate").iterdir())[-1]
    assert (folder / "per_class.csv").read_text() == (trained_run / "per_class.csv").read_text()
    before, after = (np.array(Image.open(path / "panels" / "panels.png")) for path in (trained_run, folder))
    assert np.array_equal(before, after)


def test_scores_do_not_depend_on_the_evaluation_batch(trained_run: Path, checkpoint: Path) -> None:
    matrices = []
    for size in ("1", "2", "5"):
        assert main(["validate", "--ckpt_path", str(checkpoint), "--data.eval_batch_size", size]) == 0
        matrices.append(np.load(sorted((trained_run / "validate").iterdir())[-1] / "confusion.npz")["matrix"])
    assert all(np.array_equal(matrix, matrices[0]) for matrix in matrices)


def test_wandb_by_one_line_of_yaml(fit: Fit, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from ..reporting.test_wandb_runs import records

    line = tmp_path / "wandb.yaml"
    line.write_text("trainer: {logger: WandbLogger}\n")
    assert fit("-c", str(line), "--trainer.log_every_n_steps", "1") == 0
    import wandb

    wandb.finish()
    run = tmp_path / "runs" / "v3plus" / "version_0"
    folder = next((run / "wandb").glob("offline-run-*"))
    logged = {
        item.nested_key[0] if item.nested_key else item.key
        for record in records(next(folder.glob("*.wandb")))
        for item in record.history.item
    }
    assert {"train/loss", "val/mIoU", "val/IoU/house", "val/panels", "val/per_class", "val/confusion"} <= logged
    media = folder / "files" / "media"
    assert list(media.glob("images/val/panels_*.png"))
    assert list(media.glob("images/mask/**/*.mask.png"))
    table = json.loads(next(media.glob("table/val/per_class_*.table.json")).read_text())
    assert table["data"][1][0] == "house"
    assert (run / "metrics.csv").is_file()


def test_tensorboard_writes_into_the_run_folder(fit: Fit, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert fit("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", ".") == 0
    assert list((tmp_path / "runs" / "v3plus" / "version_0").rglob("events.out.tfevents.*"))
