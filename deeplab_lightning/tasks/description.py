"""A description of data for tasks that have no datamodule."""

from __future__ import annotations

from ..errors import ConfigError
from ..labels import LabelSet, voc_palette
from ..types import DataDescription


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
