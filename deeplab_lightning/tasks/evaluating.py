"""Validation and test: images at their own sizes, through the predictor, to exact scores of the whole split."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from ..errors import ConfigError, DivergenceError, NotFiniteError, of_image
from ..inference import EvaluationOptions
from ..inference.panoptic import PanopticPredictor
from ..inference.predictor import FULL_PRECISION, Predictor, bytes_per_pixel
from ..layers import Normalise
from ..losses import cross_entropy_of_images
from ..metrics.by_image import ByImage
from ..metrics.deciding import Decision
from ..metrics.segmentation import SegmentationScores
from ..metrics.threshold import BestThreshold
from ..models import Network
from ..models.batch_norm_folding import fold_batch_norms
from ..types import Batch, DataDescription
from .depth import DepthTask
from .description import check_batch, check_classes_of_data, check_images
from .objects import ObjectTask
from .side_task import Seen, SideTask, maps_of

PROBE_SIDE = 65
"""Of the image on which a folded network is compared with its original."""


class EvaluatedTask(LightningModule):
    """The half of a task that evaluates its network.

    Args:
        description: Of the data.
        model: The network.
        depth: Learns depth, if that is wanted.
        objects: Tells objects apart, where the network does.

    Attributes:
        normalise: From stored pixels to the network's input.
        ignore_index: Label that is not scored.
        evaluation: Scores class maps.
        best_threshold: Finds the threshold of a binary network.
        threshold: Of a binary network's second class, found in validation.
    """

    _range_is_known = False
    """Whether a batch has shown that its images hold stored values."""
    evaluation_options = EvaluationOptions()
    """How validation and test look at images. No hyper-parameter: it belongs to an evaluation, not to the weights."""
    weights_from = "this network"
    """The checkpoint that the weights are from, for messages."""
    _bytes_per_pixel = 0.0
    """Of memory, for a pixel that the folded network sees; 0 before it was folded."""
    protocol = ""
    """How the scores at hand were made, in words."""

    def __init__(
        self, description: DataDescription, model: Network, depth: DepthTask | None, objects: ObjectTask | None
    ) -> None:
        super().__init__()
        self.description, self.ignore_index = description, description["ignore_index"]
        self.normalise = Normalise(description["mean"], description["std"], description["pixel_range"])
        self.model, self.depth, self.objects = model, depth, objects
        self.evaluation = SegmentationScores(description["class_names"], self.ignore_index)
        self.best_threshold = BestThreshold(self.ignore_index) if model.options.binary else None
        self.threshold: float | None = None
        self._predictor: Predictor | None = None  # of the evaluation at hand

    @property
    def side_tasks(self) -> list[SideTask]:
        """What is learned and scored beside the classes."""
        return [side for side in (self.depth, self.objects) if side is not None]

    @property
    def leading_score(self) -> str:
        """Name of the score by which validations are compared: PQ where objects are told apart."""
        return "val/mIoU" if self.objects is None else f"val/{self.objects.prefix}PQ"

    @property
    def decision(self) -> Decision:
        """How scores become a class: in use by the threshold that validation found, while training always by 0.5.

        The scores that choose the best checkpoint are then comparable, and what is said of them is what was done.
        """
        return Decision(None if self.trainer_is_fitting else self.threshold)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits `(B, num_classes, H, W)` of stored images `(B, C, H, W)`, such as uint8 RGB."""
        return cast(Tensor, self.model(self.normalise(image)))

    def predictor(self, options: EvaluationOptions | None = None, network: Network | None = None) -> Predictor:
        """Return what turns stored images into class maps with this network.

        Args:
            options: Scales, flip, windows, CRF; those of validation and test if not given.
            network: `folded()`, to run in place of `model`.
        """
        model = self.model if network is None else network
        looking: dict[str, Any] = {
            "output_stride": model.output_stride,
            "align_corners": model.align_corners,
            "side_remainder": model.side_remainder,
            "decision": self.decision,
            "weights": self._weights_are_of,
            "options": options or self.evaluation_options,
            "inner_scales": model.input_scales,
            "precision": FULL_PRECISION if self._trainer is None else str(self.trainer.precision),
            "bytes_per_pixel": self._bytes_per_pixel,
        }
        if self.objects is None:
            return Predictor(model.coarse_logits, self.normalise, **looking)
        return PanopticPredictor(
            model.coarse_logits,
            self.normalise,
            all_maps=model.all_maps,
            things=self.objects.things,
            ignore_index=self.ignore_index,
            **looking,
        )

    def folded(self) -> Network:
        """Return the network as evaluation and use run it: faster, and the same but for rounding.

        It is a copy of the weights of now (or the network itself, see `fold_batch_norms`); call in eval mode.
        """
        of_network = next(self.model.parameters())
        shape = (1, self.description["channels"], PROBE_SIDE, PROBE_SIDE)
        probe = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(of_network)
        with torch.autocast(of_network.device.type, enabled=False):
            folded = fold_batch_norms(self.model, probe)
            self._bytes_per_pixel = bytes_per_pixel(folded, folded.all_maps, probe)
            return folded

    def depth_predictor(self) -> Predictor:
        """Return what turns stored images into depth: its `bands` yield `(B, 1, rows, W)`, in the data's unit.

        Raises:
            ConfigError: There is no depth head.
        """
        model, depth = self.model, self.depth
        if depth is None:
            raise ConfigError("This model has no depth head: train one with --loss.depth.weight 0.1.")

        def network(image: Tensor) -> Tensor:
            model.coarse_logits(image)
            return depth.depth()

        return Predictor(
            network,
            self.normalise,
            output_stride=model.output_stride,
            align_corners=model.align_corners,
            side_remainder=model.side_remainder,
            weights=self._weights_are_of,
        )

    @property
    def _weights_are_of(self) -> str:
        return f"step {self.global_step}" if self.trainer_is_fitting else self.weights_from

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Any]]:
        """Evaluate a batch of images; returns their class maps as `pred`, and what side tasks give back."""
        try:
            return self._evaluate(batch)
        except NotFiniteError as error:
            if not self.trainer_is_fitting or self.global_step == 0:  # the weights came so
                raise
            raise DivergenceError(
                f"Training went wrong at step {self.global_step}: {error} Likely cause: the learning rate is too high "
                f"for this network and batch. Set a lower --optimizer.lr, more --optimizer.warmup_steps, or "
                f"--trainer.gradient_clip_val 1.",
                kind="not_finite",
            ) from error

    test_step = validation_step

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Segment a batch of whole images; returns their class maps `(H, W)` uint8 as `pred`, and `sample_id`."""
        predictor = self._predictor or self.predictor()
        for image in batch["image"]:
            self._range_is_known = self._range_is_known or check_images(image, self.description)
        pred = [predictor.predict(image[None])[0] for image in batch["image"]]
        return {"pred": pred, "sample_id": batch.get("sample_id")}

    def on_predict_epoch_start(self) -> None:
        """Fold the network as it is now, where a process holds it whole."""
        whole = isinstance(self.trainer.strategy, SingleDeviceStrategy | DDPStrategy)
        self._predictor = self.predictor(network=self.folded() if whole else None)

    def on_predict_epoch_end(self) -> None:
        """Let go of the folded network."""
        self._predictor = None

    def on_validation_epoch_start(self) -> None:
        """Start counting, with the same network in all processes, folded as it is now where a process holds it whole.

        Batch norms' statistics drift apart in training: `DistributedDataParallel` shares them at most forward passes,
        but not while gradients are accumulated, and other strategies never do. The first process's are those that
        checkpoints hold.
        """
        loaders = self.trainer.test_dataloaders if self.trainer.testing else self.trainer.val_dataloaders
        check_classes_of_data(len(self.description["class_names"]), None, loaders)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, src=0)
        for _, metric in self._metrics():
            metric.reset()
        self.on_predict_epoch_start()
        assert self._predictor is not None
        self.protocol = self._predictor.protocol

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the split."""
        stage = "test" if self.trainer.testing else "val"
        values: dict[str, float] = {}
        for prefix, metric in self._metrics():
            metric.sync()  # until the next evaluation: callbacks read it
            values |= {f"{stage}/{prefix}{name}": value for name, value in metric.values().items()}
        if self.trainer_is_fitting:
            self.threshold = None if self.best_threshold is None else self.best_threshold.best().value
        exact = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.log_dict({key: torch.tensor(value, dtype=exact) for key, value in values.items()})
        self._predictor = None

    on_test_epoch_end = on_validation_epoch_end

    def _evaluate(self, batch: Batch) -> dict[str, list[Any]]:
        """Predict images at their own sizes, equal ones together, and count them."""
        predictor = self._predictor or self.predictor()
        preds: list[Tensor] = []
        beside: dict[str, list[Any]] = defaultdict(list)
        losses: list[float] = []
        images, masks = list(batch["image"]), list(batch["mask"])
        while len(preds) < len(images):
            first = len(preds)
            last = first + 1
            while last < len(images) and images[last].shape == images[first].shape:
                last += 1
            image, mask = torch.stack(images[first:last]), torch.stack(masks[first:last])
            self.check_batch(image, mask)
            pred = torch.empty_like(mask, dtype=torch.uint8)
            loss_sums: list[Tensor] = []
            foreground: list[Tensor] = []
            sample_ids = batch["sample_id"][first:last]
            with of_image(", ".join(sample_ids)):
                for rows, logits in predictor.bands(image):
                    pred[:, rows] = predictor.decide(logits)
                    if self.best_threshold is not None:
                        foreground.append((logits[:, 1] - logits[:, 0]).sigmoid())
                    loss_sums.append(cross_entropy_of_images(logits, mask[:, rows], self.ignore_index))
            preds.extend(pred)
            losses.extend(torch.stack(loss_sums).cpu().double().sum(0).tolist())
            if self.best_threshold is not None:
                self.best_threshold.update(torch.cat(foreground, dim=1), mask, sample_ids)
            for side in self.side_tasks:
                maps = maps_of(batch, side.needs)[first:last]
                with of_image(", ".join(sample_ids)):
                    found = side.evaluate(self, Seen(predictor, image, pred, masks[first:last], maps, sample_ids))
                for name, values in found.items():
                    beside[name] += values
        self.evaluation.update(preds, masks, batch["sample_id"], losses)
        return {"pred": preds, **beside}

    def check_batch(self, images: Tensor, masks: Tensor) -> None:
        """Refuse what own loaders may deliver and what would train without a word; a GPU is waited for once."""
        if not self._range_is_known or masks.device.type == "cpu":
            self._range_is_known = check_batch(images, masks, self.description)

    @property
    def trainer_is_fitting(self) -> bool:
        """Whether this is a validation amid training."""
        return self._trainer is not None and self.trainer.state.fn == "fit"

    def _metrics(self) -> list[tuple[str, ByImage]]:
        """Return what counts, and how its names begin in the log."""
        metrics: list[tuple[str, ByImage]] = [("", self.evaluation)]
        metrics += [] if self.best_threshold is None else [("", self.best_threshold)]
        return metrics + [(side.prefix, metric) for side in self.side_tasks for metric in side.metrics]

    def logged_in_training(self) -> list[str]:
        """Return the names of what is logged while training, for callbacks that watch it."""
        scores = [f"val/{prefix}{name}" for prefix, metric in self._metrics() for name in metric.values()]
        return ["train/loss", "lr", "val/loss", *scores]
