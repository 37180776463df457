"""Trading time against memory in training: compilation and gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError


def compile_in_place(model: nn.Module) -> None:
    """Compile what training calls; names of weights stay as they are (no `_orig_mod.`), evaluation stays uncompiled.

    Evaluation sees images of all sizes, each of which would be compiled for anew.
    """
    for name in ("all_logits", "logits_with_auxiliary", "coarse_logits"):
        method: Callable[..., Any] | None = getattr(model, name, None)
        if method is not None:
            setattr(model, name, _compiled_in_training(method))


def _compiled_in_training(method: Callable[..., Any]) -> Callable[..., Any]:
    compiled = torch.compile(method)

    @wraps(method)
    def call(image: Tensor) -> Any:
        return compiled(image) if torch.is_grad_enabled() else method(image)

    return call


def use_gradient_checkpointing(model: nn.Module, backbone_name: str) -> None:
    """Let the backbone forget its inner maps and compute them again on the way back: a third slower, less memory.

    Raises:
        ConfigError: The backbone has no such thing.
    """
    backbone: Any = getattr(model, "backbone", None)
    switch = getattr(getattr(backbone, "features", None), "set_grad_checkpointing", None)
    if switch is None or getattr(backbone, "_walk", None) is not None:
        raise ConfigError(
            f"Backbone {backbone_name!r} has no gradient checkpointing: leave out --model.gradient_checkpointing, or "
            f"take one of timm's (resnet101, mobilenetv2_100) with its own stride_place."
        )
    switch(True)
