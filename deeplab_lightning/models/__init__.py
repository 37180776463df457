"""The networks: one generation, one file. Plain `torch.nn.Module`s, for any training loop."""

from .deeplab_v3plus import DeepLabV3Plus

__all__ = ["DeepLabV3Plus"]
