"""The networks: one generation, one file. Plain `torch.nn.Module`s, for any training loop."""

from .deeplab_v1 import DeepLabV1
from .deeplab_v2 import DeepLabV2
from .deeplab_v3 import DeepLabV3, DeepLabV3Cascade
from .deeplab_v3plus import DeepLabV3Plus
from .encoder_decoder import EncoderDecoder
from .fcn import FCN
from .segnet import SegNet
from .unet import UNet

__all__ = [
    "FCN",
    "DeepLabV1",
    "DeepLabV2",
    "DeepLabV3",
    "DeepLabV3Cascade",
    "DeepLabV3Plus",
    "EncoderDecoder",
    "SegNet",
    "UNet",
]
