"""The part of `predict` that segments videos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ..options import Between, Options, Written, at_least

if TYPE_CHECKING:
    import numpy as np

    from ..api import Segmenter
    from ..inference.morphology import Morphology
    from ..video.segmenting import EachFrame


@dataclass(frozen=True)
class VideoSettings(Options):
    """What is made of videos (docs/video.md)."""

    folders: Annotated[bool, Written("--video")] = False
    """Take folders of images for the frames of videos."""
    fps: str = "25"
    """Frames per second of folders of images, a number such as 29.97 or 30000/1001."""
    view: Literal["overlay", "side_by_side"] = "overlay"
    """What the video to look at shows."""
    smoothing: Annotated[float, Between(0, 1, open_high=True, near=0.9)] = 0.0
    """Weight of the past in the mean of the frames' probabilities, from 0 to below 1; 0 for none."""
    objects: Annotated[tuple[str, ...], Written(metavar="CLASS")] = ()
    """Classes whose objects are followed and listed."""
    object_area: Annotated[int, at_least(0), Written(metavar="PIXELS")] = 100
    """Pixels below which an object is left out."""


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

    `output` gets `masks/NAME.mkv`, `overlays/NAME.mp4`, `objects/NAME.csv` and `reports/NAME.json`; `table` has the
    colours of the ids that are written, `(256, 3)` uint8.

    Returns:
        A sentence for each video that could not be segmented.

    Raises:
        ConfigError: A setting makes no sense, or a video's job was begun with others.
    """
    import numpy as np
    from tqdm import tqdm

    from ..data.sets.cityscapes import to_label_ids
    from ..errors import ConfigError, DataError, shown
    from ..export.run_model import output_names
    from ..extras import need
    from ..ledger import key_of
    from ..video.job import VideoJob, VideoOptions
    from ..video.reading import FrameFolder, VideoFile
    from .identity import identity

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
    made_by = f"{key_of(identity(model.task))}; {protocol}" + ("; label ids" if label_ids else "")
    failures = []
    for video, name in zip(videos, output_names(videos), strict=True):
        try:
            source = FrameFolder(video, rate) if video.is_dir() else VideoFile(video)
            segment = segmenter_of(model, settings.smoothing, morphology)  # anew: it remembers frames
            pause = 0.1 if sys.stderr.isatty() else 15
            with tqdm(total=source.expected, unit="frame", desc=shown(name.name), mininterval=pause) as bar:
                job = VideoJob(
                    source, name, segment, model.labels, output, options, made_by, written_ids, table, bar.update
                )
                report = job.run()
        except DataError as error:
            failures.append(str(error))
            continue
        print(shown(f"{name}: {report} ({protocol}): {job.masks}, {job.view}"), flush=True)
    return failures


def segmenter_of(model: Segmenter, smoothing: float, morphology: Morphology) -> EachFrame:
    """Return what makes masks of a video's frames."""
    from ..video.segmenting import EachFrame, Smoothed

    if not smoothing:
        return EachFrame(lambda image: model.predict(image, morphology).mask)

    return Smoothed(model.probs, lambda probs: model.postprocess_probs(probs, morphology), smoothing)
