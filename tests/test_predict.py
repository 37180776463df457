"""From a checkpoint alone to masks and overlays, by command and from Python."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.errors import CheckpointError, ConfigError, DataError
from deeplab_lightning.inference import EvaluationOptions
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.metrics.per_image import ImageCounts


@pytest.fixture
def scene() -> np.ndarray:
    return DrawnScenes("val", 5, 64, 80).load(0)[0]


def predict(checkpoint: Path, output: Path, *words: str | Path) -> int:
    return main(
        ["predict", *map(str, words), "--ckpt_path", str(checkpoint), "--output", str(output), "--device", "cpu"]
    )


def test_masks_and_overlays_at_the_images_own_sizes(checkpoint: Path, tmp_path: Path, scene: np.ndarray) -> None:
    images = tmp_path / "in"
    (images / "deeper").mkdir(parents=True)
    Image.fromarray(scene).save(images / "a.png")
    Image.fromarray(scene[:47, :33]).save(images / "deeper" / "b.jpg")
    assert predict(checkpoint, tmp_path / "out", images) == 0
    for name, size in (("a", (80, 64)), ("deeper/b", (33, 47))):
        mask = Image.open(tmp_path / "out" / "masks" / f"{name}.png")
        assert mask.mode == "P"
        assert mask.size == size
        assert np.array(mask).max() < 10
        assert Image.open(tmp_path / "out" / "overlays" / f"{name}.png").size == size
        from deeplab_lightning.data.sets.drawn_scenes import DRAWN_SCENES

        assert tuple(mask.getpalette()[3:6]) == DRAWN_SCENES.palette[1]
    rows = (tmp_path / "out" / "classes.csv").read_text().splitlines()
    assert rows[0] == "id,name,red,green,blue"
    assert rows[2].startswith("1,house,")


def test_predict_agrees_with_validate_pixel_by_pixel(trained_run: Path, checkpoint: Path, tmp_path: Path) -> None:
    source = DrawnScenes("val", 5, 64, 80)
    for index in range(len(source)):
        Image.fromarray(source.load(index)[0]).save(tmp_path / f"{source.sample_id(index)}.png")
    assert predict(checkpoint, tmp_path / "out", tmp_path / "*.png") == 0
    counts = ImageCounts(source.labels.class_names)
    for index in range(len(source)):
        truth = source.load(index)[1].astype(int)
        pred = np.array(Image.open(tmp_path / "out" / "masks" / f"{source.sample_id(index)}.png")).astype(int)
        known = truth != 255
        matrix = np.bincount(truth[known] * 10 + pred[known], minlength=100).reshape(10, 10)
        counts.add(source.sample_id(index), matrix)
    assert main(["validate", "--ckpt_path", str(checkpoint)]) == 0
    validated = sorted((trained_run / "validate").iterdir())[-1]
    assert np.array_equal(np.load(validated / "confusion.npz")["matrix"], counts.total())


def test_unusual_images_work(checkpoint: Path, tmp_path: Path, scene: np.ndarray) -> None:
    image = Image.fromarray(scene)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    Image.fromarray(scene[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert predict(checkpoint, tmp_path / "out", tmp_path) == 0
    sizes = {
        name: Image.open(tmp_path / "out" / "masks" / f"{name}.png").size
        for name in ("turned", "grey", "alpha", "deep")
    }
    assert sizes == {"turned": (64, 80), "grey": (80, 64), "alpha": (80, 64), "deep": (80, 64)}


def test_pillow_images_are_segmented_as_their_files_are(checkpoint: Path, tmp_path: Path, scene: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = np.broadcast_to(np.linspace(0, 255, scene.shape[1]).astype(np.uint8), scene.shape[:2])
    Image.fromarray(scene).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.dstack([scene, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(scene[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    model = deeplab_lightning.load(checkpoint, "cpu")
    for path in sorted(tmp_path.glob("*.png")):
        assert np.array_equal(model.predict(Image.open(path)).mask, model.predict(path).mask), path.name


def test_an_unreadable_image_is_reported_at_the_end_and_stops_nothing(
    checkpoint: Path, tmp_path: Path, scene: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    Image.fromarray(scene).save(tmp_path / "z.png")
    broken = tmp_path / "m.png"
    broken.write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    assert predict(checkpoint, tmp_path / "out", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "2 of 3 images segmented" in printed
    assert "not segmented: " in printed.splitlines()[-1]
    assert str(broken) in printed.splitlines()[-1]
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png", "z.png"]


def test_images_that_differ_in_their_ending_keep_it(checkpoint: Path, tmp_path: Path, scene: np.ndarray) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    Image.fromarray(scene).save(tmp_path / "a.jpg")
    assert predict(checkpoint, tmp_path / "out", tmp_path) == 0
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.jpg.png", "a.png.png"]


def test_predict_at_another_output_stride_says_so(
    checkpoint: Path, tmp_path: Path, scene: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.png", "--model.output_stride", "8") == 0
    assert "(os8, scale 1, whole image)" in capsys.readouterr().out


def test_no_place_to_write_is_named(
    checkpoint: Path, tmp_path: Path, scene: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    (tmp_path / "out").write_text("a file where the folder should be")
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.png") == 2
    assert f"Cannot write to {tmp_path / 'out'}" in capsys.readouterr().err


# --- from Python --------------------------------------------------------------------------------------------------


def test_load_takes_a_run_or_a_checkpoint(trained_run: Path, scene: np.ndarray) -> None:
    results = [
        deeplab_lightning.load(path, device="cpu").predict(scene)
        for path in (
            trained_run,
            trained_run.parent,
            trained_run.parent / "latest",
            trained_run / "checkpoints" / "best.ckpt",
        )
    ]
    assert all(np.array_equal(result.mask, results[0].mask) for result in results)
    assert results[0].mask.shape == (64, 80)
    assert results[0].overlay().shape == (64, 80, 3)
    assert sum(results[0].shares().values()) == pytest.approx(1)


def test_every_kind_of_input_gives_the_same_mask(checkpoint: Path, tmp_path: Path, scene: np.ndarray) -> None:
    model = deeplab_lightning.load(checkpoint, device="cpu")
    Image.fromarray(scene).save(tmp_path / "scene.png")
    expected = model.predict(scene).mask
    inputs = [
        tmp_path / "scene.png",
        str(tmp_path / "scene.png"),
        Image.fromarray(scene),
        torch.from_numpy(scene.transpose(2, 0, 1)),
    ]
    assert all(np.array_equal(model.predict(image).mask, expected) for image in inputs)


def test_an_array_of_floats_is_refused(checkpoint: Path, scene: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"shape \(64, 80, 3\) and type float64: expected uint8"):
        deeplab_lightning.load(checkpoint).predict(scene / 255)


def test_options_of_the_model_can_be_changed_or_are_refused(checkpoint: Path) -> None:
    assert deeplab_lightning.load(checkpoint, output_stride=8).protocol.startswith("os8")
    with pytest.raises(ConfigError, match=r"has no option 'output_strid'. Did you mean 'output_stride'\?"):
        deeplab_lightning.load(checkpoint, output_strid=8)
    with pytest.raises(CheckpointError, match="do not fit the model with these options"):
        deeplab_lightning.load(checkpoint, aspp_channels=24)


def test_loading_what_is_not_there_names_what_is(trained_run: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        deeplab_lightning.load(trained_run / "checkpoints" / "nothing.ckpt")


def test_masks_are_postprocessed(
    checkpoint: Path, tmp_path: Path, scene: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    model = deeplab_lightning.load(checkpoint, "cpu")
    probs, plain = model.probs(scene), model.predict(scene).mask
    assert np.allclose(probs.sum(0), 1, atol=1e-5)
    assert np.array_equal(probs.argmax(0), plain)
    threshold = float(np.median(probs.max(0)))
    names = model.labels.class_names
    words = ("--threshold", str(threshold), "--unsure", names[3], "--min_area", "30", "--postprocess_classes", names[0])
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.png", *words) == 0
    assert ", min area 30 of classes 0): " in capsys.readouterr().out
    from deeplab_lightning.inference.morphology import Morphology

    expected = Morphology(threshold=threshold, unsure=3, min_area=30, classes=(0,)).apply(plain, probs)
    assert np.array_equal(np.array(Image.open(tmp_path / "out/masks/a.png")), expected)
    assert not np.array_equal(expected, plain)
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.png", "--largest", "hous") == 2
    assert "Did you mean 'house'" in capsys.readouterr().err


# --- how images are looked at -----------------------------------------------------------------------------------------


def test_predict_takes_evaluation_options_and_says_so(
    checkpoint: Path, tmp_path: Path, scene: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    words = ["--evaluation.scales", "[0.75, 1]", "--evaluation.flip", "true", "--evaluation.window_size", "65"]
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.png", *words, "--crf", "{iterations: 2}") == 0
    printed = capsys.readouterr().out
    assert "(os16, scales 0.75, 1, flip, windows of 65 overlapping 25%, CRF 2 iterations" in printed
    model = deeplab_lightning.load(checkpoint, "cpu", scales := EvaluationOptions((0.75, 1.0), True, window_size=65))
    assert model.evaluation == scales
    expected = model.predict(scene, crf={"iterations": 2})
    assert np.array_equal(np.array(Image.open(tmp_path / "out" / "masks" / "a.png")), expected.mask)
    assert expected.protocol in printed
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.png", "--evaluation.scales", "[") == 2
    assert "is not YAML" in capsys.readouterr().err
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.png", "--crf", "v3") == 2
    assert "expected one of v1" in capsys.readouterr().err


def test_probabilities_come_when_they_are_asked_for(
    checkpoint: Path, scene: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = deeplab_lightning.load(checkpoint, device="cpu")
    looks: list[str] = []
    probs = Predictor.probs
    monkeypatch.setattr(Predictor, "probs", lambda self, image: looks.append("") or probs(self, image))
    result = model.predict(scene, scales=(0.75, 1.0))
    assert result.protocol == "os16, scales 0.75, 1, whole image"
    assert looks == []
    assert result.probs.shape == (10, 64, 80)
    assert result.probs.dtype == np.float32
    assert looks == [""]
    assert np.allclose(result.probs.sum(0), 1, atol=1e-5)
    assert (result.probs.argmax(0) == result.mask).mean() > 0.999
    assert not np.array_equal(result.probs, model.predict(scene).probs)


def test_notebooks_show_the_overlay(checkpoint: Path, scene: np.ndarray) -> None:
    result = deeplab_lightning.load(checkpoint, device="cpu").predict(scene)
    assert np.array_equal(np.array(Image.open(io.BytesIO(result._repr_png_()))), result.overlay())


def test_unknown_evaluation_options_are_named(checkpoint: Path, scene: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"Unknown option --evaluation\.scale\. Did you mean 'scales'"):
        deeplab_lightning.load(checkpoint, device="cpu").predict(scene, scale=2)


def test_validate_takes_evaluation_options(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their effect on the scores is compared with that of `evaluate` in test_evaluate.py."""
    words = ["--evaluation.window_size", "65", "--evaluation.overlap", "0.5", "--evaluation.crf", "{iterations: 1}"]
    assert main(["validate", "--ckpt_path", str(checkpoint), *words]) == 0
    printed = capsys.readouterr().out
    assert printed.count("os16, scale 1, windows of 65 overlapping 50%, CRF 1 iterations") == 2
    assert main(["validate", "--ckpt_path", str(checkpoint), "--evaluation.scale", "[1]"]) == 2
    assert "Did you mean '--evaluation.scales'?" in capsys.readouterr().err
    assert main(["validate", "--ckpt_path", str(checkpoint), "--evaluation.flip", "2"]) == 2
    assert "--evaluation.flip is 2; expected true or false." in capsys.readouterr().err


def test_class_names_may_hold_commas(checkpoint: Path, tmp_path: Path) -> None:
    content = read_checkpoint(checkpoint)
    content["hyper_parameters"]["description"]["class_names"][1] = 'house, "small"'
    torch.save(content, tmp_path / "named.ckpt")
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    words = ["predict", str(tmp_path / "a.png"), "--ckpt_path", str(tmp_path / "named.ckpt")]
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "classes.csv").open(encoding="utf-8") as file:
        assert list(csv.DictReader(file))[1]["name"] == 'house, "small"'


# --- drafts of annotations; their forms are tested in inference/test_drafts.py ---------------------------------------


def test_drafts_are_written_beside_masks(
    checkpoint: Path, tmp_path: Path, scene: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "a.jpg", "x/a.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(tmp_path / "in" / name)
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    out = tmp_path / "out"
    words = ("--write", "labelme", "coco", "--draft_tolerance", "0", "--draft_min_area", "0")
    assert predict(checkpoint, out, tmp_path / "in", *words) == 1
    printed = capsys.readouterr().out
    assert f"drafts to correct: {out / 'labelme'}\ndrafts to correct: {out / 'coco'}\n" in printed
    content = json.loads((out / "coco" / "annotations.json").read_text())
    assert [one["file_name"] for one in content["images"]] == ["a.jpg.jpg", "a.png.png", "x/a.png"]
    mask = np.array(Image.open(out / "masks" / "x" / "a.png"))
    names = [category["name"] for category in content["categories"]]
    classes = read_checkpoint(checkpoint)["hyper_parameters"]["description"]["class_names"]
    assert names == [name for name in classes if name != "background"]
    areas = dict.fromkeys(names, 0.0)
    for one in content["annotations"]:
        areas[names[one["category_id"] - 1]] += one["area"] * (one["image_id"] == 3)
    assert areas == {name: float((mask == classes.index(name)).sum()) for name in names}
    assert sorted(path.name for path in (out / "labelme").rglob("*.json")) == ["a.jpg.json", "a.json", "a.png.json"]
    assert predict(checkpoint, out, tmp_path / "in", *words) == 2
    assert "labelme is there already" in capsys.readouterr().err


def test_drafts_are_made_of_images_alone(
    checkpoint: Path, tmp_path: Path, scene: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", scene)
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.npy", "--write", "yolo") == 2
    assert "a.npy is a video, a volume or an array" in capsys.readouterr().err
    assert predict(checkpoint, tmp_path / "out", tmp_path / "a.npy", "--write", "jolo") == 2
    assert "Did you mean 'yolo'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
