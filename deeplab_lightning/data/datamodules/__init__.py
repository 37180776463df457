"""One datamodule per data set."""

from .base import SegmentationDataModule
from .camvid import CamVidDataModule
from .drawn_scenes import DrawnScenesDataModule

__all__ = ["CamVidDataModule", "DrawnScenesDataModule", "SegmentationDataModule"]
