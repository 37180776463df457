"""The part of `predict` that segments videos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from ..api import Segmenter
    from ..inference.morphology import Morphology
    from ..video.segmenting import EachFrame


class VideoSettings(NamedTuple):
    """What `predict` is to make of videos.

    Attributes:
        folders: Whether folders of images are videos.
        fps: Frames per second of such folders, a number such as "29.97" or "30000/1001".
        view: What to look at.
        smoothing: Weight of the past in the mean of probabilities.
        objects: Classes to follow.
        object_area: Pixels below which objects are left out.
    """

    folders: bool = False
    fps: str = "25"
    view: Literal["overlay", "side_by_side"] = "overlay"
    smoothing: float = 0.0
    objects: tuple[str, ...] = ()
    object_area: int = 100


def segment_videos(
    videos: Sequence[Path],
    model: Segmenter,
    morphology: Morphology,
    output: Path,
    settings: VideoSettings,
    opacity: float,
    label_ids: bool,
    table: np.ndarray,
) -> list[str]:
    """Segment videos one after the other; what was done before, whole or in part, is not done again.

    Args:
        videos: Files, and folders of frames.
        model: The model.
        morphology: Post-processes the masks.
        output: Gets `masks/NAME.mkv`, `overlays/NAME.mp4`, `objects/NAME.csv` and `reports/NAME.json`.
        settings: What is made.
        opacity: Of the classes in overlays.
        label_ids: Write Cityscapes' label ids.
        table: Colours of the ids that are written, `(256, 3)` uint8.

    Returns:
        A sentence for each video that could not be segmented.

    Raises:
        ConfigError: A setting makes no sense, or a video's job was begun with others.
    """
    import numpy as np
    from tqdm import tqdm

    from ..data.sets.cityscapes import to_label_ids
    from ..errors import ConfigError, DataError
    from ..extras import need
    from ..video.job import VideoJob, VideoOptions
    from ..video.reading import FrameFolder, VideoFile
    from .predict import output_names

    need("av", "video", "Segmenting videos")
    try:
        rate = Fraction(settings.fps)
        if not 0 < rate <= 1000:
            raise ValueError
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"--fps is a number above 0, such as 25 or 30000/1001; got {settings.fps!r}.") from error
    options = VideoOptions(settings.view, opacity, settings.smoothing, settings.objects, settings.object_area)
    written_ids = to_label_ids(np.arange(256, dtype=np.uint8)) if label_ids else None
    protocol = ", ".join(filter(None, (model.protocol, str(options), str(morphology))))
    identity = f"{weights_hash(model)}; {protocol}" + ("; label ids" if label_ids else "")
    failures = []
    for video, name in zip(videos, output_names(videos), strict=True):
        try:
            source = FrameFolder(video, rate) if video.is_dir() else VideoFile(video)
            segment = segmenter_of(model, settings.smoothing, morphology)  # anew: it remembers frames
            with tqdm(
                total=source.expected, unit="frame", desc=name.name, mininterval=0.1 if sys.stderr.isatty() else 15
            ) as bar:
                job = VideoJob(
                    source, name, segment, model.labels, output, options, identity, written_ids, table, bar.update
                )
                report = job.run()
        except DataError as error:
            failures.append(str(error))
            continue
        print(f"{name}: {report} ({protocol}): {job.masks}, {job.view}", flush=True)
    return failures


def segmenter_of(model: Segmenter, smoothing: float, morphology: Morphology) -> EachFrame:
    """Return what makes masks of a video's frames."""
    from ..video.segmenting import EachFrame, Smoothed

    if not smoothing:
        return EachFrame(lambda image: model.predict(image, morphology).mask)

    return Smoothed(model.probs, lambda probs: model.postprocess_probs(probs, morphology), smoothing)


def weights_hash(model: Segmenter) -> str:
    """Return what tells a model's weights from others'."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name, tensor in model.task.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
