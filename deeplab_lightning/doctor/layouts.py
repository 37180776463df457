"""Which layout a folder has, and the configuration that reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.classes.mask_samples import look_at_masks
from ..data.classes.stated_classes import stated_classes
from ..data.datamodule import SegmentationDataModule
from ..data.pairing.layout import CHILDREN, Recognised, subfolders
from ..data.sets import datamodules
from ..data.sets.folder import FolderDataModule
from ..data.wording import found_instead
from ..errors import ConfigError, DeepLabError
from .contents import suggested_window, unusual_images
from .mask_classes import Meaning, meaning_of
from .numbered_objects import numbered_objects
from .unrecognised import describe
from .yaml_lines import section

OF_IMAGES = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "warmup_steps": 0}
OF_IMAGES_WHY = {"name": "for images; that of configs/v3plus.yaml is for drawn scenes"}
"""The optimiser that configurations of images name (docs/planner.md has what it was compared with)."""
LOVASZ = {"weight": 1.0, "every": 4}
LOVASZ_WHY = "the IoU beside the cross-entropy, seen at every 4th pixel: rare classes are learned sooner"
"""The loss that they add. Logits have a quarter of the image's side: every fourth pixel tells what all do."""


@dataclass
class Proposal(Recognised):
    """How a folder can be read; `name` is the data set's, as configurations call it."""

    name: str = field(kw_only=True)

    def as_yaml(self, title: str) -> str:
        """Return a commented configuration that goes on top of a model's, with `title` as its first comment."""
        head = "".join(f"# {line}\n" for line in [title, *self.remarks])
        data = section("data", {"name": self.name, **self.options}, self.comments)
        loss = section("loss", {"lovasz": LOVASZ}, {"lovasz": LOVASZ_WHY})
        return f"{head}\n{data}\n{section('optimizer', OF_IMAGES, OF_IMAGES_WHY)}\n{loss}"


def propose(folder: Path) -> Proposal:
    """Recognise a folder's layout, or that of a folder within it, at most two levels down.

    Raises:
        ConfigError: There is no such folder, or it has no known layout.
        DataError: The files that would tell cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"doctor looks at folders: {found_instead(folder, '')}")
    known = sorted(datamodules().values(), key=lambda one: (one.reads_subfolders, one.generality))
    first = [one for one in known if not one.reads_subfolders]
    children = subfolders(folder)
    grandchildren = [grandchild for child in children for grandchild in subfolders(child)]
    proposal: Proposal | None = None
    others: dict[Path, str] = {}
    for place in [folder, *children, *grandchildren[:CHILDREN]]:
        if proposal is None:
            found = next(((one, got) for one in first if (got := one.recognise(place))), None)
            proposal = None if found is None else _measured(*found)
            taken = place
        elif not (place.is_relative_to(taken) or any(place.is_relative_to(other) for other in others)):
            layout = next((got.layout for one in first if (got := _recognised(one, place))), None)
            if layout is not None:
                others[place] = layout
    if proposal is None:
        found = next(((one, got) for one in known if one.reads_subfolders and (got := one.recognise(folder))), None)
        proposal = None if found is None else _measured(*found)
    if proposal is None:
        layouts = "; ".join(data_set.layout for data_set in known if data_set.layout)
        raise ConfigError(f"The layout was not recognised. {describe(folder)} Known are: {layouts}.")
    proposal.remarks += [
        f"Left out: {place} ({layout}). To read it: doctor {place}" for place, layout in others.items()
    ]
    return proposal


def _recognised(data_set: type[SegmentationDataModule], place: Path) -> Recognised | None:
    """Recognise what is only to be mentioned: a damaged file there is no error here."""
    try:
        return data_set.recognise(place)
    except DeepLabError:
        return None


def _measured(data_set: type[SegmentationDataModule], found: Recognised) -> Proposal:
    """Add what the folder's files say: classes, where only masks tell them, kinds of pixels, crop and batch."""
    proposal = Proposal(**vars(found), name=data_set.name_in_yaml())
    if found.masks:
        meaning = meaning_of(look_at_masks(found.masks), stated_classes(Path(found.options["root"]), found.masks))
        _add(proposal, meaning)
        if kind := unusual_images(found.images):
            proposal.options |= kind
            proposal.comments["mean"] = f"measured; {len(kind['mean'])} channels"
            proposal.comments["pixel_range"] = "the stored value that means 1: check it"
        if issubclass(data_set, FolderDataModule):
            _add(proposal, numbered_objects(proposal.options))
    crop, batch_size = suggested_window(found.images), max(1, min(8, found.train_size))
    proposal.options |= {"crop_size": crop, "batch_size": batch_size, "scale_range": [0.5, 2.0]}
    if "mean" not in proposal.options:  # colours
        proposal.options["colour_jitter"] = 0.3
    proposal.comments |= {"crop_size": f"16 * {crop // 16} + 1", "batch_size": "see what doctor measured"}
    return proposal


def _add(proposal: Proposal, meaning: Meaning) -> None:
    proposal.options |= meaning.options
    proposal.comments |= meaning.comments
    proposal.remarks += meaning.remarks
