"""Writes small videos: a red square that moves over grey, with a tone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np


def drawn_frame(number: int, size: tuple[int, int] = (64, 80)) -> np.ndarray:
    """Return frame `number`, `(H, W, 3)` uint8."""
    image = np.full((*size, 3), 90, np.uint8)
    image[: size[0] // 2] = (120, 170, 230)
    left = (number * 2) % (size[1] - 16)
    image[20:40, left : left + 16] = (200, 30, 30)
    return image


def write_video(
    path: Path,
    frames: int,
    rate: int = 10,
    size: tuple[int, int] = (64, 80),
    codec: str = "mpeg4",
    sound: str | None = "aac",
    pts: list[int] | None = None,
) -> Path:
    """Write a video. `pts` gives other times than regular ones, in units of `1 / rate`."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width, video.pix_fmt = *size, "rgb24" if codec == "png" else "yuv420p"
        video.codec_context.gop_size = 5
        audio = container.add_stream(sound, rate=16000, layout="mono") if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(drawn_frame(number, size), format="rgb24")
            frame.pts, frame.time_base = pts[number] if pts else number, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            times = np.arange(16000 * frames // rate)
            tone = (0.3 * np.sin(times * 2 * np.pi * 440 / 16000)).astype(np.float32)
            kind, tone = ("fltp", tone) if sound == "aac" else ("s16", (tone * 32767).astype(np.int16))
            for start in range(0, len(tone) - 1023, 1024):
                chunk = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format=kind, layout="mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = 16000, start, Fraction(1, 16000)
                container.mux(audio.encode(chunk))
            container.mux(audio.encode(None))
    return path


def damage_packets(path: Path, numbers: list[int]) -> None:
    """Overwrite the data of some video packets, by their number, with zeros: they cannot be decoded any more."""
    import av

    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        start, size = places[number]
        content[start : start + size] = bytes(size)
    path.write_bytes(content)


def turn(path: Path) -> None:
    """Mark an MP4 as one to be turned by a quarter, clockwise, as telephones do."""
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 4 * 2  # behind version, times and ids, and layer and volume
    one, minus_one, w = (
        (1 << 16).to_bytes(4, "big"),
        (-(1 << 16)).to_bytes(4, "big", signed=True),
        (1 << 30).to_bytes(4, "big"),
    )
    zero = bytes(4)
    content[matrix : matrix + 36] = zero + one + zero + minus_one + zero + zero + zero + zero + w
    path.write_bytes(content)


def read_frames(path: Path, kind: str) -> np.ndarray:
    """Return all frames of a file, `(N, H, W)` for `gray` or `(N, H, W, 3)` for `rgb24`."""
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=kind) for frame in container.decode(video=0)])


def facts(path: Path) -> tuple[int, float, list[float]]:
    """Return the number of frames, the duration in seconds, and the times of the frames in seconds."""
    import av

    with av.open(str(path)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
        return len(times), container.duration / 1_000_000, times
