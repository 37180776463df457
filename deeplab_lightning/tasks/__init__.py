"""What can be trained: one thin LightningModule per generation over one base."""

from .base import SegmentationTask
from .deeplab_v1 import DeepLabV1Task
from .deeplab_v2 import DeepLabV2Task
from .deeplab_v3 import DeepLabV3CascadeTask, DeepLabV3Task
from .deeplab_v3plus import DeepLabV3PlusTask
from .encoder_decoder import EncoderDecoderTask
from .fcn import FCNTask
from .segnet import SegNetTask
from .unet import UNetTask

__all__ = [
    "DeepLabV1Task",
    "DeepLabV2Task",
    "DeepLabV3CascadeTask",
    "DeepLabV3PlusTask",
    "DeepLabV3Task",
    "EncoderDecoderTask",
    "FCNTask",
    "SegNetTask",
    "SegmentationTask",
    "UNetTask",
]
