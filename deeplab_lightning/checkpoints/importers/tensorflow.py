"""TensorFlow's official DeepLab: checkpoints, frozen graphs, and TFLite files with their batch norms folded in.

Networks: v3+ on Xception-41, -65, -71 and on ResNet (beta), v3 without a decoder, and the lite form on MobileNetV2
with any depth multiplier. The concatenation before the projection has image pooling first; low-level maps are taken
inside units (`backbones/low_level_maps.py`); corners are aligned; images are scaled to [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..reading import ForeignFile
from .resnet import FEATURES
from .translation import PLUS_MINUS_ONE, Imported, Renames, first_last, folded_norm, rows, translate, unit_places, units

NAME = "tensorflow"

BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
KERNELS = ("weights", "depthwise_weights")
FOLDED = ("Conv2D_bias", "depthwise_bias")
"""What TFLite calls the bias that a batch norm became."""

NOT_NEEDED = {
    r".*/(Momentum|Adam|Adam_1|RMSProp|RMSProp_1)": "the optimiser's",
    r".*/ExponentialMovingAverage": "an average of a weight that is there itself",
    r"global_step": "counts the training's steps",
    r"(?!.*(weights|biases|_bias|gamma|beta|moving_mean|moving_variance)$).*": "a constant of the graph, no weight",
}

MOBILENET_STAGES = (1, 2, 3, 4, 3, 3, 1)
RESNETS = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101"}
RESNET_EPS, TRUNK_EPS, HEAD_EPS = 1e-5, 1e-3, 1e-5


Layers = list[tuple[str, ...]]
"""Of convolutions: TensorFlow's scope, our name of it, and of the batch norm behind it (none: it has a bias)."""

_MOBILENET_FIRST_UNIT = """
depthwise   conv_dw    bn1
project     conv_pw    bn2
"""
_MOBILENET_UNIT = """
expand      conv_pw    bn1
depthwise   conv_dw    bn2
project     conv_pwl   bn3
"""
_XCEPTION_BLOCK = """
separable_conv{1..3}_{depthwise,pointwise}   stack.conv{1..3}.conv_{dw,pw}   stack.conv{1..3}.bn_{dw,pw}
shortcut                                     shortcut.conv                   shortcut.bn
"""
_RESNET = """
conv1_{1..3}                                        {conv1.0,conv1.3,conv1.6}       {conv1.1,conv1.4,bn1}
block{1..4}/unit_{1..23}/bottleneck_v1/conv{1..3}   layer{1..4}.{0..22}.conv{1..3}  layer{1..4}.{0..22}.bn{1..3}
block{1..4}/unit_1/bottleneck_v1/shortcut           layer{1..4}.0.downsample.0      layer{1..4}.0.downsample.1
"""
_HEAD = """
concat_projection                           context.aspp.project.0            context.aspp.project.1
aspp{0..3}                                  context.aspp.branches.{0..3}.0    context.aspp.branches.{0..3}.1
aspp{1..3}_{depthwise,pointwise}  context.aspp.branches.{1..3}.{0,1}.0  context.aspp.branches.{1..3}.{0,1}.1
logits/semantic                             classifier
"""
_DECODER = """
feature_projection0                         reduce.0.0                  reduce.0.1
decoder_conv0/decoder_conv0_{1,2}           refine.0.{0,1}.0            refine.0.{0,1}.1
decoder_conv{0,1}_{depthwise,pointwise}     refine.0.{0,1}.{0,1}.0      refine.0.{0,1}.{0,1}.1
"""


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    if file.container not in ("tensorflow", "tflite") or "logits/semantic/weights" not in file.tensors:
        return None
    tensors = {name: _layout(name, tensor, file.container) for name, tensor in file.tensors.items()}
    backbone, trunk, options, trunk_eps = _trunk(tensors)
    head, head_options = _head(tensors)
    layers = [*trunk, *head]
    imported = Imported(
        NAME if file.container == "tensorflow" else "tflite",
        "",
        "DeepLabV3Plus" if head_options["decoder"] else "DeepLabV3",
        {"backbone": backbone, **options, **head_options},
        tensors["logits/semantic/weights"].shape[0],
        **translate(tensors, _renames(layers), NOT_NEEDED),
        mean=PLUS_MINUS_ONE[0],
        std=PLUS_MINUS_ONE[1],
        norm_eps={"": HEAD_EPS, "backbone.": trunk_eps},
    )
    if not imported.options.pop("decoder"):
        imported.options.pop("low_level_map", None)
    state, folded = imported.state, _folded(tensors, layers)
    if folded:
        imported.used |= {name: f"{norm}.bias" for name, norm in folded.items()}
        imported.left_over = [name for name in imported.left_over if name not in folded]
        for name, norm in folded.items():
            state |= folded_norm(norm, tensors[name])
        imported.norm_eps = {"": 0.0}
        imported.options["freeze_batch_norm"] = True
        imported.notes.append(
            "batch norms are folded into the kernels; ours only add the bias, and are frozen (freeze_batch_norm). Set "
            "free, they get the statistics of training images before the first step"
        )
    project = "context.aspp.project.0.weight"
    if imported.options["image_pooling"] and project in state:
        state[project] = first_last(state[project], imported.options["aspp_channels"])
        imported.notes.append("concatenation: image pooling moved from the first to the last place")
    if file.container == "tflite":
        _follow_operations(file, imported)
    else:
        imported.options["output_stride"] = 16
        imported.notes.append("output stride 16, as in the zoo's training: variables do not tell it, and fit any")
        if "multi_grid" in options:
            imported.notes.append("multi-grid 1, 2, 4, as in the papers: variables do not tell it")
    decoder = "v3+" if imported.generation == "DeepLabV3Plus" else "v3"
    imported.network = f"DeepLab {decoder} on {backbone}"
    return imported


def _layout(name: str, tensor: Tensor, container: str) -> Tensor:
    """Bring a kernel into PyTorch's order, `(out, in, h, w)`, depthwise `(out, 1, h, w)`."""
    tensor = tensor.float()
    if tensor.dim() != 4:
        return tensor
    if container == "tflite":
        return tensor.permute(3, 0, 1, 2) if name.endswith("depthwise_weights") else tensor.permute(0, 3, 1, 2)
    if name.endswith("depthwise_weights"):
        return tensor.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
    return tensor.permute(3, 2, 0, 1)


def _renames(layers: Layers) -> Renames:
    renames: Renames = {}
    for scope, conv, *norm in layers:
        renames |= {f"{scope}/{kernel}": f"{conv}.weight" for kernel in KERNELS}
        if norm:
            renames |= {f"{scope}/BatchNorm/{theirs}": f"{norm[0]}.{ours}" for theirs, ours in BATCH_NORM.items()}
        else:
            renames |= {f"{scope}/{bias}": f"{conv}.bias" for bias in ("biases", "Conv2D_bias")}
    return renames


def _folded(tensors: Mapping[str, Tensor], layers: Layers) -> dict[str, str]:
    """Return the biases that batch norms became: their names -> our norms."""
    biases = {f"{scope}/{bias}": norm[0] for scope, _, *norm in layers if norm for bias in FOLDED}
    return {bias: norm for bias, norm in biases.items() if bias in tensors}


def _follow_operations(file: ForeignFile, imported: Imported) -> None:
    """Take the output stride, the dilation rule and the convention of corners from a graph's operations."""
    convolutions = file.facts["convolutions"]
    stride = 1
    for kernel, (step, _) in convolutions.items():
        stride *= step if kernel.startswith("MobilenetV2/") else 1
    if stride not in (8, 16, 32):
        raise CheckpointError(f"{file.path} has an output stride of {stride}, where 8, 16 or 32 is expected.")
    rates = [rate for kernel, (_, rate) in convolutions.items() if kernel.endswith("depthwise_weights")]
    lagging = {8: [1] * 7 + [2] * 7 + [4] * 3, 16: [1] * 14 + [2] * 3, 32: [1] * 17}[stride]
    full = {8: [1] * 6 + [2] * 7 + [4] * 4, 16: [1] * 13 + [2] * 4, 32: [1] * 17}[stride]
    if rates not in (lagging, full):
        raise CheckpointError(f"{file.path} has depthwise convolutions at rates {rates}, which is no known rule.")
    rule = "lag" if rates == lagging else "full"
    imported.options |= {
        "output_stride": stride,
        "first_unit": rule,
        "align_corners": file.facts["align_corners"],
    }
    if file.facts["stored_as"] in ("int8", "uint8"):
        imported.notes.append(
            "its kernels are of 8 bits: ours are the numbers that these stand for, and what lies between layers is not "
            "rounded, so that a few pixels in a thousand get another class"
        )
    height, width = file.facts["input_size"]
    imported.notes.append(f"dilation, read from its operations: output stride {stride}, first units {rule}")
    imported.notes.append(f"it was made for images of {height}x{width}; our network takes any size")


# --- trunks ---------------------------------------------------------------------------------------------------------

Trunk = tuple[str, Layers, dict[str, Any], float]
"""Backbone, its layers, options that go with it, and the eps of its batch norms."""


def _trunk(tensors: Mapping[str, Tensor]) -> Trunk:
    if "MobilenetV2/Conv/weights" in tensors:
        return _mobilenet_v2(tensors)
    for depth in (41, 65, 71):
        if f"xception_{depth}/entry_flow/conv1_1/weights" in tensors:
            return _xception(depth)
    for scope in ("resnet_v1_50", "resnet_v1_101"):
        if f"{scope}/block1/unit_1/bottleneck_v1/conv1/weights" in tensors:
            return _resnet(tensors, scope)
    scopes = sorted({name.split("/")[0] for name in tensors})
    raise CheckpointError(
        f"It is TensorFlow's DeepLab, but on none of the known backbones (MobilenetV2, xception_41, _65, _71, "
        f"resnet_v1_50, _101 in their beta form); its scopes are: {', '.join(scopes[:8])}."
    )


def _mobilenet_v2(tensors: Mapping[str, Tensor]) -> Trunk:
    layers: Layers = [("MobilenetV2/Conv", f"{FEATURES}conv_stem", f"{FEATURES}bn1")]
    for index, (stage, unit) in enumerate(unit_places(MOBILENET_STAGES)):
        scope = f"MobilenetV2/expanded_conv{f'_{index}' if index else ''}/"
        ours = f"{FEATURES}blocks.{stage}.{unit}."
        layers += rows(_MOBILENET_UNIT if index else _MOBILENET_FIRST_UNIT, scope, ours, ours)
    deepest = tensors.get(f"MobilenetV2/expanded_conv_{index}/project/weights")
    percent = 0 if deepest is None else round(100 * deepest.shape[0] / 320)
    return f"mobilenetv2_{percent:03d}_unrounded", layers, {"low_level_map": "tensorflow"}, TRUNK_EPS


def _xception(depth: int) -> Trunk:
    scope = f"xception_{depth}"
    stem = "entry_flow/conv1_{1,2} stem_{0,1}.conv stem_{0,1}.bn"
    layers = [*rows(stem, f"{scope}/", FEATURES, FEATURES)]
    entry = 5 if depth == 71 else 3
    flows = [("entry_flow", block, 1) for block in range(1, entry + 1)]
    flows += [("middle_flow", 1, unit) for unit in range(1, (8 if depth == 41 else 16) + 1)]
    flows += [("exit_flow", block, 1) for block in (1, 2)]
    for index, (flow, block, unit) in enumerate(flows):
        inner, ours = f"{scope}/{flow}/block{block}/unit_{unit}/xception_module/", f"{FEATURES}blocks_{index}."
        layers += rows(_XCEPTION_BLOCK, inner, ours, ours)
    return f"xception{depth}", layers, {"low_level_map": "tensorflow"}, TRUNK_EPS


def _resnet(tensors: Mapping[str, Tensor], scope: str) -> Trunk:
    if f"{scope}/conv1_1/weights" not in tensors:
        raise CheckpointError(
            f"It stands on {scope} with one 7x7 convolution at its start; TensorFlow's DeepLab has three of 3x3 (its "
            f"beta form)."
        )
    counts = units(tensors, rf"{scope}/block(\d)/unit_(\d+)/bottleneck_v1/conv1/weights")
    if counts not in RESNETS:
        raise CheckpointError(f"{scope} has blocks of {counts} units; known are {', '.join(map(str, RESNETS))}.")
    layers = [*rows(_RESNET, f"{scope}/", FEATURES, FEATURES)]
    options = {"beta_stem": True, "stride_place": "previous", "multi_grid": [1, 2, 4], "low_level_map": "tensorflow"}
    return RESNETS[counts], layers, options, RESNET_EPS


# --- heads ----------------------------------------------------------------------------------------------------------


def _head(tensors: Mapping[str, Tensor]) -> tuple[Layers, dict[str, Any]]:
    """Return the layers behind the trunk, and the options that they tell."""
    separable = "aspp1_depthwise/depthwise_weights" in tensors
    branches = [index for index in (1, 2, 3) if f"aspp{index}{'_depthwise/depthwise_' if separable else '/'}weights"
                in tensors]  # fmt: skip
    pooling = "image_pooling/weights" in tensors
    decoder = "decoder/feature_projection0/weights" in tensors
    layers = [*rows(_HEAD), *rows(_DECODER, "decoder/", "decoder.", "decoder.")]
    if pooling:
        last = f"context.aspp.branches.{len(branches) + 1}"
        layers.append(("image_pooling", f"{last}.conv", f"{last}.norm"))
    options: dict[str, Any] = {
        "atrous_rates": [6, 12, 18][: len(branches)],
        "image_pooling": pooling,
        "separable": separable,
        "aspp_channels": tensors["aspp0/weights"].shape[0] if "aspp0/weights" in tensors else 256,
        "decoder": decoder,
    }
    if decoder:
        decoder_separable = "decoder/decoder_conv0_depthwise/depthwise_weights" in tensors
        if branches and decoder_separable != separable:
            raise CheckpointError("Its ASPP and its decoder are not both separable: our networks are one or the other.")
        options["separable"] = decoder_separable
        options["low_level_channels"] = tensors["decoder/feature_projection0/weights"].shape[0]
        options["decoder_channels"] = tensors["logits/semantic/weights"].shape[1]
    return layers, options
