"""Several trained networks as one, such as those of a cross-validation: the mean of their probabilities.

```
image (B, 3, H, W) ─┬─ network 1 ── softmax ─┐
                    ├─ ...                   ├─ mean ─ log ─> logits (B, num_classes, h, w)
                    └─ network K ── softmax ─┘
```

Probabilities are averaged at the networks' own resolution, before the one resize to full size (the views of
one image are averaged behind it; the two differ by the resize alone). Being a network, it is loaded, evaluated and
exported as any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import hints_of
from .base import Network, NetworkOptions

SAME = ("output_stride", "align_corners", "side_remainder", "needs_fixed_size")
"""Attributes that members must share: one padding and one resize serve all."""


@dataclass(frozen=True)
class EnsembleOptions(NetworkOptions):
    """Options of an ensemble."""

    members: tuple[dict[str, Any], ...] = ()
    """The networks, each by its name and options: [{name: DeepLabV3Plus, backbone: resnet50}, ...]; `folds` writes
    them."""

    def check(self) -> None:
        """Refuse an ensemble of nothing."""
        super().check()
        if not self.members:
            raise ConfigError("An Ensemble has no members: `folds` makes one, of the networks of a cross-validation.")


class Ensemble(Network):
    """The mean of several networks."""

    Options = EnsembleOptions
    options: EnsembleOptions
    classifiers = ("members",)

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make the members."""
        from . import network_named  # which knows this class, too

        usual = NetworkOptions()
        own = {
            name: value
            for name in hints_of(NetworkOptions)
            if (value := getattr(self.options, name)) != getattr(usual, name)
        }
        built = []
        for member in self.options.members:
            network = network_named(str(member.get("name")))
            known = hints_of(network.Options).keys() - {"pretrained"}  # the weights come from the checkpoint
            options = {key: value for key, value in member.items() if key in known}
            built.append(network(num_classes, in_channels, **{**options, **own}))
        self.members = nn.ModuleList(built)
        first = built[0]
        for name in SAME:
            found = {getattr(network, name) for network in built}
            if len(found) > 1:
                raise ConfigError(f"Members of an ensemble differ in {name}: {', '.join(map(str, sorted(found)))}.")
            setattr(self, name, getattr(first, name))
        self.features_fit_image = False  # each member has features of its own

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities `(B, num_classes, h, w)`."""
        maps = [member.coarse_logits(image).float() for member in self.members]  # type: ignore[operator]
        mean = torch.stack([each.log_softmax(1) for each in maps]).logsumexp(0) - math.log(len(maps))
        return mean - mean[:, :1] if self.options.binary else mean
