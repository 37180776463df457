"""Parameter groups: who learns how fast, and who decays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from .options import OptimizerOptions


def parameter_groups(
    model: nn.Module,
    options: OptimizerOptions,
    new_layers: Collection[str] = (),
    beside: Sequence[nn.Module] = (),
) -> list[dict[str, Any]]:
    """Sort the trainable parameters of `model` into groups for an optimiser.

    The backbone learns at `lr`, everything else at `lr * head_lr_multiplier`, biases of convolutions at
    `bias_lr_multiplier` times what their part does. Weight decay goes to the kernels of convolutions, grouped ones
    (ResNeXt) included, but not depthwise ones; batch norms and biases have none. So do the released DeepLabs: v1 and v2
    with multipliers of 10 and 2 (together 20 for the bias of the classifier), v3 and v3+ with none.

    Args:
        model: A network whose backbone is its attribute `backbone`.
        options: Learning rate, its multipliers, and weight decay.
        new_layers: Names of the layers that start anew where all others were trained for the same task: then these
            alone are the head, and the backbone is everything else.
        beside: What is trained besides the network (a second head): part of the head, too.

    Returns:
        Non-empty groups, each with `name`, `params`, `lr` and `weight_decay`. Every trainable parameter is in exactly
        one of them.
    """
    groups: dict[tuple[str, str], list[nn.Parameter]] = {}
    seen: set[int] = set()
    parts: list[tuple[str, nn.Module]] = []
    for module_name, module in model.named_modules():
        is_trained = module_name not in new_layers if new_layers else module_name.split(".")[0] == "backbone"
        parts.append(("backbone" if is_trained else "head", module))
    parts += [("head", module) for addition in beside for module in addition.modules()]
    for part, module in parts:
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            groups.setdefault((part, _kind(module, name)), []).append(parameter)
    return [
        {
            "name": f"{part}/{kind}",
            "params": parameters,
            "lr": options.lr
            * (options.head_lr_multiplier if part == "head" else 1)
            * (options.bias_lr_multiplier if kind == "bias" else 1),
            "weight_decay": options.weight_decay if kind == "kernel" else 0.0,
        }
        for (part, kind), parameters in sorted(groups.items())
    ]


def _kind(module: nn.Module, name: str) -> str:
    """Return `kernel` (decays), `bias` (of a convolution), or `other`: norms, gains and depthwise kernels."""
    if not isinstance(module, _ConvNd | nn.Linear) or name not in ("weight", "bias"):
        return "other"  # such as the gain of a convolution whose weights are standardised
    if name == "bias":
        return "bias"
    depthwise = isinstance(module, _ConvNd) and module.groups == module.in_channels > 1
    return "other" if depthwise else "kernel"
