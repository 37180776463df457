"""Run folders, studies and sweeps of others that mean harm, for `report`, `reproduce`, `ablate` and `sweep`."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deeplab_lightning.commands.reproduce import _modules_named
from deeplab_lightning.config_words import read_config
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.reporting.card import read_card
from deeplab_lightning.reporting.evaluation import read_evaluation
from deeplab_lightning.reporting.gallery import read_gallery
from deeplab_lightning.reporting.records import read_record
from deeplab_lightning.runs import RunFolder
from deeplab_lightning.studies.study_file import load_study
from deeplab_lightning.studies.sweep_file import load_sweep

from ..reporting.made_runs import made_run

Entry = tuple[str, Callable[[], Any]]


def _npz(path: Path, **changes: np.ndarray | None) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type,unused-ignore]


def _announcing(path: Path, header: str) -> None:
    """A part that announces an array, and holds 16 bytes."""
    text = header.ljust(118) + "\n"
    body = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(16)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**parts, "count.npy": body}.items():
            archive.writestr(name, content)


def _bomb(path: Path, name: str, size: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as part:
        for _ in range(size >> 20):
            part.write(bytes(1 << 20))


def _picture(path: Path, side: int, mode: str = "P") -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    made = io.BytesIO()
    Image.new(mode, (side, 1)).save(made, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**parts, "0000.truth.png": made.getvalue()}.items():
            archive.writestr(name, content)


def counts(path: Path) -> dict[str, Callable[[], None]]:
    """What is done to `per_image.npz`, by name."""
    many = np.array([f"c{index}" for index in range(5000)])
    return {
        "counts: of class 1000": lambda: _npz(path, pred=np.full_like(np.load(path)["pred"], 1000)),
        "counts: of class -1": lambda: _npz(path, truth=np.full_like(np.load(path)["truth"], -1)),
        "counts: negative": lambda: _npz(path, count=np.full_like(np.load(path)["count"], -5)),
        "counts: of image 10^9": lambda: _npz(path, image=np.full_like(np.load(path)["image"], 10**9)),
        "counts: not in order": lambda: _npz(path, image=np.load(path)["image"][::-1].copy()),
        "counts: of 5000 classes": lambda: _npz(path, class_names=many),
        "counts: of no classes": lambda: _npz(path, class_names=np.array([], dtype=np.str_)),
        "counts: of numbered classes": lambda: _npz(path, class_names=np.arange(4)),
        "counts: floats": lambda: _npz(path, count=np.load(path)["count"].astype(float)),
        "counts: columns of different lengths": lambda: _npz(path, count=np.arange(3)),
        "counts: a column is missing": lambda: _npz(path, pred=None),
        "counts: objects": lambda: _npz(path, count=np.array([{}, {}], dtype=object)),
        "counts: an image twice": lambda: _npz(path, sample_ids=np.full_like(np.load(path)["sample_ids"], "a")),
        "counts: 10^12 announced": lambda: _announcing(
            path, "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }"
        ),
        "counts: negative sides": lambda: _announcing(
            path, "{'descr': '<i8', 'fortran_order': False, 'shape': (-1, -2), }"
        ),
        "counts: records": lambda: _announcing(
            path, "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (2,), }"
        ),
        "counts: code in the header": lambda: _announcing(path, "__import__('os').system('true')"),
        "counts: a bomb": lambda: _bomb(path, "count.npy", 1100 << 20),
        "counts: nothing": lambda: path.open("wb").close(),
    }


def pictures(path: Path) -> dict[str, Callable[[], None]]:
    """What is done to `images.zip`, by name."""

    def index(change: Callable[[Any], None]) -> None:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        content = json.loads(parts["index.json"])
        change(content)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**parts, "index.json": json.dumps(content).encode()}.items():
                archive.writestr(name, data)

    return {
        "pictures: a bomb": lambda: _bomb(path, "0000.jpg", 200 << 20),
        "pictures: 100,000 wide": lambda: _picture(path, 100_000),
        "pictures: of colours": lambda: _picture(path, 32, "RGB"),
        "pictures: of another size": lambda: _picture(path, 17),
        "pictures: ids that are none": lambda: index(lambda found: found["images"][0].update(id=[1])),
        "pictures: sizes that are none": lambda: index(lambda found: found["images"][0].update(height="x")),
        "pictures: kept for nothing": lambda: index(lambda found: found["images"][0].update(why="<b>")),
        "pictures: colours that are none": lambda: index(lambda found: found.update(palette=[["x"]])),
        "pictures: classes that are none": lambda: index(lambda found: found.update(class_names=[1, 2])),
        "pictures: no index": lambda: _bomb(path, "x", 0),
    }


NUMBERS = '{"a": ' + "9" * 5000 + "}"
DEEP = '{"a": ' + "[" * 50_000 + "]" * 50_000 + "}"
ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 13)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 13)
)
SWEEP = """name: {name}
program: deeplab_lightning
method: grid
metric: {{name: val/mIoU, goal: maximize}}
parameters: {parameters}
command: ["${{env}}", python, "-m", deeplab_lightning, fit, -c, configs/v3plus.yaml, "${{args}}"]
"""


def entries(folder: Path) -> Iterator[Entry]:
    """Yield all of them."""
    whole = made_run(folder / "whole" / "version_0")

    def fresh(name: str) -> RunFolder:
        place = folder / name.replace(" ", "_").replace(":", "").replace("/", "") / "version_0"
        shutil.copytree(whole.path, place)
        return RunFolder(place)

    for name in counts(whole.per_image):
        run = fresh(name)
        counts(run.per_image)[name]()
        yield name, lambda run=run: ImageCounts.load(run.per_image)  # type: ignore[misc]
    for name in pictures(whole.images):
        run = fresh(name)
        pictures(run.images)[name]()
        yield name, lambda run=run: read_gallery(run.images)  # type: ignore[misc]
    cards = {
        "5,000 digits": NUMBERS, "deep": DEEP, "a list": "[]", "cut off": '{"a"', "sessions": '{"sessions": [5]}',
        "sessions without seconds": '{"sessions": [{"energy_joules": {"cpu": 1, "gpu": 1}, "from_step": 0}]}',
        "packages": '{"packages": 5}', "data": '{"data": {"train": 5}}', "energy":
        '{"sessions": [{"energy_joules": {"cpu": "x", "gpu": 1}, "from_step": 0, "seconds": 1}]}',
        "changes": '{"sessions": [{"energy_joules": {"cpu": 1, "gpu": 1}, "from_step": 0, "seconds": 1, "changed": 3'
        "}]}",
        "untracked": '{"git_untracked": [[]]}', "commit": '{"git_commit": 5}',
    }  # fmt: skip
    for name, text in cards.items():
        run = fresh(f"card {name}")
        run.environment.write_text(text, encoding="utf-8")
        yield f"card: {name}", lambda run=run: read_card(run)  # type: ignore[misc]
    scored = {"types": '{"split": 1, "protocol": 2, "images": "x", "step": [], "mIoU": {}}', "names": '{"x": 1}',
              "a list": "[1]", "deep": DEEP, "5,000 digits": NUMBERS}  # fmt: skip
    for name, text in scored.items():
        run = fresh(f"evaluation {name}")
        run.evaluation.write_text(text, encoding="utf-8")
        yield f"evaluation: {name}", lambda run=run: read_evaluation(run)  # type: ignore[misc]
    for name, text in {"aliases": ALIASES, "python": "a: !!python/object/apply:os.system [true]",
                       "deep": "[" * 3000, "dates": "a: 2021-99-99", "digits": "a: " + "9" * 5000}.items():  # fmt: skip
        run = fresh(f"configuration {name}")
        run.config.write_text(text, encoding="utf-8")
        yield f"configuration: {name}", lambda run=run: read_record(run.path)  # type: ignore[misc]
        yield f"configuration for fit: {name}", lambda run=run: read_config(run.config)  # type: ignore[misc]
    merges = fresh("configuration merges")
    merges.config.write_text(MERGES, encoding="utf-8")
    yield "configuration for fit: merges", lambda: read_config(merges.config)
    for name, section in {
        "a network": "model: {name: hostile_module.Net}", "data": "data: {name: hostile_module.Data}",
        "a callback": "trainer: {callbacks: [{class_path: hostile_module.Callback}]}",
        "a function": "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LambdaCallback, init_args: "
        "{setup: os.system}}]}",
    }.items():  # fmt: skip
        run = fresh(f"reproduce {name}")
        run.config.write_text(section, encoding="utf-8")
        yield f"reproduce --run: {name}", lambda run=run: _refuse_named(run)  # type: ignore[misc]
    base = folder / "base.yaml"
    base.write_text("model: {name: DeepLabV3Plus}\n", encoding="utf-8")
    for number, name in enumerate(("../../x", "/x", "..", "a/../../b", "'a\\nb'", '"\\e[2J"')):
        sweep, study = folder / f"sweep{number}.yaml", folder / f"study{number}.yaml"
        sweep.write_text(SWEEP.format(name=name, parameters="{optimizer.lr: {values: [1]}}"), encoding="utf-8")
        study.write_text(f"name: {name}\nbase: base.yaml\nfactors: {{a: {{b: {{}}}}}}\n", encoding="utf-8")
        if number != 4:  # YAML's single quotes know no line breaks: that is a name
            yield f"sweep of the name {name}", lambda sweep=sweep: load_sweep(sweep)  # type: ignore[misc]
            yield f"study of the name {name}", lambda study=study: load_study(study)  # type: ignore[misc]
    grid = ", ".join(f"model.o{index}: {{values: {list(range(100))}}}" for index in range(10))
    (folder / "grid.yaml").write_text(SWEEP.format(name="x", parameters=f"{{{grid}}}"), encoding="utf-8")
    yield "sweep of a grid without end", lambda: load_sweep(folder / "grid.yaml")
    factors = ", ".join(f"f{index}: {{{', '.join(f'l{level}: {{}}' for level in range(10))}}}" for index in range(12))
    (folder / "rows.yaml").write_text(f"base: base.yaml\nfactors: {{{factors}}}\n", encoding="utf-8")
    yield "study of rows without end", lambda: load_study(folder / "rows.yaml")
    (folder / "folder.yaml").write_text("base: base.yaml\nfactors: {a: {b: {run.folder: /x}}}\n", encoding="utf-8")
    yield "study that says where runs go", lambda: load_study(folder / "folder.yaml")


def _refuse_named(run: RunFolder) -> None:
    if named := _modules_named(read_config(run.config)):
        raise ConfigError(str(named))
