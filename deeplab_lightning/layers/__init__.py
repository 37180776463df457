"""Building blocks shared by the generations."""

from .conv import AtrousSeparableConv, ConvNormAct, ConvOptions
from .decoder import DecoderOptions, DecoderV3Plus
from .image_pooling import ImagePooling
from .normalise import Normalise
from .resize import resize

__all__ = [
    "AtrousSeparableConv",
    "ConvNormAct",
    "ConvOptions",
    "DecoderOptions",
    "DecoderV3Plus",
    "ImagePooling",
    "Normalise",
    "resize",
]
