"""Measuring one case, in a process that does nothing else."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..memory import peak_memory
from .runtimes import Precision, file_runtimes

if TYPE_CHECKING:
    import torch

    from ..tasks import SegmentationTask

WARM_UP = 3


def measure(case: dict[str, Any], rounds: int, device: str) -> dict[str, Any]:
    """Build the network of a case and time it from stored images to class maps.

    Args:
        case: `plan.BenchmarkCase.as_dict()`.
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
    result: dict[str, Any] = {"idle_gib": _memory(device)}
    times = [_milliseconds(segment, image) for _ in range(WARM_UP + rounds)][WARM_UP:]
    result |= {"milliseconds": times, "peak_gib": _memory(device)}
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


def _milliseconds(segment: Callable[[torch.Tensor], Any], image: torch.Tensor) -> float:
    import torch

    started = time.perf_counter()
    segment(image)
    if image.device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started)


def _memory(device: str) -> float | None:
    import torch

    used = torch.cuda.max_memory_allocated() if device.startswith("cuda") else peak_memory()
    return None if used is None else used / 2**30


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
