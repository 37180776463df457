"""What the numbers in a mask mean: one module per data set."""

from .camvid import CAMVID
from .drawn_scenes import DRAWN_SCENES
from .label_set import LabelSet, voc_palette

__all__ = ["CAMVID", "DRAWN_SCENES", "LabelSet", "voc_palette"]
