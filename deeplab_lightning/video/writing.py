"""Videos in segments: each a file of its own that is whole or not there, joined at the end without coding anew.

Segments hold frames alone, without B-frames, so that packet number n is frame number n. Their times are put in when
they are joined: those of the input, whatever its frame rate does.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..errors import DataError

MASK_CODEC = "ffv1"
"""Lossless, and part of every FFmpeg."""
VIEW_CODECS = ("libx264", "libopenh264", "mpeg4")
"""H.264 where FFmpeg was built with an encoder for it; MPEG-4 part 2 is always there, but browsers do not play it."""

_OPTIONS = {"libx264": {"preset": "veryfast", "crf": "20"}, "mpeg4": {"qmin": "2", "qmax": "5"}}


class Times(NamedTuple):
    """When frames are shown.

    Attributes:
        pts: Of each frame, growing, in units of `time_base`.
        last_duration: Of the last one.
        time_base: In seconds.
    """

    pts: Sequence[int]
    last_duration: int
    time_base: Fraction


def view_codec() -> str:
    """Return the first of `VIEW_CODECS` that can be used here."""
    import av

    for name in VIEW_CODECS:
        try:
            av.Codec(name, "w")
        except ValueError:
            continue
        return name
    raise DataError(f"This FFmpeg has no encoder among {', '.join(VIEW_CODECS)}.")


class SegmentWriter:
    """Writes one segment: frames of one size into a Matroska file.

    Args:
        path: The file; it appears under this name in `close`.
        codec: `MASK_CODEC`, for `(H, W)` uint8, or one of `VIEW_CODECS`, for `(H, W, 3)` uint8 RGB.
        size: Height and width of the frames. Views with an odd side get their last row or column twice.
        rate: Frames per second, by which the encoder shares out its bits.
    """

    def __init__(self, path: Path, codec: str, size: tuple[int, int], rate: Fraction) -> None:
        import av

        self.path, self._is_mask = path, codec == MASK_CODEC
        self._temporary = path.with_name(f".{path.name}.part")
        self._container: Any = av.open(str(self._temporary), "w", format="matroska")
        # Encoders do not take every rate, and their own times are not kept: whole ones will do.
        whole_rate = min(max(1, round(rate)), 240)
        self._stream: Any = self._container.add_stream(codec, rate=whole_rate)
        self._stream.codec_context.time_base = Fraction(1, whole_rate)
        height, width = size
        self._stream.height = height if self._is_mask else height + height % 2
        self._stream.width = width if self._is_mask else width + width % 2
        self._stream.pix_fmt = "gray" if self._is_mask else "yuv420p"
        self._stream.codec_context.options = _OPTIONS.get(codec, {})
        self._stream.codec_context.max_b_frames = 0
        self._frames = 0

    def add(self, pixels: np.ndarray) -> None:
        """Write the next frame."""
        import av

        if not self._is_mask:
            below, right = self._stream.height - pixels.shape[0], self._stream.width - pixels.shape[1]
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="gray" if self._is_mask else "rgb24")
        frame.pts, frame.time_base = self._frames, self._stream.codec_context.time_base
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        os.replace(self._temporary, self.path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._container.close()
        self._temporary.unlink(missing_ok=True)


def join(segments: Sequence[Path], path: Path, times: Times, sound: Path | None = None) -> bool:
    """Join segments into one file, which appears whole or not at all.

    Args:
        segments: In order, of one codec and size.
        path: The file; its ending says the container.
        times: Of all frames.
        sound: File whose audio is copied, if there is any.

    Returns:
        Whether audio of `sound` had to be dropped because the container cannot hold it.

    Raises:
        DataError: The segments do not hold as many frames as there are times.
    """
    import av

    try:
        _join(segments, path, times, sound)
    except (av.error.FFmpegError, ValueError) as error:  # the latter for a codec that the container does not know
        if isinstance(error, DataError) or sound is None or not has_audio(sound):
            raise
        _join(segments, path, times, None)
        return True
    return False


def has_audio(path: Path) -> bool:
    """Return whether a file has sound."""
    import av

    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def _join(segments: Sequence[Path], path: Path, times: Times, sound: Path | None) -> None:
    import av

    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with (
            nullcontext() if sound is None else av.open(str(sound)) as source,
            av.open(str(temporary), "w") as container,
        ):
            with av.open(str(segments[0])) as first:
                video = container.add_stream_from_template(first.streams.video[0])
            video.time_base = times.time_base
            streams = [_video_packets(segments, video, times)]
            if source is not None and source.streams.audio:
                copies = {audio.index: container.add_stream_from_template(audio) for audio in source.streams.audio}
                streams.append(_audio_packets(source, copies))
            for _, packet in heapq.merge(*streams, key=lambda timed: timed[0]):
                container.mux(packet)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _video_packets(segments: Iterable[Path], stream: Any, times: Times) -> Iterator[tuple[float, Any]]:
    """Yield seconds and packets of all segments with their times put in."""
    import av

    number = 0
    for segment in segments:
        with av.open(str(segment)) as container:
            for packet in container.demux(video=0):
                if not packet.size:  # the last, empty one asks a decoder for what it still holds
                    continue
                if number == len(times.pts):
                    raise DataError(f"{segment} holds too many frames; delete its folder and start again.")
                following = [*times.pts[number + 1 : number + 2], times.pts[-1] + times.last_duration][0]
                packet.time_base = times.time_base
                packet.pts = packet.dts = times.pts[number]
                packet.duration = following - times.pts[number]
                packet.stream = stream
                yield float(times.pts[number] * times.time_base), packet
                number += 1
    if number < len(times.pts):
        raise DataError(f"The segments hold {number} of {len(times.pts)} frames; delete their folder and start again.")


def _audio_packets(source: Any, copies: dict[int, Any]) -> Iterator[tuple[float, Any]]:
    """Yield seconds and packets of all audio streams."""
    for packet in source.demux(*source.streams.audio):
        if packet.dts is not None and packet.size:
            seconds = float(packet.dts * packet.time_base)
            packet.stream = copies[packet.stream_index]
            yield seconds, packet
