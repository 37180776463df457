"""The command: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.errors import CheckpointError

from .checkpoints.helpers import random_weights, save
from .fakes.camvid import write_camvid
from .fakes.voc import write_voc
from .test_main import run_python


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of segmentation_models_pytorch with 21 classes."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    network = random_weights(lambda: smp.DeepLabV3("resnet18", encoder_weights=None, classes=21, decoder_channels=8))
    return save(network.state_dict(), tmp_path_factory.mktemp("smp"))


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def test_help_is_light() -> None:
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        "try:\n    main(['import', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', [name for name in ('torch', 'lightning', 'timm', 'numpy') if name in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "LOADED []"


def test_predict_and_python_take_what_it_writes(theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(theirs)]) == 0
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save("image.png")
    assert main(["predict", "image.png", "--ckpt_path", "theirs.ckpt", "--device", "cpu"]) == 0
    assert Image.open("predictions/masks/image.png").size == (50, 40)
    assert deeplab_lightning.load("theirs.ckpt", "cpu").labels.class_names[1] == "aeroplane"


def test_validate_scales_pixels_as_the_network_is_used_to(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data set follows from the classes; other means from --mean; contradicting them is refused."""
    output = tmp_path / "ours.ckpt"
    options = ["--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.25", "0.5"]
    assert main(["import", str(theirs), "-o", str(output), *options]) == 0
    root = str(write_voc(tmp_path / "VOC2012"))
    words = ["validate", "--ckpt_path", str(output), "--data.root", root, "--data.num_workers", "0"]
    words += ["--run.folder", str(tmp_path / "runs"), "--trainer.accelerator", "cpu"]
    assert main(words) == 0
    settings = yaml.safe_load(next((tmp_path / "runs").rglob("config.yaml")).read_text())
    assert settings["data"]["name"] == "VOC"
    assert settings["data"]["std"] == [0.5, 0.25, 0.5]
    capsys.readouterr()
    assert main([*words, "--data.std", "[0.5, 0.5, 0.5]"]) == 2
    assert "trained on pixels of another scale: std [0.5, 0.25, 0.5], not [0.5, 0.5, 0.5]" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Batch norms see")
def test_training_goes_on_by_the_settings_it_writes(
    theirs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["import", str(theirs), "-o", str(tmp_path / "ours.ckpt"), "--mean", "0.5", "0.5", "0.5"]) == 0
    data = tmp_path / "data.yaml"
    root = str(write_camvid(tmp_path / "CamVid"))
    data.write_text(yaml.safe_dump({"data": {"name": "CamVid", "root": root}}))
    words = ["--data.batch_size", "2", "--data.crop_size", "33", "--data.num_workers", "0", "--trainer.max_steps", "1"]
    words += [
        "--run.folder",
        str(tmp_path / "runs"),
        "--trainer.accelerator",
        "cpu",
        "--trainer.limit_val_batches",
        "1",
    ]
    caplog.set_level("INFO")
    assert main(["fit", "-c", str(tmp_path / "ours.yaml"), "-c", str(data), *words]) == 0
    assert "knows other classes; layers that start anew: classifier." in caplog.text
    trained = torch.load(next((tmp_path / "runs").rglob("last.ckpt")), weights_only=True)
    assert trained["hyper_parameters"]["description"]["mean"] == [0.5, 0.5, 0.5]
    groups = {group["name"]: group["initial_lr"] for group in trained["optimizer_states"][0]["param_groups"]}
    assert groups["head/kernel"] == pytest.approx(10 * groups["backbone/kernel"])


def test_a_dry_run_writes_nothing(theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(theirs), "--dry_run"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda weights: weights.pop("decoder.aspp.project.0.weight"), "missing: 1: context.aspp.project.0.weight"),
        (lambda weights: weights.update(extra=torch.ones(1)), "left over: 1: extra"),
        (
            lambda weights: weights.update({"encoder.bn1.weight": torch.ones(5)}),
            "unfit: 1: backbone.features.bn1.weight is (5,), expected (64,)",
        ),
    ],
)
def test_every_weight_must_find_its_place(
    change: Any, line: str, theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = state(theirs)
    change(weights)
    path = save(weights, tmp_path)
    assert main(["import", str(path), "-o", str(tmp_path / "ours.ckpt")]) == 2
    assert line in capsys.readouterr().out
    assert not (tmp_path / "ours.ckpt").exists()
    assert main(["import", str(path), "--dry_run"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "cityscapes"], "--classes cityscapes has 19 classes, and the network tells 21 apart"),
        (["--classes", "vok"], "neither a file nor one of .*voc.* Did you mean 'voc'"),
        (["--mean", "0.5"], "takes images of 3 channels, and there are 1 means and 3 standard deviations"),
        (["--format", "torchvison"], "No format 'torchvison'. Did you mean 'torchvision'"),
        (["--format", "vainf"], "which is no network that vainf writes"),
    ],
)
def test_options_that_cannot_be(
    options: list[str], message: str, theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(theirs), "-o", str(tmp_path / "ours.ckpt"), *options]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_other_networks_of_mmsegmentation_are_named_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save({"meta": {}, "state_dict": {"decode_head.conv_seg.weight": torch.ones(3, 8, 1, 1)}}, tmp_path)
    assert main(["import", str(path), "--dry_run"]) == 2
    assert "a network of mmsegmentation, but no DeepLab" in capsys.readouterr().err


def test_our_own_checkpoints_are_not_imported(checkpoint: Path, tmp_path: Path) -> None:
    from deeplab_lightning.commands.import_ import import_file

    with pytest.raises(CheckpointError, match="needs no import"):
        import_file(checkpoint, output=tmp_path / "again.ckpt")
