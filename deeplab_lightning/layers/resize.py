"""The only place where feature maps and logits are resized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

BAND_ELEMENTS = 1 << 20
"""Full-resolution logits made at a time on a CPU: 4 MB of float32 stay in the cache while they are looked at."""
BANDS_AT_ONCE = 64
"""What other devices take together: they want few and large kernels (256 MB of float32 at a time)."""
BLOCK_COLUMNS = 64
"""Columns that a band's rows are stretched to at a time: a product with a small matrix that is mostly not zero."""
BLOCK_ROWS = 32
"""Likewise rows, in an exported graph."""


def resize(features: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Resize bilinearly.

    Args:
        features: `(B, C, h, w)` floating point.
        size: Wanted `(H, W)`.
        align_corners: True puts the corner samples of both grids on top of each other, as all Google code does for
            sides of the form `output_stride * k + 1`; False is the convention of torchvision's weights.

    Returns:
        `(B, C, H, W)`; the input itself where it already has that size.
    """
    if features.shape[-2:] == size:
        return features
    if torch.is_grad_enabled() and features.requires_grad:
        resized: Tensor = _Resize.apply(features, size, align_corners)
        return resized
    return F.interpolate(features, size=size, mode="bilinear", align_corners=align_corners)


def resize_by(features: Tensor, factor: int, side_remainder: int) -> Tensor:
    """Resize with corners on corners by a factor, in operators that do not need to know the image's size.

    Args:
        features: `(B, C, h, w)` floating point.
        factor: By which the stride falls.
        side_remainder: What the images' sides leave when divided by the output stride. 1: `h = k + 1` samples become
            `factor * k + 1`; every sample repeated and then averaged with its neighbours is just the line between them.
            0: `factor * h`.

    Returns:
        What `resize` makes of it: `(B, C, factor * (h - side_remainder) + side_remainder, ...)`.
    """
    if factor == 1:
        return features
    if side_remainder == 0:
        return F.interpolate(features, scale_factor=float(factor), mode="bilinear", align_corners=True)
    return F.avg_pool2d(F.interpolate(features, scale_factor=float(factor), mode="nearest"), factor, 1)


class _Resize(torch.autograd.Function):
    """`interpolate`, whose gradient is found by two products with matrices.

    Its own gradient adds up values one at a time: on a CPU it takes ten times as long (benchmarks/train_step.py: 6 % of
    a step with MobileNetV2), and on a GPU its sums differ from run to run.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
        ctx.source, ctx.align_corners = features.shape[-2:], align_corners
        return F.interpolate(features, size=size, mode="bilinear", align_corners=align_corners)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        exact = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        vertical, horizontal = (
            interpolation_matrix(exact, source, target, ctx.align_corners)
            for source, target in zip(ctx.source, gradient.shape[-2:], strict=True)
        )
        with torch.autocast(gradient.device.type, enabled=False):
            if gradient.stride(1) == 1:  # channels last: rows of columns of channels
                thin = torch.matmul(horizontal.t(), exact.permute(0, 2, 3, 1))
                of_features = torch.matmul(vertical.t(), thin.flatten(2)).unflatten(2, thin.shape[2:])
                of_features = of_features.permute(0, 3, 1, 2)
            else:
                of_features = torch.matmul(torch.matmul(vertical.t(), exact), horizontal)
        return of_features.to(gradient.dtype), None, None


Index = TypeVar("Index", float, Tensor)


class SamplePositions(NamedTuple):
    """Where samples that are made stand among given ones, along one side: sample `i` at `(i + ahead) * step + start`.

    Two offsets, since `interpolate` adds half a sample before it multiplies: the same numbers come out to the last bit.

    Attributes:
        step: In given samples.
        start: Likewise, counted from the first one; samples outside of them repeat the nearest.
        ahead: In made samples.
    """

    step: float
    start: float = 0.0
    ahead: float = 0.0

    def of(self, index: Index) -> Index:
        """Return where sample `index` stands."""
        return (index + self.ahead) * self.step + self.start


def placement(given: int, made: int, align_corners: bool) -> SamplePositions:
    """Return where `made` samples stand that are spread over a side of `given` ones."""
    if align_corners:
        return SamplePositions((given - 1) / max(made - 1, 1))
    return SamplePositions(given / made, start=-0.5, ahead=0.5)


def padded_side(side: int, output_stride: int, side_remainder: int) -> int:
    """Return the least side from `side` on that leaves `side_remainder` when it is divided by `output_stride`.

    In this form, and not as a remainder of `side`, sizes stay short all through an exported network: 16 k + 1, 8 k + 1.
    """
    return (side - side_remainder + output_stride - 1) // output_stride * output_stride + side_remainder


def resize_corner(
    features: Tensor, size: tuple[int, int], kept: tuple[int, int], align_corners: bool, whole_blocks: bool = False
) -> Tensor:
    """Resize to `size`, of which only the top left `kept` is made: what a padded image's logits are cut to.

    Products with matrices, without an operator for resizing: such a graph stays open to every size when it is exported,
    and every format knows its operators. First columns, while rows are few; then rows, `BLOCK_ROWS` at a time from
    the few that these need, since most of the whole matrix is zero.

    Args:
        features: `(B, C, h, w)` float32 or float64.
        size: `(H, W)`, as in `resize`.
        kept: Rows and columns wanted, up to `size`.
        align_corners: As in `resize`.
        whole_blocks: Leave below the wanted rows what fills the last block, for a caller to cut off later, when there
            is less to copy.

    Returns:
        `(B, C, *kept)`; with `whole_blocks` as many rows more as make a multiple of `BLOCK_ROWS`.
    """
    given, made = features.shape[-2], size[0]
    wide = torch.matmul(
        features, interpolation_matrix(features, features.shape[-1], size[1], align_corners, kept[1]).t()
    )
    placed = placement(given, made, align_corners)
    blocks: Any = (kept[0] + BLOCK_ROWS - 1) // BLOCK_ROWS
    if not torch.jit.is_tracing():
        # Two at least: from one, `torch.export` would conclude that it is always so, or never.
        blocks = torch.sym_max(blocks, 2)
    needed = BLOCK_ROWS * given // made + 3
    rows = torch.arange(blocks * BLOCK_ROWS, device=features.device, dtype=features.dtype).view(blocks, BLOCK_ROWS)
    position = placed.of(rows).clamp(0, given - 1)
    sources = position[:, :1].floor() + torch.arange(needed, device=features.device, dtype=features.dtype)
    weights = (1 - (position[:, :, None] - sources[:, None, :]).abs()).clamp(min=0)
    # Sources beyond the last row have no weight: any row can stand there.
    taken = wide.index_select(2, sources.clamp(max=given - 1).long().flatten())
    tall = torch.matmul(weights, taken.unflatten(2, (blocks, needed))).flatten(2, 3)
    return tall if whole_blocks else first_rows(tall, kept[0])


def first_rows(maps: Tensor, rows: int) -> Tensor:
    """Return the first rows of `(..., H, W)`.

    No slice where the number of rows is open in a graph: its strides would tell `torch.export` that the height is no
    multiple of a block's. Where it is known, LiteRT has no other way for bytes.
    """
    if isinstance(rows, int):
        return maps[..., :rows, :]
    return maps.index_select(-2, torch.arange(rows, device=maps.device))


class BandedResize:
    """`resize` to one size, a band of rows at a time, and the transpose of that, which turns gradients back.

    Bilinear resizing is linear in the features and the same for every row and for every column: a band is
    `vertical @ features @ horizontal.T`. Both matrices have two entries in a row, next to each other, so only the rows
    that a band needs are multiplied, and columns go block by block. On a CPU that is several times faster than
    `interpolate` and many times faster than its gradient, which write and add up one value at a time.

    Nothing here is recorded for autograd. A value that is not finite spreads over its block.

    Args:
        features: `(B, C, h, w)` float32 or float64; its sides, type and device are all that is read.
        size: Wanted `(H, W)`.
        align_corners: As in `resize`.
        placements: Where the wanted rows and columns stand among the given ones, in place of `align_corners`'s: to make
            a part of what `resize` would, or one that lies between the samples.
    """

    def __init__(
        self,
        features: Tensor,
        size: tuple[int, int],
        align_corners: bool,
        placements: tuple[SamplePositions, SamplePositions] | None = None,
    ) -> None:
        self.source = (features.shape[-2], features.shape[-1])
        self.size = size
        vertical, horizontal = (placement(*sides, align_corners) for sides in zip(self.source, size, strict=True))
        self._placements = placements or (vertical, horizontal)
        self._vertical, horizontally = (
            _interpolation_weights(features, source, made, placed)
            for source, made, placed in zip(self.source, size, self._placements, strict=True)
        )
        self._blocks = []
        for start in range(0, size[1], BLOCK_COLUMNS):
            columns = slice(start, min(start + BLOCK_COLUMNS, size[1]))
            needed = self._needed(columns, axis=1)
            self._blocks.append((columns, needed, horizontally[columns, needed]))

    def bands(self, maps: int, height: int, elements: int = BAND_ELEMENTS) -> Iterator[slice]:
        """Yield the bands that make up the first `height` rows, from top to bottom.

        Args:
            maps: Images times channels.
            height: Up to `H`.
            elements: Values in a band on a CPU, if that is a row or more; elsewhere `BANDS_AT_ONCE` times as many.
        """
        if self._vertical.device.type != "cpu":
            elements *= BANDS_AT_ONCE
        step = max(1, elements // (maps * self.size[1]))
        for start in range(0, height, step):
            yield slice(start, min(start + step, height))

    @torch.no_grad()
    def band(self, features: Tensor, rows: slice) -> Tensor:
        """Return rows `rows` (`start` and `stop` within `0..H`) of the result: `(B, C, rows.stop - rows.start, W)`."""
        needed = self._needed(rows, axis=0)
        with torch.autocast(features.device.type, enabled=False):
            thin = torch.matmul(self._vertical[rows, needed], features[:, :, needed])
        band = thin.new_empty((*thin.shape[:3], self.size[1]))
        every_thin, every = thin.view(-1, self.source[1]), band.view(-1, self.size[1])
        for columns, sources, matrix in self._blocks:
            torch.mm(every_thin[:, sources], matrix.t(), out=every[:, columns])
        return band

    @torch.no_grad()
    def add_transposed(self, band: Tensor, rows: slice, total: Tensor) -> None:
        """Add to `total` `(B, C, h, w)` what a gradient `(B, C, rows, W)` of `band`'s result is to the features."""
        needed = self._needed(rows, axis=0)
        thin = band.new_zeros((*band.shape[:3], self.source[1]))
        every_thin, every = thin.view(-1, self.source[1]), band.view(-1, self.size[1])
        for columns, sources, matrix in self._blocks:
            every_thin[:, sources].addmm_(every[:, columns], matrix)
        with torch.autocast(band.device.type, enabled=False):
            total[:, :, needed] += torch.matmul(self._vertical[rows, needed].t(), thin)

    def _needed(self, made: slice, axis: int) -> slice:
        """Return which rows or columns of the features have a share in those made."""
        source = self.source[axis]
        first, last = (self._placements[axis].of(float(index)) for index in (made.start, made.stop - 1))
        # One more than that on either side: the positions in the matrices are rounded.
        return slice(min(max(int(first) - 1, 0), source - 1), min(max(int(last), 0) + 3, source))


def interpolation_matrix(
    like: Tensor, source: int, target: int, align_corners: bool, kept: int | None = None
) -> Tensor:
    """Return what one side is multiplied by to resize it bilinearly, `(target, source)` of `like`'s type and device.

    The weight of every sample falls from 1 where it stands to 0 where its neighbours do. Of `target`
    rows only the first `kept` are made, if that is given.
    """
    return _interpolation_weights(
        like, source, target if kept is None else kept, placement(source, target, align_corners)
    )


def _interpolation_weights(like: Tensor, source: int, target: int, placed: SamplePositions) -> Tensor:
    made, given = (torch.arange(side, device=like.device, dtype=like.dtype) for side in (target, source))
    position = placed.of(made).clamp(0, source - 1)
    return (1 - (position[:, None] - given).abs()).clamp(min=0)
