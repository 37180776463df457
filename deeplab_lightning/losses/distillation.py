"""What a student learns from teachers: their softened scores, their features, and where in the image they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from ..errors import ConfigError
from ..options import Options, above, at_least
from .base import in_full_precision


@dataclass(frozen=True)
class DistillationOptions(Options):
    """What is compared with the teachers, and how much it counts."""

    section: ClassVar[str] = "loss.distillation"

    teachers: tuple[str, ...] = ()
    """Checkpoints of trained networks for the same classes in the same order, whose mean scores are learned
    besides the labels."""
    weight: Annotated[float, at_least(0)] = 1.0
    """Factor of the loss that compares the softened scores with the teachers' (Hinton et al., 2015); 0 leaves it
    out."""
    temperature: Annotated[float, above(0, near=2)] = 2.0
    """What the scores of student and teachers are divided by before the softmax: the higher, the more the order of the
    improbable classes counts."""
    features: Annotated[float, at_least(0)] = 0.0
    """Factor of the loss that compares inner maps with the teachers'; 0 leaves it out."""
    feature_loss: Literal["hint", "attention"] = "hint"
    """How inner maps are compared: hint takes their squared distance, by a 1x1 convolution where channels differ, which
    is trained and thrown away (FitNets); attention takes where they respond, in whichever channels (Zagoruyko and
    Komodakis, 2017)."""
    layer: str | None = None
    """Module of student and teachers whose output is compared, such as backbone or context; the context module's, or
    what the classifier reads in networks without one, if not given."""

    def check(self) -> None:
        """Refuse distillation without teachers, or without anything to learn from them."""
        if not self.teachers:
            raise ConfigError(
                "--loss.distillation has no teachers: name their checkpoints, such as "
                "--loss.distillation.teachers '[runs/teacher]', or leave it out."
            )
        if not self.weight and not self.features:
            raise ConfigError(
                "--loss.distillation.weight and --loss.distillation.features are both 0, so nothing is learned from "
                "the teachers: give one of them a weight above 0, such as 1."
            )


def distillation(student: Tensor, teachers: Sequence[Tensor], temperature: float = 2.0) -> Tensor:
    """Cross-entropy of the student's softened probabilities against the teachers' mean, less the teachers' entropy.

    That is the Kullback-Leibler divergence `KL(teachers || student)` at each position, times the squared temperature,
    so that its gradient does not fade as the temperature rises (Hinton et al., 2015, section 2.1); the mean over all
    positions. Teachers have an opinion on void pixels, too: all positions count.

    Args:
        student: `(B, C, h, w)` logits.
        teachers: One or more of the same shape; no gradient flows into them.
        temperature: Above 0; 1 leaves the probabilities as they are.

    Returns:
        Scalar, 0 or more, in nats times the squared temperature.
    """
    own = (in_full_precision(student) / temperature).log_softmax(1)
    softened = [(in_full_precision(logits.detach()) / temperature).softmax(1) for logits in teachers]
    wanted = torch.stack(softened).mean(0)
    divergence = (torch.xlogy(wanted, wanted) - wanted * own).sum(1)
    return divergence.mean() * temperature**2


def hint(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of two feature maps, FitNets' hint (Romero et al., 2015, equation 3, up to a factor).

    Both are `(B, C, h, w)`, the student's brought to the teacher's channels; no gradient flows into the teacher's.
    """
    return (in_full_precision(student) - in_full_precision(teacher.detach())).square().mean()


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two feature maps' attention: where, not on what, they respond.

    Attention is the mean over channels of the squared features, as a vector of length 1 per image (Zagoruyko and
    Komodakis, 2017, section 3.1, with p = 2). It has no weights of its own, and the channels may differ in number.

    Args:
        student: `(B, C_1, h, w)` features.
        teacher: `(B, C_2, h, w)` features; no gradient flows into them.

    Returns:
        Scalar, 0 to 2: the mean over the batch.
    """
    own, wanted = (
        torch.nn.functional.normalize(in_full_precision(features).square().mean(1).flatten(1), dim=1)
        for features in (student, teacher.detach())
    )
    return (own - wanted).square().sum(1).mean()
