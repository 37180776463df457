"""Networks that turn an image into feature maps."""

from .timm_backbone import BackboneFeatures, BackboneOptions, TimmBackbone
from .vgg_atrous import VGGAtrous

__all__ = ["BackboneFeatures", "BackboneOptions", "TimmBackbone", "VGGAtrous"]
