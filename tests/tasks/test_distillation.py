"""Learning from teachers: what is learned, and what never gets into the student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import deeplab_lightning
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.layers.feature_hook import FeatureHook
from deeplab_lightning.losses.distillation import DistillationOptions, distillation
from deeplab_lightning.tasks import DeepLabV3Task, SegmentationTask, UNetTask
from deeplab_lightning.tasks.distillation import Distillation, Teachers, feature_hook
from deeplab_lightning.tasks.rebuild import load_task

from ..conftest import Fit


def load(path: str) -> SegmentationTask:
    return load_task(read_checkpoint(path), path)


@pytest.fixture(scope="module")
def student(checkpoint: Path) -> DeepLabV3Task:
    torch.manual_seed(0)
    description = read_checkpoint(checkpoint)["hyper_parameters"]["description"]
    return DeepLabV3Task(backbone="mobilenetv2_035", aspp_channels=12, description=description)


def test_the_loss_is_that_of_the_teachers_mean_at_the_students_resolution(
    student: DeepLabV3Task, checkpoint: Path
) -> None:
    """A v3+ at stride 4 teaches a v3 at stride 16; each normalises by itself; no gradient reaches a teacher."""
    options = DistillationOptions((str(checkpoint),) * 2, weight=0.5, temperature=3.0)
    taught = Distillation(student.model, student.description, options, load)
    image = torch.randint(0, 256, (2, 3, 65, 65), dtype=torch.uint8)
    logits = student.model.coarse_logits(student.normalise(image))
    losses = taught(image, logits)
    teacher = load_task(read_checkpoint(checkpoint), checkpoint).eval()
    with torch.no_grad():
        theirs = teacher.model.coarse_logits(teacher.normalise(image))
    coarse = nn.functional.interpolate(theirs, size=logits.shape[-2:], mode="bilinear", align_corners=True)
    assert losses.keys() == {"teachers"}
    assert losses["teachers"].item() == pytest.approx(0.5 * distillation(logits, [coarse], 3.0).item(), rel=1e-4)
    losses["teachers"].backward()
    assert all(parameter.grad is None for task in taught.teachers.tasks for parameter in task.parameters())
    assert not list(taught.parameters())


def test_features_are_adapted_where_the_channels_differ(student: DeepLabV3Task, checkpoint: Path) -> None:
    """12 channels of the student, 16 of the teacher."""
    options = DistillationOptions((str(checkpoint),), weight=0.0, features=2.0)
    student.train()
    taught = Distillation(student.model, student.description, options, load)
    assert student.model.training
    (adapter,) = taught.adapters
    assert isinstance(adapter, nn.Conv2d)
    assert adapter.weight.shape == (16, 12, 1, 1)
    image = torch.randint(0, 256, (2, 3, 65, 65), dtype=torch.uint8)
    losses = taught(image, student.model.coarse_logits(student.normalise(image)))
    assert losses.keys() == {"features"}
    losses["features"].backward()
    assert adapter.weight.grad is not None
    assert student.model.context.aspp.project[0].weight.grad.abs().sum() > 0
    # A student that is its teacher has nothing to learn, and nothing to adapt.
    teacher = load_task(read_checkpoint(checkpoint), checkpoint).eval()
    alike = DistillationOptions((str(checkpoint),), features=1.0)
    same = Distillation(teacher.model, teacher.description, alike, load)
    assert isinstance(same.adapters[0], nn.Identity)
    losses = same(image, teacher.model.coarse_logits(teacher.normalise(image)))
    assert losses["features"].item() == pytest.approx(0, abs=1e-9)
    assert losses["teachers"].item() == pytest.approx(0, abs=1e-6)


def test_attention_needs_no_adapter(student: DeepLabV3Task, checkpoint: Path) -> None:
    options = DistillationOptions((str(checkpoint),), weight=0.0, features=1.0, feature_loss="attention")
    taught = Distillation(student.model, student.description, options, load)
    image = torch.randint(0, 256, (1, 3, 65, 65), dtype=torch.uint8)
    loss = taught(image, student.model.coarse_logits(student.normalise(image)))["features"]
    assert not list(taught.parameters())
    assert 0 < loss.item() < 2


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (lambda names: [*names[:-1], "zebra"], r"other classes than the data: besides \w+; without zebra"),
        (lambda names: names[::-1], "the same classes in another order"),
    ],
)
def test_a_teacher_of_other_classes_is_refused(checkpoint: Path, names: Any, said: str) -> None:
    description = dict(read_checkpoint(checkpoint)["hyper_parameters"]["description"])
    description["class_names"] = names(list(description["class_names"]))
    with pytest.raises(ConfigError, match=said):
        Teachers([str(checkpoint)], description, load)  # type: ignore[arg-type]


def test_layers_are_found_by_name() -> None:
    unet = UNetTask(num_classes=3, base_width=4).model
    feature_hook(unet, "features")  # what the classifier reads
    with pytest.raises(ConfigError, match="Did you mean 'encoder'"):
        feature_hook(unet, "encodr")
    hook = FeatureHook(unet.get_submodule("classifier"), before=True)
    unet(torch.zeros(1, 3, 32, 32))
    assert hook.take().shape == (1, 4, 32, 32)
    with pytest.raises(RuntimeError, match="Nothing went through"):
        hook.take()


def test_training_from_the_command_line_and_going_on(fit: Fit, tmp_path: Path, checkpoint: Path) -> None:
    """The whole run equals the resumed one; the checkpoint is the student's alone, and loads without its teachers."""
    teacher = tmp_path / "teacher.ckpt"
    teacher.write_bytes(checkpoint.read_bytes())
    options = [
        "--loss.distillation.teachers",
        f"[{teacher}]",
        "--loss.distillation.features",
        "0.5",
        "--model.aspp_channels",
        "12",
    ]
    options += [
        "--optimizer.ema_decay",
        "0.9",
        "--trainer.limit_val_batches",
        "1",
        "--trainer.num_sanity_val_steps",
        "0",
    ]
    options += ["--trainer.log_every_n_steps", "1"]
    assert fit(*options, "--trainer.max_steps", "3", "--run.name", "whole", "--optimizer.poly_power", "0") == 0
    assert fit(*options, "--trainer.max_steps", "2", "--run.name", "parts", "--optimizer.poly_power", "0") == 0
    resumed = ["--run.name", "parts", "--ckpt_path", "last", "--trainer.max_steps", "3"]
    assert fit(*options, *resumed, "--optimizer.poly_power", "0") == 0
    teacher.unlink()
    runs = tmp_path / "runs"
    whole, parts = (
        read_checkpoint(runs / name / "version_0" / "checkpoints" / "last.ckpt") for name in ("whole", "parts")
    )
    for key in ("state_dict", "current_model_state"):
        assert all(name.startswith("model.") for name in whole[key])
        assert all(torch.equal(parts[key][name], value) for name, value in whole[key].items())
        assert list(whole["distillation"][key]) == ["distillation.adapters.0.weight", "distillation.adapters.0.bias"]
        assert all(torch.equal(parts["distillation"][key][name], v) for name, v in whole["distillation"][key].items())
    student = load_task(whole, "whole")
    trained = sum(parameter.numel() for parameter in student.parameters()) + 12 * 16 + 16
    groups = whole["optimizer_states"][0]["state"]
    assert sum(state["momentum_buffer"].numel() for state in groups.values()) == trained
    assert "train/loss/teachers" in (runs / "whole" / "version_0" / "metrics.csv").read_text()
    assert deeplab_lightning.load(runs / "parts").labels.num_classes == student.num_classes
