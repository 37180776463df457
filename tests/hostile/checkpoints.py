"""Checkpoints of ours that mean harm: whole files, whose settings ask for what no checkpoint may."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.tasks import EncoderDecoderTask

MODULE = "hostile_module"
"""Lies in the working folder, and leaves a marker when it is imported."""


def honest() -> dict[str, Any]:
    """What a finished training leaves, as far as anything reads it."""
    data = DrawnScenesDataModule(height=64, width=64, crop_size=17, train_size=2, val_size=2)
    task = EncoderDecoderTask(data.description, base_width=2)
    return {
        "deeplab_lightning": {"task": "EncoderDecoderTask", "version": "0", "seed": 0, "trainer": {}, "evaluation": {}},
        "epoch": 0,
        "global_step": 2,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": dict(task.state_dict()),
        "hyper_parameters": dict(task.hparams),
        "datamodule_hyper_parameters": dict(data.hparams),
    }


def with_(part: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets a part, named with dots; `...` takes it out."""

    def change(checkpoint: dict[str, Any]) -> None:
        *outer, last = part.split(".")
        place: Any = checkpoint
        for key in outer:
            place = place[key]
        if value is ...:
            place.pop(last, None)
        else:
            place[last] = value

    return change


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _shared(levels: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(levels):
        value = [value] * 10
    return value


def changes() -> dict[str, Callable[[dict[str, Any]], None]]:
    """What is changed in the honest one, by name; all of these are refused when training is to go on from them."""
    kept = "hyper_parameters"
    parts = ["deeplab_lightning", "state_dict", "deeplab_lightning.task", kept]
    parts += [f"{kept}.{name}" for name in ("network", "model", "optimizer", "loss")]
    wrong: Mapping[str, Any] = {"a number": 5, "a list": [1, 2], "a tensor": torch.ones(2)}
    found = {f"{part} is missing": with_(part, ...) for part in parts}
    found |= {f"{part} is {name}": with_(part, value) for part in parts for name, value in wrong.items()}
    described = "hyper_parameters.description"
    for key, value in {
        "class_names": "abc", "palette": [[1, 2]], "channels": 0, "mean": [float("nan")], "std": [0.0, 0.0, 0.0],
        "pixel_range": "x", "ignore_index": None,
    }.items():  # fmt: skip
        found[f"description: {key}"] = with_(f"{described}.{key}", value)
    module = f"{MODULE}.Thing"
    callback = {"class_path": module}
    return found | {
        "its task is of a module": with_("deeplab_lightning.task", module),
        "its network is of a module": with_("hyper_parameters.network", module),
        "its data are of a module": with_("datamodule_hyper_parameters.name", module),
        "its network is a function": with_("hyper_parameters.network", "os.system"),
        "its network is of torch": with_("hyper_parameters.network", "torch.nn.modules.linear.Linear"),
        "its task is of a package": with_("deeplab_lightning.task", f"{MODULE}."),
        "its task is of nothing": with_("deeplab_lightning.task", ".Thing"),
        "its callback is of a module": with_("deeplab_lightning.trainer.callbacks", [callback]),
        "its callback is a function": with_("deeplab_lightning.trainer.callbacks", [{"class_path": "os.system"}]),
        "its callback runs a function": with_(
            "deeplab_lightning.trainer.callbacks",
            [{"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"setup": f"{MODULE}.thing"}}],
        ),
        "its callback averages by a function": with_(
            "deeplab_lightning.trainer.callbacks",
            [{"class_path": "StochasticWeightAveraging", "init_args": {"swa_lrs": 0.1, "avg_fn": f"{MODULE}.thing"}}],
        ),
        "its callback writes": with_(
            "deeplab_lightning.trainer.callbacks",
            [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"dirpath": "/outside"}}],
        ),
        "its callback takes more": with_(
            "deeplab_lightning.trainer.callbacks",
            [{"class_path": "Timer", "dict_kwargs": {"x": callback}}],
        ),
        "its callback is a text": with_("deeplab_lightning.trainer.callbacks", module),
        "an option is a class": with_("hyper_parameters.optimizer.lr", callback),
        "a loss is a class": with_("hyper_parameters.loss.cross_entropy", callback),
        "an option of data is a class": with_("datamodule_hyper_parameters.mean", callback),
        "a setting of the evaluation is a class": with_("deeplab_lightning.evaluation.crf_options", callback),
        "its precision is a class": with_("deeplab_lightning.trainer.precision", callback),
        "its backbone is of a hub": lambda checkpoint: checkpoint["hyper_parameters"].update(
            network="DeepLabV3Plus", model={"backbone": "hf-hub:some/thing"}
        ),
        "its backbone is a folder": lambda checkpoint: checkpoint["hyper_parameters"].update(
            network="DeepLabV3Plus", model={"backbone": "local-dir:."}
        ),
        "its network is far too wide": with_("hyper_parameters.model.base_width", 100_000),
        "its network is endlessly wide": with_("hyper_parameters.model.base_width", 1 << 60),
        "its width is no number": with_("hyper_parameters.model.base_width", "wide"),
        "an option that there is not": with_("hyper_parameters.model.there_is_none", 1),
        "a weight that there is not": with_("state_dict.there_is_none", torch.ones(2)),
        "a weight is a number": with_("state_dict.there_is_none", 3),
        "a weight is many times one number": with_("state_dict.there_is_none", torch.ones(1).expand(1 << 40)),
        "weights are no numbers": lambda checkpoint: next(iter(checkpoint["state_dict"].values())).fill_(torch.nan),
        "weights are infinite": lambda checkpoint: next(iter(checkpoint["state_dict"].values())).fill_(torch.inf),
        "settings within settings": with_("hyper_parameters.optimizer.lr", _nested(60)),
        "settings without end": with_("hyper_parameters.optimizer.lr", _shared(12)),
        "a tensor among settings": with_("hyper_parameters.model.base_width", torch.ones(2)),
        "bytes among settings": with_("hyper_parameters.optimizer.name", b"adam"),
        "a number for a name": with_("hyper_parameters.model", {2.5: 1}),
        "a very long number": with_("hyper_parameters.model.base_width", 10**400),
    }


def write(folder: Path) -> dict[str, Path]:
    """Write all of them; returns the files by what they try."""
    made, found = honest(), {}
    torch.save(made, folder / "honest.ckpt")
    for number, (name, change) in enumerate(changes().items()):
        changed = copy.copy(made)
        for key, value in made.items():
            changed[key] = (
                {inner: copy.deepcopy(each) for inner, each in value.items()} if isinstance(value, dict) else value
            )
        change(changed)
        found[name] = folder / f"{number:03}.ckpt"
        torch.save(changed, found[name])
    return found
