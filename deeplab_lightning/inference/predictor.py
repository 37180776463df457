"""From images to class maps: the only resize, softmax and argmax of evaluation and use.

```
image ── scale 0.5 ──────── windows ── network ── coarse logits ─┐   rows from top to bottom:
        ├─ scale 0.5, mirrored  ...                                ├── resize ─ blend ─ fuse ─ (CRF) ─ argmax
        └─ scale 1 ...                                             ─┘
```

What is kept of an image are coarse logits: of every scale for a whole image, of the rows of windows at hand for a
sliding window. They are brought to the image's size a band of rows at a time, and a band is forgotten when its
classes are known, so that memory does not grow with pixels times classes (unless there is a CRF, which needs all).

Departures from the papers:

- Every scaled image is padded to `output_stride * k + 1` by itself, where the released code pads the image first
  and scales it with its padding. At 513 x 513 and the papers' scales the two are the same. (segmentation_models_pytorch
  has no `+ 1`: `side_remainder`.)
- Windows that overlap are averaged with weights that fall towards their ends; v2 says no more than "overlapping".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError, NotFiniteError
from ..layers.resize import BAND_ELEMENTS, BandedResize, padded_side
from ..memory import free_memory
from ..metrics.deciding import Decision
from .crf import DenseCRF
from .morphology import Morphology
from .options import EvaluationOptions
from .windows import WindowSpan, spans

LAYERS_ALIVE = 5
"""How many times the output of its largest layer a network takes while it looks at an image (3 to 7, measured)."""
FULL_PRECISION = "32-true"
"""Lightning's name for float32, which protocols leave out."""


class Predictor:
    """Segments images of any size in bounded memory.

    Validation, test and predict all go through here, so that the same checkpoint gives the same pixels everywhere.

    Args:
        network: Normalised image `(B, C, H, W)` -> logits `(B, num_classes, h, w)` at any resolution.
        normalise: Stored pixels `(B, C, H, W)` -> normalised image.
        output_stride: Of the network; named in the protocol.
        align_corners: Convention in which the network's logits are to be resized. With True, images are first padded
            with the mean pixel at the bottom and right to sides of the form `output_stride * k + side_remainder`.
        side_remainder: 1, as the papers do: only there do the corners of logits and image meet. 0 for networks that
            were trained on such sides, their corners pulled to the image's.
        decision: How scores become a class.
        weights: Where the network's weights are from, for messages.
        options: Scales, flip, windows and what else is done; by default one view of the whole image.
        inner_scales: Scales that the network itself looks at (v2's multi-scale inputs); named in the protocol.
        precision: In which the caller lets the network compute, as Lightning calls it; named in the protocol.
        bytes_per_pixel: Of memory that the network takes for a pixel that it sees (`bytes_per_pixel`); 0 if unknown.

    Attributes:
        decide: Makes classes of scores, see `Decision`.
        protocol: How images are evaluated, in words, to stand beside every score.

    Raises:
        ConfigError: The window's size is none where corners meet.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        normalise: Callable[[Tensor], Tensor],
        *,
        output_stride: int,
        align_corners: bool,
        side_remainder: int = 1,
        decision: Decision | None = None,
        weights: str = "this network",
        options: EvaluationOptions | None = None,
        inner_scales: Sequence[float] = (1.0,),
        precision: str = FULL_PRECISION,
        bytes_per_pixel: float = 0,
    ) -> None:
        self.network = network
        self.normalise = normalise
        self.output_stride = output_stride
        self.align_corners = align_corners
        self.side_remainder = side_remainder
        self.decide = decision or Decision()
        self.weights = weights
        self.bytes_per_pixel = bytes_per_pixel
        self.options = options or EvaluationOptions()
        window = self.options.window_size
        if align_corners and window is not None and (window - side_remainder) % output_stride:
            fits = max(1, round((window - side_remainder) / output_stride)) * output_stride + side_remainder
            form, why = f"{output_stride} k", "as it was trained on"
            if side_remainder:
                form, why = f"{form} + {side_remainder}", "where the corners of logits and image meet"
            raise ConfigError(
                f"window_size is {window}; at output stride {output_stride} this network needs {form}, {why}: {fits}, "
                f"for example."
            )
        inner = f"inputs at {', '.join(f'{scale:g}' for scale in inner_scales)}, " if len(inner_scales) > 1 else ""
        seen = f"os{output_stride}, {inner}{self.options.words()}"
        computed = "" if precision == FULL_PRECISION else f"precision {precision}"
        self.protocol = ", ".join(filter(None, (seen, str(self.decide), computed)))

    def bands(self, image: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield `(rows, scores)` from top to bottom, scores `(B, num_classes, rows, W)` float32 at full resolution.

        The softmax of the scores are the probabilities: they are the network's logits where it looks once, else the
        logarithms of what its views and the CRF agree on. Behind a CRF all rows come together.

        Args:
            image: `(B, C, H, W)` as stored.

        Raises:
            NotFiniteError: The network's logits are not finite; when all rows were yielded, so that nothing waits for
                the device before.
        """
        crf = self.options.crf_options
        if crf is None:
            yield from self._fused(image)
            return
        probs = torch.cat([scores.softmax(1) for _, scores in self._fused(image)], dim=2)
        yield slice(0, image.shape[-2]), _log(DenseCRF(crf)(probs, image))

    @torch.no_grad()
    def predict(self, image: Tensor) -> Tensor:
        """Return the class map `(B, H, W)` uint8 (at most 256 classes) of `image` `(B, C, H, W)`."""
        pred = image.new_empty((image.shape[0], *image.shape[-2:]), dtype=torch.uint8)
        for rows, scores in self.bands(image):
            pred[:, rows] = self.decide(scores)
        return pred

    @torch.no_grad()
    def postprocess(self, image: Tensor, morphology: Morphology) -> np.ndarray:
        """Return the class map `(H, W)` uint8 of one image `(1, C, H, W)`, post-processed if anything is to be done."""
        if not morphology:
            return self.predict(image)[0].cpu().numpy()
        return self.postprocess_probs(self.probs(image), morphology)

    def postprocess_probs(self, probs: Tensor, morphology: Morphology) -> np.ndarray:
        """Likewise from class probabilities `(1, num_classes, H, W)`."""
        return morphology.apply(self.decide.of_probs(probs)[0].cpu().numpy(), probs[0].cpu().numpy())

    @torch.no_grad()
    def probs(self, image: Tensor) -> Tensor:
        """Return the class probabilities `(B, num_classes, H, W)` float32. Needs memory for all of them."""
        return torch.cat([scores.softmax(1) for _, scores in self.bands(image)], dim=2)

    def _fused(self, image: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield what all views of the image together say, band by band, as in `bands`."""
        options = self.options
        mirrored = (False, True) if options.flip else (False,)
        views = [[_View(self, image, scale, mirror) for mirror in mirrored] for scale in options.scales]
        first = views[0][0]
        single = len(views) == len(mirrored) == len(first.windows) == 1
        averages_probs = options.fusion == "mean" and not single
        for rows in first.bands():
            # The two ways round are added first: mirroring the image then changes no bit of the sum.
            at_scales = [reduce(torch.add, [view.band(rows, averages_probs) for view in pair]) for pair in views]
            if options.fusion == "max":
                yield rows, reduce(torch.maximum, at_scales).div_(len(mirrored))
            else:
                scores = reduce(torch.add, at_scales).div_(len(views) * len(mirrored))
                yield rows, _log(scores) if averages_probs else scores
        finite = [view.finite for pair in views for view in pair]
        if not bool(torch.stack([flag for flags in finite for flag in flags]).all()):
            raise NotFiniteError(
                f"The network's logits are NaN or infinite, and no class can be made of them. Its weights are those of "
                f"{self.weights}: choose another checkpoint, and if half precision overflowed, full or bfloat16."
            )

    def part(self, image: Tensor, vertical: WindowSpan, horizontal: WindowSpan) -> Tensor:
        """Return a window of the scaled image as the network takes it in, padded, float32; `image` is the whole one."""
        (rows, down), (columns, across) = vertical.source(), horizontal.source()
        if vertical.scaled == vertical.side and horizontal.scaled == horizontal.side:
            begin, left = vertical.start, horizontal.start
            part = self.normalise(image[..., begin : begin + vertical.length, left : left + horizontal.length])
        else:
            seen = self.normalise(image[..., rows, columns])
            size = (vertical.length, horizontal.length)
            resizing = BandedResize(seen, size, self.align_corners, (down, across))
            bands = resizing.bands(seen.shape[0] * seen.shape[1], vertical.length, BAND_ELEMENTS)
            part = torch.cat([resizing.band(seen, band) for band in bands], dim=2)
        return self._pad(part)

    def logits(self, part: Tensor) -> Tensor:
        """Return the network's coarse logits of a window, float32.

        Raises:
            MemoryError: It takes more memory than there is; on a CPU this is known before, as there a system ends the
                process.
        """
        needed = self.bytes_per_pixel * part.shape[0] * part.shape[-2] * part.shape[-1]
        if part.device.type == "cpu" and needed > (free := free_memory()):
            raise MemoryError(
                f"the network takes some {needed / 1e9:.1f} GB for {part.shape[-1]}x{part.shape[-2]} pixels, and "
                f"{free / 1e9:.1f} are free"
            )
        try:
            return self.network(part).float()
        except RuntimeError as error:
            if not isinstance(error, torch.cuda.OutOfMemoryError) and "alloc" not in str(error):
                raise
            raise MemoryError(f"for {part.shape[-1]}x{part.shape[-2]} pixels at once") from error

    def _pad(self, image: Tensor) -> Tensor:
        if not self.align_corners:
            return image
        sides = image.shape[-2:]
        bottom, right = (padded_side(side, self.output_stride, self.side_remainder) - side for side in sides)
        return F.pad(image, (0, right, 0, bottom))


class _Answer(NamedTuple):
    """What the network says of a window, and how much each covered row `(rows, 1)` and column `(columns,)` counts."""

    coarse: Tensor
    resizing: BandedResize  # to the pixels that the window covers
    down: Tensor
    across: Tensor


class _View:
    """The image at one scale, one way round: windows, each run through the network when its first row is wanted.

    What comes out of a mirrored image is turned back.
    """

    def __init__(self, predictor: Predictor, image: Tensor, scale: float, mirrored: bool) -> None:
        self.predictor = predictor
        self.mirrored = mirrored
        self.image = image.flip(-1) if mirrored else image
        self.height, self.width = image.shape[-2:]
        options = predictor.options
        rows, columns = (
            spans(side, scale, options.window_size, options.overlap, predictor.align_corners)
            for side in (self.height, self.width)
        )
        self.across = len(columns)
        self.windows = [(vertical, horizontal) for vertical in rows for horizontal in columns]
        self.finite: list[Tensor] = []  # of each window, whether its logits are
        self._answers: dict[int, _Answer] = {}

    def bands(self) -> Iterator[slice]:
        """Yield bands of the image's rows that are worth making together."""
        answer = self._answer(0)
        images, classes = answer.coarse.shape[:2]
        # On a CPU one window's band is to fit into the cache; elsewhere all of them into memory.
        share = 1 if answer.coarse.device.type == "cpu" else self.across
        yield from answer.resizing.bands(images * classes, self.height, max(1, BAND_ELEMENTS // share))

    def band(self, rows: slice, as_probs: bool) -> Tensor:
        """Return rows `rows` of the logits or probabilities at full resolution; windows above them are forgotten."""
        if len(self.windows) == 1:
            answer = self._answer(0)
            values = answer.resizing.band(answer.coarse, rows)
            values = values.softmax(1) if as_probs else values
        else:
            values = self._blended(rows, as_probs)
        return values.flip(-1) if self.mirrored else values

    def _blended(self, rows: slice, as_probs: bool) -> Tensor:
        total = weight = None
        for index, (vertical, horizontal) in enumerate(self.windows):
            if vertical.covers.stop <= rows.start:
                self._answers.pop(index, None)
                continue
            if vertical.covers.start >= rows.stop:
                break
            answer = self._answer(index)
            first, last = max(rows.start, vertical.covers.start), min(rows.stop, vertical.covers.stop)
            own = slice(first - vertical.covers.start, last - vertical.covers.start)
            values = answer.resizing.band(answer.coarse, own)
            if total is None or weight is None:
                total = values.new_zeros((*values.shape[:2], rows.stop - rows.start, self.width))
                weight = values.new_zeros((rows.stop - rows.start, self.width))
            values = values.softmax(1) if as_probs else values
            counts = answer.down[own] * answer.across
            place = (slice(first - rows.start, last - rows.start), horizontal.covers)
            total[:, :, place[0], place[1]].addcmul_(values, counts)
            weight[place] += counts
        assert total is not None
        assert weight is not None
        return total.div_(weight)

    def _answer(self, index: int) -> _Answer:
        if index not in self._answers:
            vertical, horizontal = self.windows[index]
            part = self.predictor.part(self.image, vertical, horizontal)
            coarse = self.predictor.logits(part)
            self.finite.append(coarse.isfinite().all())
            placements = (
                vertical.among_cells(part.shape[-2], coarse.shape[-2]),
                horizontal.among_cells(part.shape[-1], coarse.shape[-1]),
            )
            size = (vertical.covered, horizontal.covered)
            resizing = BandedResize(coarse, size, self.predictor.align_corners, placements)
            self._answers[index] = _Answer(
                coarse, resizing, vertical.weights(coarse)[:, None], horizontal.weights(coarse)
            )
        return self._answers[index]


def bytes_per_pixel(network: nn.Module, run: Callable[[Tensor], Tensor], image: Tensor) -> float:
    """Return how many bytes of memory a network takes for a pixel that it sees, by the outputs of its layers.

    Args:
        network: Whose layers are watched.
        run: What is run.
        image: `(1, C, H, W)`, as it takes it in.
    """
    largest = 0

    def look(layer: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel() * output.element_size())

    watching = [layer.register_forward_hook(look) for layer in network.modules()]
    try:
        with torch.no_grad():
            run(image)
    finally:
        for hook in watching:
            hook.remove()
    return LAYERS_ALIVE * largest / (image.shape[-2] * image.shape[-1])


def _log(probs: Tensor) -> Tensor:
    """Return finite logarithms, in place."""
    return probs.clamp_(min=torch.finfo(probs.dtype).tiny).log_()
