"""Annotation files of every form with something wrong in them: each value by turns, and bytes at random."""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..fakes.coco import write_coco
from ..fakes.cvat import write_cvat
from ..fakes.datumaro import write_datumaro
from ..fakes.dicom_seg import write_dicom_seg
from ..fakes.label_studio import write_label_studio
from ..fakes.labelme import write_labelme
from ..fakes.run_lengths import write_run_lengths
from ..fakes.scans import write_brats, write_nnunet
from ..fakes.supervisely import write_supervisely
from ..fakes.via import write_via
from ..fakes.yolo import write_yolo

FORMS: dict[str, Callable[[Path], object]] = {
    "COCO": write_coco, "LabelMe": write_labelme, "CVAT": write_cvat, "Datumaro": write_datumaro, "VIA": write_via,
    "Label Studio": write_label_studio, "Supervisely": write_supervisely, "YOLO": write_yolo,
    "run lengths": write_run_lengths,
}  # fmt: skip
BINARY: dict[str, Callable[[Path], object]] = {
    "DICOM segmentations": write_dicom_seg, "nnU-Net": write_nnunet, "BraTS": write_brats,
}  # fmt: skip
"""Whose files are not text: bytes are changed alone."""

VALUES: tuple[Any, ...] = (
    3e7, -3e7, 1e308, 10**30, -1, 0, 2**31, 2**63, 0.5, True, None, "", "x", "\x1b[2J\n", [], {}, [[]], [None],
    {"a": {}}, float("nan"), float("inf"), "../../../etc/passwd", "/dev/zero", "9" * 400, [1e9] * 8,
    [[0, 0], [3e7, 0], [3e7, 3e7]],
)  # fmt: skip
"""What stands in place of others."""
WORDS = (
    "30000000", "-30000000", "1e308", "nan", "inf", "-1", "", "x", "9" * 5000, "99999999999999999999", "0 0 0",
    "\u202e", "../../../etc/passwd", "&#27;", "<", "&lol;",
)  # fmt: skip
"""Likewise in texts that are no JSON."""
DEEP = "[" * 100_000 + "]" * 100_000
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "lol">'
    + "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 12))
    + "]><annotations>&a11;</annotations>"
)
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'
ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 13)
) + "path: *a12\ntrain: *a12\nnames: *a12\n"  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where values stand in a JSON value."""
    yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(each, (*path, key))


def kind_of(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what tells a place from others of its kind: numbers in lists are alike."""
    return tuple("#" if isinstance(key, int) else key for key in path)


def with_value(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a JSON value with another at a place."""
    if not path:
        return value
    changed = copy.deepcopy(content)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def changed_texts(text: str, generator: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """Yield names and texts: of JSON each kind of place once at least, of others numbers and words."""
    try:
        content = json.loads(text)
    except ValueError:
        found = list(re.finditer(r"[\w.-]+", text))
        for _ in range(count):
            word = generator.choice(found) if found else None
            value = generator.choice(WORDS)
            start, end = word.span() if word else (0, 0)
            yield f"{value[:20]!r} at {start}", text[:start] + value + text[end:]
        return
    by_kind: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for path in places(content):
        by_kind.setdefault(kind_of(path), path)
    chosen = [(path, value) for path in by_kind.values() for value in VALUES]
    for path, value in generator.sample(chosen, min(count, len(chosen))):
        where = ".".join(map(str, kind_of(path)))
        yield f"{str(value)[:20]!r} for {where}", json.dumps(with_value(content, path, value))


def changed_bytes(data: bytes, generator: random.Random) -> bytes:
    """Change some bytes, or cut the file."""
    changed = bytearray(data)
    for _ in range(generator.randint(1, 6)):
        changed[generator.randrange(len(changed))] = generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))
    return bytes(changed[: generator.randrange(len(changed))] if generator.random() < 0.2 else changed)


def read_all(root: Path) -> None:
    """Recognise a folder as `doctor FOLDER` does, and read all of it."""
    from deeplab_lightning.data.sets import datamodule_named
    from deeplab_lightning.doctor.layouts import propose
    from deeplab_lightning.errors import DataError

    found = propose(root)
    options = {**found.options, "num_workers": 0}
    module = datamodule_named(found.name)(**options)
    for split in ("train", "val"):
        dataset = module.dataset(split)
        for index in range(len(dataset)):
            try:
                dataset.load(index)
            except DataError:  # noqa: PERF203
                continue


def entries(folder: Path, count: int = 6, seed: int = 0) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the changed trees."""
    generator = random.Random(seed)
    number = 0
    for form, write in {**FORMS, **BINARY}.items():
        whole = folder / f"whole {form}"
        whole.mkdir()
        write(whole)
        read_all(whole)  # it is read, and the modules are loaded for it
        suffixes = (
            (".json", ".xml", ".yaml", ".yml", ".txt", ".csv")
            if form in FORMS
            else (".dcm", ".nii", ".nii.gz", ".json")
        )
        texts = [path for path in sorted(whole.rglob("*")) if path.is_file() and path.name.endswith(suffixes)]
        by_kind = {re.sub(r"\d+|\b[a-f]\b", "#", path.name): path for path in texts}
        for path in by_kind.values():
            if form in FORMS:
                text = path.read_text(encoding="utf-8")
                made = [(name, changed.encode(errors="surrogatepass"))
                        for name, changed in changed_texts(text, generator, count)]  # fmt: skip
                made += [(f"bytes {index}", changed_bytes(text.encode(), generator)) for index in range(count // 2)]
                special = {".json": DEEP, ".xml": LAUGHS, ".yaml": ALIASES}.get(path.suffix)
                made += [("deep", special.encode())] if special else []
                made += [("of a file outside", OUTSIDE.encode())] if path.suffix == ".xml" else []
            else:
                data = path.read_bytes()
                made = [(f"bytes {index}", changed_bytes(data, generator)) for index in range(count)]
            for name, content in made:
                number += 1
                root = folder / f"{number:05}" / "root"
                shutil.copytree(whole, root)
                (root / path.relative_to(whole)).write_bytes(content)
                yield f"{form}, {path.name}: {name}", lambda root=root: read_all(root)  # type: ignore[misc]
