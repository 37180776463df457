"""From pictures to class maps: the only resize, softmax and argmax of evaluation and use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ..layers.resize import BAND_ELEMENTS, BandedResize
from ..metrics.segmentation import most_likely


class Predictor:
    """Segments pictures of any size in bounded memory.

    Validation, test and predict all go through here, so that the same checkpoint gives the same pixels everywhere.

    Args:
        network: Normalised image `(B, C, H, W)` -> logits `(B, num_classes, h, w)` at any resolution.
        normalise: Stored pixels `(B, C, H, W)` -> normalised image.
        output_stride: Of the network; named in the protocol.
        align_corners: Convention in which the network's logits are to be resized. With True, pictures are first padded
            with the mean pixel at the bottom and right to sides of the form `output_stride * k + 1`, as the papers do:
            only there do the corners of logits and picture meet.
        threshold: Of two classes, the probability above which a pixel is of the second one; the more likely one if
            None.

    Attributes:
        protocol: How pictures are evaluated, in words, to stand beside every score.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        normalise: Callable[[Tensor], Tensor],
        *,
        output_stride: int,
        align_corners: bool,
        threshold: float | None = None,
    ) -> None:
        self.network = network
        self.normalise = normalise
        self.output_stride = output_stride
        self.align_corners = align_corners
        self.threshold = threshold
        self.protocol = f"os{output_stride}, scale 1, whole picture"
        if threshold is not None:
            self.protocol += f", threshold {threshold:.3g}"

    def bands(self, image: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield `(rows, logits)` from top to bottom, logits `(B, num_classes, rows, W)` float32 at full resolution.

        Args:
            image: `(B, C, H, W)` as stored.
        """
        height, width = image.shape[-2:]
        padded = self._pad(self.normalise(image))
        coarse = self.network(padded).float()
        resizing = BandedResize(coarse, (padded.shape[-2], padded.shape[-1]), self.align_corners)
        for rows in resizing.bands(coarse.shape[0] * coarse.shape[1], height, BAND_ELEMENTS):
            yield rows, resizing.band(coarse, rows)[..., :width]

    @torch.no_grad()
    def predict(self, image: Tensor) -> Tensor:
        """Return the class map `(B, H, W)` uint8 (at most 256 classes) of `image` `(B, C, H, W)`."""
        pred = image.new_empty((image.shape[0], *image.shape[-2:]), dtype=torch.uint8)
        for rows, logits in self.bands(image):
            pred[:, rows] = self.decide(logits)
        return pred

    def decide(self, logits: Tensor) -> Tensor:
        """Return the class of each pixel, `(B, C, H, W) -> (B, H, W)` uint8: the most likely, or by the threshold.

        Args:
            logits: Or logarithms of probabilities.
        """
        if self.threshold is None:
            return most_likely(logits)
        return (logits[:, 1] - logits[:, 0] > math.log(self.threshold / (1 - self.threshold))).to(torch.uint8)

    @torch.no_grad()
    def probs(self, image: Tensor) -> Tensor:
        """Return the class probabilities `(B, num_classes, H, W)` float32. Needs memory for all of them."""
        return torch.cat([logits.softmax(1) for _, logits in self.bands(image)], dim=2)

    def _pad(self, image: Tensor) -> Tensor:
        if not self.align_corners:
            return image
        height, width = image.shape[-2:]
        bottom, right = -(height - 1) % self.output_stride, -(width - 1) % self.output_stride
        return F.pad(image, (0, right, 0, bottom))
