"""A second head that tells how far away things are, on the features that the classifier reads."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..layers import resize
from ..layers.feature_hook import FeatureHook
from ..layers.heads import depth_head
from ..losses.depth import LOG_RANGE, DepthLoss, depth_loss
from ..types import Batch


class DepthHead(nn.Module):
    """Depth from the map that goes into a network's classifier: no second pass through the network.

    Args:
        network: Whose attribute `classifier` is a 1x1 convolution.
        loss: What training makes small.
        align_corners: Convention of the resize to full size.

    Raises:
        ConfigError: The network has no single classifier.
    """

    def __init__(self, network: nn.Module, loss: DepthLoss, align_corners: bool) -> None:
        super().__init__()
        classifier = getattr(network, "classifier", None)
        if not isinstance(classifier, nn.Conv2d):
            raise ConfigError(
                f"A depth head reads what the classifier reads, and {type(network).__name__} has no single classifier: "
                f"take DeepLab v3 or v3+, or leave out --loss.depth.weight."
            )
        self.layers = depth_head(classifier.in_channels)
        self.kind, self.align_corners = loss, align_corners
        self._hook = FeatureHook(classifier, before=True)

    def forward(self) -> Tensor:
        """Return the logarithm of depth for the network's last pass, `(B, 1, h, w)`, coarse."""
        log_depth: Tensor = self.layers(self._hook.take())
        return log_depth

    def loss(self, depth: Tensor) -> Tensor:
        """Return the loss of the network's last pass against `depth` `(B, H, W)`, at its size."""
        height, width = depth.shape[-2:]
        return depth_loss(resize(self(), (height, width), self.align_corners)[:, 0], depth, self.kind)

    def depth(self) -> Tensor:
        """Return the coarse depth of the network's last pass, `(B, 1, h, w)`."""
        return self().clamp(-LOG_RANGE, LOG_RANGE).exp()


def depth_of(batch: Batch) -> Any:
    """Return the depth maps of a batch: `(B, H, W)` in training, a list of `(H, W)` in evaluation.

    Raises:
        ConfigError: The data has none.
    """
    if "depth" not in batch:
        raise ConfigError("--loss.depth.weight needs depth maps, and the batches have none: no entry 'depth'.")
    return batch["depth"]
