"""An ensemble says the mean of what its networks say."""

from __future__ import annotations

import pytest
import torch

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models import DeepLabV3Plus
from deeplab_lightning.models.ensemble import Ensemble

MEMBER = {"backbone": "test_efficientnet", "aspp_channels": 8, "decoder_channels": 8}


def test_probabilities_are_averaged() -> None:
    torch.manual_seed(0)
    members = [DeepLabV3Plus(3, **MEMBER).eval() for _ in range(3)]
    kept = {"name": "DeepLabV3Plus", **members[0].options.plain(), "pretrained": True, "num_classes": 3}
    ensemble = Ensemble(3, members=[kept] * 3).eval()
    for index, member in enumerate(members):
        ensemble.members[index].load_state_dict(member.state_dict())
    image = torch.randn(2, 3, 33, 49)
    with torch.no_grad():
        expected = sum(member.coarse_logits(image).softmax(1) for member in members) / 3
        found = ensemble.coarse_logits(image).exp()
    torch.testing.assert_close(found, expected)
    assert (ensemble.output_stride, ensemble.align_corners) == (members[0].output_stride, members[0].align_corners)


def test_what_cannot_be_averaged_is_refused() -> None:
    plus = {"name": "DeepLabV3Plus", **MEMBER}
    with pytest.raises(ConfigError, match="differ in output_stride: 8, 16"):
        Ensemble(3, members=[{**plus, "output_stride": 8}, plus])
    with pytest.raises(ConfigError, match="has no members"):
        Ensemble(3)
