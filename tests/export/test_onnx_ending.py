"""The end of ONNX graphs gives what the module gives, wherever corners lie and whatever is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning.export.format import Order
from deeplab_lightning.export.formats.onnx import ONNX
from deeplab_lightning.export.model import ImageModel, Outputs, example

from .networks import NORMALISE, network
from .test_model import images

SIZES = [(64, 81), (97, 130), (33, 49)]


def written(outputs: Outputs, path: Path, **corners: Any) -> tuple[ImageModel, Any]:
    net = network("corners")
    for name, value in corners.items():
        setattr(net, name, value)
    model = ImageModel(net, NORMALISE, outputs=outputs)
    return model, ONNX().write(Order(model, example(model, 3, True, (113, 70)), path, {}, "fp32", 18))


@pytest.mark.parametrize(
    ("outputs", "corners"),
    [
        ("classes", {"align_corners": False}),
        ("classes", {"side_remainder": 0}),
        *((outputs, {}) for outputs in ("probs", "logits", "coarse_logits")),
    ],
)
@torch.no_grad()
def test_it_gives_what_the_module_gives(outputs: Outputs, corners: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model, exported = written(outputs, tmp_path / "model.onnx", **corners)
    for size in SIZES:
        image = images(*size)
        expected, found = model(image), torch.from_numpy(np.asarray(exported.run(image.numpy())))
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        if outputs == "classes":
            assert (found == expected).float().mean() > 0.999
            logits = torch.from_numpy(exported.run_logits(image.numpy()))
            assert torch.allclose(logits, model.output_and_logits(image)[1], atol=1e-4)
        else:
            assert torch.allclose(found, expected, atol=1e-4)


def test_the_values_of_a_pixel_lie_side_by_side(tmp_path: Path) -> None:
    """ArgMax over whole maps takes three times as long."""
    onnx = pytest.importorskip("onnx")
    written("classes", tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    (argmax,) = (node for node in graph.node if node.op_type == "ArgMax")
    assert [attribute.i for attribute in argmax.attribute if attribute.name == "axis"] == [3]
