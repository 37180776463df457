"""Other norms for a network that was built with batch norms, whoever built it: ours and timm's layers alike.

timm keeps an activation (and a drop layer) inside its batch norms. Whatever replaces one of them has to go on with
those: torch's own `convert_sync_batchnorm` drops them without a word, which makes MobileNet or Xception a network
without its ReLUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

MOST_GROUPS = 32
"""Groups of a group norm (Wu and He, "Group Normalization", ECCV 2018), where the channels allow it."""


class GroupNormAct(nn.GroupNorm):
    """Group norm in place of a batch norm, with its scale, its shift and what timm kept inside it.

    The groups are as many as divide the channels, at most 32, and of two channels at least: a group of one channel on
    a 1x1 map would always be zero.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(groups_for(norm.num_features), norm.num_features, eps=norm.eps, affine=norm.affine)
        if norm.affine:
            self.weight, self.bias = norm.weight, norm.bias
        self.after = behind_norm(norm)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W) -> (B, C, H, W)`."""
        return self.after(super().forward(x))


class SyncBatchNormAct(nn.SyncBatchNorm):
    """Batch norm with the statistics of all processes, sharing the state of the one it replaces; on GPUs only."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._take_over(norm, self)
        self.after = behind_norm(norm)
        self.replaced = (norm,)  # in a tuple, so that it is no module of the network

    def forward(self, input: Tensor) -> Tensor:
        """`(B, C, H, W) -> (B, C, H, W)`."""
        return self.after(super().forward(input))

    def original(self) -> _BatchNorm:
        """Return the batch norm that stood here, with the state of now."""
        self._take_over(self, self.replaced[0])
        return self.replaced[0]

    @staticmethod
    def _take_over(source: _BatchNorm, target: _BatchNorm) -> None:
        target._parameters.update(source._parameters)
        target._buffers.update(source._buffers)
        target.training = source.training


def groups_for(channels: int) -> int:
    """Return the number of groups of a group norm over `channels` channels."""
    return max((groups for groups in range(1, MOST_GROUPS + 1) if channels % groups == 0 and channels >= 2 * groups),
               default=1)  # fmt: skip


def replace_norms(
    model: nn.Module, replacement: Callable[[Any], nn.Module], kind: type[nn.Module] = _BatchNorm
) -> None:
    """Put `replacement(norm)` where a norm of that kind is, everywhere below `model`."""
    for name, child in model.named_children():
        if isinstance(child, kind):
            setattr(model, name, replacement(child))
        else:
            replace_norms(child, replacement, kind)


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of `model`, synchronised ones included."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def without_statistics(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms that would learn and stand at mean 0 and variance 1: they were folded into kernels."""
    return [
        norm for norm in batch_norms(model)
        if norm.training and norm.running_mean is not None and norm.running_var is not None
        and not norm.running_mean.any() and bool((norm.running_var == 1).all())
    ]  # fmt: skip


@torch.no_grad()
def put_back_statistics(
    model: nn.Module, norms: Sequence[_BatchNorm], images: Iterable[Tensor], add_up: Callable[[Tensor], Tensor]
) -> None:
    """Give batch norms the statistics of what they normalise, and leave what the network computes as it is.

    A norm that was folded into the kernel before it only adds a bias. Set free as it is, it would divide by the
    deviation of each batch, which the kernel has in it already. With `scale * x + bias` for what it does now, and mean
    and variance measured, gain `scale * sqrt(variance + eps)` and bias `bias + scale * mean` give the same in
    evaluation, and in training the same but for the noise of the batch.

    Args:
        model: The network.
        norms: Which of its norms.
        images: Normalised training batches `(B, C, H, W)`.
        add_up: Adds a tensor over all processes.
    """
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x, others = inputs[0].double(), (0, *range(2, inputs[0].dim()))
        count = torch.full_like(x[0].flatten(1)[:, 0], x.numel() / x.shape[1])
        sums[norm] += torch.stack([count, x.sum(others), x.square().sum(others)]).cpu()  # type: ignore[index]

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    was_training = model.training
    try:
        model.eval()
        for batch in images:
            model(batch)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        count, total, squares = add_up(sums[norm].to(norm.running_mean.device))
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(norm.bias.double() + scale * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def pause_statistics(model: nn.Module) -> Callable[[], None]:
    """Keep the running statistics of the batch norms still; what the norms compute stays the same.

    Gradient checkpointing runs layers twice, and only the first time may count.

    Returns:
        What lets them move again.
    """
    paused = [(norm, norm.momentum, norm.num_batches_tracked) for norm in batch_norms(model)]
    for norm in batch_norms(model):
        norm.momentum, norm.num_batches_tracked = 0.0, None

    def resume() -> None:
        for norm, momentum, count in paused:
            norm.momentum, norm.num_batches_tracked = momentum, count

    return resume


def behind_norm(norm: _BatchNorm) -> nn.Sequential:
    """Return what timm's batch norms, and those of several processes, do behind the norm."""
    parts = (getattr(norm, name, None) for name in ("drop", "act", "after"))
    return nn.Sequential(*(part for part in parts if isinstance(part, nn.Module) and not isinstance(part, nn.Identity)))
