"""One datamodule per data set."""

from .ade20k import ADE20KDataModule
from .base import SegmentationDataModule
from .camvid import CamVidDataModule
from .camvid32 import CamVid32DataModule
from .cityscapes import CityscapesDataModule
from .coco import COCODataModule
from .drawn_scenes import DrawnScenesDataModule
from .folder import FolderDataModule
from .labelme import LabelMeDataModule
from .voc import VOCDataModule

__all__ = [
    "ADE20KDataModule",
    "COCODataModule",
    "CamVid32DataModule",
    "CamVidDataModule",
    "CityscapesDataModule",
    "DrawnScenesDataModule",
    "FolderDataModule",
    "LabelMeDataModule",
    "SegmentationDataModule",
    "VOCDataModule",
]
