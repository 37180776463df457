"""Every generation as a small network with random weights that tell classes apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from deeplab_lightning import models
from deeplab_lightning.layers import Normalise

from ..models.base import randomise

SMALL = "mobilenetv2_035"


class Corners(nn.Module):
    """Three convolutions, corners on corners: quick to convert, and its logits must be resized."""

    output_stride = 4
    align_corners = True
    side_remainder = 1
    needs_fixed_size = None

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 5, 1)]
        self.coarse_logits = nn.Sequential(*layers)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "corners": Corners,
    "encoder_decoder": lambda: models.EncoderDecoder(5, base_width=4),
    "unet": lambda: models.UNet(5, base_width=4),
    "unet_valid": lambda: models.UNet(5, base_width=4, padding="valid", batch_norm=False),
    "segnet": lambda: models.SegNet(5, variant="basic"),
    "v1": lambda: models.DeepLabV1(5, multi_scale_features=True),
    "v2": lambda: models.DeepLabV2(5, backbone="resnet18"),
    "v3": lambda: models.DeepLabV3(5, backbone=SMALL, aspp_channels=16),
    "v3_psp": lambda: models.DeepLabV3(5, backbone=SMALL, aspp_channels=16, context="psp"),
    "v3_corners_apart": lambda: models.DeepLabV3(5, backbone=SMALL, aspp_channels=16, align_corners=False),
    "v3plus": lambda: models.DeepLabV3Plus(5, backbone=SMALL, aspp_channels=16, decoder_channels=16),
    "v3plus_16k": lambda: models.DeepLabV3Plus(
        5, backbone=SMALL, aspp_channels=16, decoder_channels=16, side_remainder=0, norm_between=False, decoder_convs=1
    ),
    "fcn": lambda: models.FCN(5),
}
NORMALISE = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def network(name: str) -> Any:
    torch.manual_seed(0)
    made: Any = NETWORKS[name]()
    randomise(made)
    for layer in ("classifier", "score_pool4", "score_pool3"):  # FCN's start from zero
        if name == "fcn":
            nn.init.normal_(getattr(made, layer).weight, std=0.05)
    return made.eval()
