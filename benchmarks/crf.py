"""The dense CRF: error against brute force, and time, beside pydensecrf where it can be imported.

    python benchmarks/crf.py [--crop 120 160] [--classes 21] [--data FOLDER]

Errors are those of the marginals after 10 iterations on a crop at full resolution, small enough for brute force in
float64: their mean absolute difference, and the share of pixels whose most likely class differs. Times are of whole
images, in seconds of the wall clock and (in brackets) of all cores together, the best of three of each form, which
take turns, the lattice's making included. Images are those of VOC in DEEPLAB_SHARED_DATA or --data, else a drawn
scene; the probabilities are made of their masks: shrunk by 8, blurred, with noise, enlarged, as of a network with
output stride 8.

pydensecrf (`pip install pydensecrf2`) computes the same normalised kernels, with two differences: its Gaussian kernel
goes through a lattice, too, where ours is exact; and its lattice is blurred in one order of the axes.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.data.files.images import read_image
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.inference.crf import PAPERS, CRFOptions, DenseCRF
from deeplab_lightning.inference.crf.kernels import Kernel
from deeplab_lightning.inference.crf.lattice import lattice_kernel
from deeplab_lightning.layers import resize

Marginals = Callable[[Tensor, Tensor, CRFOptions], Tensor]


def images(folder: str | None) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return names, images and masks."""
    voc = Path(folder or "") / "VOCdevkit" / "VOC2012"
    if folder is None or not voc.is_dir():
        return [("drawn scene", *DrawnScenes("val", 1, 375, 500).load(0))]
    from PIL import Image

    found = []
    for path in sorted((voc / "JPEGImages").glob("*.jpg")):
        mask = np.array(Image.open(voc / "SegmentationClass" / f"{path.stem}.png"))
        found.append((path.stem, read_image(path), mask))
    return found


def coarse_probs(mask: np.ndarray, classes: int) -> Tensor:
    """Return probabilities `(1, classes, H, W)` such as a network with output stride 8 makes; void is background."""
    truth = F.one_hot(torch.from_numpy(np.where(mask == 255, 0, mask)).long(), classes).permute(2, 0, 1)[None].float()
    size = tuple(-(-side // 8) for side in mask.shape)
    shrunk = F.avg_pool2d(F.adaptive_avg_pool2d(truth, size), 3, 1, 1, count_include_pad=False)
    noise = torch.randn(shrunk.shape, generator=torch.Generator().manual_seed(0))
    return resize(8 * shrunk + noise, (mask.shape[0], mask.shape[1]), align_corners=False).softmax(1)


def ours(compiled: bool, threads: int) -> Marginals:
    """Return our CRF in one of its forms."""

    def run(probs: Tensor, image: Tensor, options: CRFOptions) -> Tensor:
        torch.set_num_threads(threads)
        return _Form(options, compiled)(probs, image)

    return run


class _Form(DenseCRF):
    """The CRF with the lattice's form chosen."""

    def __init__(self, options: CRFOptions, compiled: bool) -> None:
        super().__init__(options)
        self.compiled = compiled

    def _bilateral(self, features: Tensor) -> Kernel:
        return lattice_kernel(features, self.options.normalise, self.compiled)


def pydensecrf(probs: Tensor, image: Tensor, options: CRFOptions) -> Tensor:
    """Return the package's marginals."""
    from pydensecrf import densecrf

    _, classes, height, width = probs.shape
    crf = densecrf.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(-probs[0].clamp(min=1e-8).log().flatten(1).numpy()))
    crf.addPairwiseGaussian(sxy=options.sigma_gamma, compat=options.w2)
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    crf.addPairwiseBilateral(sxy=options.sigma_alpha, srgb=options.sigma_beta, rgbim=pixels, compat=options.w1)
    return torch.from_numpy(np.array(crf.inference(options.iterations))).view(1, classes, height, width)


def forms() -> dict[str, Marginals]:
    """Return what can be run here."""
    cores = os.cpu_count() or 1
    found = {"torch, 1 thread": ours(False, 1)}
    if importlib.util.find_spec("numba"):
        found |= {"numba, 1 thread": ours(True, 1), f"numba, {cores} threads": ours(True, cores)}
    else:
        print("numba is not installed: its form is left out")
    if importlib.util.find_spec("pydensecrf"):
        found["pydensecrf"] = pydensecrf
    else:
        print("pydensecrf is not installed: left out")
    return found


def seconds(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Return each one's least wall-clock and processor time of some runs after the first, taking turns."""
    best = dict.fromkeys(works, (math.inf, math.inf))
    for turn in range(repeats + 1):
        for name, work in works.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            work()
            taken = time.perf_counter() - start, time.process_time() - start_cpu
            if turn:
                best[name] = min(best[name][0], taken[0]), min(best[name][1], taken[1])
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop", type=int, nargs=2, default=(96, 128), metavar=("H", "W"), help="for brute force")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", default=os.environ.get("DEEPLAB_SHARED_DATA"))
    options = parser.parse_args()
    available = forms()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")

    print(f"\n{'error against brute force':<44}{'mean |dQ|':>11}{'argmax differs':>16}{'CRF changes':>13}")
    for name, image, mask in images(options.data):
        height, width = options.crop
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        window = (slice(top, top + height), slice(left, left + width))
        pixels = torch.from_numpy(image[window].transpose(2, 0, 1).copy())[None]
        probs = coarse_probs(mask[window], options.classes)
        for paper in ("v1", "v2_resnet101"):
            exact = DenseCRF(PAPERS[paper], "exact")(probs, pixels)
            changes = (exact.argmax(1) != probs.argmax(1)).float().mean()
            for form, run in available.items():
                if "threads" in form:
                    continue
                marginals = run(probs, pixels, PAPERS[paper])
                differs = (marginals.argmax(1) != exact.argmax(1)).float().mean()
                label = f"{name} {height}x{width} {paper}, {form}"
                error = (marginals - exact).abs().mean()
                print(f"{label:<44}{error:>11.2e}{differs:>16.3%}{changes:>13.2%}", flush=True)

    print(f"\n{'time of 10 iterations':<44}{'s':>8}{'(all cores)':>13}")
    for name, image, mask in images(options.data)[:1]:
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
        probs = coarse_probs(mask, options.classes)
        for paper in ("v1", "v2_resnet101"):
            works = {form: partial(run, probs, pixels, PAPERS[paper]) for form, run in available.items()}
            for form, (wall, processor) in seconds(works, options.repeats).items():
                label = f"{name} {image.shape[0]}x{image.shape[1]}x{options.classes} {paper}, {form}"
                print(f"{label:<44}{wall:>8.2f}{processor:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
