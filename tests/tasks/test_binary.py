"""Two classes by one logit: the same probabilities and losses, and a threshold that goes from validation to predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.commands import crf_search
from deeplab_lightning.commands.videos import segmenter_of
from deeplab_lightning.data.files.saving import write_image, write_mask
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.export import run_model
from deeplab_lightning.inference.morphology import Morphology
from deeplab_lightning.layers.heads import OneLogit
from deeplab_lightning.losses import loss_options
from deeplab_lightning.metrics.segmentation import SegmentationScores
from deeplab_lightning.options import hints_of
from deeplab_lightning.reporting.evaluation import read_evaluation
from deeplab_lightning.runs import RunFolder
from deeplab_lightning.tasks import DeepLabV1Task, DeepLabV2Task, DeepLabV3PlusTask, DeepLabV3Task

from ..conftest import SMALL, V3PLUS

SMALL_HEADS: dict[str, Any] = {"backbone": "mobilenetv2_035", "aspp_channels": 8, "num_classes": 2}


def test_one_logit_says_what_two_said() -> None:
    torch.manual_seed(0)
    two = torch.nn.Conv2d(6, 2, 3, padding=2, dilation=2)
    features = torch.randn(2, 6, 9, 9)
    one = OneLogit(two)
    assert [tuple(parameter.shape) for parameter in one.parameters()] == [(1, 6, 3, 3), (1,)]
    assert torch.allclose(one(features).softmax(1), two(features).softmax(1), atol=1e-6)
    assert (one(features)[:, 0] == 0).all()


@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_loss_is_the_binary_one(auxiliary: bool) -> None:
    torch.manual_seed(0)
    task = DeepLabV3Task(binary=True, aux_head=auxiliary, **SMALL_HEADS).eval()
    assert task.model.classifier.weight.shape == (1, 8, 1, 1)
    image, mask = torch.rand(2, 3, 33, 33), torch.randint(0, 2, (2, 33, 33))
    mask[0, :5] = 255
    labelled = mask != 255

    def binary(z: torch.Tensor) -> torch.Tensor:
        z = F.interpolate(z[:, 1:], size=(33, 33), mode="bilinear", align_corners=True)[:, 0]
        return F.binary_cross_entropy_with_logits(z[labelled], mask[labelled].float())

    stages = task.model.backbone(image)
    expected = binary(task.model.classifier(task.model.context(stages[-1])))
    if auxiliary:
        assert task.model.aux_head[-1].weight.shape[0] == 1
        expected = expected + 0.4 * binary(task.model.aux_head(stages[-2]))
    assert task.loss(task.model.training_maps(image), mask).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("task_class", [DeepLabV1Task, DeepLabV2Task])
def test_the_background_stays_zero_through_sums_and_scales(task_class: Any) -> None:
    options = {} if task_class is DeepLabV1Task else {"backbone": "mobilenetv2_035"}
    with torch.device("meta"):
        on_paper = task_class(num_classes=2, binary=True, **options)
    heads = [module for module in on_paper.model.modules() if isinstance(module, OneLogit)]
    assert len(heads) == (1 if task_class is DeepLabV1Task else 4)
    if task_class is DeepLabV2Task:
        task = task_class(num_classes=2, binary=True, **options).eval()
        with torch.no_grad():
            maps = task.model.training_maps(torch.rand(1, 3, 65, 65))
            assert len(maps.further) == 3
            assert all((logits[:, 0] == 0).all() for logits in (maps.main, *maps.further))


def test_every_loss_takes_it() -> None:
    torch.manual_seed(0)
    image, mask = torch.rand(2, 3, 33, 33), torch.randint(0, 2, (2, 33, 33))
    names = [name for name in hints_of(loss_options()) if name not in ("depth", "distillation", "instances")]
    assert len(names) > 7
    options = {"binary": True, "loss": {name: {} for name in names}, "decoder_channels": 8, **SMALL_HEADS}
    task = DeepLabV3PlusTask(**options)
    loss = task.loss(task.model.training_maps(image), mask)
    loss.backward()
    assert loss.isfinite()


def test_other_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data of two classes; this has 3"):
        DeepLabV3PlusTask(num_classes=3, binary=True)


@pytest.fixture(scope="module")
def binary_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on an own folder of black and white masks, as `doctor` would have them read."""
    folder = tmp_path_factory.mktemp("binary")
    generator = np.random.default_rng(0)
    for number in range(8):
        mask = np.zeros((64, 64), np.uint8)
        mask[:, : 8 + number] = 255
        image = np.clip(90 + 0.24 * mask[..., None] + generator.normal(0, 40, (64, 64, 3)), 0, 255).astype(np.uint8)
        split = "train" if number < 5 else "val" if number < 7 else "test"
        write_image(folder / "data" / split / "images" / f"{number}.png", image)
        write_mask(folder / "data" / split / "masks" / f"{number}.png", mask, np.zeros((256, 3), np.uint8))
    words = ["fit", "-c", str(V3PLUS), *SMALL, "--data", "Folder", "--data.root", str(folder / "data")]
    words += ["--data.class_names", "[ground, crack]", "--data.label_map", "{0: 0, 255: 1}", "--model.binary", "true"]
    words += ["--run.folder", str(folder / "runs"), "--trainer.max_steps", "2", "--optimizer.warmup_steps", "0"]
    assert main(words) == 0
    return folder / "runs" / "v3plus" / "version_0"


@pytest.fixture(scope="module")
def parted(binary_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint, with a threshold that parts a validation image in halves, as 0.5 does not."""
    last = binary_run / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    image = next((binary_run.parents[2] / "data" / "val" / "images").iterdir())
    probs = deeplab_lightning.load(last).predict(image).probs[1]
    checkpoint["deeplab_lightning"]["threshold"] = float(np.median(probs))
    assert (probs > 0.5).mean() < 0.3 or (probs > 0.5).mean() > 0.7
    path = tmp_path_factory.mktemp("parted") / "parted.ckpt"
    torch.save(checkpoint, path)
    return path


def evaluation(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "evaluation.json").read_text()))


def test_a_score_stands_beside_the_threshold_that_it_was_made_with(binary_run: Path, parted: Path) -> None:
    assert "threshold" not in evaluation(binary_run)["protocol"]  # the threshold was found by these very images
    runs = parted.parent / "runs"
    assert main(["validate", "--ckpt_path", str(parted), "--run.folder", str(runs), "--run.name", "whole"]) == 0
    threshold = read_checkpoint(parted)["deeplab_lightning"]["threshold"]
    validated = evaluation(next(runs.rglob("evaluation.json")).parent)
    assert f"threshold {threshold:.3g}" in validated["protocol"]
    data = binary_run.parents[2] / "data" / "val"
    model, scores = deeplab_lightning.load(parted), SegmentationScores(["ground", "crack"], 255)
    for path in (data / "images").iterdir():
        mask = np.array(Image.open(data / "masks" / path.name))
        scores.update(
            torch.from_numpy(model.predict(path).mask), torch.from_numpy((mask > 0).astype(np.uint8)), path.name
        )
    assert validated["mIoU"] == pytest.approx(scores.scores().mIoU, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize(
    ("suffix", "outputs"),
    [("onnx", "classes"), pytest.param("onnx", "probs", marks=pytest.mark.slow), ("torchscript", "classes")],
)
def test_a_file_decides_as_predict_does(
    suffix: str, outputs: str, binary_run: Path, parted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The label map, which has come back from a checkpoint here, has numbers for keys."""
    output = tmp_path / f"model.{suffix}"
    assert main(["export", str(parted), "-o", str(output), "--outputs", outputs]) == 0
    assert "mIoU on 2 of 2 validation images of Folder" in capsys.readouterr().out
    facts = json.loads(output.with_name(f"{output.name}.gate.json").read_text())["exported"]
    threshold = read_checkpoint(parted)["deeplab_lightning"]["threshold"]
    assert facts["threshold"] == threshold
    path = next((binary_run.parents[2] / "data" / "val" / "images").iterdir())
    stored = np.array(Image.open(path)).transpose(2, 0, 1)[None]
    if suffix == "onnx":
        given = onnxruntime.InferenceSession(output).run(None, {"image": stored})[0][0]
        found = run_model.decided(given, facts)
    else:
        found = torch.jit.load(output)(torch.from_numpy(stored))[0].numpy()
    assert (found == deeplab_lightning.load(parted).predict(path).mask).mean() > 0.999
    assert 0.3 < found.mean() < 0.7


def test_crf_search_decides_as_validate_does(
    binary_run: Path, parted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crf_search, "search", lambda score: score((4.0, 30.0, 5.0)) and (4.0, 30.0, 5.0))
    runs, output = tmp_path / "runs", tmp_path / "search"
    assert main(["validate", "--ckpt_path", str(parted), "--run.folder", str(runs), "--run.name", "whole"]) == 0
    expected = evaluation(next(runs.rglob("evaluation.json")).parent)["mIoU"]
    assert main(["crf-search", "--ckpt_path", str(parted), "--iterations", "1", "--output", str(output)]) == 0
    assert json.loads((output / "best.json").read_text())["mIoU_without"] == pytest.approx(expected, abs=1e-3)


def test_the_threshold_of_validation_is_used_by_test_and_predict(binary_run: Path, tmp_path: Path) -> None:
    """Found in training, kept in the checkpoint, named beside the score."""
    last = binary_run / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    threshold = checkpoint["deeplab_lightning"]["threshold"]
    assert checkpoint["state_dict"]["model.classifier.weight"].shape[0] == 1
    log = (binary_run / "metrics.csv").read_text()
    assert {"val/best_threshold", "val/best_threshold_IoU"} <= set(log.splitlines()[0].split(","))

    model = deeplab_lightning.load(last)
    assert str(model.task.decision) in model.protocol
    # What training scored, it scored at 0.5; of the found threshold `validate` speaks, and of another precision.
    assert read_evaluation(RunFolder(binary_run)).protocol.endswith("whole image")
    words = ["validate", "--ckpt_path", str(last), "--trainer.precision", "bf16-mixed", "--trainer.accelerator", "cpu"]
    assert main([*words, "--run.folder", str(tmp_path / "scored")]) == 0
    scored = read_evaluation(RunFolder(next((tmp_path / "scored").glob("*/version_0"))))
    assert scored.protocol.endswith(f"whole image, {model.task.decision}, precision bf16-mixed")
    noise = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    probs = model.task.predictor().probs(noise[None])[0, 1]
    expected = (probs > threshold).numpy()
    assert (model.predict(noise).mask == expected).mean() > 0.999

    # What decides behind post-processing and smoothing is the threshold too; here one at neither class's half.
    model.task.threshold = float(probs.median())
    parted = (probs > model.task.threshold).numpy()
    assert 0.4 < parted.mean() < 0.6
    assert ((probs > 0.5).numpy() != parted).mean() > 0.2
    frame = noise.permute(1, 2, 0).numpy()
    assert (segmenter_of(model, 0.5, Morphology())(frame) == parted).mean() > 0.999
    assert (model.predict(frame, Morphology(min_area=1)).mask == parted).mean() > 0.999
