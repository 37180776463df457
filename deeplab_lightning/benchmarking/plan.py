"""What to measure: a file of variants, times sizes, precisions and runtimes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import yaml

from ..config_words import load_yaml
from ..errors import ConfigError, did_you_mean
from ..export.format import format_named, formats
from ..files import read_text

Precision = Literal["fp32", "bf16", "fp16"]
PYTORCH = ("eager", "contiguous", "compile")
"""PyTorch in channels-last order, as predict has it; in contiguous order; compiled."""
KEYS = ("variants", "sizes", "precisions", "runtimes", "batch", "data")
VARIANT_KEYS = ("config", "checkpoint", "options", "published")


class FileRuntime(NamedTuple):
    """A runtime of exported files, on the CPU: a format, and whether a file is for one image of the case's size."""

    format: str
    one_size: bool


@functools.cache
def file_runtimes() -> dict[str, FileRuntime]:
    """Return the runtimes of exported files: for images of any size (`onnx`), or for one (`onnx_one_size`)."""
    return {
        f"{name}_one_size" if one_size else name: FileRuntime(name, one_size)
        for name, format in formats().items()
        if format.timed
        for one_size in (False, True)
    }


@dataclass(frozen=True)
class BenchmarkCase:
    """One line of the table.

    Attributes:
        variant: Its name.
        arguments: `-c`, `--model.x` of the network, as for `fit`.
        checkpoint: A checkpoint or a run, whose weights are taken; random ones otherwise.
        size: `(H, W)` of the images.
        batch: Images at a time.
        precision: fp32, or autocast to bf16 or fp16; of a file, what `export` means by it.
        runtime: What executes it.
        data: `-c` of the data on which a checkpoint is scored; None: it is not; none: the data it was trained on.
        published: What the paper says, in words.
    """

    variant: str
    arguments: tuple[str, ...]
    checkpoint: str | None
    size: tuple[int, int]
    batch: int
    precision: Precision
    runtime: str
    data: tuple[str, ...] | None
    published: str


def read_plan(path: Path) -> list[BenchmarkCase]:
    """Read the file of a benchmark.

    Args:
        path: YAML: `variants`, each with `config` (files) or `checkpoint`, and `options`, `published` if wanted;
            `sizes`, `precisions`, `runtimes` (lists), `batch`, and `data`: configuration files of the data on which
            checkpoints are scored; an empty list is the data that each was trained on.

    Raises:
        ConfigError: The file is missing, or says something that is not known.
    """
    try:
        content = load_yaml(read_text(path), path)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}. configs/benchmarks/ has examples.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("variants"), dict) or not content["variants"]:
        raise ConfigError(f"{path} names no variants: expected `variants:` with a name and a config for each.")
    _check(path, "unknown key", content, KEYS)
    precisions, runtimes = list(content.get("precisions", ["fp32"])), list(content.get("runtimes", ["eager"]))
    _check(path, "precisions has", precisions, get_args(Precision))
    _check(path, "runtimes has", runtimes, (*PYTORCH, *file_runtimes()))
    batch = int(content.get("batch", 1))
    for runtime, precision in itertools.product(runtimes, precisions):
        _expect_possible(path, runtime, precision, batch)
    sizes = [_size(path, size) for size in content.get("sizes", [[513, 513]])]
    data = tuple(word for file in content["data"] for word in ("-c", str(file))) if "data" in content else None
    cases = []
    for name, variant in content["variants"].items():
        _check(path, "unknown key", variant, VARIANT_KEYS)
        if not variant.get("config") and not variant.get("checkpoint"):
            raise ConfigError(f"{path}: variant {name!r} has neither config nor checkpoint.")
        configs = variant.get("config") or []
        arguments = [word for file in ([configs] if isinstance(configs, str) else configs) for word in ("-c", file)]
        for key, value in (variant.get("options") or {}).items():
            arguments += [f"--{key}", str(value).lower() if isinstance(value, bool) else str(value)]
        cases += [
            BenchmarkCase(str(name), tuple(arguments), variant.get("checkpoint"), size, batch, precision,
                 runtime, data, str(variant.get("published", "")))
            for size, precision, runtime in itertools.product(sizes, precisions, runtimes)
        ]  # fmt: skip
    return cases


def _expect_possible(path: Path, runtime: str, precision: Precision, batch: int) -> None:
    """Refuse what no file can be, naming what works instead."""
    file = file_runtimes().get(runtime)
    if file is None:
        return
    known = [name for name in get_args(Precision) if name in format_named(file.format).precisions]
    if precision not in known:
        raise ConfigError(
            f"{path}: runtime {runtime} has no {precision}, but {' and '.join(known)}. What works in {precision} is "
            f"{', '.join(PYTORCH)}: every runtime of a plan is measured in all its precisions, so make two plans of it."
        )
    if file.one_size and batch > 1:
        raise ConfigError(
            f"{path}: runtime {runtime} takes one image at a time, and batch is {batch}. What works is batch: 1, or "
            f"runtime {file.format}."
        )


def _check(path: Path, what: str, values: Iterable[Any], known: tuple[str, ...]) -> None:
    for value in values:
        if value not in known:
            near = did_you_mean(str(value), known)
            raise ConfigError(f"{path}: {what} {value!r}.{near} Known: {', '.join(known)}.")


def _size(path: Path, size: Any) -> tuple[int, int]:
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side >= 33 for side in size)):
        raise ConfigError(f"{path}: a size is [height, width] of 33 pixels or more, not {size!r}.")
    return size[0], size[1]
