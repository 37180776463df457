"""Classes that the user names himself, in the colours of PASCAL VOC."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from .label_set import LabelSet, voc_palette


def own_labels(class_names: Sequence[str]) -> LabelSet:
    """Make a label set of the user's class names; 255 is ignored.

    Args:
        class_names: In the order of their ids; the first is the background.

    Raises:
        ConfigError: There are fewer than 2 classes or more than 255, or a name repeats.
    """
    if not 2 <= len(class_names) <= 255:
        raise ConfigError(
            f"data.class_names holds {len(class_names)} names, expected 2 to 255: first the background's, then the "
            f"annotated classes', as in class_names: [background, person, bottle]."
        )
    return LabelSet(tuple(class_names), voc_palette(len(class_names)))
