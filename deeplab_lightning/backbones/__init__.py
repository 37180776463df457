"""Networks that turn a picture into feature maps."""

from .timm_backbone import BackboneFeatures, TimmBackbone

__all__ = ["BackboneFeatures", "TimmBackbone"]
