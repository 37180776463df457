"""Pin all that this package and its tests need, each file by its hash: `make lock` writes requirements.lock.

pip itself resolves and says what it would install, so that the pins are for the Python and the platform that it runs
on. Installed by `make locked`, nothing else can take a package's place: no later release, and no other file under the
same version.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WANTED = (".[test]", "setuptools>=77")
"""setuptools builds the package itself, without fetching another one."""


def pins(report: dict[str, Any]) -> Iterator[str]:
    """Return a line for each package of pip's report, but for the one that lies here."""
    for entry in sorted(report["install"], key=lambda entry: entry["metadata"]["name"].lower()):
        found = entry["download_info"]
        if "dir_info" in found:
            continue
        name, version = entry["metadata"]["name"], entry["metadata"]["version"]
        digest = found["archive_info"]["hashes"]["sha256"]
        yield f"{name}=={version} --hash=sha256:{digest}"


def main() -> int:
    """Print the pins."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        done = subprocess.run([*command, "--report", str(path), *WANTED], check=False)
        if done.returncode != 0:
            return done.returncode
        report = json.loads(path.read_text(encoding="utf-8"))
    where = report["environment"]
    print(f"# Made by `make lock` for Python {where['python_version']} on {where['sys_platform']}, "
          f"{where['platform_machine']}; `make locked` installs it.")  # fmt: skip
    print("\n".join(pins(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
