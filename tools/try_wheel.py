"""Tries what `pip install` gives: builds the wheel, installs it, and trains in an empty folder far from the code.

    python tools/try_wheel.py --quick     # beside the packages that this Python has: two commands, a minute
    python tools/try_wheel.py             # in a fresh environment, with the newest versions that pip finds
    python tools/try_wheel.py --oldest    # in a fresh environment, with the oldest that pyproject.toml allows

A fresh environment needs the network and some 6 GB; nothing of it is kept.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SMALL = ("--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.limit_val_batches", "1",
         "--data.batch_size", "4", "--data.num_workers", "0", "--trainer.enable_progress_bar", "false")  # fmt: skip
COMMANDS = (
    ("--help",),
    ("fit", "-c", "v3plus", *SMALL),
    ("validate", "--ckpt_path", "runs/v3plus", "--trainer.limit_val_batches", "1", "--data.num_workers", "0"),
    ("fit", "-c", "paper/v3plus_resnet101_voc", "--print_config"),
    ("ablate", "ablations/drawn_scenes", "--dry_run"),
)
OLDEST = re.compile(r'"([A-Za-z0-9-]+)(?:\[[a-z]+\])?>=([0-9.]+)')


def main() -> None:
    """Build, install, run; leave with the code of what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="Use the packages that this Python has.")
    how.add_argument("--oldest", action="store_true", help="Install the oldest versions that are allowed.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = build(place, isolated=not given.quick)
        environment = dict(os.environ)
        if given.quick:
            run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place / "site", wheel)
            environment["PYTHONPATH"] = str(place / "site")
            program: tuple[str | Path, ...] = (sys.executable, place / "site" / "bin" / "deeplab-lightning")
        else:
            run(sys.executable, "-m", "venv", place / "venv")
            python = place / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
            oldest = oldest_versions(python) if given.oldest else []
            run(python, "-m", "pip", "install", "--quiet", wheel, *oldest)
            program = (python.with_name("deeplab-lightning"),)
        empty = place / "empty"
        empty.mkdir()
        for words in COMMANDS[:2] if given.quick else COMMANDS:
            run(*program, *words, where=empty, environment=environment)
        found = subprocess.run(
            [program[0] if given.quick else python, "-c", "import deeplab_lightning as one; print(one.__file__)"],
            cwd=empty, env=environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        if str(place) not in found:
            sys.exit(f"The package that ran was not the wheel's, but {found.strip()}.")
    print("The wheel works in an empty folder.")


def build(place: Path, isolated: bool) -> Path:
    """Return the wheel, built from the files that git knows of, so that nothing else can be in it."""
    source = place / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((REPOSITORY / name).read_bytes())
    more = () if isolated else ("--no-build-isolation",)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *more, "-w", place, source)
    return next(place.glob("*.whl"))


def oldest_versions(python: Path) -> list[str]:
    """Return pins of the lowest versions that pyproject.toml's `dependencies` allow, of those that pip finds."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    pins = []
    for name, least in OLDEST.findall(dependencies):
        listed = subprocess.run(
            [python, "-m", "pip", "index", "versions", name], capture_output=True, text=True, check=True
        ).stdout.partition("Available versions: ")[2].splitlines()[0]  # fmt: skip
        known = [version for version in listed.split(", ") if re.fullmatch(r"[0-9.]+", version)]
        pins.append(f"{name}=={min((one for one in known if numbers(one) >= numbers(least)), key=numbers)}")
    print("the oldest:", *pins, flush=True)
    return pins


def numbers(version: str) -> tuple[int, ...]:
    """Return what versions are compared by; 2.6 and 2.6.0 are one."""
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", version).split("."))


def run(*words: str | Path, where: Path = REPOSITORY, environment: dict[str, str] | None = None) -> None:
    """Run a program; leave with its code if it fails."""
    print("$", *words, flush=True)
    done = subprocess.run([str(word) for word in words], cwd=where, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"exit code {done.returncode}")


if __name__ == "__main__":
    main()
