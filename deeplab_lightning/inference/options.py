"""How images are evaluated, apart from the network itself: scales, flip, windows, CRF; and that in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from ..errors import ConfigError, did_you_mean
from .crf.mean_field import PAPERS, CRFOptions

Fusion = Literal["mean", "max"]


@dataclass(frozen=True)
class EvaluationOptions:
    """What is done with an image between reading it and its class map. The default is one view of the whole image.

    Attributes:
        scales: Sides that the network sees it at, relative to its own; v3 and v3+ take
            '[0.5, 0.75, 1, 1.25, 1.5, 1.75]' on VOC and '[0.75, 1, 1.25]' on Cityscapes.
        flip: See it mirrored as well, at every scale.
        fusion: How several views become one: the mean of their probabilities (v3, v3+), or the maximum over the scales
            of their scores, which are averaged with those of the mirrored image (v2).
        window_size: Side of the square windows that slide over each scaled image, in pixels, such as the crop size of
            training; the whole image at once if not given.
        overlap: Share of a window's side that its neighbours see too, 0 or more and below 1.
        crf: Dense CRF behind the network: parameters of a paper (v1, v2_vgg16, v2_resnet101), or one's own above those
            of v2 with ResNet-101, such as '{w1: 5, sigma_alpha: 50}'.

    Raises:
        ConfigError: A value cannot be used.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    fusion: Fusion = "mean"
    window_size: int | None = None
    overlap: float = 0.25
    crf: str | dict[str, Any] | CRFOptions | None = None

    def __post_init__(self) -> None:
        try:
            scales = tuple(float(scale) for scale in self.scales)
        except (TypeError, ValueError):
            scales = ()
        if not scales or not all(0 < scale < math.inf for scale in scales) or len(set(scales)) < len(scales):
            raise ConfigError(
                f"scales is {self.scales}; expected different numbers above 0, such as [0.5, 0.75, 1, 1.25]."
            )
        object.__setattr__(self, "scales", tuple(sorted(scales)))
        if not isinstance(self.flip, bool):
            raise ConfigError(f"flip is {self.flip!r}; expected true or false.")
        if self.fusion not in get_args(Fusion):
            raise ConfigError(f"fusion is {self.fusion!r}; expected mean or max.{_near(self.fusion, get_args(Fusion))}")
        if self.window_size is not None and (not isinstance(self.window_size, int) or self.window_size < 1):
            raise ConfigError(f"window_size is {self.window_size!r}; expected whole pixels, such as 513, or null.")
        if isinstance(self.overlap, bool) or not isinstance(self.overlap, int | float) or not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap is {self.overlap!r}; expected a share of the window from 0 to below 1.")
        object.__setattr__(self, "crf", _as_crf(self.crf))

    @property
    def crf_options(self) -> CRFOptions | None:
        """The CRF's parameters, whichever way they were given."""
        return _as_crf(self.crf)

    def words(self) -> str:
        """Say it in words that can stand beside a score, such as `scales 0.5, 1, flip, whole image`."""
        several = len(self.scales) > 1
        parts = [f"scale{'s' if several else ''} {', '.join(f'{scale:g}' for scale in self.scales)}"]
        parts += ["flip"] if self.flip else []
        parts += ["maximum of scores"] if self.fusion == "max" and several else []
        if self.window_size is None:
            parts.append("whole image")
        else:
            parts.append(f"windows of {self.window_size} overlapping {self.overlap:.0%}")
        parts += [str(self.crf)] if self.crf else []
        return ", ".join(parts)


def options_from(given: Mapping[str, Any]) -> EvaluationOptions:
    """Make options of names and plain values, as they stand in YAML.

    Raises:
        ConfigError: A name is unknown, or a value cannot be used.
    """
    names = [field.name for field in fields(EvaluationOptions)]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"There is no evaluation option {name!r}.{did_you_mean(name, names)} There are: {', '.join(names)}."
            )
    scales = given.get("scales")
    single = {"scales": (scales,)} if isinstance(scales, int | float) else {}
    return EvaluationOptions(**{**given, **single})


def _as_crf(given: Any) -> CRFOptions | None:
    """Make the CRF's parameters of a paper's name, of names and values, or of themselves."""
    if given is None or isinstance(given, CRFOptions):
        return given
    if isinstance(given, str) and given in PAPERS:
        return PAPERS[given]
    if isinstance(given, Mapping):
        names = [field.name for field in fields(CRFOptions)]
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"The CRF has no parameter {name!r}.{did_you_mean(str(name), names)} There are: {', '.join(names)}."
                )
        return CRFOptions(**given)
    raise ConfigError(
        f"crf is {given!r}; expected one of {', '.join(PAPERS)}, or parameters such as "
        f"'{{w1: 4, sigma_alpha: 67, sigma_beta: 3}}'.{_near(given, PAPERS)}"
    )


def _near(word: Any, choices: Any) -> str:
    return did_you_mean(str(word), choices)
