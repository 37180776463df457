"""The encoders of segmentation_models_pytorch: which one a file holds, and which backbone of ours computes the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from torch import Tensor

from ...backbones.atrous import atrous_support
from ...backbones.by_weights import compute_the_same, named_network, networks_with, timm_network
from ...backbones.smp_encoders import NAME as SMP_ENCODER
from ...backbones.weight_files import EFFICIENTNET_EXPANDING_UNIT, EFFICIENTNET_UNIT
from ...errors import CheckpointError
from ..loading import some
from .resnet import BOTTLENECKS, FEATURES, is_resnet, resnet_name, resnet_renames
from .translation import IMAGENET, PLUS_MINUS_ONE, Renames, renamed, unit_places, units

FULL = "dilation: all units of a dilated stage have its rate (full)"
TAKEN = (
    "ResNets, ResNeXts, SE-ResNets, SE-ResNeXts, senet154, mobilenet_v2, mobileone_*, efficientnet-*, "
    "timm-efficientnet-*, timm-tf_efficientnet_lite*, and timm's networks (tu-) that take an output stride"
)
_ADVPROP = "on weights of 'advprop' the pixels are others: --mean 0.5 0.5 0.5 --std 0.5 0.5 0.5"
_HEAD = "the last convolution before ImageNet's classifier, which no map comes from"

EFFICIENTNETS = {
    (16, 1280): ("b0", 1.0),
    (23, 1280): ("b1", 1.1),
    (23, 1408): ("b2", 1.2),
    (26, 1536): ("b3", 1.4),
    (32, 1792): ("b4", 1.8),
    (39, 2048): ("b5", 2.2),
    (45, 2304): ("b6", 2.6),
    (55, 2560): ("b7", 3.1),
}
"""Units and last width -> name, and what the plan's units are multiplied with (Tan and Le 2019)."""

MOBILEONES = {(48, 1024): "s0", (96, 1280): "s1", (96, 2048): "s2", (128, 2048): "s3", (192, 2048): "s4"}
"""Widths of the first and the last stage -> name (Vasu et al. 2022, table 1)."""


SENET = """
layer{1..4}                     layer{1..4}
layer{1..4}.{0..35}.se_module   layer{1..4}.{0..35}.se
"""
PLAIN_STEM = "layer0.{conv1,bn1} {conv1,bn1}"
DEEP_STEM = "layer0.{conv1,bn1,conv2,bn2,conv3,bn3} {conv1.0,conv1.1,conv1.3,conv1.4,conv1.6,bn1}"
MOBILEONE = """
stage0.rbr_{conv,scale,skip}                stem.{conv_kxk,conv_scale,identity}
stage0.se.{reduce,expand}                   stem.attn.{fc1,fc2}
stage{1..4}.{0..35}.rbr_{conv,scale,skip}    stages_{0..3}.{0..35}.{conv_kxk,conv_scale,identity}
stage{1..4}.{0..35}.se.{reduce,expand}       stages_{0..3}.{0..35}.attn.{fc1,fc2}
"""


@dataclass
class Encoder:
    """What the encoder of a file is with us.

    Attributes:
        backbone: Our name.
        renames: From its names, with `encoder.` in front, to ours.
        options: Of our task, besides the backbone.
    """

    backbone: str
    renames: Renames
    options: dict[str, Any] = field(default_factory=dict)
    not_needed: dict[str, str] = field(default_factory=dict)
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    notes: list[str] = field(default_factory=lambda: [FULL])


def find_encoder(tensors: Mapping[str, Tensor], backbone: str | None = None) -> Encoder:
    """Find out which encoder it is.

    Args:
        tensors: All of the file.
        backbone: timm's name, if the user says so; only asked for encoders of timm (`tu-`).

    Raises:
        CheckpointError: It is none that can be taken over, or weights alone do not tell.
        ConfigError: timm has not the named network.
    """
    names = {name.removeprefix("encoder."): value for name, value in tensors.items() if name.startswith("encoder.")}
    find = next((find for part, find in _KINDS.items() if part in names), None)
    if any(name.startswith("model.") for name in names):
        encoder = _of_timm({name.removeprefix("model."): value for name, value in names.items()}, backbone)
    elif find is not None:
        encoder = find(names)
    elif is_resnet(names, ""):
        encoder = Encoder(resnet_name(names, ""), resnet_renames("encoder."), {"first_unit": "full"})
    else:
        raise CheckpointError(
            f"It is a DeepLab of segmentation_models_pytorch on an encoder ({some(list(names), 4)}) that no backbone "
            f"computes alike. Taken over are {TAKEN}."
        )
    if FULL in encoder.notes or atrous_support(encoder.backbone) != "exact":
        encoder.notes.append("it computes something else at another output stride: take the one it was trained at")
    return encoder


def _of_timm(weights: Mapping[str, Tensor], backbone: str | None) -> Encoder:
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    if backbone is not None:
        network = named_network(backbone)
        others = [name for name in {**shapes, **network.shapes} if shapes.get(name) != network.shapes.get(name)]
        if others:
            raise CheckpointError(
                f"Its encoder is no {backbone}: {len(others)} weights are missing, left over or of other shapes "
                f"({some(others)}). Leave --backbone out, and the networks that fit are named."
            )
        fitting = [network]
    else:
        fitting = networks_with(shapes)
    names = [network.name for network in fitting]
    if not fitting:
        raise CheckpointError(
            f"Its encoder ({len(shapes)} weights behind 'encoder.model.': {some(list(shapes))}) is none of timm's "
            f"networks that take an output stride, for images of 3 channels."
        )
    if len(fitting) > 1 and not compute_the_same(fitting, weights):
        raise CheckpointError(
            f"The weights of its encoder fit {', '.join(names)}, which compute different things with them (paddings, "
            f"eps of batch norms, blurs): say which it was, without tu-: --backbone {names[0]}."
        )
    mean, std = fitting[0].normalisation()
    notes = ["dilation: as timm does it (lag)"]
    if len(fitting) > 1:
        notes.append(f"its weights fit {', '.join(names[1:])} as well, and compute the same: {names[0]} is taken")
    return Encoder(names[0], {"encoder.model": "backbone.features"}, mean=mean, std=std, notes=notes)


def _mobilenet_v2(weights: Mapping[str, Tensor]) -> Encoder:
    renames = renamed("0.{0,1} {conv_stem,bn1}\n 18.{0,1} blocks.7.0.{conv,bn1}", "encoder.features.", FEATURES)
    first = "0.{0,1} {conv_dw,bn1}\n {1,2} {conv_pw,bn2}"
    other = "0.{0,1} {conv_pw,bn1}\n 1.{0,1} {conv_dw,bn2}\n {2,3} {conv_pwl,bn3}"
    for index, (stage, unit) in enumerate(unit_places((1, 2, 3, 4, 3, 3, 1)), start=1):
        table = first if index == 1 else other
        renames |= renamed(table, f"encoder.features.{index}.conv.", f"{FEATURES}blocks.{stage}.{unit}.")
    return Encoder("smp_mobilenet_v2", renames)


def _efficientnet(weights: Mapping[str, Tensor]) -> Encoder:
    """By the names of the package efficientnet_pytorch, with units numbered through."""
    count = len({name.split(".")[1] for name in weights if name.startswith("_blocks.")})
    width = weights["_conv_head.weight"].shape[0] if "_conv_head.weight" in weights else None
    found = EFFICIENTNETS.get((count, width or 0))
    if found is None:
        raise CheckpointError(
            f"Its encoder is an EfficientNet of {count} units and a last convolution of width {width}; known are "
            f"efficientnet-b0 to b7, of {', '.join(f'{many} and {last}' for many, last in EFFICIENTNETS)}."
        )
    name, depth = found
    renames = renamed("{_conv_stem,_bn0} {conv_stem,bn1}", "encoder.", FEATURES)
    for index, (stage, unit) in enumerate(unit_places(ceil(many * depth) for many in (1, 2, 2, 3, 3, 4, 1))):
        expands = f"_blocks.{index}._expand_conv.weight" in weights
        table = EFFICIENTNET_EXPANDING_UNIT if expands else EFFICIENTNET_UNIT
        start, ours = f"encoder._blocks.{index}._", f"{FEATURES}blocks.{stage}.{unit}."
        renames |= {start + theirs: ours + layer for theirs, layer in table.items()}
    return Encoder(
        f"smp_efficientnet_{name}",
        renames,
        not_needed={r"encoder\.(_conv_head|_bn1)\..+": _HEAD},
        notes=[FULL, _ADVPROP],
    )


def _timm_efficientnet(weights: Mapping[str, Tensor]) -> Encoder:
    """Of timm's parts, with its names, but pads alike on both sides."""
    head = r"(conv_head|bn2)\..+"
    shapes = {name: tuple(value.shape) for name, value in weights.items() if not re.fullmatch(head, name)}
    sizes = [*(f"b{size}" for size in range(9)), "l2", *(f"lite{size}" for size in range(5))]
    networks = (timm_network(f"efficientnet_{size}") for size in sizes)
    name = next((network.name for network in networks if network is not None and network.shapes == shapes), None)
    if name is None:
        raise CheckpointError(
            f"Its encoder has {len(shapes)} weights by timm's names for EfficientNets, and fits none of "
            f"timm-efficientnet-b0 to b8, l2 and timm-tf_efficientnet_lite0 to lite4."
        )
    lite = "lite" in name
    mean, std = PLUS_MINUS_ONE if lite else IMAGENET
    return Encoder(
        name,
        renamed("{conv_stem,bn1,blocks} {conv_stem,bn1,blocks}", "encoder.", FEATURES),
        {"first_unit": "full"},
        {rf"encoder\.{head}": _HEAD},
        mean,
        std,
        [FULL] if lite else [FULL, _ADVPROP],
    )


def _senet(weights: Mapping[str, Tensor]) -> Encoder:
    counts = units(weights, r"layer(\d+)\.(\d+)\.conv1\.weight")
    kernel = tuple(weights["layer1.0.conv2.weight"].shape) if "layer1.0.conv2.weight" in weights else ()
    deep = "layer0.conv3.weight" in weights
    kinds: dict[tuple[int, ...], str] = {(64, 64): "se_resnet{}", (128, 4): "se_resnext{}_32x4d", (256, 2): "senet154"}
    depth = BOTTLENECKS.get(counts, "").removeprefix("resnet")
    backbone = f"smp_{kinds.get(kernel[:2], '')}".format(depth)
    if not SMP_ENCODER.fullmatch(backbone):
        raise CheckpointError(
            f"Its encoder is a squeeze-and-excite ResNet of {counts} units with a first 3x3 of shape {kernel}; known "
            f"are se_resnet50, 101 and 152, se_resnext50_32x4d and 101_32x4d, senet154."
        )
    renames = renamed(SENET + (DEEP_STEM if deep else PLAIN_STEM), "encoder.", FEATURES)
    return Encoder(backbone, renames)


def _mobileone(weights: Mapping[str, Tensor]) -> Encoder:
    """While training, with its branches apart; smp's stage0 is timm's stem."""
    first, last = weights.get("stage1.1.rbr_conv.0.conv.weight"), weights.get("stage4.1.rbr_conv.0.conv.weight")
    widths = tuple(value.shape[0] for value in (first, last) if value is not None)
    if widths not in MOBILEONES:
        raise CheckpointError(
            f"Its encoder is a MobileOne whose first and last stage have widths {widths}; known are mobileone_s0 to "
            f"s4, of {', '.join(map(str, MOBILEONES))}."
        )
    return Encoder(f"smp_mobileone_{MOBILEONES[widths]}", renamed(MOBILEONE, "encoder.", FEATURES))


_KINDS: dict[str, Callable[[Mapping[str, Tensor]], Encoder]] = {
    "features.18.0.weight": _mobilenet_v2,
    "_conv_stem.weight": _efficientnet,
    "conv_stem.weight": _timm_efficientnet,
    "layer0.conv1.weight": _senet,
    "stage0.rbr_scale.conv.weight": _mobileone,
}
"""A weight that no other encoder has -> what looks further."""
