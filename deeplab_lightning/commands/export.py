"""`export`: a trained model as a file for other programs, held against its original before it is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..command_line import ConfigurationWords
from ..errors import ConfigError, DataError, DeepLabError
from ..export.format import Inputs, Outputs, Precision, format_names
from ..options import Between, OneOf, Written, at_least

if TYPE_CHECKING:
    import numpy as np

    from ..api import Segmenter
    from ..data.dataset import SegmentationDataset
    from ..export.gate import Labelled
    from ..export.model import Objects
    from ..inference.predictor import Predictor

UNSEEN_SIZES = ((97, 130), (160, 113))
"""Of the gate's drawn images: no side fits an output stride, and none is the size that files are exported with."""
CALIBRATION_IMAGES = 64
SMALLEST_SIDE = 33

Side = Annotated[int, at_least(1)]
"""Of an image, in pixels."""


def export(
    checkpoint: Annotated[Path, Written(metavar="CHECKPOINT|RUN")],
    /,
    *,
    format: Annotated[str | None, OneOf(format_names)] = None,
    output: Annotated[Path | None, Written("--output", "-o", metavar="FILE")] = None,
    precision: Precision = "fp32",
    outputs: Outputs = "classes",
    inputs: Inputs = "pixels",
    size: Annotated[tuple[Side, Side] | None, Written(metavar=("H", "W"))] = None,
    opset: Annotated[int, at_least(1)] = 18,
    calibration: Annotated[Path | None, Written(metavar="FOLDER")] = None,
    output_stride: Annotated[Literal[8, 16, 32] | None, Written("--model.output_stride")] = None,
    check_data: Annotated[list[str] | None, Written(metavar="IMAGE")] = None,
    configuration: ConfigurationWords = (),
    images: Annotated[int, at_least(1)] = 100,
    max_difference: Annotated[float, at_least(0)] | None = None,
    min_agreement: Annotated[float, Between(0, 1)] | None = None,
    max_miou_drop: Annotated[float, Between(0, 1)] | None = None,
) -> int:
    """Write a model for ONNX, LiteRT or plain PyTorch, checked.

    The file runs without this framework, and is held against the original by a gate: logits and classes at sizes not
    seen before, mIoU on a data set, latency, size. What the gate says is printed and kept beside the file as
    FILE.gate.json; the exit code is 1 if the file is past its tolerance. See docs/export.md.

    Args:
        checkpoint: Checkpoint, or a run such as runs/v3plus, of which the best checkpoint is taken.
        format: Format of the file, if its ending does not say.
        output: File to write; in the working folder, named after the checkpoint or the run, if not given.
        precision: Precision of the network in the file.
        outputs: What the file gives: class ids at full size, probabilities, logits, or logits before the last resize.
        inputs: What the file takes: pixels as they are stored, or normalised ones.
        size: Height and width of the one image that the file takes: ONNX and OpenVINO are then faster, and LiteRT
            needs it (257 257 if not given).
        opset: Opset of ONNX, which OpenVINO's files are made by way of, too.
        calibration: Folder of images to measure activations on, for int8.
        output_stride: Output stride of the network, if it is to be another than in training.
        check_data: Images to compare file and original on: files, folders or globs; drawn ones if not given.
        configuration: -c FILE.yaml and --data.option choose the data set that mIoU is measured on, as for validate;
            without them it is the validation split that the checkpoint was trained with.
        images: Images of the data set to measure mIoU on, at most.
        max_difference: How far a logit may be off, as a share of the largest; by the precision if not given.
        min_agreement: Share of pixels that must get the same class; by the precision if not given.
        max_miou_drop: How much mIoU, and PQ where objects are found, may be lost; by the precision if not given.

    Returns:
        0, or 1 if the file is past its tolerance.

    Raises:
        ConfigError: A setting cannot be used, a package is missing, or the network does not go into the format.
        DataError: Images cannot be read.
    """
    from ..tasks.precision import expect_full_precision

    expect_full_precision(configuration, "export (which has --precision)")
    if size is not None and min(size) < SMALLEST_SIDE:
        raise ConfigError(f"--size {size[0]} {size[1]}: expected sides of {SMALLEST_SIDE} or more.")
    import torch
    from rich.console import Console

    from ..api import load
    from ..checkpoints.loading import read_checkpoint, training_config
    from ..export.format import Order, chosen_format, format_named, formats
    from ..export.gate import TOLERANCES, Gate, as_table, write_report
    from ..export.metadata import metadata
    from ..export.model import EXAMPLE_SIZE, ImageModel, example
    from ..inference.options import EvaluationOptions
    from ..runs import resolve_checkpoint

    chosen = chosen_format(format, output, precision)
    writer = format_named(chosen)
    if size is not None and writer.sizes == "open":
        others = ", ".join(name for name, other in formats().items() if other.sizes != "open")
        raise ConfigError(f"--size is for {others}; a file of {chosen} takes images of any size.")
    if writer.sizes == "one" and size is None:
        size = EXAMPLE_SIZE
    model_options = {} if output_stride is None else {"output_stride": output_stride}
    path = resolve_checkpoint(checkpoint)
    segmenter = load(path, "cpu", None, **model_options)
    task = segmenter.task
    output = output or Path(f"{checkpoint.stem if checkpoint.is_file() else checkpoint.name}{writer.suffix}")
    expect_writable(output)
    if precision == "int8":
        to_calibrate = calibration_images(segmenter, calibration, size)
    dtype = writer.model_dtype(precision)
    folded = task.folded()
    network = folded if writer.folded else task.model
    of_training = training_config(read_checkpoint(path))["evaluation"]
    one_look = EvaluationOptions(objects=of_training.get("objects"))  # as a file looks, whatever validation did
    predictor = task.predictor(one_look, folded)
    objects = objects_of(predictor) if writer.finds_objects and outputs == "classes" else None
    making: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "dtype": dtype}
    model = ImageModel(network, task.normalise, **making, decision=task.decision, objects=objects)
    image = example(model, segmenter.channels, segmenter.pixel_range == 255, size or EXAMPLE_SIZE)
    facts = metadata(task.description, model, precision, segmenter.protocol, type(task).__name__, path)

    def calibrate() -> Iterator[np.ndarray]:
        for stored in to_calibrate:
            yield stored if inputs == "pixels" else task.normalise(torch.from_numpy(stored)).numpy()

    limits = {"difference": max_difference, "agreement": min_agreement, "miou_drop": max_miou_drop}
    tolerance = replace(TOLERANCES[precision], **{name: limit for name, limit in limits.items() if limit is not None})
    labelled, of = labelled_images(segmenter, path, configuration, images, size)
    print(f"writing {output} ({chosen}, {precision}) ...", flush=True)
    of_int8 = calibrate if precision == "int8" else None
    exported = writer.write(Order(model, image, output, facts, precision, opset, of_int8, size is not None))
    for note in exported.notes:
        print(f"note: {note}")
    unseen = unseen_images(segmenter, check_data, exported.fixed_size)
    if task.objects is not None and objects is None:
        finding = " or ".join(name for name, other in formats().items() if other.finds_objects)
        print(f"note: the file does not tell objects apart; what does is --format {finding} with --outputs classes")
    gate = Gate(predictor, model, exported, tolerance)
    report = gate.check(unseen, labelled, of, segmenter.labels.class_names, segmenter.labels.ignore_index)
    beside = output.with_name(f"{output.name}.gate.json")
    write_report(beside, report, facts)
    Console(soft_wrap=True).print(as_table(report, f"{output} beside {path}"))
    print(f"written: {', '.join(map(str, (output, *exported.beside, beside)))}")
    return 1 if report.failures else 0


def objects_of(predictor: Predictor) -> Objects | None:
    """Return how a predictor tells objects apart; None where it does not."""
    from ..export.model import Objects
    from ..inference.panoptic import PanopticPredictor

    if not isinstance(predictor, PanopticPredictor):
        return None
    return Objects(predictor.things, predictor.ignore_index, predictor.objects)


def expect_writable(output: Path) -> None:
    """Make the file's folder, and refuse a place that cannot be written before any work is done."""
    from ..files import atomic_open, writing

    probe = output.with_name(f".{output.name}.probe")
    with writing(output, "Choose another place with -o.", ConfigError):
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.is_dir():
            raise ConfigError(f"Cannot write {output}: it is a folder. Give a file's name with -o.")
        with atomic_open(probe):
            pass
        probe.unlink()


def calibration_images(
    segmenter: Segmenter, folder: Path | None, size: tuple[int, int] | None = None
) -> list[np.ndarray]:
    """Return images `(1, C, H, W)` as stored: of the folder, or drawn ones for a model of drawn scenes.

    Raises:
        ConfigError: No folder is given, and the model is of other classes.
        DataError: There is no image in it.
    """
    from ..data.pairing.finding import find_images

    if folder is not None:
        chosen = find_images([folder])
        step = max(1, len(chosen) // CALIBRATION_IMAGES)
        stored = [stored_batch(segmenter, path) for path in chosen[::step][:CALIBRATION_IMAGES]]
        fitting = [batch for batch in stored if size is None or batch.shape[2:] == size]
        if not fitting:
            assert size is not None
            raise DataError(f"--calibration {folder}: none of the images is of --size {size[0]} {size[1]}.")
        return fitting
    if not knows_drawn_scenes(segmenter):
        raise ConfigError(
            "int8 is measured on images like those that the model is for: give --calibration FOLDER with some "
            f"{CALIBRATION_IMAGES} of them, without masks."
        )
    from ..data.sets.drawn_scenes import DrawnScenes

    scenes = DrawnScenes("train", CALIBRATION_IMAGES, *(size or (129, 129)))
    return [channels_first(scenes.load(index)[0]) for index in range(len(scenes))]


def labelled_images(
    segmenter: Segmenter,
    checkpoint: Path,
    configuration: Sequence[str],
    images: int,
    size: tuple[int, int] | None,
) -> tuple[Iterator[Labelled], str]:
    """Return images of a data set's validation split with their truth, and what they are or why there are none.

    Raises:
        ConfigError: The data set that was asked for has other classes.
        DataError: It is not there.
    """
    from ..checkpoints.loading import checkpoint_config, read_checkpoint
    from ..config import Configuration
    from ..data.sets.drawn_scenes import DrawnScenes
    from ..data.spacing import spread

    dataset: SegmentationDataset
    if size is not None and knows_drawn_scenes(segmenter) and not configuration:
        dataset = DrawnScenes("val", images, *size)
    else:
        try:
            if not configuration and checkpoint_config(read_checkpoint(checkpoint)).get("data") is None:
                raise DataError("it names none")
            dataset = Configuration(configuration, checkpoint).datamodule().dataset("val")
        except DeepLabError as error:
            if configuration:
                raise
            return iter(()), f"no mIoU: the checkpoint's own data is not here ({error}); choose one with -c"
    if dataset.labels.class_names != segmenter.labels.class_names:
        raise ConfigError(
            f"The data set has {dataset.labels.num_classes} classes ({', '.join(dataset.labels.class_names[:3])}, ...) "
            f"and the model {segmenter.labels.num_classes} ({', '.join(segmenter.labels.class_names[:3])}, ...): "
            f"choose one of the same classes."
        )
    chosen = spread(len(dataset), images)
    with_numbers = segmenter.task.objects is not None and dataset.has_instances

    def load() -> Iterator[Labelled]:
        from tqdm import tqdm

        from ..export.gate import Labelled

        for index in tqdm(chosen, desc="measuring mIoU", unit="image", mininterval=5):
            image, mask = dataset.load(index)
            if size is None or image.shape[:2] == size:
                numbers = dataset.instances(index) if with_numbers else None
                yield Labelled(dataset.sample_id(index), channels_first(image), mask, numbers)

    return load(), f"mIoU on {len(chosen)} of {len(dataset)} validation images of {type(dataset).__name__}"


def unseen_images(
    segmenter: Segmenter, check_data: Sequence[str] | None, fixed: tuple[int, int] | None
) -> list[np.ndarray]:
    """Return batches `(B, C, H, W)` of two sizes that were not seen at export; of the size there is, if it is fixed."""
    import numpy as np

    from ..data.pairing.finding import find_images
    from ..data.sets.drawn_scenes import DrawnScenes

    if check_data is not None:
        given = [stored_batch(segmenter, path) for path in find_images(check_data)[:8]]
        if fixed is not None:
            given = [batch for batch in given if batch.shape[2:] == fixed]
            if not given:
                raise DataError(f"The file takes images of {fixed[0]}x{fixed[1]} alone, and --check_data has none.")
            return given
        cut = [batch[..., : batch.shape[2] - 13, : batch.shape[3] - 22] for batch in given]
        return given + [np.ascontiguousarray(batch) for batch in cut if min(batch.shape[2:]) >= SMALLEST_SIDE]
    if segmenter.channels != 3 or segmenter.pixel_range != 255:
        raise ConfigError("The model is of other data than 8-bit RGB: give images of it with --check_data.")
    sizes = UNSEEN_SIZES if fixed is None else (fixed,)
    batches = []
    for count, (height, width) in enumerate(sizes, start=1):
        scenes = DrawnScenes("val", 2, height, width)
        batches.append(np.concatenate([channels_first(scenes.load(index)[0]) for index in range(count)]))
    return batches


def knows_drawn_scenes(segmenter: Segmenter) -> bool:
    """Whether a model tells the drawn scenes' classes apart."""
    from ..data.sets.drawn_scenes import DRAWN_SCENES

    return segmenter.labels.class_names == DRAWN_SCENES.class_names


def stored_batch(segmenter: Segmenter, path: Path) -> np.ndarray:
    """Read an image as the model's data is stored, `(1, C, H, W)`."""
    from ..data.files.rasters import read_source

    return channels_first(read_source(path, segmenter.channels, segmenter.pixel_range))


def channels_first(image: np.ndarray) -> np.ndarray:
    """`(H, W, C)` to `(1, C, H, W)`."""
    import numpy as np

    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]
