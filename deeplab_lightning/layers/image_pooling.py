"""Means over the whole map, or over a grid of its cells, as one more branch beside convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.modules.batchnorm import _BatchNorm

from .resize import resize


class ImagePooling(nn.Module):
    """v3's image-level branch: mean over the whole map, 1x1, batch norm, ReLU, back to the map's size.

    `bins` > 1 makes it a branch of PSPNet's pyramid: means over a grid of bins x bins cells.

    With one image in the batch the pooled map holds a single value per channel, from which no variance can be
    computed. In training the batch norm then uses its running statistics for that batch: a batch of one trains, and
    larger batches are untouched.

    The released TensorFlow code pools over a window of the training crop's size; this pools over whatever it is
    given, as the paper says.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, align_corners: bool, bins: int = 1, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.bins = bins
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, momentum=momentum)
        self.align_corners = align_corners

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        height, width = features.shape[-2:]
        return resize(self.cells(features), (height, width), self.align_corners)

    def cells(self, features: Tensor) -> Tensor:
        """Return the branch before it is resized to the map: `(B, C_in, h, w) -> (B, C_out, bins, bins)`."""
        cells = features.mean(dim=(2, 3), keepdim=True) if self.bins == 1 else adaptive_avg_pool2d(features, self.bins)
        pooled = self.conv(cells)
        if isinstance(self.norm, _BatchNorm) and self.norm.training and pooled.shape[0] == 1 and self.bins == 1:
            norm = self.norm
            pooled = nn.functional.batch_norm(
                pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
            )
        else:
            pooled = self.norm(pooled)
        return pooled.relu()
