"""The predictor: bands equal the whole, whatever the size, in bounded memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference import EvaluationOptions, predictor
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.layers import Normalise, resize
from deeplab_lightning.metrics.confusion import most_likely

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NUM_CLASSES = 5


class Network:
    """Logits at a quarter of the size, by a fixed convolution; remembers the sizes it saw."""

    def __init__(self) -> None:
        self.kernel = torch.randn(NUM_CLASSES, 3, 5, 5, generator=torch.Generator().manual_seed(0))
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape))
        return F.conv2d(image, self.kernel, stride=4, padding=2)


def build(
    align_corners: bool = True,
    output_stride: int = 16,
    side_remainder: int = 1,
    options: EvaluationOptions | None = None,
) -> tuple[Predictor, Network]:
    network = Network()
    made = Predictor(
        network,
        Normalise(MEAN, STD),
        output_stride=output_stride,
        align_corners=align_corners,
        side_remainder=side_remainder,
        options=options,
    )
    return made, network


def random_image(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)


def whole_logits(image: Tensor, align_corners: bool, output_stride: int = 16) -> Tensor:
    """All logits at once, with plain operations only."""
    height, width = image.shape[-2:]
    normalised = Normalise(MEAN, STD)(image)
    if align_corners:
        bottom, right = -(height - 1) % output_stride, -(width - 1) % output_stride
        normalised = F.pad(normalised, (0, right, 0, bottom))
    logits = resize(Network()(normalised), tuple(normalised.shape[-2:]), align_corners)
    return logits[..., :height, :width]


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("height", "width"), [(33, 33), (64, 48), (97, 65), (50, 121), (1, 7), (36, 48)])
@pytest.mark.parametrize("band_elements", [1, 2000, 1 << 20])
def test_bands_make_up_the_whole(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, align_corners: bool, band_elements: int
) -> None:
    monkeypatch.setattr(predictor, "BAND_ELEMENTS", band_elements)
    image = random_image(height, width, batch=2)
    segmenter, _ = build(align_corners)
    bands = list(segmenter.bands(image))
    assert [row for rows, _ in bands for row in range(rows.start, rows.stop)] == list(range(height))
    assert len(bands) == (height if band_elements == 1 else 1 if band_elements == 1 << 20 else len(bands))
    expected = whole_logits(image, align_corners)
    logits = torch.cat([logits for _, logits in bands], 2)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, expected, atol=1e-4)
    assert torch.allclose(segmenter.probs(image), expected.softmax(1), atol=1e-5)
    pred = segmenter.predict(image)
    assert pred.dtype == torch.uint8
    assert pred.shape == (2, height, width)
    best = expected.max(1)
    disputed = expected.gather(1, pred.long().unsqueeze(1)).squeeze(1) < best.values - 1e-3
    assert not disputed.any()
    assert (pred == best.indices).float().mean() > 0.999


def test_probabilities_sum_to_one() -> None:
    segmenter, _ = build()
    probs = segmenter.probs(random_image(50, 40))
    assert probs.shape == (1, NUM_CLASSES, 50, 40)
    assert torch.allclose(probs.sum(1), torch.ones(1, 50, 40), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "output_stride", "padded"),
    [
        ((360, 480), 16, (369, 481)),
        ((360, 480), 8, (361, 481)),
        ((33, 65), 16, (33, 65)),
        ((33, 65), 32, (33, 65)),
        ((64, 34), 32, (65, 65)),
        ((1, 1), 16, (1, 1)),
    ],
)
def test_pads_to_where_corners_meet(size: tuple[int, int], output_stride: int, padded: tuple[int, int]) -> None:
    divided = tuple(math.ceil(side / output_stride) * output_stride for side in size)
    for align_corners, side_remainder, seen in ((True, 1, padded), (True, 0, divided), (False, 1, size)):
        segmenter, network = build(align_corners, output_stride, side_remainder)
        assert segmenter.predict(random_image(*size)).shape == (1, *size)
        assert network.seen == [(1, 3, *seen)]


@pytest.mark.parametrize(("side_remainder", "window", "fits"), [(1, 64, r"16 k \+ 1,.*: 65"), (0, 65, "16 k,.*: 64")])
def test_windows_have_such_sides(side_remainder: int, window: int, fits: str) -> None:
    options = EvaluationOptions(window_size=window)
    with pytest.raises(ConfigError, match=fits):
        build(side_remainder=side_remainder, options=options)
    build(side_remainder=1 - side_remainder, options=options)


def test_padding_is_the_mean_pixel() -> None:
    inputs = []
    segmenter = Predictor(
        lambda image: inputs.append(image) or torch.zeros(1, 2, 5, 5),  # type: ignore[func-returns-value]
        Normalise(MEAN, STD),
        output_stride=16,
        align_corners=True,
    )
    segmenter.predict(random_image(60, 65))
    assert torch.all(inputs[0][..., 60:, :] == 0)
    assert torch.all(inputs[0][..., :60, :] != 0)


def test_a_large_image_never_exists_at_full_resolution() -> None:
    """6000 x 4000 with 21 classes would be two gigabytes; a band is a few megabytes."""

    def network(image: Tensor) -> Tensor:
        return torch.zeros(1, 21, 376, 251).index_fill(1, torch.tensor(3), 1.0)

    segmenter = Predictor(network, lambda image: image.expand(1, 3, 6000, 4000), output_stride=16, align_corners=False)
    image = torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(1, 3, 6000, 4000)
    rows_seen = 0
    for rows, logits in segmenter.bands(image):
        assert logits.numel() <= predictor.BAND_ELEMENTS
        assert logits.shape == (1, 21, rows.stop - rows.start, 4000)
        assert logits.untyped_storage().nbytes() <= 4 * predictor.BAND_ELEMENTS
        rows_seen += rows.stop - rows.start
        if rows.start > 100:
            break
    assert rows_seen > 100


def test_half_precision_networks_are_resized_in_float32() -> None:
    segmenter = Predictor(
        lambda image: torch.randn(1, 4, 9, 9).bfloat16(), Normalise(MEAN, STD), output_stride=16, align_corners=True
    )
    for _, logits in segmenter.bands(random_image(33, 33)):
        assert logits.dtype == torch.float32


def test_most_likely_is_the_argmax() -> None:
    logits = torch.randn(2, 256, 4, 5)
    assert torch.equal(most_likely(logits).long(), logits.argmax(1))


def test_protocol_names_what_changes_scores() -> None:
    assert build(output_stride=8)[0].protocol == "os8, scale 1, whole image"
