"""The network as one module from image to output: normalising, padding, network, resize and argmax in a graph."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference.options import ObjectOptions
from ..layers import Normalise
from ..layers.resize import first_rows, padded_side, resize_corner
from ..metrics.deciding import Decision
from ..models import Network
from .format import Inputs, Outputs

EXAMPLE_SIZE = (257, 257)
"""Of the image that files are exported with, where no size is asked for."""


NO_NUMBER = 255
"""In place of class ids where the network's logits are NaN or infinite."""


@dataclass(frozen=True)
class Objects:
    """How a file tells the objects of a class apart.

    Attributes:
        things: Train ids of the classes that have objects.
        ignore_index: Label for pixels of neither stuff nor objects.
        options: The constants.
    """

    things: tuple[int, ...]
    ignore_index: int
    options: ObjectOptions


class ImageModel(nn.Module):
    """What is exported: the same function as `inference.Predictor` computes, in operators that every format knows.

    `(B, C, H, W)` in; out, for `outputs`:

    - `classes`: `(B, H, W)` uint8 class ids; `NO_NUMBER` throughout where logits are NaN or infinite.
    - `probs`, `logits`: `(B, num_classes, H, W)` float32.
    - `coarse_logits`: `(B, num_classes, h, w)` float32 as the network makes them, of the padded image: resizing and
      cutting off the padding is left to the user.

    A network of corners on corners (`align_corners`) needs sides of `output_stride * k + side_remainder`: the graph
    itself pads with the mean pixel, and gives back the image's own size. Images have at least two pixels a side.

    Args:
        network: It is copied, in eval mode.
        normalise: From stored pixels to the network's input.
        inputs: `pixels` takes them as stored (uint8 where they are bytes), `normalised` what `normalise` would make.
        outputs: See above.
        dtype: The network's weights and maps; what comes before and after stays float32.
        decision: How logits become classes.
        objects: How formats that can (`Format.finds_objects`) tell objects apart behind the classes; None where the
            network finds none.
    """

    def __init__(
        self,
        network: Network,
        normalise: Normalise,
        *,
        inputs: Inputs = "pixels",
        outputs: Outputs = "classes",
        dtype: torch.dtype = torch.float32,
        decision: Decision | None = None,
        objects: Objects | None = None,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().to(dtype).eval().requires_grad_(False)
        self.normalise = copy.deepcopy(normalise).cpu()
        self.inputs = inputs
        self.outputs = outputs
        self.dtype = dtype
        self.decision = decision or Decision()
        self.objects = objects
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Segment."""
        return self.coarse(image)[0] if self.outputs == "coarse_logits" else self.output_and_logits(image)[0]

    def output_and_logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return classes, probabilities or logits, and what they are made from: logits at the image's size."""
        height, width = image.shape[-2:]
        coarse, size = self.coarse(image)
        if not self.network.align_corners and coarse.shape[-2:] == size:
            tall = coarse
        else:
            tall = resize_corner(coarse, size, (height, width), self.network.align_corners, whole_blocks=True)
        logits = first_rows(tall, height)
        if self.outputs == "classes":
            classes = first_rows(decided(tall, self.decision), height)  # class ids are cut: a copy of a byte per pixel
            total = coarse.sum()
            return torch.where((total - total).isnan(), NO_NUMBER, classes), logits
        return (logits.softmax(1) if self.outputs == "probs" else logits), logits

    def coarse(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the network's own logits in float32, and the size of the padded image."""
        pixels, size = self.prepared(image)
        return self.network.coarse_logits(pixels).float(), size

    def prepared(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the normalised and padded image, and its size."""
        height, width = image.shape[-2:]
        pixels = self.normalise(image) if self.inputs == "pixels" else image
        if self.network.align_corners:
            stride, remainder = self.network.output_stride, self.network.side_remainder
            padded = (padded_side(height, stride, remainder), padded_side(width, stride, remainder))
            pixels = F.pad(pixels, (0, padded[1] - width, 0, padded[0] - height))
            height, width = padded
        return pixels.to(self.dtype), (height, width)


class WithLogits(nn.Module):
    """Both the output, `classes` or `probs`, and the full-size logits: a gate is to see what an argmax hides."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, C, H, W)` -> the output, and logits `(B, num_classes, H, W)`."""
        return self.model.output_and_logits(image)


def decided(logits: Tensor, decision: Decision) -> Tensor:
    """Return what `decision` makes of logits, `(B, C, H, W) -> (B, H, W)` uint8, in operators that every format has."""
    return (logits.argmax(1) if decision.margin is None else logits[:, 1] - logits[:, 0] > decision.margin).to(
        torch.uint8
    )


def example(model: ImageModel, channels: int, is_bytes: bool, size: tuple[int, int], batch: int = 2) -> Tensor:
    """Return an image to export with: noise, since only its shape and type matter."""
    values = torch.randint(0, 256, (batch, channels, *size), generator=torch.Generator().manual_seed(0))
    if model.inputs == "pixels" and is_bytes:
        return values.to(torch.uint8)
    return values.float() / 255
