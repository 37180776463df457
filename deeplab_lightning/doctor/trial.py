"""What a training step costs: a few real ones, in a process of their own, with their memory and time measured.

The process trains with Lightning's own Trainer, so precision, clipping and the device are those of the run; only the
images are noise. It makes two steps with one image and two with two: the first of each makes buffers and plans.
Memory is the process's peak during the last step of each size: resident memory on a CPU, what CUDA reserves on a GPU.
Two points give what is fixed (weights, gradients, buffers, libraries) and what each image adds. Time is that of the
quickest step of the largest size, each of which must have a finite loss.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from ..errors import DeepLabError
from ..memory import forget_peak, free_memory, peak_memory
from .cost import Cost, cost_of

SIZES = (1, 1, 2, 2)
"""Batches of the trial."""

Build = Callable[[], tuple[Any, dict[str, Any]]]
"""Makes the task and says the Trainer's options; must be picklable."""


class TrialError(Exception):
    """The trial step did not come to an end; the message says why."""


def measure(
    build: Build, crop_size: int, batches: Sequence[int] = SIZES, seed: int = 0, at_most: float = math.inf
) -> Cost:
    """Make the trial steps in a fresh process, where `build` is called, on images of noise with sides of `crop_size`.

    Args:
        build: See `Build`.
        crop_size: In pixels.
        batches: Images of each step, 1 and 2 among them.
        seed: Of the noise.
        at_most: Seconds that an image may take; where the second step is slower, the trial is given up.

    Raises:
        TrialError: The steps failed or took too long, their loss was not finite, or the system ended the process (out
            of memory).
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_trial, args=(build, crop_size, batches, seed, at_most, theirs))
    process.start()
    theirs.close()
    with ours:
        try:
            answer: Cost | str | None = ours.recv()
        except EOFError:
            answer = None
    process.join()
    if answer is None:
        raise TrialError(f"the process ended with code {process.exitcode}: not enough memory for a batch of 2?")
    if isinstance(answer, str):
        raise TrialError(answer)
    return answer


def _trial(build: Build, crop_size: int, batches: Sequence[int], seed: int, at_most: float, answer: Connection) -> None:
    """Run in the child: answers what steps cost, or why that is not known."""
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        answer.send(_run_steps(build, crop_size, batches, seed, at_most))
    except (DeepLabError, TrialError) as error:
        answer.send(str(error))
    except Exception as error:
        answer.send(f"{type(error).__name__}: {error}".splitlines()[0])


def _run_steps(build: Build, crop_size: int, batches: Sequence[int], seed: int, at_most: float) -> Cost:
    task, options = build()  # before the imports: what it refuses is said at once

    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer

    class Watch(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.device = pl_module.device.type
            self.available = _available(self.device)
            self.steps: dict[int, tuple[int, float]] = {}  # of each size the last one's peak, the quickest one's time

        def on_train_batch_start(self, *_: Any) -> None:
            _forget_peak(self.device)
            self.started = time.perf_counter()

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            peak = _peak(self.device)  # waits for a GPU
            seconds, size = time.perf_counter() - self.started, len(batch["image"])
            self.steps[size] = peak, min(seconds, self.steps.get(size, (0, math.inf))[1])
            if not torch.isfinite(outputs["loss"]):
                raise TrialError(f"the loss of step {batch_idx + 1} is {float(outputs['loss'])}")
            if batch_idx == 1 and seconds / size > at_most:
                raise TrialError(f"an image takes {seconds / size:.3g} s")

    class Batches(torch.utils.data.IterableDataset[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            generator = torch.Generator().manual_seed(seed)
            for size in batches:
                shape = (size, task.description["channels"], crop_size, crop_size)
                yield {
                    "image": torch.randint(0, 256, shape, generator=generator).byte(),
                    "mask": torch.randint(0, task.num_classes, (size, *shape[2:]), generator=generator).byte(),
                    "sample_id": [str(number) for number in range(size)],
                }

    watch = Watch()
    trainer = Trainer(
        **options,
        max_steps=len(batches),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        devices=1,
        callbacks=[watch],
    )
    # Class weights by a rule are counted in the data; their values cost nothing here.
    task.losses.rule = None
    trainer.fit(task, torch.utils.data.DataLoader(Batches(), batch_size=None))
    return cost_of(watch.device, watch.available, watch.steps, crop_size)


def _forget_peak(device: str) -> None:
    """Let the peak begin anew, where the system can."""
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        forget_peak()  # where it cannot, the peaks of growing batches still grow


def _peak(device: str) -> int:
    """Return the most bytes in use since `_forget_peak`."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_reserved())
    return peak_memory() or 0


def _available(device: str) -> int | None:
    """Return the bytes that this process can still get, with those it has."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    free = free_memory()
    return None if free == sys.maxsize else free + _peak(device)
