"""Networks that turn an image into feature maps."""

from .timm_backbone import BackboneOptions, TimmBackbone
from .vgg_atrous import VGGAtrous

__all__ = ["BackboneOptions", "TimmBackbone", "VGGAtrous"]
