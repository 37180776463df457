"""Devices by name: what there is, and what to say of what there is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference.devices import chosen_device


def test_without_a_name_it_is_what_there_is() -> None:
    assert chosen_device(None).type == chosen_device("").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["banana", "cuda:99", "cpu:x", "-1", "meta", "nan"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"There is no device '{name}' here \(.+\)\. There are: cpu"):
        chosen_device(name)


@pytest.mark.parametrize("command", [["predict", "x.png"], ["evaluate"]])
def test_commands_and_python_say_so(
    command: list[str], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    words = [word.replace("x.png", str(tmp_path / "x.png")) for word in command]
    assert main([*words, "--ckpt_path", str(checkpoint), "--device", "banana"]) == 2
    assert "There is no device 'banana' here" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no device 'cuda:99'"):
        deeplab_lightning.load(checkpoint, "cuda:99")
