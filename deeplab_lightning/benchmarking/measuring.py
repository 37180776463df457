"""Measuring one case, in a process that does nothing else."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..export.format import format_named
from ..memory import peak_memory
from .plan import Precision, file_runtimes

if TYPE_CHECKING:
    import torch

    from ..tasks import SegmentationTask

WARM_UP = 3


def measure(case: dict[str, Any], rounds: int, device: str) -> dict[str, Any]:
    """Build the network of a case and time it from stored images to class maps.

    Args:
        case: A `plan.BenchmarkCase` as a dict.
        rounds: Timed ones, after three to warm up.
        device: Such as cpu or cuda.

    Returns:
        `milliseconds` (one for each round, waited for), `peak_gib` and `idle_gib` (of the process on a CPU, allocated
        on a GPU; idle is before the first image), `parameters`, `multiply_adds` of one image, and `mIoU` if the
        case has a checkpoint and data. For a file these are of a process without PyTorch, and `mIoU` is of the class
        maps that it makes.
    """
    from ..config import Configuration
    from ..inspection import trace

    quiet = ["--model.pretrained", "false"] if case["checkpoint"] is None else []
    with contextlib.redirect_stdout(io.StringIO()):
        configuration = Configuration([*case["arguments"], *quiet], case["checkpoint"])
        on_paper, task = configuration.make_task(on_paper=True), configuration.trained_task()
    executed = trace(on_paper.model.eval(), tuple(case["size"]), on_paper.description["channels"])
    result: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in on_paper.model.parameters()),
        "multiply_adds": executed.multiply_adds,
    }
    if case["runtime"] in file_runtimes():
        from .files import measure_file

        return result | measure_file(task.eval(), case, rounds)
    return result | _measure_network(task, case, rounds, device)


def _measure_network(task: SegmentationTask, case: dict[str, Any], rounds: int, device: str) -> dict[str, Any]:
    """Return times, memory and mIoU of the network in PyTorch."""
    import torch

    segment = _segmenter(task.to(device).eval(), case["runtime"], case["precision"])
    channels = task.description["channels"]
    image = torch.randint(0, 256, (case["batch"], channels, *case["size"]), dtype=torch.uint8, device=device)

    def run() -> None:
        segment(image)
        if image.is_cuda:
            torch.cuda.synchronize()

    result = _timed(run, rounds, torch.cuda.max_memory_allocated if image.is_cuda else peak_memory)
    if case["checkpoint"] is not None and case["data"] is not None:
        result["mIoU"] = _score(case, device)
    return result


def _segmenter(task: SegmentationTask, runtime: str, precision: Precision) -> Callable[[torch.Tensor], Any]:
    import torch

    if runtime == "contiguous":
        task.model.to(memory_format=torch.contiguous_format)
    network = task.folded()
    if runtime == "compile":  # `--model.compile` compiles training alone
        network.coarse_logits = torch.compile(network.coarse_logits)  # type: ignore[method-assign]
    predictor = task.predictor(network=network)
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]

    @torch.inference_mode()
    def segment(image: torch.Tensor) -> Any:
        with torch.autocast(image.device.type, dtype=dtype, enabled=dtype is not None):
            return predictor.predict(image)

    return segment


def time_file(format: str, path: Path, shape: tuple[int, ...], dtype: str, rounds: int, threads: int) -> dict[str, Any]:
    """Time a file in a process that loads nothing but its runtime: what it takes where it will be used.

    The images have `shape`, `(B, C, H, W)`. Returned are `milliseconds`, `peak_gib` and `idle_gib`, as by `measure`.
    """
    run = format_named(format).runner(path, "classes", threads)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    return _timed(lambda: run(image), rounds, peak_memory)


def _timed(run: Callable[[], Any], rounds: int, memory: Callable[[], int | None]) -> dict[str, Any]:
    used, times = memory(), []
    for _ in range(WARM_UP + rounds):
        started = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - started))
    idle, peak = (None if size is None else size / 2**30 for size in (used, memory()))
    return {"idle_gib": idle, "milliseconds": times[WARM_UP:], "peak_gib": peak}


def _score(case: dict[str, Any], device: str) -> float:
    """Return what `validate` says of the checkpoint, with the case's network and precision: its mIoU."""
    from ..cli import Session

    precision = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[case["precision"]]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        session = Session(
            "validate",
            [*case["arguments"], *case["data"], "--ckpt_path", case["checkpoint"], "--run.folder", folder,
             "--run.name", "benchmark", "--trainer.precision", precision, "--trainer.enable_progress_bar", "false",
             "--trainer.accelerator", "gpu" if device.startswith("cuda") else "cpu"],
        )  # fmt: skip
        session.run()
    return float(session.task.evaluation.scores().mIoU)
