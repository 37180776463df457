"""What is done with an image besides running the network: views, CRF, post-processing; declared once, without torch.

`EvaluationOptions` stand in configurations (`evaluation:`), on command lines (`--evaluation.flip true`) and in
protocols of `evaluate`; `Postprocessing` on the lines of `predict`, and in protocols.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ..errors import ConfigError, did_you_mean
from ..options import Between, OneOf, Options, Written, at_least, hints_of
from .drafts.form import form_names

Fusion = Literal["mean", "max"]
Normalise = Literal["symmetric", "before", "after", "none"]


@dataclass(frozen=True)
class CRFOptions(Options):
    """Parameters of the dense CRF, with the papers' symbols; the defaults are those of v2 with ResNet-101."""

    iterations: Annotated[int, at_least(0)] = 10
    """Iterations of mean field."""
    w1: Annotated[float, at_least(0)] = 4.0
    """Weight of the bilateral kernel, which looks at positions and colours."""
    sigma_alpha: float = 67.0
    """Reach of the bilateral kernel over positions, in pixels."""
    sigma_beta: float = 3.0
    """Reach of the bilateral kernel over colours, in grey levels of 0..255."""
    w2: Annotated[float, at_least(0)] = 3.0
    """Weight of the Gaussian kernel, which looks at positions alone."""
    sigma_gamma: float = 1.0
    """Reach of the Gaussian kernel over positions, in pixels."""
    normalise: Normalise = "symmetric"
    """How the kernels' weights are made relative: with row sums D, `symmetric` is `D^-1/2 K D^-1/2`, `before` is
    `K D^-1`, `after` is `D^-1 K`, `none` the papers' plain K without its diagonal."""

    def check(self) -> None:
        """Refuse kernels of no reach and values without end."""
        for name in ("w1", "w2"):
            if not getattr(self, name) < math.inf:
                raise ConfigError(f"The CRF's {name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("sigma_alpha", "sigma_beta", "sigma_gamma"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"The CRF's {name} is {getattr(self, name)}; expected more than 0. To leave a kernel out, set its "
                    f"weight {'w2' if name == 'sigma_gamma' else 'w1'} to 0."
                )

    def __str__(self) -> str:
        """Say it in words that can stand beside a score."""
        return (
            f"CRF {self.iterations} iterations, bilateral {self.w1:g} ({self.sigma_alpha:g} px, "
            f"{self.sigma_beta:g} levels), Gaussian {self.w2:g} ({self.sigma_gamma:g} px), normalised {self.normalise}"
        )


PAPERS = {
    "v1": CRFOptions(w1=4, sigma_alpha=49, sigma_beta=5, w2=3, sigma_gamma=3),
    "v2_vgg16": CRFOptions(w1=4, sigma_alpha=65, sigma_beta=3, w2=2, sigma_gamma=2),
    "v2_resnet101": CRFOptions(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=1),
}
"""Values in copies of the papers' run scripts for PASCAL VOC (v1: LargeFOV)."""


@dataclass(frozen=True)
class ObjectOptions(Options):
    """How objects are read from the maps of a network that finds them; Panoptic-DeepLab's constants."""

    section: ClassVar[str] = "evaluation.objects"

    centre_threshold: Annotated[float, Between(0, 1)] = 0.1
    """Value below which no pixel is the centre of an object."""
    centre_window: Annotated[int, at_least(1)] = 13
    """Odd side in pixels of the window in which a centre has to be the largest value."""
    max_objects: Annotated[int, at_least(1)] = 400
    """Objects that an image may have: those of the highest centres."""
    min_stuff_area: Annotated[int, at_least(0)] = 2048
    """Pixels of an image below which a class of stuff becomes void."""

    def check(self) -> None:
        """Refuse a window without a middle."""
        super().check()
        if self.centre_window % 2 == 0:
            raise ConfigError(
                f"centre_window is {self.centre_window}, and a window needs a pixel in its middle: take "
                f"{self.centre_window - 1} or {self.centre_window + 1}."
            )

    def __str__(self) -> str:
        """Say it in words that can stand beside a score."""
        return (
            f"objects above {self.centre_threshold:g} in windows of {self.centre_window}, at most {self.max_objects}, "
            f"stuff of {self.min_stuff_area} px"
        )


@dataclass(frozen=True)
class EvaluationOptions(Options):
    """How images are looked at (docs/inference.md); by default once, whole, at their own size."""

    section: ClassVar[str] = "evaluation"

    scales: Annotated[tuple[float, ...], Written(metavar="'[0.5, 1]'")] = (1.0,)
    """Sides that the network sees an image at, relative to its own; v3 and v3+ take '[0.5, 0.75, 1, 1.25, 1.5, 1.75]'
    on VOC and '[0.75, 1, 1.25]' on Cityscapes."""
    flip: bool = False
    """See the image mirrored as well, at every scale."""
    fusion: Fusion = "mean"
    """How several views become one: the mean of their probabilities (v3, v3+), or the maximum over the scales of their
    scores, which are averaged with those of the mirrored image (v2)."""
    window_size: Annotated[int | None, at_least(1), Written(metavar="PIXELS")] = None
    """Side of the square windows that slide over each scaled image, in pixels, such as the crop size of training; the
    whole image at once if not given."""
    overlap: Annotated[float, Between(0, 1, open_high=True), Written(metavar="SHARE")] = 0.25
    """Share of a window's side that its neighbours see too."""
    crf: Annotated[str | dict[str, Any] | CRFOptions | None, Written("--crf", metavar="NAME|'{w1: 4}'")] = None
    """Dense CRF behind the network: parameters of a paper (v1, v2_vgg16, v2_resnet101), or one's own above those of v2
    with ResNet-101, such as '{w1: 5, sigma_alpha: 50}'."""
    objects: Annotated[dict[str, Any] | ObjectOptions | None, Written(metavar="'{centre_threshold: 0.1}'")] = None
    """How objects are read from the maps of a network that finds them: centre_threshold, centre_window, max_objects
    and min_stuff_area, above the published constants."""

    def __post_init__(self) -> None:
        """Bring scales and CRF into one form, whichever way they were given, and check all."""
        given = (self.scales,) if isinstance(self.scales, int | float) else self.scales
        try:
            scales = tuple(float(scale) for scale in given)
        except (TypeError, ValueError):
            scales = ()
        if not scales or not all(0 < scale < math.inf for scale in scales) or len(set(scales)) < len(scales):
            raise ConfigError(
                f"--evaluation.scales is {self.scales}; expected different numbers above 0, such as "
                f"[0.5, 0.75, 1, 1.25]."
            )
        object.__setattr__(self, "scales", tuple(sorted(scales)))
        object.__setattr__(self, "crf", _as_crf(self.crf))
        if isinstance(self.objects, Mapping):
            object.__setattr__(self, "objects", ObjectOptions.of(self.objects))
        super().__post_init__()

    @property
    def crf_options(self) -> CRFOptions | None:
        """The CRF's parameters, whichever way they were given."""
        return _as_crf(self.crf)

    @property
    def object_options(self) -> ObjectOptions:
        """How objects are read, whichever way that was given."""
        return self.objects if isinstance(self.objects, ObjectOptions) else ObjectOptions()

    @property
    def is_one_look(self) -> bool:
        """Whether images are seen once, whole, at their own size, and nothing is done behind."""
        return self.scales == (1.0,) and not self.flip and self.window_size is None and self.crf is None

    def words(self) -> str:
        """Say it in words that can stand beside a score, such as `scales 0.5, 1, flip, whole image`."""
        several = len(self.scales) > 1
        parts = [f"scale{'s' if several else ''} {', '.join(f'{scale:g}' for scale in self.scales)}"]
        parts += ["flip"] if self.flip else []
        # Of a single view the two are the same; scores of mirrored images and of windows are averaged as scores, too.
        is_single = not (several or self.flip or self.window_size)
        parts += ["maximum of scores"] if self.fusion == "max" and not is_single else []
        if self.window_size is None:
            parts.append("whole image")
        else:
            parts.append(f"windows of {self.window_size} overlapping {100 * self.overlap:g}%")
        parts += [str(self.crf)] if self.crf else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Postprocessing(Options):
    """What is done to class maps, in this order; nothing by default (docs/postprocessing.md).

    Classes are given by name or by id. `str()` names the steps for the protocol.
    """

    threshold: Annotated[float, Between(0, 1), Written(metavar="P")] = 0.0
    """Pixels whose most likely class is less probable than this become unsure."""
    unsure: Annotated[int | str | None, Written(metavar="CLASS")] = None
    """Class that unsure pixels become; the ignored value if not given."""
    opening: Annotated[int, at_least(0), Written(metavar="RADIUS")] = 0
    """Take away what a disc of this radius in pixels does not fit into."""
    closing: Annotated[int, at_least(0), Written(metavar="RADIUS")] = 0
    """Close gaps that a disc of this radius in pixels does not fit into."""
    largest: Annotated[tuple[int | str, ...], Written(metavar="CLASS")] = ()
    """Classes of which the largest connected component alone is kept (organs, in medical images)."""
    min_area: Annotated[int, at_least(0), Written(metavar="PIXELS")] = 0
    """Take away connected components of fewer pixels than this."""
    fill_holes: Annotated[int, at_least(0), Written(metavar="PIXELS")] = 0
    """Fill what a class encloses wholly and has at most so many pixels."""
    classes: Annotated[tuple[int | str, ...], Written("--postprocess_classes", metavar="CLASS")] = ()
    """Classes that opening, closing, small components and holes are worked on of; all if not given."""

    def check(self) -> None:
        """Refuse an id that no mask can hold."""
        if isinstance(self.unsure, int) and not 0 <= self.unsure <= 255:
            raise ConfigError(f"The id of unsure pixels is {self.unsure}; expected 0 to 255.")

    def __bool__(self) -> bool:
        """Whether any step is taken."""
        return bool(self.threshold or self.opening or self.closing or self.largest or self.min_area or self.fill_holes)

    def __str__(self) -> str:
        """Return the steps in words, such as `threshold 0.5 (else 255), opening 2, min area 100`; empty for none."""
        steps = (
            f"threshold {self.threshold:g} (else {255 if self.unsure is None else self.unsure})"
            if self.threshold
            else "",
            f"opening {self.opening}" if self.opening else "",
            f"closing {self.closing}" if self.closing else "",
            f"largest of {_listed(self.largest)}" if self.largest else "",
            f"min area {self.min_area}" if self.min_area else "",
            f"fill holes {self.fill_holes}" if self.fill_holes else "",
        )
        words = ", ".join(filter(None, steps))
        of_some = self.classes and (self.opening or self.closing or self.min_area or self.fill_holes)
        return f"{words} of classes {_listed(self.classes)}" if of_some else words


@dataclass(frozen=True)
class DraftOptions(Options):
    """Drafts of annotations, to be corrected in a tool (docs/annotations.md)."""

    write: Annotated[tuple[Annotated[str, OneOf(form_names)], ...], Written(metavar="FORM")] = ()
    """Forms to write drafts in, each into a folder OUTPUT/FORM with the images."""
    draft_tolerance: Annotated[float, at_least(0), Written(metavar="PIXELS")] = 1.0
    """How far outlines of drafts may lie from the masks' own, in pixels; 0 for each corner of each pixel."""
    draft_min_area: Annotated[int, at_least(0), Written(metavar="PIXELS")] = 16
    """Pixels below which a region is no draft, but drafted with the nearest larger one; 0 for all regions."""


def _listed(classes: Iterable[int | str]) -> str:
    return " ".join(map(str, classes))


def _as_crf(given: Any) -> CRFOptions | None:
    """Make the CRF's parameters of a paper's name, of names and values, or of themselves."""
    if given is None or isinstance(given, CRFOptions):
        return given
    if isinstance(given, str) and given in PAPERS:
        return PAPERS[given]
    if isinstance(given, Mapping):
        names = hints_of(CRFOptions)
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"The CRF has no parameter {name!r}.{did_you_mean(str(name), names)} There are: {', '.join(names)}."
                )
        return CRFOptions(**given)
    raise ConfigError(
        f"--evaluation.crf is {given!r}; expected one of {', '.join(PAPERS)}, or parameters such as "
        f"'{{w1: 4, sigma_alpha: 67, sigma_beta: 3}}'.{did_you_mean(str(given), PAPERS)}"
    )
