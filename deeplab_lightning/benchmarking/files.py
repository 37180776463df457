"""Measuring a case as an exported file: it is written, timed in a process of its own, and scored by its class maps."""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import Configuration
from ..data.dataset import SegmentationDataset
from ..export.format import Exported, Order, format_named
from ..export.model import EXAMPLE_SIZE, ImageModel, example
from ..inference import EvaluationOptions
from ..metrics.segmentation import SegmentationScores
from ..tasks import SegmentationTask
from .measuring import time_file
from .plan import file_runtimes


def measure_file(task: SegmentationTask, case: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Write the file, and return what `measuring.measure` does of times, memory and mIoU.

    Args:
        task: With the case's network, on the CPU.
        case: A `plan.BenchmarkCase` as a dict.
        rounds: Timed ones.

    Returns:
        Where there is a checkpoint and data but no `mIoU`, `unscored` says why.

    Raises:
        ConfigError: A package is missing, or the network does not go into the format.
    """
    description = task.description
    dtype = "uint8" if description["pixel_range"] == 255 else "float32"
    shape = (case["batch"], description["channels"], *case["size"])
    with tempfile.TemporaryDirectory() as folder:
        exported = _write(task, case, Path(folder))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            format = file_runtimes()[case["runtime"]].format
            timing = other.submit(time_file, format, exported.path, shape, dtype, rounds, torch.get_num_threads())
            result = timing.result()
        if case["checkpoint"] is not None and case["data"] is not None:
            result |= _score(case, exported)
    return result


def _write(task: SegmentationTask, case: dict[str, Any], folder: Path) -> Exported:
    runtime, description = file_runtimes()[case["runtime"]], task.description
    format = format_named(runtime.format)
    model = ImageModel(task.model, task.normalise, dtype=format.model_dtype(case["precision"]), decision=task.decision)
    size = tuple(case["size"]) if runtime.one_size else EXAMPLE_SIZE
    image = example(model, description["channels"], description["pixel_range"] == 255, size)
    path = folder / f"model{format.suffix}"
    return format.write(Order(model, image, path, {}, case["precision"], 18, one_size=runtime.one_size))


def _score(case: dict[str, Any], exported: Exported) -> dict[str, Any]:
    """Return mIoU on the validation split that `validate` takes, or why it cannot be known."""
    configuration = Configuration([*case["arguments"], *case["data"]], case["checkpoint"])
    if configuration.evaluation != EvaluationOptions():
        return {"unscored": f"a file looks at whole images once; evaluation is: {configuration.evaluation.words()}"}
    description = configuration.describes
    counted = SegmentationScores(description["class_names"], description["ignore_index"])
    return score_images(exported, configuration.datamodule().dataset("val"), counted)


def score_images(exported: Exported, dataset: SegmentationDataset, counted: SegmentationScores) -> dict[str, Any]:
    """Return `mIoU` of the class maps that a file makes of a whole split; or, under `unscored`, why it cannot.

    Args:
        exported: The file.
        dataset: The split.
        counted: Counts them, for the dataset's classes.
    """
    for index in range(len(dataset)):
        image, mask = dataset.load(index)
        size = image.shape[:2]
        if exported.fixed_size not in (None, size):
            takes = "the file takes images of {}x{} alone".format(*exported.fixed_size)
            return {"unscored": f"{takes}, and {dataset.sample_id(index)} is {size[0]}x{size[1]}"}
        classes = exported.run(np.ascontiguousarray(image.transpose(2, 0, 1))[None])[0]
        counted.update(torch.from_numpy(classes), torch.from_numpy(mask), dataset.sample_id(index))
    return {"mIoU": counted.scores().mIoU}
