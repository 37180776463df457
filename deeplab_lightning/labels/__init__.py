"""What the numbers in a mask mean: one module per data set."""

from .camvid import CAMVID
from .label_set import LabelSet, voc_palette

__all__ = ["CAMVID", "LabelSet", "voc_palette"]
