"""Losses of a depth map, from the logarithm of what is predicted. Unknown depth, 0 or less or NaN, does not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from ..options import Options, above
from .base import in_full_precision

DepthForm = Literal["scale_invariant", "l1"]

LOG_RANGE = 20.0
"""Predicted logarithms are held within this distance of 0, where `exp` is finite in float32."""


@dataclass(frozen=True)
class DepthOptions(Options):
    """Loss of a second head that predicts depth from what the classifier reads."""

    section: ClassVar[str] = "loss.depth"

    weight: Annotated[float, above(0, near=0.1)] = 0.1
    """Factor of the depth's loss beside those of the labels."""
    form: DepthForm = "scale_invariant"
    """What the depth's loss compares: scale_invariant takes logarithms and half forgives a factor common to a whole
    image (Eigen et al., 2014), l1 takes the depths themselves, in their unit."""

    def __call__(self, log_depth: Tensor, depth: Tensor) -> Tensor:
        """Return the weighted loss of predicted natural logarithms against true depths; both `(B, H, W)`."""
        form = scale_invariant if self.form == "scale_invariant" else depth_l1
        return self.weight * form(log_depth, depth)


def scale_invariant(log_depth: Tensor, depth: Tensor, share: float = 0.5) -> Tensor:
    """Mean of `d^2` minus `share` times the squared mean of `d`, with `d = log_depth - log(depth)`.

    Eigen, Puhrig & Fergus, "Depth Map Prediction from a Single Image", NIPS 2014, equation 4. With a share of 1 it does
    not see a factor that is common to all of an image's depths; the paper trains with 0.5. Here, too, the mean is that
    of each image, and images count by their known pixels.

    Args:
        log_depth: `(B, H, W)` floating point, natural logarithm; half precision is computed in float32.
        depth: `(B, H, W)` in any unit.
        share: 0..1.

    Returns:
        Scalar, 0 or more; 0 where no depth is known.
    """
    known = known_depth(depth)
    difference = (in_full_precision(log_depth) - depth.where(known, 1).log()).where(known, 0).flatten(1)
    pixels = known.flatten(1).sum(1)
    each = difference.square().sum(1) - share * difference.sum(1).square() / pixels.clamp(min=1)
    return each.sum() / pixels.sum().clamp(min=1)


def depth_l1(log_depth: Tensor, depth: Tensor) -> Tensor:
    """Mean absolute error of the depths, in their unit, over the known pixels; the arguments as `scale_invariant`."""
    known = known_depth(depth)
    predicted = in_full_precision(log_depth).clamp(-LOG_RANGE, LOG_RANGE).exp()
    errors = (predicted - depth.where(known, 1)).abs().where(known, 0)
    return errors.sum() / known.sum().clamp(min=1)


def known_depth(depth: Tensor) -> Tensor:
    """Return where the depth is known: above 0 and finite. Bool, of the same shape."""
    return (depth > 0) & depth.isfinite()
