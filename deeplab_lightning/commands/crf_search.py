"""`crf-search`: find the dense CRF's parameters on part of the validation split, coarse to fine."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from ..files import atomic_open
from .inspect import split_arguments

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.datasets.base import SegmentationDataset
    from ..inference import Predictor
    from ..inference.crf import CRFOptions

COARSE = {"w1": (3.0, 4.0, 5.0, 6.0), "sigma_alpha": (30.0, 50.0, 70.0, 100.0), "sigma_beta": (3.0, 4.0, 6.0, 10.0)}
"""The span of the papers' first grids (v1: w1 5..10 from 50..100 px and 3..10 levels; v2: 3..6, 30..100, 3..6)."""
FINE_STEPS = {"w1": (1.0, 0.5), "sigma_alpha": (10.0, 5.0), "sigma_beta": (1.0, 0.5)}
"""Distances from the best so far at which its neighbours are tried, coarse to fine."""
LEAST = {"w1": 0.5, "sigma_alpha": 5.0, "sigma_beta": 0.5}

Point = tuple[float, ...]
"""w1, sigma_alpha, sigma_beta."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning crf-search",
        description="Find w1, sigma_alpha and sigma_beta of the dense CRF on images of the validation split, as the "
        "papers of DeepLab v1 and v2 do: a coarse grid, then finer steps around the best. A search that was stopped "
        "goes on where it was.",
        epilog="-c FILE.yaml and --data.option are those of validate, such as -c configs/data/voc.yaml.",
        allow_abbrev=False,
    )
    parser.add_argument("--ckpt_path", required=True, help="checkpoint, or a run such as runs/v1 (its best one)")
    parser.add_argument("--images", type=int, default=100, help="spread evenly over the split (%(default)s)")
    parser.add_argument("--w2", type=float, default=3.0, help="weight of the Gaussian kernel, fixed (%(default)s)")
    parser.add_argument("--sigma_gamma", type=float, default=3.0, help="its reach in pixels, fixed (%(default)s)")
    parser.add_argument("--iterations", type=int, default=10, help="of mean field (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("crf-search"), help="folder for the results (%(default)s)")
    own, configuration = split_arguments(arguments)
    options = parser.parse_args(own)
    if options.images < 1:
        raise ConfigError(f"--images is {options.images}; expected 1 or more.")
    return crf_search(
        configuration,
        options.ckpt_path,
        options.output,
        options.images,
        {"iterations": options.iterations, "w2": options.w2, "sigma_gamma": options.sigma_gamma},
    )


def crf_search(configuration: Sequence[str], ckpt_path: str, output: Path, images: int, fixed: dict[str, Any]) -> int:
    """Search, print the table, and write `scores.json` (all that was tried) and `best.json` (the options) to `output`.

    Args:
        configuration: `-c`, `--model.x` and `--data.x` as given to `validate`.
        ckpt_path: Checkpoint or run.
        output: Also keeps the network's probabilities, as float16, until the search is done.
        images: How many of the validation split.
        fixed: The other fields of `CRFOptions`.

    Returns:
        0.
    """
    import torch

    from ..configured import ConfiguredModel
    from ..data.splitting import spread
    from ..inference.crf import CRFOptions

    base = CRFOptions(**fixed)
    configured = ConfiguredModel(list(configuration), ckpt_path, on_paper=False)
    dataset = configured.dataset("val")
    chosen = spread(len(dataset), images)
    subject = {
        "checkpoint": str(configured.checkpoint_path),
        "arguments": list(configuration),
        "images": [dataset.sample_id(index) for index in chosen],
        "fixed": fixed,
    }
    tried = Tried(output / "scores.json", subject)
    task = configured.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    subset = ProbabilityCache(task.predictor(network=task.folded()), dataset, chosen, output / "probs", task.device)

    without = tried.score(None, lambda: subset.score(None))
    print(f"{len(chosen)} images, without CRF: mIoU {without:.4f}")
    best = search(lambda point: tried.score(point, lambda: subset.score(options_at(base, point))))
    print(table(tried.scores))
    found = asdict(options_at(base, best)) | {"mIoU": tried.scores[best], "mIoU_without": without}
    with atomic_open(output / "best.json") as file:
        file.write(json.dumps(found, indent=2).encode())
    subset.forget()
    print(f"{options_at(base, best)}: mIoU {tried.scores[best]:.4f} ({tried.scores[best] - without:+.4f})")
    print(f"best: {output}/best.json")
    return 0


def options_at(base: CRFOptions, point: Point) -> CRFOptions:
    """Return `base` with `w1`, `sigma_alpha` and `sigma_beta` of `point`."""
    w1, sigma_alpha, sigma_beta = point
    return replace(base, w1=w1, sigma_alpha=sigma_alpha, sigma_beta=sigma_beta)


def search(score: Callable[[Point], float]) -> Point:
    """Score a coarse grid, then climb from its best in finer and finer steps; of equals the first is the best.

    Args:
        score: The value to maximise, at `(w1, sigma_alpha, sigma_beta)`.
    """
    points = list(itertools.product(*COARSE.values()))
    best = _best(score, "coarse", points[0], points)
    for level in range(len(FINE_STEPS["w1"])):
        while True:
            better = _best(score, f"step {level + 1}", best, neighbours(best, level))
            if better == best:
                break
            best = better
    return best


def neighbours(point: Point, level: int) -> list[Point]:
    """Return the points one step from `point` along each parameter."""
    return [
        (*point[:position], value, *point[position + 1 :])
        for position, (name, steps) in enumerate(FINE_STEPS.items())
        for value in (point[position] - steps[level], point[position] + steps[level])
        if value >= LEAST[name]
    ]


def _best(score: Callable[[Point], float], stage: str, best: Point, points: Sequence[Point]) -> Point:
    """Score `points`, telling how it goes, and return the best of them and `best`."""
    highest, started = score(best), time.monotonic()
    for done, point in enumerate(points):
        value = score(point)
        if value > highest:
            best, highest = point, value
        to_go = (time.monotonic() - started) / (done + 1) * (len(points) - done - 1)
        print(
            f"{stage} {done + 1}/{len(points)}: w1 {point[0]:g}, sigma_alpha {point[1]:g}, sigma_beta {point[2]:g}: "
            f"mIoU {value:.4f} (best {highest:.4f}; {to_go / 60:.0f} min to go)",
            file=sys.stderr,
            flush=True,
        )
    return best


def table(scores: dict[Point | None, float], rows: int = 10) -> str:
    """Return the best of what was tried, best first."""
    ranked = sorted(((point, score) for point, score in scores.items() if point), key=lambda entry: -entry[1])
    lines = [f"{'w1':>6}{'sigma_alpha':>13}{'sigma_beta':>12}{'mIoU':>9}"]
    lines += [f"{w1:>6g}{alpha:>13g}{beta:>12g}{score:>9.4f}" for (w1, alpha, beta), score in ranked[:rows]]
    return "\n".join(lines)


class Tried:
    """What was scored so far, kept in a file so that a search that was stopped goes on.

    Args:
        path: The file.
        subject: What is scored: another subject's scores are of no use.

    Raises:
        ConfigError: The file is of another search.
        DataError: It cannot be read or written.
    """

    def __init__(self, path: Path, subject: dict[str, Any]) -> None:
        self.path = path
        self.subject = subject
        self.scores: dict[Point | None, float] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        except (OSError, ValueError) as error:
            raise DataError(f"Cannot use {path} ({error}): choose another folder with --output.") from error
        if kept is not None:
            if kept["subject"] != subject:
                raise ConfigError(
                    f"{path} holds a search with another checkpoint, data, images or fixed parameters: choose "
                    f"another folder with --output, or delete {path.parent}."
                )
            self.scores = {tuple(point) if point else None: score for point, score in kept["scores"]}

    def score(self, point: Point | None, evaluate: Callable[[], float]) -> float:
        """Return the score at `point`, computed if it is not known."""
        if point not in self.scores:
            self.scores[point] = evaluate()
            with atomic_open(self.path) as file:
                file.write(json.dumps({"subject": self.subject, "scores": list(self.scores.items())}).encode())
        return self.scores[point]


class ProbabilityCache:
    """Images with the network's probabilities, which are computed once and kept on disk as float16.

    Args:
        predictor: Gives the probabilities.
        dataset: The split.
        chosen: Which of its images.
        folder: For the probabilities: `C * H * W * 2` bytes an image.
        device: Where the CRF is to run.
    """

    def __init__(
        self, predictor: Predictor, dataset: SegmentationDataset, chosen: Sequence[int], folder: Path, device: Any
    ) -> None:
        self.predictor, self.dataset, self.chosen = predictor, dataset, chosen
        self.folder, self.device = folder, device
        folder.mkdir(exist_ok=True)

    def score(self, options: CRFOptions | None) -> float:
        """Return the mIoU over all images behind a CRF, or without one."""
        import torch

        from ..inference import most_likely
        from ..inference.crf import DenseCRF
        from ..metrics.segmentation import SegmentationScores

        labels = self.dataset.labels
        evaluation = SegmentationScores(labels.class_names, labels.ignore_index)
        for index in self.chosen:
            stored, mask = self.dataset.load(index)
            image = torch.from_numpy(stored.transpose(2, 0, 1).copy()).to(self.device)[None]
            probs = self._probs(index, image)
            marginals = probs if options is None else DenseCRF(options)(probs, image)
            evaluation.update(most_likely(marginals)[0].cpu(), torch.from_numpy(mask), self.dataset.sample_id(index))
        return evaluation.scores().mIoU

    def forget(self) -> None:
        """Delete the probabilities."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _probs(self, index: int, image: Tensor) -> Tensor:
        import numpy as np
        import torch

        path = self.folder / f"{index}.npy"
        if not path.exists():
            probs = self.predictor.probs(image).half().cpu().numpy()
            with atomic_open(path) as file:
                np.save(file, probs)
        return torch.from_numpy(np.load(path)).to(self.device).float()
