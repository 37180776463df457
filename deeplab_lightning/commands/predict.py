"""`predict`: image files in, masks and overlays out, from a checkpoint alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ..inference.options import DraftOptions, EvaluationOptions, Postprocessing
from ..options import Between, Written, at_least
from .videos import VideoSettings

if TYPE_CHECKING:
    from ..inference.drafts.form import DraftClass
    from ..labels import LabelSet


def predict(
    inputs: Annotated[list[str], Written(metavar="IMAGE")],
    /,
    *,
    ckpt_path: str,
    output: Path = Path("predictions"),
    output_stride: Annotated[Literal[8, 16, 32] | None, Written("--model.output_stride")] = None,
    opacity: Annotated[float, Between(0, 1)] = 0.5,
    label_ids: bool = False,
    device: str | None = None,
    max_pixels: Annotated[int, at_least(1)] | None = None,
    postprocessing: Postprocessing | None = None,
    drafts: DraftOptions | None = None,
    videos: VideoSettings | None = None,
    evaluation: EvaluationOptions | None = None,
) -> int:
    """Segment image files with a checkpoint.

    For each image a palette PNG of class ids and an overlay, at the image's own size. Those that cannot be read are
    reported at the end; the exit code is then 1. Videos are told by their ending, and a job that was killed goes on
    when it is started again.

    Args:
        inputs: Images and videos: files, folders or globs.
        ckpt_path: Checkpoint, or a run such as runs/v3plus, of which the best checkpoint is taken.
        output: Folder for masks/NAME.png, overlays/NAME.png and classes.csv; of a network that finds objects,
            panoptic/NAME.png and their lists, too.
        output_stride: Output stride of the network, if it is to be another than in training.
        opacity: Opacity of the classes in overlays.
        label_ids: Write masks of Cityscapes' label ids in place of train ids, as its server wants them.
        device: Where to run, such as cpu or cuda:1; the GPU, if there is one, when not given.
        max_pixels: Refuse images of more pixels than this; by default what this machine's memory holds, and 268,435,456
            at most.
        postprocessing: What is done to the masks.
        drafts: Which drafts of annotations are written.
        videos: What is made of videos.
        evaluation: How images are looked at.

    Returns:
        0, or 1 if some image could not be segmented.

    Raises:
        ConfigError: Label ids are asked for, but the model's classes are not those of Cityscapes; drafts are asked for,
            but there are some already, or inputs that no annotation tool opens.
    """
    from tqdm import tqdm

    from ..api import load
    from ..data.files.limits import set_most_pixels
    from ..data.files.rasters import has_ending, parts_to_segment
    from ..data.files.saving import write_image, write_mask
    from ..data.pairing.finding import IMAGE_SUFFIXES, RASTER_SUFFIXES, find_images, not_read, without_ending
    from ..data.sets.cityscapes import CITYSCAPES, LABEL_IDS, label_id_colours, to_label_ids
    from ..errors import ConfigError, DeepLabError, shown
    from ..export.run_model import output_names
    from ..files import write_csv, writing
    from ..inference.drafts.writing import Drafts
    from ..inference.morphology import Morphology
    from ..video.reading import find_videos
    from .object_files import ObjectFiles
    from .videos import segment_videos

    set_most_pixels(max_pixels)
    of_videos = videos or VideoSettings()
    video_files, others = find_videos(inputs, of_videos.folders)
    images = find_images(others, (*IMAGE_SUFFIXES, *RASTER_SUFFIXES))
    for line in not_read(others, [*images, *video_files]):
        print(shown(line))
    of_drafts = drafts or DraftOptions()
    undrawable = [*video_files, *(image for image in images if has_ending(image, RASTER_SUFFIXES))]
    if of_drafts.write and undrawable:
        raise ConfigError(
            f"--write makes drafts of images that annotation tools open; {undrawable[0]} is a video, a volume or an "
            f"array. Leave such inputs out, or save their frames or slices as PNG."
        )
    model_options = {} if output_stride is None else {"output_stride": output_stride}
    model = load(ckpt_path, device, evaluation, **model_options)
    if label_ids and model.labels.class_names != CITYSCAPES.class_names:
        raise ConfigError(
            f"--label_ids is for the 19 classes of Cityscapes; {ckpt_path} has {model.labels.num_classes} classes "
            f"({', '.join(model.labels.class_names[:3])}, ...). Leave it out."
        )
    morphology = Morphology.of_classes(postprocessing or Postprocessing(), model.labels)
    protocol = ", ".join(filter(None, (model.protocol, str(morphology))))
    ids = LABEL_IDS if label_ids else range(model.labels.num_classes)
    of_objects = None
    if model.things:
        cityscapes = LABEL_IDS if model.labels.class_names == CITYSCAPES.class_names else None
        of_objects = ObjectFiles(output, model.labels, model.things, cityscapes)
    writing_drafts = Drafts(output, of_drafts, drafted_classes(model.labels, bool(morphology.threshold)))
    table = label_id_colours() if label_ids else model.labels.colour_table()
    rows = [
        (index, name, red, green, blue)
        for index, name, (red, green, blue) in zip(ids, model.labels.class_names, model.labels.palette, strict=True)
    ]
    with writing(f"to {output}", "Choose another folder with --output."):
        output.mkdir(parents=True, exist_ok=True)
        write_csv(output / "classes.csv", ("id", "name", "red", "green", "blue"), rows)

    failures = []
    if video_files:
        failures = segment_videos(video_files, model, morphology, output, of_videos, opacity, label_ids, table)
        if not images:
            return report_failures(failures)

    written: list[Path] = []
    of_images: list[str] = []
    seconds_between_lines = 0.1 if sys.stderr.isatty() else 15
    named = list(zip(images, output_names(images, without_ending), strict=True))
    with writing_drafts:
        for image, name in tqdm(named, unit="image", mininterval=seconds_between_lines):
            try:  # whatever a file is like, the others are segmented
                for part in parts_to_segment(image):
                    result, at = model.predict(part, morphology), f"{name}{part.mark}.png"
                    mask = to_label_ids(result.mask) if label_ids else result.mask
                    write_mask(output / "masks" / at, mask, table)
                    write_image(output / "overlays" / at, result.overlay(opacity))
                    written.append(output / "masks" / at)
                    if of_objects is not None and result.panoptic is not None:
                        of_objects.add(f"{name}{part.mark}", result.panoptic)
                    if not part.mark:
                        writing_drafts.add(image, name, result.mask)
                if of_drafts.write and part.mark:
                    of_images.append(f"{image} got no draft: it is too large to be opened whole: read in windows.")
            except DeepLabError as error:  # noqa: PERF203
                of_images.append(str(error))
    gone = [str(path) for path in written if not path.is_file()]
    of_images += [f"{path} was written, and is gone: was {output} deleted meanwhile?" for path in gone]
    done = len(written) - len(gone)
    total = done + len(of_images)
    print(f"{done} of {total} images segmented ({protocol}): {output}/masks, {output}/overlays")
    if of_objects is not None and done:
        of_objects.finish()
        print(f"{of_objects.count} objects: {output}/objects.csv, objects.json, panoptic.json")
    for form in of_drafts.write if done else ():
        print(f"drafts to correct: {output / form}")
    return report_failures([*failures, *of_images])


def drafted_classes(labels: LabelSet, with_ignored: bool) -> dict[int, DraftClass]:
    """Return which classes are drafted, by id: all but those called background; the ignored value, where there is one.

    What is not drafted is background to the tools, so of classes such as road and sky none may be left out.
    """
    from ..data.forms.outlines import BACKGROUNDS, spelled_alike
    from ..inference.drafts.form import IGNORED, DraftClass

    named = enumerate(zip(labels.class_names, labels.palette, strict=True))
    drafted = {index: DraftClass(*one) for index, one in named if spelled_alike(one[0]) not in BACKGROUNDS}
    return drafted | ({labels.ignore_index: DraftClass(IGNORED, labels.void_colour)} if with_ignored else {})


def report_failures(failures: Sequence[str]) -> int:
    """Print what could not be segmented; return the exit code."""
    from ..errors import shown

    for failure in failures:
        print(f"not segmented: {shown(failure)}")
    return 1 if failures else 0
