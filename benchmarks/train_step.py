"""Time and memory of one training step of DeepLab v3+, by precision, memory order and compilation.

    python benchmarks/train_step.py [--backbone resnet50] [--size 513] [--batch 2] [--compile]

On a CPU it compares fp32 with and without channels-last; on a GPU also bf16 autocast, whose loss must agree with fp32's
to 2 %. Prints a table with ratios to the first row; the middle of `--steps` measured steps after 3 to warm up.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch

from deeplab_lightning.losses import cross_entropy
from deeplab_lightning.models import DeepLabV3Plus


def measure(
    options: argparse.Namespace, device: torch.device, precision: torch.dtype, channels_last: bool, compiled: bool
) -> tuple[float, float, float]:
    """Return milliseconds per step, peak GPU memory in GiB (0 on a CPU) and the first step's loss."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(21, options.backbone, options.output_stride).to(device)
    image = torch.randn(options.batch, 3, options.size, options.size, device=device)
    mask = torch.randint(0, 21, (options.batch, options.size, options.size), device=device)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        image = image.to(memory_format=torch.channels_last)
    if compiled:
        network.compile()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times, first_loss = [], 0.0
    for step in range(3 + options.steps):
        _synchronise(device)
        started = time.perf_counter()
        with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
            loss = cross_entropy(network(image), mask, 255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        _synchronise(device)
        if step == 0:
            first_loss = loss.item()
        if step >= 3:
            times.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return 1000 * statistics.median(times), peak, first_loss


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--output_stride", type=int, default=16)
    parser.add_argument("--size", type=int, default=513)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile, too (minutes on a CPU)")
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.processor() or platform.machine()}"
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"DeepLab v3+ {options.backbone}, os{options.output_stride}, {options.batch} x {options.size}x{options.size}")
    variants = [(torch.float32, False, False), (torch.float32, True, False)]
    if device.type == "cuda":
        variants += [(torch.bfloat16, False, False), (torch.bfloat16, True, False)]
    if options.compile:
        variants.append((*variants[-1][:2], True))

    print(f"{'variant':<34}{'ms/step':>10}{'speed-up':>10}{'GiB':>8}{'loss':>9}")
    first: tuple[float, float] | None = None
    for precision, channels_last, compiled in variants:
        milliseconds, peak, loss = measure(options, device, precision, channels_last, compiled)
        label = str(precision).removeprefix("torch.")
        label += " channels_last" * channels_last + " compiled" * compiled
        first = first or (milliseconds, loss)
        print(f"{label:<34}{milliseconds:>10.1f}{first[0] / milliseconds:>10.2f}{peak:>8.2f}{loss:>9.4f}", flush=True)
        if abs(loss - first[1]) > 0.02 * first[1]:
            raise SystemExit(f"The loss of {label} is {loss:.4f}, more than 2 % from {first[1]:.4f}.")


if __name__ == "__main__":
    main()
