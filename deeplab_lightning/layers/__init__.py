"""Building blocks shared by the generations."""

from .aspp import ASPPConcat, ASPPSum, ImagePooling
from .conv import AtrousSeparableConv, ConvNormAct, NormOptions
from .decoder import DecoderV3Plus
from .normalise import Normalise
from .resize import resize

__all__ = [
    "ASPPConcat",
    "ASPPSum",
    "AtrousSeparableConv",
    "ConvNormAct",
    "DecoderV3Plus",
    "ImagePooling",
    "NormOptions",
    "Normalise",
    "resize",
]
