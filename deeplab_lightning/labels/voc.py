"""PASCAL VOC 2012's 20 classes and background, in VOC's own order and colours (value 255 = void)."""

from .label_set import LabelSet, voc_palette

VOC = LabelSet(
    class_names=(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
    palette=voc_palette(21),
    ignore_index=255,
)
