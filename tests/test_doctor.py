"""`doctor` from the command line: exit codes, files, configurations, and the way on to `fit` and `predict`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands.doctor import build_for_trial
from deeplab_lightning.config import Configuration
from deeplab_lightning.data.files.saving import write_image, write_mask
from deeplab_lightning.data.sets.drawn_scenes import DRAWN_SCENES, DrawnScenes
from deeplab_lightning.doctor import plan, throughput

from .conftest import SMALL, V3PLUS
from .fakes.camvid import write_camvid
from .test_main import HEAVY, run_python


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return write_camvid(tmp_path / "CamVid", sizes={"train": 8, "val": 4})


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A user's own folder: images, masks, and the classes' names."""
    drawn = DrawnScenes("train", 10, 80, 96)
    for index in range(len(drawn)):
        image, mask = drawn.load(index)
        write_image(tmp_path / "mine" / "images" / f"photo_{index}.jpg", image)
        write_mask(tmp_path / "mine" / "masks" / f"photo_{index}.png", mask, drawn.labels.colour_table())
    (tmp_path / "mine" / "classes.txt").write_text("\n".join(drawn.labels.class_names))
    return tmp_path / "mine"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        "try:\n    main(['doctor', '--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    printed = run_python(code)
    assert "--no_trial" in printed
    assert printed.splitlines()[-1] == "LOADED []"


def test_sound_data_exit_with_0_and_leave_a_report(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["doctor", str(camvid), "--out", str(out), "--no_trial"]) == 0
    printed = capsys.readouterr().out
    assert "looked at 8 train, 4 val images" in printed
    assert "0 errors" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["exit_code"] == 0
    assert [found["kind"] for found in report["findings"]] == ["no_test"]
    assert report["data"]["name"] == "CamVid"
    assert sum(row["train_share"] for row in report["classes"]) == pytest.approx(1)
    assert (out / "overview.png").stat().st_size > 10_000


def test_errors_exit_with_1(camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (camvid / "valannot" / "Seq_val_00001.png").write_bytes(b"no image")
    assert main(["doctor", str(camvid), "--out", str(tmp_path / "out"), "--no_trial"]) == 1
    printed = capsys.readouterr().out
    assert "error (unreadable_mask): 1 of 4 val masks cannot be read" in printed
    assert f"      {camvid}/valannot/Seq_val_00001.png\n    -> make these masks anew" in printed


def test_a_configuration_that_fit_would_refuse_is_not_called_ready(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "my.yaml"
    next((scenes / "masks").iterdir()).write_bytes(b"torn")
    command = ["doctor", str(scenes), "--out", str(tmp_path / "out"), "--no_trial", "--write", str(written)]
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "`fit` will refuse it before the errors are mended" in printed
    assert "deeplab_lightning fit" not in printed
    assert "name: Folder" in written.read_text()  # something to edit


def test_where_scores_alone_mean_nothing_fit_is_not_said_to_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = DrawnScenes("train", 4, 64, 64)
    for split, indices in (("train", (0, 1, 2)), ("val", (3, 0))):  # the first is in both
        for number, index in enumerate(indices):
            image, mask = scene.load(index)
            write_image(tmp_path / "data" / split / "images" / f"{split}{number}.png", image)
            write_mask(tmp_path / "data" / split / "masks" / f"{split}{number}.png", mask, DRAWN_SCENES.colour_table())
    written = tmp_path / "my.yaml"
    command = ["doctor", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--no_trial", "--write", str(written)]
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "error (leak): 1 of 2 val images are train images too" in printed
    assert "will refuse" not in printed
    assert "`fit` will train on it, and its scores mean nothing" in printed
    options = ["--data.crop_size", "33", "--data.batch_size", "1", "--data.num_workers", "0", "--model.base_width", "2"]
    options += ["--trainer.max_steps", "1", "--trainer.accelerator", "cpu", "--run.folder", str(tmp_path / "runs")]
    assert main(["fit", "--model", "EncoderDecoder", "-c", str(written), *options]) == 0


def test_warnings_exit_with_1_only_if_strict(camvid: Path, tmp_path: Path) -> None:
    command = ["doctor", str(camvid), "--out", str(tmp_path / "out"), "--no_trial"]
    (camvid / "trainannot" / "lonely.png").write_bytes((camvid / "trainannot" / "Seq_train_00000.png").read_bytes())
    assert main(command) == 0
    assert main([*command, "--strict"]) == 1


def test_what_fit_would_read_can_be_examined(camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configs = ["-c", str(V3PLUS), "-c", str(V3PLUS.parent / "data" / "camvid.yaml"), "--data.root", str(camvid)]
    configs += ["--no_trial", "--out", str(tmp_path / "out")]
    assert main(["doctor", *configs, "--data.batch_size", "9"]) == 1
    printed = capsys.readouterr().out
    assert f"CamVidDataModule, {camvid}\n" in printed
    assert "error (batch): The train split has 8 images, fewer than one batch of 9." in printed
    assert main(["doctor", *configs, "--data.batch_size", "8", "--limit", "2"]) == 0
    assert "looked at 2 train, 2 val images" in capsys.readouterr().out


def test_the_trial_builds_what_fit_would_train() -> None:
    options = ["--model.output_stride", "8", "--model.pretrained", "true", "--trainer.precision", "bf16-mixed"]
    task, trainer = build_for_trial(["-c", str(V3PLUS), *SMALL[:6], *options])
    assert task.model.output_stride == 8
    assert task.num_classes == 10
    assert trainer["precision"] == "bf16-mixed"
    assert not task.hparams["model"]["pretrained"]  # nothing is fetched


@pytest.mark.slow
def test_the_step_and_the_loader_are_measured(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(throughput, "SECONDS", 0.5)
    options = ["-c", str(V3PLUS), *SMALL[:6], "--trainer.accelerator", "cpu", "--data.num_workers", "0"]
    assert main(["doctor", str(scenes), *options, "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["trial"]["device"] == "cpu"
    assert 1e6 < report["trial"]["per_image"] < 1e9
    assert report["images_per_second"] > 1
    assert {"batch", "loader"} <= {found["kind"] for found in report["advice"]}
    assert "Measured on the cpu in real training steps" in capsys.readouterr().out


def test_from_a_folder_to_predictions(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "mine", "--write", "my_data.yaml", "--no_trial"]) == 0
    written = yaml.safe_load(Path("my_data.yaml").read_text())["data"]
    assert written["name"] == "Folder"
    assert written["class_names"][:2] == ["background", "house"]
    assert Path("runs/doctor/mine/overview.png").is_file()
    small = [*SMALL[:6], "--data.num_workers", "0", "--data.batch_size", "2", *SMALL[12:]]
    assert main(["fit", "-c", str(V3PLUS), "-c", "my_data.yaml", *small]) == 0
    assert main(["predict", "mine/images", "--ckpt_path", "runs/v3plus"]) == 0
    assert len(list(Path("predictions/masks").iterdir())) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "doctor needs a folder, or what fit would read"),
        (["nowhere"], "nowhere does not exist"),
        (["."], "The layout was not recognised"),
        ([".", "--limit", "0"], "--limit is 0; expected 1 or more"),
        ([".", "--write", "there.yaml"], "there.yaml exists. Name another file, or add --overwrite."),
        ([".", "--write", "data.json"], "name it data.yaml instead of data.json"),
        (["-c", str(V3PLUS), "--write", "new.yaml"], "--write is for a folder"),
    ],
    ids=str,
)
def test_mistakes_get_one_line_and_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.yaml").write_text("kept")
    assert main(["doctor", *options]) == 2
    assert message in capsys.readouterr().err
    assert Path("there.yaml").read_text() == "kept"


def test_a_plan_is_a_whole_configuration(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PROBE_CROP", 65)
    monkeypatch.setattr(plan, "PROBE_BATCHES", (1, 1, 2, 2))
    monkeypatch.setattr(throughput, "SECONDS", 0.2)
    written = tmp_path / "plan.yaml"
    command = ["doctor", str(scenes), "--out", str(tmp_path / "out"), "--minutes", "5", "--write", str(written)]
    said = ["--model.pretrained", "false", "--data.num_workers", "0", "--trainer.accelerator", "cpu"]
    assert main([*command, *said, "--explain"]) == 0
    printed = capsys.readouterr().out
    assert "trial: training steps in bf16-mixed" in printed
    assert "model.atrous_rates [1, 2, 3]: the crop's map has 5 a side at stride 16" in printed
    assert f"plan for 5 minutes: {written}\n  python -m deeplab_lightning fit -c {written}" in printed
    read = yaml.safe_load(written.read_text())
    assert read["data"]["root"] == str(scenes)
    assert read["data"]["crop_size"] == 65  # the images are 96x80
    assert read["trainer"]["max_steps"] % read["trainer"]["val_check_interval"] == 0
    configured = Configuration(["-c", str(written)])
    assert configured.model.plain()["backbone"] == "mobilenetv2_100"
    assert configured.optimizer.name == "adamw"
    assert len(configured.datamodule().dataset("train")) == 8


def test_what_makes_no_plan_is_refused(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, why in [
        (["--minutes", "30", "--no_trial"], "--minutes are planned with by trial steps"),
        (["--explain"], "--explain is about a plan"),
        (["--minutes", "-3"], "--minutes"),
    ]:
        assert main(["doctor", str(scenes), *words]) == 2
        assert why in capsys.readouterr().err
    next((scenes / "masks").iterdir()).write_bytes(b"torn")  # fit would stop at it, sooner or later
    assert main(["doctor", str(scenes), "--minutes", "30", "--out", str(tmp_path / "out")]) == 1
    assert "no plan before the errors are mended" in capsys.readouterr().out
