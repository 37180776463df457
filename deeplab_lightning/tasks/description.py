"""A description of data for tasks that have no datamodule."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from ..errors import ConfigError, DataError
from ..labels import LabelSet, voc_palette
from ..types import DataDescription

NORMALISED = 10.0
"""Values below 0, and none farther from it than this: pixels that were normalised already."""


def describe_by_hand(
    num_classes: int | None, ignore_index: int | None, class_names: list[str] | None
) -> DataDescription:
    """Describe data for a task without a datamodule: ImageNet's mean and standard deviation, VOC colours."""
    if num_classes is None and class_names is None:
        raise ConfigError(
            "The number of classes is not known: give the task num_classes (or class_names), or the description of a "
            "datamodule, DrawnScenesDataModule.describe() for one."
        )
    names = class_names if class_names is not None else [f"class_{index}" for index in range(num_classes or 0)]
    if not names:
        raise ConfigError("A model needs at least one class: num_classes is 0, or class_names is empty.")
    palette = voc_palette(len(names))
    labels = LabelSet(tuple(names), palette, 255 if ignore_index is None else ignore_index)
    return {
        "class_names": list(names),
        "palette": [list(colour) for colour in labels.palette],
        "ignore_index": labels.ignore_index,
        "channels": 3,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "pixel_range": 255.0,
    }


def check_against(
    description: DataDescription, num_classes: int | None, ignore_index: int | None, class_names: list[str] | None
) -> None:
    """Refuse values that contradict the data, rather than drop them."""
    names = description["class_names"]
    facts = {"num_classes": len(names), "ignore_index": description["ignore_index"], "class_names": names}
    given = {"num_classes": num_classes, "ignore_index": ignore_index, "class_names": class_names}
    for key, value in given.items():
        if value is not None and value != facts[key]:
            raise ConfigError(
                f"--model.{key} is {value}, but the data has {facts[key]}. It always comes from the data: leave it out."
            )


def check_classes_of_data(num_classes: int, datamodule: Any, loaders: Any) -> None:
    """Refuse data of more or fewer classes than the task's, where the datamodule or a loader's data set tells them.

    Args:
        num_classes: Of the task.
        datamodule: With a `description`, or `None`, or the user's own.
        loaders: What the Trainer draws from: a loader, or lists and dicts of them.
    """
    found = getattr(datamodule, "description", None)
    counts = {len(found["class_names"])} if isinstance(found, dict) and "class_names" in found else set()
    for loader in tree_flatten(loaders)[0]:
        dataset = getattr(loader, "dataset", None)
        while dataset is not None and not isinstance(getattr(dataset, "labels", None), LabelSet):
            dataset = getattr(dataset, "source", None) or getattr(dataset, "dataset", None)
        if dataset is not None:
            counts.add(dataset.labels.num_classes)
    for count in counts - {num_classes}:
        raise ConfigError(
            f"The task has {num_classes} classes, and the data {count}. Make the task from the data's description: "
            f"description=datamodule.description."
        )


def check_batch(images: Tensor, masks: Tensor, description: DataDescription) -> bool:
    """Refuse images that are not in stored values, and labels that are no class: own loaders may deliver either.

    Args:
        images: As they come from the loader.
        masks: Their labels.
        description: What the task knows of its data.

    Returns:
        Whether the images' range could be told; black ones tell nothing.

    Raises:
        DataError: The images were divided by `pixel_range` already, or normalised; or what a label is that is no class.
    """
    classes, ignore_index = len(description["class_names"]), description["ignore_index"]
    wrong = ((masks < 0) | (masks >= classes)) & (masks != ignore_index)
    if wrong.any():
        raise DataError(
            f"A mask holds label {int(masks[wrong][0])}, but the task has {classes} classes, 0 to {classes - 1}, and "
            f"ignores {ignore_index}. Give it as many classes as the data has, or fix the masks."
        )
    return check_images(images, description)


def check_images(images: Tensor, description: DataDescription) -> bool:
    """Refuse images that are not in stored values, and return whether their range could be told: see `check_batch`."""
    pixel_range = description["pixel_range"]
    if not images.is_floating_point() or pixel_range < 255:
        return True
    smallest, largest = (float(value) for value in images.aminmax())
    if (smallest >= 0 and 0 < largest <= 1) or (smallest < 0 and max(-smallest, largest) <= NORMALISED):
        raise DataError(
            f"Images hold {images.dtype} values from {smallest:g} to {largest:g}, but the task divides by pixel_range "
            f"{pixel_range:g} and normalises itself: deliver the stored values, 0 to {pixel_range:g}, as uint8 for "
            f"one, or set pixel_range to 1."
        )
    return largest > 1
