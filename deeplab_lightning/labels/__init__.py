"""What the numbers in a mask mean: one module per data set."""

from .camvid import CAMVID
from .cityscapes import CITYSCAPES
from .drawn_scenes import DRAWN_SCENES
from .label_set import LabelSet, voc_palette
from .voc import VOC

__all__ = ["CAMVID", "CITYSCAPES", "DRAWN_SCENES", "VOC", "LabelSet", "voc_palette"]
