"""The classes of the embedded data set: things in a drawn landscape, told apart by shape and place, never by colour."""

from .label_set import LabelSet

DRAWN_SCENES = LabelSet(
    class_names=("background", "house", "tree", "car", "boat", "balloon", "ball", "lamp", "fish", "tent"),
    palette=(
        (38, 40, 52),
        (214, 93, 78),
        (88, 168, 92),
        (92, 118, 214),
        (240, 160, 72),
        (214, 106, 186),
        (92, 200, 208),
        (244, 216, 96),
        (150, 102, 206),
        (160, 122, 88),
    ),
    ignore_index=255,
)
