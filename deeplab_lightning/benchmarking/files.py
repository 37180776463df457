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
    """Write the file of a task on the CPU, and return what `measuring.measure` does of times, memory and mIoU.

    Where there is a checkpoint and data but no `mIoU`, `unscored` says why.

    Raises:
        ConfigError: A package is missing, or the network does not go into the format.
    """
    runtime = file_runtimes()[case["runtime"]]
    format = format_named(runtime.format)
    channels, is_bytes = task.description["channels"], task.description["pixel_range"] == 255
    model = ImageModel(task.model, task.normalise, dtype=format.model_dtype(case["precision"]), decision=task.decision)
    image = example(model, channels, is_bytes, tuple(case["size"]) if runtime.one_size else EXAMPLE_SIZE)
    images = (case["batch"], channels, *case["size"]), "uint8" if is_bytes else "float32"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model{format.suffix}")
        exported = format.write(Order(model, image, path, {}, case["precision"], 18, one_size=runtime.one_size))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            timing = other.submit(time_file, runtime.format, exported.path, *images, rounds, torch.get_num_threads())
            result = timing.result()
        if case["checkpoint"] is not None and case["data"] is not None:
            result |= _score(case, exported)
    return result


def _score(case: dict[str, Any], exported: Exported) -> dict[str, Any]:
    """Return mIoU on the validation split that `validate` takes, or why it cannot be known."""
    configuration = Configuration([*case["arguments"], *case["data"]], case["checkpoint"])
    if configuration.evaluation != EvaluationOptions():
        return {"unscored": f"a file looks at whole images once; evaluation is: {configuration.evaluation.words()}"}
    description = configuration.describes
    counted = SegmentationScores(description["class_names"], description["ignore_index"])
    return score_images(exported, configuration.datamodule().dataset("val"), counted)


def score_images(exported: Exported, dataset: SegmentationDataset, counted: SegmentationScores) -> dict[str, Any]:
    """Return `mIoU` of the class maps that a file makes of a whole split; or, under `unscored`, why it cannot."""
    for index in range(len(dataset)):
        image, mask = dataset.load(index)
        size = image.shape[:2]
        if exported.fixed_size not in (None, size):
            takes = "the file takes images of {}x{} alone".format(*exported.fixed_size)
            return {"unscored": f"{takes}, and {dataset.sample_id(index)} is {size[0]}x{size[1]}"}
        classes = exported.run(np.ascontiguousarray(image.transpose(2, 0, 1))[None])[0]
        counted.update(torch.from_numpy(classes), torch.from_numpy(mask), dataset.sample_id(index))
    return {"mIoU": counted.scores().mIoU}
