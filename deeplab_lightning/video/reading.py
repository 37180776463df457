"""Frames of a video file, or of a folder of images, one after the other with their times.

A frame that cannot be decoded does not end the job: the one before stands in its place, so that the number of frames
and their times stay those of the video. What stands before the first good frame is left out.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..data.files.images import read_image
from ..data.files.limits import expect_size, most_pixels
from ..data.pairing.finding import find_images, on_disk
from ..errors import DataError
from ..extras import need
from ..files import open_file

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv")
"""Endings by which videos are told from images, lower case."""


FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegtsraw,mpegvideo,asf,flv,h264,hevc,m4v,ogg"
"""FFmpeg's readers that are asked, by its names."""


class Frame(NamedTuple):
    """One frame.

    Attributes:
        image: `(H, W, 3)` uint8 RGB, upright.
        pts: When it is shown, in units of the source's `time_base`.
        duration: How long, in the same units.
        repeated: It could not be decoded; `image` is that of the frame before.
        damaged: The decoder fixed it.
    """

    image: np.ndarray
    pts: int
    duration: int
    repeated: bool = False
    damaged: bool = False


class FrameSource(ABC):
    """Where frames come from.

    Attributes:
        path: File or folder.
        time_base: Seconds per unit of a frame's `pts`.
        rate: Frames per second, on average.
        expected: About how many frames there are; None if the file does not say.
        lost: Frames at the start, or images of a folder, that were left out so far.
    """

    path: Path
    time_base: Fraction
    rate: Fraction
    expected: int | None
    lost: int = 0

    @abstractmethod
    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `start` on; those before are decoded, too, which costs little."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what tells this source from another, and from itself after a change."""


class FrameFolder(FrameSource):
    """The images of a folder in the order of the numbers in their names, so that `frame10` follows `frame9`.

    Args:
        path: The folder; folders within it count.
        rate: Frames per second to show them at.

    Raises:
        DataError: There is no image.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate, self.time_base = path, rate, 1 / rate
        self.images = sorted(find_images([path]), key=_natural)
        self.expected = len(self.images)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the images; one that is damaged or of another size than the first is replaced by the one before."""
        last: np.ndarray | None = None
        number, self.lost = 0, 0
        for path in self.images:
            try:
                image = read_image(path)
            except DataError:
                image = None
            repeated = image is None or (last is not None and image.shape != last.shape)
            last = last if repeated else image
            if last is None:
                self.lost += 1
                continue
            if number >= start:
                yield Frame(last, number, 1, repeated)
            number += 1

    def fingerprint(self) -> str:
        """Return the images' names, sizes and times of change, hashed."""
        digest = hashlib.sha256()
        for image in self.images:
            facts = image.stat()
            digest.update(f"{image.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return f"{len(self.images)} images {digest.hexdigest()[:16]} at {self.rate}"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts `a2` before `a10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path)) if part]


class VideoFile(FrameSource):
    """The first video stream of a file, with whatever codec FFmpeg knows.

    Args:
        path: The file.

    Raises:
        DataError: It is missing, or no video.
        ConfigError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as container:
            stream = container.streams.video[0]
            self.time_base = stream.time_base or Fraction(1, 90_000)
            self.rate = max(stream.average_rate or stream.guessed_rate or Fraction(25), Fraction(1, 3600))
            seconds = container.duration / 1_000_000 if container.duration else 0  # microseconds
            self.expected = stream.frames or round(seconds * self.rate) or None

    def _open(self) -> Any:
        av = need("av", "video", "Segmenting videos")
        if not self.path.is_file():
            raise DataError(f"{self.path} does not exist.")
        try:
            with open_file(self.path):  # a pipe would be waited for
                pass
            # A file of another kind than its ending says may be a list of files and addresses to read in its place.
            container = av.open(str(self.path), options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise DataError(
                f"Cannot open {self.path} as a video ({error}). If it was cut while being recorded, fix it first, for "
                "example with `ffmpeg -i FILE -c copy FIXED.mkv`."
            ) from error
        if not container.streams.video:
            container.close()
            raise DataError(f"{self.path} has no video stream.")
        try:
            size = container.streams.video[0].codec_context
            if size is None:
                raise DataError(f"{self.path} is of a codec that FFmpeg does not know here. Save it as H.264.")
            expect_size(self.path, size.height, size.width, 6, "Scale it down, as with ffmpeg -vf scale=1920:-2.")
            size.options = {"max_pixels": str(most_pixels())}  # of frames that come later
        except BaseException:
            container.close()
            raise
        return container

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames in the order of showing."""
        import av

        number, self.lost = 0, 0
        earlier = -(1 << 62)  # times of broken files may stand still or go back; a container takes growing ones only
        last: Any = None  # the last good frame, converted only when it is wanted
        size: tuple[int, int] | None = None
        with self._open() as container:
            stream = container.streams.video[0]
            usual = max(1, round(1 / (self.rate * self.time_base)))
            for pts, duration, frame in _in_order(container, stream, av.error.FFmpegError):
                repeated = frame is None
                last = last if repeated else frame
                if last is None:
                    self.lost += 1
                    continue
                size = size or (last.width, last.height)
                earlier = pts = max(pts, earlier + 1)
                if number >= start:
                    damaged = last.is_corrupt and not repeated
                    yield Frame(_upright(last, size), pts, duration or usual, repeated, damaged)
                number += 1

    def fingerprint(self) -> str:
        """Return size and time of change."""
        facts = self.path.stat()
        return f"{self.path.name} {facts.st_size} {facts.st_mtime_ns}"


def _in_order(container: Any, stream: Any, failure: type[Exception]) -> Iterator[tuple[int, int, Any]]:
    """Yield `(pts, duration, frame)`, frame None for one that could not be decoded, in the order of showing."""
    undecoded: list[int] = []
    clock = 0  # where times are missing, frames follow one another
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, failure):  # broken from here on, perhaps; the decoder still holds frames
            break
        frames, error = _decoded(packet, failure)
        if error and packet.pts is not None:
            undecoded.append(packet.pts)
        for frame in frames:
            pts = clock if frame.pts is None else frame.pts
            while undecoded and min(undecoded) < pts:
                undecoded.remove(earliest := min(undecoded))
                yield earliest, 0, None
            clock = pts + (frame.duration or 1)
            yield pts, frame.duration or 0, frame
    for frame in _decoded(None, failure, stream)[0]:
        yield clock if frame.pts is None else frame.pts, frame.duration or 0, frame
        clock += frame.duration or 1
    for pts in sorted(undecoded):
        yield pts, 0, None


def _decoded(packet: Any, failure: type[Exception], stream: Any = None) -> tuple[Sequence[Any], bool]:
    try:
        return (packet.decode() if stream is None else stream.codec_context.decode(None)), False
    except failure:
        return [], True


def _upright(frame: Any, size: tuple[int, int]) -> np.ndarray:
    """Return a decoded frame as RGB, turned as its file says; later frames of another size take on the first's."""
    image = frame.to_ndarray(format="rgb24")
    if (frame.width, frame.height) != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def find_videos(inputs: Sequence[str | Path], folders_are_videos: bool) -> tuple[list[Path], list[str]]:
    """Tell videos from images among what a user names.

    Args:
        inputs: Files, folders or globs.
        folders_are_videos: Take a folder's images for the frames of a video, if there is no video file in it.

    Returns:
        Video files, and folders of frames, each once; and the inputs that stand for something else.
    """
    videos: dict[Path, None] = {}
    others = []
    for entry in map(str, inputs):
        path = on_disk(Path(entry).expanduser())
        is_other_file = path.is_file() and path.suffix.lower() not in VIDEO_SUFFIXES
        found = [] if is_other_file else _found(entry, VIDEO_SUFFIXES)
        if found:
            videos.update(dict.fromkeys(found))
        if folders_are_videos and path.is_dir() and not found:
            videos[path] = None
        elif not found or (path.is_dir() and not folders_are_videos and _found(path)):
            others.append(entry)
    return list(videos), others


def _found(entry: str | Path, *suffixes: tuple[str, ...]) -> list[Path]:
    try:
        return find_images([entry], *suffixes)
    except DataError:  # there is none
        return []
