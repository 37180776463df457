"""Runs side by side: what is compared, what is refused, and what the page and the terminal say of it."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.metrics.panoptic_quality import PanopticCounts
from deeplab_lightning.reporting.charts import Point, pareto_front
from deeplab_lightning.reporting.records import read_records
from deeplab_lightning.studies.comparison import Comparison, compare_runs, costs

from ..reporting.made_runs import made_run


def compared(*folders: Path) -> Comparison:
    return compare_runs(read_records(folders), resamples=400)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_a_run_scored_after_training_alone_is_compared_by_its_newest_evaluation(runs: Path) -> None:
    trained = made_run(runs / "a" / "version_0")
    trained.per_image.unlink()
    with pytest.raises(DataError, match=f"validate --ckpt_path {trained.path}$"):
        read_records([trained.path])
    for version in ("version_9", "version_10"):
        scored = made_run(trained.path / "validate" / version, 0.9)
    assert [record.run for record in read_records([trained.path])] == [scored]


def test_only_settings_that_differ_are_shown(runs: Path) -> None:
    first = made_run(runs / "a" / "version_0", output_stride=16)
    second = made_run(runs / "b" / "version_0", 0.9, output_stride=8, extra=1)
    found = compared(first.path, second.path)
    assert found.config == {"model.output_stride": ["16", "8"]}  # not the runs' names, not lr
    assert list(found.only_in_some) == ["model.extra"]


def test_a_clear_difference_is_found_and_none_between_equals(runs: Path) -> None:
    paths = [made_run(runs / name / "version_0", right).path for name, right in (("a", 0.6), ("b", 0.9), ("c", 0.6))]
    (group,) = compared(*paths).groups
    first, better, same = group.regions.comparisons
    assert first is None
    assert better is not None
    assert same is not None
    scores = [record.scores.mIoU for record in group.records]
    assert better.difference == pytest.approx(scores[1] - scores[0])
    assert better.low > 0
    assert same.p_value == 1
    assert (same.low, same.high) == (0, 0)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"protocol": "os8, scale 1, whole image"}, "os8"),
        ({"protocol": "os16, scale 1, whole image, precision bf16-mixed"}, "bf16-mixed"),
        ({"split": "test"}, "split test"),
        ({"truth_seed": 9}, "other masks"),
        ({"images": 11}, "11 images"),
        ({"protocol": None}, "protocol not recorded"),
    ],
)
def test_what_was_measured_otherwise_is_not_put_into_one_column(
    runs: Path, other: dict[str, object], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = made_run(runs / "a" / "version_0")
    second = made_run(runs / "b" / "version_0", 0.9, **other)  # type: ignore[arg-type]
    found = compared(first.path, second.path)
    assert [len(group.records) for group in found.groups] == [1, 1]
    assert "not measured in the same way" in found.notes[0]
    assert any(word in note for note in found.notes)
    assert all(group.regions.comparisons == [None] for group in found.groups)

    assert main(["compare", str(first.path), str(second.path), "--out", str(runs / "c.html")]) == 0
    printed = capsys.readouterr().out
    assert "not measured in the same way" in printed
    assert "not measured in the same way" in (runs / "c.html").read_text()
    assert printed.count(" baseline |") == 2  # a table for each


def test_too_few_images_for_an_interval_are_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [made_run(runs / name / "version_0", right, images=5).path for name, right in (("a", 0.5), ("b", 0.9))]
    assert main(["compare", *map(str, paths), "--out", str(runs / "c.html")]) == 0
    printed = capsys.readouterr().out
    for text in (printed, (runs / "c.html").read_text()):
        assert "5 images: too few to say anything of others" in text
        assert not re.search(r"\bnan\b", text)
    assert "0.001" not in printed


def test_images_scored_most_differently_come_first(runs: Path) -> None:
    paths = [made_run(runs / name / "version_0", right).path for name, right in (("a", 0.5), ("b", 0.95))]
    (group,) = compared(*paths).groups
    spreads = [entry.spread for entry in group.disagreements]
    assert len(spreads) == 12
    assert spreads == sorted(spreads, reverse=True)
    first = group.disagreements[0]
    assert first.scores == [record.image_scores(first.sample_id).mIoU for record in group.records]


def test_costs_are_those_of_the_folder(runs: Path) -> None:
    (record,) = read_records([made_run(runs / "a" / "version_0", 0.5).path])
    assert costs(record) == {
        "parameters": 500_000,
        "seconds per training step": pytest.approx(0.45),
        "minutes of training": pytest.approx(0.5),
        "seconds per evaluated image": pytest.approx(1.5 / 12),
    }


def test_the_front_has_whom_nobody_beats() -> None:
    points = [
        Point("dear", 9, 80),
        Point("cheap", 1, 50),
        Point("beaten", 5, 49),
        Point("twin", 1, 50),
        Point("mid", 4, 70),
    ]
    assert [point.name for point in pareto_front(points)] == ["cheap", "mid", "dear"]


def test_the_same_run_twice_and_a_single_one_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(runs / "a" / "version_0")
    with pytest.raises(ConfigError, match="more than once"):
        read_records([run.path, runs / "a" / "version_0"])
    assert main(["compare", str(run.path)]) == 2
    assert "needs two runs or more" in capsys.readouterr().err


def test_a_run_without_scores_is_named(runs: Path) -> None:
    run = made_run(runs / "a" / "version_0")
    run.per_image.unlink()
    with pytest.raises(DataError, match=r"no per_image\.npz"):
        read_records([run.path])


def test_runs_of_one_name_are_told_apart(runs: Path) -> None:
    paths = [made_run(runs / name / f"version_{version}").path for name, version in (("a", 0), ("a", 1), ("b", 0))]
    assert [record.name for record in read_records(paths)] == ["a/version_0", "a/version_1", "b"]


class Tables(HTMLParser):
    """Collects the text of every table's rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.rows[-1][-1] += data


def test_the_page_has_differences_and_images(runs: Path) -> None:
    paths = [made_run(runs / name / "version_0", right).path for name, right in (("a", 0.6), ("b", 0.9))]
    assert main(["report", *map(str, paths), "--out", str(runs / "page.html")]) == 0
    text = (runs / "page.html").read_text()
    (group,) = compared(*paths).groups
    rows = {row[0]: row for row in Tables(text).rows if row}
    better = group.regions.comparisons[1]
    assert better is not None
    assert any(f"{100 * better.difference:+.2f}" in row for row in Tables(text).rows)
    assert rows["car <b>"][2].startswith(f"{100 * better.class_difference[1]:+.2f}")
    assert rows["tram"][1:] == ["-", "-"]
    assert text.count('<figure class="image">') == 12
    assert "mIoU against parameters" in text


def test_names_are_text_wherever_they_stand(runs: Path) -> None:
    hostile = "<script>alert('x')<!--\" onload=\"y"
    paths = [
        made_run(runs / name / "version_0", right, note=hostile).path for name, right in (("a", 0.6), (hostile, 0.9))
    ]
    for pages in (paths, paths[1:]):
        assert main(["report", *map(str, pages), "--out", str(runs / "page.html")]) == 0
        text = (runs / "page.html").read_text()
        assert text.count("&lt;script&gt;alert(") >= 2
        assert text.count("<script>") == 1  # that of the page
        assert 'onload="' not in text


def test_a_study_becomes_a_page(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs / "study"
    (folder / "cells").mkdir(parents=True)
    (folder / "study.json").write_text("{}")
    assert main(["report", str(folder)]) == 2
    assert "--table" in capsys.readouterr().err
    columns = ["decoder", "seeds", "parameters", "multiply_adds", "seconds_per_step", "mIoU_mean", "mIoU_std"]
    columns += ["difference", "low", "high", "p_value", "p_value_holm", "published_percent"]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerow(["yes & no", 3, 1000, 5000, 0.5, 0.6123, 0.01, "", "", "", "", "", "78.85"])
        writer.writerow(["none", 3, 900, 4000, 0.4, 0.5, 0.02, -0.1123, -0.14, -0.09, 0.0004, 0.0004, ""])
    with (folder / "per_class.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "class", "IoU_mean", "IoU_std", "difference", "low", "high"])
        writer.writerows([["yes & no", "car", 0.7, 0.1, "", "", ""], ["none", "car", 0.6, 0.1, -0.1, -0.2, -0.05]])
    assert main(["report", str(folder)]) == 0
    rows = Tables((folder / "report.html").read_text()).rows
    assert ["yes & no", "3", "1,000", "61.23", "1.00", "", "", "", "", "78.85"] in rows
    assert ["none", "3", "900", "50.00", "2.00", "-11.23", "[-14.00, -9.00]", "< 0.001", "< 0.001", ""] in rows
    assert ["car", "70.00", "60.00*"] in rows


def test_pq_is_compared_as_miou_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [
        made_run(runs / name / "version_0", share, images=20, objects=True) for name, share in (("a", 0.5), ("b", 1))
    ]
    paths = [run.path for run in made]
    (group,) = compared(*paths).groups
    assert group.panoptic is not None
    found = group.panoptic.comparisons[1]
    assert found is not None
    qualities = [record.panoptic.quality() for record in group.records if record.panoptic]
    assert found.difference == pytest.approx(qualities[1].all.pq - qualities[0].all.pq)
    assert found.class_difference[1] == pytest.approx(qualities[1].pq[1] - qualities[0].pq[1])
    assert np.isnan(found.class_difference[2:]).all()
    assert 0 < found.low < found.difference < found.high
    assert main(["compare", *map(str, paths), "--out", str(runs / "c.html")]) == 0
    printed, page = capsys.readouterr().out, (runs / "c.html").read_text()
    assert re.search(r"\| run +\| +mIoU .*\| +PQ \| difference \|", printed)
    assert "class, PQ" in printed
    cells = [f"{100 * quality.all.pq:.2f}" for quality in qualities]
    assert all(cell in printed for cell in cells)
    assert any(row[6:7] == [cells[0]] for row in Tables(page).rows)
    assert "mIoU and PQ in percent" in page
    assert "PQ of a in percent" in page


@pytest.mark.parametrize("other", [{"objects": False}, {"objects": True}])
def test_pq_is_compared_only_where_all_have_it_against_one_truth(runs: Path, other: dict[str, bool]) -> None:
    first = made_run(runs / "a" / "version_0", objects=True)
    second = made_run(runs / "b" / "version_0", 0.9, **other)  # type: ignore[arg-type]
    if other["objects"]:
        counts = PanopticCounts.load(second.panoptic)
        counts.missed[3, 1] += 1
        counts.save(second.panoptic)
    found = compared(first.path, second.path)
    (group,) = found.groups
    assert group.panoptic is None
    assert group.regions.comparisons[1] is not None
    assert any(note.startswith("PQ is known of a") for note in found.notes)


def test_without_pq_nothing_is_said_of_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [made_run(runs / name / "version_0", right).path for name, right in (("a", 0.6), ("b", 0.7))]
    assert main(["compare", *map(str, paths), "--out", str(runs / "c.html")]) == 0
    assert "PQ" not in capsys.readouterr().out
    assert not re.search(r"\bPQ\b", re.sub(r"base64,[^\"]*", "", (runs / "c.html").read_text()))


def test_significance_is_that_of_the_studies(runs: Path) -> None:
    """One implementation: the same draw gives the same interval."""
    from deeplab_lightning.studies import statistics

    paths = [made_run(runs / name / "version_0", right).path for name, right in (("a", 0.6), ("b", 0.7))]
    (group,) = compared(*paths).groups
    expected = statistics.compare(group.regions.tallies[:1], group.regions.tallies[1:], 400)
    found = group.regions.comparisons[1]
    assert found is not None
    assert (found.low, found.high, found.p_value) == (expected.low, expected.high, expected.p_value)
    assert np.array_equal(found.class_low, expected.class_low, equal_nan=True)
