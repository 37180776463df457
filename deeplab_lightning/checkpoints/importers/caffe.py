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
from .translation import Imported, Renames, translate, units

NAME = "caffe"

MEAN = tuple(value / 255 for value in (122.675, 116.669, 104.008))
"""Of the red, green and blue pixels."""
STD = (1 / 255,) * 3

_KAZUTO_PARTS = {"reduce": ("conv1", "bn1"), "conv3x3": ("conv2", "bn2"), "increase": ("conv3", "bn3"),
                 "shortcut": ("downsample.0", "downsample.1")}  # fmt: skip
_CAFFE_PARTS = {"2a": "reduce", "2b": "conv3x3", "2c": "increase", "1": "shortcut"}
_OTHER_SCALES = {r".*res0\d+.*": "a copy, shared by the other scales"}
_VGG_LAYERS = {f"conv{stage + 1}_{index + 1}": f"backbone.stages.{stage}.{2 * index}"
               for stage, count in enumerate((2, 2, 3, 3, 3)) for index in range(count)}  # fmt: skip


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
        **translate(_counted_from_zero(tensors), _resnet_renames(), COUNTERS | _OTHER_SCALES),
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


def _counted_from_zero(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Count stages from layer1 = res2 and units from 0: a pattern cannot subtract."""
    return {
        re.sub(
            r"^layer([2-5])\.block(\d+)\.", lambda found: f"stage{int(found[1]) - 1}.{int(found[2]) - 1}.", name
        ): tensor
        for name, tensor in tensors.items()
    }


def _resnet_renames() -> Renames:
    features = "backbone.features"
    renames = [
        (r"layer1\.conv1\.conv\.(.+)", rf"{features}.conv1.\1"),
        (r"layer1\.conv1\.bn\.(.+)", rf"{features}.bn1.\1"),
        (r"aspp\.c(\d)\.(.+)", r"classifier.branches.\1.\2"),
    ]
    for part, (conv, norm) in _KAZUTO_PARTS.items():
        renames += [
            (rf"stage(\d)\.(\d+)\.{part}\.conv\.(.+)", rf"{features}.layer\1.\2.{conv}.\3"),
            (rf"stage(\d)\.(\d+)\.{part}\.bn\.(.+)", rf"{features}.layer\1.\2.{norm}.\3"),
        ]
    return renames


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
    suffix, first = (r"_(\d)", "fc8_voc12_1.weight") if several else ("", "fc8_voc12.weight")
    first = first if first in plain else first.replace("_voc12", "")
    if first not in plain:
        raise CheckpointError(f"It is a VGG16 of Caffe, but no DeepLab: it has no {first.removesuffix('.weight')}.")
    kernel = plain["fc6_1.weight" if several else "fc6.weight"].shape
    fc6 = {(1024, 3): "largefov", (4096, 4): "4x4", (4096, 7): "7x7"}.get((kernel[0], kernel[-1]))
    if fc6 is None or (several and fc6 != "largefov"):
        raise CheckpointError(f"Its fc6 has shape {tuple(kernel)}; known are 1024x3x3, 4096x4x4 and 4096x7x7.")
    renames = [(rf"{layer}\.(.+)", rf"{ours}.\1") for layer, ours in _VGG_LAYERS.items()]
    if several:
        plain = {re.sub(r"^(fc[678](?:_voc12)?)_(\d)\.", lambda m: f"{m[1]}_{int(m[2]) - 1}.", name): tensor
                 for name, tensor in plain.items()}  # fmt: skip
    renames += [
        (rf"(fc[67]){suffix}\.(.+)", r"backbone.branches.\2.\1.\3" if several else r"backbone.branches.0.\1.\2"),
        (rf"fc8(?:_voc12)?{suffix}\.(.+)", r"classifier.\1.\2" if several else r"classifier.\1"),
    ]
    options: dict[str, Any] = {"backbone": "vgg16"} if several else {"fc6": fc6}
    imported = Imported(
        NAME,
        f"DeepLab v{2 if several else 1} on VGG16",
        "DeepLabV2" if several else "DeepLabV1",
        options | ({"scales": [1.0]} if several else {}),
        plain[first.replace("_1.", "_0.") if several else first].shape[0],
        **translate(plain, renames, _OTHER_SCALES),
        mean=MEAN,
        std=STD,
        notes=["atrous rates of fc6 are the paper's: the file does not tell them"],
    )
    rgb_first(imported, "backbone.stages.0.0.weight")
    return imported
