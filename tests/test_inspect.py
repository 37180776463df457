"""`inspect` from the command line: report, files, drawings, feature maps, and its errors."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning import cli
from deeplab_lightning.__main__ import main
from deeplab_lightning.command_line import split_words
from deeplab_lightning.config import Configuration
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.reporting.receptive_fields import COLOURS, SeenWindow, plot_receptive_fields

from .conftest import SMALL, V3PLUS
from .test_main import HEAVY, run_python

SMALL_MODEL = ["-c", str(V3PLUS), "--model.backbone", "mobilenetv2_035", *SMALL[2:6]]
CROP = ["--data.crop_size", "129"]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    Image.fromarray(DrawnScenes("val", 5, 70, 91).load(0)[0]).save(path)
    return path


def colours_in(path: Path) -> set[str]:
    """Return which of the colours of lines and dots an image holds."""
    pixels = np.array(Image.open(path).convert("RGB")).reshape(-1, 3)
    found = {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in np.unique(pixels, axis=0)}
    return found & set(COLOURS)


# --- the report -------------------------------------------------------------------------------------------------------


def test_a_configuration_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *SMALL_MODEL, *CROP, "--model.output_stride", "8"]) == 0
    printed = capsys.readouterr().out
    assert "image 129x129" in printed
    assert "\nclassifier" in printed
    assert "mobilenetv2_035: exact" in printed
    lines = [line.split() for line in printed.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 3  # rates 12, 24 and 36 on 17x17
    assert printed.count("has decayed to a 1x1") == 2


def test_the_command_line_is_that_of_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *SMALL_MODEL, "--model.output_strid", "8"]) == 2
    assert "Unknown option --model.output_strid. Did you mean 'output_stride'?" in capsys.readouterr().err
    assert main(["inspect", "--data.crop_size", "65"]) == 2
    assert "No model is chosen" in capsys.readouterr().err


def test_a_network_on_paper_has_no_values() -> None:
    task = Configuration(SMALL_MODEL).make_task(on_paper=True)
    assert all(parameter.is_meta for parameter in task.parameters())


def test_the_image_can_have_another_size(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    layers = tmp_path / "layers.csv"
    assert main(["inspect", *SMALL_MODEL, "--size", "65", "97", "--csv", str(layers)]) == 0
    assert "image 65x97" in capsys.readouterr().out
    with layers.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[-1]["height"], rows[-1]["width"], rows[-1]["sees_all"]) == ("65", "97", "1")
    deepest = [row for row in rows if row["name"].startswith("backbone")][-1]
    assert (deepest["height"], deepest["width"], float(deepest["output_stride"])) == ("5", "7", 16)


def test_nothing_is_made_fetched_or_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a run folder nor a Trainer nor the data, nor pretrained weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "new_run", None)
    for name in ("make_trainer", "datamodule"):
        monkeypatch.setattr(Configuration, name, None)
    monkeypatch.setattr("timm.models._builder.load_pretrained", None)
    options = [*SMALL_MODEL, "--data", "CamVid", "--data.root", "/nowhere", "--model.pretrained", "true"]
    assert main(["inspect", *options, "--size", "65", "65"]) == 0
    assert "16>11" in capsys.readouterr().out  # CamVid's classes
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_brings_its_model(checkpoint: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(checkpoint)]) == 0
    first = capsys.readouterr().out
    assert "image 65x65" in first
    assert main(["inspect", str(trained_run)]) == 0
    assert capsys.readouterr().out == first
    assert main(["inspect", str(checkpoint), "--model.output_stride", "8"]) == 0
    assert "9x9" in capsys.readouterr().out


def test_warnings_of_the_backbone_are_told_with_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "DeepLabV3Plus", "--model.backbone", "mobilenetv3_small_050", *SMALL[2:6]]
    assert main(["inspect", *options, "--size", "65", "65", "--model.output_stride", "16"]) == 0
    printed = capsys.readouterr()
    assert "warning: Backbone 'mobilenetv3_small_050' changes what it computes" in printed.out
    assert "approximate" in printed.out
    assert "UserWarning" not in printed.err


def test_fields_are_drawn(tmp_path: Path) -> None:
    plot = tmp_path / "fields.png"
    assert main(["inspect", *SMALL_MODEL, "--size", "129", "161", "--plot", str(plot)]) == 0
    image = Image.open(plot)
    assert min(image.size) > 600
    assert colours_in(plot) == set(COLOURS[:3])  # three branches


def test_taps_are_full_on_the_map_and_hollow_beside_it(tmp_path: Path) -> None:
    def coloured(taps: list[tuple[float, float]]) -> int:
        window = SeenWindow("rate 6", (-30, 130), (-30, 130), taps, "note")
        deepest = SeenWindow("deepest map", (10, 90), (10, 90))
        plot_receptive_fields(np.full((100, 100, 3), 230, np.uint8), [deepest, window], "title", tmp_path / "a.png")
        pixels = np.array(Image.open(tmp_path / "a.png").convert("RGB"))
        return int((np.abs(pixels.astype(int) - [0x2A, 0x6F, 0xBB]).max(2) < 3).sum())

    corners: list[tuple[float, float]] = [(-20, -20), (-20, 120), (120, -20), (120, 120)]
    inner: list[tuple[float, float]] = [(50, 30), (50, 70), (30, 50), (70, 50)]
    none, outside, both = coloured(corners[:1] + corners[-1:]), coloured(corners), coloured(corners + inner)
    per_hollow, per_full = (outside - none) / 2, (both - outside) / 4
    assert 0 < 1.5 * per_hollow < per_full


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        "try:\n    main(['inspect', '--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "LOADED []"


# --- feature maps -----------------------------------------------------------------------------------------------------


def test_feature_maps_of_a_checkpoint(
    checkpoint: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "maps"
    options = ["--image", str(scene), "--layers", "aspp,decoder", "--output", str(output)]
    assert main(["inspect", str(checkpoint), *options]) == 0
    files = sorted(path.name for path in output.iterdir())
    assert len(files) == 2
    assert [name.endswith(("aspp.png", "decoder.png")) for name in files] == [True, True]
    for path in output.iterdir():
        assert min(Image.open(path).size) > 200
    assert f"weights of {checkpoint}" in capsys.readouterr().out


def test_the_maps_are_those_of_predict(
    checkpoint: Path, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normalised and padded alike, with the checkpoint's weights."""
    import deeplab_lightning
    from deeplab_lightning.reporting import activations

    drawn: dict[str, tuple[np.ndarray, tuple[int, int]]] = {}

    def note(image: np.ndarray, maps: np.ndarray, name: str, png: Path, *, covered: tuple[int, int], **_: bool) -> None:
        drawn[name] = maps, tuple(covered)

    monkeypatch.setattr(activations, "plot_activations", note)
    assert main(["inspect", str(checkpoint), "--image", str(scene), "--layers", "classifier"]) == 0
    maps, covered = drawn["classifier"]
    assert covered == (81, 97)  # 70 x 91 padded to 16 k + 1

    segmenter = deeplab_lightning.load(checkpoint, "cpu")
    predictor = segmenter.task.predictor()
    image = torch.from_numpy(np.array(Image.open(scene)).transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        expected = predictor.network(predictor._pad(predictor.normalise(image)))[0]
    assert np.allclose(maps, expected.numpy(), atol=1e-5)


def test_a_configuration_alone_draws_random_weights_and_says_so(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", *SMALL_MODEL, "--image", str(scene)]) == 0
    assert "no checkpoint: weights as a training starts from" in capsys.readouterr().out
    names = {path.stem for path in (tmp_path / "activations").iterdir()}
    assert {"backbone", "decoder", "classifier"} <= names


def test_grey_single_and_signed_maps_are_drawn(tmp_path: Path) -> None:
    from deeplab_lightning.reporting.activations import plot_activations

    image = np.full((40, 60, 3), 200, np.uint8)
    for name, maps in {
        "pooled": np.ones((300, 1, 1), np.float32),
        "signed": np.linspace(-1, 1, 2 * 5 * 7, dtype=np.float32).reshape(2, 5, 7),
        "zero": np.zeros((1, 5, 7), np.float32),
    }.items():
        plot_activations(image, maps, name, tmp_path / f"{name}.png", covered=(49, 65), align_corners=True)
        assert Image.open(tmp_path / f"{name}.png").size[0] > 300


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "inspect needs a network: a checkpoint, a run, or -c configs/v3plus.yaml."),
        ([*SMALL_MODEL, "--layers", "aspp"], "add --image FILE"),
        ([*SMALL_MODEL, "--image", "x.png", "--plot", "y.png"], "leave out --plot"),
        ([*SMALL_MODEL, "--size", "20", "65"], "An image of 20x65 is too small: --size takes 33 and more."),
        ([*SMALL_MODEL, "--plot", "y.jpg"], "name it y.png instead of y.jpg"),
        ([*SMALL_MODEL, "--image", "nowhere.png"], "nowhere.png does not exist"),
        ([*SMALL_MODEL, "--size", "65", "65", "--csv", "/nowhere/layers.csv"], "Cannot write /nowhere/layers.csv"),
        (["runs/nothing.ckpt"], "There is no checkpoint runs/nothing.ckpt"),
    ],
    ids=str,
)
def test_mistakes_get_one_line(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert main(["inspect", *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len([line for line in printed.splitlines() if line.startswith("deeplab_lightning inspect: ")]) == 1


def test_a_wrong_layer_gets_the_nearest(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *SMALL_MODEL, "--image", str(scene), "--layers", "decodr"]) == 2
    assert "The network has no part 'decodr'. Did you mean 'decoder'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (["-c", "a.yaml", "run", "--optimizer.lr", "-1", "--size", "3", "4"], ["run", "--size", "3", "4"]),
        (["--model=A", "run", "--csv", "a.b"], ["run", "--csv", "a.b"]),
        (["--csv=a.b", "--config=c.yaml", "--modle.lr", "8"], ["--csv=a.b"]),
        (["--model.separable", "--all"], ["--all"]),
    ],
)
def test_arguments_are_parted(words: list[str], own: list[str]) -> None:
    found, configuration = split_words(words, ["--size", "--csv", "--all"])
    assert found == own
    assert sorted(found + configuration) == sorted(words)
