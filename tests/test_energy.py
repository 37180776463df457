"""Energy, from counters and a program made for the test: overflow, parts of packages, and what cannot be read."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from deeplab_lightning.energy import EnergyMeter


def counter(root: Path, name: str, value: int, largest: int = 999_999_999) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    (folder / "energy_uj").write_text(f"{value}\n")
    return folder / "energy_uj"


def test_packages_are_added_their_parts_are_not(tmp_path: Path) -> None:
    first = counter(tmp_path, "intel-rapl:0", 5_000_000)
    second = counter(tmp_path, "intel-rapl:1", 0)
    counter(tmp_path, "intel-rapl:0:0", 77)
    meter = EnergyMeter(powercap=tmp_path)
    meter.start()
    first.write_text("8000000")
    second.write_text("250000")
    assert meter.read().cpu_joules == pytest.approx(3.25)
    first.write_text("9000000")
    assert meter.stop() == (pytest.approx(4.25), None)


def test_a_counter_that_begins_again(tmp_path: Path) -> None:
    path = counter(tmp_path, "intel-rapl:0", 999_000_000)
    meter = EnergyMeter(powercap=tmp_path)
    path.write_text("500000")
    assert meter.stop().cpu_joules == pytest.approx(1.5)


def test_unknown_is_not_zero(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()  # without a counter that may be read
    meter = EnergyMeter(["0"], powercap=tmp_path, nvidia_smi=[str(tmp_path / "no-such-program")])
    meter.start()
    assert meter.stop() == (None, None)


def program(folder: Path, body: str) -> list[str]:
    path = folder / "smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return [str(path)]


def test_gpus_draw_power_over_time(tmp_path: Path) -> None:
    smi = program(tmp_path, "echo 0; echo 0; sleep 0.3; echo 100; echo 300; exec sleep 30")
    meter = EnergyMeter(["GPU-a", "GPU-b"], powercap=tmp_path, nvidia_smi=smi)
    meter.start()
    until = time.monotonic() + 10
    while (meter.read().gpu_joules or 0) < 1 and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.05)
    joules = meter.stop().gpu_joules
    assert joules is not None
    assert 400 * 0.28 < joules < 400 * 8


def test_a_gpu_that_does_not_tell(tmp_path: Path) -> None:
    meter = EnergyMeter(["0"], powercap=tmp_path, nvidia_smi=program(tmp_path, "echo '[N/A]'; exec sleep 30"))
    meter.start()
    time.sleep(0.2)
    assert meter.stop().gpu_joules is None
