"""From what a mask stores, numbers or colours, to train ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError, Kind
from ..labels import RGB, LabelSet
from .checks import check_labels
from .images import equal_channels, packed, unpacked

BLACK_AND_WHITE = "label_map: {0: 0, 255: 1}"
"""What a user of such masks has to set."""

NAMED = 10
"""Unknown values or colours that a message lists."""


_DECLARE_PALETTE = "If colours are classes, declare all in the order of class_names: palette: [[red, green, blue], ...]"


def is_black_and_white(values: np.ndarray) -> bool:
    """Tell whether a mask's values are 0 and 255, or 255 alone."""
    return bool(values.max() == 255 and np.isin(values, (0, 255)).all())


class MaskDecoder:
    """Turns masks into train ids, by number or by colour; nothing unknown passes.

    Args:
        labels: Which ids are legal.
        label_map: Stored value -> train id, or `labels.ignore_index`, for all values that may occur. Masks are numbers
            then, whatever `colours` says.
        colours: RGB -> train id or `labels.ignore_index`, for masks that are images in colours. Those that store
            numbers, palette indices among them, are taken at their numbers.
        threshold: Value from which a mask of soft edges is class 1, and below which it is class 0.

    Raises:
        ConfigError: The label map leads to ids that are no classes.
    """

    def __init__(
        self,
        labels: LabelSet,
        label_map: Mapping[int, int] | None = None,
        colours: Mapping[RGB, int] | None = None,
        threshold: float | None = None,
    ) -> None:
        self.labels, self.threshold = labels, threshold
        self.by_value = None if label_map is None else _Table(label_map)
        self.by_colour = (
            None if colours is None else _Table({int(packed(np.array(rgb))): label for rgb, label in colours.items()})
        )
        legal = {*range(labels.num_classes), labels.ignore_index}
        wrong = sorted({label for label in (label_map or {}).values() if label not in legal})
        if wrong:
            raise ConfigError(
                f"data.label_map leads to {', '.join(map(str, wrong))}, expected classes 0..{labels.num_classes - 1} "
                f"or {labels.ignore_index} (ignored). Name that many classes in data.class_names, or fix the map."
            )

    def __call__(self, stored: np.ndarray, path: str | Path) -> np.ndarray:
        """Decode a mask.

        Args:
            stored: `(H, W)` integers or `(H, W, 3)` uint8 RGB.
            path: Where it comes from, for messages.

        Returns:
            `(H, W)` uint8 train ids and `ignore_index`.

        Raises:
            DataError: A value or colour is unknown: each with its pixel count, and what to set.
        """
        if stored.ndim == 3 and self.by_colour is not None and self.by_value is None:
            numbers = packed(stored)
            ids = self.by_colour(numbers)
            if (ids < 0).any():
                raise DataError(_unknown_colours(numbers[ids < 0], path), kind="colour_mask")
            return ids.astype(np.uint8)
        values = stored if stored.ndim == 2 else equal_channels(stored, path, _DECLARE_PALETTE)
        if self.threshold is not None:
            return (values >= self.threshold).astype(np.uint8)
        if self.by_value is not None:
            ids = self.by_value(values)
            if (ids < 0).any():
                kind: Kind = "black_white" if is_black_and_white(values) else "labels"
                raise DataError(self._unknown_values(values[ids < 0], path), kind=kind)
            return ids.astype(np.uint8)
        if values.dtype != np.uint8:
            if values.min() < 0 or values.max() > 255:
                raise DataError(
                    f"Mask {path} holds values from {values.min()} to {values.max()}; class ids are 0..255. "
                    f"{_declare_map(np.unique(values))}",
                    kind="labels",
                )
            values = values.astype(np.uint8)
        remedy = None
        if self.labels.ignore_index != 255 and is_black_and_white(values):
            remedy = f"The mask is black and white: set {BLACK_AND_WHITE}"
        check_labels(values, self.labels.num_classes, self.labels.ignore_index, path, remedy)
        return values

    def _unknown_values(self, unknown: np.ndarray, path: str | Path) -> str:
        found, counts = np.unique(unknown, return_counts=True)
        named = [f"{value} ({count} pixels)" for value, count in zip(found[:NAMED], counts, strict=False)]
        assert self.by_value is not None
        return (
            f"Mask {path} holds values that data.label_map does not: {', '.join(named)}{_more(len(found))}. It maps "
            f"{', '.join(map(str, self.by_value.keys[:NAMED]))}{_more(len(self.by_value.keys))}. Add each to it, as "
            f"in {found[0]}: {self.labels.ignore_index} to ignore it."
        )


class _Table:
    """Looks integers up: -1 for those that are not in it."""

    def __init__(self, entries: Mapping[int, int]) -> None:
        self.keys = np.array(sorted(entries), np.int64)
        self.labels = np.array([entries[key] for key in self.keys.tolist()], np.int16)
        self.bytes = self._find(np.arange(256))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return self.bytes[values] if values.dtype == np.uint8 else self._find(values)

    def _find(self, values: np.ndarray) -> np.ndarray:
        position = np.searchsorted(self.keys, values).clip(max=len(self.keys) - 1)
        return np.where(self.keys[position] == values, self.labels[position], np.int16(-1))


def _unknown_colours(unknown: np.ndarray, path: str | Path) -> str:
    found, counts = np.unique(unknown, return_counts=True)
    order = np.argsort(-counts)
    named = [
        f"{list(rgb)} ({count} pixels)"
        for rgb, count in zip(unpacked(found[order[:NAMED]]), counts[order], strict=False)
    ]
    return (
        f"Mask {path} holds colours that the palette does not: {', '.join(named)}{_more(len(found))}. Add each to "
        f"data.palette with a name in data.class_names, or set data.void_colour to the one that is to be ignored. Many "
        f"colours of few pixels mean that the mask was blended or stored as JPEG: make it anew."
    )


def _declare_map(values: np.ndarray) -> str:
    entries = ", ".join(f"{value}: {index}" for index, value in enumerate(values[:NAMED].tolist()))
    return f"Say which class each means, as in label_map: {{{entries}{', ...' * (len(values) > NAMED)}}}."


def _more(count: int) -> str:
    return f" and {count - NAMED} more" if count > NAMED else ""
