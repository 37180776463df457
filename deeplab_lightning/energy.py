"""How much energy this machine uses meanwhile: what processors and GPUs say of themselves.

Linux's RAPL counters (`/sys/class/powercap`) tell of whole processor packages, and NVIDIA's management library (NVML)
of whole GPUs from Volta on: whatever else runs on them is in the figure, memory on the board, fans and losses in the
power supply are not. Many systems let only root read RAPL, and most virtual machines have none; what cannot be read is
None, never an estimate.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

POWERCAP = Path("/sys/class/powercap")
SECONDS_BETWEEN_READINGS = 10
"""A RAPL counter of 32 bits overflows after some minutes at full load, so that it must be read now and then."""


class Energy(NamedTuple):
    """Joules used; None where the machine does not tell."""

    cpu_joules: float | None
    gpu_joules: float | None


class EnergyMeter:
    """Measures from its making to `stop`, with a thread that sleeps nearly all the time.

    Args:
        gpus: UUIDs of the GPUs to be measured.
        powercap: Where the processor's counters are.
    """

    def __init__(self, gpus: Sequence[str] = (), powercap: Path = POWERCAP) -> None:
        self._cpu = [counter for path in sorted(powercap.glob("intel-rapl:*")) if (counter := _Counter.open(path))]
        self._gpus = list(gpus)
        self._gpu_before = _gpu_joules(self._gpus)
        self._stopped = threading.Event()
        if self._cpu:
            threading.Thread(target=self._read_cpu, daemon=True).start()

    def read(self) -> Energy:
        """Return what was used so far."""
        for counter in self._cpu:
            counter.read()
        gpu = None if self._gpu_before is None else _gpu_joules(self._gpus)
        return Energy(
            sum(counter.joules for counter in self._cpu) if self._cpu else None,
            None if gpu is None or self._gpu_before is None else gpu - self._gpu_before,
        )

    def stop(self) -> Energy:
        """End, and return what was used."""
        found = self.read()
        self._stopped.set()
        return found

    def _read_cpu(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_READINGS):
            for counter in self._cpu:
                counter.read()


def _gpu_joules(uuids: Sequence[str]) -> float | None:
    """Return what GPUs have used since their driver was loaded.

    Returns:
        Their sum; None if one does not count (older than Volta, or a part of a GPU), and without GPUs or a driver.
    """
    if not uuids:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
            return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
        finally:
            pynvml.nvmlShutdown()
    return None


class _Counter:
    """A RAPL counter of microjoules that begins again at zero when it overflows."""

    def __init__(self, path: Path, largest: int) -> None:
        self._path, self._largest = path, largest
        self._last = int(path.read_text())
        self._lock = threading.Lock()
        self.joules = 0.0

    @classmethod
    def open(cls, folder: Path) -> _Counter | None:
        """Return a package's counter; None for parts of packages, which are in it, and where it may not be read."""
        if folder.name.count(":") != 1:
            return None
        try:
            return cls(folder / "energy_uj", int((folder / "max_energy_range_uj").read_text()))
        except (OSError, ValueError):
            return None

    def read(self) -> None:
        with self._lock, suppress(OSError, ValueError):
            now = int(self._path.read_text())
            self.joules += ((now - self._last) % (self._largest + 1)) / 1e6
            self._last = now
