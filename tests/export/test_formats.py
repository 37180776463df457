"""Which file is meant; and every network through every format that runs here, at sizes not seen at export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.export import run_model
from deeplab_lightning.export.format import (
    Exported,
    Format,
    Order,
    Outputs,
    chosen_format,
    format_named,
    format_names,
    formats,
)
from deeplab_lightning.export.model import ImageModel, example

from .networks import NETWORKS, NORMALISE, network
from .test_model import images, logits_of, predictor

FACTS: dict[str, Any] = {
    "class_names": ["a", "b", "c", "d", "e"],
    "palette": [[10 * index, 20 * index, 30 * index] for index in range(5)],
    "output": "classes",
    "preprocessing": {"inside": True, "channels": 3, "pixel_range": 255, "mean": [0.5] * 3, "std": [0.5] * 3},
}
UNSEEN = [(1, 64, 81), (2, 97, 130), (3, 33, 49), (1, 20, 40)]


def written(
    format: str, name: str, path: Path, outputs: Outputs = "classes", **order: Any
) -> tuple[torch.nn.Module, Exported]:
    net = network(name).to(memory_format=torch.channels_last)  # as tasks keep theirs
    model = ImageModel(net, NORMALISE, outputs=outputs, dtype=order.pop("dtype", torch.float32))
    given = {"precision": "fp32", "opset": 18, **order}
    return net, format_named(format).write(Order(model, example(model, 3, True, (113, 70)), path, FACTS, **given))


def check(net: torch.nn.Module, exported: Exported) -> None:
    assert exported.run_logits is not None
    for batch, *size in UNSEEN if exported.fixed_size is None else [(1, *exported.fixed_size)]:
        if min(size) < 27 and exported.path.name == "fcn.pt2":
            continue  # docs/export.md says so
        image = images(*size, batch=batch)
        expected = logits_of(net, image)
        logits = torch.from_numpy(exported.run_logits(image.numpy()))
        largest = float(expected.abs().max())
        # Where two values of a pooling window are equal but for rounding, SegNet's maximum moves to the pixel beside.
        off = ((logits - expected).abs() > 1e-3 * largest).float().mean()
        assert off <= (1e-3 if "segnet" in str(exported.path) else 0), (size, off)
        classes = torch.from_numpy(exported.run(image.numpy()))
        assert classes.dtype == torch.uint8
        assert (classes == predictor(net).predict(image)).float().mean() > 0.999


@pytest.fixture(scope="module")
def in_onnx(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Exported]:
    """One quick conversion for several tests."""
    pytest.importorskip("onnx")
    return written("onnx", "corners", tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_onnx_at_sizes_not_seen(in_onnx: tuple[torch.nn.Module, Exported]) -> None:
    check(*in_onnx)


def test_onnx_for_one_size(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    net, exported = written("onnx", "corners", tmp_path / "model.onnx", one_size=True)
    assert exported.fixed_size == (113, 70)
    check(net, exported)
    with pytest.raises(Exception, match="Got invalid dimensions"):
        exported.run(images(64, 80, batch=1).numpy())


OPEN = [name for name in NETWORKS if name not in ("unet_valid", "v3_psp")]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OPEN if name != "corners"])
def test_every_network_in_onnx(name: str, tmp_path: Path) -> None:
    check(*written("onnx", name, tmp_path / f"{name}.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_in_onnx_for_one_size(name: str, tmp_path: Path) -> None:
    check(*written("onnx", name, tmp_path / f"{name}.onnx", one_size=True))


@pytest.mark.parametrize("name", ["corners", "encoder_decoder"])
def test_exported_program_at_sizes_not_seen(name: str, tmp_path: Path) -> None:
    check(*written("pt2", name, tmp_path / f"{name}.pt2"))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("name", ["encoder_decoder", "unet", "segnet", "v3plus"])
def test_torchscript_at_sizes_not_seen(name: str, tmp_path: Path) -> None:
    check(*written("torchscript", name, tmp_path / f"{name}.torchscript"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize(
    ("name", "ending"), [*((name, "pt2") for name in OPEN), *((name, "torchscript") for name in NETWORKS)]
)
def test_every_network_in_pytorch_formats(name: str, ending: str, tmp_path: Path) -> None:
    check(*written(ending, name, tmp_path / f"{name}.{ending}"))


@pytest.mark.parametrize("name", ["unet_valid", "v3_psp"])
def test_networks_laid_out_for_a_size_are_refused_where_sizes_stay_open(name: str, tmp_path: Path) -> None:
    for format in ("onnx", "pt2"):
        with pytest.raises(ConfigError, match="What works is --format torchscript"):
            written(format, name, tmp_path / f"model.{format}")


def test_int8_has_integer_weights_and_nearly_the_same_classes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    calibration = [images(64, 80, batch=1).numpy() for _ in range(2)]
    net, exported = written(
        "onnx", "corners", tmp_path / "int8.onnx", precision="int8", calibration=lambda: calibration
    )
    weights = onnx.load(exported.path).graph.initializer
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in weights}
    image = images(160, 81)  # far beyond the calibration's
    classes = torch.from_numpy(exported.run(image.numpy()))
    same = (classes == predictor(net).predict(image)).float()
    assert 0.9 < same.mean() < 1
    assert same[:, 130:].mean() > 0.9


def test_onnx_says_what_it_is(in_onnx: tuple[torch.nn.Module, Exported]) -> None:
    import onnx

    model = onnx.load(in_onnx[1].path)
    assert {entry.key for entry in model.metadata_props} >= {"deeplab_lightning", "opset"}
    assert [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim] == [
        *("batch", 3, "height", "width")
    ]
    assert [output.name for output in model.graph.output] == ["classes"]
    read = {name for node in model.graph.node for name in node.input} | {"classes"}
    assert all(read.intersection(node.output) for node in model.graph.node)  # nothing is computed for the gate alone


def test_the_script_beside_it_runs_it(in_onnx: tuple[torch.nn.Module, Exported], tmp_path: Path) -> None:
    _, exported = in_onnx
    assert (exported.path.parent / "run_model.py").read_text() == Path(run_model.__file__).read_text()
    image = images(70, 91, batch=1).numpy()
    Image.fromarray(image[0].transpose(1, 2, 0)).save(tmp_path / "noise.png")
    words = [str(exported.path), str(tmp_path / "noise.png"), str(tmp_path / "none.png"), "--output", str(tmp_path)]
    assert run_model.main(words) == 1  # one of two images is missing
    mask = Image.open(tmp_path / "noise_mask.png")
    assert (np.array(mask) == exported.run(image)[0]).all()
    assert mask.getpalette()[:6] == [0, 0, 0, 10, 20, 30]
    assert Image.open(tmp_path / "noise_overlay.png").size == (91, 70)


def test_a_file_in_the_folder_is_a_format_that_says_all_that_is_needed() -> None:
    """Nothing else lists them: what asks for a format reads it off its class."""
    known = formats()
    assert list(known) == format_names()
    assert {"litert", "onnx", "openvino", "pt2", "torchscript"} <= set(known)
    assert len({format.suffix for format in known.values()}) == len(known)
    for format in known.values():
        assert {*format.precisions, *format.why_not} == {"fp32", "fp16", "bf16", "int8"}
        assert not set(format.precisions) & set(format.why_not)
        assert set(format.made_in) <= set(format.precisions)
        assert format.timed == (type(format).runner is not Format.runner)
    assert {name for name, format in known.items() if format.folded} == {"pt2", "torchscript"}
    assert {name for name, format in known.items() if format.sizes == "open"} == {"pt2", "torchscript"}


def test_a_float32_model_is_handed_to_formats_that_round_it_themselves() -> None:
    assert format_named("onnx").model_dtype("fp16") == format_named("pt2").model_dtype("fp16") == torch.float16
    assert format_named("onnx").model_dtype("int8") == format_named("openvino").model_dtype("fp16") == torch.float32
    assert format_named("pt2").model_dtype("bf16") == torch.bfloat16


def test_litert_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "litert_torch", None)
    with pytest.raises(ConfigError, match=r"litert_torch.*deeplab-lightning\[litert\]"):
        written("litert", "corners", tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


def test_litert_refuses_segnet(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SegNet's unpooling.*What works is --format onnx"):
        written("litert", "segnet", tmp_path / "model.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "segnet"])
def test_litert(name: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    net, exported = written("litert", name, tmp_path / "model.tflite")
    assert exported.run_logits is not None
    image = images(113, 70, batch=1)
    expected = logits_of(net, image)
    logits = torch.from_numpy(exported.run_logits(image.numpy()))
    assert (logits - expected).abs().max() < 1e-3 * expected.abs().max()
    assert (torch.from_numpy(exported.run(image.numpy())) == predictor(net).predict(image)).float().mean() > 0.999


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, Path("a.onnx"), "fp32"), "onnx"),
        (("pt2", None, "bf16"), "pt2"),
        ((None, None, "fp32"), "Which format"),
        ((None, Path("a.onx"), "fp32"), "Did you mean '.onnx'"),
        (("pt2", Path("a.onnx"), "fp32"), "expected a.pt2"),
        (("onnx", None, "bf16"), "--format pt2"),
        (("litert", None, "int8"), "fp32"),
        ((None, Path("a.xml"), "fp16"), "openvino"),
        (("openvino", None, "bf16"), "fp32 or fp16"),
        (("openvino", None, "int8"), "--format onnx"),
    ],
)
def test_the_file_that_is_meant(given: tuple[Any, Any, Any], expected: str) -> None:
    try:
        assert chosen_format(*given) == expected
    except ConfigError as error:
        assert expected in str(error)  # noqa: PT017 - both outcomes are in the table
