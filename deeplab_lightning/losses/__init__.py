"""What training makes small. Every loss ignores void pixels, and is 0 when there is nothing else."""

from .boundary import boundary_cross_entropy
from .combined import LOSSES, CombinedLoss, LossOptions
from .cross_entropy import (
    cross_entropy,
    cross_entropy_of_images,
    cross_entropy_sum,
    hard_pixel_cross_entropy,
    ohem_cross_entropy,
)
from .focal import focal
from .lovasz import lovasz_softmax
from .overlap import dice, tversky
from .upsampled import upsampled_cross_entropy

__all__ = [
    "LOSSES",
    "CombinedLoss",
    "LossOptions",
    "boundary_cross_entropy",
    "cross_entropy",
    "cross_entropy_of_images",
    "cross_entropy_sum",
    "dice",
    "focal",
    "hard_pixel_cross_entropy",
    "lovasz_softmax",
    "ohem_cross_entropy",
    "tversky",
    "upsampled_cross_entropy",
]
