"""Classifiers on a feature map."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ..options import Options, at_least
from .conv import ConvNormAct, ConvOptions, classifier, initialise


@dataclass(frozen=True)
class AuxiliaryOptions(Options):
    """A second classifier that helps training."""

    aux_head: bool = False
    """Build an auxiliary classifier on the last map but one of the backbone, for the loss alone, as torchvision and
    mmsegmentation do and the papers do not."""
    aux_loss_weight: Annotated[float, at_least(0)] = 0.4
    """Factor of the auxiliary classifier's loss, where there is one; the main loss has 1."""


def auxiliary_head(in_channels: int, num_classes: int, form: ConvOptions) -> nn.Sequential:
    """Return torchvision's auxiliary classifier: 3x3 to a quarter of the width, dropout, 1x1."""
    width = in_channels // 4
    conv = ConvNormAct(in_channels, width, 3, momentum=form.norm_momentum)
    initialise(conv, form.layer_start)
    return nn.Sequential(conv, nn.Dropout(0.1), classifier(width, num_classes, form.classifier_start))


def depth_head(in_channels: int) -> nn.Sequential:
    """Return a head for the logarithm of depth, `(B, C, h, w) -> (B, 1, h, w)`: 3x3 to a quarter of the width, 1x1."""
    width = max(in_channels // 4, 8)
    conv = nn.Conv2d(in_channels, width, 3, padding=1)
    initialise(conv)
    return nn.Sequential(conv, nn.ReLU(inplace=True), classifier(width, 1))


class OneLogit(nn.Conv2d):
    """A classifier of two classes with one channel of weights: `(B, C, h, w) -> (B, 2, h, w)`, logits 0 and z.

    Their softmax is (1 - sigmoid(z), sigmoid(z)), and their cross-entropy the binary one of z, exactly; sums, resizes
    and deconvolutions keep the 0. So nothing that works on two classes needs to know.

    Args:
        two: The classifier of two channels that it takes the place of: same kernel, and weights of the same
            probabilities.
    """

    def __init__(self, two: nn.Conv2d) -> None:
        super().__init__(
            two.in_channels,
            1,
            two.kernel_size,  # type: ignore[arg-type]
            two.stride,  # type: ignore[arg-type]
            two.padding,  # type: ignore[arg-type]
            two.dilation,  # type: ignore[arg-type]
            bias=two.bias is not None,
            device=two.weight.device,
        )
        with torch.no_grad():
            self.weight.copy_(two.weight[1:] - two.weight[:1])
            if self.bias is not None and two.bias is not None:
                self.bias.copy_(two.bias[1:] - two.bias[:1])

    def forward(self, features: Tensor) -> Tensor:
        """Return logits `(B, 2, h, w)`, the first all 0."""
        z = super().forward(features)
        return torch.cat([torch.zeros_like(z), z], dim=1)


def use_one_logit(model: nn.Module, classifiers: Collection[str]) -> None:
    """Give every classifier of a two-class network one channel of weights.

    `classifiers` names the parts that end in one channel for each class, as far as the network has them.
    """
    for name, module in list(model.named_modules()):
        in_classifier = name.split(".")[0] in classifiers
        if isinstance(module, nn.Conv2d) and in_classifier and module.out_channels == 2 and module.bias is not None:
            model.set_submodule(name, OneLogit(module))
