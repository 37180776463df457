"""What an offline run really writes: the files of `files/media` and the records of its `.wandb` log."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.metrics.scores import scores_from_confusion
from deeplab_lightning.reporting.panels import PanelImage

wandb = pytest.importorskip("wandb")

NAMES = ("road", "car", "sky", "tram")
MATRIX = np.array([[50, 2, 3, 0], [4, 30, 6, 0], [0, 5, 0, 0], [0, 0, 0, 0]])


def records(log: Path) -> list[Any]:
    """Read a `.wandb` file: LevelDB's log format after a header of 7 bytes, holding protocol buffers.

    wandb has no reader of its own for it. A block has 32 KiB; a chunk starts with checksum, length and kind (1 whole,
    2 first, 3 middle, 4 last).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data = log.read_bytes()
    assert data[:4] == b":W&B"
    position, message, found = 7, b"", []
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if position > len(data):
            break  # it is still being written
        if kind in (1, 4):
            found.append(Record.FromString(message))
            message = b""
    return found


def finished_log(run_folder: Path) -> list[Any]:
    """Return the records of a run that was finished; on a busy machine its last ones are written a little later."""
    log = next(run_folder.glob("run-*.wandb"))
    for _ in range(300):
        found = records(log)
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{log} has no end: {[record.WhichOneof('record_type') for record in found]}")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], PanelImage]:
    """One offline run with everything logged: its folder, its history (a dict per `log`) and the panel."""
    from deeplab_lightning.reporting.wandb_runs import log_confusion, log_panels, log_per_class_table

    folder = tmp_path_factory.mktemp("wandb_run")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (300, 400))
    truth[:20] = 255
    panel = PanelImage(
        "val/1", rng.integers(0, 256, (300, 400, 3), dtype=np.uint8), truth, rng.integers(0, 4, (300, 400))
    )

    # The environment's settings of whoever runs the tests must not reach a server.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        run = wandb.init(project="test", dir=str(folder))
        run.log({"val/mIoU": 0.4953, "trainer/global_step": 30})
        log_panels(run, [panel, panel._replace(title="val/2", image=panel.image[:, :, 0])], NAMES, step=30)
        log_per_class_table(run, scores_from_confusion(MATRIX, NAMES), step=30)
        log_confusion(run, MATRIX, NAMES, step=60)
        run.finish()
    (path,) = folder.glob("wandb/offline-run-*")
    history = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in finished_log(path)
        if record.WhichOneof("record_type") == "history"
    ]
    return path, history, panel


def test_metrics_and_steps(written: tuple[Path, list[dict[str, Any]], PanelImage]) -> None:
    _, history, _ = written
    assert history[0]["val/mIoU"] == 0.4953
    assert [row["trainer/global_step"] for row in history] == [30, 30, 30, 60]


def test_panels_with_named_masks(written: tuple[Path, list[dict[str, Any]], PanelImage]) -> None:
    path, history, panel = written
    row = {key.removeprefix("val/panels/"): value for key, value in history[1].items()}
    assert row["captions"] == ["val/1", "val/2"]
    with Image.open(path / "files" / row["filenames"][0]) as image:
        np.testing.assert_array_equal(np.asarray(image), panel.image)
    masks = row["all_masks"][0]
    assert masks.keys() == {"prediction", "ground_truth"}
    with Image.open(path / "files" / masks["prediction"]["path"]) as mask:
        np.testing.assert_array_equal(np.asarray(mask), panel.pred)
    with Image.open(path / "files" / masks["ground_truth"]["path"]) as mask:
        np.testing.assert_array_equal(np.asarray(mask), np.where(panel.truth == 255, 4, panel.truth))


def test_class_names_reach_the_masks(written: tuple[Path, list[dict[str, Any]], PanelImage]) -> None:
    path, _, _ = written
    log = b"".join(record.SerializeToString() for record in finished_log(path))
    for name in (*NAMES, "void"):
        assert f'"{name}"'.encode() in log, name


def test_per_class_table(written: tuple[Path, list[dict[str, Any]], PanelImage]) -> None:
    path, history, _ = written
    table = json.loads((path / "files" / history[2]["val/per_class/path"]).read_text())
    assert table["columns"] == ["class", "IoU", "Dice", "precision", "recall", "support"]
    road, car, sky, tram = table["data"]
    assert road == ["road", *(pytest.approx(value) for value in (50 / 59, 100 / 109, 50 / 54, 50 / 55)), 55]
    assert car[1] == pytest.approx(30 / 47)
    assert sky == ["sky", 0, 0, 0, 0, 5]
    assert tram == ["tram", None, None, None, None, 0]


def test_confusion_image(written: tuple[Path, list[dict[str, Any]], PanelImage]) -> None:
    path, history, _ = written
    with Image.open(path / "files" / history[3]["val/confusion/path"]) as image:
        assert image.width > 400
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50


# --- reading runs back, from a fake of the public API ---------------------------------------------------------------


class FakeFile:
    def __init__(self, name: str, source: Path) -> None:
        self.name, self.source = name, source

    def download(self, root: str, replace: bool) -> Any:
        path = Path(root) / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.source.read_bytes())
        return path.open()


class FakeApi:
    """The little of `wandb.Api` that is used."""

    def __init__(self, files: list[FakeFile], history: list[dict[str, Any]]) -> None:
        self._files, self._history = files, history

    def run(self, path: str) -> FakeApi:
        if path != "me/project/abc":
            raise ValueError("Could not find run")
        return self

    def files(self) -> list[FakeFile]:
        return self._files

    def scan_history(self) -> list[dict[str, Any]]:
        return self._history


def test_a_fetched_run_is_read_like_its_folder(tmp_path: Path) -> None:
    from deeplab_lightning.reporting.records import read_record
    from deeplab_lightning.reporting.wandb_runs import COPIED, fetch_run

    from .made_runs import made_run

    run = made_run(tmp_path / "runs" / "x" / "version_3")
    (tmp_path / "wandb_config.yaml").write_text("wandb_version: 1\n")
    names = [name for name in COPIED if (run.path / name).is_file() and name != "metrics.csv"]
    files = [FakeFile(f"version_3/{name}", run.path / name) for name in names]
    files += [FakeFile("config.yaml", tmp_path / "wandb_config.yaml"), FakeFile("media/x/y.png", run.config)]
    history = [
        {"_step": 0, "trainer/global_step": 9, "train/loss": 2.5, "val/panels": {"_type": "images"}},
        {"_step": 1, "trainer/global_step": 9, "val/mIoU": 0.25},
        {"_step": 2, "trainer/global_step": 19, "train/loss": 1.5},
    ]
    fetched = read_record(fetch_run("me/project/abc", tmp_path / "fetched", FakeApi(files, history)))
    original = read_record(run.path)
    assert np.array_equal(fetched.counts.total(), original.counts.total())
    assert (fetched.config, fetched.evaluation) == (original.config, original.evaluation)
    assert fetched.card == original.card
    assert fetched.metrics["step"].tolist() == [10, 20]
    assert fetched.metrics["train/loss"].tolist() == [2.5, 1.5]
    assert fetched.metrics["val/mIoU"][0] == 0.25
    assert fetched.gallery is not None


def test_runs_that_cannot_be_fetched_are_explained(tmp_path: Path) -> None:
    from deeplab_lightning.errors import ConfigError
    from deeplab_lightning.reporting.wandb_runs import fetch_run

    api = FakeApi([], [])
    for name, words in (
        ("me/abc", "expected wandb:ENTITY/PROJECT/ID"),
        ("me/project/xyz", "wandb login"),
        ("me/project/abc", r"keeps no per_image\.npz"),
    ):
        with pytest.raises(ConfigError, match=words):
            fetch_run(name, tmp_path, api)
