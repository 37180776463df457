"""The shapes in which the parts of the framework hand data to one another. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import NotRequired

OutputStride = Literal[8, 16, 32]
MapName = Literal["depth", "instances"]
"""What may lie beside an image's mask, pixel by pixel: entries of `Sample` that a task asks for by name."""
SideRemainder = Literal[0, 1]


class Sample(TypedDict):
    """One image with its labels, as a data set returns it.

    `image` is `(C, H, W)`, uint8 where the source is uint8; `mask` is `(H, W)` uint8 train ids; `sample_id` is unique
    within its split and stays the same from run to run.

    Where they were asked for: `depth` is `(H, W)` float32, 0 where it is unknown. `instances` is `(H, W)` int32, the
    number of the object that a pixel belongs to, unique within the image (in films, within the film); 0 where there is
    none: stuff, void, and things in a group or crowd, so that a thing's pixel of number 0 is crowd.
    """

    image: Tensor
    mask: Tensor
    sample_id: str
    depth: NotRequired[Tensor]
    instances: NotRequired[Tensor]


class Batch(TypedDict):
    """What the tasks receive.

    In training `image` is `(B, C, H, W)`, `mask` and what lies beside it `(B, H, W)`. In evaluation all are lists of
    `B` tensors, since images keep their own sizes. Pixels are as stored (uint8, 0..255): the task normalises them.
    """

    image: Tensor | list[Tensor]
    mask: Tensor | list[Tensor]
    sample_id: list[str]
    depth: NotRequired[Tensor | list[Tensor]]
    instances: NotRequired[Tensor | list[Tensor]]


class DataDescription(TypedDict):
    """What a model must know of its data: plain types only, so that it can be saved with the hyper-parameters.

    A datamodule gives it without reading a pixel (`SegmentationDataModule.describe`); the task normalises by it, and a
    checkpoint carries it, so that an image can be segmented from the checkpoint alone.
    """

    class_names: list[str]
    palette: list[list[int]]
    """RGB colour of each class, 0..255."""
    ignore_index: int
    """The value in masks that no loss and no metric counts."""
    channels: int
    mean: list[float]
    """Per channel, after division by `pixel_range`."""
    std: list[float]
    pixel_range: float
    """The stored value that means 1.0 (255 for uint8)."""
    things: NotRequired[list[int]]
    """Train ids of the classes whose objects are told apart; all others are stuff. Missing where nobody says."""
