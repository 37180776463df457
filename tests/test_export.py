"""The command: what it writes and prints, its exit code, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.export import gate
from deeplab_lightning.export.format import Order, format_named
from deeplab_lightning.export.gate import Gate
from deeplab_lightning.export.model import ImageModel, example
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.layers.norms import batch_norms

from .export.networks import NORMALISE, network
from .test_main import run_python

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    Image.fromarray(DrawnScenes("val", 5, 70, 91).load(0)[0]).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_help_is_light() -> None:
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        "try:\n    main(['export', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', [name for name in ('torch', 'lightning', 'onnx', 'numpy') if name in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "LOADED []"


def test_a_run_becomes_a_file_with_its_report(
    trained_run: Path, tmp_path: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "model.torchscript"
    assert main(["export", str(trained_run.parent), "-o", str(output), "--model.output_stride", "8"]) == 0
    printed = capsys.readouterr().out
    assert "mIoU, 5 images" in printed
    assert "passed" in printed
    report = json.loads(output.with_name("model.torchscript.gate.json").read_text())
    assert report["passed"]
    assert report["exported"]["class_names"][1] == "house"
    assert report["exported"]["protocol"].startswith("os8")
    assert report["miou"][0] == pytest.approx(report["miou"][1])
    sizes = {tuple(entry["size"][1:]) for entry in report["comparisons"]}
    assert len(sizes) == 2
    extra = {"deeplab_lightning.json": ""}
    module = torch.jit.load(output, _extra_files=extra)
    assert json.loads(extra["deeplab_lightning.json"])["palette"] == report["exported"]["palette"]
    image = torch.from_numpy(np.array(Image.open(scene))).permute(2, 0, 1)[None]
    ours = deeplab_lightning.load(trained_run, "cpu", output_stride=8).predict(str(scene)).mask
    assert (module(image)[0].numpy() == ours).mean() > 0.999


def test_the_original_is_what_predict_runs_and_pytorchs_files_are_folded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    originals: list[Any] = []

    class Watched(Gate):
        def __init__(self, predictor: Predictor, *others: Any) -> None:
            originals.append(predictor.network.__self__)  # type: ignore[attr-defined]
            super().__init__(predictor, *others)

    monkeypatch.setattr(gate, "Gate", Watched)
    output = tmp_path / "model.torchscript"
    assert main(["export", str(checkpoint), "-o", str(output), "--images", "1"]) == 0
    assert [len(batch_norms(network)) for network in originals] == [0]
    assert batch_norms(deeplab_lightning.load(checkpoint, "cpu").task.model)
    assert "batch_norm" not in str(torch.jit.load(output).inlined_graph)


def test_past_the_tolerance_the_exit_code_is_1(checkpoint: Path, tmp_path: Path) -> None:
    words = ["export", str(checkpoint), "-o", str(tmp_path / "model.torchscript"), "--precision", "bf16"]
    assert main([*words, "--images", "1", "--max_difference", "1e-9"]) == 1


def test_other_images_and_another_data_set(
    checkpoint: Path, tmp_path: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(checkpoint), "-o", str(tmp_path / "model.torchscript"), "--outputs", "probs"]
    words += ["--data.height", "64", "--data.width", "96", "--data.val_size", "3", "--check_data", str(scene)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "mIoU, 3 images" in printed
    assert "probs, 1x70x91" in printed
    assert "probs, 1x57x69" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Which format"),
        (["-o", "model.onx"], "Did you mean '.onnx'"),
        (["--format", "pt2", "-o", "model.onnx"], "model.pt2"),
        (["--format", "pt2", "--precision", "int8"], "--format onnx"),
        (["--format", "onnx", "--size", "8", "8"], "33 or more"),
        (["--format", "pt2", "--size", "64", "64"], "takes images of any size"),
        (["--format", "openvino", "--precision", "int8"], "--format onnx"),
        (["--format", "pt2", "--images", "0"], "1 or more"),
        (["-o", "folder.pt2"], "it is a folder"),
        (["-o", "file/model.pt2"], "Choose another place"),
        (["-o", "model.onnx", "--precision", "int8", "--calibration", "empty"], "empty"),
        (["-o", "model.pt2", "--data.hight", "64"], "hight"),
    ],
)
def test_what_is_refused(
    words: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.pt2").mkdir()
    Path("empty").mkdir()
    Path("file").write_text("")
    before = sorted(os.listdir())
    assert main(["export", str(checkpoint), *words]) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir()) == before


def test_a_missing_package_is_named(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deeplab_lightning.commands.export import export

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"deeplab-lightning\[export\]"):
        export(checkpoint, output=tmp_path / "model.onnx")


def test_one_size_and_images_of_others(
    checkpoint: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    from deeplab_lightning.commands.export import calibration_images
    from deeplab_lightning.export import run_model

    output = tmp_path / "model.onnx"
    assert main(["export", str(checkpoint), "-o", str(output), "--size", "70", "91", "--images", "2"]) == 0
    printed = capsys.readouterr().out
    assert "takes one image of 70x91" in printed
    assert "mIoU, 2 images" in printed
    Image.open(scene).crop((0, 0, 91, 69)).save(tmp_path / "lower.png")
    words = [str(output), str(scene), str(tmp_path / "lower.png"), "--output", str(tmp_path / "ran")]
    assert run_model.main(words) == 1
    captured = capsys.readouterr()
    assert "69x91 (height x width); the model takes 70x91 alone" in captured.err
    assert "1 of 2 images segmented" in captured.out
    mask = np.array(Image.open(tmp_path / "ran" / "scene_mask.png"))
    segmenter = deeplab_lightning.load(checkpoint, "cpu")
    assert (mask == segmenter.predict(str(scene)).mask).mean() > 0.999
    assert {batch.shape for batch in calibration_images(segmenter, scene.parent, (70, 91))} == {(1, 3, 70, 91)}
    with pytest.raises(DataError, match="none of the images is of --size 64 64"):
        calibration_images(segmenter, scene.parent, (64, 64))


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_is_two_files(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "model.xml"
    words = ["export", str(checkpoint), "-o", str(output), "--precision", "fp16", "--size", "70", "91"]
    assert main([*words, "--images", "2"]) == 0
    printed = capsys.readouterr().out
    assert f"written: {output}, {output.with_suffix('.bin')}, {output}.gate.json" in printed
    assert "INFERENCE_PRECISION_HINT f32" in printed
    report = json.loads((tmp_path / "model.xml.gate.json").read_text())
    assert report["bytes"][1] == output.stat().st_size + output.with_suffix(".bin").stat().st_size
    assert report["runtime"].startswith("openvino")
    assert report["images"] == 2


def test_int8_of_another_model_needs_images(checkpoint: Path) -> None:
    from dataclasses import replace

    from deeplab_lightning.commands.export import calibration_images

    segmenter = deeplab_lightning.load(checkpoint, "cpu")
    assert len(calibration_images(segmenter, None)) == 64
    names = tuple(f"other_{index}" for index in range(10))
    segmenter.labels = replace(segmenter.labels, class_names=names)
    with pytest.raises(ConfigError, match="--calibration FOLDER"):
        calibration_images(segmenter, None)


def test_images_of_a_format_of_one_size(checkpoint: Path, scene: Path) -> None:
    from deeplab_lightning.commands.export import unseen_images

    segmenter = deeplab_lightning.load(checkpoint, "cpu")
    assert [batch.shape for batch in unseen_images(segmenter, None, (81, 97))] == [(1, 3, 81, 97)]
    with pytest.raises(DataError, match="81x97 alone"):
        unseen_images(segmenter, [str(scene)], (81, 97))


@pytest.mark.slow
def test_in_an_environment_of_three_packages(checkpoint: Path, tmp_path: Path, scene: Path) -> None:
    """The exported v3+ needs onnxruntime, numpy and Pillow alone, and gives the pixels of `predict`."""
    output = tmp_path / "model.onnx"
    assert main(["export", str(checkpoint), "-o", str(output)]) == 0
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "onnxruntime", "numpy", "Pillow"], check=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, tmp_path / "run_model.py", output, scene, "--output", tmp_path / "ran"]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    mask = np.array(Image.open(tmp_path / "ran" / "scene_mask.png"))
    assert (mask == deeplab_lightning.load(checkpoint, "cpu").predict(str(scene)).mask).mean() > 0.999


@pytest.mark.parametrize(
    "asked",
    [
        13,
        pytest.param(20, marks=pytest.mark.slow),
        pytest.param(18, marks=pytest.mark.slow),
        pytest.param(99, marks=pytest.mark.slow),
    ],
)
def test_what_an_onnx_file_says_of_itself_is_what_it_is(
    asked: int, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    output = tmp_path / "model.onnx"
    code = main(["export", str(checkpoint), "-o", str(output), "--opset", str(asked), "--images", "1"])
    said = capsys.readouterr()
    if code == 2:
        assert asked not in (18, 20)
        assert f"--opset {asked}: " in said.err
        assert "What works is --opset" in said.err
        return
    proto = onnx.load(output)
    assert asked == next(entry.version for entry in proto.opset_import if not entry.domain)
    assert f"note: opset {asked}; height, width and batch are open" in said.out
    assert {entry.key: entry.value for entry in proto.metadata_props}["opset"] == str(asked)


def test_a_file_in_another_precision_than_asked_for_is_refused(tmp_path: Path) -> None:
    net = network("corners")
    model = ImageModel(net, NORMALISE, dtype=torch.float16)
    order = Order(model, example(model, 3, True, (65, 65)), tmp_path / "model.torchscript", {}, "fp32", 18)
    with pytest.raises(ConfigError, match="came out in fp16, not in fp32"):
        format_named("torchscript").write(order)
