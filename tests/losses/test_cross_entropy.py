"""Cross-entropy over labelled pixels: void counts for nothing."""

from __future__ import annotations

import math

import pytest
import torch

from deeplab_lightning.losses import cross_entropy, cross_entropy_of_images

VOID = 255


def example(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `(2, 5, 4, 6)` and a mask with void, more of it in the first image."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 4, 6, generator=generator, dtype=torch.float64).to(dtype)
    mask = torch.randint(0, 5, (2, 4, 6), generator=generator).to(torch.uint8)
    mask[0, :3] = VOID
    mask[1, 0, 0] = VOID
    return logits, mask


def test_mean_over_the_labelled_pixels_of_the_batch() -> None:
    """Not the mean over all pixels, nor the mean of the images' means."""
    logits, mask = example(torch.float64)
    log_probs = logits.log_softmax(1)
    terms = [
        -log_probs[b, int(mask[b, y, x]), y, x]
        for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(6))
        if mask[b, y, x] != VOID
    ]
    assert len(terms) == 6 + 23
    assert cross_entropy(logits, mask, VOID).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-12)


def test_void_has_no_gradient_and_the_rest_has() -> None:
    logits, mask = example()
    logits.requires_grad_()
    cross_entropy(logits, mask, VOID).backward()
    assert logits.grad is not None
    void = (mask == VOID).unsqueeze(1).expand_as(logits)
    assert torch.all(logits.grad[void] == 0)
    assert torch.all(logits.grad[~void] != 0)


def test_all_void_is_zero_with_zero_gradient() -> None:
    logits = torch.randn(2, 5, 3, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 3, 3), VOID), VOID)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.all(logits.grad == 0)


@pytest.mark.parametrize(("classes", "expected"), [(21, 3.0445), (19, 2.9444), (11, 2.3979), (150, 5.0106)])
def test_uniform_logits_give_ln_n(classes: int, expected: float) -> None:
    loss = cross_entropy(torch.full((1, classes, 4, 4), 0.7), torch.zeros(1, 4, 4, dtype=torch.uint8), VOID).item()
    assert loss == pytest.approx(math.log(classes), abs=1e-6)
    assert loss == pytest.approx(expected, abs=1e-4)


def test_gradient_by_finite_differences() -> None:
    logits, mask = example(torch.float64)
    assert cross_entropy(logits, mask, VOID).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda logits: cross_entropy(logits, mask, VOID), logits.requires_grad_())


@pytest.mark.parametrize("mask_type", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_types(dtype: torch.dtype, mask_type: torch.dtype) -> None:
    """Half precision is computed in float32: only the rounding of the logits themselves shows."""
    logits, mask = example(dtype)
    loss = cross_entropy(logits, mask.to(mask_type), VOID)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(cross_entropy(logits.double(), mask, VOID).item(), rel=1e-6)


@pytest.mark.parametrize("ignore_index", [0, 11, 255, -100])
def test_any_ignore_index(ignore_index: int) -> None:
    logits, _ = example(torch.float64)
    mask = torch.full((2, 4, 6), ignore_index)
    mask[0, 0, 0] = 3
    assert cross_entropy(logits, mask, ignore_index).item() == pytest.approx(
        -logits.log_softmax(1)[0, 3, 0, 0].item(), rel=1e-12
    )


def test_parts_add_up() -> None:
    logits, mask = example(torch.float64)
    whole = cross_entropy_of_images(logits, mask, VOID)
    parts = [cross_entropy_of_images(logits[:, :, rows], mask[:, rows], VOID) for rows in (slice(0, 1), slice(1, 4))]
    assert torch.stack(parts).sum(0).tolist() == pytest.approx(whole.tolist(), rel=1e-12)
    assert whole.sum().item() == pytest.approx(29 * cross_entropy(logits, mask, VOID).item(), rel=1e-12)
