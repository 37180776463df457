"""TensorFlow's official DeepLab: checkpoints, frozen graphs, and TFLite files with their batch norms folded in.

Networks: v3+ on Xception-41, -65, -71 and on ResNet (beta), v3 without a decoder, and the lite form on MobileNetV2
with any depth multiplier. The concatenation before the projection has image pooling first; low-level maps are taken
inside units (`backbones/low_level_maps.py`); corners are aligned; images are scaled to [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..reading import ForeignFile
from .translation import PLUS_MINUS_ONE, Imported, first_last, folded_norm, translate, units

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


@dataclass(frozen=True)
class LayerNames:
    """A convolution: TensorFlow's scope, our name of it, and of the batch norm behind it (none: it has a bias)."""

    scope: str
    conv: str
    norm: str | None = None


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
            "batch norms are folded into the kernels; ours only add the bias, and are frozen (freeze_batch_norm): "
            "training that sets them free starts from statistics that are not there"
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


def _renames(layers: Iterable[LayerNames]) -> list[tuple[str, str]]:
    renames = []
    for layer in layers:
        renames += [(f"{layer.scope}/{kernel}", f"{layer.conv}.weight") for kernel in KERNELS]
        if layer.norm is None:
            renames += [(f"{layer.scope}/{bias}", f"{layer.conv}.bias") for bias in ("biases", "Conv2D_bias")]
        else:
            renames += [
                (f"{layer.scope}/BatchNorm/{theirs}", f"{layer.norm}.{ours}") for theirs, ours in BATCH_NORM.items()
            ]
    return renames


def _folded(tensors: Mapping[str, Tensor], layers: Iterable[LayerNames]) -> dict[str, str]:
    """Return the biases that batch norms became: their names -> our norms."""
    return {
        f"{layer.scope}/{bias}": layer.norm
        for layer in layers
        if layer.norm is not None
        for bias in FOLDED
        if f"{layer.scope}/{bias}" in tensors
    }


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
    height, width = file.facts["input_size"]
    imported.notes.append(f"dilation, read from its operations: output stride {stride}, first units {rule}")
    imported.notes.append(f"it was made for images of {height}x{width}; our network takes any size")


# --- trunks ---------------------------------------------------------------------------------------------------------

Trunk = tuple[str, list[LayerNames], dict[str, Any], float]
"""Backbone, its layers, options that go with it, and the eps of its batch norms."""


def _trunk(tensors: Mapping[str, Tensor]) -> Trunk:
    if "MobilenetV2/Conv/weights" in tensors:
        return _mobilenet_v2(tensors)
    for depth in (41, 65, 71):
        if f"xception_{depth}/entry_flow/conv1_1/weights" in tensors:
            return _xception(tensors, depth)
    for scope in ("resnet_v1_50", "resnet_v1_101"):
        if f"{scope}/block1/unit_1/bottleneck_v1/conv1/weights" in tensors:
            return _resnet(tensors, scope)
    scopes = sorted({name.split("/")[0] for name in tensors})
    raise CheckpointError(
        f"It is TensorFlow's DeepLab, but on none of the known backbones (MobilenetV2, xception_41, _65, _71, "
        f"resnet_v1_50, _101 in their beta form); its scopes are: {', '.join(scopes[:8])}."
    )


def _mobilenet_v2(tensors: Mapping[str, Tensor]) -> Trunk:
    features = "backbone.features"
    layers = [LayerNames("MobilenetV2/Conv", f"{features}.conv_stem", f"{features}.bn1")]
    index = 0
    for stage, count in enumerate(MOBILENET_STAGES):
        for unit in range(count):
            scope = f"MobilenetV2/expanded_conv{f'_{index}' if index else ''}"
            ours = f"{features}.blocks.{stage}.{unit}"
            # The first unit does not expand.
            parts = [("expand", "conv_pw"), ("depthwise", "conv_dw"), ("project", "conv_pwl")]
            for number, (part, conv) in enumerate(parts if index else [parts[1], ("project", "conv_pw")], start=1):
                layers.append(LayerNames(f"{scope}/{part}", f"{ours}.{conv}", f"{ours}.bn{number}"))
            index += 1
    deepest = tensors.get(f"MobilenetV2/expanded_conv_{index - 1}/project/weights")
    percent = 0 if deepest is None else round(100 * deepest.shape[0] / 320)
    return f"mobilenetv2_{percent:03d}_unrounded", layers, {"low_level_map": "tensorflow"}, TRUNK_EPS


def _xception(tensors: Mapping[str, Tensor], depth: int) -> Trunk:
    scope, features = f"xception_{depth}", "backbone.features"
    layers = [
        LayerNames(
            f"{scope}/entry_flow/conv1_{number}",
            f"{features}.stem_{number - 1}.conv",
            f"{features}.stem_{number - 1}.bn",
        )
        for number in (1, 2)
    ]
    entry = 5 if depth == 71 else 3
    flows = [("entry_flow", block, 1) for block in range(1, entry + 1)]
    flows += [("middle_flow", 1, unit) for unit in range(1, (8 if depth == 41 else 16) + 1)]
    flows += [("exit_flow", block, 1) for block in (1, 2)]
    for index, (flow, block, unit) in enumerate(flows):
        inner = f"{scope}/{flow}/block{block}/unit_{unit}/xception_module"
        ours = f"{features}.blocks_{index}"
        for number in (1, 2, 3):
            for part, short in (("depthwise", "dw"), ("pointwise", "pw")):
                conv = f"{ours}.stack.conv{number}"
                layers.append(
                    LayerNames(f"{inner}/separable_conv{number}_{part}", f"{conv}.conv_{short}", f"{conv}.bn_{short}")
                )
        if f"{inner}/shortcut/weights" in tensors:
            layers.append(LayerNames(f"{inner}/shortcut", f"{ours}.shortcut.conv", f"{ours}.shortcut.bn"))
    return f"xception{depth}", layers, {"low_level_map": "tensorflow"}, TRUNK_EPS


def _resnet(tensors: Mapping[str, Tensor], scope: str) -> Trunk:
    features = "backbone.features"
    if f"{scope}/conv1_1/weights" not in tensors:
        raise CheckpointError(
            f"It stands on {scope} with one 7x7 convolution at its start; TensorFlow's DeepLab has three of 3x3 (its "
            f"beta form)."
        )
    counts = units(tensors, rf"{scope}/block(\d)/unit_(\d+)/bottleneck_v1/conv1/weights")
    if counts not in RESNETS:
        raise CheckpointError(f"{scope} has blocks of {counts} units; known are {', '.join(map(str, RESNETS))}.")
    stem = [("conv1.0", "conv1.1"), ("conv1.3", "conv1.4"), ("conv1.6", "bn1")]
    layers = [
        LayerNames(f"{scope}/conv1_{number}", f"{features}.{conv}", f"{features}.{norm}")
        for number, (conv, norm) in enumerate(stem, start=1)
    ]
    for stage, count in enumerate(counts, start=1):
        for unit in range(count):
            inner = f"{scope}/block{stage}/unit_{unit + 1}/bottleneck_v1"
            ours = f"{features}.layer{stage}.{unit}"
            layers += [LayerNames(f"{inner}/conv{n}", f"{ours}.conv{n}", f"{ours}.bn{n}") for n in (1, 2, 3)]
            if not unit:
                layers.append(LayerNames(f"{inner}/shortcut", f"{ours}.downsample.0", f"{ours}.downsample.1"))
    options = {"beta_stem": True, "stride_place": "previous", "multi_grid": [1, 2, 4], "low_level_map": "tensorflow"}
    return RESNETS[counts], layers, options, RESNET_EPS


# --- heads ----------------------------------------------------------------------------------------------------------


def _head(tensors: Mapping[str, Tensor]) -> tuple[list[LayerNames], dict[str, Any]]:
    """Return the layers behind the trunk, and the options that they tell."""
    aspp = "context.aspp"
    separable = "aspp1_depthwise/depthwise_weights" in tensors
    branches = [index for index in (1, 2, 3) if f"aspp{index}{'_depthwise/depthwise_' if separable else '/'}weights"
                in tensors]  # fmt: skip
    pooling = "image_pooling/weights" in tensors
    decoder = "decoder/feature_projection0/weights" in tensors
    layers = [
        LayerNames("aspp0", f"{aspp}.branches.0.0", f"{aspp}.branches.0.1"),
        LayerNames("concat_projection", f"{aspp}.project.0", f"{aspp}.project.1"),
        LayerNames("logits/semantic", "classifier"),
    ]
    for index in branches:
        layers += _conv3x3(f"aspp{index}", f"{aspp}.branches.{index}", separable)
    if pooling:
        last = f"{aspp}.branches.{len(branches) + 1}"
        layers.append(LayerNames("image_pooling", f"{last}.conv", f"{last}.norm"))
    options: dict[str, Any] = {
        "atrous_rates": [6, 12, 18][: len(branches)],
        "image_pooling": pooling,
        "separable": separable,
        "aspp_channels": tensors["aspp0/weights"].shape[0] if "aspp0/weights" in tensors else 256,
        "decoder": decoder,
    }
    if decoder:
        layers.append(LayerNames("decoder/feature_projection0", "decoder.reduce.0.0", "decoder.reduce.0.1"))
        decoder_separable = "decoder/decoder_conv0_depthwise/depthwise_weights" in tensors
        if branches and decoder_separable != separable:
            raise CheckpointError("Its ASPP and its decoder are not both separable: our networks are one or the other.")
        options["separable"] = decoder_separable
        for index in (0, 1):
            # Dense convolutions are repeated in one scope.
            scope = (
                f"decoder/decoder_conv{index}"
                if decoder_separable
                else f"decoder/decoder_conv0/decoder_conv0_{index + 1}"
            )
            layers += _conv3x3(scope, f"decoder.refine.0.{index}", decoder_separable)
        options["low_level_channels"] = tensors["decoder/feature_projection0/weights"].shape[0]
        options["decoder_channels"] = tensors["logits/semantic/weights"].shape[1]
    return layers, options


def _conv3x3(scope: str, ours: str, separable: bool) -> list[LayerNames]:
    if not separable:
        return [LayerNames(scope, f"{ours}.0", f"{ours}.1")]
    return [
        LayerNames(f"{scope}_depthwise", f"{ours}.0.0", f"{ours}.0.1"),
        LayerNames(f"{scope}_pointwise", f"{ours}.1.0", f"{ours}.1.1"),
    ]
