"""Runs hostile files of one kind in this process, which may not take more memory or time than it is given.

    python -m tests.hostile.child FOLDER KIND KIND ...

Every entry prints its name before it begins, and a line of JSON behind: how it ended, how long it took, how much memory
it cost, and what it did besides: files written outside of the folder, programs started, addresses asked, modules
imported that lie in the folder. The parent reads these lines; a process that is gone has named what it died of.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeplab_lightning.errors import DeepLabError
from deeplab_lightning.memory import forget_peak, peak_memory

MEMORY = 1 << 30
"""Bytes beyond what the process has when its modules are loaded."""
LARGEST_FILE = 64 << 20
SECONDS = 60
"""That an entry may take, interrupted by an alarm where Python has the word; else the parent ends the process."""
Entry = tuple[str, Callable[[], Any]]

ASKED: list[str] = []
"""What the entry at hand did, that a file may not do."""
WATCHED = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"),
    *("socket.connect", "socket.getaddrinfo", "urllib.Request"),
)


def watch(folder: Path) -> None:
    """Write down what Python is asked for, from now on."""
    allowed = (str(folder.resolve()), "/dev/null", "/proc/self/clear_refs")  # where the peak of memory begins anew

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and any(sign in mode for sign in "wax+")) or (
                mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes and isinstance(path, str | os.PathLike) and not os.path.abspath(path).startswith(allowed):
                ASKED.append(f"wrote {os.fspath(path)}")
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "shutil.rmtree"):
            changed = arguments[1] if event in ("os.rename", "os.link", "os.symlink") else arguments[0]
            below_another = event == "os.remove" and arguments[1] != -1  # a folder that is removed, and said so
            if not (below_another or os.path.abspath(os.fsdecode(changed)).startswith(allowed)):
                ASKED.append(f"{event} {arguments[0]}")
        elif event in WATCHED:
            ASKED.append(f"{event} {arguments[:1]}")
        elif event == "import" and str(arguments[0]).startswith("hostile_"):
            ASKED.append(f"imported {arguments[0]}")

    sys.addaudithook(hear)


def memory() -> int:
    """Return the bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def foreign(folder: Path) -> Iterator[Entry]:
    """Files of other programs, for `import`."""
    from deeplab_lightning.checkpoints.importers import recognise
    from deeplab_lightning.checkpoints.reading import read_foreign

    from . import pickles

    made = {**{f"{name} (.pkl)": data for name, data in pickles.plain().items()}, **pickles.archives(),
            **pickles.legacy()}  # fmt: skip
    for number, (name, data) in enumerate(made.items()):
        path = folder / f"{number:03}.pth"
        path.write_bytes(data)
        yield name, lambda path=path: recognise(read_foreign(path))  # type: ignore[misc]


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer, of less than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def mutated(folder: Path, count: int = 40, seed: int = 0) -> Iterator[Entry]:
    """Files of every reader of weights, with some bytes changed; they are refused, or read as something."""
    import numpy as np
    import torch
    from safetensors.torch import save

    from deeplab_lightning.checkpoints.reading import read_foreign

    from . import pickles

    weights = {f"layer{index}.weight": torch.ones(3, 2) for index in range(3)}
    blob = bytes([0x3A, 3, 0x0A, 1, 1]) + bytes([0x2A, 4]) + bytes(4)
    layer = bytes([0x0A, 1]) + b"a" + bytes([0x3A, len(blob)]) + blob
    constant = field(1, b"name") + field(2, b"Const")
    numbers = b"\x08\x01" + field(2, field(2, b"\x08\x01")) + field(4, bytes(4))
    constant += field(5, field(1, b"value") + field(2, field(8, numbers)))
    flat = b"\x1c\x00\x00\x00TFL3" + bytes(np.arange(300, dtype=np.uint8))
    array = pickles.array(pickles.dtype("f4"), pickles.shape(4), bytes(16))
    honest = {
        ".pth": pickles.honest(), ".pkl": pickles.state_dict(array),
        ".safetensors": save(weights), ".caffemodel": bytes([0xA2, 0x06, len(layer)]) + layer,
        ".pb": field(1, constant), ".tflite": flat,
    }  # fmt: skip
    generator = random.Random(seed)
    for suffix, data in honest.items():
        (folder / f"honest{suffix}").write_bytes(data)
        if suffix != ".tflite":  # of which there is a head alone
            assert read_foreign(folder / f"honest{suffix}").tensors
        for number in range(count):
            path = folder / f"m{number:03}{suffix}"
            changed = pickles.mutated(data, generator)
            path.write_bytes(changed if suffix != ".tflite" else changed[:4] + b"TFL3" + changed[8:])

            def read(path: Path = path) -> None:
                for tensor in read_foreign(path).tensors.values():
                    assert tensor.numel() <= 1 << 16
                    tensor.double().sum()  # all of its numbers are there

            yield f"mutation {number} of {suffix}", read


def checkpoints(folder: Path) -> Iterator[Entry]:
    """Checkpoints of ours: used as `predict` and `export` do, and as `fit` going on and `evaluate` do."""
    import torch

    from deeplab_lightning.api import load
    from deeplab_lightning.config import Configuration

    from . import checkpoints as made

    torch.set_num_threads(1)
    os.chdir(folder)
    (folder / f"{made.MODULE}.py").write_text("open('marker', 'w').close()\n", encoding="utf-8")

    def configured(path: Path, goes_on: bool) -> None:
        every = Configuration(["--trainer.accelerator", "cpu"], path, goes_on=goes_on)
        every.datamodule()
        every.trained_task()

    for name, path in made.write(folder).items():

        def use(path: Path = path) -> None:
            with suppress(DeepLabError):  # what is of data or training alone says nothing to it
                load(path, "cpu")
            assert not (folder / "marker").exists()
            configured(path, goes_on=True)

        yield name, use


def images(folder: Path) -> Iterator[Entry]:
    """Images, volumes and arrays of all kinds, read as `predict` does."""
    from . import images as made

    return made.entries(folder)


def commands(folder: Path) -> Iterator[Entry]:
    """Whole command lines."""
    import torch

    from . import commands as made

    torch.set_num_threads(1)
    return made.entries(folder)


def annotations(folder: Path, count: int = 3, seed: int = 0) -> Iterator[Entry]:
    """Annotation files of every form, each kind of value in them by turns."""
    from . import annotations as made

    warnings.simplefilter("ignore")
    return made.entries(folder, count, seed)


def pages(folder: Path, count: int = 4, seed: int = 0) -> Iterator[Entry]:
    """Run folders of others, through `report` and `compare`."""
    from . import pages as made

    return made.entries(folder, count, seed)


def decoders(folder: Path, count: int = 5, seed: int = 0) -> Iterator[Entry]:
    """Images of every format with changed bytes, read in every way."""
    from . import decoders as made

    warnings.simplefilter("ignore")
    return made.entries(folder, count, seed)


def runs(folder: Path) -> Iterator[Entry]:
    """Run folders and files of settings, which other people made."""
    from . import runs as made

    return made.entries(folder)


KINDS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    "foreign": foreign,
    "mutated": mutated,
    "mutated_long": lambda folder: mutated(folder, 1500, seed=1),
    "checkpoints": checkpoints,
    "runs": runs,
    "pages": pages,
    "pages_long": lambda folder: pages(folder, 100, seed=1),
    "decoders": decoders,
    "decoders_long": lambda folder: decoders(folder, 100, seed=1),
    "images": images,
    "annotations": annotations,
    "annotations_long": lambda folder: annotations(folder, 80, seed=1),
    "commands": commands,
}


def main(folder: Path, kinds: list[str]) -> None:
    """Run the entries of some kinds, one after the other."""
    watch(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, resource.RLIM_INFINITY))
    for kind in kinds:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        place = folder / kind
        place.mkdir()
        entries = list(KINDS[kind](place))  # their modules are loaded, and files written
        resource.setrlimit(resource.RLIMIT_AS, (memory() + MEMORY, resource.RLIM_INFINITY))
        for name, run in entries:
            print(json.dumps({"begins": f"{kind}: {name}"}), flush=True)
            print(json.dumps({"kind": kind, "name": name, **outcome(run)}), flush=True)


def _ring(*_: object) -> None:
    raise TimeoutError(f"it takes more than {SECONDS} s")


def outcome(run: Callable[[], Any]) -> dict[str, Any]:
    """Run an entry, and say how it ended."""
    ASKED.clear()
    forget_peak()  # what making the files took
    start, before = time.perf_counter(), peak_memory() or 0
    said = ""
    signal.signal(signal.SIGALRM, _ring)
    signal.alarm(SECONDS)
    try:
        run()
        ended = "used"
    except DeepLabError as error:
        ended, said = "refused", str(error)
    except BaseException as error:  # whatever it is, it is a fault: the parent says so
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "deeplab_lightning" in frame.filename]
        place = f" ({Path(ours[-1].filename).name}, line {ours[-1].lineno})" if ours else ""
        ended, said = "fault", f"{type(error).__name__}: {error}{place}"
    finally:
        signal.alarm(0)
    megabytes = ((peak_memory() or 0) - before) / 1e6
    seconds = time.perf_counter() - start
    return {"outcome": ended, "said": said, "asked": ASKED[:5], "megabytes": round(megabytes), "seconds": seconds}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
