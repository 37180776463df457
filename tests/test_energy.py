"""Energy, from counters made for the test: overflow, parts of packages, several GPUs, and what cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

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


class NVMLError(Exception):
    """What NVML's functions raise."""


class FakeNvml(ModuleType):
    """Stands for `pynvml`.

    Attributes:
        millijoules: Counter of each GPU by its UUID; None for one that has none.
        open: How often the library is initialised and not yet shut down.
    """

    NVMLError = NVMLError

    def __init__(self, millijoules: dict[str, int | None], has_driver: bool = True) -> None:
        super().__init__("pynvml")
        self.millijoules, self.has_driver, self.open = millijoules, has_driver, 0

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        if not self.has_driver:
            raise NVMLError("NVML Shared Library Not Found")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        assert self.open > 0
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        assert self.open
        if uuid not in self.millijoules:
            raise NVMLError("Not Found")
        return f"handle of {uuid}"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        found = self.millijoules[handle.removeprefix("handle of ")]
        if found is None:
            raise NVMLError("Not Supported")
        return found


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml({"GPU-a": 5_000_000, "GPU-b": 700_000, "GPU-c": 1, "GPU-old": None})
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_gpus_are_added_those_of_others_are_not(tmp_path: Path, nvml: FakeNvml) -> None:
    meter = EnergyMeter(["GPU-a", "GPU-b"], powercap=tmp_path)
    nvml.millijoules.update({"GPU-a": 5_001_500, "GPU-c": 9_000_000})
    assert meter.read() == (None, pytest.approx(1.5))
    nvml.millijoules["GPU-b"] = 700_250
    assert meter.stop() == (None, pytest.approx(1.75))
    assert nvml.open == 0


@pytest.mark.parametrize("gpus", [["GPU-old"], ["GPU-a", "GPU-old"], ["GPU-gone"], []])
def test_a_gpu_that_does_not_tell(tmp_path: Path, nvml: FakeNvml, gpus: list[str]) -> None:
    path = counter(tmp_path, "intel-rapl:0", 0)
    meter = EnergyMeter(gpus, powercap=tmp_path)
    path.write_text("2000000")
    assert meter.read() == meter.stop() == (pytest.approx(2), None)
    assert nvml.open == 0


def test_a_gpu_that_is_lost_on_the_way(tmp_path: Path, nvml: FakeNvml) -> None:
    meter = EnergyMeter(["GPU-a"], powercap=tmp_path)
    nvml.millijoules["GPU-a"] = None
    assert meter.stop().gpu_joules is None


@pytest.mark.parametrize("is_installed", [True, False])
def test_unknown_is_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool) -> None:
    """No driver, or no library at all; and a processor without a counter that may be read."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml({}, has_driver=False) if is_installed else None)
    (tmp_path / "intel-rapl:0").mkdir()
    meter = EnergyMeter(["GPU-a"], powercap=tmp_path)
    assert meter.stop() == (None, None)


def test_the_library_has_what_is_called() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = [name for name in vars(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert len(names) == 5
    assert [name for name in names if not hasattr(pynvml, name)] == []
