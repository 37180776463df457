"""`export`: a trained model as a file for other programs, held against its original before it is believed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import option_value, without_option
from ..errors import ConfigError, DataError, DeepLabError
from .inspect import split_arguments

if TYPE_CHECKING:
    import numpy as np

    from ..api import Segmenter
    from ..data.dataset import SegmentationDataset
    from ..export.formats import Precision
    from ..export.gate import Report
    from ..export.model import Inputs, Outputs

FORMATS = ("onnx", "openvino", "pt2", "torchscript", "litert")
UNSEEN_SIZES = ((97, 130), (160, 113))
"""Of the gate's drawn images: no side fits an output stride, and none is the size that files are exported with."""
STRIDE = "--model.output_stride"
CALIBRATION_IMAGES = 64
ONE_SIZE = ("onnx", "openvino", "litert")
"""Formats that can be written for one size."""
FOLDED = ("pt2", "torchscript")
"""Formats whose batch norms are folded beforehand; the other runtimes do so themselves."""
SMALLEST_SIDE = 33


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 1 if the file is past its tolerance."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning export",
        description="Write a trained model as a file that runs without this framework, and hold it against the "
        "original: logits and classes at sizes not seen before, mIoU on a data set, latency, size. See docs/export.md.",
        usage="%(prog)s CHECKPOINT|RUN --format onnx|openvino|pt2|torchscript|litert [-o FILE] [options]",
        epilog="-c FILE.yaml and --data.option choose the data set that mIoU is measured on, as for validate; without "
        "them it is the validation split that the checkpoint was trained with.",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT|RUN", help="such as runs/v3plus (its best one)")
    parser.add_argument("--format", choices=FORMATS, help="if FILE's ending does not say")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="to write (the checkpoint's or run's name)")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16", "int8"), default="fp32", help="(%(default)s)")
    parser.add_argument(
        "--outputs",
        choices=("classes", "probs", "logits", "coarse_logits"),
        default="classes",
        help="class ids at full size (default); probabilities; logits; logits before the last resize",
    )
    parser.add_argument(
        "--inputs", choices=("pixels", "normalised"), default="pixels", help="what the file takes (%(default)s)"
    )
    parser.add_argument(
        "--size", nargs=2, type=int, metavar=("H", "W"),
        help="of the one image that the file takes: ONNX or OpenVINO, then faster; LiteRT, which needs it (257 257)"
    )  # fmt: skip
    parser.add_argument("--opset", type=int, default=18, help="of ONNX, on OpenVINO's way too (%(default)s)")
    parser.add_argument("--calibration", type=Path, metavar="FOLDER", help="images to measure activations on, for int8")
    parser.add_argument(STRIDE, dest="output_stride", type=int, choices=(8, 16, 32), help="other than in training")
    gate = parser.add_argument_group("gate")
    gate.add_argument("--check_data", nargs="+", metavar="IMAGE", help="to compare on: files, folders or globs")
    gate.add_argument("--images", type=int, default=100, help="to measure mIoU on, at most (%(default)s)")
    gate.add_argument("--max_difference", type=float, help="of a logit, as a share of the largest (by the precision)")
    gate.add_argument("--min_agreement", type=float, help="share of pixels with the same class, 0..1 (likewise)")
    gate.add_argument("--max_miou_drop", type=float, help="0..1 (likewise)")
    own, configuration = split_arguments(arguments)
    stride = option_value(configuration, STRIDE)
    options = parser.parse_args([*own, *([STRIDE, stride] if stride is not None else [])])
    configuration = without_option(configuration, STRIDE)
    if options.images < 1:
        raise ConfigError(f"--images is {options.images}; expected 1 or more.")
    if options.size is not None and min(options.size) < SMALLEST_SIDE:
        raise ConfigError(f"--size {options.size[0]} {options.size[1]}: expected sides of {SMALLEST_SIDE} or more.")
    limits = {
        "difference": options.max_difference,
        "agreement": options.min_agreement,
        "miou_drop": options.max_miou_drop,
    }
    report = export(
        Path(options.checkpoint),
        options.format,
        options.output,
        precision=options.precision,
        outputs=options.outputs,
        inputs=options.inputs,
        size=None if options.size is None else tuple(options.size),
        opset=options.opset,
        calibration=options.calibration,
        output_stride=options.output_stride,
        check_data=options.check_data,
        configuration=configuration,
        images=options.images,
        limits={key: value for key, value in limits.items() if value is not None},
    )
    return 1 if report.failures else 0


def export(
    checkpoint: Path,
    format: str | None = None,
    output: Path | None = None,
    *,
    precision: Precision = "fp32",
    outputs: Outputs = "classes",
    inputs: Inputs = "pixels",
    size: tuple[int, int] | None = None,
    opset: int = 18,
    calibration: Path | None = None,
    output_stride: int | None = None,
    check_data: Sequence[str] | None = None,
    configuration: Sequence[str] = (),
    images: int = 100,
    limits: dict[str, float] | None = None,
) -> Report:
    """Write a file, print what the gate says of it, and keep that beside it as `FILE.gate.json`.

    Args:
        checkpoint: Checkpoint or run.
        format: See `export.formats.FORMATS`; by the file's ending if not given.
        output: The file; in the working folder, named after checkpoint or run, if not given.
        precision: Of the network.
        outputs: What the file gives.
        inputs: What it takes.
        size: Of the one image that the file takes; None for any, where the format can have that.
        opset: Of ONNX.
        calibration: Folder of images, for int8.
        output_stride: Overrides the checkpoint's.
        check_data: Images to compare on; drawn ones if not given.
        configuration: `-c` and `--data.x` as given to `validate`: the data set that mIoU is measured on.
        images: How many of it, at most.
        limits: Fields of `Tolerance` to set otherwise than the precision does.

    Raises:
        ConfigError: A setting cannot be used, a package is missing, or the network does not go into the format.
        DataError: Images cannot be read.
    """
    import torch
    from rich.console import Console

    from ..api import load
    from ..export.formats import FORMATS, Order, chosen_format
    from ..export.gate import TOLERANCES, Gate, as_table, write_report
    from ..export.metadata import metadata
    from ..export.model import EXAMPLE_SIZE, ImageModel, example
    from ..runs import resolve_checkpoint

    chosen = chosen_format(format, output, precision)
    if size is not None and chosen not in ONE_SIZE:
        raise ConfigError(f"--size is for {', '.join(ONE_SIZE)}; a file of {chosen} takes images of any size.")
    if chosen == "litert" and size is None:
        size = EXAMPLE_SIZE
    model_options = {} if output_stride is None else {"output_stride": output_stride}
    path = resolve_checkpoint(checkpoint)
    segmenter = load(path, "cpu", None, **model_options)
    task = segmenter.task
    output = output or Path(f"{checkpoint.stem if checkpoint.is_file() else checkpoint.name}{FORMATS[chosen].suffix}")
    expect_writable(output)
    if precision == "int8":
        to_calibrate = calibration_images(segmenter, calibration, size)
    dtype = FORMATS[chosen].model_dtype(precision)
    folded = task.folded()
    network = folded if chosen in FOLDED else task.model
    model = ImageModel(network, task.normalise, inputs=inputs, outputs=outputs, dtype=dtype)
    image = example(model, segmenter.channels, segmenter.pixel_range == 255, size or EXAMPLE_SIZE)
    facts = metadata(
        task.description,
        inputs=inputs,
        outputs=outputs,
        precision=precision,
        protocol=segmenter.protocol,
        task=type(task).__name__,
        source=path,
    )

    def calibrate() -> Iterator[np.ndarray]:
        for stored in to_calibrate:
            yield stored if inputs == "pixels" else task.normalise(torch.from_numpy(stored)).numpy()

    tolerance = replace(TOLERANCES[precision], **(limits or {}))
    labelled, of = labelled_images(segmenter, path, configuration, images, size)
    print(f"writing {output} ({chosen}, {precision}) ...", flush=True)
    exported = FORMATS[chosen].write(
        Order(
            model,
            image,
            output,
            facts,
            precision,
            opset,
            calibrate if precision == "int8" else None,
            one_size=size is not None,
        )
    )
    for note in exported.notes:
        print(f"note: {note}")
    unseen = unseen_images(segmenter, check_data, exported.fixed_size)
    gate = Gate(task.predictor(network=folded), model, exported, tolerance)
    report = gate.check(unseen, labelled, of, segmenter.labels.class_names, segmenter.labels.ignore_index)
    beside = output.with_name(f"{output.name}.gate.json")
    write_report(beside, report, facts)
    Console(soft_wrap=True).print(as_table(report, f"{output} beside {path}"))
    print(f"written: {', '.join(map(str, (output, *exported.beside, beside)))}")
    return report


def expect_writable(output: Path) -> None:
    """Make the file's folder, and refuse a place that cannot be written before any work is done."""
    from ..files import atomic_open

    probe = output.with_name(f".{output.name}.probe")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.is_dir():
            raise ConfigError(f"Cannot write {output}: it is a folder. Give a file's name with -o.")
        with atomic_open(probe):
            pass
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"Cannot write {output}: {error.strerror}. Choose another place with -o.") from error


def calibration_images(
    segmenter: Segmenter, folder: Path | None, size: tuple[int, int] | None = None
) -> list[np.ndarray]:
    """Return images `(1, C, H, W)` as stored: of the folder, or drawn ones for a model of drawn scenes.

    Args:
        segmenter: The model.
        folder: Of images.
        size: That they must have, if that matters.

    Raises:
        ConfigError: No folder is given, and the model is of other classes.
        DataError: There is no image in it.
    """
    from ..data.finding import find_images

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
) -> tuple[Iterator[tuple[str, np.ndarray, np.ndarray]], str]:
    """Return name, image and mask of a data set's validation split, and what they are or why there are none.

    Raises:
        ConfigError: The data set that was asked for has other classes.
        DataError: It is not there.
    """
    from ..data.sets.drawn_scenes import DrawnScenes
    from ..data.spacing import spread

    dataset: SegmentationDataset
    if size is not None and knows_drawn_scenes(segmenter) and not configuration:
        dataset = DrawnScenes("val", images, *size)
    else:
        try:
            dataset = validation_split(checkpoint, configuration)
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

    def load() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        from tqdm import tqdm

        for index in tqdm(chosen, desc="measuring mIoU", unit="image", mininterval=5):
            image, mask = dataset.load(index)
            if size is None or image.shape[:2] == size:
                yield dataset.sample_id(index), channels_first(image), mask

    return load(), f"mIoU on {len(chosen)} of {len(dataset)} validation images of {type(dataset).__name__}"


def validation_split(checkpoint: Path, configuration: Sequence[str]) -> SegmentationDataset:
    """Open the validation split that a configuration names, or the checkpoint's own."""
    from ..checkpoints.loading import checkpoint_config, read_checkpoint
    from ..parsing import class_named

    if configuration:
        from ..configured import ConfiguredModel

        return ConfiguredModel(list(configuration), str(checkpoint), on_paper=True).dataset("val")
    own = checkpoint_config(read_checkpoint(checkpoint)).get("data")
    if own is None:
        raise DataError("it names none")
    try:
        return class_named("data", own["class_path"])(**own["init_args"]).dataset("val")
    except TypeError as error:  # weights that were imported: the data set's place is not known
        raise DataError("its place is not known") from error


def unseen_images(
    segmenter: Segmenter, check_data: Sequence[str] | None, fixed: tuple[int, int] | None
) -> list[np.ndarray]:
    """Return batches `(B, C, H, W)` of two sizes that were not seen at export; of the size there is, if it is fixed."""
    import numpy as np

    from ..data.finding import find_images
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
    for number, (height, width) in enumerate(sizes):
        scenes = DrawnScenes("val", 2, height, width)
        count = 1 if number == 0 else 2
        batches.append(np.concatenate([channels_first(scenes.load(index)[0]) for index in range(count)]))
    return batches


def knows_drawn_scenes(segmenter: Segmenter) -> bool:
    """Whether a model tells the drawn scenes' classes apart."""
    from ..data.sets.drawn_scenes import DRAWN_SCENES

    return segmenter.labels.class_names == DRAWN_SCENES.class_names


def stored_batch(segmenter: Segmenter, path: Path) -> np.ndarray:
    """Read an image as the model's data is stored, `(1, C, H, W)`."""
    from ..data.rasters import read_source

    return channels_first(read_source(path, segmenter.channels, segmenter.pixel_range))


def channels_first(image: np.ndarray) -> np.ndarray:
    """`(H, W, C)` to `(1, C, H, W)`."""
    import numpy as np

    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]
