"""Time and memory of a training step: ours beside what a user would pick instead, in one run.

    python benchmarks/train_step.py [--backbone resnet50] [--size 512] [--batch 2] [--precision bf16] [--compile]
    python benchmarks/train_step.py --network v3 --size 513
    python benchmarks/train_step.py --cityscapes

`v3plus` is segmentation_models_pytorch's DeepLab v3+, `v3` torchvision's DeepLab v3. Ours is told to be the same
network (what they do unlike the papers are options), takes over its weights, and must give the same logits before
anything is timed. Theirs is run as its users do, and again in channels-last order; ours in its defaults: channels-last,
and the cross-entropy without full-resolution logits. The steps of all rows are interleaved, and of each the middle one
counts: other programs on the machine then disturb all rows alike. Memory is measured in a process for each row: the
most that was resident on a CPU, or allocated on a GPU; `idle` is before the first step.

`--cityscapes` is our default network alone: steps on 1024x2048 images, and the prediction of one.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.losses import upsampled_cross_entropy
from deeplab_lightning.memory import peak_memory
from deeplab_lightning.models import DeepLabV3, DeepLabV3Plus

NUM_CLASSES, VOID = 21, 255
WARM_UP = 2
ROWS = ("theirs", "theirs channels_last", "ours")
COMPILED = ("theirs compiled", "ours compiled")

SMP_NAMES = {
    r"decoder\.aspp\.0\.convs\.4\.1\.": "context.aspp.branches.4.conv.",
    r"decoder\.aspp\.0\.convs\.4\.2\.": "context.aspp.branches.4.norm.",
    r"decoder\.aspp\.0\.convs\.([123])\.0\.0\.": r"context.aspp.branches.\1.0.",
    r"decoder\.aspp\.0\.convs\.([123])\.0\.1\.": r"context.aspp.branches.\1.1.0.",
    r"decoder\.aspp\.0\.convs\.([123])\.1\.": r"context.aspp.branches.\1.1.1.",
    r"decoder\.aspp\.0\.convs\.0\.": "context.aspp.branches.0.",
    r"decoder\.aspp\.0\.project\.": "context.aspp.project.",
    r"decoder\.aspp\.1\.0\.": "context.head_conv.0.",
    r"decoder\.aspp\.1\.1\.": "context.head_conv.1.0.",
    r"decoder\.aspp\.2\.": "context.head_conv.1.1.",
    r"decoder\.block1\.": "decoder.reduce.0.",
    r"decoder\.block2\.0\.0\.": "decoder.refine.0.0.0.",
    r"decoder\.block2\.0\.1\.": "decoder.refine.0.0.1.0.",
    r"decoder\.block2\.1\.": "decoder.refine.0.0.1.1.",
    r"segmentation_head\.0\.": "classifier.",
    r"encoder\.(model\.)?": "backbone.features.",
}
TORCHVISION_NAMES = {
    r"backbone\.": "backbone.features.",
    r"classifier\.0\.convs\.4\.1\.": "context.aspp.branches.4.conv.",
    r"classifier\.0\.convs\.4\.2\.": "context.aspp.branches.4.norm.",
    r"classifier\.0\.convs\.": "context.aspp.branches.",
    r"classifier\.0\.project\.": "context.aspp.project.",
    r"classifier\.1\.": "context.head_conv.0.",
    r"classifier\.2\.": "context.head_conv.1.",
    r"classifier\.4\.": "classifier.",
}


def renamed(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Return weights by our names: for each, the first rule that fits."""
    result = {}
    for key, value in state.items():
        old, new = next((old, new) for old, new in names.items() if re.match(old, key))
        result[re.sub(rf"^{old}", new, key)] = value
    return result


def networks(options: argparse.Namespace) -> tuple[nn.Module, DeepLabV3 | DeepLabV3Plus]:
    """Return their network and ours, with the same weights."""
    torch.manual_seed(0)
    if options.network == "v3":
        from torchvision.models import segmentation

        theirs = getattr(segmentation, f"deeplabv3_{options.backbone}")(
            weights=None, weights_backbone=None, num_classes=NUM_CLASSES, aux_loss=False
        )
        ours: DeepLabV3 | DeepLabV3Plus = DeepLabV3(
            NUM_CLASSES, options.backbone, 8, multi_grid=(), head_conv=True, dropout=0.5, align_corners=False
        )
        ours.load_state_dict(renamed(theirs.state_dict(), TORCHVISION_NAMES))
        return theirs, ours
    import segmentation_models_pytorch as smp

    # smp's own MobileNetV2 ends with 1280 channels and is another network; through timm ("tu-") it is the same.
    is_resnet = options.backbone.startswith("resnet")
    theirs = smp.DeepLabV3Plus(
        options.backbone if is_resnet else f"tu-{options.backbone}", encoder_weights=None, classes=NUM_CLASSES
    )
    ours = DeepLabV3Plus(
        NUM_CLASSES, options.backbone, multi_grid=(), first_unit="full" if is_resnet else "lag",
        atrous_rates=(12, 24, 36), norm_between=False, head_conv=True, decoder_convs=1, dropout=0.5, side_remainder=0,
    )  # fmt: skip
    ours.load_state_dict(renamed(theirs.state_dict(), SMP_NAMES))
    return theirs, ours


@torch.no_grad()
def check_same(theirs: nn.Module, ours: nn.Module, device: torch.device) -> None:
    """Stop if the two do not compute the same."""
    image = torch.randn(1, 3, 96, 96, device=device)
    expected, found = (logits_of(network.eval())(image) for network in (theirs, ours))
    if not torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max())):
        raise SystemExit(f"Not the same network: logits differ by {float((found - expected).abs().max())}.")
    theirs.train()
    ours.train()


def logits_of(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the network as a function to full-resolution logits (torchvision's come in a dictionary)."""

    def logits(image: Tensor) -> Tensor:
        result = network(image)
        return result if isinstance(result, Tensor) else result["out"]

    return logits


def train_step(row: str, options: argparse.Namespace, device: torch.device) -> Callable[[], Tensor]:
    """Return one step of training of a row as a function that gives the loss, not waited for."""
    theirs, ours = (network.to(device) for network in networks(options))
    check_same(theirs, ours, device)
    network: Any = ours if row.startswith("ours") else theirs
    del theirs, ours
    memory_format = torch.contiguous_format if row.startswith("theirs") else torch.channels_last
    if row == "theirs channels_last":
        memory_format = torch.channels_last
    network.to(memory_format=memory_format)
    image = torch.randn(options.batch, 3, options.size, options.size, device=device).to(memory_format=memory_format)
    mask = torch.randint(0, NUM_CLASSES, (options.batch, options.size, options.size), device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    compiled = torch.compile if "compiled" in row else lambda function: function
    if row.startswith("ours"):
        coarse_logits = compiled(network.coarse_logits)

        def loss_of(image: Tensor) -> Tensor:
            return upsampled_cross_entropy(coarse_logits(image), mask, VOID, network.align_corners)
    else:
        logits = compiled(logits_of(network))

        def loss_of(image: Tensor) -> Tensor:
            return F.cross_entropy(logits(image), mask, ignore_index=VOID)

    def step() -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16"):
            loss = loss_of(image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def milliseconds(step: Callable[[], Tensor]) -> float:
    """Return how long one step takes, and refuse a loss that is not finite."""
    started = time.perf_counter()
    loss = float(step().detach())  # waits for the device
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elapsed = 1000 * (time.perf_counter() - started)
    if loss != loss:
        raise SystemExit("The loss is not a number.")
    return elapsed


def memory_of(run: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Return the GiB in use before `run` and the most during it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        run()
        return before, torch.cuda.max_memory_allocated() / 2**30
    before = resident()
    run()
    return before, resident()


def resident() -> float:
    """Return the most GiB that this process has had in memory so far."""
    return (peak_memory() or 0) / 2**30


def in_a_process(*arguments: str) -> Any:
    """Run this script with more arguments; return what it prints last, read as JSON."""
    command = [sys.executable, __file__, *sys.argv[1:], *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(options: argparse.Namespace, device: torch.device) -> None:
    """Measure all rows and print the table."""
    rows = ROWS + COMPILED * options.compile
    steps = {row: train_step(row, options, device) for row in rows}
    times: dict[str, list[float]] = {row: [] for row in rows}
    for round_ in range(WARM_UP + options.steps):
        for row in rows:
            elapsed = milliseconds(steps[row])
            if round_ >= WARM_UP:
                times[row].append(elapsed)
    steps.clear()
    name = {"v3plus": "segmentation_models_pytorch DeepLab v3+", "v3": "torchvision DeepLab v3"}[options.network]
    print(f"theirs: {name}, {options.backbone}; {options.batch} x {options.size}x{options.size}, {options.precision}")
    print(f"{'row':<24}{'ms/step':>9}{'fastest':>9}{'ours is':>9}{'GiB idle':>10}{'peak':>7}{'ours is':>9}")
    memory = {row: in_a_process("--memory_of", row) for row in rows}
    ours, ours_peak = statistics.median(times["ours"]), memory["ours"][1]
    for row in rows:
        middle, (idle, peak) = statistics.median(times[row]), memory[row]
        print(
            f"{row:<24}{middle:>9.1f}{min(times[row]):>9.1f}{ours / middle:>8.2f}x{idle:>10.2f}{peak:>7.2f}"
            f"{ours_peak / peak:>8.2f}x"
        )


def cityscapes(options: argparse.Namespace, device: torch.device) -> None:
    """Print time and memory of a step and of a prediction at 1024x2048."""
    network = DeepLabV3Plus(19, options.backbone).to(device, memory_format=torch.channels_last)
    image = torch.randn(options.batch, 3, 1024, 2048, device=device)
    mask = torch.randint(0, 19, (options.batch, 1024, 2048), device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    predictor = Predictor(
        network.coarse_logits, lambda image: image, output_stride=16, align_corners=network.align_corners
    )

    def step() -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16"):
            loss = upsampled_cross_entropy(network.coarse_logits(image), mask, VOID, network.align_corners)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def predict() -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16"):
            return predictor.predict(image[:1]).sum()

    if options.memory_of is not None:
        run = step if options.memory_of == "step" else predict
        network.train(options.memory_of == "step")
        print(json.dumps(memory_of(lambda: [milliseconds(run) for _ in range(2)], device)))
        return
    print(f"ours: DeepLab v3+ {options.backbone}, output stride 16, 1024x2048, {options.precision}")
    for name, run in (("step", step), ("predict", predict)):
        network.train(name == "step")
        elapsed = statistics.median([milliseconds(run) for _ in range(1 + options.steps)][1:])
        idle, peak = in_a_process("--memory_of", name)
        images = options.batch if name == "step" else 1
        print(f"{name:<9}{images} images{elapsed:>10.0f} ms{idle:>7.2f} GiB idle{peak:>7.2f} GiB peak")


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("v3plus", "v3"), default="v3plus")
    parser.add_argument("--backbone", help="mobilenetv2_100 unless given; resnet50 for v3")
    parser.add_argument("--size", type=int, default=512, help="of the crop; theirs refuses 513 for v3plus")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--steps", type=int, default=7, help="measured, after 2 to warm up")
    parser.add_argument("--compile", action="store_true", help="two more rows, under torch.compile")
    parser.add_argument("--cityscapes", action="store_true")
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.backbone = options.backbone or ("resnet50" if options.network == "v3" else "mobilenetv2_100")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.memory_of is None:
        name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
        print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {time.strftime('%B %Y')}")
    if options.cityscapes:
        cityscapes(options, device)
    elif options.memory_of is not None:
        step = train_step(options.memory_of, options, device)
        print(json.dumps(memory_of(lambda: [milliseconds(step) for _ in range(2)], device)))
    else:
        compare(options, device)


if __name__ == "__main__":
    main()
