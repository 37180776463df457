"""Whole jobs: their files, and that a job that was killed ends as one that was not."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.labels import LabelSet
from deeplab_lightning.video import job as job_module
from deeplab_lightning.video.job import VideoJob, VideoOptions, VideoReport
from deeplab_lightning.video.reading import FrameFolder, VideoFile
from deeplab_lightning.video.segmenting import EachFrame, Smoothed

from ..fakes.video import damage_packets, drawn_frame, facts, read_frames, write_video

LABELS = LabelSet(("ground", "car", "sky"), ((0, 0, 0), (250, 0, 0), (0, 0, 250)))


def red(image: np.ndarray) -> np.ndarray:
    """Class 1 where a frame is red."""
    return (image[..., 0].astype(int) > image[..., 2].astype(int) + 60).astype(np.uint8)


def red_probs(image: np.ndarray) -> np.ndarray:
    """Probabilities `(3, H, W)` that depend on the frame smoothly."""
    share = image.astype(np.float32) / image.astype(np.float32).sum(2, keepdims=True).clip(1)
    return share[..., [1, 0, 2]].transpose(2, 0, 1)


def decide(probs: np.ndarray) -> np.ndarray:
    return probs.argmax(0).astype(np.uint8)


def run(
    video: Path, output: Path, options: VideoOptions | None = None, segment: EachFrame | None = None
) -> VideoReport:
    source = VideoFile(video) if video.is_file() else FrameFolder(video, Fraction(10))
    return VideoJob(
        source, video.stem, segment or EachFrame(red), LABELS, output, options or VideoOptions(), "model 1"
    ).run()


def test_jobs_of_like_names_have_parts_of_their_own(tmp_path: Path) -> None:
    Image.fromarray(drawn_frame(0)).save(tmp_path / "0.png")
    source = FrameFolder(tmp_path, Fraction(10))
    names = ("a/b", "a__b", "a%2Fb", "a")
    jobs = [VideoJob(source, name, EachFrame(red), LABELS, tmp_path, VideoOptions(), "model 1") for name in names]
    assert len({job.parts for job in jobs}) == len(names)
    assert all(job.parts.parent == tmp_path / "parts" for job in jobs)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_masks_view_and_report(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 25)
    report = run(video, tmp_path / "out", VideoOptions(view="side_by_side", opacity=1.0))
    assert report == VideoReport(25, 2.5, 0, 0, 0, "copied", 0)
    masks = read_frames(tmp_path / "out/masks/a.mkv", "gray")
    assert np.array_equal(masks, [red(frame.image) for frame in VideoFile(video).frames()])
    assert 200 < (masks == 1).sum(axis=(1, 2)).mean() < 400  # the square has 320 pixels
    views = read_frames(tmp_path / "out/overlays/a.mp4", "rgb24")
    assert views.shape == (25, 64, 80 + 8 + 80, 3)
    assert np.abs(views[10, :, :80].astype(int) - drawn_frame(10)).mean() < 8
    assert np.abs(views[10, :, 88:].astype(int) - LABELS.colour_table()[masks[10]]).mean() < 8
    for path in ("masks/a.mkv", "overlays/a.mp4"):
        count, seconds, times = facts(tmp_path / "out" / path)
        assert (count, seconds) == (25, pytest.approx(2.5, abs=0.002))
        assert times == pytest.approx(facts(video)[2])
    assert sorted(files(tmp_path / "out")) == ["masks/a.mkv", "overlays/a.mp4", "reports/a.json"]
    assert json.loads((tmp_path / "out/reports/a.json").read_text())["report"]["frames"] == 25


def test_objects_are_listed(tmp_path: Path) -> None:
    run(write_video(tmp_path / "a.mp4", 25), tmp_path / "out", VideoOptions(objects=("car",), min_area=50))
    with (tmp_path / "out/objects/a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(25))
    assert {row["id"] for row in rows} == {"1"}
    assert {row["class"] for row in rows} == {"car"}
    assert float(rows[7]["seconds"]) == pytest.approx(0.7)
    assert int(rows[7]["left"]) == pytest.approx(14, abs=2)
    assert int(rows[7]["area"]) == pytest.approx(320, abs=60)


def test_bad_frames_are_counted_and_keep_their_places(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 25)
    damage_packets(video, [12])
    report = run(video, tmp_path / "out", segment=EachFrame(stopping_after(24, red)))  # not a frame twice
    assert (report.frames, report.repeated) == (25, 1)
    assert "1 could not be decoded" in str(report)
    masks = read_frames(tmp_path / "out/masks/a.mkv", "gray")
    assert len(masks) == 25
    assert np.array_equal(masks[12], masks[11])


def test_a_folder_of_frames(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(12):
        Image.fromarray(drawn_frame(number, (33, 47))).save(tmp_path / "frames" / f"{number}.png")
    report = run(tmp_path / "frames", tmp_path / "out")
    assert (report.frames, report.seconds, report.audio) == (12, 1.2, "none")
    masks = read_frames(tmp_path / "out/masks/frames.mkv", "gray")
    assert np.array_equal(masks, [red(drawn_frame(number, (33, 47))) for number in range(12)])


def test_smoothing_is_the_running_mean() -> None:
    smoothed = Smoothed(red_probs, decide, 0.75)
    images, average = [drawn_frame(number) for number in range(0, 40, 5)], red_probs(drawn_frame(0))
    for number, image in enumerate(images):
        if number:
            average = 0.75 * average + 0.25 * red_probs(image)
        assert np.array_equal(smoothed(image), decide(average))
    assert np.allclose(smoothed.state()["average"], average, atol=1e-6)
    assert not np.array_equal(decide(average), decide(red_probs(images[-1])))  # it lags behind what moves
    alone = Smoothed(red_probs, decide, 0.0)
    assert all(np.array_equal(alone(image), decide(red_probs(image))) for image in images)


class Stopped(Exception):  # noqa: N818
    pass


def stopping_after(calls: int, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    left = iter(range(calls))

    def segment(image: np.ndarray) -> np.ndarray:
        if next(left, None) is None:
            raise Stopped
        return function(image)

    return segment


@pytest.mark.parametrize("stop", [3, 10, 14, 29])
def test_a_job_stopped_anywhere_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(job_module, "SEGMENT_FRAMES", 10)
    video = write_video(tmp_path / "a.mp4", 30)
    damage_packets(video, [10])  # the first of a segment: it needs the mask of the one before
    options = VideoOptions(smoothing=0.6, objects=("car", "sky"), min_area=5)
    run(video, tmp_path / "whole", options, Smoothed(red_probs, decide, 0.6))
    with pytest.raises(Stopped):
        run(video, tmp_path / "out", options, Smoothed(stopping_after(stop - (stop > 10), red_probs), decide, 0.6))
    assert not list(tmp_path.glob("out/masks/*"))
    report = run(video, tmp_path / "out", options, Smoothed(red_probs, decide, 0.6))
    assert report.continued_at == stop // 10 * 10
    assert (report.frames, report.repeated) == (30, 1)
    whole, continued = files(tmp_path / "whole"), files(tmp_path / "out")
    assert whole.keys() == continued.keys()
    assert whole["objects/a.csv"] == continued["objects/a.csv"]
    assert np.array_equal(
        read_frames(tmp_path / "whole/masks/a.mkv", "gray"), read_frames(tmp_path / "out/masks/a.mkv", "gray")
    )
    # On a busy machine x264 now and then makes another file of the same frames: 1 of some 500 jobs.
    views = [read_frames(tmp_path / name / "overlays/a.mp4", "rgb24").astype(int) for name in ("whole", "out")]
    assert np.abs(views[0] - views[1]).mean(axis=(1, 2, 3)).max() < 1  # two frames in a row differ by 2 to 6


def test_what_is_done_is_not_done_again_and_changes_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "SEGMENT_FRAMES", 10)
    video = write_video(tmp_path / "a.mp4", 20)
    run(video, tmp_path / "out")
    never = EachFrame(stopping_after(0, red))
    assert run(video, tmp_path / "out", segment=never).continued_at is None
    with pytest.raises(Stopped):
        run(video, tmp_path / "out", VideoOptions(opacity=0.7), never)  # other options: a job of its own
    with pytest.raises(ConfigError, match="another job, with other opacity"):
        run(video, tmp_path / "out", VideoOptions(opacity=0.8))
    write_video(video, 21)
    with pytest.raises(ConfigError, match="another job, with other source"):
        run(video, tmp_path / "out", VideoOptions(opacity=0.7))


def test_what_cannot_be_done(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 5)
    with pytest.raises(ConfigError, match=r"no class 'cars'\. Did you mean 'car'"):
        run(video, tmp_path / "out", VideoOptions(objects=("cars",)))
    with pytest.raises(ConfigError, match="from 0 to below 1; got 1"):
        Smoothed(red_probs, decide, 1.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write to"):
        run(video, tmp_path / "file")
    damage_packets(video, list(range(5)))
    with pytest.raises(DataError, match="no frame that can be decoded"):
        run(video, tmp_path / "out")


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for frames in (110, 330):
        video = write_video(tmp_path / f"{frames}.mp4", frames, size=(120, 160), sound=None)
        tracemalloc.start()
        run(video, tmp_path / "out")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000  # a frame has 57,600 bytes: 220 of them would show


# --- through the command line ---------------------------------------------------------------------------------------


def command(video: Path, checkpoint: Path, output: Path) -> list[str]:
    return [
        *("predict", str(video), "--ckpt_path", str(checkpoint), "--output", str(output), "--device", "cpu"),
        *("--smoothing", "0.5", "--objects", "house", "tree", "--object_area", "10"),
    ]


def test_a_killed_process_is_continued(tmp_path: Path, checkpoint: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 250, rate=12)  # 20.8 seconds
    output = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "deeplab_lightning", *command(video, checkpoint, output)], env=environment,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (output / "parts/a/000000.json").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (output / "parts/a/000000.json").exists()
    assert not (output / "masks/a.mkv").exists()

    assert main(command(video, checkpoint, output)) == 0
    assert json.loads((output / "reports/a.json").read_text())["report"]["continued_at"] in (100, 200)
    assert main(command(video, checkpoint, tmp_path / "whole")) == 0
    assert not (output / "parts").exists()
    for folder in (output, tmp_path / "whole"):
        count, seconds, times = facts(folder / "overlays/a.mp4")
        assert count == facts(video)[0] == 250
        assert seconds == pytest.approx(facts(video)[1], abs=0.01)
        assert times == pytest.approx(facts(video)[2])
    masks = read_frames(output / "masks/a.mkv", "gray")
    assert np.array_equal(masks, read_frames(tmp_path / "whole/masks/a.mkv", "gray"))
    assert len(np.unique(masks)) > 1
    assert (output / "objects/a.csv").read_bytes() == (tmp_path / "whole/objects/a.csv").read_bytes()


def test_videos_and_images_together(tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in/a.mp4", 4)
    (tmp_path / "in/bad.mp4").write_text("no video")
    Image.fromarray(drawn_frame(3)).save(tmp_path / "in/b.png")
    words = ["predict", str(tmp_path / "in"), "--ckpt_path", str(checkpoint), "--device", "cpu"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "a: 4 frames, 0.40 s; audio copied (os16, scale 1, whole image, each frame alone)" in said
    assert "not segmented: Cannot open" in said
    assert (tmp_path / "out/masks/b.png").is_file()
    masks = read_frames(tmp_path / "out/masks/a.mkv", "gray")
    model = deeplab_lightning.load(checkpoint, "cpu")
    assert np.array_equal(masks, [model.predict(f.image).mask for f in VideoFile(tmp_path / "in/a.mp4").frames()])
    for words_of_fps, message in ((["--fps", "0"], "--fps"), (["--objects", "hous"], "Did you mean 'house'")):
        assert main([*words, "--output", str(tmp_path / "other"), *words_of_fps]) == 2
        assert message in capsys.readouterr().err
