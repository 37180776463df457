"""The program's front door: quick, light, and helpful about names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deeplab_lightning.__main__ import COMMANDS, main, summary

HEAVY = ("torch", "lightning", "timm", "albumentations", "wandb", "matplotlib", "numpy")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["ablate", "--help"], ["sweep", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "LOADED []"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed and summary(name) in printed for name in COMMANDS)


def test_importing_the_package_is_light() -> None:
    code = f"import sys, deeplab_lightning; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validat"]) == 2
    assert "Unknown command 'validat'. Did you mean 'validate'?" in capsys.readouterr().err


def test_no_command_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().out
