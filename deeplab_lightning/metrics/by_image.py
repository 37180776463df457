"""Metrics of torchmetrics that keep what they count image by image: exact, and the same for any number of processes.

Each image is counted once, however often it comes: samplers that pad a set for several processes repeat images. So the
state of a `ByImage` is a record for each image, of int64 words, and the scores are found from the records in the end.
torchmetrics gathers them as it gathers any state; the first record of an id counts, in the order of the ranks.

A further metric says how it counts an image (`count`) and what scores it gives (`values`):

    class Accuracy(ByImage):
        def __init__(self, ignore_index: int, **options: Any) -> None:
            super().__init__("pixel accuracy", (), ignore_index, (2,), **options)

        def count(self, pred: Tensor, truth: Tensor) -> Counted:
            labelled = truth != self.ignore_index
            return Counted(np.array([int(((pred == truth) & labelled).sum()), int(labelled.sum())]))

        def values(self) -> dict[str, float]:
            right, labelled = self.total()
            return {"accuracy": right / labelled}
"""

from __future__ import annotations

import hashlib
import itertools
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from ..errors import DataError
from ..plugins import named
from .per_image import dense

HEADER = 5
"""Words before a record's own: two for what was counted, then how long the id is, how many cells and how many sums."""


class Counted(NamedTuple):
    """What one image counts."""

    table: np.ndarray
    """Integers, of the metric's `shape`."""
    sums: Sequence[float] = ()
    """What is no integer; always as many of them."""


class CountedImage(NamedTuple):
    """Likewise, as it is kept: the cells of the table that are not zero.

    A metric whose table would be endless, such as one over pairs of objects, counts into this at once.
    """

    cells: np.ndarray
    """`(k,)` int64 places in the flat table, all different."""
    counts: np.ndarray
    """`(k,)` int64."""
    sums: np.ndarray
    """`(n,)` float64."""


class ByImage(Metric):  # type: ignore[misc,unused-ignore]
    """A metric whose state is what each image counts, by sample id.

    All that torchmetrics promises holds: `forward` gives the value of the batch, `compute` that of all images of all
    processes (which it brings together for as long as it takes; `sync` does so until `unsync` or `reset`). Integers and
    bits of float64 do not change by `half` or a move; they stay on the host, where they are read, and are on the
    metric's device while processes exchange them.

    Args:
        protocol: What is counted and how, in words, to stand beside the score. Only equal ones can be merged.
        class_names: `C` names; none if nothing is counted by class.
        ignore_index: Label that does not count, if there is one.
        shape: Of an image's table of counts; of no use, and empty, where `count` returns a `CountedImage`.
        only: A name in `values`: `compute` and `forward` then return this one, as `LightningModule.log` needs it of
            a metric; the whole dictionary if None.
        options: Of `torchmetrics.Metric`.

    Attributes:
        records: The state: while counting a list with a tensor `(words,)` int64 for each image, or for several.
    """

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False
    records: list[Tensor] | Tensor

    def __init__(
        self,
        protocol: str,
        class_names: Sequence[str],
        ignore_index: int | None,
        shape: tuple[int, ...],
        only: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.protocol = protocol
        self.class_names = tuple(class_names)
        self.ignore_index: Any = ignore_index
        self.shape = shape
        self.only = only
        what = json.dumps([type(self).__name__, protocol, self.class_names, ignore_index, shape])
        self._kind = np.frombuffer(hashlib.sha256(what.encode()).digest()[:16], dtype=np.int64)
        self.add_state("records", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def count(self, pred: Any, truth: Any) -> Counted | CountedImage:
        """Return what one image counts.

        Args:
            pred: What was predicted for it, `(H, W)`, or with channels before; or a tuple of maps.
            truth: What is right, `(H, W)`; or a tuple of maps.
        """

    @abstractmethod
    def values(self) -> dict[str, float]:
        """Return the scores of the images that are here, under the names that they are logged by."""

    def update(self, pred: Any, truth: Any, sample_id: str | Sequence[str] | None = None) -> None:
        """Count one image, or a batch.

        Args:
            pred: For one image `(H, W)` (`(C, H, W)` where it has channels), or the tuple that the metric is of; for
                several `(B, H, W)`, or a list.
            truth: `(H, W)`, at the label's own size, or a tuple; for several `(B, H, W)`, or a list.
            sample_id: Unique within the split; for several one for each. An image counts once, and one without an
                id every time it comes.

        Raises:
            DataError: The numbers of images differ, or an image cannot be counted.
        """
        for guess, labels, name in images_of(pred, truth, sample_id):
            self.add(name, self.count(guess, labels))

    def add(self, sample_id: str | None, counted: Counted | CountedImage) -> None:
        """Keep what an image counts.

        Args:
            sample_id: Unique within the split; None: an image like no other.
            counted: What `count` returned.
        """
        if not isinstance(self.records, list):
            raise DataError(f"{self.protocol}: the processes' counts are together; unsync or reset before counting on.")
        name = b"" if sample_id is None else sample_id.encode("utf-8", "surrogatepass")
        if isinstance(counted, CountedImage):
            cells, counts = (np.asarray(column, dtype=np.int64) for column in counted[:2])
        else:
            table = np.ascontiguousarray(counted.table, dtype=np.int64).ravel()
            cells = np.flatnonzero(table)
            counts = table[cells]
        sums = np.array(counted.sums, dtype=np.float64)
        header = [-1 if sample_id is None else len(name), len(cells), len(sums)]
        padded = np.frombuffer(name + b"\0" * (-len(name) % 8), dtype=np.int64)
        words = np.concatenate([self._kind, header, padded, cells, counts, sums.view(np.int64)])
        self.records.append(torch.from_numpy(words))

    def compute(self) -> dict[str, Tensor] | Tensor:
        """Return `values` over the images of all processes, float64 on the metric's device; or `only` one of them."""
        exact = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        values = self.values()
        if self.only is not None:
            values = {self.only: named("score", self.only, values)}
        tensors = {name: torch.tensor(value, dtype=exact, device=self.device) for name, value in values.items()}
        return tensors if self.only is None else tensors[self.only]

    # --- what is here -------------------------------------------------------------------------------------------------

    def images(self) -> dict[str, CountedImage]:
        """Return what each image counts, sorted by id; those without one last, in the order of their coming."""
        found: dict[str, CountedImage] = {}
        unnamed: list[CountedImage] = []
        for name, image in self._read(self.state()):
            if name is None:
                unnamed.append(image)
            else:
                found.setdefault(name, image)
        return dict(sorted(found.items())) | {f"unnamed-{number:06}": image for number, image in enumerate(unnamed)}

    def image(self, sample_id: str) -> np.ndarray:
        """Return the table of one image; fast for one of those that came last.

        Raises:
            KeyError: There is none of this id.
        """
        for record in reversed(self._records()):
            for name, image in self._read(record.cpu().numpy()):
                if name == sample_id:
                    return dense([image[:2]], self.shape)
        raise KeyError(sample_id)

    def total(self) -> np.ndarray:
        """Return the sum of all images' tables, int64."""
        return dense((image[:2] for image in self.images().values()), self.shape)

    def tables(self) -> np.ndarray:
        """Return the tables one behind the other, `(images, *shape)` int64, in the order of `images`.

        Raises:
            DataError: There is no image.
        """
        tables = [dense([image[:2]], self.shape) for image in self.images().values()]
        if not tables:
            raise DataError(f"{self.protocol}: no image has been measured yet.")
        return np.stack(tables)

    def state(self) -> np.ndarray:
        """Return all records as one array of int64 words, to be kept in a file."""
        return np.concatenate([np.empty(0, np.int64), *(record.cpu().numpy() for record in self._records())])

    def restore(self, state: np.ndarray) -> None:
        """Take up what `state` returned, in place of what is here.

        Raises:
            DataError: It is of another metric.
        """
        self.reset()
        words = np.array(state, dtype=np.int64)
        for _ in self._read(words):
            pass
        self.records = [torch.from_numpy(words)]
        self._update_count += 1  # else `compute` warns that there is nothing

    def _records(self) -> list[Tensor]:
        return self.records if isinstance(self.records, list) else [self.records]

    def _read(self, words: np.ndarray) -> Iterator[tuple[str | None, CountedImage]]:
        """Yield id and counts of each record."""
        at = 0
        while at < len(words):
            *kind, length, cells, sums = words[at : at + HEADER].tolist()
            if kind != self._kind.tolist():
                raise DataError(f"These are not counts of '{self.protocol}' over {len(self.class_names)} classes.")
            at += HEADER
            ends = np.cumsum([at, -(-max(length, 0) // 8), cells, cells, sums])
            name, places, counts, rest = (words[start:end] for start, end in itertools.pairwise(ends))
            at = int(ends[-1])
            sample_id = None if length < 0 else name.tobytes()[:length].decode("utf-8", "surrogatepass")
            yield sample_id, CountedImage(places, counts, rest.view(np.float64))

    # --- torchmetrics -------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """Of the state: what a process that has seen no image contributes must be of it, too."""
        return torch.int64

    def set_dtype(self, dst_type: str | torch.dtype) -> ByImage:
        """Change nothing: counts are integers."""
        return self

    def reset(self) -> None:
        """Forget everything."""
        self.records = []  # brought together they are a tensor, which torchmetrics could not clear
        super().reset()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Take over the images of another metric of this kind that are not here yet.

        Raises:
            DataError: It counts something else, or in another way.
        """
        if isinstance(incoming_state, ByImage) and (incoming_state._kind != self._kind).any():
            raise DataError(
                f"Counts of '{incoming_state.protocol}' over {len(incoming_state.class_names)} classes cannot be "
                f"merged with counts of '{self.protocol}' over {len(self.class_names)}: measure both in the same way."
            )
        own = self.records
        super().merge_state(incoming_state)  # checks, and puts the others first
        state = incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state
        self.records = [*own, *state["records"]]
        self._computed = None
        self._update_count += 1  # else `compute` warns that there is nothing

    def sync(self, dist_sync_fn: Callable[..., Any] | None = None, *arguments: Any, **options: Any) -> None:
        """Bring the images of all processes together, in each of them; see `torchmetrics.Metric.sync`."""
        gather = dist_sync_fn or gather_all_tensors

        def on_device(words: Tensor, **group: Any) -> list[Tensor]:
            return [part.cpu() for part in gather(words.to(self.device), **group)]

        super().sync(on_device, *arguments, **options)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> ByImage:
        """Move, but for the records."""
        return super()._apply(fn, exclude_state=[*exclude_state, "records"])


def images_of(pred: Any, truth: Any, sample_id: str | Sequence[str] | None) -> Iterator[tuple[Any, Any, str | None]]:
    """Yield the images of a batch, or the one that there is."""
    if isinstance(truth, tuple) or getattr(truth, "ndim", None) == 2:
        yield pred, truth, None if sample_id is None else str(sample_id)
        return
    names: Sequence[str | None] = [None] * len(truth) if sample_id is None else sample_id
    if isinstance(names, str) or not len(pred) == len(truth) == len(names):
        raise DataError(
            f"A batch of {len(pred)} predictions, {len(truth)} masks and the sample_id {sample_id!r}: expected as many "
            "of each."
        )
    yield from zip(pred, truth, names, strict=True)
