"""detectron2's projects/DeepLab: v3 and v3+ on ResNets with one 7x7 or three 3x3 convolutions at their start.

v3+ concatenates the low-level map first. Image pooling has a bias and no batch norm. Corners are not aligned;
multi-grid is (1, 2, 4), with all units of a dilated stage at its rate. Its image pooling takes means over windows of
the training crop's size, ours over the whole map: both agree on images of that size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..reading import ForeignFile
from .caffe import rgb_first
from .resnet import BOTTLENECKS, FEATURES
from .torchvision import COUNTERS
from .translation import Imported, folded_norm, low_level_last, renamed, translate, units

NAME = "detectron2"

_ASPP = """
convs.{0..3}                              branches.{0..3}.0
convs.{0..3}.norm                         branches.{0..3}.1
convs.{1..3}.{depthwise,pointwise}        branches.{1..3}.{0,1}.0
convs.{1..3}.{depthwise,pointwise}.norm   branches.{1..3}.{0,1}.1
convs.4.1.{weight,bias}                   branches.4.{conv.weight,norm.bias}
project                                   project.0
project.norm                              project.1
"""
_DECODER = """
project_conv                              reduce.0.0
project_conv.norm                         reduce.0.1
fuse_conv.{0,1}                           refine.0.{0,1}.0
fuse_conv.{0,1}.norm                      refine.0.{0,1}.1
fuse_conv.{depthwise,pointwise}           refine.0.0.{0,1}.0
fuse_conv.{depthwise,pointwise}.norm      refine.0.0.{0,1}.1
"""
_BACKBONE = """
res{2..5}.{0..35}.conv{1..3}              layer{1..4}.{0..35}.conv{1..3}
res{2..5}.{0..35}.conv{1..3}.norm         layer{1..4}.{0..35}.bn{1..3}
res{2..5}.{0..35}.shortcut                layer{1..4}.{0..35}.downsample.0
res{2..5}.{0..35}.shortcut.norm           layer{1..4}.{0..35}.downsample.1
"""
_STEM = "stem.conv1 conv1\n stem.conv1.norm bn1"
_BETA_STEM = """
stem.conv{1..3}                           {conv1.0,conv1.3,conv1.6}
stem.conv{1..3}.norm                      {conv1.1,conv1.4,bn1}
"""
_UNUSED = {r"pixel_(mean|std)": "the scale of pixels, which the data description holds"}


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    tensors = file.tensors
    plus = "sem_seg_head.decoder.res5.project_conv.project.weight" in tensors
    if "sem_seg_head.predictor.weight" not in tensors or "backbone.res2.0.conv1.weight" not in tensors:
        return None
    aspp = "sem_seg_head.decoder.res5.project_conv" if plus else "sem_seg_head.aspp"
    if f"{aspp}.project.weight" not in tensors:
        raise CheckpointError(
            f"{file.path} is a network of detectron2, but no DeepLab: it has no {aspp}.project.weight."
        )
    counts = units(tensors, r"backbone\.res(\d)\.(\d+)\.conv3\.weight")
    if counts not in BOTTLENECKS:
        raise CheckpointError(f"Its ResNet has stages of {counts} units; known are {', '.join(map(str, BOTTLENECKS))}.")
    separable = f"{aspp}.convs.1.depthwise.weight" in tensors
    beta = "backbone.stem.conv3.weight" in tensors
    logits = tensors["sem_seg_head.predictor.weight"]
    options: dict[str, Any] = {
        "backbone": BOTTLENECKS[counts],
        "output_stride": 16,
        "multi_grid": [1, 2, 4],
        "first_unit": "full",
        "beta_stem": beta,
        "separable": separable,
        "aspp_channels": tensors[f"{aspp}.project.weight"].shape[0],
        "align_corners": False,
    }
    if plus:
        options |= {
            "decoder_channels": logits.shape[1],
            "low_level_channels": tensors["sem_seg_head.decoder.res2.project_conv.weight"].shape[0],
        } | ({"decoder_convs": 1} if separable else {})
    pooling = f"{aspp}.convs.4.1.bias"
    renames = renamed(_BACKBONE + (_BETA_STEM if beta else _STEM), "backbone.", FEATURES)
    renames |= renamed(_ASPP, f"{aspp}.", "context.aspp.") | {"sem_seg_head.predictor": "classifier"}
    renames |= renamed(_DECODER, "sem_seg_head.decoder.res2.", "decoder.")
    imported = Imported(
        NAME,
        f"DeepLab v3{'+' if plus else ''} on {options['backbone']}",
        "DeepLabV3Plus" if plus else "DeepLabV3",
        options,
        logits.shape[0],
        **translate(tensors, renames, COUNTERS | _UNUSED),
        # The pooling's batch norm only adds a bias.
        norm_eps={"": 1e-5, "context.aspp.branches.4.": 0.0},
        notes=[
            "dilation: all units of a dilated stage have its rate (full), multi-grid 1, 2, 4",
            "output stride 16, its default: the file does not tell it",
            "image pooling: its windows have the training crop's size, ours is the whole map",
        ],
    )
    if pooling in tensors:
        imported.state |= folded_norm("context.aspp.branches.4.norm", tensors[pooling])
    if plus:
        low_level_last(imported, options["low_level_channels"], separable)
    _take_pixels(imported, tensors)
    return imported


def _take_pixels(imported: Imported, tensors: dict[str, Tensor]) -> None:
    """Take the pixels' scale from the file, or else that of the project's configurations."""
    if "pixel_mean" not in tensors or "pixel_std" not in tensors:
        imported.notes.append(
            "pixels: RGB with ImageNet's mean, as in the project's configurations: no sign in the file"
        )
        return
    mean, std = (tensors[name].double().flatten() / 255 for name in ("pixel_mean", "pixel_std"))
    if len(mean) == 3 and mean[0] < mean[2]:  # blue is the darkest of ImageNet's means
        mean, std = mean.flip(0), std.flip(0)
        rgb_first(imported, f"backbone.features.conv1.{'0.' if imported.options['beta_stem'] else ''}weight")
    imported.mean, imported.std = tuple(mean.tolist()), tuple(std.tolist())
