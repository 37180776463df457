"""Images per second of input pipelines for segmentation, side by side: file in, what goes to the device out.

    python benchmarks/input_pipeline.py [--seconds 4] [--only voc]

Every pipeline reads generated image and mask files, scales by 0.5 to 2, crops, pads, mirrors and jitters colours, on
one core. The peers' are written here with their public transforms and defaults:

- albumentations: RandomScale, PadIfNeeded, RandomCrop, HorizontalFlip, ColorJitter, Normalize, ToTensorV2; cv2 reads.
- mmsegmentation: what its RandomResize, RandomCrop (cat_max_ratio 0.75), RandomFlip, PhotoMetricDistortion and
  preprocessor do, in cv2 and NumPy; cv2 reads images, Pillow masks, as there.
- torchvision: the reference presets of its segmentation training, on PIL images and on tensors (transforms v2), with
  the colour jitter added. As there, VOC's shorter side becomes 260 to 1040 (base size 520: 1.4 times the others' scale,
  so twice the pixels); Cityscapes, for which there is no preset, is scaled like the others.

Rounds are interleaved and medians over the rounds are printed: only ratios within one run mean anything. On one core it
is the processor's time that counts, through loaders the clock's. Files lie in the page cache; `--folder` keeps them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import albumentations as A
import cv2
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import InterpolationMode, v2

from deeplab_lightning.data.datamodule import IMAGENET_MEAN, IMAGENET_STD
from deeplab_lightning.data.dataset import SegmentationDataset
from deeplab_lightning.data.files.images import read_image, read_mask
from deeplab_lightning.data.files.saving import write_mask
from deeplab_lightning.data.loading import LoaderView, collate_crops
from deeplab_lightning.data.sets.voc import VOC
from deeplab_lightning.data.tiles import TiledDataset
from deeplab_lightning.data.transforms.pipelines import AugmentationOptions, TrainingTransform

JITTER = 0.3
MEAN_PIXEL = [255 * value for value in IMAGENET_MEAN]
Pair = tuple[Path, Path]
Step = Callable[[Pair], object]


# --- images ---------------------------------------------------------------------------------------------------------


def draw(height: int, width: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of polygons on a sky of slow colours, with texture, and its mask."""
    rng = np.random.default_rng(seed)
    image = 120 + 40 * _smooth(rng, height, width, 40, cv2.INTER_CUBIC)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(24):
        points = (rng.random((6, 2)) * 0.3 + rng.random(2) - 0.15) * (width, height)
        polygon = cv2.fillConvexPoly(np.zeros_like(mask), cv2.convexHull(points.astype(np.int32)), 1) > 0
        mask[polygon] = rng.integers(0, VOC.num_classes)
        image[polygon] = 0.4 * image[polygon] + 0.6 * rng.integers(0, 256, 3)
    image += noise * (_smooth(rng, height, width, 3, cv2.INTER_LINEAR) + 0.6 * rng.normal(size=(height, width, 1)))
    return image.clip(0, 255).astype(np.uint8), mask


def _smooth(rng: np.random.Generator, height: int, width: int, cell: int, interpolation: int) -> np.ndarray:
    coarse = rng.normal(size=(height // cell + 2, width // cell + 2, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=interpolation).astype(np.float64)


class Files(SegmentationDataset):
    """Images and masks as files."""

    labels = VOC

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def sample_id(self, index: int) -> str:
        """Return the file's stem."""
        return self.pairs[index][0].stem

    def files(self, index: int) -> tuple[Path, ...]:
        """Return both files."""
        return self.pairs[index]

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read both."""
        image, mask = self.pairs[index]
        return read_image(image), read_mask(mask)


def write(folder: Path, kind: str, count: int) -> list[Pair]:
    """Write images, unless they are there."""
    pairs = []
    for number in range(count):
        suffix = ".jpg" if kind == "voc" else ".png"
        image_path, mask_path = folder / f"{kind}{number}{suffix}", folder / f"{kind}{number}_mask.png"
        if not (image_path.exists() and mask_path.exists()):
            size, noise = ((375, 500), 12.0) if kind == "voc" else ((1024, 2048), 1.2)
            image, mask = draw(*size, noise, number)
            cv2.imwrite(str(image_path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92] if kind == "voc" else [])
            if kind == "voc":
                write_mask(mask_path, mask, VOC.colour_table())
            else:
                cv2.imwrite(str(mask_path), mask)
        pairs.append((image_path, mask_path))
    return pairs


# --- pipelines ------------------------------------------------------------------------------------------------------


def _read(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Read as most people do: the image by cv2, the mask by Pillow, which knows palettes."""
    return cv2.cvtColor(cv2.imread(str(pair[0])), cv2.COLOR_BGR2RGB), np.array(Image.open(pair[1]))


def ours(source: SegmentationDataset, crop: int) -> Step:
    """This package's, from files or from the cache."""
    transform = TrainingTransform(AugmentationOptions(crop_size=crop, colour_jitter=JITTER), MEAN_PIXEL, 255)
    view, epoch = LoaderView(source, transform), iter(range(10**9))
    index = {source.files(number): number for number in range(len(source))}
    return lambda pair: view[(next(epoch), index[pair])]


def albumentations(crop: int) -> Step:
    """The plain composition."""
    compose = A.Compose(
        [
            A.RandomScale((-0.5, 1.0), p=1.0),
            A.PadIfNeeded(crop, crop, border_mode=cv2.BORDER_CONSTANT, fill=tuple(MEAN_PIXEL), fill_mask=255),
            A.RandomCrop(crop, crop),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(JITTER, JITTER, JITTER, 0.0, p=0.8),
            A.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ToTensorV2(),
        ]
    )

    def step(pair: Pair) -> object:
        image, mask = _read(pair)
        return compose(image=image, mask=mask)

    return step


def mmsegmentation(crop: int) -> Step:
    """Resize the whole, crop until no class has three quarters, mirror, distort in HSV, normalise, pad."""
    rng = np.random.default_rng(0)
    mean, std = np.array(MEAN_PIXEL), 255 * np.array(IMAGENET_STD)

    def step(pair: Pair) -> object:
        image, mask = cv2.imread(str(pair[0])), np.array(Image.open(pair[1]))
        scale = rng.uniform(0.5, 2.0)
        size = (int(image.shape[1] * scale + 0.5), int(image.shape[0] * scale + 0.5))
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        for _ in range(10):
            top = rng.integers(0, max(size[1] - crop, 0) + 1)
            left = rng.integers(0, max(size[0] - crop, 0) + 1)
            window = slice(top, top + crop), slice(left, left + crop)
            labels, counts = np.unique(mask[window], return_counts=True)
            counts = counts[labels != 255]
            if len(counts) > 1 and counts.max() / counts.sum() < 0.75:
                break
        image, mask = image[window], mask[window]
        if rng.random() < 0.5:
            image, mask = cv2.flip(image, 1), cv2.flip(mask, 1)
        image = distort(image)
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        labels = torch.from_numpy(mask.astype(np.int64))
        # The preprocessor runs on the device; on a machine without one it is part of this core's work.
        tensor = tensor[[2, 1, 0]].float().sub_(torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        tensor = tensor.div_(torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))
        below, right = crop - tensor.shape[1], crop - tensor.shape[2]
        pad = (0, right, 0, below)
        return torch.nn.functional.pad(tensor, pad), torch.nn.functional.pad(labels, pad, value=255)

    def convert(image: np.ndarray, alpha: float = 1, beta: float = 0) -> np.ndarray:
        return np.clip(image.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)

    def distort(image: np.ndarray) -> np.ndarray:
        if rng.integers(2):
            image = convert(image, beta=rng.uniform(-32, 32))
        contrast_first = rng.integers(2)
        if contrast_first and rng.integers(2):
            image = convert(image, alpha=rng.uniform(0.5, 1.5))
        if rng.integers(2):
            hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
            hsv[..., 1] = convert(hsv[..., 1], alpha=rng.uniform(0.5, 1.5))
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        if rng.integers(2):
            hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
            hsv[..., 0] = (hsv[..., 0].astype(int) + rng.integers(-18, 18)) % 180
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        if not contrast_first and rng.integers(2):
            image = convert(image, alpha=rng.uniform(0.5, 1.5))
        return image

    return step


def torchvision(crop: int, on_tensors: bool, base_size: int | None) -> Step:
    """RandomResize of the shorter side, RandomHorizontalFlip, RandomCrop with padding, and the colour jitter."""
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, Image.Image: 0, tv_tensors.Mask: 255}),
            v2.ColorJitter(JITTER, JITTER, JITTER),
            *([] if on_tensors else [v2.PILToTensor()]),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )

    def step(pair: Pair) -> object:
        mask = tv_tensors.Mask(torch.from_numpy(np.array(Image.open(pair[1]))))
        if on_tensors:
            image = tv_tensors.Image(decode_image(str(pair[0]), ImageReadMode.RGB))
            shorter = base_size or min(image.shape[1:])
        else:
            image = Image.open(pair[0]).convert("RGB")
            shorter = base_size or min(image.size)
        size = int(shorter * float(torch.empty(1).uniform_(0.5, 2.0)))
        resize = v2.Resize(size, InterpolationMode.BILINEAR, antialias=True)
        return transform(*resize(image, mask))

    return step


# --- measuring ------------------------------------------------------------------------------------------------------


def milliseconds(steps: dict[str, Step], pairs: list[Pair], seconds: float) -> dict[str, float]:
    """Return the median over rounds, each of which runs all steps over all images, `seconds` for each step.

    Each step has a process of its own, as a loader's worker has: buffers that one leaves to the allocator would make
    another faster than it is.
    """
    context = multiprocessing.get_context("fork")
    pipes = {}
    for name, step in steps.items():
        pipes[name], theirs = context.Pipe()
        context.Process(target=_rounds, args=(step, pairs, theirs), daemon=True).start()
    times: dict[str, list[float]] = {name: [] for name in steps}
    until = time.perf_counter() + seconds * len(steps)
    while time.perf_counter() < until or len(next(iter(times.values()))) < 4:
        for name, pipe in pipes.items():
            pipe.send(True)
            times[name].append(1000 * pipe.recv() / len(pairs))
    for pipe in pipes.values():
        pipe.send(False)
    return {name: statistics.median(found[1:]) for name, found in times.items()}  # the first one warms up


def _rounds(step: Step, pairs: list[Pair], pipe: Connection) -> None:
    """In a process: run a step over all images whenever told to, and answer with the seconds it took."""
    while pipe.recv():
        started = time.process_time()
        for pair in pairs:
            step(pair)
        pipe.send(time.process_time() - started)


class Stepped(Dataset[object]):
    """A step as a data set, each image many times over."""

    def __init__(self, step: Step, pairs: list[Pair], length: int) -> None:
        self.step, self.pairs, self.length = step, pairs, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> object:
        return self.step(self.pairs[index % len(self.pairs)])


def through_loaders(steps: dict[str, Step], pairs: list[Pair], seconds: float) -> dict[str, float]:
    """Return milliseconds per image of batches of 8 through two workers, median of three interleaved rounds."""
    loaders = {
        name: DataLoader(
            Stepped(step, pairs, 10**9),
            batch_size=8,
            num_workers=2,
            collate_fn=collate_crops if name.startswith("ours") else None,
            worker_init_fn=lambda worker: torch.set_num_threads(1),
        )
        for name, step in steps.items()
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(3):
        for name, loader in loaders.items():
            batches: Iterator[object] = iter(loader)
            for _ in range(6):
                next(batches)
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < seconds:
                next(batches)
                count += 8
            times[name].append(1000 * (time.perf_counter() - started) / count)
            del batches
    return {name: statistics.median(found) for name, found in times.items()}


def table(title: str, found: dict[str, float]) -> None:
    """Print milliseconds, images per second, and how many times slower than ours."""
    best = {name: value for name, value in found.items() if name.startswith("ours")}
    print(f"\n{title}\n{'':<34}{'ms':>8}{'per s':>8}" + "".join(f"{'x ' + name:>16}" for name in best))
    for name, value in found.items():
        ratios = "".join(f"{value / ms:>16.2f}" for ms in best.values())
        print(f"{name:<34}{value:>8.2f}{1000 / value:>8.0f}{ratios}", flush=True)


def main() -> None:
    """Write the images, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each pipeline")
    parser.add_argument("--only", choices=["voc", "cityscapes"])
    parser.add_argument("--folder", type=Path, help="where the generated images are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"OpenCV {cv2.__version__}, albumentations {A.__version__}, torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, crop, count in (("voc", 513, 24), ("cityscapes", 769, 6)):
            if options.only in (None, kind):
                pairs = write(folder, kind, count)
                size = statistics.mean(pair[0].stat().st_size for pair in pairs)
                source = Files(pairs)
                steps = {
                    "ours": ours(source, crop),
                    "ours, cache": ours(TiledDataset(source, folder / f"{kind}_cache"), crop),
                    "albumentations": albumentations(crop),
                    "mmsegmentation-like": mmsegmentation(crop),
                    "torchvision, PIL": torchvision(crop, False, 520 if kind == "voc" else None),
                    "torchvision, tensors": torchvision(crop, True, 520 if kind == "voc" else None),
                    "decoding alone": _read,
                }
                found = milliseconds(steps, pairs, options.seconds)
                table(f"{kind}, images of {size / 1e3:.0f} kB, crop {crop}, one core", found)
                stored = sum(path.stat().st_size for path in (folder / f"{kind}_cache").rglob("*.tiles"))
                files = sum(path.stat().st_size for pair in pairs for path in pair)
                print(f"cache {stored / 1e6:.1f} MB, files {files / 1e6:.1f} MB")
                chosen = {name: steps[name] for name in ("ours", "ours, cache", "albumentations")}
                table(f"{kind}, two workers, batches of 8", through_loaders(chosen, pairs, options.seconds))


if __name__ == "__main__":
    main()
