"""What training minimises. Every loss ignores void pixels, and is 0 when there is nothing else."""

from .base import CoarseLoss, Loss, LossContext
from .configured import CombinedLoss, LossOptions, loss_options
from .cross_entropy import cross_entropy, cross_entropy_of_images
from .upsampled import upsampled_cross_entropy

__all__ = [
    "CoarseLoss",
    "CombinedLoss",
    "Loss",
    "LossContext",
    "LossOptions",
    "cross_entropy",
    "cross_entropy_of_images",
    "loss_options",
    "upsampled_cross_entropy",
]
