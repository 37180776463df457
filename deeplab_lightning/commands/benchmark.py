"""`benchmark`: how fast networks are from image to class map, in a table and an image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import ConfigError, DeepLabError, did_you_mean
from ..ledger import Ledger
from ..options import Written, at_least
from ..packaged_files import find_file

if TYPE_CHECKING:
    from ..benchmarking.plan import BenchmarkCase

RESULTS = "results"


def benchmark(
    plan: Annotated[Path, Written(metavar="FILE.yaml")],
    /,
    *,
    output: Annotated[Path | None, Written(metavar="FOLDER")] = None,
    rounds: Annotated[int, at_least(1)] = 20,
    only: Annotated[list[str] | None, Written(metavar="VARIANT")] = None,
    device: str = "",
    again: bool = False,
    measure: Annotated[str | None, Written(hidden=True)] = None,
) -> int:
    """Time networks from image to class map, as a table.

    At full size, from stored image to class map: each line of the table in a process of its own, warmed up, one after
    the other. What was measured on this machine before is not measured again.

    Args:
        plan: What is measured, such as configs/benchmarks/deeplab.yaml.
        output: Folder for table.md, table.csv, times.png, and results.json, from which a stopped run goes on;
            benchmarks/FILE if not given.
        rounds: Timed rounds of each line, after 3 to warm up.
        only: Variants of the file that are measured; all if not given.
        device: Where to run, such as cpu, where files run, or cuda:1; the GPU, if there is one, when not given.
        again: Measure again what was measured before.
        measure: A line as JSON: what the processes are started with.

    Returns:
        0, or 1 if some line could not be measured.

    Raises:
        ConfigError: The plan or an option cannot be used.
    """
    if measure is not None:
        from ..benchmarking import measuring

        print("\n" + json.dumps(measuring.measure(json.loads(measure), rounds, device)))
        return 0
    output = output or Path("benchmarks") / plan.stem
    from ..benchmarking.plan import file_runtimes, read_plan
    from ..export.format import format_named
    from ..reporting.card import cpu_name

    cells = read_plan(find_file(plan))
    names = list(dict.fromkeys(cell.variant for cell in cells))
    for name in only or ():
        if name not in names:
            raise ConfigError(f"{plan} has no variant {name!r}.{did_you_mean(name, names)} It has: {', '.join(names)}.")
    cells = [cell for cell in cells if only is None or cell.variant in only]

    import torch

    from ..inference.devices import chosen_device

    known = file_runtimes()
    files = {cell.runtime: known[cell.runtime].format for cell in cells if cell.runtime in known}
    if files and (device or str(chosen_device(device))).startswith("cuda"):
        raise ConfigError(f"{plan}: {', '.join(files)} run on a CPU, not on cuda. What works is --device cpu.")
    device = str(chosen_device(device))
    versions = {runtime: format_named(format).runtime() for runtime, format in files.items()}
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()
    machine = f"{name}, {torch.get_num_threads()} of {os.cpu_count()} threads, PyTorch {torch.__version__}"
    output.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(output)
    results = ledger.read(RESULTS) or {}
    measured, failed, started, fresh = [], [], time.monotonic(), 0
    for number, cell in enumerate(cells, start=1):
        version = [versions[cell.runtime]] if cell.runtime in versions else []
        key = json.dumps([machine, rounds, asdict(cell), contents(cell), *version], sort_keys=True)
        what = f"{cell.variant}, {cell.size[0]}x{cell.size[1]}, {cell.precision}, {cell.runtime}"
        if again or key not in results:
            left = (time.monotonic() - started) / max(fresh, 1) * (len(cells) - number + 1)
            to_go = f", about {left:.0f} s left" if fresh else ""
            print(f"{number} of {len(cells)}: {what}{to_go}", flush=True)
            fresh += 1
            result = _in_a_process(asdict(cell), rounds, device)
            if isinstance(result, str):
                failed.append(f"{what}: {result}")
                continue
            results[key] = result
            ledger.write(RESULTS, results)
        measured.append((cell, results[key]))
        if "unscored" in results[key]:
            print(f"no mIoU of {what}: {results[key]['unscored']}")
    if measured:
        _write(output, measured, ", ".join([machine, *dict.fromkeys(versions.values())]))
    for failure in failed:
        print(f"not measured: {failure}", file=sys.stderr)
    return 1 if failed else 0


def contents(cell: BenchmarkCase) -> dict[str, Any]:
    """Return what a line's files hold: its result is of no use for others of the same names."""
    from ..config import Configuration
    from ..config_words import config_files
    from ..data.fingerprint import exact_fingerprint
    from ..files import sha256
    from ..runs import resolve_checkpoint

    words = [*cell.arguments, *(cell.data or ())]
    checkpoint = None if cell.checkpoint is None else resolve_checkpoint(cell.checkpoint)
    found: dict[str, Any] = {str(path): sha256(path) for path in config_files(words) if path.is_file()}
    if checkpoint is not None:
        found["checkpoint"] = sha256(checkpoint)
    if checkpoint is not None and cell.data is not None:
        with suppress(DeepLabError):  # the line itself says why it has no score
            dataset = Configuration(words, checkpoint).datamodule().dataset("val")
            found["data"] = exact_fingerprint(dataset, range(len(dataset)))
    return found


def _in_a_process(cell: dict[str, Any], rounds: int, device: str) -> dict[str, Any] | str:
    """Return what was measured, or the last line of what went wrong."""
    command = [sys.executable, "-m", "deeplab_lightning", "benchmark", "-", "--measure", json.dumps(cell)]
    done = subprocess.run(
        [*command, "--rounds", str(rounds), "--device", device], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {done.returncode}"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _write(output: Path, measured: Sequence[tuple[Any, dict[str, Any]]], machine: str) -> None:
    from ..benchmarking.table import markdown, plot, write_csv

    text = markdown(measured, machine)
    (output / "table.md").write_text(text, encoding="utf-8")
    write_csv(output / "table.csv", measured)
    plot(output / "times.png", measured, machine)
    print(f"\n{text}\nFiles: {output}/table.md, table.csv, times.png")
