"""OpenVINO's two files: every network at sizes not seen at export, what they hold, and in what order they appear."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.export.format import Exported
from deeplab_lightning.export.formats.openvino import openvino_without_telemetry, the_core

from ..conftest import REPOSITORY
from ..test_main import run_python
from .networks import NETWORKS
from .test_formats import FACTS, OPEN, check, written
from .test_model import images, predictor

installed = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
"""Not `importorskip`, which would import it as it is: see `openvino_without_telemetry`."""


def read(path: Path) -> Any:
    return the_core().read_model(path)


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Exported]:
    return written("openvino", "corners", tmp_path_factory.mktemp("openvino") / "street.xml")


@installed
def test_at_sizes_not_seen(corners: tuple[torch.nn.Module, Exported]) -> None:
    check(*corners)


@installed
@pytest.mark.slow
def test_v3plus(tmp_path: Path) -> None:
    check(*written("openvino", "v3plus", tmp_path / "model.xml"))


@installed
def test_for_one_size(tmp_path: Path) -> None:
    net, exported = written("openvino", "corners", tmp_path / "model.xml", one_size=True)
    assert exported.fixed_size == (113, 70)
    check(net, exported)
    with pytest.raises(Exception, match="incompatible"):
        exported.run(images(64, 80, batch=1).numpy())


@installed
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OPEN if name not in ("corners", "v3plus")])
def test_every_network(name: str, tmp_path: Path) -> None:
    check(*written("openvino", name, tmp_path / f"{name}.xml"))


@installed
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_for_one_size(name: str, tmp_path: Path) -> None:
    check(*written("openvino", name, tmp_path / f"{name}.xml", one_size=True))


@installed
@pytest.mark.parametrize("name", ["unet_valid", "v3_psp"])
def test_networks_laid_out_for_a_size_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"as \.xml for images of any size.*--size H W"):
        written("openvino", name, tmp_path / "model.xml")
    assert list(tmp_path.iterdir()) == []


@installed
def test_what_the_files_hold(corners: tuple[torch.nn.Module, Exported]) -> None:
    exported = corners[1]
    assert exported.beside == (exported.path.with_suffix(".bin"),)
    assert exported.bytes == sum(path.stat().st_size for path in exported.path.parent.iterdir())
    model = read(exported.path)
    assert json.loads(model.get_rt_info("deeplab_lightning").astype(str)) == FACTS
    assert [tensor.any_name for tensor in (*model.inputs, *model.outputs)] == ["image", "classes"]
    assert str(model.inputs[0].partial_shape) == "[?,3,?,?]"


@installed
def test_fp16_halves_the_weights_and_keeps_the_classes(
    corners: tuple[torch.nn.Module, Exported], tmp_path: Path
) -> None:
    net, exported = written("openvino", "corners", tmp_path / "half.xml", precision="fp16")

    def types(path: Path) -> set[str]:
        constants = [node for node in read(path).get_ops() if node.get_type_name() == "Constant"]
        return {node.get_element_type().get_type_name() for node in constants if len(node.shape) == 4}

    assert types(corners[1].path) == {"f32"}
    assert types(exported.path) == {"f16"}
    image = images(97, 130)
    assert exported.run_logits is not None
    differ = np.abs(exported.run_logits(image.numpy()) - corners[1].run_logits(image.numpy()))  # type: ignore[misc]
    assert 0 < differ.max() < 0.01  # what the gate sees is rounded as well
    assert (torch.from_numpy(exported.run(image.numpy())) == predictor(net).predict(image)).float().mean() > 0.99


@installed
def test_weights_are_there_before_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the `.xml` finds its `.bin`; and a file that cannot be written leaves nothing half done."""
    (tmp_path / "model.xml").write_text("old")
    (tmp_path / "model.bin").write_text("old")
    moved: list[str] = []
    replace = os.replace

    def note(source: Path, target: Path) -> None:
        moved.append(Path(target).name)
        assert all(path.stat().st_size > 1000 for path in tmp_path.glob(".*.part"))
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    written("openvino", "corners", tmp_path / "model.xml")
    assert moved == ["model.bin", "model.xml"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]


def test_it_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"openvino.*deeplab-lightning\[openvino\]"):
        written("openvino", "corners", tmp_path / "model.xml")
    assert list(tmp_path.iterdir()) == []


@installed
def test_nobody_is_told_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's import makes a number for the user, and a call to its makers with that."""
    monkeypatch.setenv("HOME", str(tmp_path))
    code = (
        "import sys\nfrom deeplab_lightning.export.formats.openvino import the_core\nthe_core()\n"
        "print('LOADED', [name for name in sys.modules if name.startswith('openvino_telemetry.')])"
    )
    assert run_python(code).splitlines()[-1] == "LOADED []"
    assert list(tmp_path.iterdir()) == []


@installed
@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="no signal tells of the end of a child")
def test_networks_that_ended_in_any_order_leave_signals_a_stack(tmp_path: Path) -> None:
    """On a processor with tiles, cores ended one before the other and the next signal ended the process."""
    code = f"""
import signal, subprocess, sys
from deeplab_lightning.export.formats.openvino import OpenVINO, openvino_without_telemetry

openvino = openvino_without_telemetry()
image = openvino.opset13.parameter([1, 3, 8, 8], name="image")
openvino.save_model(openvino.Model([openvino.opset13.relu(image)], [image]), {str(tmp_path / "a.xml")!r})
signal.signal(signal.SIGCHLD, lambda *_: print("TOLD", flush=True))
runs = [OpenVINO().run_to({str(tmp_path / "a.xml")!r}, [0], 1) for _ in range(3)]
while runs:
    del runs[0]
    subprocess.run([sys.executable, "-c", ""], check=True)
"""
    assert run_python(code).count("TOLD") == 3


@installed
def test_the_lines_of_the_page_run_it(
    corners: tuple[torch.nn.Module, Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino_without_telemetry()
    (lines,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "export.md").read_text(), re.DOTALL)
    image = images(70, 91, batch=1).numpy()
    Image.fromarray(image[0].transpose(1, 2, 0)).save(tmp_path / "image.png")
    for path in (corners[1].path, *corners[1].beside):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(lines, found)
    assert (found["classes"] == corners[1].run(image)[0]).all()
    assert found["facts"] == FACTS
