"""From what a mask stores, numbers or colours, to train ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import ConfigError, DataError, Kind
from ...labels import RGB, LabelSet
from ..checks import check_labels
from ..files.images import equal_channels, packed, palette_of, unpacked
from ..files.rasters import Source, read_grey, read_labels, read_labels_in_colours

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
        colours: RGB -> train id or `labels.ignore_index`, for masks in colours. Those with a palette of their own are
            taken by the colours that it shows, which may be others in each file, and grey ones are grey colours.
        threshold: Value from which a mask of soft edges, or one that was compressed with loss, is class 1, and below
            which it is class 0; no number (NaN) is ignored.

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

    def read(self, mask: Source) -> np.ndarray:
        """Read and decode a mask's file: `(H, W)` uint8 train ids and `ignore_index`.

        Raises:
            DataError: It cannot be read, or as of `__call__`.
        """
        return self(self.stored_in(mask), str(mask))

    def stored_in(self, mask: Source) -> np.ndarray:
        """Read what a mask's file stores, in the form that `__call__` takes."""
        if self.threshold is not None:
            return read_grey(mask)
        return read_labels_in_colours(mask) if self._goes_by_colour else read_labels(mask)

    def __call__(self, stored: np.ndarray, path: str | Path) -> np.ndarray:
        """Decode a mask.

        Args:
            stored: `(H, W)` integers or `(H, W, 3)` uint8 RGB; with a threshold, floating point, too.
            path: Where it comes from, for messages.

        Returns:
            `(H, W)` uint8 train ids and `ignore_index`.

        Raises:
            DataError: A value or colour is unknown: each with its pixel count, and what to set.
        """
        if stored.ndim == 3 and self._goes_by_colour:
            return self._by_colour(packed(stored), path)
        values = stored if stored.ndim == 2 else equal_channels(stored, path, _DECLARE_PALETTE)
        if self.threshold is not None:
            ids = (values >= self.threshold).astype(np.uint8)
            if values.dtype.kind == "f":
                ids[np.isnan(values)] = self.labels.ignore_index
            return ids
        if self._goes_by_colour:
            return self._by_colour(_as_grey_colours(values), path)
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

    @property
    def _goes_by_colour(self) -> bool:
        return self.by_colour is not None and self.by_value is None

    def _by_colour(self, numbers: np.ndarray, path: str | Path) -> np.ndarray:
        assert self.by_colour is not None
        ids = self.by_colour(numbers)
        if (ids < 0).any():
            raise DataError(_unknown_colours(numbers[ids < 0], path), kind="colour_mask")
        return ids.astype(np.uint8)

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
    remedy = (
        "Add each to data.palette with a name in data.class_names, or to data.void_colours if it is to be ignored. "
        "Many colours of few pixels mean that the mask was blended or stored as JPEG: make it anew."
    )
    greys = all(len(set(rgb)) == 1 for rgb in unpacked(found))
    if palette_of(path) is not None or greys:
        what = "The mask is grey" if greys else "These are the colours of the file's own palette"
        remedy += f" {what}: if its numbers are the class ids, set data.label_map: {{0: 0, 1: 1, ...}}."
    return f"Mask {path} holds colours that the palette does not: {', '.join(named)}{_more(len(found))}. {remedy}"


def _as_grey_colours(values: np.ndarray) -> np.ndarray:
    """Return grey values as packed colours; those that are no 8-bit ones become -1, which none is."""
    wide = values.astype(np.int64)
    return np.where((wide < 0) | (wide > 255), -1, wide * packed(np.array((1, 1, 1)))).astype(np.int32)


def _declare_map(values: np.ndarray) -> str:
    return f"Say which class each means, as in label_map: {{{_entries(values)}}}."


def _entries(values: np.ndarray) -> str:
    entries = ", ".join(f"{value}: {index}" for index, value in enumerate(values[:NAMED].tolist()))
    return entries + ", ..." * (len(values) > NAMED)


def _more(count: int) -> str:
    return f" and {count - NAMED} more" if count > NAMED else ""
