"""Files that tell objects apart: what `decode` makes of the same maps, in ONNX Runtime and OpenVINO."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.export import run_model
from deeplab_lightning.export.format import Exported, Order, format_named
from deeplab_lightning.export.gate import TOLERANCES, Gate, GateReport, Labelled
from deeplab_lightning.export.model import ImageModel, Objects
from deeplab_lightning.export.object_gate import ObjectComparison
from deeplab_lightning.inference.options import EvaluationOptions, ObjectOptions
from deeplab_lightning.inference.panoptic import Panoptic, PanopticPredictor, decode
from deeplab_lightning.layers import Normalise
from deeplab_lightning.losses.instances import instance_targets
from deeplab_lightning.models.base import InstanceMaps

from ..test_predict_objects import SMALL

CLASSES, THINGS, VOID = 5, (2, 3), 255
NAMES = ["a", "b", "c", "d", "e"]
AS_STORED = Normalise([0.0] * (CLASSES + 3), [1.0] * (CLASSES + 3), 1.0)
RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"no {package}"))
    for name, package in (("onnx", "onnxruntime"), ("openvino", "openvino"))
]


class GivenMaps(nn.Module):
    """A network whose maps are the channels of its image: logits, centres, offsets."""

    finds_objects = True
    needs_fixed_size = None

    def __init__(self, output_stride: int = 1, align_corners: bool = False) -> None:
        super().__init__()
        self.output_stride, self.align_corners, self.side_remainder = output_stride, align_corners, 1
        self.scale = nn.Parameter(torch.ones(1, CLASSES + 3, 1, 1))

    def coarse_maps(self, image: Tensor) -> tuple[Tensor, InstanceMaps]:
        maps = image[:, :, :: self.output_stride, :: self.output_stride] * self.scale
        return maps[:, :CLASSES], InstanceMaps(maps[:, CLASSES : CLASSES + 1], maps[:, CLASSES + 1 :])

    def coarse_logits(self, image: Tensor) -> Tensor:
        return self.coarse_maps(image)[0]

    def all_maps(self, image: Tensor) -> Tensor:
        logits, instances = self.coarse_maps(image)
        return torch.cat([logits, *instances], dim=1)


def random_maps(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Blocks of classes; centres that differ wherever they are; offsets of some pixels."""
    drawn = np.random.default_rng(seed)
    logits = 5 * drawn.random((batch, CLASSES, -(-height // 6), -(-width // 6))).repeat(6, axis=2).repeat(6, axis=3)
    centres = drawn.permutation(batch * height * width).reshape(batch, 1, height, width) / (batch * height * width)
    maps = [logits[:, :, :height, :width], centres, drawn.normal(0, 8, (batch, 2, height, width))]
    return torch.from_numpy(np.concatenate(maps, axis=1).astype(np.float32))


def expected(maps: Tensor, options: ObjectOptions) -> Panoptic:
    """Decode one image's maps `(CLASSES + 3, H, W)`."""
    logits, centres, offsets = maps[:CLASSES], maps[CLASSES], maps[CLASSES + 1 :]
    classes, sureness = logits.argmax(0).to(torch.uint8), logits.softmax(0).amax(0)
    return decode(classes, sureness, centres, offsets, torch.tensor(THINGS), VOID, options)


def written(
    runtime: str, folder: Path, options: ObjectOptions, net: nn.Module | None = None, **order: Any
) -> tuple[ImageModel, Exported]:
    objects = Objects(THINGS, VOID, options)
    given: Any = net or GivenMaps()
    model = ImageModel(given, AS_STORED, inputs="normalised", objects=objects)
    path = folder / f"model{format_named(runtime).suffix}"
    made = Order(model, random_maps(2, 33, 41), path, {}, order.pop("precision", "fp32"), 18, **order)
    return model, format_named(runtime).write(made)


def check(exported: Exported, maps: Tensor, options: ObjectOptions) -> int:
    """Hold what a file gives of a batch against `decode`, image by image; return how many objects there are."""
    assert exported.run_objects is not None
    numbers, panoptic, object_classes, scores = exported.run_objects(maps.numpy())
    assert [each.dtype for each in (numbers, panoptic, object_classes, scores)] == ["int32", "uint8", "int64", "f4"]
    before = 0
    for index, image in enumerate(maps):
        found = expected(image, options)
        after = before + len(found.scores)
        np.testing.assert_array_equal(panoptic[index], found.classes)
        np.testing.assert_array_equal(numbers[index], np.where(found.numbers > 0, found.numbers + before, 0))
        np.testing.assert_array_equal(object_classes[before:after], found.object_classes)
        np.testing.assert_allclose(scores[before:after], found.scores, atol=1e-5)
        before = after
    assert len(object_classes) == len(scores) == before
    return before


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("threshold", "window", "most", "stuff"),
    [(0.1, 5, 400, 0), (0.6, 7, 3, 150), (0.0, 1, 50, 90), (1.0, 5, 400, 0)],
    ids=str,
)
def test_equals_decode(runtime: str, threshold: float, window: int, most: int, stuff: int, tmp_path: Path) -> None:
    options = ObjectOptions(centre_threshold=threshold, centre_window=window, max_objects=most, min_stuff_area=stuff)
    _, exported = written(runtime, tmp_path, options)
    found = [check(exported, random_maps(*size), options) for size in ((1, 40, 50), (2, 33, 47), (1, 13, 80))]
    assert found == [0, 0, 0] if threshold == 1 else min(found) > 2
    equally_far = random_maps(1, 40, 50)
    equally_far[:, -2:].round_()
    check(exported, equally_far, options)
    no_things = random_maps(1, 20, 30)
    no_things[:, 2:4] = -9
    assert check(exported, no_things, options) == 0


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_image_without_centres_takes_none_of_another(runtime: str, precision: str, tmp_path: Path) -> None:
    """In OpenVINO's fp16, all that is left of a float of 2^24 is 65504."""
    if (runtime, precision) == ("onnx", "fp16"):
        pytest.skip("its model would be in fp16, and its maps others")
    options = ObjectOptions(min_stuff_area=0)
    maps = random_maps(2, 30, 40)
    maps[1, CLASSES] = 0
    assert check(written(runtime, tmp_path, options, precision=precision)[1], maps, options) > 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_true_maps_give_back_the_objects(runtime: str, tmp_path: Path) -> None:
    mask, numbers = torch.zeros(1, 60, 90, dtype=torch.uint8), torch.zeros(1, 60, 90, dtype=torch.int32)
    for number, (rows, columns) in enumerate([((5, 20), (4, 30)), ((12, 40), (30, 70)), ((45, 58), (60, 88))], 1):
        box = np.s_[0, rows[0] : rows[1], columns[0] : columns[1]]
        mask[box], numbers[box] = 2 + number % 2, number
    targets = instance_targets(numbers, mask, torch.tensor(THINGS), VOID, 8.0)
    logits = 50.0 * nn.functional.one_hot(mask.long(), CLASSES).permute(0, 3, 1, 2)
    maps = torch.cat([logits, targets.centres[:, None], targets.offsets], dim=1)
    _, exported = written(runtime, tmp_path, ObjectOptions(min_stuff_area=0))
    assert exported.run_objects is not None
    found, panoptic, object_classes, scores = exported.run_objects(maps.numpy())
    np.testing.assert_array_equal(panoptic, mask)
    pairs = set(zip(found.ravel().tolist(), numbers.flatten().tolist(), strict=True))
    assert len(pairs) == 4  # nothing, and one of ours for each of theirs
    assert sorted(object_classes) == [2, 3, 3]
    np.testing.assert_allclose(scores, 1, atol=1e-6)


def test_logits_that_are_no_numbers_leave_nothing(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    maps = random_maps(1, 30, 40)
    maps[0, CLASSES + 1, 3, 4] = np.nan
    _, exported = written("onnx", tmp_path, ObjectOptions(min_stuff_area=0))
    assert exported.run_objects is not None
    numbers, panoptic, object_classes, _ = exported.run_objects(maps.numpy())
    assert (numbers == 0).all()
    assert (panoptic == VOID).all()
    assert len(object_classes) == 0


def predictor(net: nn.Module, options: ObjectOptions) -> PanopticPredictor:
    network: Any = net
    return PanopticPredictor(
        network.coarse_logits,
        AS_STORED,
        all_maps=network.all_maps,
        things=THINGS,
        ignore_index=VOID,
        output_stride=network.output_stride,
        align_corners=network.align_corners,
        options=EvaluationOptions(objects=options),
    )


def gated(model: ImageModel, exported: Exported, options: ObjectOptions) -> GateReport:
    maps = random_maps(1, 41, 54)
    found = expected(maps[0], options)
    truth = Labelled("x", maps.numpy(), found.classes.numpy(), found.numbers.numpy())
    gate = Gate(predictor(model.network, options), model, exported, TOLERANCES["fp32"])
    return gate.check([random_maps(1, 33, 49).numpy(), random_maps(2, 40, 37).numpy()], [truth], "", NAMES, VOID)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("align_corners", [False, True])
def test_the_gate_holds_enlarged_maps_against_the_original(runtime: str, align_corners: bool, tmp_path: Path) -> None:
    options = ObjectOptions(centre_window=7, min_stuff_area=40)
    net = GivenMaps(output_stride=4, align_corners=align_corners)
    model, exported = written(runtime, tmp_path, options, net, one_size=False)
    report = gated(model, exported, options)
    assert report.failures == []
    assert report.objects is not None
    assert report.objects.same > 0.99
    assert report.objects.images == 1
    assert report.objects.pq is not None
    assert 0 < report.objects.pq[0] < 1
    assert report.objects.pq[0] == pytest.approx(report.objects.pq[1])


def test_the_gate_stops_a_file_of_other_constants(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    options = ObjectOptions(centre_window=7, min_stuff_area=0)
    model, exported = written("onnx", tmp_path, ObjectOptions(centre_window=31, min_stuff_area=0))
    report = gated(model, exported, options)
    assert [text.split(" ")[0] for text in report.failures] == ["objects", "PQ"]
    assert report.objects is not None
    assert report.objects.pq is not None
    assert report.objects.pq[0] == 1 > report.objects.pq[1]


@pytest.mark.parametrize(
    ("found", "expected_words"),
    [
        (ObjectComparison(0.99, (0.5, 0.5), 3), []),
        (ObjectComparison(0.98, None, 0), ["by a PQ of 0.9800, expected 0.99"]),
        (ObjectComparison(1.0, (0.5, 0.4), 3), ["PQ falls from 0.5000 to 0.4000"]),
        (ObjectComparison(1.0, (0.5, float("nan")), 3), ["to nan"]),
    ],
)
def test_what_is_past_the_tolerance(found: ObjectComparison, expected_words: list[str]) -> None:
    failures = found.failures(0.99, 0.001)
    assert len(failures) == len(expected_words)
    assert all(words in text for words, text in zip(expected_words, failures, strict=True))


@pytest.mark.slow
def test_a_checkpoint_becomes_a_file_that_tells_objects_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way: training, `export`, the gate, the script that needs no PyTorch."""
    pytest.importorskip("onnxruntime")
    words = ["fit", "--model", "PanopticDeepLab", *SMALL, "--run.folder", str(tmp_path / "runs"), "--run.name", "small"]
    assert main(words) == 0
    run, scene = tmp_path / "runs" / "small" / "version_0", tmp_path / "scene.png"
    Image.fromarray(DrawnScenes("val", 1, 70, 90).load(0)[0]).save(scene)
    output = tmp_path / "model.onnx"
    assert main(["export", str(run), "-o", str(output), "--images", "2"]) == 0
    printed = capsys.readouterr().out
    assert "PQ, 2 images" in printed
    report = json.loads(output.with_name("model.onnx.gate.json").read_text())
    assert report["objects"]["same"] > 0.99
    options = {"centre_threshold": 0.0, "centre_window": 9, "max_objects": 400, "min_stuff_area": 0}
    assert report["exported"]["objects"]["options"] == options

    assert run_model.main([str(output), str(scene), "--output", str(tmp_path / "ran")]) == 0
    words = ["predict", str(scene), "--ckpt_path", str(run), "--output", str(tmp_path / "ours"), *SMALL[-2:]]
    assert main(words) == 0
    theirs, ours = ([*csv.DictReader((tmp_path / name / "objects.csv").open())] for name in ("ran", "ours"))
    assert list(theirs[0]) == list(ours[0])
    assert abs(len(theirs) - len(ours)) <= 0.02 * len(ours)
    numbers = np.array(Image.open(tmp_path / "ran" / f"{scene.stem}_numbers.png"))
    for row in theirs:
        assert (numbers == int(row["number"])).sum() == int(row["area"])
    assert len(np.unique(numbers[numbers > 0])) == len(theirs)

    assert main(["export", str(run), "-o", str(tmp_path / "model.torchscript"), "--images", "1"]) == 0
    assert "does not tell objects apart; what does is --format onnx or openvino" in capsys.readouterr().out
