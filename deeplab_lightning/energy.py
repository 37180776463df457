"""How much energy this machine uses meanwhile: what processors and GPUs say of themselves.

Linux's RAPL counters (`/sys/class/powercap`) tell of whole processor packages, and `nvidia-smi` of whole GPUs: whatever
else runs on them is in the figure, memory on the board, fans and losses in the power supply are not. Many systems let
only root read RAPL, and most virtual machines have none; what cannot be read is None, never an estimate.
"""

from __future__ import annotations

import subprocess
import threading
import time
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
    """Measures from `start` to `stop`, in a thread that sleeps nearly all the time.

    Args:
        gpus: What `nvidia-smi --id` calls the GPUs to be measured: numbers or UUIDs.
        powercap: Where the processor's counters are.
        nvidia_smi: The program.
    """

    def __init__(
        self, gpus: Sequence[str] = (), powercap: Path = POWERCAP, nvidia_smi: Sequence[str] = ("nvidia-smi",)
    ) -> None:
        self._cpu = [counter for path in sorted(powercap.glob("intel-rapl:*")) if (counter := _Counter.open(path))]
        self._gpus, self._nvidia_smi = list(gpus), list(nvidia_smi)
        self._gpu_joules: float | None = None
        self._program: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        if self._cpu:
            self._threads.append(threading.Thread(target=self._read_cpu, daemon=True))
        if self._gpus:
            with suppress(OSError):
                self._program = subprocess.Popen(
                    [
                        *self._nvidia_smi,
                        f"--id={','.join(self._gpus)}",
                        "--query-gpu=power.draw",
                        "--format=csv,noheader,nounits",
                        f"--loop={SECONDS_BETWEEN_READINGS // 2}",
                    ],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,  # Ctrl-C is for the training
                )
                self._threads.append(threading.Thread(target=self._read_gpus, daemon=True))
        for thread in self._threads:
            thread.start()

    def read(self) -> Energy:
        """Return what was used so far."""
        for counter in self._cpu:
            counter.read()
        cpu = sum(counter.joules for counter in self._cpu) if self._cpu else None
        return Energy(cpu, self._gpu_joules)

    def stop(self) -> Energy:
        """End, and return what was used."""
        found = self.read()
        self._stopped.set()
        if self._program is not None:
            self._program.kill()
            self._program.wait()
        for thread in self._threads:
            thread.join(timeout=1)
        return found

    def _read_cpu(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_READINGS):
            for counter in self._cpu:
                counter.read()

    def _read_gpus(self) -> None:
        """Add power times time: a line for each GPU and reading, each GPU drawing its power until its next line."""
        assert self._program is not None
        assert self._program.stdout is not None
        began = [time.monotonic()] * len(self._gpus)
        for number, line in enumerate(self._program.stdout):
            try:
                watts = float(line)
            except ValueError:  # [N/A], or an error in words
                self._gpu_joules = None
                return
            gpu, now = number % len(self._gpus), time.monotonic()
            self._gpu_joules = (self._gpu_joules or 0.0) + watts * (now - began[gpu])
            began[gpu] = now


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
