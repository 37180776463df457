"""One module for each program whose networks can be taken over: how to recognise them, and what their names become."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from ...errors import CheckpointError, did_you_mean
from ..loading import some
from ..reading import ForeignFile
from . import caffe, detectron2, jfzhang95, mmsegmentation, smp, tensorflow, torchvision, vainf
from .translation import Imported, ImportReport, place

__all__ = ["IMPORTERS", "ImportReport", "Imported", "place", "recognise"]

IMPORTERS: dict[str, ModuleType] = {
    module.NAME: module
    for module in (torchvision, smp, vainf, jfzhang95, detectron2, caffe, tensorflow, mmsegmentation)
}


def recognise(file: ForeignFile, format: str | None = None, backbone: str | None = None) -> Imported:
    """Find out which program's network a file holds.

    Args:
        file: As read.
        format: The program, if the user says so; all are asked otherwise.
        backbone: The backbone, by our name, if the user says so: needed where several have the same weights.

    Raises:
        CheckpointError: None knows it, or the one that does cannot take it over, or finds another backbone.
    """
    if format is not None and format not in IMPORTERS:
        raise CheckpointError(f"No format {format!r}.{did_you_mean(format, IMPORTERS)} Known: {', '.join(IMPORTERS)}.")
    for name, importer in IMPORTERS.items():
        if format in (None, name):
            ask = partial(importer.recognise, backbone=backbone) if importer is smp else importer.recognise
            imported: Imported | None = ask(file)
            if imported is not None:
                found = imported.options.get("backbone")
                if backbone not in (None, found):
                    raise CheckpointError(
                        f"{file.path} is {imported.network}, and --backbone {backbone} is another. It chooses among "
                        f"timm's networks that have the same weights, in files of {smp.NAME}: leave it out here."
                    )
                return imported
    names = list(file.tensors)
    raise CheckpointError(
        f"{file.path} holds {len(names)} tensors ({some(names, 4)}), which is no network that "
        f"{'any known program' if format is None else format} writes. Known: {', '.join(IMPORTERS)}."
    )
