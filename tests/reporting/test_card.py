"""The reproducibility card: what it says of code and machine, and what it finds different."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.errors import DataError
from deeplab_lightning.reporting import card
from deeplab_lightning.runs import RunFolder


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit; its package is in `code/`."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    source = tmp_path / "checkout" / "code"
    source.mkdir(parents=True)
    git(source.parent, "init", "-q")
    (source / "module.py").write_text("rate = 1\n")
    git(source.parent, "add", ".")
    git(source.parent, "commit", "-q", "-m", "x")
    return source


def test_versions_machine_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/deeplab-lightning", "fit", "--name", "two words"])
    found = card.environment(seed=7, gpus=["Tesla K80", "Tesla K80"])
    assert found["seed"] == 7
    assert found["command"] == "deeplab-lightning fit --name 'two words'"
    assert found["packages"]["numpy"] == np.__version__
    assert {"torch", "lightning", "timm", "torchmetrics", "albumentations", "opencv"} <= found["packages"].keys()
    assert found["packages"]["opencv"]
    assert found["python"] == sys.version.split()[0]
    assert found["cpu"]
    assert found["cpu_cores"] >= 1
    assert (found["gpu"], len(found["gpus"])) == ("Tesla K80", 2)
    monkeypatch.setattr(sys, "argv", ["/x/deeplab_lightning/__main__.py", "fit"])
    assert card.environment(seed=None)["command"] == "python -m deeplab_lightning fit"


def test_outside_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = card.environment(None, source=tmp_path)
    assert (found["git_commit"], found["git_dirty"], found["git_diff"]) == (None, None, None)


def test_an_installed_package_is_not_part_of_the_checkout_around_it(checkout: Path) -> None:
    (checkout.parent / ".gitignore").write_text("venv\n")
    installed = checkout.parent / "venv" / "code"
    installed.mkdir(parents=True)
    (installed / "module.py").write_text("rate = 1\n")
    assert card.code_state(installed).commit is None
    assert card.code_state(checkout).commit == git(checkout, "rev-parse", "HEAD")


def test_what_differs_from_the_commit_is_kept_and_can_be_applied(checkout: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    clean = card.environment(None, source=checkout)
    card.write_code_diff(run, checkout)
    assert clean["git_dirty"] is False
    assert not run.code_diff.exists()

    (checkout / "module.py").write_text("rate = 2\n")
    (checkout / "new.py").write_text("")
    (checkout / "notes.txt").write_text("no source")
    dirty = card.environment(None, source=checkout)
    card.write_code_diff(run, checkout)
    assert dirty["git_dirty"] is True
    assert dirty["git_untracked"] == ["new.py"]
    assert dirty["git_diff"] != clean["git_diff"]
    git(checkout, "checkout", "-q", "module.py")
    git(checkout.parent, "apply", str(run.code_diff))
    assert (checkout / "module.py").read_text() == "rate = 2\n"


def test_differences_name_what_changed_and_nothing_else() -> None:
    then = card.environment(seed=0) | {"data": {"val": {"images": 5, "files": "aa", "masks": "bb"}}, "weights": "cc"}
    now = json.loads(json.dumps(then))
    assert card.differences(then, now) == []
    now["packages"]["torch"] = "99.0"
    now["data"]["val"]["masks"] = "dd"
    now |= {"date": "later", "command": "other", "weights": None}
    assert {(found.what, found.now) for found in card.differences(then, now)} == {
        ("package torch", "99.0"),
        ("data val masks", "dd"),
        ("weights", "None"),
    }


def test_an_old_card_is_compared_by_what_it_has() -> None:
    assert card.differences({"python": "2.7"}, card.environment(0))[0].what == "python"
    assert card.wall_seconds({"python": "2.7"}) is None
    assert card.describe_energy({}) == "processor unknown"


def test_stretches_add_up_and_unknown_energy_stays_unknown() -> None:
    found = card.environment(0, ["GPU"])
    for step, cpu in ((0, 10.0), (20, 32.5)):
        session = card.begin_session(found, step)
        session |= {"to_step": step + 20, "seconds": 1.5, "energy_joules": {"cpu": cpu, "gpu": None}}
        found["sessions"][-1] = session
    assert card.wall_seconds(found) == 3.0
    assert card.energy_joules(found) == {"cpu": 42.5, "gpu": None}
    assert card.describe_energy(found) == "processor 0.0 kJ, GPU unknown"


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"environment\.json cannot be read"):
        card.read_card(RunFolder(tmp_path))
    (tmp_path / "environment.json").write_text("[]")
    with pytest.raises(DataError, match="holds list"):
        card.read_card(RunFolder(tmp_path))
