"""The authors' own DeepLab v1 and v2 (Caffe), and kazuto1011's port of v2 to PyTorch, which renames its ResNet.

Caffe's ResNet has a stage's stride in the first 1x1 of its first unit and rounds up at its pooling. Images are BGR,
0..255, minus a mean; here the first kernel's channels are turned round instead, and images stay RGB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..reading import ForeignFile
from .resnet import BOTTLENECKS
from .torchvision import COUNTERS
from .translation import Imported, renamed, translate, units

NAME = "caffe"

MEAN = tuple(value / 255 for value in (122.675, 116.669, 104.008))
"""Of the red, green and blue pixels."""
STD = (1 / 255,) * 3

_RESNET = renamed("""
layer1.conv1.{conv,bn}                                      backbone.features.{conv1,bn1}
layer{2..5}.block{1..36}.{reduce,conv3x3,increase}.conv     backbone.features.layer{1..4}.{0..35}.conv{1..3}
layer{2..5}.block{1..36}.{reduce,conv3x3,increase}.bn       backbone.features.layer{1..4}.{0..35}.bn{1..3}
layer{2..5}.block{1..36}.shortcut.{conv,bn}                 backbone.features.layer{1..4}.{0..35}.downsample.{0,1}
aspp.c{0..3}                                                classifier.branches.{0..3}
""")
_VGG = renamed("""
conv1_{1,2}         backbone.stages.0.{0,2}
conv2_{1,2}         backbone.stages.1.{0,2}
conv{3..5}_{1..3}   backbone.stages.{2..4}.{0,2,4}
fc{6,7}             backbone.branches.0.fc{6,7}
{fc8,fc8_voc12}     {classifier,classifier}
fc6_{1..4}          backbone.branches.{0..3}.fc6
fc7_{1..4}          backbone.branches.{0..3}.fc7
fc8_{1..4}          classifier.{0..3}
fc8_voc12_{1..4}    classifier.{0..3}
""")
_CAFFE_PARTS = {"2a": "reduce", "2b": "conv3x3", "2c": "increase", "1": "shortcut"}
_OTHER_SCALES = {r".*res0\d+.*": "a copy, shared by the other scales"}


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    tensors = file.tensors
    if file.container == "caffe":
        if "res2a_branch1/0" in tensors:
            return _resnet(_as_kazuto(tensors), "caffe", align_corners=True)
        return _vgg(tensors) if "conv1_1/0" in tensors else None
    plain = {name.removeprefix("base."): tensor for name, tensor in tensors.items()}
    if "layer1.conv1.conv.weight" not in plain or "aspp.c0.weight" not in plain:
        return None
    return _resnet(plain, "kazuto1011", align_corners=False)


def rgb_first(imported: Imported, key: str) -> None:
    """Let the kernel `key` take red first, where it took blue first."""
    if key in imported.state:
        imported.state[key] = imported.state[key].flip(1)
        imported.notes.append("channels: it takes BGR; its first kernel was turned round, so that images stay RGB")


# --- ResNet ---------------------------------------------------------------------------------------------------------


def _resnet(tensors: Mapping[str, Tensor], format: str, align_corners: bool) -> Imported:
    counts = units(tensors, r"layer(\d)\.block(\d+)\.increase\.conv\.weight")
    branches = [name for name in tensors if re.fullmatch(r"aspp\.c\d\.weight", name)]
    rates = {1: [12], 4: [6, 12, 18, 24]}.get(len(branches))
    if counts not in BOTTLENECKS or rates is None:
        raise CheckpointError(
            f"It is a DeepLab v2 with stages of {counts} units and {len(branches)} branches; known are ResNets "
            f"({', '.join(map(str, BOTTLENECKS))}) with 4 branches, or 1 (LargeFOV)."
        )
    imported = Imported(
        format,
        f"DeepLab v2 on {BOTTLENECKS[counts]}",
        "DeepLabV2",
        {
            "backbone": BOTTLENECKS[counts],
            "atrous_rates": rates,
            "stride_place": "conv1",
            "ceil_mode": True,
            "align_corners": align_corners,
            "freeze_batch_norm": True,
        },
        tensors["aspp.c0.weight"].shape[0],
        **translate(tensors, _RESNET, COUNTERS | _OTHER_SCALES),
        mean=MEAN,
        std=STD,
        notes=[
            "strides in the first 1x1 of a stage, pooling rounds up, as Caffe does",
            "dilation: all units of a dilated stage have its rate (full)",
            f"ASPP's rates {rates} are the paper's: the file does not tell them",
            "scales 0.5, 0.75 and 1 are fused by the maximum, as in the paper; --model.scales '[1.0]' leaves that out",
        ],
    )
    rgb_first(imported, "backbone.features.conv1.weight")
    return imported


def _as_kazuto(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename Caffe's layers as kazuto1011 does; a batch norm's three blobs and its Scale layer become one norm."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, blob = name.rpartition("/")
        if match := re.fullmatch(r"fc1_voc12_c(\d)", layer):
            found[f"aspp.c{match[1]}.{'bias' if blob == '1' else 'weight'}"] = tensor
        elif layer == "conv1" or re.fullmatch(r"res\d\w+_branch\w+", layer):
            found[f"{_block(layer.removeprefix('res'))}.conv.{'bias' if blob == '1' else 'weight'}"] = tensor
        elif match := re.fullmatch(r"bn_?(conv1|\d\w+_branch\w+)", layer):
            if blob in "01":
                factor = float(tensors.get(f"{layer}/2", tensor.new_ones(1)).flatten()[0])
                statistic = tensor.flatten() / (factor or 1.0)
                found[f"{_block(match[1])}.bn.{'running_var' if blob == '1' else 'running_mean'}"] = statistic
        elif match := re.fullmatch(r"scale_?(conv1|\d\w+_branch\w+)", layer):
            found[f"{_block(match[1])}.bn.{'bias' if blob == '1' else 'weight'}"] = tensor.flatten()
        else:
            found[name] = tensor
    return found


def _block(layer: str) -> str:
    """`conv1` -> `layer1.conv1`, `3b2_branch2a` -> `layer3.block3.reduce`."""
    if layer == "conv1":
        return "layer1.conv1"
    match = re.fullmatch(r"(\d)([a-z])(\d*)_branch(1|2[abc])", layer)
    if match is None:
        return layer
    index = int(match[3]) + 1 if match[3] else ord(match[2]) - ord("a") + 1
    return f"layer{match[1]}.block{index}.{_CAFFE_PARTS[match[4]]}"


# --- VGG16 ----------------------------------------------------------------------------------------------------------


def _vgg(tensors: Mapping[str, Tensor]) -> Imported:
    """Return v1 (one branch) or v2 (fc6_1 to fc6_4)."""
    plain = {re.sub(r"/(0|1)$", lambda found: {"0": ".weight", "1": ".bias"}[found[1]], name): tensor
             for name, tensor in tensors.items()}  # fmt: skip
    several = "fc6_1.weight" in plain
    first = "fc8_voc12_1.weight" if several else "fc8_voc12.weight"
    first = first if first in plain else first.replace("_voc12", "")
    if first not in plain:
        raise CheckpointError(f"It is a VGG16 of Caffe, but no DeepLab: it has no {first.removesuffix('.weight')}.")
    kernel = plain["fc6_1.weight" if several else "fc6.weight"].shape
    fc6 = {(1024, 3): "largefov", (4096, 4): "4x4", (4096, 7): "7x7"}.get((kernel[0], kernel[-1]))
    if fc6 is None or (several and fc6 != "largefov"):
        raise CheckpointError(f"Its fc6 has shape {tuple(kernel)}; known are 1024x3x3, 4096x4x4 and 4096x7x7.")
    options: dict[str, Any] = {"backbone": "vgg16"} if several else {"fc6": fc6}
    imported = Imported(
        NAME,
        f"DeepLab v{2 if several else 1} on VGG16",
        "DeepLabV2" if several else "DeepLabV1",
        options | ({"scales": [1.0]} if several else {}),
        plain[first].shape[0],
        **translate(plain, _VGG, _OTHER_SCALES),
        mean=MEAN,
        std=STD,
        notes=["atrous rates of fc6 are the paper's: the file does not tell them"],
    )
    rgb_first(imported, "backbone.stages.0.0.weight")
    return imported
