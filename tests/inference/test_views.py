"""Scales, flip, fusion, windows and CRF: against plain torch, and what must hold whatever the network."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference import EvaluationOptions, predictor
from deeplab_lightning.inference.crf import PAPERS, DenseCRF
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.inference.windows import scaled_side, spans
from deeplab_lightning.layers import Normalise

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NUM_CLASSES = 5
ALIGN = pytest.mark.parametrize("align_corners", [True, False])
KERNEL = 0.3 * torch.randn(NUM_CLASSES, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def network(image: Tensor) -> Tensor:
    """Logits at a quarter of the size, not the same mirrored."""
    return F.conv2d(image, KERNEL, stride=4, padding=2)


def build(align_corners: bool, **options: object) -> Predictor:
    return Predictor(
        network,
        Normalise(MEAN, STD),
        output_stride=16,
        align_corners=align_corners,
        options=EvaluationOptions(**options),  # type: ignore[arg-type]
    )


def random_image(height: int, width: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(batch, 3, -(-height // 8), -(-width // 8), generator=generator)
    return (F.interpolate(small, (height, width), mode="bilinear") * 255).round().to(torch.uint8)


def plain_logits(image: Tensor, scale: float, mirrored: bool, align_corners: bool) -> Tensor:
    """One view of the whole image, with nothing but interpolate and pad.

    Where corners meet, the padded part of the scaled image has no place in the image: the logits are brought to the
    scaled image's grid, 64 times as fine, and sampled there.
    """
    height, width = image.shape[-2:]
    normalised = Normalise(MEAN, STD)(image.flip(-1) if mirrored else image)
    size = [scaled_side(side, scale, align_corners) for side in (height, width)]
    scaled = F.interpolate(normalised, size, mode="bilinear", align_corners=align_corners)
    if not align_corners:
        logits = F.interpolate(network(scaled), (height, width), mode="bilinear", align_corners=False)
    else:
        padded = F.pad(scaled, (0, -(size[1] - 1) % 16, 0, -(size[0] - 1) % 16))
        made = network(padded)
        # grid_sample counts from -1 to 1 over the padded image's corners.
        rows, columns = (
            torch.linspace(-1, -1 + 2 * (side - 1) / (whole - 1), wanted)
            for side, whole, wanted in zip(size, padded.shape[-2:], (height, width), strict=True)
        )
        grid = torch.stack([columns.expand(height, -1), rows[:, None].expand(-1, width)], -1)
        grid = grid.expand(len(image), -1, -1, -1)
        logits = F.grid_sample(made, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return logits.flip(-1) if mirrored else logits


# --- against plain torch --------------------------------------------------------------------------------------------


@ALIGN
@pytest.mark.parametrize("size", [(65, 97), (50, 71)])
def test_scales_and_flip_average_probabilities(size: tuple[int, int], align_corners: bool) -> None:
    image, scales = random_image(*size, batch=2), (0.5, 1.0, 1.75)
    expected = torch.zeros(2, NUM_CLASSES, *size)
    for scale in scales:
        for mirrored in (False, True):
            expected += plain_logits(image, scale, mirrored, align_corners).softmax(1) / 6
    probs = build(align_corners, scales=scales, flip=True).probs(image)
    assert torch.allclose(probs, expected, atol=1e-4)
    once = build(align_corners).probs(image)
    assert (once - expected).abs().max() > 0.05


@ALIGN
def test_max_fusion_takes_the_largest_score_of_the_scales(align_corners: bool) -> None:
    image, scales = random_image(65, 81), (0.5, 0.75, 1.0)
    views = [
        (plain_logits(image, scale, False, align_corners) + plain_logits(image, scale, True, align_corners)) / 2
        for scale in scales
    ]
    expected = torch.stack(views).amax(0)
    segmenter = build(align_corners, scales=scales, flip=True, fusion="max")
    scores = torch.cat([scores for _, scores in segmenter.bands(image)], 2)
    assert torch.allclose(scores, expected, atol=2e-4)
    assert (scores - torch.stack(views).mean(0)).abs().max() > 0.1


@ALIGN
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.7])
def test_windows_are_averaged_by_their_distance_from_the_ends(align_corners: bool, overlap: float) -> None:
    """At scale 1 every window is an image of its own; weights are written down once more."""
    height, width, side = 70, 113, 33
    image = random_image(height, width)
    total, weight = torch.zeros(1, NUM_CLASSES, height, width), torch.zeros(height, width)
    step = int(side * (1 - overlap))

    def starts(length: int) -> list[int]:
        count = 1 + -(-(length - side) // step)
        return [round(index * (length - side) / (count - 1)) for index in range(count)]

    distance = torch.minimum(torch.arange(side) + 1, side - torch.arange(side)).float()
    for top in starts(height):
        for left in starts(width):
            place = (slice(top, top + side), slice(left, left + side))
            probs = plain_logits(image[..., place[0], place[1]], 1, False, align_corners).softmax(1)
            total[..., place[0], place[1]] += probs * distance[:, None] * distance
            weight[place] += distance[:, None] * distance
    assert weight.min() > 0
    probs = build(align_corners, window_size=side, overlap=overlap).probs(image)
    assert torch.allclose(probs, total / weight, atol=1e-4)


def test_the_crf_gets_probabilities_and_the_stored_image() -> None:
    image = random_image(40, 52)
    segmenter = build(True, scales=(0.75, 1.0), crf="v1")
    expected = DenseCRF(PAPERS["v1"])(build(True, scales=(0.75, 1.0)).probs(image), image)
    assert torch.allclose(segmenter.probs(image), expected, atol=1e-5)
    assert torch.equal(segmenter.predict(image).long(), expected.argmax(1))
    assert not torch.equal(segmenter.predict(image), build(True).predict(image))


# --- what must hold -------------------------------------------------------------------------------------------------


@ALIGN
@pytest.mark.parametrize(
    "options",
    [{"scales": (0.5, 0.75, 1.0, 1.25)}, {"scales": (0.75, 1.0), "fusion": "max"}, {"window_size": 33, "overlap": 0.4}],
)
def test_flip_averaging_makes_the_prediction_mirror_with_the_image(
    align_corners: bool, options: dict[str, object]
) -> None:
    image = random_image(57, 83)
    segmenter = build(align_corners, flip=True, **options)
    probs = segmenter.probs(image)
    # To rounding: vectorised exponentials differ in the last bit between the middle and the end of a row.
    assert torch.allclose(segmenter.probs(image.flip(-1)), probs.flip(-1), atol=1e-6)
    best = probs.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-5
    assert clear.float().mean() > 0.99
    assert torch.equal((segmenter.predict(image) * clear).flip(-1), segmenter.predict(image.flip(-1)) * clear.flip(-1))
    once = build(align_corners, **options)
    assert not torch.equal(once.predict(image.flip(-1)), once.predict(image).flip(-1))


@ALIGN
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0)])
def test_a_window_that_holds_the_image_is_the_whole_image(align_corners: bool, scales: tuple[float, ...]) -> None:
    image = random_image(65, 49)
    whole, window = build(align_corners, scales=scales), build(align_corners, scales=scales, window_size=97)
    assert torch.equal(window.probs(image), whole.probs(image))


@ALIGN
@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_a_constant_answer_stays_that_answer(align_corners: bool, fusion: str) -> None:
    """Nothing is lost or gained where windows meet, at any scale."""
    constant = torch.tensor([0.3, -1.0, 2.0])

    def answer(image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return constant.view(1, 3, 1, 1).expand(1, 3, height // 16 + 1, width // 16 + 1)

    segmenter = Predictor(
        answer,
        Normalise(MEAN, STD),
        output_stride=16,
        align_corners=align_corners,
        options=EvaluationOptions((0.5, 1.0, 1.3), True, fusion, 33, 0.2),  # type: ignore[arg-type]
    )
    probs = segmenter.probs(random_image(75, 130))
    assert torch.allclose(probs, constant.softmax(0).view(1, 3, 1, 1).expand_as(probs), atol=1e-5)


@ALIGN
def test_bands_do_not_matter(monkeypatch: pytest.MonkeyPatch, align_corners: bool) -> None:
    image = random_image(70, 90)
    segmenter = build(align_corners, scales=(0.75, 1.2), flip=True, window_size=33)
    expected = segmenter.probs(image)
    monkeypatch.setattr(predictor, "BAND_ELEMENTS", 500)
    bands = list(segmenter.bands(image))
    assert len(bands) > 20
    assert torch.allclose(segmenter.probs(image), expected, atol=1e-5)


def test_the_network_sees_each_window_once_padded_and_at_its_scale() -> None:
    seen: list[tuple[int, ...]] = []

    def watched(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape[-2:]))
        return network(image)

    options = EvaluationOptions(scales=(0.5, 1.0), window_size=33, overlap=0.0)
    segmenter = Predictor(watched, Normalise(MEAN, STD), output_stride=16, align_corners=True, options=options)
    segmenter.predict(random_image(61, 97))  # 0.5: 31 x 49, two windows; 1: 2 x 3
    assert sorted(seen) == [(33, 33)] * 8


def test_probabilities_of_a_certain_network_have_finite_logarithms() -> None:
    segmenter = Predictor(
        lambda image: 500 * network(image),
        Normalise(MEAN, STD),
        output_stride=16,
        align_corners=True,
        options=EvaluationOptions(flip=True),
    )
    for _, scores in segmenter.bands(random_image(33, 33)):
        assert torch.isfinite(scores).all()


# --- geometry -------------------------------------------------------------------------------------------------------


@ALIGN
@pytest.mark.parametrize("side", [1, 2, 33, 100, 513])
@pytest.mark.parametrize("scale", [0.3, 1.0, 1.75])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_windows_cover_every_pixel(side: int, scale: float, overlap: float, align_corners: bool) -> None:
    found = spans(side, scale, 33, overlap, align_corners)
    covered = sorted({pixel for span in found for pixel in range(span.covers.start, span.covers.stop)})
    assert covered == list(range(side))
    assert found[0].start == 0
    assert found[-1].start + found[-1].length == found[-1].scaled
    assert all(span.length == min(33, span.scaled) for span in found)
    for one, following in pairwise(found):
        assert one.start < following.start <= one.start + one.length
        assert one.start + one.length - following.start >= int(33 * overlap)
    like = torch.zeros(1)
    assert all((span.weights(like) > 0).all() for span in found)


def test_scaled_sides() -> None:
    assert [scaled_side(513, scale, True) for scale in (0.5, 0.75, 1.0, 1.25, 1.75)] == [257, 385, 513, 641, 897]
    assert [scaled_side(512, scale, False) for scale in (0.5, 0.75, 1.0, 1.25)] == [256, 384, 512, 640]
    assert scaled_side(1, 0.5, False) == scaled_side(1, 0.5, True) == 1


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "os16, scale 1, whole image"),
        ({"scales": [1.5, 0.5, 1], "flip": True}, "os16, scales 0.5, 1, 1.5, flip, whole image"),
        ({"scales": [0.5, 1], "fusion": "max"}, "os16, scales 0.5, 1, maximum of scores, whole image"),
        ({"window_size": 65, "overlap": 0.5}, "os16, scale 1, windows of 65 overlapping 50%"),
        ({"window_size": 65, "overlap": 0.254}, "os16, scale 1, windows of 65 overlapping 25.4%"),
        ({"flip": True, "fusion": "max"}, "os16, scale 1, flip, maximum of scores, whole image"),
        ({"fusion": "max"}, "os16, scale 1, whole image"),  # of one view, nothing to choose from
        ({"crf": "v1"}, f"os16, scale 1, whole image, {PAPERS['v1']}"),
    ],
)
def test_the_protocol_says_what_is_done(options: dict[str, object], words: str) -> None:
    assert build(True, **vars(EvaluationOptions.of(options))).protocol == words


def test_scales_within_the_network_are_named() -> None:
    v2 = Predictor(network, Normalise(MEAN, STD), output_stride=8, align_corners=True, inner_scales=(0.5, 1.0))
    assert v2.protocol == "os8, inputs at 0.5, 1, scale 1, whole image"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": []}, "expected different numbers above 0"),
        ({"scales": [1, -1]}, "expected different numbers above 0"),
        ({"scales": [1, 1]}, "expected different numbers above 0"),
        ({"scales": "all"}, "expected different numbers above 0"),
        ({"flip": "yes"}, "expected true or false"),
        ({"fusion": "men"}, "Did you mean 'mean'"),
        ({"window_size": 0}, "expected 1 or more"),
        ({"overlap": 1.0}, "expected 0 to below 1"),
        ({"crf": "v3"}, "expected one of v1, v2_vgg16"),
        ({"crf": {"sigma_alfa": 3}}, "Did you mean 'sigma_alpha'"),
        ({"crf": {"w1": -1}}, "expected 0 or more"),
        ({"scale": 1}, "Did you mean 'scales'"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluationOptions.of(options)


def test_options_may_be_plain_values() -> None:
    assert EvaluationOptions.of({"scales": 1, "crf": {"w1": 5}}).crf_options == EvaluationOptions(crf={"w1": 5}).crf
    assert EvaluationOptions.of({"scales": 0.5}).scales == (0.5,)


def test_a_window_where_corners_do_not_meet_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs 16 k \+ 1.*: 513, for example"):
        build(True, window_size=512)
    build(False, window_size=512)


# --- memory ---------------------------------------------------------------------------------------------------------

LARGE = """
import sys, time, torch
torch.set_num_threads(2)
from deeplab_lightning.inference import EvaluationOptions
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.layers import Normalise
from deeplab_lightning.memory import peak_memory
from deeplab_lightning.models import DeepLabV3Plus
model = DeepLabV3Plus(21, backbone="mobilenetv2_100", output_stride=16).eval()
scales = eval(sys.argv[1])
predictor = Predictor(model.coarse_logits, Normalise([0.5] * 3, [0.5] * 3), output_stride=16, align_corners=True,
                      options=EvaluationOptions(scales=scales, flip=len(scales) > 1, window_size=513, overlap=0.1))
image = torch.randint(0, 256, (1, 3, 4000, 6000), dtype=torch.uint8)
before, started = peak_memory(), time.perf_counter()
pred = predictor.predict(image)
assert pred.shape == (1, 4000, 6000)
print(before, peak_memory(), time.perf_counter() - started)
"""


@pytest.mark.slow
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0)])
def test_a_24_megapixel_image_goes_through_in_less_than_3_gb(scales: tuple[float, ...]) -> None:
    result = subprocess.run([sys.executable, "-c", LARGE, str(scales)], capture_output=True, text=True, check=True)
    before, peak, seconds = map(float, result.stdout.split())
    print(f"{scales}: {before / 2**20:.0f} MiB before, {peak / 2**20:.0f} MiB at most, {seconds:.0f} s")
    assert peak < 3e9
