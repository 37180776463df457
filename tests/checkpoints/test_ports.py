"""Files of programs that cannot be installed here: written by references with their names (`references.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.__main__ import main

from .helpers import check_logits, imported_task, random_weights, save
from .references import CaffeVGG, Detectron2, JFZhang95, Kazuto, MMSegmentation, MultiScale, VainF


@pytest.mark.parametrize(
    ("plus", "separable"),
    [
        (True, False),
        (False, True),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in [(True, True), (False, False)]),
    ],
)
def test_vainf(plus: bool, separable: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = random_weights(lambda: VainF(5, plus, separable))
    state = {"cur_itrs": 9, "model_state": theirs.state_dict(), "best_score": 0.5, "optimizer_state": {"state": {}}}
    check_logits(imported_task(save(state, tmp_path)).model, theirs, torch.randn(1, 3, 65, 49))
    assert "as vainf writes it" in capsys.readouterr().out


def test_jfzhang95(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = random_weights(lambda: JFZhang95(5))
    state = {"epoch": 1, "state_dict": theirs.state_dict(), "best_pred": 0.5}
    check_logits(imported_task(save(state, tmp_path)).model, theirs, torch.randn(1, 3, 65, 49))
    assert "multi-grid 1, 2, 4" in capsys.readouterr().out


@pytest.mark.parametrize(("plus", "deep"), [(True, True), pytest.param(False, False, marks=pytest.mark.slow)])
def test_mmsegmentation(plus: bool, deep: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = random_weights(lambda: MMSegmentation(5, plus, deep))
    task = imported_task(save({"meta": {"epoch": 1}, "state_dict": theirs.state_dict()}, tmp_path))
    image = torch.randn(1, 3, 65, 49)
    check_logits(task.model, theirs, image)
    with torch.no_grad():
        maps = theirs.backbone(image)
        expected = nn.functional.interpolate(theirs.auxiliary_head(maps), image.shape[-2:], mode="bilinear")
        (found,) = task.model.training_maps(image).further
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    assert "image pooling moved from the first to the last place" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("plus", "separable", "deep"), [(True, True, True), pytest.param(True, False, True, marks=pytest.mark.slow)]
)
def test_detectron2(plus: bool, separable: bool, deep: bool, tmp_path: Path) -> None:
    theirs = random_weights(lambda: Detectron2(5, plus, separable, deep))
    check_logits(imported_task(save({"model": theirs.state_dict()}, tmp_path)).model, theirs, torch.randn(1, 3, 65, 49))


def test_detectron2_of_the_model_zoo(tmp_path: Path) -> None:
    """A pickle of NumPy arrays, for BGR images; the network then takes RGB."""
    import pickle

    theirs = random_weights(lambda: Detectron2(5, False, False, False))
    arrays = {name: value.numpy() for name, value in theirs.state_dict().items() if "num_batches" not in name}
    scale = {"pixel_mean": torch.tensor([103.53, 116.28, 123.675]), "pixel_std": torch.ones(3)}
    arrays |= {name: value.view(-1, 1, 1).numpy() for name, value in scale.items()}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}, protocol=2))
    task = imported_task(tmp_path / "model_final.pkl")
    assert task.description["mean"] == pytest.approx([123.675 / 255, 116.28 / 255, 103.53 / 255])
    image = torch.randint(0, 256, (1, 3, 65, 49))
    with torch.no_grad():
        expected = theirs(image.flip(1) - scale["pixel_mean"].view(1, 3, 1, 1))
        mean, std = (torch.tensor(task.description[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        found = task.model((image / 255 - mean) / std)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


# --- v2 -------------------------------------------------------------------------------------------------------------


class FromRGB(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image.flip(1))


def test_kazuto1011(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = random_weights(lambda: MultiScale(Kazuto(5)))
    task = imported_task(save(theirs.state_dict(), tmp_path))
    check_logits(task.model, FromRGB(theirs), torch.randn(1, 3, 65, 49))
    assert task.description["mean"][0] == pytest.approx(122.675 / 255)
    assert "turned round" in capsys.readouterr().out


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def caffe_layer(name: str, *blobs: Tensor) -> bytes:
    """Write a `LayerParameter`, by the numbers of `caffe.proto`: name 1, type 2, blobs 7; of a blob shape 7, data 5."""
    message = field(1, name.encode()) + field(2, b"Convolution")
    for blob in blobs:
        shape = field(1, b"".join(varint(size) for size in blob.shape))
        message += field(7, field(7, shape) + field(5, blob.detach().contiguous().numpy().tobytes()))
    return field(100, message)


def write_caffemodel(model: Kazuto, path: Path) -> None:
    """Write v2's ResNet by the names of the authors' prototxt: units a, b, ... or a, b1, ...; statistics unscaled."""

    def conv_and_norm(part: Any, conv: str, ending: str) -> bytes:
        factor = torch.tensor([2.0])
        norm = part.bn
        return (
            caffe_layer(conv, part.conv.weight)
            + caffe_layer(f"bn{ending}", norm.running_mean * factor, norm.running_var * factor, factor)
            + caffe_layer(f"scale{ending}", norm.weight, norm.bias)
        )

    content = field(1, b"a network's name") + conv_and_norm(model.layer1["conv1"], "conv1", "_conv1")
    for stage in (2, 3, 4, 5):
        for block, letters in zip(getattr(model, f"layer{stage}"), ("a", "b1" if stage == 4 else "b"), strict=True):
            for part, branch in (("shortcut", "1"), ("reduce", "2a"), ("conv3x3", "2b"), ("increase", "2c")):
                if getattr(block, part) is not None:
                    ending = f"{stage}{letters}_branch{branch}"
                    content += conv_and_norm(getattr(block, part), f"res{ending}", ending)
    for name, conv in model.aspp.items():
        content += caffe_layer(f"fc1_voc12_{name}", conv.weight, conv.bias)
    content += caffe_layer("fc1_voc12_c0_res075", model.aspp["c0"].weight)
    path.write_bytes(content)


def test_caffe_resnet(tmp_path: Path) -> None:
    theirs = random_weights(lambda: MultiScale(Kazuto(5), align_corners=True))
    write_caffemodel(theirs.base, tmp_path / "train2_iter_20000.caffemodel")
    task = imported_task(tmp_path / "train2_iter_20000.caffemodel")
    check_logits(task.model, FromRGB(theirs), torch.randn(1, 3, 65, 49))


@pytest.mark.parametrize(("rates", "generation"), [((12,), 1), ((6, 12, 18, 24), 2)])
def test_caffe_vgg(rates: tuple[int, ...], generation: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = random_weights(lambda: CaffeVGG(5, rates))
    layers = [caffe_layer(name, layer.weight, layer.bias) for name, layer in theirs.named_children()]
    (tmp_path / "train_iter_6000.caffemodel").write_bytes(b"".join(layers))
    task = imported_task(tmp_path / "train_iter_6000.caffemodel")
    check_logits(task.model, FromRGB(theirs), torch.randn(1, 3, 65, 49))
    assert f"DeepLab v{generation} on VGG16, 5 classes, as caffe writes it" in capsys.readouterr().out


def test_other_backbones_are_named_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"classifier.aspp.project.0.weight": torch.ones(8, 8, 1, 1), "backbone.low_level_features.0.0.weight":
             torch.ones(8, 3, 3, 3)}  # fmt: skip
    assert main(["import", str(save(state, tmp_path)), "--dry_run"]) == 2
    assert "VainF's code, but not on a ResNet" in capsys.readouterr().err
