"""The decoder in the form for ONNX Runtime computes what the decoder computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning.export.blocked_decoder import BlockedDecoder, block_decoder
from deeplab_lightning.layers.norms import GroupNormAct, replace_norms
from deeplab_lightning.models import DeepLabV3, DeepLabV3Plus

from ..models.base import randomise

SMALL = {"aspp_channels": 16, "decoder_channels": 16, "low_level_channels": 8}
FORMS: dict[str, dict[str, Any]] = {
    "separable": {},
    "no norm between": {"norm_between": False, "decoder_convs": 1},
    "dense": {"separable": False},
    "1x1": {"decoder_kernel_size": 1},
    "additive": {"additive_decoder": True},
    "two maps": {"decoder_strides": (8, 4)},
    "two maps at stride 8": {"decoder_strides": (8, 4), "output_stride": 8},
    "sides of 16 k": {"side_remainder": 0},
    "sides of 32 k": {"side_remainder": 0, "output_stride": 32},
    "any side": {"align_corners": False},
    "xception": {"backbone": "xception41", "low_level_map": "tensorflow"},
    "resnet": {"backbone": "resnet18"},
}


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_it_is_the_decoder(form: str, in_parts: bool) -> None:
    torch.manual_seed(0)
    network = DeepLabV3Plus(5, **{"backbone": "mobilenetv2_035", **SMALL, **FORMS[form]})
    randomise(network)
    network.eval()
    for side in (64, 96):
        remainder = 7 if form == "any side" else network.side_remainder
        image = torch.randn(2, 3, side + remainder, 2 * side + remainder)
        network_itself = network.decoder
        expected = network.coarse_logits(image)
        block_decoder(network, in_parts)
        assert isinstance(network.decoder, BlockedDecoder)
        found = network.coarse_logits(image)
        network.decoder = network_itself
        assert expected.std() > 0.01
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


def test_what_it_leaves_alone() -> None:
    with_groups = DeepLabV3Plus(5, backbone="mobilenetv2_035", **SMALL)
    replace_norms(with_groups, GroupNormAct)
    without_decoder = DeepLabV3Plus(5, backbone="mobilenetv2_035", aspp_channels=16, decoder=False)
    for network in (with_groups, without_decoder, DeepLabV3(5, backbone="mobilenetv2_035", aspp_channels=16)):
        before = list(network.modules())
        block_decoder(network, in_parts=True)
        assert all(one is other for one, other in zip(before, network.modules(), strict=True))


def test_the_original_keeps_its_weights() -> None:
    network = DeepLabV3Plus(5, backbone="mobilenetv2_035", **SMALL).eval()
    decoder: nn.Module = network.decoder  # type: ignore[assignment]
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    block_decoder(network, in_parts=True)
    with torch.no_grad():
        for tensor in network.decoder.state_dict().values():  # type: ignore[union-attr]
            tensor.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())
