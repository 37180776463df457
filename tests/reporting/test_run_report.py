"""The report on a run: one file that stands by itself, made without torch, and usable by everyone."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.reporting import charts, pages, viewer
from deeplab_lightning.reporting.gallery import VOID, KeptImage, read_gallery, write_gallery
from deeplab_lightning.reporting.panels import ERROR_COLOUR
from deeplab_lightning.reporting.records import read_record
from deeplab_lightning.reporting.run_report import run_report

from .made_runs import NAMES, PALETTE, made_run

CSS = Path(pages.__file__).parent / "templates" / "page.css"
VOID_TAGS = {"meta", "img", "input", "br", "link"}
"""Tags that have no end."""
FORBIDDEN = """
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "lightning", "timm", "torchvision", "torchmetrics", "albumentations",
                                  "jsonargparse", "wandb"):
            raise ImportError(f"{name} is not on this machine")
sys.meta_path.insert(0, Forbid())
from deeplab_lightning.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


class Structure(HTMLParser):
    """Checks nesting, and collects what stands where."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.tags if found == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run, and its report made by a Python that has no torch."""
    run = made_run(tmp_path_factory.mktemp("made") / "runs" / "x" / "version_0")
    done = subprocess.run(
        [sys.executable, "-c", FORBIDDEN, "report", str(run.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return run.path, (run.path / "report.html").read_text(encoding="utf-8")


def test_nothing_comes_from_elsewhere(page: tuple[Path, str]) -> None:
    structure = Structure(page[1])
    addresses = [attrs[key] or "" for _, attrs in structure.tags for key in ("src", "href") if key in attrs]
    assert len(addresses) > 40
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest", page[1])
    (policy,) = [attrs for attrs in structure.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in (policy["content"] or "")


def test_links_meet_their_targets_and_headings_step_down_by_one(page: tuple[Path, str]) -> None:
    structure = Structure(page[1])
    targets = {attrs["id"] for _, attrs in structure.tags if "id" in attrs}
    links = [(attrs["href"] or "")[1:] for attrs in structure.all("a")]
    assert len(links) == 9
    assert set(links) <= targets
    assert structure.headings[0] == 1
    assert all(later - earlier <= 1 for earlier, later in zip(structure.headings, structure.headings[1:], strict=False))


def test_everything_has_a_name_for_who_cannot_see_it(page: tuple[Path, str]) -> None:
    structure = Structure(page[1])
    assert all(attrs.get("alt") for attrs in structure.all("img"))
    sliders = structure.all("input")
    assert len(sliders) == 12
    assert all(attrs["type"] == "range" and attrs["aria-label"] and attrs["aria-valuetext"] for attrs in sliders)
    drawings = [attrs for attrs in structure.all("svg") if attrs.get("aria-hidden") != "true"]
    assert len(drawings) >= 2
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    labelled = len(re.findall(r"<label>[^<]+<select", page[1]))
    assert labelled == len(structure.all("select")) == 3
    assert all(attrs.get("scope") for attrs in structure.all("th"))
    regions = [attrs for attrs in structure.all("div") if attrs.get("class") == "scroll"]
    assert all(attrs["tabindex"] == "0" and attrs["role"] == "region" and attrs["aria-label"] for attrs in regions)
    assert [attrs["lang"] for attrs in structure.all("html")] == ["en"]


def test_the_scores_are_those_of_the_folder(page: tuple[Path, str]) -> None:
    record = read_record(page[0])
    assert f"{record.scores.mIoU:.4f} over 3 of 4 classes" in page[1]
    for name, iou in zip(("road", "car &lt;b&gt;", "sky"), record.scores.iou, strict=False):
        assert re.search(rf'<th scope="row">{name}</th><td class="number">{iou:.4f}</td>', page[1])
    assert re.search(r'<th scope="row">tram</th><td class="number">-</td>', page[1])
    assert "12 images of the split val; os16, scale 1, whole image" in page[1]
    assert "car <b>" not in page[1]


def test_images_masks_and_errors_are_the_kept_ones(page: tuple[Path, str]) -> None:
    stored = read_gallery(page[0] / "images.zip").images["val-003"]
    entry = re.search(r'<li data-name="val-003".*?</li>', page[1], re.DOTALL)
    assert entry is not None
    layers = dict(re.findall(r'<img data-layer="(\w+)".*?base64,([^"]+)"', entry[0]))
    assert list(layers) == ["image", "truth", "prediction", "error"]
    assert base64.b64decode(layers["image"]) == stored.jpeg
    assert base64.b64decode(layers["prediction"]) == stored.pred_png
    with Image.open(io.BytesIO(base64.b64decode(layers["error"]))) as image:
        shown = np.asarray(image.convert("RGBA"))
    truth, pred = stored.truth(), stored.pred()
    wrong = (truth != pred) & (truth != VOID)
    assert np.array_equal((shown == (*ERROR_COLOUR, 255)).all(axis=2), wrong)
    assert (shown[truth == VOID][:, 3] > 200).all()
    assert (shown[(truth == pred)][:, 3] < 200).all()
    scores = json.loads(html.unescape(re.search(r'data-scores="([^"]*)"', entry[0])[1]))  # type: ignore[index]
    expected = read_record(page[0]).image_scores("val-003")
    assert scores["road"] == pytest.approx(expected.iou[0], abs=1e-4)
    assert "tram" not in scores


def test_objects_are_scored_and_outlined(tmp_path: Path) -> None:
    run = made_run(tmp_path / "x" / "version_0", objects=True)
    text, record = run_report(read_record(run.path)), read_record(run.path)
    Structure(text)
    assert record.panoptic is not None
    quality = record.panoptic.quality()
    assert f"all {quality.all.pq:.4f}, things {quality.of_things.pq:.4f}, stuff {quality.of_stuff.pq:.4f}" in text
    cells = [f"{score[1]:.4f}" for score in (quality.pq, quality.sq, quality.rq)]
    cells += [str(count[1]) for count in (quality.matched, quality.extra, quality.missed)]
    row = "\\s*".join(f'<td class="number">{cell}</td>' for cell in cells)
    assert re.search(rf'<th scope="row">car &lt;b&gt;</th>\s*{row}', text)
    entry = re.search(r'<li data-name="val-003".*?</li>', text, re.DOTALL)
    assert entry is not None
    layers = dict(re.findall(r'<img data-layer="([\w ]+)".*?base64,([^"]+)"', entry[0]))
    assert list(layers) == ["image", "truth", "prediction", "error", "true objects", "objects"]
    stored = read_gallery(run.images).images["val-003"]
    assert [base64.b64decode(layers[name]) for name in ("true objects", "objects")] == list(stored.outline_pngs)
    with Image.open(io.BytesIO(stored.outline_pngs[0])) as image:
        shown = np.asarray(image.convert("RGBA"))
    assert (shown[4:20, [4, 19], 3] == 255).all()
    assert (shown[:3, :, 3] == 0).all()
    assert (shown[4, 4:20, :3] == np.array([*PALETTE, (0, 0, 0)])[np.minimum(stored.truth()[4, 4:20], 4)]).all()


def test_without_objects_nothing_is_said_of_them(page: tuple[Path, str]) -> None:
    text = re.sub(r'base64,[^"]*', "", page[1])
    assert not re.search(r"\bPQ\b|TP|objects", text)


def test_old_runs_get_a_page_and_a_warning(tmp_path: Path) -> None:
    run = made_run(tmp_path / "x" / "version_0", protocol=None)
    for path in (run.images, run.environment, run.speed, run.metrics):
        path.unlink()
    text = run_report(read_record(run.path))
    Structure(text)
    assert "before protocols were recorded" in text
    assert "<figure" not in text


def test_a_hundred_large_images_stay_under_ten_megabytes(tmp_path: Path) -> None:
    run = made_run(tmp_path / "x" / "version_0", images=100)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (448, 448, 3), dtype=np.uint8)  # the worst that a JPEG can meet
    mask = np.kron(rng.integers(0, 3, (28, 28)), np.ones((16, 16))).astype(np.uint8)
    images = [KeptImage(f"val-{n:03}", (448, 448), noise, mask, mask.T.copy(), "spread") for n in range(100)]
    write_gallery(run.images, images, NAMES, PALETTE)
    assert run.images.stat().st_size > 10e6
    text = run_report(read_record(run.path))
    assert text.count('<figure class="image">') == 100
    assert len(text.encode()) < 10e6


def test_small_galleries_are_not_compressed_again(tmp_path: Path) -> None:
    run = made_run(tmp_path / "x" / "version_0")
    stored = read_gallery(run.images).images["val-000"]
    text = run_report(read_record(run.path))
    assert base64.b64encode(stored.jpeg).decode() in text


# --- colours --------------------------------------------------------------------------------------------------------


def _palettes() -> dict[str, dict[str, str]]:
    css = CSS.read_text(encoding="utf-8")
    blocks = re.findall(r"\{[^{}]*--paper:[^{}]*\}", css)
    light, *dark = [dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(dark) == 2
    assert dark[0] == dark[1]  # by the system's wish and by the button
    return {"light": light, "dark": dark[0]}


def _contrast(first: str, second: str) -> float:
    """Of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _mixed(first: str, second: str, share: float) -> str:
    """Of two colours, as `color-mix` does it in sRGB."""
    pairs = [(int(first[place : place + 2], 16), int(second[place : place + 2], 16)) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme: str) -> None:
    colours = _palettes()[theme]
    for text in ("--ink", "--faint", "--accent", "--good", "--bad"):
        for ground in ("--paper", "--panel"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert _contrast(colours["--warn-ink"], colours["--warn"]) >= 4.5
    share = float(re.findall(r"--heat-share: ([\d.]+)", CSS.read_text(encoding="utf-8"))[theme == "dark"])
    assert _contrast(colours["--ink"], _mixed(colours["--heat"], colours["--panel"], share)) >= 4.5
    for number in range(1, charts.COLOURS + 1):
        assert _contrast(colours[f"--s{number}"], colours["--panel"]) >= 3, number


# --- parts ----------------------------------------------------------------------------------------------------------


def test_a_line_goes_through_its_points() -> None:
    text = charts.line_chart("Loss", [charts.Line("train", np.array([0.0, 10.0]), np.array([4.0, 1.0]))], "step")
    (points,) = re.findall(r'<polyline points="([^"]+)"', text)
    (x0, y0), (x1, y1) = (tuple(map(float, point.split(","))) for point in points.split())
    assert x0 < x1
    assert y0 < y1  # down on the screen
    assert "train: 4 at 0, 1 at 10, lowest 1 at 10, highest 4 at 0" in text


def test_long_curves_are_thinned_and_constant_ones_drawn() -> None:
    steps = np.arange(50_000.0)
    text = charts.line_chart("x", [charts.Line("a", steps, np.sin(steps / 500))], "step")
    assert len(text) < 20_000
    assert "nan" not in charts.line_chart("x", [charts.Line("a", np.array([3.0]), np.array([0.0]))], "step")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.0312, 0.0317), (0, 1600), (-3, 2e7)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    ticks = charts._ticks(low, high)
    assert 3 <= len(ticks) <= 7
    assert all(low - 1e-9 * (high - low) <= tick <= high + 1e-9 * (high - low) for tick in ticks)


def test_disagreement_is_where_not_all_are_the_same() -> None:
    first = np.array([[0, 1], [2, 2]], np.uint8)
    png = viewer.disagreement_png([first, first.copy(), np.array([[0, 1], [2, 0]], np.uint8)])
    with Image.open(io.BytesIO(png)) as image:
        assert np.asarray(image).tolist() == [[0, 0], [0, 1]]


def test_help_needs_nothing_heavy() -> None:
    for command in ("report", "compare", "reproduce"):
        code = (
            "import sys\nfrom deeplab_lightning.__main__ import main\n"
            f"try:\n    main([{command!r}, '--help'])\nexcept SystemExit:\n    pass\n"
            "print([name for name in ('torch', 'numpy', 'lightning', 'wandb') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "No run found" in capsys.readouterr().err
