"""The first result on somebody's own images, at equal time: ours by its planner, others by a careful hand.

    python benchmarks/out_of_the_box.py my_images --minutes 20 --seeds 0 1 2
    python benchmarks/out_of_the_box.py my_images --minutes 20 --backbone efficientnet_lite0 --pretrained weights.pth

`planner` is `doctor FOLDER --minutes M --write plan.yaml` and `fit -c plan.yaml`, with `PLANNING` minutes of its time
left to planning. `smp` is segmentation_models_pytorch's DeepLabV3Plus with the same backbone and weights (from scratch:
mobilenet_v2) in a plain loop: AdamW 1e-3, weight decay 0.01, poly over the time, batches of 8, crops of 320 or what
fits, scales 0.5 to 2, mirrored, colours jittered by 0.3. `torchvision` is DeepLabV3 on MobileNetV3 by the recipe of its
references: SGD 0.01, momentum 0.9, decay 1e-4, poly, an auxiliary loss of half the weight, scales 0.5 to 2, crops of
480 or what fits; from scratch, since its ImageNet weights would have to be fetched. All read the same images by the
same loader, may take bf16 where a trial step says that it is quicker, and are scored by one confusion matrix over whole
validation images. The seed decides order, augmentation and new layers. Every run is a process of its own, one after the
other; the column of minutes holds all of it.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.config import Configuration
from deeplab_lightning.data.datamodule import SegmentationDataModule
from deeplab_lightning.memory import peak_memory
from deeplab_lightning.metrics.confusion import confusion_matrix

METHODS = ("planner", "smp", "torchvision")
BATCH = 8
PLANNING = 1.5
IMAGENET = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
START = time.monotonic()


class Hand:
    """What a careful hand sets of a peer: the network, how it is fed, its optimiser, and its loss."""

    def __init__(self, method: str, classes: int, arguments: argparse.Namespace) -> None:
        self.mean, self.std = IMAGENET
        self.crop, self.scales, self.jitter, self.auxiliary = 320, [0.5, 2.0], 0.3, 0.0
        if method == "torchvision":
            from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large  # type: ignore[import-untyped]

            self.network: nn.Module = deeplabv3_mobilenet_v3_large(
                weights=None, weights_backbone=None, num_classes=classes, aux_loss=True
            )
            self.crop, self.jitter, self.auxiliary = 480, 0.0, 0.5
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
            )
            return
        import segmentation_models_pytorch as smp  # type: ignore[import-untyped]

        encoder = f"tu-{arguments.backbone}" if arguments.backbone else "mobilenet_v2"
        self.network = smp.DeepLabV3Plus(encoder, encoder_weights=None, classes=classes)
        if arguments.pretrained:
            self.mean, self.std = torch.tensor(arguments.mean), torch.tensor(arguments.std)
            found = torch.load(arguments.pretrained, weights_only=True)
            encoder_model: nn.Module = self.network.encoder.model  # type: ignore[union-attr,assignment]
            missing = encoder_model.load_state_dict(found, strict=False).missing_keys
            assert not missing, missing[:3]
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=0.01)

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """`(B, 3, H, W)` -> logits of every pixel, and those of an auxiliary head."""
        out = self.network(image)
        return (out["out"], out.get("aux")) if isinstance(out, dict) else (out, None)

    def loss(self, image: Tensor, mask: Tensor, void: int) -> Tensor:
        """Cross-entropy over all pixels but void."""
        main, aux = self.logits(image)
        loss = F.cross_entropy(main, mask, ignore_index=void)
        return loss if aux is None else loss + self.auxiliary * F.cross_entropy(aux, mask, ignore_index=void)

    def normalised(self, image: Tensor) -> Tensor:
        """Bytes to what the network is used to."""
        return (image.float() / 255 - self.mean.view(1, 3, 1, 1)) / self.std.view(1, 3, 1, 1)


def by_hand(method: str, seed: int, arguments: argparse.Namespace) -> float:
    """Train a peer for the time there is; returns the val mIoU at its end."""
    torch.manual_seed(seed)
    words = data_words(arguments)
    data = Configuration(words, needs_model=False).datamodule()
    hand = Hand(method, data.labels.num_classes, arguments)
    sides = [min(data.dataset("train").load(index)[1].shape) for index in range(min(20, len(data.dataset("train"))))]
    crop = min(hand.crop, int(statistics.median(sides)) // 16 * 16)
    options = [f"--data.crop_size={crop}", f"--data.batch_size={BATCH}", f"--data.scale_range={hand.scales}"]
    options += ["--data.flip=0.5", f"--data.colour_jitter={hand.jitter}", f"--data.seed={seed}", "--data.num_workers=2"]
    data = Configuration([*words, *options], needs_model=False).datamodule()
    void = data.labels.ignore_index
    bf16 = quicker_in_bf16(hand, crop, data.labels.num_classes)
    validating = timed_validation(hand, data, bf16)
    end = START + arguments.minutes * 60 - validating
    begin = time.monotonic()
    rates = [group["lr"] for group in hand.optimizer.param_groups]
    hand.network.train()
    steps = 0
    for batch in endless(data):
        left = (end - time.monotonic()) / (end - begin)
        if left <= 0:
            break
        for group, rate in zip(hand.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * left**0.9
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = hand.loss(hand.normalised(batch["image"]), batch["mask"].long(), void)
        hand.optimizer.zero_grad()
        loss.backward()
        hand.optimizer.step()
        steps += 1
    data.teardown("fit")
    print(f"{method}: {steps} steps of {BATCH}, crop {crop}, {'bf16' if bf16 else 'fp32'}", file=sys.stderr)
    return score(hand, data, bf16)


def endless(data: SegmentationDataModule) -> Iterator[dict[str, Any]]:
    """Yield training batches, epoch behind epoch."""
    loader: Any = data.train_dataloader()
    while True:
        yield from loader
        loader.order.epoch += 1


def quicker_in_bf16(hand: Hand, crop: int, classes: int) -> bool:
    """Time two steps each way on noise; bf16 has to be quicker by a tenth, and finite."""
    image, mask = torch.randint(0, 256, (2, 3, crop, crop)).byte(), torch.randint(0, classes, (2, crop, crop))
    seconds = {}
    state = {key: value.clone() for key, value in hand.network.state_dict().items()}
    for enabled in (False, True):
        best = math.inf
        for _ in range(2):
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = hand.loss(hand.normalised(image), mask, 255)
            loss.backward()
            best = min(best, time.perf_counter() - started if torch.isfinite(loss) else math.inf)
            hand.optimizer.zero_grad()
        seconds[enabled] = best
    hand.network.load_state_dict(state)  # the noise moved its statistics
    return seconds[False] > 1.1 * seconds[True]


@torch.inference_mode()
def score(hand: Hand, data: SegmentationDataModule, bf16: bool, limit: int | None = None) -> float:
    """Return the mIoU over whole validation images, padded to sides of 32 k by the mean pixel."""
    dataset = data.dataset("val")
    classes, void = data.labels.num_classes, data.labels.ignore_index
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    hand.network.eval()
    for index in range(len(dataset) if limit is None else min(limit, len(dataset))):
        pixels, mask = dataset.load(index)
        image = hand.normalised(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        height, width = mask.shape
        padded = F.pad(image, (0, -width % 32, 0, -height % 32))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits, _ = hand.logits(padded)
        predicted = logits[0, :, :height, :width].float().argmax(0)
        counts += confusion_matrix(predicted, torch.from_numpy(mask), classes, void)
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    return float((counts.diag()[union > 0] / union[union > 0]).mean())


def timed_validation(hand: Hand, data: SegmentationDataModule, bf16: bool) -> float:
    """Return how long the validation will take."""
    started = time.monotonic()
    score(hand, data, bf16, limit=4)
    return (time.monotonic() - started) * len(data.dataset("val")) / 4 + 2


def by_planner(seed: int, arguments: argparse.Namespace) -> float:
    """Plan, train as planned, and return the val mIoU of the best checkpoint."""
    out = arguments.out / f"planner_{seed}"
    plan = out / "plan.yaml"
    ours = [sys.executable, "-m", "deeplab_lightning"]
    words = [] if not arguments.backbone else ["--model.backbone", arguments.backbone]
    if arguments.pretrained:
        words += ["--model.pretrained", str(arguments.pretrained)]
        words += ["--data.mean", str(arguments.mean), "--data.std", str(arguments.std)]
    words += arguments.ours
    where = [str(arguments.folder)] if arguments.data is None else ["-c", str(arguments.data)]
    started = time.monotonic()
    subprocess.run(
        [*ours, "doctor", *where, "--minutes", str(arguments.minutes - PLANNING), "--write", str(plan), "--overwrite",
         "--out", str(out / "doctor"), "--explain", *words],
        check=True, stdout=sys.stderr,
    )  # fmt: skip
    print(f"planned in {time.monotonic() - started:.0f} s", file=sys.stderr)
    fit = [*ours, "fit", "-c", str(plan), "--seed_everything", str(seed), "--run.folder", str(out), "--run.name", "run"]
    subprocess.run(fit, check=True, stdout=sys.stderr)
    run = max((out / "run").glob("version_*"), key=lambda path: path.stat().st_mtime)
    return float(json.loads((run / "evaluation.json").read_text())["mIoU"])


def data_words(arguments: argparse.Namespace) -> list[str]:
    """Return what reads the images: the file that was named, or the one that `doctor` writes."""
    if arguments.data is not None:
        return ["-c", str(arguments.data)]
    from deeplab_lightning.doctor.layouts import propose

    path = arguments.out / "data.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(propose(arguments.folder).as_yaml("read for a benchmark"))
    return ["-c", str(path)]


def main() -> None:
    """Run every method with every seed in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="images of any layout that doctor knows")
    parser.add_argument("--data", type=Path, help="or a configuration that reads them")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--backbone", help="of timm, for planner and smp")
    parser.add_argument("--pretrained", type=Path, help="its ImageNet weights, by timm's names")
    parser.add_argument("--mean", type=float, nargs=3, default=[0.5, 0.5, 0.5], help="of those weights")
    parser.add_argument("--std", type=float, nargs=3, default=[0.5, 0.5, 0.5])
    parser.add_argument("--ours", nargs="*", default=[], help="further words for the planner, such as -c google.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/out_of_the_box"))
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if (arguments.folder is None) == (arguments.data is None):
        parser.error("name a folder, or --data FILE.yaml")
    if arguments.one:
        method, seed = arguments.one[0], int(arguments.one[1])
        arguments.out = arguments.out / method / str(seed)
        score_ = by_planner(seed, arguments) if method == "planner" else by_hand(method, seed, arguments)
        took = (time.monotonic() - START) / 60
        print(json.dumps({"mIoU": score_, "minutes": took, "gib": (peak_memory() or 0) / 2**30}))
        return
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| method | " + " | ".join(f"seed {seed}" for seed in arguments.seeds) + " | mean | minutes |")
    print("|---|" + "---:|" * (len(arguments.seeds) + 2), flush=True)
    for method in arguments.methods:
        results = []
        for seed in arguments.seeds:
            words = [sys.executable, __file__, *sys.argv[1:], "--one", method, str(seed)]
            answer = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
            results.append(json.loads(answer.splitlines()[-1]))
        scores = [result["mIoU"] for result in results]
        minutes = statistics.mean(result["minutes"] for result in results)
        cells = [f"{each:.3f}" for each in [*scores, statistics.mean(scores)]]
        print(f"| {method} | {' | '.join(cells)} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    main()
