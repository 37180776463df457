"""What can be trained: one LightningModule for every network, and a name for each generation's."""

from .base import SegmentationTask
from .generations import (
    DeepLabV1Task,
    DeepLabV2Task,
    DeepLabV3CascadeTask,
    DeepLabV3PlusTask,
    DeepLabV3Task,
    EncoderDecoderTask,
    FCNTask,
    PanopticDeepLabTask,
    SegNetTask,
    UNetTask,
    model_named,
    task_class_in,
    task_class_of,
)
from .options import TaskOptions

__all__ = [
    "DeepLabV1Task",
    "DeepLabV2Task",
    "DeepLabV3CascadeTask",
    "DeepLabV3PlusTask",
    "DeepLabV3Task",
    "EncoderDecoderTask",
    "FCNTask",
    "PanopticDeepLabTask",
    "SegNetTask",
    "SegmentationTask",
    "TaskOptions",
    "UNetTask",
    "model_named",
    "task_class_in",
    "task_class_of",
]
