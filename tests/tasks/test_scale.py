"""Norms, compilation, checkpointing, precision: the same network, trained another way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.layers.norms import GroupNormAct, batch_norms
from deeplab_lightning.tasks import DeepLabV1Task, DeepLabV3PlusTask

from ..conftest import Fit

TASK: dict[str, Any] = {"num_classes": 3, "ignore_index": 255, "backbone": "mobilenetv2_035"}
TASK |= {"aspp_channels": 8, "decoder_channels": 8}


def small(**options: Any) -> DeepLabV3PlusTask:
    torch.manual_seed(0)
    return DeepLabV3PlusTask(**TASK, dropout=0.0, **options)


def one_step(task: DeepLabV3PlusTask) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return loss, gradients and buffers of one step as Lightning runs it."""
    torch.manual_seed(1)
    image, mask = torch.rand(2, 3, 33, 33), torch.randint(0, 3, (2, 33, 33))
    loss = task.train().loss(task.model.training_maps(image), mask)
    task.on_before_backward(loss)
    loss.backward()
    task.on_after_backward()
    gradients = {name: value.grad for name, value in task.named_parameters() if value.grad is not None}
    return loss.detach(), gradients, dict(task.named_buffers())


# --- norms ----------------------------------------------------------------------------------------------------------


def test_group_norm_in_backbone_and_head_trains_on_single_images() -> None:
    task = small(norm="group")
    assert not batch_norms(task)
    assert any(isinstance(module, GroupNormAct) for module in task.model.context.modules())
    assert (
        task.train()
        .loss(task.model.training_maps(torch.rand(1, 3, 33, 33)), torch.zeros(1, 33, 33, dtype=torch.long))
        .isfinite()
    )


def test_group_norm_contradicts_what_only_batch_norms_have(tmp_path: Path) -> None:
    torch.save(small().model.backbone.features.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="no batch norm to freeze"):
        small(norm="group", freeze_batch_norm=True)
    with pytest.raises(ConfigError, match="resnet50_gn"):
        small(norm="group", pretrained=str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ([], True),
        (["--data.batch_size", "8"], False),
        (["--model.norm", "group"], False),
        (["--model.freeze_batch_norm", "true"], False),
    ],
)
def test_few_images_for_batch_norms_are_warned_of(fit: Fit, options: list[str], warned: bool) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert fit("--trainer.max_steps", "1", "--trainer.limit_val_batches", "1", *options) == 0
    messages = [str(warning.message) for warning in found if "Batch norms see" in str(warning.message)]
    assert bool(messages) == warned
    assert all("--model.norm group" in message and "2 images" in message for message in messages)


# --- compilation ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_compiled_training_gives_the_same_and_the_same_names(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    options = ["--trainer.max_steps", "2", "--model.dropout", "0"]
    assert fit(*options, "--run.name", "plain") == 0
    assert not calls
    assert fit(*options, "--model.compile", "true", "--run.name", "compiled") == 0
    assert calls
    plain, compiled = (
        torch.load(tmp_path / "runs" / name / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)[
            "state_dict"
        ]
        for name in ("plain", "compiled")
    )
    assert list(plain) == list(compiled)
    assert all(torch.allclose(compiled[key], value, atol=1e-4) for key, value in plain.items())


@pytest.mark.slow
def test_compiling_for_real() -> None:
    expected = one_step(small())[0]
    task = small(compile=True)
    task.on_fit_start()
    assert torch.allclose(one_step(task)[0], expected, atol=1e-4)


# --- gradient checkpointing -----------------------------------------------------------------------------------------


def test_gradient_checkpointing_computes_twice_and_changes_nothing() -> None:
    seen: list[str] = []
    plain, saving = small(), small(gradient_checkpointing=True)
    for name, task in (("plain", plain), ("saving", saving)):
        block = task.model.backbone.features.blocks[3]
        block.register_forward_pre_hook(lambda *_, name=name: seen.append(name))  # the second time it may end early
    loss, gradients, buffers = one_step(plain)
    loss_of, gradients_of, buffers_of = one_step(saving)
    assert (seen.count("plain"), seen.count("saving")) == (1, 2)
    assert torch.equal(loss_of, loss)
    assert all(torch.equal(gradients_of[name], value) for name, value in gradients.items())
    assert all(torch.equal(buffers_of[name], value) for name, value in buffers.items())  # statistics counted once


def test_backbones_without_gradient_checkpointing_are_named() -> None:
    with pytest.raises(ConfigError, match="has no gradient checkpointing"):
        DeepLabV1Task(num_classes=3, ignore_index=255, gradient_checkpointing=True)


# --- the trainer's switches -----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nothing_remains() -> Iterator[None]:
    """`--trainer.deterministic` is set for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.precision", "bf16-mixed"],
        ["--trainer.deterministic", "true"],
        ["--trainer.gradient_clip_val", "1", "--trainer.accumulate_grad_batches", "2"],
    ],
)
def test_switches_of_the_trainer(
    fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert fit("--trainer.max_steps", "2", "--trainer.limit_val_batches", "1", *options) == 0
    last = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == 2
    assert checkpoint["lr_schedulers"][0]["last_epoch"] == 2  # in optimiser steps, however many batches each takes
    assert ("MaxUnpool2d" in capfd.readouterr().out) == ("--trainer.deterministic" in options)


def test_early_stopping_from_a_file_keeps_best_and_last_and_goes_on(fit: Fit, tmp_path: Path) -> None:
    stop = tmp_path / "stop.yaml"
    stop.write_text(
        "trainer:\n  callbacks:\n    - class_path: lightning.pytorch.callbacks.EarlyStopping\n"
        "      init_args: {monitor: val/mIoU, mode: max, patience: 2, min_delta: 1.0}\n"
    )
    assert fit("-c", str(stop), "--trainer.max_steps", "40", "--trainer.val_check_interval", "1") == 0
    folder = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints"
    last = torch.load(folder / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3  # the first validation is the best so far, two more are no better by min_delta
    assert (folder / "best.ckpt").is_file()
    state = next(value for key, value in last["callbacks"].items() if key.startswith("EarlyStopping"))
    assert state["wait_count"] == 2
