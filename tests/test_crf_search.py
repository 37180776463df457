"""`crf-search`: what it tries, that it finds the best, goes on where it was, and its errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands import crf_search
from deeplab_lightning.commands.crf_search import COARSE, Point, neighbours, search
from deeplab_lightning.inference.crf import CRFOptions

from .test_main import HEAVY, run_python


def hill(*top: float) -> Callable[[Point], float]:
    return lambda point: -sum(abs(value - peak) for value, peak in zip(point, top, strict=True))


@pytest.mark.parametrize("top", [(4.5, 65.0, 4.5), (7.0, 30.0, 3.0), (3.0, 100.0, 11.5)])
def test_the_search_finds_the_top_of_a_hill(top: Point) -> None:
    assert search(hill(*top)) == top


def test_the_search_stays_above_zero() -> None:
    best = search(hill(-5, -5, -5))
    assert best == (0.5, 5.0, 0.5)
    assert all(min(point) > 0 for point in neighbours(best, 1))


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, values in {"w1": (4.0,), "sigma_alpha": (30.0, 60.0), "sigma_beta": (5.0,)}.items():
        monkeypatch.setitem(COARSE, name, values)
    for name, step in {"w1": 1.0, "sigma_alpha": 10.0, "sigma_beta": 1.0}.items():
        monkeypatch.setitem(crf_search.FINE_STEPS, name, (step,))


@pytest.mark.usefixtures("small_grid")
def test_a_search_and_its_continuation(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "search"
    command = ["crf-search", "--ckpt_path", str(checkpoint), "--images", "1", "--output", str(output)]
    command += ["--iterations", "2"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "1 images, without CRF: mIoU" in printed.out
    assert "coarse 1/2: w1 4, sigma_alpha 30, sigma_beta 5: mIoU" in printed.err
    best = json.loads((output / "best.json").read_text())
    score, without = best.pop("mIoU"), best.pop("mIoU_without")
    assert CRFOptions(**best).iterations == 2
    assert (best["w2"], best["sigma_gamma"]) == (3, 3)
    kept = json.loads((output / "scores.json").read_text())["scores"]
    assert score == max(value for point, value in kept if point)
    assert [value for point, value in kept if not point] == [without]
    assert not (output / "probs").exists()

    monkeypatch.setattr(crf_search.ProbabilityCache, "score", None)  # nothing is computed again
    assert main(command) == 0
    assert json.loads((output / "best.json").read_text())["mIoU"] == score
    assert main([*command, "--w2", "1"]) == 2
    assert "another checkpoint, data, images or fixed parameters" in capsys.readouterr().err


@pytest.mark.usefixtures("small_grid")
def test_a_search_is_of_what_a_checkpoint_holds_not_of_its_path(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training on rewrites best.ckpt in place, and a configuration is edited: neither may meet the old scores."""
    own, data = tmp_path / "own.ckpt", tmp_path / "data.yaml"
    shutil.copy(checkpoint, own)
    data.write_text("data: {name: DrawnScenes, height: 64, width: 80, val_size: 5}")
    command = ["crf-search", "--ckpt_path", str(own), "-c", str(data), "--images", "1", "--iterations", "1"]
    command += ["--output", str(tmp_path / "search")]

    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(crf_search.ProbabilityCache, "score", stop)
        with pytest.raises(KeyboardInterrupt):
            main(command)  # before the first score: probabilities may lie there by now
    trained_on = torch.load(own, weights_only=True)
    trained_on["state_dict"]["model.classifier.weight"] += 0.1
    torch.save(trained_on, own)
    assert main(command) == 2
    assert "another checkpoint, data, images or fixed parameters" in capsys.readouterr().err
    shutil.copy(checkpoint, own)
    assert main(command) == 0
    data.write_text("data: {name: DrawnScenes, height: 64, width: 96, val_size: 5}")
    assert main(command) == 2


def test_without_a_crf_the_score_is_that_of_validate(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crf_search, "search", lambda score: score((4.0, 30.0, 5.0)) and (4.0, 30.0, 5.0))
    runs = tmp_path / "runs"
    assert main(["validate", "--ckpt_path", str(checkpoint), "--run.folder", str(runs), "--run.name", "whole"]) == 0
    validated = next(runs.rglob("metrics.csv")).read_text().splitlines()
    expected = float(dict(zip(validated[0].split(","), validated[-1].split(","), strict=True))["val/mIoU"])
    output = tmp_path / "search"
    assert main(["crf-search", "--ckpt_path", str(checkpoint), "--iterations", "1", "--output", str(output)]) == 0
    assert json.loads((output / "best.json").read_text())["mIoU_without"] == pytest.approx(expected, abs=1e-3)


def test_errors(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crf-search", "--ckpt_path", str(checkpoint), "--images", "0"]) == 2
    assert "expected 1 or more" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["crf-search", "--ckpt_path", str(checkpoint), "--output", str(tmp_path / "file" / "x")]) == 2
    assert "Choose another folder with --output" in capsys.readouterr().err


def test_help_is_light() -> None:
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        "try:\n    main(['crf-search', '--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "LOADED []"
