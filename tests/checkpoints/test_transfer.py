"""Starting from trained weights: which layers are kept, which start anew, and how fast they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.transfer import transfer
from deeplab_lightning.errors import CheckpointError
from deeplab_lightning.tasks import DeepLabV1Task, DeepLabV3PlusTask, DeepLabV3Task, FCNTask

from ..conftest import REPOSITORY, V3PLUS
from ..conftest import SMALL as SMALL_OPTIONS
from ..fakes.camvid import write_camvid

SMALL: dict[str, Any] = {"backbone": "mobilenetv2_035", "aspp_channels": 16}


def as_checkpoint(task: Any) -> dict[str, Any]:
    return {
        "deeplab_lightning": {"task": type(task).__name__},
        "state_dict": {key: value.clone() for key, value in task.state_dict().items()},
        "hyper_parameters": {**task.hparams, "description": task.description},
    }


def names(count: int) -> list[str]:
    return [f"thing_{index}" for index in range(count)]


@pytest.mark.parametrize("others", [["a", "b", "c"], ["a", "b", "d"], ["a", "b"]])
def test_other_classes_replace_the_classifiers_alone(others: list[str]) -> None:
    first = DeepLabV3Task(class_names=["a", "b", "c"], aux_head=True, **SMALL)
    second = DeepLabV3Task(class_names=others, aux_head=True, **SMALL)
    before = {key: value.clone() for key, value in second.state_dict().items()}
    new = transfer(second, second.model.classifiers, second.description, as_checkpoint(first), "first.ckpt")
    assert new == ([] if others == ["a", "b", "c"] else ["aux_head.2", "classifier"])
    for key, value in second.state_dict().items():
        replaced = any(key.startswith(f"model.{layer}.") for layer in new)
        assert torch.equal(value, before[key] if replaced else first.state_dict()[key]), key


@pytest.mark.parametrize(
    ("task_class", "layers"), [(DeepLabV1Task, ["classifier"]), (FCNTask, ["classifier", "score_pool3", "score_pool4"])]
)
def test_every_classifier_of_a_network(task_class: Any, layers: list[str]) -> None:
    with torch.device("meta"):
        first, second = task_class(class_names=names(3)), task_class(class_names=names(5))
    assert transfer(second, second.model.classifiers, second.description, as_checkpoint(first), "first.ckpt") == layers


def test_another_network_is_refused() -> None:
    first = DeepLabV3Task(class_names=names(3), **SMALL)
    second = DeepLabV3PlusTask(class_names=names(5), **SMALL)
    with pytest.raises(CheckpointError, match=r"first\.ckpt belongs to another model: it was written by DeepLabV3Task"):
        transfer(second, second.model.classifiers, second.description, as_checkpoint(first), "first.ckpt")


def test_another_scale_of_pixels_is_refused() -> None:
    first = DeepLabV3Task(class_names=names(3), **SMALL)
    checkpoint = as_checkpoint(first)
    checkpoint["hyper_parameters"]["description"] = {**first.description, "mean": [0.5] * 3, "std": [0.5] * 3}
    with pytest.raises(CheckpointError, match=r"mean \[0\.5, 0\.5, 0\.5\].* Set --data\.mean '\[0\.5, 0\.5, 0\.5\]'"):
        transfer(first, first.model.classifiers, first.description, checkpoint, "first.ckpt")


def test_new_layers_learn_at_their_own_rate_and_still_do_after_a_resume(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By command: from drawn scenes to CamVid."""
    data = str(REPOSITORY / "configs" / "data" / "camvid.yaml")
    options = ["-c", data, *SMALL_OPTIONS, "--data.root", str(write_camvid(tmp_path / "CamVid"))]
    options += ["--run.folder", str(tmp_path / "runs")]
    new = ["--model.weights", str(checkpoint), "--optimizer.head_lr_multiplier", "5", "--optimizer.lr", "0.01"]
    caplog.set_level("INFO")
    assert main(["fit", "-c", str(V3PLUS), *options, *new, "--optimizer.schedule", "step"]) == 0
    assert "last.ckpt knows other classes; layers that start anew: classifier." in caplog.text
    last = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    for step in (4, 6):
        trained = torch.load(last, weights_only=True)
        assert trained["global_step"] == step
        groups = {group["name"]: group for group in trained["optimizer_states"][0]["param_groups"]}
        assert {name: group["initial_lr"] for name, group in groups.items()} == pytest.approx(
            {
                "backbone/bias": 0.01,
                "backbone/kernel": 0.01,
                "backbone/other": 0.01,
                "head/kernel": 0.05,
                "head/bias": 0.05,
            }
        )
        assert [len(groups[name]["params"]) for name in ("head/kernel", "head/bias")] == [1, 1]
        if step == 4:
            resumed = options[2:]  # without the data's file, which names an optimiser, too
            assert main(["fit", *resumed, "--ckpt_path", str(last), "--trainer.max_steps", "6"]) == 0


def test_norms_that_were_folded_are_put_back_before_the_first_step(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By command, from a checkpoint whose norms only add: frozen they stay so, free they get statistics."""
    content = torch.load(checkpoint, weights_only=True)
    for key, value in content["state_dict"].items():
        if key.endswith("running_mean"):
            value.zero_()
        elif key.endswith("running_var"):
            value.fill_(1)
    torch.save(content, tmp_path / "folded.ckpt")
    words = ["fit", "-c", str(V3PLUS), *SMALL_OPTIONS, "--model.weights", str(tmp_path / "folded.ckpt")]
    words += ["--run.folder", str(tmp_path), "--optimizer.lr", "0", "--trainer.max_steps", "1"]
    for name, options in (("free", []), ("frozen", ["--model.freeze_batch_norm", "true"])):
        caplog.clear()
        assert main([*words, "--run.name", name, *options]) == 0
        said = "folded into kernels: their statistics are measured on 20 training batches" in caplog.text
        assert said == (name == "free")
        last = torch.load(tmp_path / name / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
        kept = [value for key, value in last["state_dict"].items() if key.endswith("running_var")]
        assert all(bool((value == 1).all()) for value in kept) == (name == "frozen")
