"""The exported module computes what the predictor computes, at any size, in operators that stay open to any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.export.model import ImageModel, WithLogits, example
from deeplab_lightning.inference.predictor import Predictor

from .networks import NORMALISE, network

SIZES = [(33, 49), (64, 81), (95, 130)]
QUICK = ["encoder_decoder", "unet", "segnet", "v2", "v3_corners_apart", "v3plus", "v3plus_16k"]


def predictor(net: nn.Module) -> Predictor:
    return Predictor(
        net.coarse_logits,  # type: ignore[arg-type]
        NORMALISE,
        output_stride=net.output_stride,  # type: ignore[arg-type]
        align_corners=net.align_corners,  # type: ignore[arg-type]
        side_remainder=getattr(net, "side_remainder", 1),
    )


def images(*size: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 256, (batch, 3, *size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@torch.no_grad()
def logits_of(net: nn.Module, image: Tensor) -> Tensor:
    return torch.cat([band for _, band in predictor(net).bands(image)], dim=2)


@pytest.mark.parametrize("name", [*QUICK, "unet_valid", "v3_psp"])
@torch.no_grad()
def test_it_is_the_predictor(name: str) -> None:
    net = network(name)
    model = ImageModel(net, NORMALISE)
    for size in SIZES:
        image = images(*size)
        expected = logits_of(net, image)
        assert torch.allclose(model.output_and_logits(image)[1], expected, atol=1e-4 * float(expected.abs().max())), (
            size
        )
        agree = model(image) == predictor(net).predict(image)
        assert model(image).dtype == torch.uint8
        assert agree.float().mean() > 0.999


@torch.no_grad()
def test_outputs_and_inputs() -> None:
    net, image = network("v3plus"), images(50, 65)
    logits = ImageModel(net, NORMALISE, outputs="logits")(image)
    probs = ImageModel(net, NORMALISE, outputs="probs")(image)
    assert torch.equal(probs, logits.softmax(1))
    normalised = ImageModel(net, NORMALISE, outputs="logits", inputs="normalised")
    assert torch.allclose(normalised(NORMALISE(image)), logits, atol=1e-5)
    coarse = ImageModel(net, NORMALISE, outputs="coarse_logits")(image)
    assert coarse.shape == (2, 5, 17, 17)  # of the padded image, 65 x 65
    classes, both = WithLogits(ImageModel(net, NORMALISE))(image)
    assert torch.equal(both, logits)
    assert torch.equal(classes.long(), logits.argmax(1))


@torch.no_grad()
def test_half_precision_is_inside_and_the_original_is_left_alone() -> None:
    net, image = network("encoder_decoder").train(), images(50, 65)
    model = ImageModel(net, NORMALISE, outputs="logits", dtype=torch.bfloat16)
    assert net.training
    assert next(net.parameters()).dtype == torch.float32
    assert next(net.parameters()).requires_grad
    logits, expected = model(image), logits_of(net.eval(), image)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, expected)
    assert (logits - expected).abs().max() < 0.1 * expected.abs().max()


def test_example_is_as_the_input() -> None:
    net = network("encoder_decoder")
    assert example(ImageModel(net, NORMALISE), 3, True, (40, 50)).dtype == torch.uint8
    assert example(ImageModel(net, NORMALISE), 3, False, (40, 50)).dtype == torch.float32
    assert example(ImageModel(net, NORMALISE, inputs="normalised"), 3, True, (40, 50)).dtype == torch.float32


def test_bytes_are_sliced_where_the_size_is_known() -> None:
    """LiteRT, which is installed in few places, cannot pick rows of bytes."""
    program = torch.export.export(ImageModel(network("corners"), NORMALISE), (images(50, 65),))
    picked = [node.meta["val"].dtype for node in program.graph.nodes if "index_select" in str(node.target)]
    assert picked
    assert torch.uint8 not in picked
