"""What a student learns from teachers: their softened scores, their features, and where in the image they look."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .cross_entropy import in_full_precision


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

    Args:
        student: `(B, C, h, w)` features, brought to the teacher's channels where they had others.
        teacher: Of the same shape; no gradient flows into them.

    Returns:
        Scalar, 0 or more.
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
