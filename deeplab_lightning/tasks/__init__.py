"""What can be trained: one thin LightningModule per generation over one base."""

from .base import SegmentationTask
from .deeplab_v3plus import DeepLabV3PlusTask

__all__ = ["DeepLabV3PlusTask", "SegmentationTask"]
