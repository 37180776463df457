"""Learning from teachers: trained networks that stand beside the one in training, and are no part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, did_you_mean
from ..layers import resize
from ..layers.feature_hook import FeatureHook
from ..losses.distillation import DistillationOptions, attention_transfer, distillation, hint
from ..models.base import Network
from ..types import DataDescription

if TYPE_CHECKING:
    from .base import SegmentationTask

LoadTask = Callable[[str], "SegmentationTask"]
"""Rebuilds the task of a checkpoint, given its path."""
FEATURES = "features"
"""Stands for the context module's output, or for what the classifier reads in networks without one."""

PREFIX = "distillation."
"""Beginning of the adapters' names in a task's state dict."""
WEIGHTS = ("state_dict", "current_model_state")
"""Where a checkpoint holds a task's weights: those to use, and, beside an average, those in training."""


class Distillation(nn.Module):
    """What a student learns from teachers besides its labels.

    Its only weights are the adapters: for each teacher with another number of channels, a 1x1 convolution from the
    student's features to its. They are trained with the student, and a checkpoint holds them apart from the network.

    Args:
        student: The network in training.
        description: The student's data.
        options: The teachers, and what is compared.
        load: Rebuilds a teacher.
    """

    def __init__(
        self, student: Network, description: DataDescription, options: DistillationOptions, load: LoadTask
    ) -> None:
        super().__init__()
        layer = (options.layer or FEATURES) if options.features else None
        self.options = options
        self.teachers = Teachers(options.teachers, description, load, layer)
        self.align_corners = student.align_corners
        self.hook = None if layer is None else feature_hook(student, layer)
        self.adapters = nn.ModuleList()
        if self.hook is not None and options.feature_loss == "hint":
            self.adapters = make_adapters(student, self.hook, self.teachers, description["channels"])

    def forward(self, image: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses, by name, of the student's last pass.

        Args:
            image: `(B, C, H, W)` as stored.
            logits: `(B, num_classes, h, w)` of the student.
        """
        options = self.options
        scores, features = self.teachers.look(image)
        losses = {}
        if options.weight:
            wanted = [_at(each, logits, self.align_corners) for each in scores]
            losses["teachers"] = options.weight * distillation(logits, wanted, options.temperature)
        if self.hook is not None:
            losses["features"] = options.features * self._distance(self.hook.take(), features)
        return losses

    def _distance(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """Return the mean over the teachers of the distance between their features and the student's."""
        losses = []
        for number, features in enumerate(teachers):
            wanted = _at(features, student, self.align_corners)
            if self.options.feature_loss == "attention":
                losses.append(attention_transfer(student, wanted))
            else:
                losses.append(hint(self.adapters[number](student), wanted))
        return torch.stack(losses).mean()


def put_aside(checkpoint: dict[str, Any]) -> None:
    """Hold the adapters apart from the network in a checkpoint: what reads one does without them."""
    for key in WEIGHTS:
        weights = checkpoint.get(key, {})
        aside = {name: weights.pop(name) for name in list(weights) if name.startswith(PREFIX)}
        if aside:
            checkpoint.setdefault("distillation", {})[key] = aside


def put_back(checkpoint: dict[str, Any]) -> None:
    """Undo `put_aside`, for a run that goes on."""
    for key, weights in checkpoint.get("distillation", {}).items():
        checkpoint[key] |= weights


class Teachers:
    """Frozen networks in evaluation mode. No module: what it holds is neither trained, nor saved, nor averaged.

    Args:
        paths: Their checkpoints.
        description: The student's data.
        load: Rebuilds one.
        layer: Module within every teacher's network whose output is compared; see `feature_hook`. Not compared at all
            if None.

    Raises:
        CheckpointError: One cannot be read.
        ConfigError: One knows other classes, or images of another kind.
    """

    def __init__(
        self, paths: Sequence[str], description: DataDescription, load: LoadTask, layer: str | None = None
    ) -> None:
        self.tasks: list[SegmentationTask] = []
        for path in paths:
            teacher = load(path)
            _check_agreement(description, teacher.description, path)
            self.tasks.append(teacher.eval().requires_grad_(False))
        self._hooks = [] if layer is None else [feature_hook(teacher.model, layer) for teacher in self.tasks]

    def __deepcopy__(self, memo: dict[int, Any]) -> Teachers:
        """Averages of the weights copy the task; its teachers stay the same."""
        return self

    def to(self, device: torch.device) -> None:
        """Go where the student is."""
        for teacher in self.tasks:
            teacher.to(device)

    @torch.no_grad()
    def look(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the coarse logits of all teachers, and the maps of the hooked layer (none where none is hooked).

        Args:
            image: `(B, C, H, W)` as stored: every teacher normalises as it was trained.
        """
        logits = [teacher.model.coarse_logits(teacher.normalise(image)) for teacher in self.tasks]
        return logits, [hook.take() for hook in self._hooks]


def make_adapters(student: Network, hook: FeatureHook, teachers: Teachers, channels: int) -> nn.ModuleList:
    """Return for every teacher a 1x1 convolution from the student's channels to its; nothing where they are as many.

    How many there are is seen from one pass of a blank image.

    Args:
        student: The network in training.
        hook: On it.
        teachers: With hooks.
        channels: Of an image.
    """
    image = torch.zeros(1, channels, 65, 65, device=next(student.parameters()).device)
    modes = {module: module.training for module in student.modules()}
    student.eval()
    with torch.no_grad():
        student.coarse_logits(image)
        _, features = teachers.look(image)
    for module, mode in modes.items():
        module.training = mode
    own = hook.take().shape[1]
    adapters = nn.ModuleList()
    for wanted in (each.shape[1] for each in features):
        adapters.append(nn.Identity() if wanted == own else nn.Conv2d(own, wanted, 1))
    return adapters


def feature_hook(model: nn.Module, layer: str) -> FeatureHook:
    """Hook the module called `layer`; `FEATURES` is no name.

    Raises:
        ConfigError: The network has no module of that name, or none that can be meant.
    """
    modules = dict(model.named_modules())
    if layer == FEATURES:
        if "context" in modules:
            return FeatureHook(modules["context"])
        classifier = modules.get("classifier")
        if classifier is None or isinstance(classifier, nn.ModuleList):
            raise ConfigError(
                f"{type(model).__name__} has no single map of features to compare: name a layer that student and "
                f"teachers have with --loss.distillation.layer, or leave out --loss.distillation.features."
            )
        return FeatureHook(classifier, before=True)
    if layer not in modules or not layer:
        shallow = [name for name in modules if name and name.count(".") < 2]
        raise ConfigError(
            f"--loss.distillation.layer is {layer!r}, which {type(model).__name__} does not have."
            f"{did_you_mean(layer, modules)} It has {', '.join(shallow[:8])}, ..."
        )
    return FeatureHook(modules[layer])


def _check_agreement(ours: DataDescription, theirs: DataDescription, path: str) -> None:
    if theirs["class_names"] != ours["class_names"]:
        here, there = ours["class_names"], theirs["class_names"]
        if sorted(here) == sorted(there):
            said = f"the same classes in another order: {', '.join(there)}; the data has {', '.join(here)}"
        else:
            strange, missing = [name for name in there if name not in here], [n for n in here if n not in there]
            said = "other classes than the data: " + "; ".join(
                f"{what} {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
                for what, names in (("besides", strange), ("without", missing))
                if names
            )
        raise ConfigError(
            f"The teacher {path} knows {said}. It must have been trained for the same classes, in the same order."
        )
    for key in ("channels", "pixel_range"):
        if theirs[key] != ours[key]:
            raise ConfigError(
                f"The teacher {path} was trained on images whose {key} is {theirs[key]}; the data's is {ours[key]}."
            )


def _at(features: Tensor, like: Tensor, align_corners: bool) -> Tensor:
    height, width = like.shape[-2:]
    return resize(features, (height, width), align_corners)
