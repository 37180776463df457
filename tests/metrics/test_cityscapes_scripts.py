"""PQ and AP against cityscapesScripts themselves, where somebody has installed them.

They are in no extra of ours: pip can build one of the packages that they need only from source, a `typing` of its own.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.metrics.instances import InstancePrecision
from deeplab_lightning.metrics.panoptic import PanopticScores

from . import test_instances
from .maps import (
    CITYSCAPES,
    CITYSCAPES_NAMES,
    CITYSCAPES_THINGS,
    NAMES,
    THINGS,
    VOID,
    Pair,
    cityscapes_files,
    cityscapes_pair,
    moved,
    pairs,
)

IDS = (7, 23, 26, 24, 28)
"""Of `maps.NAMES` in Cityscapes."""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The package, in a folder of its own: it writes where it stands."""
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # gone from NumPy
    monkeypatch.chdir(tmp_path)
    return pytest.importorskip("cityscapesscripts")


def write_ids(path: Path, pair: Pair, ids: tuple[int, ...]) -> Path:
    """Write a truth as Cityscapes does: the class, or 1000 times the class and the object."""
    classes, numbers = (entry.numpy().astype(np.int64) for entry in pair)
    table = np.zeros(256, np.int64)
    table[: len(ids)] = ids
    found = np.where(numbers > 0, 1000 * table[classes] + numbers, table[classes])
    Image.fromarray(found.astype(np.uint16)).save(path)
    return path


@pytest.mark.parametrize("real", [False, True])
def test_average_precision(scripts: ModuleType, tmp_path: Path, real: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = import_module("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")

    images = test_instances.real() if real else test_instances.drawn(150, seed=8, levels=20)
    ids, names, things = (CITYSCAPES, CITYSCAPES_NAMES, CITYSCAPES_THINGS) if real else (IDS, NAMES, THINGS)
    truths, preds = [], []
    for number, (pred, truth) in enumerate(images):
        truths.append(str(write_ids(tmp_path / f"{number:04}_truth.png", truth, ids)))
        lines = []
        for own, (index, score) in enumerate(zip(pred.classes.tolist(), pred.scores.tolist(), strict=True), 1):
            name = f"{number:04}_{own}.png"
            Image.fromarray(((pred.numbers == own).numpy() * 255).astype(np.uint8)).save(tmp_path / name)
            lines.append(f"{name} {ids[index]} {score!r}\n")
        preds.append(str(tmp_path / f"{number:04}.txt"))
        Path(preds[-1]).write_text("".join(lines))
    monkeypatch.setattr(theirs, "writeDict2JSON", lambda *_: None)  # fails on the numbers of today's NumPy
    options: Any = theirs.args
    options.predictionPath, options.gtInstancesFile = str(tmp_path), str(tmp_path / "instances.json")
    options.quiet, options.JSONOutput = True, False
    options.minRegionSizes = np.array([100 if real else 20, 1000, 1000])
    theirs.setInstanceLabels(options)
    found = theirs.evaluateImgLists(preds, truths, options)
    expected = np.array(found["resultApMatrix"])[0]
    label_of = {label.name: label.id for label in theirs.labels}
    rows = [options.instLabels.index(next(n for n in options.instLabels if label_of[n] == ids[i])) for i in things]
    metric = InstancePrecision(names, things, VOID)
    monkeypatch.setattr(test_instances.instances, "SMALLEST_REGION", 100 if real else 20)
    for number, (pred, truth) in enumerate(images):
        metric.update(pred, truth, str(number))
    assert metric.precision() == pytest.approx(expected[rows], abs=1e-14, nan_ok=True)
    assert metric.values()["AP"] == pytest.approx(found["averages"]["allAp"], abs=1e-14)
    assert metric.values()["AP50"] == pytest.approx(found["averages"]["allAp50%"], abs=1e-14)


@pytest.mark.parametrize("real", [False, True])
def test_panoptic_quality(scripts: ModuleType, tmp_path: Path, real: bool) -> None:
    theirs = import_module("cityscapesscripts.evaluation.evalPanopticSemanticLabeling")

    names, things = (CITYSCAPES_NAMES, CITYSCAPES_THINGS) if real else (NAMES, THINGS)
    images = list(pairs(500, seed=9))
    if real:
        maps = map(cityscapes_pair, cityscapes_files())
        images = [(moved(truth, number), truth) for number, truth in enumerate(maps)]
    metric, entries = PanopticScores(names, things, VOID), []
    for number, (pred, truth) in enumerate(images):
        metric.update(pred, truth, str(number))
        entry = [
            written(tmp_path / f"{number}_{which}.png", pair, things) for which, pair in (("t", truth), ("p", pred))
        ]
        entries.append(tuple(entry))
    categories = {index: {"isthing": int(index in things)} for index in range(len(names))}
    found = theirs.pq_compute_single_core(0, entries, str(tmp_path), str(tmp_path), categories)
    quality = metric.quality()
    for index in range(len(names)):
        counts = found[index].tp, found[index].fp, found[index].fn
        assert counts == (quality.matched[index], quality.extra[index], quality.missed[index])
    for thing, means in ((None, quality.all), (True, quality.of_things), (False, quality.of_stuff)):
        expected, _ = found.pq_average(categories, thing)
        assert tuple(means) == pytest.approx((expected["pq"], expected["sq"], expected["rq"], expected["n"]), abs=1e-14)


def written(path: Path, pair: Pair, things: tuple[int, ...]) -> dict[str, Any]:
    """Write a map as a panoptic PNG, and return its entry."""
    classes, numbers = (entry.long() for entry in pair)
    is_thing = torch.isin(classes, torch.tensor(things))
    ids = torch.where(classes == VOID, 0, 1 + classes * 10000 + torch.where(is_thing, numbers, 0)).numpy()
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(path)
    segments = []
    for own in np.unique(ids[ids > 0]).tolist():
        index, number = divmod(own - 1, 10000)
        of_own = {"iscrowd": int(index in things and number == 0), "area": int((ids == own).sum())}
        segments.append({"id": own, "category_id": index} | of_own)
    return {"image_id": path.stem, "file_name": path.name, "segments_info": segments}
