"""Validation and test: pictures at their own sizes, through the predictor, to exact scores of the whole split."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..inference import EvaluationOptions, Predictor
from ..layers import Normalise
from ..losses import cross_entropy_of_pictures
from ..metrics.segmentation import SegmentationEvaluation
from ..types import Batch
from .depth import DepthHead, depth_of
from .further_scores import FurtherScores
from .processes import share_buffers

Stage = Literal["val", "test"]


class EvaluatedTask(LightningModule):
    """The half of a task that evaluates its network; what is declared here, `SegmentationTask` makes.

    Attributes:
        model: The network.
        normalise: From stored pixels to its input.
        ignore_index: Label that is not scored.
        evaluation: Counts class maps.
        depth: The second head, if there is one.
        threshold: Of a binary network's second class, found in validation.
    """

    model: nn.Module
    normalise: Normalise
    ignore_index: int
    evaluation: SegmentationEvaluation
    depth: DepthHead | None
    threshold: float | None
    _further_scores: FurtherScores
    evaluation_options = EvaluationOptions()
    """How validation and test look at pictures. No hyper-parameter: it belongs to an evaluation, not to the weights."""

    def predictor(self, options: EvaluationOptions | None = None) -> Predictor:
        """Return what turns stored pictures into class maps with this network.

        Args:
            options: Scales, flip, windows, CRF; those of validation and test if not given.
        """
        model: Any = self.model
        return Predictor(
            model.coarse_logits,
            self.normalise,
            **_grid(model),
            threshold=self.threshold,
            options=options or self.evaluation_options,
            inner_scales=getattr(model, "scales", (1.0,)),
        )

    def depth_predictor(self) -> Predictor:
        """Return what turns stored pictures into depth: its `bands` yield `(B, 1, rows, W)`, in the data's unit.

        Raises:
            ConfigError: There is no depth head.
        """
        model, depth = cast(Any, self.model), self.depth
        if depth is None:
            raise ConfigError("This model has no depth head: train one with --model.depth_weight 0.1.")

        def network(image: Tensor) -> Tensor:
            model.coarse_logits(image)
            return depth.depth()

        return Predictor(network, self.normalise, **_grid(model))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Tensor]]:
        """Evaluate a batch of validation pictures; returns their class maps as `pred`."""
        return {"pred": self._evaluate(batch)}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Tensor]]:
        """Evaluate a batch of test pictures; returns their class maps as `pred`."""
        return {"pred": self._evaluate(batch)}

    def on_validation_epoch_start(self) -> None:
        """Start counting, with the same network in all processes."""
        share_buffers(self)
        self._start_counting()

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_counting()

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation split."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test split."""
        self._log_scores("test")

    def _evaluate(self, batch: Batch) -> list[Tensor]:
        """Predict pictures at their own sizes, equal ones together, and count them."""
        predictor = self.predictor()
        if self.trainer_is_fitting:
            predictor.threshold = None  # the scores that choose the best checkpoint have one threshold: 0.5
        preds: list[Tensor] = []
        losses: list[float] = []
        images, masks = list(batch["image"]), list(batch["mask"])
        while len(preds) < len(images):
            first = len(preds)
            last = first + 1
            while last < len(images) and images[last].shape == images[first].shape:
                last += 1
            image, mask = torch.stack(images[first:last]), torch.stack(masks[first:last])
            pred = torch.empty_like(mask, dtype=torch.uint8)
            loss_sums: list[Tensor] = []
            for rows, logits in predictor.bands(image):
                pred[:, rows] = predictor.decide(logits)
                self._further_scores.add_logits(logits, mask[:, rows], batch["sample_id"][first:last])
                loss_sums.append(cross_entropy_of_pictures(logits, mask[:, rows], self.ignore_index))
            preds.extend(pred)
            losses.extend(torch.stack(loss_sums).cpu().double().sum(0).tolist())  # the only wait for the device
            if self.depth is not None:
                depth = torch.cat([band for _, band in self.depth_predictor().bands(image)], dim=2)[:, 0]
                self._further_scores.add_depth(depth, depth_of(batch)[first:last], batch["sample_id"][first:last])
        for pred, mask, sample_id, loss in zip(preds, masks, batch["sample_id"], losses, strict=True):
            self.evaluation.update(pred, mask, sample_id, loss)
        return preds

    @property
    def trainer_is_fitting(self) -> bool:
        """Whether this is a validation amid training."""
        return self._trainer is not None and self.trainer.state.fn == "fit"

    def _start_counting(self) -> None:
        self.evaluation.reset()
        self._further_scores.reset()

    def _log_scores(self, stage: Stage) -> None:
        self.evaluation.gather()
        scores = self.evaluation.scores()
        values = {
            f"{stage}/loss": self.evaluation.loss(),
            f"{stage}/mIoU": scores.mIoU,
            f"{stage}/pixel_acc": scores.pixel_acc,
            f"{stage}/mean_acc": scores.mean_acc,
            f"{stage}/fwIoU": scores.fwIoU,
            f"{stage}/mean_dice": scores.mean_dice,
        }
        values |= {f"{stage}/IoU/{name}": iou for name, iou in zip(scores.class_names, scores.iou, strict=True)}
        self._further_scores.gather()
        values |= {f"{stage}/{name}": value for name, value in self._further_scores.values().items()}
        if self.trainer_is_fitting:
            self.threshold = self._further_scores.best_threshold()
        exact = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.log_dict({key: torch.tensor(value, dtype=exact) for key, value in values.items()})


def _grid(model: Any) -> dict[str, Any]:
    """Return how a network's logits lie on its pictures, as `Predictor` takes it."""
    return {
        "output_stride": model.output_stride,
        "align_corners": model.align_corners,
        "side_remainder": getattr(model, "side_remainder", 1),
    }
