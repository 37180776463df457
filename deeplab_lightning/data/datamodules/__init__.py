"""One datamodule per data set."""

from .base import SegmentationDataModule
from .camvid import CamVidDataModule
from .cityscapes import CityscapesDataModule
from .drawn_scenes import DrawnScenesDataModule
from .voc import VOCDataModule

__all__ = [
    "CamVidDataModule",
    "CityscapesDataModule",
    "DrawnScenesDataModule",
    "SegmentationDataModule",
    "VOCDataModule",
]
