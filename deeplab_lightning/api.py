"""A trained model in three lines, for notebooks and other programs.

```python
import deeplab_lightning

model = deeplab_lightning.load("runs/v3plus")
result = model.predict("street.jpg")  # or with scales=(0.75, 1, 1.25), flip=True, crf="v1", window_size=513
result.mask, result.probs, result.overlay()
```
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .checkpoints.loading import read_checkpoint
from .data.files.rasters import Source, as_declared, of_pillow, read_source
from .errors import DataError, of_image
from .inference import EvaluationOptions
from .inference.devices import chosen_device
from .inference.found_objects import FoundObject, PanopticImage, panoptic_image
from .inference.morphology import Morphology
from .inference.panoptic import PanopticPredictor
from .inference.predictor import Predictor
from .labels import LabelSet
from .models import Network
from .reporting.outlines import outlines
from .reporting.panels import overlay
from .runs import resolve_checkpoint
from .tasks import SegmentationTask
from .tasks.rebuild import load_task


class LookAgain:
    """The network's second look at an image, which finds its probabilities; a pickled result leaves it behind."""

    def __init__(self, predictor: Predictor, batch: Tensor, image: object) -> None:
        self.predictor, self.batch = predictor, batch
        self.name = image if isinstance(image, str | Path | Source) else None

    def __call__(self) -> np.ndarray:
        """Return the class probabilities, `(num_classes, H, W)` float32."""
        with torch.inference_mode(), _named(self.name):
            return self.predictor.probs(self.batch)[0].cpu().numpy()

    def __deepcopy__(self, memo: dict[int, Any]) -> LookAgain:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


@dataclass(frozen=True)
class Segmentation:
    """A segmented image.

    Attributes:
        image: `(H, W, C)`, as it was segmented: uint8 RGB, or what the model's own data is like.
        mask: `(H, W)` uint8 class ids.
        labels: What the ids mean.
        protocol: How the image was looked at, in words.
        panoptic: Stuff and objects, of a network that finds objects.

    It can be pickled, and sent from process to process: without the network, and so with `probs` only if they were
    asked for before.
    """

    image: np.ndarray
    mask: np.ndarray
    labels: LabelSet
    protocol: str = ""
    panoptic: PanopticImage | None = None
    _look_again: LookAgain | None = field(default=None, repr=False)

    @property
    def objects(self) -> tuple[FoundObject, ...]:
        """The objects of thing classes, the surest centre first.

        Raises:
            DataError: The network tells no objects apart.
        """
        if self.panoptic is None:
            raise DataError("This model tells no objects apart: train one with --model.name PanopticDeepLab.")
        return self.panoptic.objects

    @cached_property
    def probs(self) -> np.ndarray:
        """The class probabilities, `(num_classes, H, W)` float32.

        They are many times larger than the mask: the network sees the image once more when they are first asked for.
        """
        if self._look_again is None:
            raise DataError(
                "This segmentation has left its network behind (it was pickled): ask for its probabilities before."
            )
        return self._look_again()

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Return the classes' colours laid over the image, and objects outlined and numbered, `(H, W, 3)` uint8."""
        table = self.labels.colour_table()
        painted = overlay(self.image, self.mask, table, opacity)
        if self.panoptic is None:
            return painted
        return outlines(painted, self.panoptic.classes, self.panoptic.numbers, table)

    def _repr_png_(self) -> bytes:
        """The overlay, as notebooks show it."""
        file = io.BytesIO()
        Image.fromarray(self.overlay()).save(file, "PNG")
        return file.getvalue()

    def shares(self) -> dict[str, float]:
        """Return the share of the image that each class found in it covers, largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=self.labels.num_classes)
        shares = {name: float(counts[index] / self.mask.size) for index, name in enumerate(self.labels.class_names)}
        return dict(sorted(((name, share) for name, share in shares.items() if share), key=lambda entry: -entry[1]))


class Segmenter:
    """A trained model that segments images of any size.

    What runs, as in `validate`, is a copy of the network whose batch norms are folded into its convolutions; it is made
    with the first image.

    Args:
        task: In eval mode, on its device.
        evaluation: How images are looked at unless `predict` is told otherwise.

    Attributes:
        labels: The classes.
        protocol: How images are segmented, in words.
        channels: Of the images that it takes in.
        pixel_range: The stored value that means 1.0 in them.
        things: Ids of the classes whose objects are told apart; none of a network that does not.
    """

    def __init__(self, task: SegmentationTask, evaluation: EvaluationOptions | None = None) -> None:
        self.task = task
        self.evaluation = evaluation or EvaluationOptions()
        description = task.description
        self.labels = LabelSet(
            tuple(description["class_names"]),
            tuple((red, green, blue) for red, green, blue in description["palette"]),
            description["ignore_index"],
        )
        self.channels, self.pixel_range = description["channels"], description["pixel_range"]
        self.things = () if task.objects is None else task.objects.things
        self.protocol = task.predictor(self.evaluation).protocol

    def predict(
        self,
        image: str | Path | Source | np.ndarray | Tensor | Image.Image,
        morphology: Morphology | None = None,
        **evaluation: Any,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: A file, or a slice of a volume such as `scan.nii.gz#17`; uint8 array `(H, W, 3)` RGB or `(H, W)`
                grey; uint8 tensor `(3, H, W)`; or a Pillow image, which is read as its file would be. For a model of
                other data, arrays `(H, W, C)` and tensors `(C, H, W)` with its channels and stored values.
            morphology: Post-processes the mask; it needs memory for all classes' probabilities.
            evaluation: For this image, fields of `EvaluationOptions`: `scales=(0.5, 1), flip=True, crf="v1"`.

        Raises:
            ConfigError: There is no such option, or it cannot be used.
            DataError: The file cannot be read, or the image is of another kind than the model's data.
        """
        with _named(image):
            stored = self._as_stored(image)
        options = EvaluationOptions.of({**vars(self.evaluation), **evaluation})
        predictor = self.task.predictor(options, self._folded)
        batch = self._batch(stored)
        with torch.inference_mode(), _named(image):
            mask = predictor.postprocess(batch, morphology or Morphology())
            panoptic = self._panoptic(predictor)

        protocol = ", ".join(filter(None, (predictor.protocol, str(morphology or ""))))
        return Segmentation(stored, mask, self.labels, protocol, panoptic, LookAgain(predictor, batch, image))

    def probs(self, image: str | Path | Source | np.ndarray | Tensor | Image.Image) -> np.ndarray:
        """Return the class probabilities of one image, `(C, H, W)` float32, at its own size.

        Args:
            image: As for `predict`.
        """
        with torch.inference_mode(), _named(image):
            predictor = self.task.predictor(self.evaluation, self._folded)
            return predictor.probs(self._batch(self._as_stored(image)))[0].cpu().numpy()

    def postprocess_probs(self, probs: np.ndarray, morphology: Morphology) -> np.ndarray:
        """Return the mask `(H, W)` that class probabilities `(C, H, W)` make, as `predict` would."""
        return self.task.predictor(self.evaluation).postprocess_probs(torch.from_numpy(probs)[None], morphology)

    def _panoptic(self, predictor: Predictor) -> PanopticImage | None:
        """Return the objects of the image that was just seen; post-processing does not change them."""
        if not isinstance(predictor, PanopticPredictor):
            return None
        return panoptic_image(predictor.panoptic()[0], self.labels.class_names)

    @cached_property
    def _folded(self) -> Network:
        """The network in the form that is run."""
        return self.task.folded()

    def _batch(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(self.task.device)

    def _as_stored(self, image: str | Path | Source | np.ndarray | Tensor | Image.Image) -> np.ndarray:
        """Return `(H, W, C)` uint8 or float32, as the data module of this model's training would."""
        if isinstance(image, str | Path | Source):
            return read_source(image, self.channels, self.pixel_range)
        if isinstance(image, Image.Image):
            return of_pillow(image, self.channels, self.pixel_range)
        is_rgb = self.channels == 3 and self.pixel_range == 255
        array = image.cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
        if isinstance(image, Tensor) and array.ndim == 3:
            array = array.transpose(1, 2, 0)
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3 if is_rgb else 1, axis=2)
        if array.ndim != 3 or array.shape[2] != self.channels or (array.dtype != np.uint8 and self.pixel_range == 255):
            kind = "uint8 values 0..255" if self.pixel_range == 255 else f"stored values 0..{self.pixel_range:g}"
            grey = " or (H, W)" if is_rgb or self.channels == 1 else ""
            raise DataError(
                f"Cannot segment an array of shape {array.shape} and type {array.dtype}: expected {kind}, "
                f"(H, W, {self.channels}){grey} for an array, ({self.channels}, H, W) for a tensor."
            )
        return as_declared(array, self.channels, self.pixel_range, "The array")


def _named(image: object) -> AbstractContextManager[None]:
    return of_image(image if isinstance(image, str | Path | Source) else "The image")


def load(
    path: str | Path, device: str | None = None, evaluation: EvaluationOptions | None = None, **model_options: Any
) -> Segmenter:
    """Load a trained model. Nothing but the checkpoint is needed, and nothing is downloaded.

    Args:
        path: A checkpoint, or a run (`runs/v3plus` or `runs/v3plus/version_0`), of which the best checkpoint is taken,
            or the last one before the first validation.
        device: Such as "cuda"; the GPU if there is one, else the CPU.
        evaluation: How images are looked at unless `predict` is told otherwise; once, whole, if not given.
        model_options: Options of the model to set otherwise than in training, such as `output_stride=8`.

    Raises:
        CheckpointError: There is no such checkpoint, or it does not fit the options.
        ConfigError: An option is unknown, or there is no such device.
    """
    chosen = chosen_device(device)
    path = resolve_checkpoint(path)
    checkpoint = read_checkpoint(path)
    task = load_task(checkpoint, path, **model_options)
    return Segmenter(task.to(chosen).eval(), evaluation)
