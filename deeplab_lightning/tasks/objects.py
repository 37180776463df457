"""Objects of thing classes, told apart by a network that finds their centres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..inference.panoptic import PanopticPredictor
from ..layers import resize
from ..losses.instances import InstanceOptions, InstanceTargets, centre_loss, instance_targets, offset_loss
from ..metrics.by_image import ByImage
from ..metrics.instances import InstancePrecision, Objects
from ..metrics.panoptic import PanopticScores
from ..models import Network, TrainingMaps
from ..types import Batch, DataDescription
from .side_task import Seen, SideTask, maps_of

if TYPE_CHECKING:
    from .evaluating import EvaluatedTask


class ObjectTask(SideTask):
    """Learns centres and offsets, and scores stuff and objects together (PQ), and objects by themselves (AP).

    Objects of a panoptic map do not overlap, so that their AP, in COCO's way, is lower than that of a detector, which
    may say several things of a pixel.

    Args:
        options: What training minimises.
        description: Of data whose thing classes are known.
        align_corners: Of the network.
    """

    needs = "instances"
    prefix = ""

    def __init__(self, options: InstanceOptions, description: DataDescription, align_corners: bool) -> None:
        super().__init__()
        self.options, self.align_corners = options, align_corners
        self.ignore_index = description["ignore_index"]
        self.things: tuple[int, ...] = tuple(description.get("things") or ())
        self.scores = PanopticScores(description["class_names"], self.things, self.ignore_index)
        self.precision = InstancePrecision(description["class_names"], self.things, self.ignore_index, way="coco")

    @property
    def metrics(self) -> list[ByImage]:
        """PQ, SQ and RQ; AP."""
        return [self.scores, self.precision]

    def pixel_weights(self, batch: Batch) -> Tensor | None:
        """Return the factors of small objects' pixels, for `hard_pixels`."""
        if self.options.small_weight == 1:
            return None
        areas = self._targets(batch).areas
        return torch.where((areas > 0) & (areas < self.options.small_area), self.options.small_weight, 1.0)

    def losses(self, maps: TrainingMaps, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted losses of centres and offsets, resized to the crop."""
        assert maps.instances is not None
        targets = self._targets(batch)
        height, width = targets.areas.shape[-2:]
        centres, offsets = (resize(each, (height, width), self.align_corners) for each in maps.instances)
        return {
            "centres": self.options.centre_weight * centre_loss(centres[:, 0], targets),
            "offsets": self.options.offset_weight * offset_loss(offsets, targets),
        }

    def evaluate(self, task: EvaluatedTask, seen: Seen) -> dict[str, list[Any]]:
        """Read objects from the maps that were just made, and count; returns their maps as `segments`."""
        assert isinstance(seen.predictor, PanopticPredictor)
        found = seen.predictor.panoptic()
        preds, truths = [(one.classes, one.numbers) for one in found], list(zip(seen.masks, seen.maps, strict=True))
        objects = [Objects(one.numbers, one.object_classes, one.scores) for one in found]
        self.scores.update(preds, truths, seen.sample_ids)
        self.precision.update(objects, truths, seen.sample_ids)
        return {"segments": preds}

    def _targets(self, batch: Batch) -> InstanceTargets:
        numbers, mask = maps_of(batch, self.needs), batch["mask"]
        assert isinstance(mask, Tensor)
        things = torch.tensor(self.things, device=mask.device)
        return instance_targets(numbers, mask, things, self.ignore_index, self.options.sigma)


def objects_of(network: Network, options: InstanceOptions | None, description: DataDescription) -> ObjectTask | None:
    """Return what learns objects, where the network finds them.

    Raises:
        ConfigError: The network does and the data has no things, or it does not and losses of objects are given.
    """
    if not network.finds_objects:
        if options is not None:
            raise ConfigError(
                f"--loss.instances is for networks that find objects, and {type(network).__name__} does not: take "
                f"--model.name PanopticDeepLab, or leave it out."
            )
        return None
    if not description.get("things"):
        raise ConfigError(
            f"{type(network).__name__} tells the objects of thing classes apart, and this data names none: drawn "
            f"scenes, Cityscapes and COCO have things, and own folders with --data.instances and --data.things."
        )
    return ObjectTask(options or InstanceOptions(), description, network.align_corners)
