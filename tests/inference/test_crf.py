"""The dense CRF: golden values, brute force against the fast forms, and what must hold whatever the form."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch import Tensor

from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.inference.crf import PAPERS, CRFOptions, DenseCRF
from deeplab_lightning.inference.crf.exact import ExactKernel
from deeplab_lightning.inference.crf.gaussian import GaussianKernel
from deeplab_lightning.inference.crf.kernels import Normalise
from deeplab_lightning.inference.crf.lattice import lattice_kernel
from deeplab_lightning.inference.crf.mean_field import bilateral_features

NORMALISE: list[Normalise] = ["symmetric", "before", "after", "none"]
FORMS = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba")),
]
"""Of the lattice: plain torch, compiled."""


def scene(height: int = 40, width: int = 52, index: int = 3) -> Tensor:
    """Return the middle of a drawn scene, `(3, height, width)` uint8."""
    image, _ = DrawnScenes("val", 5, 96, 128).load(index)
    top, left = (96 - height) // 2, (128 - width) // 2
    return torch.from_numpy(image[top : top + height, left : left + width].transpose(2, 0, 1).copy())


def some_probs(classes: int, height: int, width: int, seed: int = 0, sharpness: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(classes, height, width, generator=generator)).softmax(0)


def plain_mean_field(probs: Tensor, image: Tensor, options: CRFOptions) -> Tensor:
    """The papers' formulas over all pairs, written down once more: `(C, H, W)` -> the same."""
    classes, height, width = probs.shape
    place = [(row, column) for row in range(height) for column in range(width)]
    position = torch.tensor(place, dtype=torch.float64)
    colour = image.flatten(1).T.double()
    apart = (position[:, None] - position).square().sum(-1)
    unlike = (colour[:, None] - colour).square().sum(-1)
    kernels = [
        (options.w1, (-apart / (2 * options.sigma_alpha**2) - unlike / (2 * options.sigma_beta**2)).exp()),
        (options.w2, (-apart / (2 * options.sigma_gamma**2)).exp()),
    ]
    weights = torch.zeros_like(apart)
    for weight, kernel in kernels:
        sums = kernel.sum(1)
        if options.normalise == "symmetric":
            kernel = kernel / (sums[:, None] * sums).sqrt()
        elif options.normalise == "before":
            kernel = kernel / sums
        elif options.normalise == "after":
            kernel = kernel / sums[:, None]
        else:
            kernel = kernel - torch.eye(len(place), dtype=torch.float64)
        weights += weight * kernel
    unary = probs.flatten(1).T.double()
    q = unary
    for _ in range(options.iterations):
        q = unary * (weights @ q).exp()
        q = q / q.sum(1, keepdim=True)
    return q.T.reshape(classes, height, width)


# --- golden values and formulas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        (1, [0.948399, 0.955990, 0.316383, 0.184195]),
        (2, [0.996163, 0.950459, 0.622005, 0.147241]),
        (10, [0.998382, 0.997642, 0.948209, 0.712074]),
    ],
)
def test_golden_values(iterations: int, expected: list[float]) -> None:
    first = torch.tensor([[0.9, 0.6, 0.45, 0.2]], dtype=torch.float64)
    image = torch.tensor([10, 12, 200, 204], dtype=torch.uint8).expand(3, 1, 4)
    options = CRFOptions(iterations, 4, 67, 3, 3, 1, "none")
    marginals = DenseCRF(options, "exact")(torch.stack([first, 1 - first]), image)
    assert marginals[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("normalise", NORMALISE)
def test_exact_is_the_formula(normalise: Normalise) -> None:
    options = CRFOptions(3, 0.3, 8, 20, 0.2, 2, normalise)
    probs, image = some_probs(3, 7, 9).double(), scene(7, 9)
    expected = plain_mean_field(probs, image, options)
    assert torch.allclose(DenseCRF(options, "exact")(probs, image), expected, atol=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (75, 3), (20, 31)])
@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_the_gaussian_kernel_is_brute_force(size: tuple[int, int], normalise: Normalise, sigma: float) -> None:
    height, width = size
    image = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    values = torch.rand(2 * height * width, 4, dtype=torch.float64)
    kernel = GaussianKernel(size, sigma, normalise, values)
    exact = ExactKernel(bilateral_features(image, sigma, 1), normalise)
    assert torch.allclose(kernel(values), exact(values), atol=1e-12, rtol=1e-12)


def test_blocks_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = bilateral_features(scene(6, 7)[None], 20, 10)
    values = torch.rand(42, 2, dtype=torch.float64)
    whole = ExactKernel(features, "symmetric")(values)
    monkeypatch.setattr("deeplab_lightning.inference.crf.exact.BLOCK_ELEMENTS", 100)
    assert torch.allclose(ExactKernel(features, "symmetric")(values), whole, atol=1e-12)


# --- the lattice against brute force ----------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("paper", ["v1", "v2_resnet101"])
def test_lattice_is_near_brute_force(paper: str, normalise: Normalise, compiled: bool) -> None:
    options = PAPERS[paper]
    features = bilateral_features(scene()[None], options.sigma_alpha, options.sigma_beta)
    values = some_probs(4, 40, 52).flatten(1).T
    exact = ExactKernel(features, normalise)(values.double())
    lattice = lattice_kernel(features.float(), normalise, compiled)(values)
    error = (lattice - exact).abs().mean() / exact.abs().mean()
    assert error < {"symmetric": 0.07, "before": 0.1, "after": 0.07, "none": 0.2}[normalise]


@pytest.mark.parametrize("compiled", FORMS)
def test_lattice_is_symmetric(compiled: bool) -> None:
    features = bilateral_features(scene(20, 30)[None], 67, 3).float()
    kernel = lattice_kernel(features, "symmetric", compiled)
    picked = torch.randperm(600, generator=torch.Generator().manual_seed(0))[:200]
    matrix = kernel(torch.eye(600)[:, picked])[picked]
    assert (matrix - matrix.T).abs().max() < 1e-6
    assert (matrix - matrix.diag().diag()).max() > 1e-3


def test_both_forms_are_the_same() -> None:
    pytest.importorskip("numba")
    features = bilateral_features(torch.stack([scene(index=0), scene(index=1)]), 49, 5).float()
    values = torch.rand(2 * 40 * 52, 5)
    torch_form = lattice_kernel(features, "symmetric", compiled=False)
    compiled = lattice_kernel(features, "symmetric", compiled=True)
    assert torch.allclose(compiled(values), torch_form(values), atol=1e-5)
    alone = compiled(values)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(compiled(values), alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("paper", ["v1", "v2_resnet101"])
def test_marginals_are_near_those_of_brute_force(paper: str) -> None:
    _, mask = DrawnScenes("val", 5, 96, 128).load(3)
    truth = torch.nn.functional.one_hot(torch.from_numpy(mask[28:68, 38:90].copy()).long().clamp(max=9), 10)
    probs = (2 * truth.permute(2, 0, 1) + torch.randn(10, 40, 52, generator=torch.Generator().manual_seed(0))).softmax(
        0
    )
    exact = DenseCRF(PAPERS[paper], "exact")(probs, scene())
    fast = DenseCRF(PAPERS[paper])(probs, scene())
    assert (exact - probs).abs().mean() > 0.05
    assert (fast - exact).abs().mean() < 0.005
    assert (fast.argmax(0) != exact.argmax(0)).float().mean() < 0.02


# --- what holds whatever the form -------------------------------------------------------------------------------------


def test_without_kernels_the_unary_comes_back() -> None:
    probs = some_probs(5, 9, 8)
    assert torch.allclose(DenseCRF(CRFOptions(w1=0, w2=0))(probs, scene(9, 8)), probs, atol=1e-6)
    assert torch.allclose(DenseCRF(CRFOptions(iterations=0))(probs, scene(9, 8)), probs, atol=1e-6)


def test_on_an_image_of_one_colour_colours_do_not_matter() -> None:
    """The bilateral kernel is then a wide Gaussian."""
    probs, grey = some_probs(3, 12, 15).double(), torch.full((3, 12, 15), 90, dtype=torch.uint8)
    bilateral = DenseCRF(CRFOptions(w1=2, sigma_alpha=4, w2=0), "exact")(probs, grey)
    gaussian = DenseCRF(CRFOptions(w1=0, w2=2, sigma_gamma=4), "exact")(probs, grey)
    assert torch.allclose(bilateral, gaussian, atol=1e-9)


def test_edges_stop_the_smoothing() -> None:
    """Two halves of different colours, unary noise: each half gets its own majority, the edge stays where it is."""
    image = torch.full((3, 24, 24), 40, dtype=torch.uint8)
    image[:, :, 13:] = 200
    truth = (image[0] > 100).long()
    noise = torch.randn(2, 24, 24, generator=torch.Generator().manual_seed(1))
    logits = 1.0 * torch.nn.functional.one_hot(truth, 2).permute(2, 0, 1) + noise
    assert (logits.argmax(0) != truth).float().mean() > 0.1
    assert torch.equal(DenseCRF()(logits.softmax(0), image).argmax(0), truth)


def test_classes_can_be_permuted() -> None:
    probs, image = some_probs(5, 17, 19), scene(17, 19)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(DenseCRF()(probs[order], image), DenseCRF()(probs, image)[order], atol=1e-5)


@pytest.mark.parametrize("method", ["lattice", "exact"])
def test_images_of_a_batch_do_not_meet(method: str) -> None:
    image = torch.stack([scene(15, 18, 0), scene(15, 18, 1), scene(15, 18, 0)])
    probs = torch.stack([some_probs(4, 15, 18, seed) for seed in (0, 1, 0)])
    together = DenseCRF(method=method)(probs, image)  # type: ignore[arg-type]
    alone = DenseCRF(method=method)(probs[1], image[1])  # type: ignore[arg-type]
    assert torch.allclose(together[1], alone, atol=1e-5)
    assert torch.allclose(together[0], together[2], atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize(("classes", "height", "width"), [(1, 5, 7), (2, 1, 1), (2, 33, 1), (256, 9, 11)])
def test_any_size_and_number_of_classes(classes: int, height: int, width: int, normalise: Normalise) -> None:
    probs = some_probs(classes, height, width)
    marginals = DenseCRF(CRFOptions(normalise=normalise))(probs, scene(height, width))
    assert marginals.shape == probs.shape
    assert marginals.dtype == probs.dtype
    assert torch.allclose(marginals.sum(0), torch.ones(height, width), atol=1e-5)


def test_certainty_does_no_harm() -> None:
    probs = torch.zeros(3, 8, 9)
    probs[0, :, :5] = probs[1, :, 5:] = 1
    marginals = DenseCRF()(probs, scene(8, 9))
    assert torch.isfinite(marginals).all()
    assert torch.equal(DenseCRF()(probs, scene(8, 9)), marginals)  # and the same again


def test_doubles_and_halves_stay_what_they_are() -> None:
    for dtype in (torch.float64, torch.float16):
        assert DenseCRF()(some_probs(2, 5, 5).to(dtype), scene(5, 5)).dtype == dtype


# --- errors -----------------------------------------------------------------------------------------------------------


def test_logits_are_refused() -> None:
    with pytest.raises(DataError, match="softmax"):
        DenseCRF()(torch.randn(2, 5, 5), scene(5, 5))
    with pytest.raises(DataError, match="not finite"):
        DenseCRF()(torch.full((2, 5, 5), math.nan), scene(5, 5))


@pytest.mark.parametrize("image", [torch.zeros(3, 5, 6, dtype=torch.uint8), torch.rand(3, 5, 5)])
def test_images_that_do_not_fit_are_refused(image: Tensor) -> None:
    with pytest.raises(DataError, match="image's own size"):
        DenseCRF()(some_probs(2, 5, 5), image)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sigma_beta": 0}, "set its weight w1 to 0"),
        ({"sigma_gamma": -1}, "set its weight w2 to 0"),
        ({"w1": -1}, "0 or more"),
        ({"normalise": "both"}, "symmetric, before, after, none"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, float], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        CRFOptions(**options)  # type: ignore[arg-type]


def test_sigmas_too_small_for_the_lattice() -> None:
    with pytest.raises(ConfigError, match="larger sigmas"):
        DenseCRF(CRFOptions(sigma_beta=0.001))(some_probs(2, 20, 20), scene(20, 20))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_around_it_changes_nothing(dtype: torch.dtype) -> None:
    image, probs = scene()[None], some_probs(3, 40, 52)[None]
    expected = DenseCRF(PAPERS["v1"])(probs, image)
    with torch.autocast("cpu", dtype):
        assert torch.equal(DenseCRF(PAPERS["v1"])(probs, image), expected)
