"""Frames of files and folders: their order, their times, and what becomes of bad ones."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.errors import DataError
from deeplab_lightning.video.reading import FrameFolder, VideoFile, find_videos

from ..fakes.video import damage_packets, drawn_frame, turn, write_video


def close(image: np.ndarray, number: int) -> bool:
    """Whether a frame shows image `number`, as far as lossy codecs leave it."""
    errors = [np.abs(image.astype(int) - drawn_frame(other)).mean() for other in range(30)]
    return int(np.argmin(errors)) == number and errors[number] < 6


def test_frames_and_times_of_a_file(tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "a.mp4", 12))
    frames = list(source.frames())
    assert source.expected == 12
    assert source.rate == 10
    assert [frame.pts * source.time_base for frame in frames] == [Fraction(number, 10) for number in range(12)]
    assert {frame.duration * source.time_base for frame in frames} == {Fraction(1, 10)}
    assert all(close(frame.image, number) for number, frame in enumerate(frames))


def test_starting_later_gives_the_same_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12)
    damage_packets(path, [4])
    whole = list(VideoFile(path).frames())
    for start in (0, 4, 5, 11, 12):
        rest = list(VideoFile(path).frames(start))
        assert len(rest) == 12 - start
        for one, other in zip(rest, whole[start:], strict=True):
            assert np.array_equal(one.image, other.image)
            assert one[1:] == other[1:]


def test_times_of_a_changing_frame_rate_are_kept(tmp_path: Path) -> None:
    pts = [0, 1, 2, 7, 8, 20]
    source = VideoFile(write_video(tmp_path / "a.mkv", 6, pts=pts, sound=None))
    assert [float(frame.pts * source.time_base) for frame in source.frames()] == pytest.approx([p / 10 for p in pts])


def test_frames_that_cannot_be_decoded_are_replaced_by_the_one_before(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    damage_packets(path, [7, 8, 19])
    source = VideoFile(path)
    frames = list(source.frames())
    assert [number for number, frame in enumerate(frames) if frame.repeated] == [7, 8, 19]
    assert [frame.pts * source.time_base for frame in frames] == [Fraction(number, 10) for number in range(20)]
    for number in (7, 8):
        assert np.array_equal(frames[number].image, frames[6].image)
    assert close(frames[15].image, 15)  # from the next key frame on all is well
    assert source.lost == 0


def test_bad_frames_at_the_start_are_left_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mov", 12, codec="png", sound=None)
    damage_packets(path, [0, 1])
    source = VideoFile(path)
    assert len(list(source.frames())) == 10
    assert source.lost == 2


def test_a_file_cut_short_gives_what_there_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 40, sound=None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = list(VideoFile(path).frames())
    assert 5 < len(frames) < 40
    assert close(frames[4].image, 4)


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3)
    plain = next(VideoFile(path).frames()).image
    turn(path)
    frame = next(VideoFile(path).frames())
    assert np.array_equal(frame.image, np.rot90(plain, -1))


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        VideoFile(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DataError, match=r"Cannot open .*text\.mp4 as a video"):
        VideoFile(tmp_path / "text.mp4")


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2):
        Image.fromarray(drawn_frame(number)).save(tmp_path / f"frame{number}.png")
    source = FrameFolder(tmp_path, Fraction(30000, 1001))
    frames = list(source.frames())
    assert all(
        np.array_equal(frame.image, drawn_frame(number)) for frame, number in zip(frames, (1, 2, 9, 10), strict=True)
    )
    assert [frame.pts for frame in frames] == [0, 1, 2, 3]
    assert source.time_base == Fraction(1001, 30000)


def test_bad_images_of_a_folder(tmp_path: Path) -> None:
    for number in range(6):
        Image.fromarray(drawn_frame(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:60])
    Image.fromarray(drawn_frame(4, (50, 60))).save(tmp_path / "4.png")
    source = FrameFolder(tmp_path, Fraction(25))
    before = source.fingerprint()
    frames = list(source.frames())
    assert [frame.repeated for frame in frames] == [False, False, True, True, False]
    assert np.array_equal(frames[3].image, drawn_frame(2))
    assert source.lost == 1
    assert [frame.pts for frame in source.frames(3)] == [3, 4]
    Image.fromarray(drawn_frame(9)).save(tmp_path / "5.png")
    assert FrameFolder(tmp_path, Fraction(25)).fingerprint() != before


def test_videos_are_told_from_images(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "frames").mkdir()
    for name in ("a.mp4", "b.MKV", "c.png", "both/d.mov", "both/e.jpg", "frames/1.png"):
        (tmp_path / name).write_bytes(b"x")

    def found(*inputs: str, folders: bool = False) -> tuple[list[str], list[str]]:
        videos, others = find_videos([str(tmp_path / entry) for entry in inputs], folders)
        return [str(path.relative_to(tmp_path)) for path in videos], [Path(entry).name for entry in others]

    assert found("a.mp4", "c.png") == (["a.mp4"], ["c.png"])
    assert found("*.m*", "a.mp4") == (["a.mp4"], [])
    assert found("both") == (["both/d.mov"], ["both"])
    assert found("both", "frames", folders=True) == (["both/d.mov", "frames"], [])
    assert found("frames", "missing.png") == ([], ["frames", "missing.png"])
