"""One video through the network: in segments, so that a job that was killed goes on where it was.

Every `SEGMENT_FRAMES` frames the work so far is put away in `parts/NAME/`: the segment's masks and view, its times and
objects, and what the next frame depends on. A job that is started again with the same video, model and options takes
over what is there and decodes the frames before it without running the network. What comes out is the same to the last
bit as without the interruption. At the end the segments are joined, and `parts/NAME/` is removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import DataError, of_image
from ..files import atomic_open, write_csv
from ..labels import LabelSet
from ..ledger import Ledger
from ..npz import read_npz
from ..reporting.panels import GAP, PAPER, overlay
from .objects import ObjectTracker
from .reading import Frame, FrameSource, VideoFile
from .segmenting import EachFrame
from .writing import MASK_CODEC, SegmentWriter, Times, has_audio, join, view_codec

SEGMENT_FRAMES = 100
"""Frames between two points from which a killed job goes on."""

View = Literal["overlay", "side_by_side"]
OBJECT_COLUMNS = ("frame", "seconds", "id", "class", "left", "top", "width", "height", "area")


@dataclass(frozen=True)
class VideoOptions:
    """What is made of a video.

    Attributes:
        view: The classes' colours over the frame, or the frame beside it.
        opacity: Of the colours, 0..1.
        smoothing: Weight of the past in the running mean of probabilities, from 0 (none) to below 1.
        objects: Classes whose connected objects are followed and listed; none by default.
        min_area: Objects below this many pixels are left out.
    """

    view: View = "overlay"
    opacity: float = 0.5
    smoothing: float = 0.0
    objects: tuple[str, ...] = ()
    min_area: int = 100

    def __str__(self) -> str:
        """Return what of it changes masks, for the protocol."""
        return f"smoothing {self.smoothing:g}" if self.smoothing else "each frame alone"


@dataclass(frozen=True)
class VideoReport:
    """What became of a video.

    Attributes:
        frames: How many were written.
        seconds: How long they last.
        repeated: Could not be decoded; the frame before stands in their place.
        damaged: Were fixed by the decoder, and segmented so.
        lost: Could not be decoded and had no good frame before them: left out.
        audio: "copied", "none", or "dropped", which is when the container cannot hold it.
        continued_at: The frame at which the job went on after having been stopped; 0 if it was not, None if nothing
            was left to do.
    """

    frames: int
    seconds: float
    repeated: int
    damaged: int
    lost: int
    audio: str
    continued_at: int | None = 0

    def __str__(self) -> str:
        """Return all of it in a line."""
        words = [f"{self.frames} frames, {self.seconds:.2f} s"]
        if self.continued_at is None:
            words = [f"was done before: {words[0]}"]
        elif self.continued_at:
            words.append(f"continued at frame {self.continued_at}")
        if self.repeated:
            words.append(f"{self.repeated} could not be decoded: the frame before stands in their place")
        if self.damaged:
            words.append(f"{self.damaged} were damaged, and segmented as the decoder fixed them")
        if self.lost:
            words.append(f"{self.lost} before the first good frame were left out")
        words.append({"none": "no audio"}.get(self.audio, f"audio {self.audio}"))
        return "; ".join(words)


class VideoJob:
    """Segments one video into files below a folder.

    `masks/NAME.mkv` holds class ids as grey values, without loss; `overlays/NAME.mp4` is the view to look at, with the
    input's audio; `objects/NAME.csv` lists objects; `reports/NAME.json` says what was done.

    Args:
        source: The frames.
        name: Of the outputs, without ending; it may have folders in it.
        segment: Makes masks of the frames.
        labels: What the ids mean.
        output: The folder.
        options: What is made.
        model: What tells the model and all that changes its masks from others: a job only goes on with the same.
        written_ids: Table `(256,)` uint8 that maps masks before they are written; None: they stay as they are.
        table: Colours of the ids written, `(256, 3)` uint8; None: the labels' own.
        progress: Called with the number of frames done before, and after each further one with 1.

    Raises:
        ConfigError: A class to follow does not exist.
    """

    def __init__(
        self,
        source: FrameSource,
        name: str | Path,
        segment: EachFrame,
        labels: LabelSet,
        output: Path,
        options: VideoOptions,
        model: str,
        written_ids: np.ndarray | None = None,
        table: np.ndarray | None = None,
        progress: Callable[[int], Any] = lambda frames: None,
    ) -> None:
        self.source, self.segment, self.labels, self.options = source, segment, labels, options
        self.output = output
        self.parts = output / "parts" / Path(name).as_posix().replace("%", "%25").replace("/", "%2F")
        self.segments, self.reports = Ledger(self.parts, forgetful=True), Ledger(output / "reports", forgetful=True)
        self.masks = output / "masks" / f"{name}.mkv"
        self.view = output / "overlays" / f"{name}.mp4"
        self.objects = output / "objects" / f"{name}.csv"
        self.name = str(name)
        self.written_ids = np.arange(256, dtype=np.uint8) if written_ids is None else written_ids
        self.table = labels.colour_table() if table is None else table
        self.progress = progress
        self._last_mask: np.ndarray | None = None
        self.tracker = ObjectTracker(labels.ids_of(options.objects), options.min_area)
        self.identity = {
            "source": f"{source.path.resolve()} {source.fingerprint()}",
            "model": model,
            "segment_frames": SEGMENT_FRAMES,
            **{key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()},
        }

    def run(self) -> VideoReport:
        """Do what is left of the job.

        Raises:
            ConfigError: In the folder there is the beginning of another job of this name.
            DataError: There is no frame, or a file cannot be written.
        """
        done = self.reports.read(self.name)
        outputs = [self.masks, self.view, *([self.objects] if self.options.objects else [])]
        if done and done["job"] == self.identity and all(path.is_file() for path in outputs):
            return VideoReport(**{**done["report"], "continued_at": None})
        try:
            for path in (*outputs, self.reports.path(self.name)):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._claim()
            segments = self._taken_up()
            start = sum(len(segment["pts"]) for segment in segments)
            if not segments or not segments[-1]["is_last"]:
                self._go_on(segments, start)
            report = self._finish(start)
            gone = [str(path) for path in (*outputs, self.reports.path(self.name)) if not path.is_file()]
            if gone:
                raise DataError(f"{gone[0]} was written, and is gone: was {self.output} deleted meanwhile?")
        except OSError as error:
            raise DataError(
                f"Cannot write to {self.output}: {error.strerror or error}. Started again, the job goes on from there."
            ) from error
        shutil.rmtree(self.parts)
        with suppress(OSError):  # parts of other videos may be there
            self.parts.parent.rmdir()
        return report

    def _claim(self) -> None:
        """Make the folder for the parts this job's, or see that it is."""
        found = self.segments.read("job")
        if found is None:
            shutil.rmtree(self.parts, ignore_errors=True)
            self.segments.write("job", self.identity)
        else:
            self.segments.expect_same(found, self.identity, "choose another folder with --output, or delete this one")

    def _segments(self) -> list[dict[str, Any]]:
        """Return what the finished segments say of themselves, in order."""
        segments: list[dict[str, Any]] = []
        while found := self.segments.read(_name(len(segments))):
            segments.append(found)
        return segments

    def _taken_up(self) -> list[dict[str, Any]]:
        """Return the finished segments and restore what the next frame depends on; begin anew where that is damaged."""
        segments = self._segments()
        try:
            for number, facts in enumerate(segments):
                len(facts["pts"]), facts["is_last"]
                for ending, size in facts["bytes"].items():
                    if self._part(number, ending).stat().st_size != size:
                        raise ValueError(f"segment {number} is torn")
            if segments and not segments[-1]["is_last"]:
                state = read_npz(self._part(len(segments) - 1, "state.npz"), "It is made anew.")
                self._last_mask = state["mask"]
                self.segment.restore(state)
                self.tracker.restore(state)
            return segments
        except Exception:  # whatever is torn or missing
            shutil.rmtree(self.parts, ignore_errors=True)
            self._claim()
            self.segment.restore({})
            return []

    def _part(self, number: int, ending: str) -> Path:
        return self.segments.path(_name(number), ending)

    def _go_on(self, segments: Sequence[dict[str, Any]], start: int) -> None:
        """Make the segments that are missing."""
        mask = self._last_mask if segments else None
        self.progress(start)
        frames = self.source.frames(start)
        upcoming = next(frames, None)
        if upcoming is None and not segments:
            raise DataError(f"{self.source.path} has no frame that can be decoded.")
        number, first = len(segments), start
        while upcoming is not None:
            chunk = islice(chain([upcoming], frames), SEGMENT_FRAMES)
            facts, mask = self._make(number, first, chunk, mask)
            upcoming = next(frames, None)
            sizes = {ending: self._part(number, ending).stat().st_size for ending in ("masks.mkv", "view.mkv")}
            facts.update(is_last=upcoming is None, lost=self.source.lost, bytes=sizes)
            state = {"mask": mask, **self.segment.state(), **self.tracker.state()}
            with atomic_open(self._part(number, "state.npz")) as file:
                np.savez(file, **state)  # type: ignore[arg-type,unused-ignore]
            self.segments.write(_name(number), facts)  # from here on the segment counts as done
            self._part(number - 1, "state.npz").unlink(missing_ok=True)
            first += len(facts["pts"])
            number += 1

    def _make(
        self, number: int, first: int, frames: Iterator[Frame], mask: np.ndarray | None
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Write one segment's masks and view; return its facts and its last mask."""
        facts: dict[str, Any] = {"pts": [], "repeated": 0, "damaged": 0, "objects": [], "last_duration": 1}
        writers: list[SegmentWriter] = []
        try:
            for frame in frames:
                if mask is None or not frame.repeated:
                    with of_image(f"{self.source.path}, frame {first + len(facts['pts'])}"):
                        mask = self.segment(frame.image)
                written = self.written_ids[mask]
                view = self._view(frame.image, written)
                if not writers:
                    rate = self.source.rate
                    writers = [
                        SegmentWriter(self._part(number, "masks.mkv"), MASK_CODEC, mask.shape[:2], rate),
                        SegmentWriter(self._part(number, "view.mkv"), view_codec(), view.shape[:2], rate),
                    ]
                for writer, pixels in zip(writers, (written, view), strict=True):
                    writer.add(pixels)
                seconds = float(frame.pts * self.source.time_base)
                for found in self.tracker.update(mask) if self.options.objects else ():
                    name = self.labels.class_names[found.class_id]
                    facts["objects"].append([first + len(facts["pts"]), seconds, found.id, name, *found[2:]])
                facts["pts"].append(frame.pts)
                facts["last_duration"] = frame.duration
                facts["repeated"] += frame.repeated
                facts["damaged"] += frame.damaged
                self.progress(1)
        except BaseException:
            for writer in writers:
                writer.abandon()
            raise
        for writer in writers:
            writer.close()
        assert mask is not None
        return facts, mask

    def _view(self, image: np.ndarray, written: np.ndarray) -> np.ndarray:
        coloured = overlay(image, written, self.table, self.options.opacity)
        if self.options.view == "overlay":
            return coloured
        between = np.full((image.shape[0], GAP, 3), PAPER, np.uint8)
        return np.concatenate([image, between, coloured], axis=1)

    def _finish(self, start: int) -> VideoReport:
        """Join the segments and write the list of objects and the report."""
        segments = self._segments()
        numbers = range(len(segments))
        pts = [time for segment in segments for time in segment["pts"]]
        times = Times(pts, segments[-1]["last_duration"], self.source.time_base)
        join([self._part(number, "masks.mkv") for number in numbers], self.masks, times)
        sound = self.source.path if isinstance(self.source, VideoFile) and has_audio(self.source.path) else None
        dropped = join([self._part(number, "view.mkv") for number in numbers], self.view, times, sound)
        if self.options.objects:
            write_csv(self.objects, OBJECT_COLUMNS, (row for segment in segments for row in segment["objects"]))
        report = VideoReport(
            frames=len(pts),
            seconds=float((pts[-1] - pts[0] + times.last_duration) * times.time_base),
            repeated=sum(segment["repeated"] for segment in segments),
            damaged=sum(segment["damaged"] for segment in segments),
            lost=segments[-1]["lost"],
            audio="none" if sound is None else "dropped" if dropped else "copied",
            continued_at=start,
        )
        self.reports.write(self.name, {"job": self.identity, "report": asdict(report)})
        return report


def _name(number: int) -> str:
    """Return what a segment's files are called."""
    return f"{number:06d}"
