"""What happens to a training image, from a few options of the command line: the recipe, on albumentations 2.0 (MIT).

    window   scale, rotation, crop, mirror      geometry.py, of the stored image
    colours  one matrix                         colour.py, of what the crop shows, before it is enlarged
    border   mean pixel, void
    then     elastic, blur, anything by name    albumentations, of the crop

The order differs from the usual one (colours, scale, pad, crop) in nothing but rounding, and makes no pixel that the
crop throws away. All draws come from one generator, seeded for each image.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import albumentations as A
import cv2
import numpy as np

from ...errors import ConfigError, did_you_mean
from ...options import Between, Options, at_least
from ...types import MapName
from .colour import ColourMatrix
from .geometry import RandomWindow, Stored, check_scales, scale_choices

JITTER_PROBABILITY = 0.8
ELASTIC_STRENGTH, ELASTIC_SMOOTHNESS = 120.0, 10.0
"""Displacements of about 3 pixels (standard deviation), smooth over 10; wider ones take a tenth of a second."""

_DONE_ELSEWHERE = {
    "Normalize": "Normalising happens on the device, by --data.mean and --data.std",
    "ToTensorV2": "Images become tensors in the loader",
    "ToTensor3D": "Images become tensors in the loader",
    "ToFloat": "Images become floating point on the device",
}


@dataclass(frozen=True)
class AugmentationOptions(Options):
    """What is done to training images, and to nothing else: evaluation sees whole images as they are."""

    section: ClassVar[str] = "data"

    crop_size: Annotated[int, at_least(1)] = 513
    """Side of the square training window in pixels; output_stride * k + 1, such as 513 = 16 * 32 + 1, suits DeepLab."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest factor by which training images are scaled at random, as in the DeepLab papers."""
    scale_step: float | None = None
    """Draw only factors this far apart, from the smallest of scale_range to the largest (0.25 in the released code);
    null draws any factor between."""
    flip: Annotated[float, Between(0, 1)] = 0.5
    """Probability of mirroring a training image left and right."""
    colour_jitter: Annotated[float, Between(0, 1)] = 0.0
    """Largest relative change of brightness, contrast and saturation of RGB training images."""
    hue_jitter: Annotated[float, Between(0, 0.5)] = 0.0
    """Largest turn of the colours of RGB training images, as a share of the colour circle."""
    rotation: Annotated[float, Between(0, 180)] = 0.0
    """Largest turn of training images either way, in degrees."""
    rare_class_crops: Annotated[float, Between(0, 1)] = 0.0
    """Probability that a training window shows a rare class: of the classes in the image one is drawn, the fewer its
    pixels the likelier, and a window around one of its pixels."""
    blur: Annotated[float, Between(0, 1)] = 0.0
    """Probability of blurring a training window by a Gaussian."""
    elastic: Annotated[float, Between(0, 1)] = 0.0
    """Probability of deforming a training window elastically (some 60 ms each at 513)."""
    transforms: list[dict[str, dict[str, Any] | None]] | None = None
    """Further transforms of albumentations for training windows, by name with their arguments and in this order, such
    as [{GaussNoise: {p: 0.3}}, {CoarseDropout: {}}]; what they fill becomes the mean pixel and void."""

    def check(self) -> None:
        """Refuse scales in the wrong order, and steps that do not lead from one to the other."""
        super().check()
        if self.scale_step is not None:
            scale_choices(self.scale_range, self.scale_step)
        check_scales(self.scale_range)


class TrainingTransform:
    """Training augmentation of the DeepLab papers: random scale, padding, random crop, mirror; and what may be added.

    Departure: the papers have no colour jitter, rotation, rare-class crops, blur or elastic deformation; all are off
    unless asked for.

    Args:
        options: What to do.
        pad_value: Colour beyond the image, in stored values, one for each channel (the mean pixel).
        ignore_index: Label beyond the image.

    Raises:
        ConfigError: Colours of anything but three channels are to be jittered, or there is no such transform or
            argument.
    """

    def __init__(self, options: AugmentationOptions, pad_value: Sequence[float], ignore_index: int) -> None:
        self.pad_value, self.ignore_index = list(pad_value), ignore_index
        self.window = RandomWindow(
            options.crop_size,
            options.scale_range,
            options.scale_step,
            options.rotation,
            options.flip,
            options.rare_class_crops,
            self.pad_value,
            ignore_index,
        )
        jitter, hue_jitter = options.colour_jitter, options.hue_jitter
        self.colours: ColourMatrix | None = None
        if jitter != 0 or hue_jitter != 0:
            if len(self.pad_value) != 3:
                raise ConfigError(
                    f"Colour jitter is for RGB images; these have {len(self.pad_value)} channel(s), as the length of "
                    f"mean says. Set colour_jitter and hue_jitter to 0."
                )
            self.colours = ColourMatrix(jitter, jitter, jitter, hue_jitter, p=JITTER_PROBABILITY)
        further: list[A.BasicTransform] = []
        self._further_lines: list[str] = []
        if options.elastic > 0:
            self._further_lines.append(f"deform with probability {options.elastic:g}")
            further.append(
                A.ElasticTransform(
                    ELASTIC_STRENGTH,
                    ELASTIC_SMOOTHNESS,
                    mask_interpolation=cv2.INTER_NEAREST,
                    fill=tuple(self.pad_value),
                    fill_mask=ignore_index,
                    p=options.elastic,
                )
            )
        if options.blur > 0:
            self._further_lines.append(f"blur with probability {options.blur:g}")
            further.append(A.GaussianBlur(p=options.blur))
        for name, arguments in [pair for item in options.transforms or [] for pair in item.items()]:
            self._further_lines.append(f"{name} {dict(arguments) if arguments else ''}".rstrip())
            further.append(self._by_name(name, dict(arguments or {})))
        self.further = A.Compose(further) if further else None

    def __call__(self, image: Stored, mask: Stored, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment an image; the same for the same seed.

        Args:
            image: `(H, W, C)` uint8 or float32, or what reads parts of it.
            mask: `(H, W)` uint8 train ids, likewise.
            seed: 0 or more.

        Returns:
            The crop `(crop_size, crop_size, C)` of the image's dtype and its mask `(crop_size, crop_size)` uint8, both
            contiguous.

        Raises:
            ConfigError: One of `transforms` changed the size or the dtype.
        """
        return self.with_maps(image, mask, {}, seed)[:2]

    def with_maps(
        self, image: Stored, mask: Stored, maps: Mapping[MapName, np.ndarray], seed: int
    ) -> tuple[np.ndarray, np.ndarray, dict[MapName, np.ndarray]]:
        """Augment an image as a call does, and what lies beside its mask: maps `(H, W)` of any dtype, by name.

        They take the nearest value, as a mask does: between two objects, or a near and a far one, there is nothing.
        Values come through to the bit, and are 0 beyond the image. Scaling an image leaves its depths as they are.
        """
        generator = np.random.default_rng(seed)
        window = self.window.draw(image.shape, mask if self.window.rare_classes else None, generator)
        recolour = None
        if self.colours is not None and generator.random() < self.colours.p:
            recolour = partial(self.colours.apply, matrix=self.colours.draw(generator))
        crop = window.frame(window.cut(image, recolour), self.pad_value)
        crop_mask = window.cut_mask(mask, self.ignore_index)
        crops = {name: window.cut_mask(pixels, 0) for name, pixels in maps.items()}
        if self.further is None:
            return crop, crop_mask, crops
        self.further.set_random_seed(seed)
        result = self.further(image=crop, mask=crop_mask, **({"masks": _places(crop_mask.shape)} if maps else {}))
        for before, after in ((crop, result["image"]), (crop_mask, result["mask"])):
            if before.shape != after.shape or before.dtype != after.dtype:
                raise ConfigError(
                    f"--data.transforms made {after.dtype} of shape {after.shape} out of {before.dtype} of shape "
                    f"{before.shape}: they must leave size and kind of the crop alone. Set the size by "
                    f"--data.crop_size."
                )
        if maps:
            crops = {name: _taken(pixels, result["masks"]) for name, pixels in crops.items()}
        return result["image"], result["mask"], crops

    def __str__(self) -> str:
        """The pipeline, a step a line."""
        window = self.window
        smallest, largest = window.scale_range
        steps = f" in steps of {window.scale_step:g}" if window.scale_step else ""
        lines = ["scale 1" if smallest == largest == 1 else f"scale {smallest:g} to {largest:g}{steps}"]
        lines += [f"rotate up to {window.rotation:g} degrees"] * (window.rotation > 0)
        rare = f", with probability {window.rare_classes:g} one that shows a rare class" * (window.rare_classes > 0)
        lines.append(f"crop {window.size}x{window.size}{rare}")
        lines += [f"mirror with probability {window.flip:g}"] * (window.flip > 0)
        if self.colours is not None:
            hue = f", hue +-{self.colours.hue:g}" * (self.colours.hue > 0)
            lines.append(
                f"brightness, contrast, saturation +-{self.colours.brightness:g}{hue} with probability "
                f"{self.colours.p:g}"
            )
        lines.append(f"border {[round(value, 1) for value in self.pad_value]}, label {self.ignore_index}")
        return "\n".join(lines + self._further_lines)

    def _by_name(self, name: str, arguments: dict[str, Any]) -> A.BasicTransform:
        """Make a transform of albumentations; it would only warn of a wrong argument, and drop it."""
        if name in _DONE_ELSEWHERE:
            raise ConfigError(f"--data.transforms: {_DONE_ELSEWHERE[name]}: leave {name} out.")
        classes = inspect.getmembers(A, inspect.isclass)
        known = {key: found for key, found in classes if issubclass(found, A.BasicTransform)}
        if name not in known:
            raise ConfigError(
                f"--data.transforms: albumentations has no transform {name!r}.{did_you_mean(name, known)}"
            )
        defaults = {
            key: parameter.default
            for key, parameter in inspect.signature(known[name].__init__).parameters.items()
            if key not in ("self", "args", "kwargs")
        }
        for key in arguments:
            if key not in defaults:
                raise ConfigError(
                    f"--data.transforms: {name} has no argument {key!r}.{did_you_mean(key, defaults)} It has "
                    f"{', '.join(defaults)}."
                )
        if defaults.get("fill_mask") is not None:  # where None, what is filled keeps its label
            arguments = {"fill": tuple(self.pad_value), "fill_mask": self.ignore_index} | arguments
        try:
            return known[name](
                **{key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"--data.transforms: {name} cannot be made with {arguments}: {error}") from error


_FIRST_PLACE = 256
"""Rows and columns are counted from here on, so that what transforms fill masks with (0..255) is no place."""


def _places(shape: tuple[int, ...]) -> np.ndarray:
    """Return each pixel's row and column, `(2, H, W)` float32: transforms move these as two masks more.

    However many maps there are and whatever they hold, they are then picked from where the pixels came from, so that
    albumentations need not take their dtypes.
    """
    return np.indices(shape, np.float32) + np.float32(_FIRST_PLACE)


def _taken(pixels: np.ndarray, places: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Return a map `(H, W)` at the places to which transforms have moved those of `_places`, 0 where they filled."""
    rows, columns = (np.rint(place).astype(np.intp) - _FIRST_PLACE for place in places)
    inside = (rows >= 0) & (columns >= 0)
    return np.where(inside, pixels[rows * inside, columns * inside], pixels.dtype.type(0))
