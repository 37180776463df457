"""The data sets: one file each holds all that is known of one, and its datamodule is found by being there."""

from __future__ import annotations

from ... import plugins
from ..datamodule import SegmentationDataModule


def datamodules() -> dict[str, type[SegmentationDataModule]]:
    """Return all datamodules, the user's own subclasses included, by the names that configurations use (`VOC`)."""
    plugins.import_all(__name__)
    return {found.__name__.removesuffix("DataModule"): found for found in plugins.subclasses(SegmentationDataModule)}  # type: ignore[type-abstract]


def datamodule_named(name: str) -> type[SegmentationDataModule]:
    """Return the datamodule that a configuration names.

    Args:
        name: With or without `DataModule` behind it: `VOC`, `VOCDataModule`; one of the user's own by its module and
            name, `mymodule.MyDataModule`.

    Raises:
        ConfigError: There is none.
    """
    if "." in name:
        return plugins.own_class("data set", name, SegmentationDataModule)  # type: ignore[type-abstract]
    return plugins.named("data set", name.removesuffix("DataModule"), datamodules())


def published() -> dict[str, type[SegmentationDataModule]]:
    """Return the datamodules whose classes are always the same, by name in lower case (`voc`)."""
    return {name.lower(): found for name, found in datamodules().items() if hasattr(found, "labels")}
