"""A cross-validation: every image validated once, and an ensemble that is used as any network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.api import load
from deeplab_lightning.commands.folds import merged_counts
from deeplab_lightning.data.files.images import read_image
from deeplab_lightning.data.pairing.splitting import fold_split
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import DataError
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.studies import programs

from .conftest import SMALL, V3PLUS
from .fakes.coco import write_coco
from .fakes.folder import write_folder
from .fakes.labelme import write_labelme
from .fakes.scans import write_nnunet
from .fakes.yolo import write_yolo


def test_every_image_is_validated_in_one_fold_and_tested_in_none() -> None:
    splits = {"train": [f"a{index}" for index in range(9)], "val": ["b", "c"], "test": ["d"]}
    found = [fold_split(splits, 4, fold, seed=1) for fold in range(4)]
    everything = sorted([*splits["train"], *splits["val"]])
    assert sorted(name for split in found for name in split["val"]) == everything
    for split in found:
        assert sorted([*split["train"], *split["val"]]) == everything
        assert split["test"] == ["d"]
        assert 2 <= len(split["val"]) <= 3
    assert found[0] != fold_split(splits, 4, 0, seed=2)
    with pytest.raises(DataError, match="11 images cannot be divided into 12 folds"):
        fold_split(splits, 12, 0)


def test_images_of_a_patient_stay_together() -> None:
    patients = {f"p{number}_{scan}": f"p{number}" for number in range(5) for scan in range(2)}
    splits = {"train": list(patients)[:7], "val": list(patients)[7:]}
    for fold in range(3):
        val = fold_split(splits, 3, fold, groups=patients)["val"]
        assert {patients[name] for name in val}.isdisjoint(patients[name] for name in set(patients) - set(val))
    with pytest.raises(DataError, match="5 groups of images, such as patients, cannot be divided into 6 folds"):
        fold_split(splits, 6, 0, groups=patients)


@pytest.mark.parametrize("write", [write_folder, write_coco, write_labelme, write_yolo, write_nnunet])
def test_every_form_is_divided_into_folds(write: Callable[[Path], Path], tmp_path: Path) -> None:
    root = write(tmp_path / "mine")
    options = propose(root).options
    name = propose(root).name
    held: list[set[str]] = []
    for fold in range(2):
        data = datamodule_named(name)(**options, folds=2, fold=fold)
        held.append(set(data.splits["val"]))
        assert held[-1].isdisjoint(data.splits["train"])
    assert held[0]
    assert held[0].isdisjoint(held[1])
    assert held[0] | held[1] == {*data.splits["train"], *data.splits["val"]}


def test_counts_of_folds_that_overlap_are_refused() -> None:
    one, two = ImageCounts(["a", "b"]), ImageCounts(["a", "b"])
    one.add("x", np.eye(2, dtype=np.int64))
    two.add("y", np.ones((2, 2), np.int64))
    assert merged_counts([one, two]).total().tolist() == [[2, 1], [1, 2]]
    two.add("x", np.eye(2, dtype=np.int64))
    with pytest.raises(DataError, match="image 'x' was validated twice"):
        merged_counts([one, two])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["5"], "needs what to train"),
        (["1", "-c", str(V3PLUS)], "expected 2 or more"),
        (["3", "-c", str(V3PLUS), "--data.fold", "1"], "takes no --data.fold"),
        (["3", "-c", str(V3PLUS), "--run.name", "a"], "takes no --run.name"),
    ],
)
def test_mistakes_get_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["folds", *words]) == 2
    assert message in capsys.readouterr().err


def test_folds_are_trained_scored_and_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words: list[list[str]] = []

    def run(arguments: Sequence[str]) -> programs.Ended:
        words.append(list(arguments))
        return programs.Ended(main(arguments), stopped_by_user=False, stopped_by_us=False)

    monkeypatch.setattr(programs, "run", run)
    root = write_folder(tmp_path / "mine")
    data = tmp_path / "mine.yaml"
    data.write_text(yaml.safe_dump({"data": {"name": "Folder", "root": str(root), "class_names": ["a", "b", "c"]}}))
    small = [*SMALL[:6], "--data.num_workers", "0", "--data.batch_size", "2", *SMALL[12:]]
    command = [
        "folds",
        "2",
        "-c",
        str(V3PLUS),
        "-c",
        str(data),
        *small,
        "--folder",
        str(tmp_path / "runs"),
        "--name",
        "n",
    ]
    assert main(command) == 0
    assert [next(word for word in one if "data.fold=" in word) for one in words] == ["--data.fold=0", "--data.fold=1"]
    whole = tmp_path / "runs" / "n"
    counted = ImageCounts.load(whole / "per_image.npz")
    names = sorted(path.stem for path in (root / "images").iterdir())
    assert counted.sample_ids == names
    printed = capfd.readouterr().out
    assert f"| all images | {len(names)} |" in printed

    best = [
        Path(run) / "checkpoints" / "best.ckpt" for run in json.loads((whole / "folds.json").read_text())["finished"]
    ]
    image = read_image(next((root / "images").iterdir()))
    ensemble, members = load(whole / "ensemble.ckpt"), [load(path) for path in best]
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        normalised = ensemble.task.normalise(pixels)
        mean = sum(one.task.model.coarse_logits(normalised).softmax(1) for one in members) / 2
        torch.testing.assert_close(ensemble.task.model.coarse_logits(normalised).exp(), mean)
    assert ensemble.predict(image).mask.shape == image.shape[:2]

    assert main(command) == 0
    assert len(words) == 2, "finished folds are not trained again"
