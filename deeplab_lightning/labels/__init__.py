"""What the numbers in a mask mean: one module per data set."""

from .ade20k import ADE20K
from .camvid import CAMVID, CAMVID32
from .cityscapes import CITYSCAPES
from .drawn_scenes import DRAWN_SCENES
from .label_set import LabelSet, voc_palette
from .voc import VOC

__all__ = ["ADE20K", "CAMVID", "CAMVID32", "CITYSCAPES", "DRAWN_SCENES", "VOC", "LabelSet", "voc_palette"]
