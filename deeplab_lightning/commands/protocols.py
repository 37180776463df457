"""Rows of `evaluate`'s table: how images are looked at, as written in YAML, and each generation's by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..command_line import from_yaml
from ..errors import ConfigError, DeepLabError, did_you_mean
from ..files import read_text
from ..inference.options import EvaluationOptions, Postprocessing
from ..options import hints_of

if TYPE_CHECKING:
    from ..inference.morphology import Morphology
    from ..labels import LabelSet
    from ..tasks import SegmentationTask

NOT_POSTPROCESSED = Postprocessing()


@dataclass(frozen=True)
class Protocol:
    """What a row of the table is made by.

    Attributes:
        output_stride: Of the network; its own if None.
        options: Everything else.
        postprocessing: What is done to the class maps, in the words of `predict`.
    """

    output_stride: int | None
    options: EvaluationOptions
    postprocessing: Postprocessing = NOT_POSTPROCESSED

    def morphology(self, labels: LabelSet) -> Morphology:
        """Return the post-processing for these classes."""
        from ..inference.morphology import Morphology

        return Morphology.of_classes(self.postprocessing, labels)


def default_protocols(task: SegmentationTask, dataset: str) -> list[Protocol]:
    """Return the rows of the generation's paper: v1 and v2 with and without CRF, the others with scales and flip."""
    from ..reporting.published import CITYSCAPES_SCALES, VOC_SCALES

    network = task.model
    once = EvaluationOptions()
    if network.crf_of_paper is not None:
        is_rgb = task.description["channels"] == 3 and task.description["pixel_range"] == 255
        views = [once, EvaluationOptions(crf=network.crf_of_paper)] if is_rgb else [once]
    else:
        scales = CITYSCAPES_SCALES if "Cityscapes" in dataset else VOC_SCALES
        views = [once, EvaluationOptions(scales), EvaluationOptions(scales, flip=True)]
    strides: list[int | None] = [None]
    if network.scored_at_stride_8 and network.output_stride != 8:
        strides.append(8)
    return [Protocol(stride, view) for stride in strides for view in views]


def read_list(path: Path) -> list[Any]:
    """Read a YAML list of protocols, as written."""
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigError(f"Cannot read {path} ({error.strerror}): expected a YAML list of protocols.") from error
    found = from_yaml(text, str(path))
    if not isinstance(found, list) or not found:
        raise ConfigError(f"{path} holds no list of protocols; expected lines such as '- {{output_stride: 8}}'.")
    return found


def as_protocol(given: Any) -> Protocol:
    """Return a protocol as written in YAML; a ConfigError names what it does not know."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"The protocol {given!r} is not a mapping; expected such as '{{output_stride: 8}}'.")
    names = ["output_stride", "postprocessing", *hints_of(EvaluationOptions)]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"A protocol has no {name!r}.{did_you_mean(str(name), names)} There are: {', '.join(names)}."
            )
    stride = given.get("output_stride")
    if stride not in (None, 8, 16, 32):
        raise ConfigError(f"The protocol's output_stride is {stride!r}; expected 8, 16 or 32.")
    try:
        options = EvaluationOptions.of({name: value for name, value in given.items() if name not in names[:2]})
    except DeepLabError as error:
        raise ConfigError(f"The protocol {dict(given)} cannot be used: {error}") from error
    return Protocol(stride, options, _as_postprocessing(given.get("postprocessing") or {}))


def _as_postprocessing(given: Any) -> Postprocessing:
    if not isinstance(given, Mapping):
        raise ConfigError(f"The protocol's postprocessing is {given!r}; expected such as '{{min_area: 50}}'.")
    postprocessing = Postprocessing.of(given)
    if postprocessing.threshold and postprocessing.unsure is None:
        raise ConfigError("Post-processing with a threshold needs `unsure: CLASS`: scores know no other label.")
    return postprocessing
