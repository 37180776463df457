"""detectron2's projects/DeepLab: v3 and v3+ on ResNets with one 7x7 or three 3x3 convolutions at their start.

v3+ concatenates the low-level map first. Image pooling has a bias and no batch norm. Corners are not aligned;
multi-grid is (1, 2, 4), with all units of a dilated stage at its rate. Its image pooling takes means over windows of
the training crop's size, ours over the whole map: both agree on images of that size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError
from ..reading import ForeignFile
from .caffe import rgb_first
from .resnet import BOTTLENECKS
from .translation import IMAGENET, Imported, Renames, first_last, folded_norm, translate, units

NAME = "detectron2"

_NORM = r"(weight|bias|running_mean|running_var)"
_UNUSED = {
    r"pixel_(mean|std)": "the scale of pixels, which the data description holds",
    r".*\.num_batches_tracked": "counts batches, which only averages without momentum need",
}


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
        }
    pooling = f"{aspp}.convs.4.1.bias"
    renames = [*_backbone(beta), *_aspp(aspp, separable), *(_decoder(separable) if plus else [])]
    imported = Imported(
        NAME,
        f"DeepLab v3{'+' if plus else ''} on {options['backbone']}",
        "DeepLabV3Plus" if plus else "DeepLabV3",
        options,
        logits.shape[0],
        **translate(tensors, renames, _UNUSED),
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
        _low_level_last(imported, separable)
    _take_pixels(imported, tensors)
    return imported


def _conv(theirs: str, conv: str, norm: str) -> Renames:
    theirs = theirs.replace(".", r"\.")
    return [(rf"{theirs}\.weight", f"{conv}.weight"), (rf"{theirs}\.norm\.{_NORM}", rf"{norm}.\1")]


def _conv3x3(theirs: str, ours: str, separable: bool) -> Renames:
    if not separable:
        return _conv(theirs, f"{ours}.0", f"{ours}.1")
    return [
        *_conv(f"{theirs}.depthwise", f"{ours}.0.0", f"{ours}.0.1"),
        *_conv(f"{theirs}.pointwise", f"{ours}.1.0", f"{ours}.1.1"),
    ]


def _backbone(beta: bool) -> Renames:
    features = "backbone.features"
    stem = [("conv1.0", "conv1.1"), ("conv1.3", "conv1.4"), ("conv1.6", "bn1")] if beta else [("conv1", "bn1")]
    renames: list[tuple[str, str]] = []
    for number, (conv, norm) in enumerate(stem, start=1):
        renames += _conv(f"backbone.stem.conv{number}", f"{features}.{conv}", f"{features}.{norm}")
    for stage in (1, 2, 3, 4):
        theirs, ours = rf"backbone\.res{stage + 1}\.(\d+)\.", rf"{features}.layer{stage}.\1"
        renames += [
            (rf"{theirs}conv([123])\.weight", rf"{ours}.conv\2.weight"),
            (rf"{theirs}conv([123])\.norm\.{_NORM}", rf"{ours}.bn\2.\3"),
            (rf"{theirs}shortcut\.weight", rf"{ours}.downsample.0.weight"),
            (rf"{theirs}shortcut\.norm\.{_NORM}", rf"{ours}.downsample.1.\2"),
        ]
    return renames


def _aspp(theirs: str, separable: bool) -> Renames:
    ours = "context.aspp"
    renames = [*_conv(f"{theirs}.convs.0", f"{ours}.branches.0.0", f"{ours}.branches.0.1")]
    for index in (1, 2, 3):
        renames += _conv3x3(f"{theirs}.convs.{index}", f"{ours}.branches.{index}", separable)
    pooling = theirs.replace(".", r"\.") + r"\.convs\.4\.1\."
    return [
        *renames,
        (rf"{pooling}weight", f"{ours}.branches.4.conv.weight"),
        (rf"{pooling}bias", f"{ours}.branches.4.norm.bias"),
        *_conv(f"{theirs}.project", f"{ours}.project.0", f"{ours}.project.1"),
        (r"sem_seg_head\.predictor\.(weight|bias)", r"classifier.\1"),
    ]


def _decoder(separable: bool) -> Renames:
    theirs = "sem_seg_head.decoder.res2"
    renames = [*_conv(f"{theirs}.project_conv", "decoder.reduce.0.0", "decoder.reduce.0.1")]
    if separable:
        return [*renames, *_conv3x3(f"{theirs}.fuse_conv", "decoder.refine.0.0", separable)]
    for index in (0, 1):
        renames += _conv3x3(f"{theirs}.fuse_conv.{index}", f"decoder.refine.0.{index}", separable)
    return renames


def _low_level_last(imported: Imported, separable: bool) -> None:
    width = imported.options["low_level_channels"]
    if separable:
        imported.options["decoder_convs"] = 1
        depthwise = "decoder.refine.0.0.0."
        for key in [key for key in imported.state if key.startswith(depthwise)]:
            imported.state[key] = torch.cat([imported.state[key][width:], imported.state[key][:width]])
    first = f"decoder.refine.0.0.{'1.0' if separable else '0'}.weight"
    if first in imported.state:
        imported.state[first] = first_last(imported.state[first], width)
        imported.notes.append("concatenation: the low-level map moved from the first to the last place")


def _take_pixels(imported: Imported, tensors: dict[str, Tensor]) -> None:
    """Take the pixels' scale from the file, or else that of the project's configurations."""
    if "pixel_mean" not in tensors or "pixel_std" not in tensors:
        imported.mean, imported.std = IMAGENET
        imported.notes.append(
            "pixels: RGB with ImageNet's mean, as in the project's configurations: no sign in the file"
        )
        return
    mean, std = (tensors[name].double().flatten() / 255 for name in ("pixel_mean", "pixel_std"))
    if len(mean) == 3 and mean[0] < mean[2]:  # blue is the darkest of ImageNet's means
        mean, std = mean.flip(0), std.flip(0)
        rgb_first(imported, f"backbone.features.conv1.{'0.' if imported.options['beta_stem'] else ''}weight")
    imported.mean, imported.std = tuple(mean.tolist()), tuple(std.tolist())
