"""The plain encoder-decoder as something to train."""

from __future__ import annotations

from typing import Any

from ..models import EncoderDecoder
from .base import SegmentationTask


class EncoderDecoderTask(SegmentationTask):
    """Three stages down, three up, no skips: the baseline below all baselines.

    Args:
        base_width: Channels of the first stage; each further one doubles them.
        kwargs: Data and optimisation, see `SegmentationTask`.
    """

    def __init__(self, base_width: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build_model(self) -> EncoderDecoder:
        """Make the network."""
        return self.build(EncoderDecoder)
