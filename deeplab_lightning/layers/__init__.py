"""Building blocks shared by the generations."""

from .aspp import ASPPSum
from .conv import AtrousSeparableConv, ConvNormAct, ConvOptions, NormOptions
from .decoder import DecoderOptions, DecoderV3Plus
from .image_pooling import ImagePooling
from .normalise import Normalise
from .resize import resize

__all__ = [
    "ASPPSum",
    "AtrousSeparableConv",
    "ConvNormAct",
    "ConvOptions",
    "DecoderOptions",
    "DecoderV3Plus",
    "ImagePooling",
    "NormOptions",
    "Normalise",
    "resize",
]
