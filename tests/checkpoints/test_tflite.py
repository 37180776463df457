"""Google's trained DeepLab v3, imported, against the interpreter it was made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.reading.tflite import read_tflite
from deeplab_lightning.data.sets.voc import VOC
from deeplab_lightning.metrics.scores import scores_from_confusion

from .helpers import imported_task, shared, take_over

SIDE = 257


def google() -> Path:
    return shared("weights/deeplabv3_257_mv_gpu.tflite")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    copy = tmp_path_factory.mktemp("tflite") / "google.tflite"
    copy.write_bytes(google().read_bytes())
    return take_over(copy)


@pytest.fixture(scope="module")
def interpreter() -> Any:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    found = litert.Interpreter(str(google()))
    found.allocate_tensors()
    return found


def interpreted(interpreter: Any, image: np.ndarray) -> np.ndarray:
    """Return the interpreter's logits `(21, 257, 257)` of an RGB image."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None].astype(np.float32) / 127.5 - 1)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].transpose(2, 0, 1)


def resized(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def images() -> list[Path]:
    voc = sorted((shared("VOCdevkit") / "VOC2012" / "JPEGImages").glob("*.jpg"))
    return voc + sorted((shared("CamVid") / "val").glob("*.jpg"))[::25]


def test_logits_equal_the_interpreters(model: Any, interpreter: Any) -> None:
    agreeing, compared = 0, 0
    for path in images():
        image = resized(path)
        expected = interpreted(interpreter, image)
        with torch.inference_mode():
            found = model.task.model(model.task.normalise(torch.from_numpy(image.transpose(2, 0, 1))[None]))[0].numpy()
        assert np.abs(found - expected).max() < 1e-3
        agreeing += int((model.predict(image).mask == expected.argmax(0)).sum())
        compared += SIDE**2
    assert compared >= 5 * SIDE**2
    assert agreeing / compared >= 0.999


def test_both_have_the_same_miou(model: Any, interpreter: Any) -> None:
    folder = shared("VOCdevkit") / "VOC2012"
    ours, theirs = np.zeros((21, 21), np.int64), np.zeros((21, 21), np.int64)
    for path in sorted((folder / "SegmentationClass").glob("*.png")):
        truth = np.array(Image.open(path).resize((SIDE, SIDE), Image.Resampling.NEAREST)).astype(int)
        image, known = resized(folder / "JPEGImages" / f"{path.stem}.jpg"), truth < 255
        for matrix, found in (
            (ours, model.predict(image).mask),
            (theirs, interpreted(interpreter, image).argmax(0)),
        ):
            matrix += np.bincount(truth[known] * 21 + found[known], minlength=441).reshape(21, 21)
    scores = [scores_from_confusion(matrix, VOC.class_names).mIoU for matrix in (ours, theirs)]
    print(f"mIoU on the labelled images: ours {scores[0]:.4f}, the interpreter's {scores[1]:.4f}")
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    assert scores[0] > 0.4


def test_it_says_what_it_took_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "google.tflite"
    copy.write_bytes(google().read_bytes())
    task = imported_task(copy)
    printed = capsys.readouterr().out
    assert "DeepLab v3 on mobilenetv2_050_unrounded, 21 classes, as tflite writes it" in printed
    assert "used: 110 of the file's weights" in printed
    assert "output stride 8, first units lag" in printed
    assert "image pooling moved from the first to the last place" in printed
    assert task.hparams["model"]["freeze_batch_norm"]
    assert task.description["mean"] == [0.5, 0.5, 0.5]


@pytest.fixture(scope="module")
def eight_bits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Google's file of 8 bits, imported, and the interpreter of the same."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    copy = tmp_path_factory.mktemp("tflite") / "eight.tflite"
    copy.write_bytes(shared("weights/deeplabv3_mnv2_pascal_quant.tflite").read_bytes())
    found = litert.Interpreter(str(copy))
    found.allocate_tensors()
    return take_over(copy), found


def test_a_file_of_8_bits_becomes_what_its_integers_stand_for(eight_bits: tuple[Any, Any]) -> None:
    """Its interpreter rounds every map between the layers, too, so that some pixels fall to another class."""
    model, interpreter = eight_bits
    agreeing, compared = 0, 0
    for path in images()[:4]:
        image = np.array(Image.open(path).convert("RGB").resize((513, 513), Image.Resampling.BILINEAR))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        agreeing += int((model.predict(image).mask == expected).sum())
        compared += expected.size
    print(f"8 bits: {agreeing / compared:.4f} of the pixels agree")
    assert agreeing / compared >= 0.99


def rewritten(path: Path, dtype: str) -> Path:
    """Write Google's file of float32 anew with its kernels stored otherwise: `float16`, or `int8` for each channel."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(google().read_bytes(), 0)
    graph = model.subgraphs[0]
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    before = []
    for operator in list(graph.operators):
        if kinds[operator.opcodeIndex] not in (3, 4):
            continue
        tensor = graph.tensors[operator.inputs[1]]
        buffer = model.buffers[tensor.buffer]
        values = np.frombuffer(bytes(buffer.data), np.float32).reshape(tensor.shape)
        if dtype == "float16":
            stored, tensor.type = values.astype(np.float16), 1
            computed = schema.TensorT()
            computed.shape, computed.type, computed.buffer = tensor.shape, 0, 0
            computed.name = tensor.name + b"_dequantize"
            graph.tensors.append(computed)
            step = schema.OperatorT()
            step.opcodeIndex, step.inputs, step.outputs = len(kinds), [operator.inputs[1]], [len(graph.tensors) - 1]
            operator.inputs = [operator.inputs[0], len(graph.tensors) - 1, operator.inputs[2]]
            before.append(step)
        else:
            channels = 3 if kinds[operator.opcodeIndex] == 4 else 0
            others = tuple(place for place in range(4) if place != channels)
            scales = np.abs(values).max(others, keepdims=True) / 127 + 1e-12
            stored, tensor.type = np.round(values / scales).astype(np.int8), 9
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales.ravel().astype(np.float32)
            tensor.quantization.zeroPoint = np.zeros(scales.size, np.int64)
            tensor.quantization.quantizedDimension = channels
        buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
    if before:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = 6
        model.operatorCodes.append(code)
        graph.operators = [*before, *graph.operators]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("int8", 1e-2)])
def test_kernels_of_16_and_8_bits_are_read(dtype: str, tolerance: float, tmp_path: Path) -> None:
    exact = read_tflite(google()).tensors
    found = read_tflite(rewritten(tmp_path / "other.tflite", dtype))
    assert found.facts["stored_as"] == dtype
    assert found.tensors.keys() == exact.keys()
    for name, tensor in exact.items():
        assert found.tensors[name].dtype == torch.float32
        assert (found.tensors[name] - tensor).abs().max() <= tolerance * tensor.abs().max()
    assert main(["import", str(tmp_path / "other.tflite"), "--dry_run"]) == 0


def test_a_file_of_another_sort_is_not_called_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kernels of a type that no network is stored in: the download was not cut short."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(google().read_bytes(), 0)
    graph = model.subgraphs[0]
    kernel = next(tensor for tensor in graph.tensors if tensor.name == b"MobilenetV2/Conv/weights")
    kernel.type = 17  # int4
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "four.tflite").write_bytes(bytes(builder.Output()))
    assert main(["import", str(tmp_path / "four.tflite"), "--dry_run"]) == 2
    said = capsys.readouterr().err
    assert "MobilenetV2/Conv/weights is no constant of float32, float16 or 8 bits" in said
    assert "cut short" not in said


def test_a_file_cut_short_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it ends, and whatever its offsets then point at."""
    content = google().read_bytes()
    for length in (9, 40, 5_000, len(content) // 2, len(content) - 5_000):
        (tmp_path / "cut.tflite").write_bytes(content[:length])
        assert main(["import", str(tmp_path / "cut.tflite"), "-o", str(tmp_path / "x.ckpt")]) == 2
        assert "looks like a TFLite file, but cannot be read" in capsys.readouterr().err


def test_flipped_bytes_never_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message, or weights that happen to be others: no other exception, and no flood of memory."""
    content, generator = google().read_bytes(), np.random.default_rng(0)
    tail = len(content) - 60_000  # names, shapes and offsets lie at the end
    for _ in range(20):
        broken = bytearray(content)
        for place in generator.integers(tail, len(content), 30):
            broken[place] = int(generator.integers(256))
        (tmp_path / "flipped.tflite").write_bytes(broken)
        assert main(["import", str(tmp_path / "flipped.tflite"), "--dry_run"]) in (0, 1, 2)
