"""Decoding of objects beside the last resize and argmax of the same network, and beside a plain SciPy form.

    python benchmarks/panoptic_decoding.py [--data FOLDER] [--objects 200] [--repeats 5]

Maps are the true ones of Cityscapes images in DEEPLAB_SHARED_DATA or --data (its `cityscapes8` or Cityscapes' own
folders), with noise on the offsets; else of drawn blocks of 1024x2048 pixels. Each image gets further centres up to
--objects, where nothing points to them. Times are seconds of the wall clock, the best of the repeats; the forms take
turns. Differences count pixels whose object is another one than in the SciPy form.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.inference.options import ObjectOptions
from deeplab_lightning.inference.panoptic import decode
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.losses.instances import instance_targets

THINGS, NUM_CLASSES, VOID = torch.arange(11, 19), 19, 255
OPTIONS = ObjectOptions()


def truths(folder: str | None) -> list[tuple[str, Tensor, Tensor]]:
    """Return names, masks and numbers of objects."""
    from deeplab_lightning.data.sets.cityscapes import CityscapesDataModule

    for root in (Path(folder or "") / "cityscapes8", Path(folder or "")):
        if folder is not None and (root / "gtFine").is_dir():
            dataset = CityscapesDataModule(root=str(root)).dataset("train")
            loaded = [(dataset.sample_id(i), dataset.load(i)[1], dataset.instances(i)) for i in range(len(dataset))]
            return [(name, torch.from_numpy(mask), torch.from_numpy(numbers)) for name, mask, numbers in loaded]
    drawn = np.random.default_rng(0)
    blocks = np.kron(drawn.integers(0, NUM_CLASSES, (16, 32)), np.ones((64, 64), int))
    numbers = np.kron(np.arange(1, 16 * 32 + 1).reshape(16, 32), np.ones((64, 64), int)) * np.isin(blocks, THINGS)
    return [("drawn blocks", torch.from_numpy(blocks.astype(np.uint8)), torch.from_numpy(numbers.astype(np.int32)))]


def plainly(classes: Tensor, centres: Tensor, offsets: Tensor) -> np.ndarray:
    """Number the pixels of things as SciPy does it: a maximum filter, and a tree of the places."""
    from scipy.ndimage import maximum_filter
    from scipy.spatial import cKDTree

    heat, found = centres.numpy(), np.zeros(classes.shape, np.int64)
    peaks = np.argwhere((heat == maximum_filter(heat, OPTIONS.centre_window)) & (heat > OPTIONS.centre_threshold))
    peaks = peaks[np.argsort(-heat[tuple(peaks.T)], kind="stable")][: OPTIONS.max_objects]
    is_thing = np.isin(classes.numpy(), THINGS.numpy())
    pointed = np.argwhere(is_thing) + offsets.numpy()[:, is_thing].T
    found[is_thing] = np.unique(cKDTree(peaks).query(pointed)[1], return_inverse=True)[1] + 1
    return found


def best(repeats: int, forms: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the shortest time of each form."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats):
        for name, form in forms.items():
            begin = time.perf_counter()
            form()
            times[name].append(time.perf_counter() - begin)
    return {name: min(found) for name, found in times.items()}


def main() -> None:
    """Print a line for each image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("DEEPLAB_SHARED_DATA"))
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| image | things | centres | resize and argmax | decoding | SciPy | other object |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for name, mask, numbers in truths(options.data):
        print(line(name, mask, numbers, options.objects, options.repeats))


def line(name: str, mask: Tensor, numbers: Tensor, objects: int, repeats: int) -> str:
    """Time the forms on one image, and compare what they find."""
    torch.manual_seed(0)
    targets = instance_targets(numbers[None], mask[None], THINGS, VOID, 8.0)
    centres, offsets = targets.centres[0], targets.offsets[0] + 2 * torch.randn(2, *mask.shape)
    missing = objects - int((centres == 1).sum())
    rows, columns = (torch.randint(0, side, (max(missing, 0),)) for side in mask.shape)
    centres[rows, columns] = 0.2 + 0.1 * torch.rand(len(rows))
    classes = mask.where(mask != VOID, 0)
    logits = F.one_hot(classes[None, ::4, ::4].long(), NUM_CLASSES).permute(0, 3, 1, 2).float().contiguous()
    predictor = Predictor(lambda _: logits, Tensor.float, output_stride=16, align_corners=False)
    ours = partial(decode, classes, torch.ones_like(centres), centres, offsets, THINGS, VOID, OPTIONS)
    scipy = partial(plainly, classes, centres, offsets)
    resize = partial(predictor.predict, torch.zeros(1, 3, *mask.shape, dtype=torch.uint8))
    times = best(repeats, {"ours": ours, "resize": resize, "scipy": scipy})
    found = ours()
    pairs = torch.stack([found.numbers.flatten().long(), torch.from_numpy(scipy()).flatten()])
    both, counts = pairs.unique(dim=1, return_counts=True)
    partner: dict[int, int] = {}
    for mine, theirs in both[:, counts.argsort(descending=True)].T.tolist():
        partner.setdefault(mine, theirs)
    met = zip(both.T.tolist(), counts.tolist(), strict=True)
    others = sum(count for (mine, theirs), count in met if partner[mine] != theirs)
    share = float(torch.isin(classes, THINGS).float().mean())
    return (
        f"| {name} | {100 * share:.0f} % | {max(objects, objects - missing)} | {times['resize']:.3f} | "
        f"{times['ours']:.3f} | {times['scipy']:.3f} | {others} |"
    )


if __name__ == "__main__":
    main()
