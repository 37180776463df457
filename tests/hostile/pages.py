"""Run folders and studies of others, through the whole commands `report` and `compare`, and what is in the pages."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from deeplab_lightning.errors import DeepLabError
from deeplab_lightning.metrics.per_image import ImageCounts

from ..reporting.made_runs import made_run
from .annotations import changed_bytes, changed_texts
from .commands import run as run_command

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\nforged\u202e"
"""As name of a run, of a class, of an image, and as value of a setting."""
COLUMNS = (
    *("backbone", "seeds", "parameters", "multiply_adds", "seconds_per_step", "mIoU_mean", "mIoU_std", "difference"),
    *("low", "high", "p_value", "p_value_holm"),
)
TABLE = f"""{",".join(COLUMNS)}
resnet50,3,1000,2000,0.1,0.5,0.01,,,,,
=cmd|' /C calc'!A0,3,1000,2000,0.1,0.6,0.01,0.1,0.05,0.2,0.01,0.02
"""
PER_CLASS = "row,class,IoU_mean,low,high\nresnet50,road,0.5,,\nresnet50,<b>,0.4,,\n"


def _refusing(words: tuple[object, ...]) -> None:
    """Run a command, and let its refusal be what ended it."""
    code, text = run_command(*words)
    assert code in (0, 2), text
    if code:
        raise DeepLabError(text)


def _named(path: Path) -> None:
    """A run whose images and classes are called by markup, and by what terminals obey."""
    names = ("road", SCRIPT, "sky", "tram")
    counts = ImageCounts(names)
    rng = np.random.default_rng(0)
    for number in range(4):
        counts.add(f"{SCRIPT}{number}", rng.integers(0, 50, (4, 4)))
    counts.save(path / "per_image.npz")


def entries(folder: Path, count: int = 4, seed: int = 0) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield all of them."""
    generator = random.Random(seed)
    whole = made_run(folder / "whole" / "version_0").path
    other = made_run(folder / "other" / "version_0", right=0.6).path
    number = 0
    (whole / "metrics.csv").write_text("step,val/mIoU,train/loss\n1,0.2,3\n2,0.3,2\n")
    (whole / "speed.csv").write_text("step,seconds\n1,0.2\n2,0.3\n")
    for path in sorted(whole.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        made = [(f"bytes {index}", changed_bytes(data, generator)) for index in range(count)]
        if path.suffix in (".json", ".yaml", ".csv"):
            made += [(name, text.encode(errors="surrogatepass"))
                     for name, text in changed_texts(data.decode(), generator, 3 * count)]  # fmt: skip
        for name, content in made:
            number += 1
            own = folder / f"{number:05}" / "version_0"
            shutil.copytree(whole, own)
            (own / path.name).write_bytes(content)
            words: tuple[object, ...] = ("report", own, "--out", own / "page.html")
            if number % 3 == 0:
                words = ("compare", other, own, "--out", own / "page.html")
            yield f"{words[0]}, {path.name}: {name}", lambda words=words: _refusing(words)  # type: ignore[misc]

    forged = folder / "a\nforged\x1b[2J" / "version_0"
    shutil.copytree(whole, forged)
    _named(forged)
    yield "pictures of other images than were scored", lambda: _refusing(("report", forged, "--out", folder / "x.html"))
    again = folder / "<script>" / "version_0"
    shutil.copytree(forged, again)
    settings = yaml.safe_load((again / "config.yaml").read_text())
    settings["model"] = {"name": SCRIPT, SCRIPT: SCRIPT}
    (again / "config.yaml").write_text(yaml.safe_dump(settings))

    def pages() -> None:
        for run in (forged, again):
            (run / "images.zip").unlink(missing_ok=True)
        for words in (("report", forged), ("compare", forged, again)):
            page = folder / "named.html"
            code, text = run_command(*words, "--out", page)
            assert code == 0, text
            assert not [line for line in text.splitlines() if line.startswith("forged")], text
            html = page.read_text(encoding="utf-8")
            assert "<script>alert(1)" not in html
            assert not re.search(r"<img src=x", html)

    yield "names that are markup, and that terminals obey", pages

    diverged = folder / "diverged" / "version_0"
    shutil.copytree(whole, diverged)
    (diverged / "metrics.csv").write_text("step,val/mIoU,train/loss\n1,0.2,inf\n2,0.3,2\ninf,0.2,1\n3,nan,-inf\n")
    yield "losses without end", lambda: _refusing(("report", diverged, "--out", diverged / "page.html"))
    for name, value in {"devices": "null", "parameters": "Infinity"}.items():
        odd = folder / name / "version_0"
        shutil.copytree(whole, odd)
        (odd / "environment.json").write_text(f'{{"{name}": {value}}}')
        yield (
            f"{name}: {value}",
            lambda odd=odd: _refusing(  # type: ignore[misc]
                ("compare", other, odd, "--out", odd / "page.html")
            ),
        )

    study = folder / "study"
    (study / "cells").mkdir(parents=True)
    (study / "table.csv").write_text(TABLE)
    (study / "per_class.csv").write_text(PER_CLASS)
    for name in ("table.csv", "per_class.csv"):
        text = (study / name).read_text()
        made = [*changed_texts(text, generator, 5 * count)]
        for what, changed in made:
            number += 1
            own = folder / f"study{number}"
            shutil.copytree(study, own)
            (own / name).write_text(changed, encoding="utf-8")
            yield (
                f"report of a study, {name}: {what}",
                lambda own=own: _refusing(  # type: ignore[misc]
                    ("report", own, "--out", own / "page.html")
                ),
            )
