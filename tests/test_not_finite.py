"""A network whose logits are NaN or infinite: no command makes classes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.errors import NotFiniteError
from deeplab_lightning.export import run_model
from deeplab_lightning.export.format import Order, format_named
from deeplab_lightning.export.model import NO_NUMBER, ImageModel, example
from deeplab_lightning.inference import EvaluationOptions
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.metrics.segmentation import SegmentationScores

from .export.networks import NORMALISE, network


@pytest.fixture(scope="module")
def broken(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = read_checkpoint(checkpoint)
    content["state_dict"]["model.classifier.weight"].fill_(3e38)  # a number, which what is computed with is not
    path = tmp_path_factory.mktemp("broken") / "broken.ckpt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("command", "folder"),
    [("validate", "--run.folder"), ("test", "--run.folder"), ("evaluate", "--output"), ("crf-search", "--output")],
)
def test_scores_are_refused(
    command: str, folder: str, broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = DrawnScenes("test" if command == "test" else "val", 1, 64, 80).sample_id(0)
    assert main([command, "--ckpt_path", str(broken), folder, str(tmp_path / "results")]) == 2
    said = capsys.readouterr().err
    assert "NaN or infinite" in said
    assert name in said
    assert str(broken) in said


def test_predict_and_export_are_refused(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(DrawnScenes("val", 5, 70, 91).load(0)[0]).save(tmp_path / "scene.png")
    assert main(["predict", str(tmp_path / "scene.png"), "--ckpt_path", str(broken), "--output", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert str(tmp_path / "scene.png") in said
    assert str(broken) in said
    assert main(["export", str(broken), "-o", str(tmp_path / "model.onnx")]) == 2
    assert str(broken) in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = read_checkpoint(checkpoint)
    content["state_dict"]["model.classifier.bias"][0] = torch.nan
    torch.save(content, tmp_path / "nan.ckpt")
    Image.fromarray(DrawnScenes("val", 5, 70, 91).load(0)[0]).save(tmp_path / "scene.png")
    predict = ["predict", str(tmp_path / "scene.png"), "--ckpt_path"]
    for words in (predict, ["validate", "--ckpt_path"], ["export", "-o", str(tmp_path / "x.onnx")]):
        assert main([*words, str(tmp_path / "nan.ckpt")]) == 2
        said = capsys.readouterr().err
        assert "NaN or infinite, 1 of" in said
        assert "model.classifier.bias" in said
    assert not (tmp_path / "predictions").exists()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("options", [{}, {"scales": (0.5, 1.0), "flip": True}])
def test_every_kind_of_value_and_view(value: float, options: dict[str, object]) -> None:
    def logits(image: torch.Tensor) -> torch.Tensor:
        made = torch.zeros(len(image), 3, 5, 5)
        made[0, 1, 2, 2] = value
        return made

    predictor = Predictor(
        logits, NORMALISE, output_stride=8, align_corners=True, options=EvaluationOptions.of(options), weights="x.ckpt"
    )
    with pytest.raises(NotFiniteError, match=r"x\.ckpt"):
        predictor.predict(torch.zeros(1, 3, 33, 33, dtype=torch.uint8))


def test_the_metric_counts_no_such_logits() -> None:
    logits = torch.zeros(2, 4, 4)
    logits[1, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="first: its logits"):
        SegmentationScores(["a", "b"], 255).update(logits, torch.zeros(4, 4, dtype=torch.long), "first")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_files_mark_what_is_no_number(format: str, tmp_path: Path) -> None:
    net = network("corners")
    net.coarse_logits[-1].bias.data[1] = torch.nan
    model = ImageModel(net, NORMALISE)
    order = Order(model, example(model, 3, True, (65, 65)), tmp_path / "model", {}, "fp32", 18)
    image = np.zeros((1, 3, 40, 50), np.uint8)
    assert (format_named(format).write(order).run(image) == NO_NUMBER).all()


def test_the_script_beside_a_file_does_not_save_it() -> None:
    facts = {"output": "classes", "class_names": ["a", "b"], "threshold": None}
    assert run_model.decided(np.full((4, 4), NO_NUMBER, np.uint8), facts) is None
    assert run_model.decided(np.full((2, 4, 4), np.nan, np.float32), facts | {"output": "logits"}) is None
    assert run_model.decided(np.ones((4, 4), np.uint8), facts) is not None
