"""Gaussian filtering in many dimensions on the permutohedral lattice (Adams, Baek and Davis, Eurographics 2010).

    values (N, C) --splat--> vertices (M, C) --blur along d + 1 axes--> vertices (M, C) --slice--> sums (N, C)

Each pixel lies, by its d features, in one simplex of the lattice A*_d. Its values are shared out among the d + 1
vertices by barycentric weights; the vertices that exist are blurred with (1, 2, 1) / 4 along each axis; each pixel
gathers from its vertices with the same weights. Sharing out, blurring and gathering together have a variance of 1.

Departures from the authors' method, each measured in docs/crf.md:

- The blur along the axes is done in both orders and averaged. Vertices exist only where pixels are, and where one is
  missing the order matters: one order alone makes a kernel that is not symmetric, and is further from brute force.
- The scale is the exact kernel's integral over the lattice's cell, `(2 pi)^(d/2) / ((3/2)^(d/2) / sqrt(d + 1))`, in
  place of `1 / (1 + 2^-d)`. It cancels in normalised kernels. Where the kernel stays unnormalised, what is lost at
  missing vertices would make it too small by a third; the scale of each image is therefore measured: some pixels
  spread evenly over it are summed by brute force.

The same computation has two forms: plain torch on any device and, on a CPU with numba, a compiled one.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ...errors import ConfigError
from ..options import Normalise
from .kernels import Kernel, factors, has_compiled_form

if TYPE_CHECKING:
    from .compiled.lattice import CompiledLattice

SAMPLES = 256
"""Pixels of an image that are summed exactly to measure the scale of an unnormalised kernel."""


class Points(NamedTuple):
    """Pixels in the space of the lattice. With coordinates `v` of a vertex, its key is `base + v[:d] @ strides`.

    Attributes:
        elevated: `(n, d + 1)` float32, each row summing to 0.
        base: `(n,)` int64: sets the images apart.
        strides: `(d,)` int64.
        steps: `(d + 1,)` int64: from a vertex's key to that of its neighbour along each axis.
    """

    elevated: Tensor
    base: Tensor
    strides: Tensor
    steps: Tensor


def lattice_kernel(features: Tensor, normalise: Normalise, compiled: bool | None = None) -> Kernel:
    """Return `k(i, j) = exp(-|f_i - f_j|^2 / 2)`, approximately: made once for some images, applied to all classes.

    Args:
        features: `(B, N, d)` float32: pixels' properties, divided by their sigmas.
        normalise: How the kernel's weights are made relative.
        compiled: Use numba; None does where it is installed and the features are on a CPU.

    Raises:
        ConfigError: The sigmas are too small for the range of the features.
    """
    points = elevate(features)
    form: type[TorchLattice | CompiledLattice] = TorchLattice
    if has_compiled_form(features) if compiled is None else compiled:
        from .compiled.lattice import CompiledLattice

        form = CompiledLattice
    lattice = form(points)
    row_sums = lattice(features.new_ones(len(points.base), 1))
    before, after = factors(row_sums, normalise)
    if normalise == "none":
        after = after * _measured_scale(features, row_sums)
    lattice.scale(before, after)
    return lattice


class TorchLattice(Kernel):
    """The lattice in plain torch: splat, the blur along each axis, and slice are sparse matrices.

    Args:
        points: Pixels in the space of the lattice.
    """

    def __init__(self, points: Points) -> None:
        elevated = points.elevated
        corners = elevated.shape[1]
        rounded = (elevated / corners).round() * corners
        rank = (elevated - rounded).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        rank += (rounded.sum(dim=1, keepdim=True) / corners).round().long()
        wrap = corners * ((rank < 0).long() - (rank >= corners).long())
        rank, rounded = rank + wrap, rounded + wrap

        falling = torch.zeros_like(elevated).scatter_(1, rank, (elevated - rounded) / corners)
        weights = falling.flip(1)
        weights[:, 1:] -= falling.flip(1)[:, :-1]
        weights[:, 0] += 1 - falling[:, 0]

        key = points.base + (rounded.long()[:, :-1] * points.strides).sum(dim=1)
        keys = []
        for corner in range(corners):  # coordinates of rank below `corners - corner` rise by `corner`, others sink
            offset = corner - corners * (rank[:, :-1] >= corners - corner).long()
            keys.append(key + (offset * points.strides).sum(dim=1))
        vertices, vertex_of = torch.unique(torch.stack(keys, dim=1), return_inverse=True)

        pixel = torch.arange(len(elevated), device=elevated.device).repeat_interleave(corners)
        shape = (len(elevated), len(vertices))
        self.slice = _sparse(pixel, vertex_of.flatten(), weights.flatten(), shape)
        self.splat = _sparse(vertex_of.flatten(), pixel, weights.flatten(), shape[::-1])
        self.blurs = [_blur(vertices, step) for step in points.steps]

    def scale(self, before: Tensor, after: Tensor) -> None:
        """From now on, multiply values by `before` and what is added by `after`, both `(n, 1)`."""
        self.splat.values().mul_(before[self.splat.col_indices(), 0])
        corners = len(self.slice.values()) // len(after)
        self.slice.values().mul_(after.repeat_interleave(corners))

    def add_to(self, sums: Tensor, values: Tensor, weight: float = 1.0) -> None:
        """Splat, blur and slice, see `Kernel`."""
        forward = backward = self.splat @ values
        for blur in self.blurs:
            forward = blur @ forward
        for blur in reversed(self.blurs):
            backward = blur @ backward
        sums.add_(self.slice @ (forward + backward), alpha=weight / 2)


def _blur(vertices: Tensor, step: Tensor) -> Tensor:
    """Return the matrix that blurs along an axis the vertices of these sorted keys."""
    count = len(vertices)
    wanted = vertices[:, None] + step * torch.tensor([-1, 0, 1], device=vertices.device)
    neighbour = torch.searchsorted(vertices, wanted).clamp_(max=count - 1)
    exists = vertices[neighbour] == wanted
    row = torch.arange(count, device=vertices.device)[:, None].expand(-1, 3)
    weight = torch.tensor([0.25, 0.5, 0.25], device=vertices.device).expand(count, 3)
    return _sparse(row[exists], neighbour[exists], weight[exists], (count, count))


def _sparse(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Make a matrix in compressed rows; entries of a row keep their order."""
    order = row.argsort(stable=True)
    ends = row.bincount(minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.cat([ends.new_zeros(1), ends]), column[order], value[order], size=shape, check_invariants=False
        )


def elevate(features: Tensor) -> Points:
    """Take features `(B, N, d)` to the hyperplane of `d + 1` coordinates that the lattice lies in.

    Raises:
        ConfigError: The lattice has more places than an int64 can number.
    """
    images, pixels, dimensions = features.shape
    corners = dimensions + 1
    basis = torch.zeros(dimensions, corners, dtype=torch.float64)
    for axis in range(dimensions):
        basis[axis, : axis + 1] = 1
        basis[axis, axis + 1] = -(axis + 1)
        basis[axis] /= math.sqrt((axis + 1) * (axis + 2))
    basis *= corners * math.sqrt(2 / 3)  # the scale at which splat, blur and slice have a variance of 1 together
    elevated = features.flatten(0, 1) @ basis.to(features)

    # A pixel's vertices are less than 2 (d + 1) away along each coordinate, their neighbours less than 3 (d + 1).
    low = [math.floor(value) - 3 * corners for value in elevated[:, :-1].amin(dim=0).tolist()]
    high = [math.ceil(value) + 3 * corners for value in elevated[:, :-1].amax(dim=0).tolist()]
    strides = [1]
    for first, last in zip(low, high, strict=True):
        strides.append(strides[-1] * (last - first + 1))
    if strides[-1] * images >= 2**63:
        raise ConfigError(
            f"The CRF's lattice would have {strides[-1] * images:.1e} places, more than can be numbered: take larger "
            f"sigmas (the papers: sigma_alpha 30..100 pixels, sigma_beta 3..10 grey levels) or smaller images."
        )
    image = torch.arange(images, device=features.device).repeat_interleave(pixels)
    base = image * strides[-1] - sum(first * stride for first, stride in zip(low, strides, strict=False))
    whole_step = sum(strides[:-1])
    steps = [corners * stride - whole_step for stride in strides[:-1]] + [-whole_step]
    return Points(
        elevated, base, torch.tensor(strides[:-1], device=features.device), torch.tensor(steps, device=features.device)
    )


def _measured_scale(features: Tensor, row_sums: Tensor) -> Tensor:
    """Return `(B * N, 1)`: for each image, the middle ratio of exact row sums to the lattice's."""
    images, pixels, _ = features.shape
    chosen = torch.linspace(0, pixels - 1, min(SAMPLES, pixels), device=features.device).round().long()
    scales = []
    for own, sums in zip(features, row_sums.view(images, pixels), strict=True):
        exact = [(-(own - own[index]).square().sum(dim=1) / 2).exp().sum() for index in chosen]
        scales.append((torch.stack(exact) / sums[chosen]).median())
    return torch.stack(scales).repeat_interleave(pixels)[:, None]
