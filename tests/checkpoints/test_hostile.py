"""Files that mean harm, or are torn: refused in words, nothing in them run, no more memory taken than they have."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.checkpoints.importers import recognise
from deeplab_lightning.checkpoints.reading import read_foreign
from deeplab_lightning.errors import CheckpointError

from .helpers import save


class Harm:
    """On unpickling, makes a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def refused(path: Path) -> str:
    """Return why a file is refused; it may take no more than 300 MB for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as found:
        recognise(read_foreign(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    return str(found.value)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain"])
def test_a_pickle_with_code_runs_nothing(form: str, tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.ones(2)}, "extra": Harm(tmp_path / "trace")}
    path = tmp_path / "harm.pth"
    if form == "plain":
        path.write_bytes(pickle.dumps({"extra": content["extra"]}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    assert "could run any code, so nothing was read" in refused(path)
    assert "--trust" in refused(path)
    assert not (tmp_path / "trace").exists()


def test_trust_runs_it(tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.ones(2)}, "extra": Harm(tmp_path / "trace")}
    assert set(read_foreign(save(content, tmp_path), trust=True).tensors) == {"a"}
    assert (tmp_path / "trace").exists()


def test_what_a_pickle_wants_is_named(tmp_path: Path) -> None:
    assert "posix.mkdir" in refused(save({"extra": Harm(tmp_path / "trace")}, tmp_path))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_files_cut_short(form: str, share: float, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = {f"layer{index}.weight": torch.ones(100, 10) for index in range(20)}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=form == "zip")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "cannot be read" in refused(path)


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = save({"a": torch.ones(2)}, tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with archive.open("archive/data/9", "w", force_zip64=True) as file:
            for _ in range(200):
                file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    assert "would unpack to 209,7" in refused(path)


def test_a_view_that_is_larger_than_its_memory(tmp_path: Path) -> None:
    path = save({"layer.weight": torch.ones(1).expand(1 << 40)}, tmp_path)
    assert "made of 4 bytes" in refused(path)


def test_headers_that_announce_too_much(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 10 << 30) + b"{}")
    assert "cannot be read" in refused(tmp_path / "w.safetensors")
    header = b'{"a":{"dtype":"F32","shape":[2684354560],"data_offsets":[0,10737418240]}}'
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "cannot be read" in refused(tmp_path / "w.safetensors")


def test_caffe(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    length = bytes([0xFF, 0xFF, 0xFF, 0xFF, 0x7F])  # 32 GB
    path.write_bytes(bytes([0xA2, 0x06]) + length + b"abc")
    assert "a field of 34359738367 bytes is cut off after 3" in refused(path)
    blob = bytes([0x3A, 3, 0x0A, 1, 100]) + bytes([0x2A, 4]) + bytes(4)  # a shape of 100, one value
    layer = bytes([0x0A, 1]) + b"a" + bytes([0x3A, len(blob)]) + blob
    path.write_bytes(bytes([0xA2, 0x06, len(layer)]) + layer)
    assert "a blob of shape [100] has 1 values" in refused(path)
    path.write_bytes(b"name: 'a prototxt'")
    assert "cannot be read" in refused(path)


def test_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(b"no table" * 20)
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(b"x")
    assert "does not end as an index does" in refused(tmp_path / "model.ckpt.index")
    (tmp_path / "model.ckpt.data-00000-of-00001").unlink()
    assert "data-00000-of-00001 is missing" in refused(tmp_path / "model.ckpt")
    (tmp_path / "graph.pb").write_bytes(b"\x0a\xff\xff\xff\x7f")
    assert "cannot be read" in refused(tmp_path / "graph.pb")


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    weights = {
        "decoder.aspp.0.convs.0.0.weight": torch.ones(0),
        "decoder.block1.0.weight": torch.ones(48, 4, 1, 1),
        "segmentation_head.0.weight": torch.ones(3, 8, 1, 1),
        **{f"encoder.layer{index}.0.conv1.weight": torch.ones(2, 2) for index in (1, 2, 3, 4)},
        "encoder.layer1.0.conv2.weight": torch.ones(5, 5, 3, 3),
        "encoder.conv1.weight": torch.ones(5, 5, 3, 3),
    }
    assert "stages of (1, 1, 1, 1) units" in refused(save(weights, tmp_path))


def test_files_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"something")
    assert "begins with b'somethin'" in refused(tmp_path / "weights.bin")
    assert "There is no file" in refused(tmp_path / "nothing.pth")
    assert "Did you mean" in refused(tmp_path / "weight.bin")
    assert "which is no network that any known program writes" in refused(save({"a": torch.ones(2)}, tmp_path))
    assert "holds no state dict" in refused(save(OrderedDict(epoch=3), tmp_path))
    assert "holds no state dict (names -> tensors), but: list" in refused(save([1, 2], tmp_path))
