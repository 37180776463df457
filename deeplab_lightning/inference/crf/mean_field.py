"""The fully connected CRF of DeepLab v1 and v2, and its mean-field inference (v1 and v2 papers, "fully connected CRF").

The energy of a labelling x of pixels i with positions p_i (pixels) and colours I_i (0..255), P being the network's
probabilities at full resolution:

    E(x) = sum_i -log P_i(x_i) + sum_{i<j} [x_i != x_j] k(i, j)
    k(i, j) = w1 exp(-|p_i - p_j|^2 / (2 sigma_alpha^2) - |I_i - I_j|^2 / (2 sigma_beta^2))
            + w2 exp(-|p_i - p_j|^2 / (2 sigma_gamma^2))

Mean field starts from Q = P and repeats, for all pixels at once,

    m_i(l) = sum_{j != i} k(i, j) Q_j(l)        Q_i(l) ~ P_i(l) exp(m_i(l))

which is the same as the penalty `sum_{l' != l} m_i(l')` in the exponent, since the sum over all labels is constant.

Departures, and choices where the papers leave one:

- Kernels are normalised symmetrically unless told otherwise: the papers do not say so, but the program with which
  weights and sigmas were found does (Krähenbühl and Koltun's, later form), and w1 and w2 are relative to that. There,
  as in that program, a pixel's own value counts among its neighbours'. `normalise="none"` is the papers' formula: plain
  weights, without the pixel itself.
- Probabilities below `FLOOR` are raised to it, so that a 0 is unlikely and not impossible.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ...errors import ConfigError, DataError
from ..options import CRFOptions
from .exact import ExactKernel
from .gaussian import GaussianKernel
from .kernels import Kernel, has_compiled_form
from .lattice import lattice_kernel

FLOOR = 1e-8
"""Smallest probability of a label."""


class DenseCRF:
    """Sharpens class probabilities along the colours of their image.

    Args:
        options: Its parameters.
        method: "lattice" is fast, within the errors of docs/crf.md; "exact" is brute force in float64, for images of
            a few thousand pixels.
    """

    def __init__(self, options: CRFOptions | None = None, method: Literal["lattice", "exact"] = "lattice") -> None:
        self.options = options or CRFOptions()
        if method not in ("lattice", "exact"):
            raise ConfigError(f"The CRF's method is {method!r}; expected lattice or exact.")
        self.method = method

    @torch.no_grad()
    def __call__(self, probs: Tensor, image: Tensor) -> Tensor:
        """Return the marginals, in the shape, dtype and on the device of `probs`.

        Args:
            probs: `(B, C, H, W)` or `(C, H, W)` probabilities of the classes at full resolution.
            image: `(B, 3, H, W)` or `(3, H, W)` uint8 RGB.

        Raises:
            DataError: The shapes do not fit, the image is not uint8 RGB, or probabilities are not finite and positive.
        """
        _check(probs, image)
        if probs.ndim == 3:
            return self(probs[None], image[None])[0]
        with torch.autocast(probs.device.type, enabled=False):  # places in the lattice are no numbers of 16 bits
            return self._sharpened(probs, image)

    def _sharpened(self, probs: Tensor, image: Tensor) -> Tensor:
        images, classes, height, width = probs.shape
        precision = torch.float64 if self.method == "exact" else torch.float32
        rows = probs.permute(0, 2, 3, 1).reshape(-1, classes).to(precision).contiguous()
        unary = rows.clamp(min=FLOOR).log_()
        if has_compiled_form(unary):
            from .compiled.lanes import whole_lanes

            unary = whole_lanes(unary, -math.inf)  # classes that do not exist have a probability of 0 throughout
        result = self._mean_field(unary, image.to(probs.device)).view(images, height, width, -1)
        return result[..., :classes].permute(0, 3, 1, 2).to(probs.dtype).contiguous()

    def _mean_field(self, unary: Tensor, image: Tensor) -> Tensor:
        """Return Q `(B * N, C)` for `log P` of the same shape."""
        options = self.options
        kernels = self._kernels(image, unary)
        q, logits = unary.softmax(dim=1), torch.empty_like(unary)
        for _ in range(options.iterations):
            logits.copy_(unary)
            for weight, kernel in kernels:
                kernel.add_to(logits, q, weight)
                if options.normalise == "none":
                    logits.sub_(q, alpha=weight)  # a pixel does not count among its own neighbours
            torch.softmax(logits, dim=1, out=q)
        return q

    def _kernels(self, image: Tensor, like: Tensor) -> list[tuple[float, Kernel]]:
        """Return the kernels that count, with their weights."""
        options = self.options
        kernels: list[tuple[float, Kernel]] = []
        if options.w1:
            features = bilateral_features(image, options.sigma_alpha, options.sigma_beta).to(like.dtype)
            kernels.append((options.w1, self._bilateral(features)))
        if options.w2:
            size = (image.shape[-2], image.shape[-1])
            kernels.append((options.w2, GaussianKernel(size, options.sigma_gamma, options.normalise, like)))
        return kernels

    def _bilateral(self, features: Tensor) -> Kernel:
        make = ExactKernel if self.method == "exact" else lattice_kernel
        return make(features, self.options.normalise)


def bilateral_features(image: Tensor, sigma_alpha: float, sigma_beta: float) -> Tensor:
    """Return positions and colours, divided by their sigmas: `(B, 3, H, W)` uint8 -> `(B, H * W, 5)` float64."""
    images, _, height, width = image.shape
    row, column = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
    )
    position = torch.stack([column, row], dim=-1).double().expand(images, -1, -1, -1) / sigma_alpha
    colour = image.permute(0, 2, 3, 1).double() / sigma_beta
    return torch.cat([position, colour], dim=-1).flatten(1, 2)


def _check(probs: Tensor, image: Tensor) -> None:
    expected = (*probs.shape[:-3], 3, *probs.shape[-2:])
    if probs.ndim not in (3, 4) or tuple(image.shape) != expected or image.dtype != torch.uint8 or not probs.numel():
        raise DataError(
            f"The CRF got probabilities of shape {tuple(probs.shape)} and an image of shape {tuple(image.shape)}, "
            f"{image.dtype}: expected (B, C, H, W) and uint8 RGB of (B, 3, H, W), both at the image's own size."
        )
    if not bool((torch.isfinite(probs) & (probs >= 0)).all()):
        raise DataError(
            "The CRF got probabilities that are negative or not finite: give it the softmax of logits, not the logits."
        )
