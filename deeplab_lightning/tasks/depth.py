"""Depth, by a second head on the features that the classifier reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..layers import resize
from ..layers.feature_hook import FeatureHook
from ..layers.heads import depth_head
from ..losses.depth import LOG_RANGE, DepthOptions
from ..metrics.by_image import ByImage
from ..metrics.depth import DepthScores
from ..models import Network, TrainingMaps
from ..types import Batch
from .side_task import Seen, SideTask, maps_of

if TYPE_CHECKING:
    from .evaluating import EvaluatedTask


class DepthTask(SideTask):
    """Depth from the map that goes into a network's classifier: no second pass through the network.

    Args:
        network: Whose attribute `classifier` is a 1x1 convolution.
        options: What training minimises.

    Raises:
        ConfigError: The network has no single classifier, or its features do not lie on the image.
    """

    needs = "depth"
    prefix = "depth/"

    def __init__(self, network: Network, options: DepthOptions) -> None:
        super().__init__()
        if not network.features_fit_image:
            raise ConfigError(
                f"The features of {type(network).__name__} do not lie on the image as its logits do, so that no depth "
                f"map can be read from them: take DeepLab v3 or v3+, or leave out --loss.depth."
            )
        classifier = getattr(network, "classifier", None)
        if not isinstance(classifier, nn.Conv2d):
            raise ConfigError(
                f"A depth head reads what the classifier reads, and {type(network).__name__} has no single classifier: "
                f"take DeepLab v3 or v3+, or leave out --loss.depth."
            )
        self.layers = depth_head(classifier.in_channels)
        self.options, self.align_corners = options, network.align_corners
        self.scores = DepthScores()
        self._hook = FeatureHook(classifier, before=True)

    @property
    def metrics(self) -> list[ByImage]:
        """Errors of depth."""
        return [self.scores]

    def forward(self) -> Tensor:
        """Return the logarithm of depth for the network's last pass, `(B, 1, h, w)`, coarse."""
        log_depth: Tensor = self.layers(self._hook.take())
        return log_depth

    def losses(self, maps: TrainingMaps, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted loss of the network's last pass, at the size of the depth maps."""
        depth = maps_of(batch, self.needs)
        height, width = depth.shape[-2:]
        return {"depth": self.options(resize(self(), (height, width), self.align_corners)[:, 0], depth)}

    def depth(self) -> Tensor:
        """Return the coarse depth of the network's last pass, `(B, 1, h, w)`."""
        return self().clamp(-LOG_RANGE, LOG_RANGE).exp()

    def evaluate(self, task: EvaluatedTask, seen: Seen) -> dict[str, list[Any]]:
        """Predict and count depths."""
        depth = torch.cat([band for _, band in task.depth_predictor().bands(seen.images)], dim=2)[:, 0]
        self.scores.update(depth, seen.maps, seen.sample_ids)
        return {}
