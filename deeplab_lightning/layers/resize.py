"""The only place where feature maps and logits are resized."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
    return F.interpolate(features, size=size, mode="bilinear", align_corners=align_corners)


def resize_rows(features: Tensor, size: tuple[int, int], rows: slice, align_corners: bool) -> Tensor:
    """Return rows `rows` of `resize(features, size, align_corners)` without making the others.

    Evaluation walks over a large picture in such bands, so that full-resolution logits never exist as a whole.

    Args:
        features: `(B, C, h, w)` floating point.
        size: `(H, W)` of the whole result.
        rows: `start` and `stop` within `0..H`.
        align_corners: As in `resize`.

    Returns:
        `(B, C, rows.stop - rows.start, W)`.
    """
    height, width = size
    source_height = features.shape[-2]
    row = torch.arange(rows.start, rows.stop, device=features.device, dtype=torch.float32)
    if align_corners:
        position = row * ((source_height - 1) / max(height - 1, 1))
    else:
        position = ((row + 0.5) * (source_height / height) - 0.5).clamp(min=0)
    above = position.floor().long().clamp(max=source_height - 1)
    below = (above + 1).clamp(max=source_height - 1)
    weight = (position - above).to(features.dtype).view(1, 1, -1, 1)
    band = torch.lerp(features.index_select(2, above), features.index_select(2, below), weight)
    return resize(band, (band.shape[2], width), align_corners)
