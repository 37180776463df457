"""Whole command lines on folders in which hostile files lie between good ones: these are done, those are named."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.files import saving as written
from deeplab_lightning.data.files.limits import VARIABLE

from . import checkpoints, images, pickles

Entry = tuple[str, Callable[[], Any]]

FORGED = "a\nnot segmented: forged\x1b[2J\r\u202e.png"
"""The name of a file that prints a line of its own, clears the screen, and turns the writing round."""
FORMULA = "=HYPERLINK(1).png"
LONG = "n" * 251 + ".png"
"""A name for which no longer one exists: not that of a temporary file, nor of an output that keeps the ending."""


def run(*words: object) -> tuple[int, str]:
    """Run a command line in this process; return its exit code and what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([str(word) for word in words])
    text = said.getvalue()
    hidden = [sign for sign in text if not sign.isprintable() and sign not in "\n\r"]
    assert not hidden, f"the terminal gets {hidden!r}"
    assert "Traceback" not in text
    return code, text


def scene(seed: int = 0) -> np.ndarray:
    """A good image, `(24, 24, 3)` uint8."""
    return np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def _saved(folder: Path) -> Path:
    path = folder / "good.ckpt"
    torch.save(checkpoints.honest(), path)
    return path


def _bad(folder: Path, chosen: Sequence[str] | None = None) -> list[Path]:
    """Write hostile files into a folder; returns those that `predict` finds there by their names."""
    folder.mkdir(parents=True)
    made = []
    for number, (name, (ending, make)) in enumerate(images.files().items()):
        if (chosen is None or name in chosen) and ending not in ("", ".17"):  # as what begins like nothing
            made.append(folder / f"bad{number:03}{ending}")
            make(made[-1])
    return made


def _large(path: Path) -> Path:
    """A whole grey image of 12000x12000: 140 KB, of which a network would make tens of gigabytes."""
    path.write_bytes(images.png(12000, 12000, colour=0, pixels=bytes(12001 * 12000)))
    return path


def _masks(folder: Path, checkpoint: Path, *words: object) -> tuple[int, str]:
    """Run `predict` on `folder/data`, into `folder/output`."""
    data, output = folder / "data", folder / "output"
    return run("predict", data, "--ckpt_path", checkpoint, "--output", output, "--device", "cpu", *words)


def _predict(folder: Path, checkpoint: Path) -> Callable[[], None]:
    data = folder / "data"
    bad = [*_bad(data), _large(data / "large.png")]
    good = ["0.png", "b.png", "zz.png", FORMULA, "[red].png"]
    for name in good:
        Image.fromarray(scene()).save(data / name)
    (data / "all").symlink_to("/")  # is not followed
    os.makedirs(data.joinpath(*"d" * 150))
    for name in (FORGED, "\x1b]0;title\x07.png"):
        (data / name).write_bytes(b"no image")

    def check() -> None:
        code, text = _masks(folder, checkpoint)
        lines = text.splitlines()
        named = [line for line in lines if line.startswith("not segmented: ")]
        assert code == 1
        missing = [path.name for path in bad if not any(path.name in line for line in named)]
        assert not missing, missing
        assert len(named) == len(bad) + 2, named
        assert not [name for name in good if not (folder / "output" / "masks" / name).is_file()]
        assert any(line.startswith(f"{len(good)} of {len(good) + len(bad) + 2} images") for line in lines)

    return check


def _predict_long_names(folder: Path, checkpoint: Path) -> Callable[[], None]:
    (folder / "data").mkdir()
    for name in (LONG, "n" * 235 + ".png", "n" * 251 + ".bmp", "zz.png"):
        Image.fromarray(scene()).save(folder / "data" / name)

    def check() -> None:
        code, text = _masks(folder, checkpoint)
        assert (folder / "output/masks/zz.png").is_file()
        assert (folder / "output/masks" / ("n" * 235 + ".png")).is_file()
        assert code == 1  # two of one name keep their endings, which makes them too long
        assert text.count("not segmented: ") == 2

    return check


def _predict_gone(folder: Path, checkpoint: Path) -> Callable[[], None]:
    """Somebody deletes the output in mid-run."""
    (folder / "data").mkdir()
    for number in range(6):
        Image.fromarray(scene(number)).save(folder / "data" / f"{number}.png")

    def check() -> None:
        seen: list[Path] = []
        whole = written.write_image

        def deleting(path: Path, rgb: np.ndarray) -> None:
            seen.append(path)
            if len(seen) == 4:
                shutil.rmtree(folder / "output")
            whole(path, rgb)

        with mock.patch.object(written, "write_image", deleting):
            code, text = _masks(folder, checkpoint)
        assert code == 1
        assert text.count("is gone: was") == 4
        assert "2 of 6 images" in text

    return check


def _max_pixels(folder: Path, checkpoint: Path) -> Callable[[], None]:
    (folder / "data").mkdir()
    Image.fromarray(scene()).save(folder / "data/a.png")
    Image.fromarray(scene()[:8, :8]).save(folder / "data/b.png")

    def check() -> None:
        try:
            code, text = _masks(folder, checkpoint, "--max_pixels", 100)
        finally:
            os.environ.pop(VARIABLE, None)
        assert code == 1
        assert "a.png is too large to be read whole: 24x24 pixels" in text
        assert (folder / "output/masks/b.png").is_file()

    return check


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


def _predict_videos(folder: Path, checkpoint: Path) -> Callable[[], None]:
    from ..fakes.video import write_video

    data = folder / "data"
    data.mkdir()
    os.mkfifo(data / "a.mp4")
    (data / "b.mp4").write_text(PLAYLIST)
    (data / "c.mkv").write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    (data / "d.avi").symlink_to("/dev/zero")
    (data / "e.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    (data / "f.mov").symlink_to("nothing")
    write_video(data / "g.mp4", 4)

    def check() -> None:
        code, text = _masks(folder, checkpoint)
        assert code == 1, text
        assert text.count("not segmented: ") == 6, text
        assert (folder / "output/masks/g.mkv").is_file()

    return check


SCORED = ("a pipe", "a link to a device", "a link to nothing", "PNG 65500x65500", "PNG 60000x60000", "noise", "nothing")


def _data(folder: Path) -> list[Path]:
    """A data set of images and masks, some images of which are hostile, and a mask."""
    bad = _bad(folder / "images", SCORED)
    (folder / "masks").mkdir()
    for number in range(8):
        Image.fromarray(scene(number)).save(folder / "images" / f"good{number}.png")
    for path in sorted((folder / "images").iterdir()):
        Image.fromarray(np.zeros((24, 24), np.uint8)).save(folder / "masks" / path.name)
    os.unlink(folder / "masks/good7.png")
    (folder / "masks/good7.png").symlink_to("/dev/zero")
    return [*bad, folder / "masks/good7.png"]


def _settings(folder: Path) -> list[str]:
    classes = [*("background", "house", "car"), *(f"class{number}" for number in range(3, 10))]
    return [
        *("--data.name", "Folder", "--data.root", str(folder), "--data.images", "images", "--data.masks", "masks"),
        *("--data.class_names", str(classes), "--data.num_workers", "0", "--data.val_fraction", "0.9"),
    ]


def _evaluate(folder: Path, checkpoint: Path) -> Callable[[], None]:
    bad = _data(folder / "data")
    described = torch.load(checkpoint, weights_only=False)["hyper_parameters"]["description"]["class_names"]
    words = _settings(folder / "data")
    words[words.index("--data.class_names") + 1] = str(described)

    def check() -> None:
        code, text = run(
            *("evaluate", "--ckpt_path", checkpoint, *words, "--output", folder / "out", "--device", "cpu"),
            *("--protocol", "{}", "--measures", "none"),
        )
        named = [line for line in text.splitlines() if line.startswith("not scored: ")]
        assert code == 1, text
        assert 3 <= len(named) <= len(bad), text
        assert (folder / "out/table.csv").is_file()

    return check


def _doctor(folder: Path, checkpoint: Path) -> Callable[[], None]:
    bad = _data(folder / "data")

    def check() -> None:
        code, text = run("doctor", *_settings(folder / "data"), "--out", folder / "out", "--no_trial")
        assert code == 1, text
        report = (folder / "out/report.json").read_text()
        missing = [path.stem for path in bad if path.stem not in report]
        assert not missing, text

    return check


def _inspect(folder: Path, checkpoint: Path) -> Callable[[], None]:
    made = checkpoints.write(folder)

    def check() -> None:
        for name, path in list(made.items())[::6]:
            code, text = run("inspect", path)
            assert code in (0, 2), (name, text)

    return check


def _import(folder: Path, checkpoint: Path) -> Callable[[], None]:
    forged = folder / "a\nforged\x1b[2J"
    forged.mkdir()
    for name, data in {**pickles.archives(), **pickles.legacy()}.items():
        (forged / f"{len(list(forged.iterdir()))}{name.replace('/', ' ')[:30]}.pth").write_bytes(data)
    os.mkfifo(forged / "pipe.pth")
    (forged / "device.safetensors").symlink_to("/dev/zero")
    (forged / "device.tflite").symlink_to("/dev/zero")
    (forged / "device.pb").symlink_to("/dev/zero")
    (forged / "device.caffemodel").symlink_to("/dev/zero")

    def check() -> None:
        for path in sorted(forged.iterdir()):
            code, text = run("import", path, "-o", folder / "made.ckpt")
            assert code == 2, (path, text)
            assert not [line for line in text.splitlines() if line.startswith("forged")], text

    return check


def entries(folder: Path) -> Iterator[Entry]:
    """Yield all of them."""
    checkpoint = _saved(folder)
    cases: dict[str, Callable[[Path, Path], Callable[[], None]]] = {
        "predict of a folder of all images": _predict, "predict of long names": _predict_long_names,
        "predict whose output is deleted": _predict_gone, "predict with a limit": _max_pixels,
        "predict of videos": _predict_videos, "evaluate": _evaluate, "doctor": _doctor,
        "inspect of checkpoints": _inspect, "import of all weights": _import,
    }  # fmt: skip
    for name, case in cases.items():
        place = folder / name.replace(" ", "_")
        place.mkdir()
        yield name, case(place, checkpoint)
