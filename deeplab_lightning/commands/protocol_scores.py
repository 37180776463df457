"""What a checkpoint scores under one protocol: counted image by image, kept, and gone on with after a stop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, NotFiniteError, of_image
from ..files import atomic_open
from ..ledger import Ledger, key_of
from ..memory import forget_peak, peak_memory
from .protocols import NOT_POSTPROCESSED, Protocol

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

    from ..data.dataset import SegmentationDataset
    from ..inference.predictor import Predictor
    from ..labels import LabelSet
    from ..metrics.by_image import ByImage
    from ..reporting.protocol_table import ProtocolRow

SECONDS_BETWEEN_SAVES = 20
"""What a kill can cost."""


class Evaluation:
    """One protocol on all images; what is known of it lies in `KEY.npz` (counts) and, when done, `KEY.json`.

    Args:
        folder: For the files.
        key: All that the scores depend on.
        protocol: How to look.
        words: That in words.
        output_stride: Of the network that looks.

    Attributes:
        result: What `KEY.json` holds, or None.
        failures: Of images that could not be scored, a sentence each; what is known of the others is then not the
            split's score, and is kept for the next time alone.
    """

    def __init__(self, folder: Path, key: dict[str, Any], protocol: Protocol, words: str, output_stride: int) -> None:
        self.protocol, self.words, self.key, self.output_stride = protocol, words, key, output_stride
        self._ledger, self._name = Ledger(folder, forgetful=True), key_of(key)
        self._counts = self._ledger.path(self._name, "npz")
        self.result = self._ledger.read(self._name)
        self.failures: list[str] = []

    def cost(self) -> float:
        """Return what an image costs, in views at scale 1 and output stride 16: for the time to go."""
        options = self.protocol.options
        stride = self.protocol.output_stride or 16
        return sum(scale**2 for scale in options.scales) * (1 + options.flip) * max(1.0, 16 / stride)

    def run(
        self, predictor: Predictor, device: Any, dataset: SegmentationDataset, chosen: Sequence[int], bar: tqdm
    ) -> None:
        """Score the images that are not scored yet, and let `bar` advance by their `cost`.

        What is done is kept, however this ends.

        Raises:
            DataError: No image could be scored.
            NotFiniteError: The network gives no numbers.
        """
        import numpy as np
        import torch

        from ..metrics.measures import MEASURES

        metrics, seconds, peak = self._taken_up(dataset.labels)
        morphology = self.protocol.morphology(dataset.labels)
        on_gpu = torch.device(device).type == "cuda"
        bar.initial += len(seconds) * self.cost()  # no time went into them
        bar.update(len(seconds) * self.cost())

        def most_memory() -> int:
            now = torch.cuda.max_memory_allocated(device) if on_gpu else (peak_memory() or 0) if fresh else 0
            return max(peak, now)

        def keep() -> None:
            state: dict[str, np.ndarray] = {
                "seconds": np.array(list(seconds.values())),
                "done": np.array(list(seconds), dtype=np.str_),
                "peak": np.array(most_memory()),
            }
            state |= {name: metric.state() for name, metric in metrics.items()}
            with atomic_open(self._counts) as file:
                np.savez_compressed(file, **state)  # type: ignore[arg-type,unused-ignore]

        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        fresh = forget_peak()
        saved = time.monotonic()
        try:
            for index in chosen:
                sample_id = dataset.sample_id(index)
                if sample_id in seconds:
                    continue
                try:
                    with of_image(sample_id):
                        stored, mask = dataset.load(index)
                        image = torch.from_numpy(np.ascontiguousarray(stored.transpose(2, 0, 1))).to(device)[None]
                        started = time.perf_counter()
                        with torch.inference_mode():
                            pred = torch.from_numpy(predictor.postprocess(image, morphology))
                except NotFiniteError:
                    raise
                except DataError as error:
                    self.failures.append(str(error))
                    bar.update(self.cost())
                    continue
                taken = time.perf_counter() - started
                for metric in metrics.values():
                    metric.update(pred, torch.from_numpy(mask), sample_id)
                seconds[sample_id] = taken
                bar.update(self.cost())
                if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                    keep()
                    saved = time.monotonic()
        finally:
            keep()
        if not seconds:
            raise DataError(self.failures[0])
        scores: dict[str, float] = {}
        for name, metric in metrics.items():
            values = metric.values()
            scores |= {column: values[value] for column, value in MEASURES[name].columns.items()}
        self.result = {
            "protocol": self.words,
            "scores": scores,
            "seconds": statistics.median(seconds.values()),
            "peak_bytes": most_memory() or None,
            "images": len(seconds),
            "key": self.key,
        }
        if not self.failures:
            self._ledger.write(self._name, self.result)

    def metrics(self, labels: LabelSet) -> dict[str, ByImage]:
        """Return what was measured, as far as it is known."""
        return self._taken_up(labels)[0]

    def _taken_up(self, labels: LabelSet) -> tuple[dict[str, ByImage], dict[str, float], int]:
        """Return the metrics, the seconds of each image, and the peak of memory, as far as they were known."""
        import numpy as np

        from ..metrics.measures import MEASURES

        def begin() -> dict[str, ByImage]:
            names = self.key["measures"]
            return {name: MEASURES[name].make(labels.class_names, labels.ignore_index) for name in names}

        metrics = begin()
        try:
            with np.load(self._counts, allow_pickle=False) as state:
                for name, metric in metrics.items():
                    metric.restore(state[name])
                done = dict(zip(state["done"].tolist(), state["seconds"].tolist(), strict=True))
                return metrics, done, int(state["peak"])
        except Exception:  # it is not there, or torn, of which NumPy, zipfile and zlib raise a dozen kinds
            return begin(), {}, 0

    def row(self, recipe: str, data: str) -> ProtocolRow:
        """Return the result as a line of the table."""
        from ..inference.crf import PAPERS
        from ..reporting.protocol_table import ProtocolRow
        from ..reporting.published import published_miou

        assert self.result is not None
        options = self.protocol.options
        published = None
        if (
            self.protocol.postprocessing == NOT_POSTPROCESSED
            and options.window_size is None
            and options.crf_options in (None, *PAPERS.values())
        ):
            published = published_miou(
                recipe, data, self.output_stride, options.scales, options.flip, options.crf is not None
            )
        result = self.result
        return ProtocolRow(
            self.words, result["scores"], published, result["seconds"], result["peak_bytes"], result["images"]
        )
