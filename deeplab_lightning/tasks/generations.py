"""One LightningModule a generation, by name: its network, and its paper's optimiser where that is not v3's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import ConfigError
from ..models import (
    FCN,
    DeepLabV1,
    DeepLabV2,
    DeepLabV3,
    DeepLabV3Cascade,
    DeepLabV3Plus,
    EncoderDecoder,
    Network,
    PanopticDeepLab,
    SegNet,
    UNet,
    network_named,
)
from ..optim.options import OptimizerOptions
from ..plugins import name_of, own_class, subclasses
from .base import SegmentationTask


class DeepLabV1Task(SegmentationTask):
    """DeepLab v1: VGG16 made dense by the hole algorithm, trained at stride 8."""

    network_class = DeepLabV1
    optimizer_defaults = OptimizerOptions(
        lr=1e-3, weight_decay=5e-4, head_lr_multiplier=10, bias_lr_multiplier=2, schedule="step"
    )


class DeepLabV2Task(SegmentationTask):
    """DeepLab v2: ASPP that sums scores, and multi-scale inputs fused by the maximum.

    The paper freezes the batch norms of its pretrained ResNet (`freeze_batch_norm`); from scratch they must learn.
    """

    network_class = DeepLabV2
    optimizer_defaults = OptimizerOptions(lr=2.5e-4, weight_decay=5e-4, head_lr_multiplier=10, bias_lr_multiplier=2)


class DeepLabV3Task(SegmentationTask):
    """DeepLab v3: multi-grid and ASPP with image pooling, logits resized from the deepest map."""

    network_class = DeepLabV3


class DeepLabV3CascadeTask(SegmentationTask):
    """DeepLab v3 with copies of a ResNet's last block in cascade, at rates that double."""

    network_class = DeepLabV3Cascade


class DeepLabV3PlusTask(SegmentationTask):
    """DeepLab v3+: ASPP encoder, and a decoder that brings back detail from a stride-4 map."""

    network_class = DeepLabV3Plus


class PanopticDeepLabTask(SegmentationTask):
    """Panoptic-DeepLab: a second tower finds centres of objects and the way to them, so that things are told apart.

    The released code trains with Adam, whose decay is 0; its loss of classes is that of the hardest 20 % of all pixels
    (`--loss.hard_pixels.share 0.2`), small objects' three times (`--loss.instances.small_weight 3`), as in
    `configs/paper/`. Here the mean over all labelled pixels is the default, as everywhere.
    """

    network_class = PanopticDeepLab
    optimizer_defaults = OptimizerOptions(name="adamw", lr=2.5e-4, weight_decay=0.0)


class FCNTask(SegmentationTask):
    """FCN: VGG16 as a fully convolutional network, whose scores at three strides are summed.

    Departures from the paper's training: it adds the loss of all pixels of one image up, with a momentum of 0.99 and
    fixed learning rates of 1e-10 (32s), 1e-12 (16s) and 1e-14 (8s), for 100,000 steps each, every network starting from
    the coarser one (`weights` wants the same network: load the coarser weights by hand); at once, 1e-10 for
    300,000 steps. Here the loss is the mean over the labelled pixels, with the momentum and the schedule of this
    framework: a learning rate keeps its meaning when the crop, the batch or the share of void changes.
    """

    network_class = FCN
    optimizer_defaults = OptimizerOptions(lr=1e-3, weight_decay=5e-4, bias_lr_multiplier=2)


class UNetTask(SegmentationTask):
    """U-Net: every level of the encoder is handed over to the decoder.

    The loss is this framework's cross-entropy; the paper weighs the pixels between touching cells more.
    """

    network_class = UNet


class SegNetTask(SegmentationTask):
    """SegNet: the decoder unpools to where the encoder's maxima were.

    The authors keep the learning rate fixed (SegNet 0.001, SegNet-Basic 0.1) for 40,000 steps of 4 images; here it
    falls as everywhere, unless `schedule` is step with a `step_every` longer than the run.
    """

    network_class = SegNet
    optimizer_defaults = OptimizerOptions(lr=1e-3, weight_decay=5e-4)


class EncoderDecoderTask(SegmentationTask):
    """Three stages down, three up, no skips: the baseline below all baselines."""

    network_class = EncoderDecoder


def task_class_of(network_class: type[Network]) -> type[SegmentationTask]:
    """Return the LightningModule that was written for a network, ours before the user's own, or the one for any."""
    found = [task for task in subclasses(SegmentationTask) if task.network_class is network_class]
    return min(found, key=lambda task: "." in name_of(task), default=SegmentationTask)


def model_named(name: str) -> tuple[type[Network], type[SegmentationTask]]:
    """Return the network that a name chooses, and the task that trains it.

    Args:
        name: A network's, or that of a task of the user's own which names its network: `mymodule.MyTask`.

    Raises:
        ConfigError: There is none.
    """
    if "." in name:
        found = own_class("network or task", name, torch.nn.Module)
        if issubclass(found, SegmentationTask):
            if found.network_class is None:
                raise ConfigError(f"{name} does not say which network it trains: give the class a network_class.")
            return found.network_class, found
    network = network_named(name)
    return network, task_class_of(network)


def task_class_in(checkpoint: Mapping[str, Any]) -> type[SegmentationTask]:
    """Return the task that wrote a checkpoint.

    Raises:
        ConfigError: Its class, or that of its network, is not to be had.
    """
    name = str(checkpoint["deeplab_lightning"]["task"])
    if "." in name:
        return own_class("task", name, SegmentationTask)
    return task_class_of(network_named(checkpoint["hyper_parameters"]["network"]))
