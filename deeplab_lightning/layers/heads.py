"""Classifiers on a feature map."""

from __future__ import annotations

from torch import nn

from .conv import ConvNormAct, NormOptions, classifier, initialise


def auxiliary_head(in_channels: int, num_classes: int, *, norm: NormOptions, dropout: float = 0.1) -> nn.Sequential:
    """Return torchvision's auxiliary classifier: 3x3 to a quarter of the width, dropout, 1x1."""
    width = in_channels // 4
    conv = ConvNormAct(in_channels, width, 3, norm=norm)
    initialise(conv)
    return nn.Sequential(conv, nn.Dropout(dropout), classifier(width, num_classes))
