"""Segments, and joining them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.errors import DataError
from deeplab_lightning.video.writing import MASK_CODEC, SegmentWriter, Times, join, view_codec

from ..fakes.video import drawn_frame, facts, read_frames, write_video


def segment(path: Path, frames: list[np.ndarray], codec: str) -> Path:
    writer = SegmentWriter(path, codec, frames[0].shape[:2], Fraction(25))
    for frame in frames:
        writer.add(frame)
    assert not path.exists()  # not before it is whole
    writer.close()
    return path


def test_masks_come_back_to_the_last_bit(tmp_path: Path) -> None:
    masks = [np.random.default_rng(seed).integers(0, 256, (37, 53)).astype(np.uint8) for seed in range(7)]
    parts = [segment(tmp_path / f"{start}.mkv", masks[start : start + 3], MASK_CODEC) for start in (0, 3, 6)]
    join(parts, tmp_path / "all.mkv", Times([5, 10, 15, 20, 40, 45, 50], 5, Fraction(1, 100)))
    assert np.array_equal(read_frames(tmp_path / "all.mkv", "gray"), masks)
    assert facts(tmp_path / "all.mkv")[2] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.4, 0.45, 0.5])


@pytest.mark.parametrize("codec", sorted({view_codec(), "mpeg4"}))
def test_views_of_several_segments_play_as_one(tmp_path: Path, codec: str) -> None:
    images = [drawn_frame(number, (63, 79)) for number in range(9)]  # odd sides
    parts = [segment(tmp_path / f"{start}.mkv", images[start : start + 4], codec) for start in (0, 4, 8)]
    pts = [number * 1001 for number in range(9)]
    join(parts, tmp_path / "all.mp4", Times(pts, 1001, Fraction(1, 30000)))
    frames = read_frames(tmp_path / "all.mp4", "rgb24")
    assert frames.shape == (9, 64, 80, 3)
    assert np.abs(frames[:, :63, :79].astype(int) - images).mean() < 6
    _, seconds, times = facts(tmp_path / "all.mp4")
    assert seconds == pytest.approx(9 * 1001 / 30000, abs=1e-3)
    assert times == pytest.approx([time / 30000 for time in pts])
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("sound", "kept"), [("aac", True), ("adpcm_ms", False)])
def test_audio_is_copied_or_said_to_be_dropped(tmp_path: Path, sound: str, kept: bool) -> None:
    import av

    original = write_video(tmp_path / ("in.mkv" if kept else "in.avi"), 10, sound=sound)
    part = segment(tmp_path / "0.mkv", [drawn_frame(number) for number in range(10)], "mpeg4")
    dropped = join([part], tmp_path / "all.mp4", Times(list(range(10)), 1, Fraction(1, 10)), original)
    assert dropped == (not kept)
    assert facts(tmp_path / "all.mp4")[0] == 10

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return (
                [bytes(packet) for packet in container.demux(audio=0) if packet.size] if container.streams.audio else []
            )

    assert packets(tmp_path / "all.mp4") == (packets(original) if kept else [])


def test_segments_that_do_not_fit_the_times(tmp_path: Path) -> None:
    part = segment(tmp_path / "0.mkv", [drawn_frame(number) for number in range(3)], "mpeg4")
    for count in (2, 4):
        with pytest.raises(DataError, match="start again"):
            join([part], tmp_path / "all.mp4", Times(list(range(count)), 1, Fraction(1, 10)))
    assert not (tmp_path / "all.mp4").exists()
    assert not list(tmp_path.glob(".*"))
