"""What several processes must agree on before they evaluate together."""

from __future__ import annotations

import torch
from torch import nn


def share_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers: batch norms' statistics drift apart in training.

    `DistributedDataParallel` does so at most forward passes, but not while gradients are accumulated, and other
    strategies never do. The first process's are those that checkpoints hold.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)
