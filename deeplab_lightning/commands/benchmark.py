"""`benchmark`: how fast networks are from image to class map, in a table and an image."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, did_you_mean
from ..files import read_json, write_json

RESULTS = "results.json"


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning benchmark",
        description="Time networks from stored image to class map at full size: each line of the table in a process "
        "of its own, warmed up, one after the other. What was measured on this machine before is not measured again.",
        allow_abbrev=False,
    )
    parser.add_argument("plan", type=Path, metavar="FILE.yaml", help="such as configs/benchmarks/deeplab.yaml")
    parser.add_argument("--output", type=Path, help="folder for table.md, table.csv and times.png (benchmarks/FILE)")
    parser.add_argument("--rounds", type=int, default=20, help="timed ones, after 3 to warm up (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants of the file")
    parser.add_argument(
        "--device", default="", help="such as cpu, where files run, or cuda:1 (the GPU if there is one)"
    )
    parser.add_argument("--again", action="store_true", help="measure again what was measured before")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # a cell as JSON: what the processes are started with
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        raise ConfigError(f"--rounds is {options.rounds}: 1 or more.")
    if options.measure is not None:
        from ..benchmarking.measuring import measure

        print("\n" + json.dumps(measure(json.loads(options.measure), options.rounds, options.device)))
        return 0
    output = options.output or Path("benchmarks") / options.plan.stem
    return benchmark(options.plan, output, options.rounds, options.only, options.device, options.again)


def benchmark(
    plan: Path, output: Path, rounds: int = 20, only: Sequence[str] | None = None, device: str = "", again: bool = False
) -> int:
    """Measure the cells of a plan and write the table.

    Args:
        plan: The file, see `benchmarking.plan.read_plan`.
        output: Gets `table.md`, `table.csv`, `times.png`, and `results.json`, from which a stopped run goes on.
        rounds: Timed ones of each cell.
        only: Variants to measure; all if None.
        device: Where; the GPU if there is one, when empty.
        again: Measure again what `results.json` has.

    Returns:
        0, or 1 if some cell failed.
    """
    from ..benchmarking.plan import read_plan
    from ..benchmarking.runtimes import FILE_RUNTIMES
    from ..export.running import runtime_of

    cells = read_plan(plan)
    names = list(dict.fromkeys(cell.variant for cell in cells))
    for name in only or ():
        if name not in names:
            raise ConfigError(f"{plan} has no variant {name!r}.{did_you_mean(name, names)} It has: {', '.join(names)}.")
    cells = [cell for cell in cells if only is None or cell.variant in only]

    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    files = {cell.runtime: FILE_RUNTIMES[cell.runtime].format for cell in cells if cell.runtime in FILE_RUNTIMES}
    if files and device.startswith("cuda"):
        raise ConfigError(f"{plan}: {', '.join(files)} run on a CPU, not on {device}. What works is --device cpu.")
    versions = {runtime: runtime_of(format) for runtime, format in files.items()}
    machine = describe_machine(device)
    output.mkdir(parents=True, exist_ok=True)
    known = read_json(output / RESULTS, "delete it to measure again.") or {}
    measured, failed, started, fresh = [], [], time.monotonic(), 0
    for number, cell in enumerate(cells, start=1):
        version = [versions[cell.runtime]] if cell.runtime in versions else []
        key = json.dumps([machine, rounds, cell.as_dict(), *version], sort_keys=True)
        what = f"{cell.variant}, {cell.size[0]}x{cell.size[1]}, {cell.precision}, {cell.runtime}"
        if again or key not in known:
            left = (time.monotonic() - started) / max(fresh, 1) * (len(cells) - number + 1)
            to_go = f", about {left:.0f} s left" if fresh else ""
            print(f"{number} of {len(cells)}: {what}{to_go}", flush=True)
            fresh += 1
            result = _in_a_process(cell.as_dict(), rounds, device)
            if isinstance(result, str):
                failed.append(f"{what}: {result}")
                continue
            known[key] = result
            write_json(output / RESULTS, known)
        measured.append((cell, known[key]))
        if "unscored" in known[key]:
            print(f"no mIoU of {what}: {known[key]['unscored']}")
    if measured:
        _write(output, measured, ", ".join([machine, *dict.fromkeys(versions.values())]))
    for failure in failed:
        print(f"not measured: {failure}", file=sys.stderr)
    return 1 if failed else 0


def describe_machine(device: str) -> str:
    """Return what stands above the table: processor or GPU, threads, versions."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} threads, PyTorch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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
