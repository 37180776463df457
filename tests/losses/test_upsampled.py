"""Cross-entropy of coarse logits at full resolution: what resize and cross-entropy give, without the full-size maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deeplab_lightning.layers import resize
from deeplab_lightning.layers.resize import BandedResize
from deeplab_lightning.losses import CombinedLoss, cross_entropy, loss_options, upsampled_cross_entropy

VOID = 255


def example(
    size: tuple[int, int] = (33, 40), coarse: tuple[int, int] = (9, 10), dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Logits `(2, 5, h, w)` and a mask with void, more of it in the first image."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, *coarse, generator=generator, dtype=torch.float64).mul(4).to(dtype)
    mask = torch.randint(0, 5, (2, *size), generator=generator).to(torch.uint8)
    mask[0, : size[0] // 2] = VOID
    mask[1, 0, 0] = VOID
    return logits.requires_grad_(), mask


def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BandedResize.bands, "__defaults__", (2 * 5 * 40 * 3,))  # three rows


def with_gradient(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    (gradient,) = torch.autograd.grad(loss, logits)
    return loss.detach(), gradient


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("size", "coarse"),
    [((33, 40), (9, 10)), ((130, 7), (5, 7)), ((7, 131), (7, 17)), ((9, 8), (20, 21)), ((5, 6), (1, 1))],
)
@pytest.mark.parametrize(
    ("weights", "smoothing"),
    [(None, 0.0), ([1.0, 0.0, 2.5, 0.5, 3.0], 0.0), (None, 0.2), ([1.0, 0.0, 2.5, 0.5, 3.0], 0.2)],
)
def test_value_and_gradient_are_those_of_resize_and_cross_entropy(
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    coarse: tuple[int, int],
    align_corners: bool,
    weights: list[float] | None,
    smoothing: float,
) -> None:
    small_bands(monkeypatch)
    class_weights = None if weights is None else torch.tensor(weights)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        logits, mask = example(size, coarse, dtype)
        loss, gradient = with_gradient(
            upsampled_cross_entropy(logits, mask, VOID, align_corners, class_weights, smoothing), logits
        )
        whole = nn.functional.interpolate(logits, size, mode="bilinear", align_corners=align_corners)
        expected, of_whole = with_gradient(cross_entropy(whole, mask, VOID, class_weights, smoothing), logits)
        assert loss.dtype == dtype
        assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
        assert torch.allclose(gradient, of_whole, rtol=0, atol=tolerance * float(of_whole.abs().max()))


def test_gradient_by_finite_differences_is_scaled_by_what_follows() -> None:
    logits, mask = example((9, 7), (3, 4))
    assert torch.autograd.gradcheck(lambda x: 3 * upsampled_cross_entropy(x, mask, VOID, True), (logits,))
    _, gradient = with_gradient(upsampled_cross_entropy(logits, mask, VOID, True), logits)
    _, scaled = with_gradient(upsampled_cross_entropy(logits, mask, VOID, True) * 65536, logits)
    assert torch.allclose(scaled, gradient * 65536)


def test_it_cannot_be_differentiated_twice() -> None:
    logits, mask = example()
    loss = upsampled_cross_entropy(logits, mask, VOID, True)
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice.*cross_entropy\(resize"):
        torch.autograd.grad(loss, logits, create_graph=True)


def test_void_does_not_count() -> None:
    """Coarse pixels that only void pixels are made of have no gradient; nothing but void is 0."""
    logits, mask = example()
    mask[0] = VOID
    loss, gradient = with_gradient(upsampled_cross_entropy(logits, mask, VOID, True), logits)
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).all()
    alone = cross_entropy(resize(logits, (33, 40), True)[1:], mask[1:], VOID)
    assert loss.item() == pytest.approx(alone.item(), rel=1e-12)
    for weights in (None, torch.ones(5)):
        loss, gradient = with_gradient(
            upsampled_cross_entropy(logits, torch.full_like(mask, VOID), VOID, True, weights, 0.1), logits
        )
        assert loss == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("ignore_index", [0, 200, -100])
def test_any_ignore_index_and_mask_type(ignore_index: int) -> None:
    logits, mask = example()
    mask = torch.where(mask == VOID, ignore_index, mask.long())
    loss, gradient = with_gradient(upsampled_cross_entropy(logits, mask, ignore_index, True), logits)
    expected, of_whole = with_gradient(cross_entropy(resize(logits, (33, 40), True), mask, ignore_index), logits)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient, of_whole, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, autocast: bool) -> None:
    logits, mask = example(dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss, gradient = with_gradient(upsampled_cross_entropy(logits, mask, VOID, True), logits)
    exact = logits.detach().double().requires_grad_()
    expected, of_whole = with_gradient(upsampled_cross_entropy(exact, mask, VOID, True), exact)
    assert loss.dtype == torch.float32
    assert gradient.dtype == dtype
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(gradient.double(), of_whole, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_finite_at_any_confidence(scale: float) -> None:
    logits, mask = example(dtype=torch.float32)
    extreme = (logits.detach() * scale).requires_grad_()
    loss, gradient = with_gradient(upsampled_cross_entropy(extreme, mask, VOID, True), extreme)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made, and refuses operators for which a GPU's host has to wait."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "item", "unique", "bincount", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.partition("::")[2]
        assert name not in self.waiting, f"{name}: the host waits for the device"
        if name in ("index", "index_put"):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), "a boolean index waits"
        made = function(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.elements = max(self.elements, made.numel())
        return made


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_full_resolution_logits_and_no_wait_for_the_device(
    monkeypatch: pytest.MonkeyPatch, smoothing: float
) -> None:
    small_bands(monkeypatch)
    logits, mask = example((130, 40), (33, 10))
    with Largest() as largest:
        upsampled_cross_entropy(logits, mask, VOID, True, torch.ones(5), smoothing).backward()
    assert largest.elements <= max(mask.numel(), 130 * 33, 2 * 5 * 40 * 3) < 5 * mask.numel()
    with pytest.raises(AssertionError, match="waits"), Largest():
        logits.sum().item()


CROSS_ENTROPY: dict[str, Any] = {"label_smoothing": 0.1, "class_weights": [1, 2, 3, 4, 5]}


@pytest.mark.parametrize(
    "losses",
    [
        {"cross_entropy": CROSS_ENTROPY},
        {"cross_entropy": {**CROSS_ENTROPY, "weight": 0.5}, "dice": {"weight": 2.0}},
        {"cross_entropy": None, "focal": {}},
        {"cross_entropy": None, "hard_pixels": {"steps": 10}},
    ],
)
def test_a_sum_of_losses_takes_each_part_its_best_way(losses: dict[str, Any]) -> None:
    logits, mask = example()
    combined = CombinedLoss(loss_options().of(losses), VOID, 5)
    loss, gradient = with_gradient(combined.of_coarse(logits, mask, True, 3), logits)
    expected, of_whole = with_gradient(combined(resize(logits, (33, 40), True), mask, 3), logits)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient, of_whole, atol=1e-12)


def test_a_compiled_network_trains_with_it() -> None:
    torch.manual_seed(0)
    network, image = nn.Conv2d(3, 5, 3, stride=4, padding=1), torch.randn(2, 3, 33, 33)
    _, mask = example((33, 33))
    gradients = []
    for run in (network, torch.compile(network, backend="aot_eager")):
        network.zero_grad()
        upsampled_cross_entropy(run(image), mask, VOID, True).backward()
        gradients.append(network.weight.grad.clone())  # type: ignore[union-attr]
    assert torch.allclose(*gradients, atol=1e-6)
