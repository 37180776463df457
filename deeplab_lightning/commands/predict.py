"""`predict`: image files in, masks and overlays out, from a checkpoint alone."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .evaluating import add_evaluation_arguments, evaluation_options

if TYPE_CHECKING:
    from ..inference import EvaluationOptions

from .postprocessing import Postprocessing
from .videos import VideoSettings


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 1 if an image could not be read."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning predict",
        description="Segment images. For each one a palette PNG of class ids and an overlay, at the image's own size.",
        allow_abbrev=False,
    )
    parser.add_argument("inputs", nargs="+", metavar="IMAGE", help="files, folders or globs")
    parser.add_argument("--ckpt_path", required=True, help="checkpoint, or a run such as runs/v3plus (its best one)")
    parser.add_argument("--output", default="predictions", help="folder for masks/ and overlays/ (%(default)s)")
    parser.add_argument(
        "--model.output_stride", dest="output_stride", type=int, choices=(8, 16, 32), help="other than in training"
    )
    parser.add_argument("--opacity", type=float, default=0.5, help="of the classes in overlays, 0..1 (%(default)s)")
    parser.add_argument(
        "--label_ids",
        action="store_true",
        help="masks of Cityscapes' label ids instead of train ids, as its server wants them",
    )
    parser.add_argument("--device", help="such as cpu or cuda:1 (the GPU if there is one)")
    Postprocessing.add_options(parser)
    videos = parser.add_argument_group(
        "videos", "files by their ending; a job that was killed goes on when started again"
    )
    videos.add_argument("--video", action="store_true", help="take folders of images for the frames of videos")
    videos.add_argument("--fps", default="25", help="frames per second of such folders (%(default)s)")
    videos.add_argument("--view", choices=("overlay", "side_by_side"), default="overlay", help="(%(default)s)")
    videos.add_argument(
        "--smoothing",
        type=float,
        default=0.0,
        help="weight of the past in the mean of probabilities, 0..1 (%(default)s)",
    )
    videos.add_argument("--objects", nargs="+", default=[], metavar="CLASS", help="follow their objects, and list them")
    videos.add_argument("--object_area", type=int, default=100, help="pixels below which none counts (%(default)s)")
    add_evaluation_arguments(parser)
    options = parser.parse_args(arguments)
    return predict(
        options.inputs,
        options.ckpt_path,
        Path(options.output),
        options.output_stride,
        options.opacity,
        options.device,
        options.label_ids,
        VideoSettings(
            options.video, options.fps, options.view, options.smoothing, tuple(options.objects), options.object_area
        ),
        Postprocessing.of(options),
        evaluation_options(options),
    )


def predict(
    inputs: Sequence[str],
    ckpt_path: str,
    output: Path,
    output_stride: int | None = None,
    opacity: float = 0.5,
    device: str | None = None,
    label_ids: bool = False,
    video_settings: VideoSettings | None = None,
    postprocessing: Postprocessing | None = None,
    evaluation: EvaluationOptions | None = None,
) -> int:
    """Segment every image and video that `inputs` stands for; unreadable ones are reported at the end.

    Args:
        inputs: Files, folders or globs.
        ckpt_path: Checkpoint or run.
        output: Gets `masks/NAME.png`, `overlays/NAME.png` and `classes.csv`.
        output_stride: Overrides the checkpoint's.
        opacity: Of the classes in overlays.
        device: Where to run.
        label_ids: Write Cityscapes' label ids in place of train ids.
        video_settings: What to make of videos; the defaults if None.
        postprocessing: How masks are post-processed; not if None.
        evaluation: Scales, flip, windows, CRF.

    Returns:
        0, or 1 if some image could not be segmented.

    Raises:
        ConfigError: Label ids are asked for, but the model's classes are not those of Cityscapes.
    """
    from tqdm import tqdm

    from ..api import load
    from ..data.finding import IMAGE_SUFFIXES, RASTER_SUFFIXES, find_images
    from ..data.images import write_image, write_mask
    from ..data.rasters import sources_in
    from ..data.sets.cityscapes import CITYSCAPES, LABEL_IDS, label_id_colours, to_label_ids
    from ..errors import ConfigError, DataError
    from ..video.reading import find_videos
    from .videos import segment_videos

    video_settings, postprocessing = video_settings or VideoSettings(), postprocessing or Postprocessing()
    videos, others = find_videos(inputs, video_settings.folders)
    images = find_images(others, (*IMAGE_SUFFIXES, *RASTER_SUFFIXES))
    model_options = {} if output_stride is None else {"output_stride": output_stride}
    model = load(ckpt_path, device, evaluation, **model_options)
    if label_ids and model.labels.class_names != CITYSCAPES.class_names:
        raise ConfigError(
            f"--label_ids is for the 19 classes of Cityscapes; {ckpt_path} has {model.labels.num_classes} classes "
            f"({', '.join(model.labels.class_names[:3])}, ...). Leave it out."
        )
    morphology = postprocessing.morphology(model.labels)
    protocol = ", ".join(filter(None, (model.protocol, str(morphology))))
    ids = LABEL_IDS if label_ids else range(model.labels.num_classes)
    table = label_id_colours() if label_ids else model.labels.colour_table()
    rows = [
        f"{index},{name},{red},{green},{blue}"
        for index, name, (red, green, blue) in zip(ids, model.labels.class_names, model.labels.palette, strict=True)
    ]
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "classes.csv").write_text("\n".join(["id,name,red,green,blue", *rows]) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"Cannot write to {output}: {error.strerror}. Choose another folder with --output.") from error

    of_videos = (
        segment_videos(videos, model, morphology, output, video_settings, opacity, label_ids, table) if videos else []
    )
    if videos and not images:
        return report_failures(of_videos)

    done, failures = 0, []
    seconds_between_lines = 0.1 if sys.stderr.isatty() else 15
    named = list(zip(images, output_names(images), strict=True))
    for image, name in tqdm(named, unit="image", mininterval=seconds_between_lines):
        try:
            results = [(part.mark, model.predict(part, morphology)) for part in sources_in(image)]
        except DataError as error:
            failures.append(str(error))
            continue
        for mark, result in results:
            mask = to_label_ids(result.mask) if label_ids else result.mask
            write_mask(output / "masks" / f"{name}{mark}.png", mask, table)
            write_image(output / "overlays" / f"{name}{mark}.png", result.overlay(opacity))
        done += len(results)
    total = done + len(failures)
    print(f"{done} of {total} images segmented ({protocol}): {output}/masks, {output}/overlays")
    return report_failures([*of_videos, *failures])


def report_failures(failures: Sequence[str]) -> int:
    """Print what could not be segmented; return the exit code."""
    for failure in failures:
        print(f"not segmented: {failure}")
    return 1 if failures else 0


def output_names(images: Sequence[Path]) -> list[Path]:
    """Name the outputs after the images, without endings, keeping the folders below their common one.

    Where two images differ in their ending alone, the endings stay in the names.
    """
    from ..data.finding import without_ending

    absolute = [Path(os.path.abspath(image)) for image in images]
    common = Path(os.path.commonpath([image.parent for image in absolute]))
    relative = [image.relative_to(common) for image in absolute]
    taken = Counter(map(without_ending, relative))
    return [image if taken[without_ending(image)] > 1 else without_ending(image) for image in relative]
