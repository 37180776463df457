"""`crf-search`: find the dense CRF's parameters on part of the validation split, coarse to fine."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..command_line import ConfigurationWords
from ..errors import ConfigError, of_image
from ..files import atomic_open, write_json, writing
from ..ledger import Ledger
from ..options import Written, above, at_least
from .identity import identity

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.dataset import SegmentationDataset
    from ..inference.crf import CRFOptions
    from ..inference.predictor import Predictor

COARSE = {"w1": (3.0, 4.0, 5.0, 6.0), "sigma_alpha": (30.0, 50.0, 70.0, 100.0), "sigma_beta": (3.0, 4.0, 6.0, 10.0)}
"""The span of the papers' first grids (v1: w1 5..10 from 50..100 px and 3..10 levels; v2: 3..6, 30..100, 3..6)."""
FINE_STEPS = {"w1": (1.0, 0.5), "sigma_alpha": (10.0, 5.0), "sigma_beta": (1.0, 0.5)}
"""Distances from the best so far at which its neighbours are tried, coarse to fine."""
LEAST = {"w1": 0.5, "sigma_alpha": 5.0, "sigma_beta": 0.5}

SCORES = "scores"
"""The entry of the search's folder that holds what was tried."""

Point = tuple[float, ...]
"""w1, sigma_alpha, sigma_beta."""


def crf_search(
    *,
    ckpt_path: str,
    configuration: ConfigurationWords = (),
    images: Annotated[int, at_least(1)] = 100,
    w2: Annotated[float, at_least(0)] = 3.0,
    sigma_gamma: Annotated[float, above(0, near=3), Written(metavar="PIXELS")] = 3.0,
    iterations: Annotated[int, at_least(0)] = 10,
    output: Path = Path("crf-search"),
) -> int:
    """Find the dense CRF's parameters, coarse to fine.

    Finds w1, sigma_alpha and sigma_beta on images of the validation split, as the papers of DeepLab v1 and v2 do: a
    coarse grid, then finer steps around the best. A search that was stopped goes on where it was. Writes the best
    parameters and all scores.

    Args:
        ckpt_path: Checkpoint, or a run such as runs/v1, of which the best checkpoint is taken.
        configuration: -c FILE.yaml and --data.option are those of validate, such as -c configs/data/voc.yaml.
        images: Images that are scored, spread evenly over the split.
        w2: Weight of the Gaussian kernel, which stays fixed.
        sigma_gamma: Reach of the Gaussian kernel in pixels, which stays fixed.
        iterations: Iterations of mean field.
        output: Folder for the results; it also keeps the network's probabilities, as float16, until the search is done.

    Returns:
        0.

    Raises:
        ConfigError: The folder holds another search, or a parameter cannot be used.
        DataError: The results cannot be written.
    """
    import torch

    from ..config import Configuration
    from ..data.fingerprint import exact_fingerprint
    from ..data.spacing import spread
    from ..inference.options import CRFOptions
    from ..tasks.precision import expect_full_precision

    expect_full_precision(configuration, "crf-search")
    fixed: dict[str, Any] = {"iterations": iterations, "w2": w2, "sigma_gamma": sigma_gamma}
    base = CRFOptions(**fixed)
    configured = Configuration(configuration, ckpt_path)
    dataset = configured.datamodule().dataset("val")
    chosen = spread(len(dataset), images)
    task = configured.trained_task().eval().to("cuda" if torch.cuda.is_available() else "cpu")
    views = configured.evaluation.replaced(crf=None)
    subject = identity(task, exact_fingerprint(dataset, chosen)) | {"views": views.words(), "fixed": fixed}
    tried = Tried(output, subject)
    subset = ProbabilityCache(task.predictor(views, task.folded()), dataset, chosen, output / "probs", task.device)

    without = tried.score(None, lambda: subset.score(None))
    print(f"{len(chosen)} images, without CRF: mIoU {without:.4f}")
    best = search(lambda point: tried.score(point, lambda: subset.score(options_at(base, point))))
    print(table(tried.scores))
    found = asdict(options_at(base, best)) | {"mIoU": tried.scores[best], "mIoU_without": without}
    write_json(output / "best.json", found)
    shutil.rmtree(output / "probs", ignore_errors=True)
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
        while (better := _best(score, f"step {level + 1}", best, neighbours(best, level))) != best:
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
    """What was scored so far, kept in `scores.json` so that a search that was stopped goes on.

    Args:
        folder: Of the search.
        subject: What is scored: another subject's scores are of no use.

    Raises:
        ConfigError: The file is of another search.
        DataError: It cannot be read or written.
    """

    def __init__(self, folder: Path, subject: dict[str, Any]) -> None:
        self.ledger = Ledger(folder)
        self.subject = subject
        self.scores: dict[Point | None, float] = {}
        with writing(f"to {folder}", "Choose another folder with --output."):
            folder.mkdir(parents=True, exist_ok=True)
        kept = self.ledger.read(SCORES)
        if kept is not None:
            if kept["subject"] != subject:
                raise ConfigError(
                    f"{folder} holds a search with another checkpoint, data, images or fixed parameters: choose "
                    f"another folder with --output, or delete that one."
                )
            self.scores = {tuple(point) if point else None: score for point, score in kept["scores"]}
        self._keep()  # first of all: the probabilities that will lie there are of this subject

    def score(self, point: Point | None, evaluate: Callable[[], float]) -> float:
        """Return the score at `point`, computed if it is not known."""
        if point not in self.scores:
            self.scores[point] = evaluate()
            self._keep()
        return self.scores[point]

    def _keep(self) -> None:
        self.ledger.write(SCORES, {"subject": self.subject, "scores": list(self.scores.items())})


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

        from ..inference.crf import DenseCRF
        from ..metrics.segmentation import SegmentationScores

        labels = self.dataset.labels
        evaluation = SegmentationScores(labels.class_names, labels.ignore_index)
        for index in self.chosen:
            stored, mask = self.dataset.load(index)
            image = torch.from_numpy(stored.transpose(2, 0, 1).copy()).to(self.device)[None]
            probs = self._probs(index, image)
            marginals = probs if options is None else DenseCRF(options)(probs, image)
            pred = self.predictor.decide.of_probs(marginals)[0].cpu()
            evaluation.update(pred, torch.from_numpy(mask), self.dataset.sample_id(index))
        return evaluation.scores().mIoU

    def _probs(self, index: int, image: Tensor) -> Tensor:
        import numpy as np
        import torch

        path = self.folder / f"{index}.npy"
        if not path.exists():
            with of_image(self.dataset.sample_id(index)):
                probs = self.predictor.probs(image).half().cpu().numpy()
            with atomic_open(path) as file:
                np.save(file, probs)
        return torch.from_numpy(np.load(path)).to(self.device).float()
