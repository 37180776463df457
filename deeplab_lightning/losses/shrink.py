"""Labels at the size of coarse logits: v1 and v2 shrink the labels; later generations enlarge the logits."""

from __future__ import annotations

import torch
from torch import Tensor


def shrink_labels(mask: Tensor, size: tuple[int, int], align_corners: bool = True) -> Tensor:
    """Pick for every coarse pixel the label nearest to its place; ids are never mixed.

    With corners aligned, 321 labels on 41 pixels are `mask[..., ::8, ::8]`.

    Args:
        mask: `(B, H, W)` train ids.
        size: `(h, w)` of the coarse map.
        align_corners: Where coarse pixels lie: corners on corners, or areas on areas (as in `layers.resize`).

    Returns:
        `(B, h, w)` of the same type.
    """
    height, width = size
    rows = _nearest(mask.shape[-2], height, align_corners, mask.device)
    columns = _nearest(mask.shape[-1], width, align_corners, mask.device)
    return mask.index_select(-2, rows).index_select(-1, columns)


def _nearest(length: int, wanted: int, align_corners: bool, device: torch.device) -> Tensor:
    """Return `(wanted,)` indices into `length` places, in whole numbers: halves go up, whatever the device."""
    index = torch.arange(wanted, device=device)
    if align_corners:
        steps = max(wanted - 1, 1)
        return (2 * index * (length - 1) + steps) // (2 * steps)
    return (2 * index + 1) * length // (2 * wanted)
