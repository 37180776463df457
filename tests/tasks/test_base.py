"""The one task: exact scores whatever the batches, labels at their own size, and settings that contradict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.errors import CheckpointError, ConfigError, DataError
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.labels import LabelSet, voc_palette
from deeplab_lightning.layers.norms import batch_norms
from deeplab_lightning.layers.resize import BandedResize
from deeplab_lightning.models import Network
from deeplab_lightning.tasks import DeepLabV3PlusTask, SegmentationTask
from deeplab_lightning.tasks.description import describe_by_hand
from deeplab_lightning.types import Batch, DataDescription

NUM_CLASSES = 4
VOID = 255
SIZES = [(33, 33), (33, 33), (40, 37), (33, 33), (21, 50), (21, 50), (65, 33)]
SMALL: dict[str, Any] = {"backbone": "mobilenetv2_035", "aspp_channels": 8, "decoder_channels": 8}

DESCRIPTION: DataDescription = {
    "class_names": ["sky", "road", "car", "tree"],
    "palette": [list(colour) for colour in voc_palette(NUM_CLASSES)],
    "ignore_index": VOID,
    "channels": 3,
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
    "pixel_range": 1.0,
}
"""Normalising by it changes nothing: with whole-number weights the sums are exact, in whatever order they are taken."""


class SmallNetwork(Network):
    """Logits at a quarter of the size by one convolution of whole numbers."""

    output_stride = 16

    def build(self, num_classes: int, in_channels: int) -> None:
        self.backbone = nn.Conv2d(in_channels, num_classes, 5, stride=4, padding=2, bias=False)
        self.classifier = nn.Conv2d(num_classes, num_classes, 1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randint(-3, 4, parameter.shape, generator=generator).float() / 64

    def coarse_logits(self, image: Tensor) -> Tensor:
        return self.classifier(self.backbone(image))


class SmallTask(SegmentationTask):
    network_class = SmallNetwork


def images() -> list[tuple[Tensor, Tensor, str]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for index, size in enumerate(SIZES):
        image = torch.randint(0, 16, (3, *size), generator=generator).to(torch.uint8)
        mask = torch.randint(0, NUM_CLASSES, size, generator=generator).to(torch.uint8)
        mask[torch.rand(size, generator=generator) < 0.2 + 0.1 * index] = VOID
        found.append((image, mask, f"image-{index}"))
    return found


def batches(batch_size: int, order: list[int] | None = None) -> list[Batch]:
    chosen = [images()[index] for index in order or range(len(SIZES))]
    return [
        {
            "image": [image for image, _, _ in chosen[start : start + batch_size]],
            "mask": [mask for _, mask, _ in chosen[start : start + batch_size]],
            "sample_id": [sample_id for _, _, sample_id in chosen[start : start + batch_size]],
        }
        for start in range(0, len(chosen), batch_size)
    ]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="lightning.pytorch")


def trainer(**options: Any) -> Trainer:
    quiet: dict[str, Any] = dict.fromkeys(
        ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False
    )
    return Trainer(accelerator="cpu", devices=1, **quiet, **options)


def evaluate(task: SegmentationTask, loader: list[Batch], stage: str = "validate") -> tuple[dict[str, float], Any]:
    """Return the logged scores and the confusion matrix."""
    scores = getattr(trainer(), stage)(task, DataLoader(loader, batch_size=None), verbose=False)[0]
    return scores, task.evaluation.total()


# --- evaluation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [2, 3, 7])
@pytest.mark.parametrize("order", [None, [2, 0, 4, 1, 6, 5, 3]])
def test_scores_depend_neither_on_the_batches_nor_on_the_order(batch_size: int, order: list[int] | None) -> None:
    expected_scores, expected_matrix = evaluate(SmallTask(description=DESCRIPTION), batches(1))
    scores, matrix = evaluate(SmallTask(description=DESCRIPTION), batches(batch_size, order))
    assert np.array_equal(matrix, expected_matrix)
    assert scores.keys() == expected_scores.keys()
    for key, value in expected_scores.items():
        assert scores[key] == pytest.approx(value, rel=1e-6 if key.endswith("loss") else 0), key


@pytest.mark.parametrize(("stage", "prefix"), [("validate", "val"), ("test", "test")])
def test_scores_and_loss_equal_a_direct_computation(stage: str, prefix: str) -> None:
    """Padding to 16 k + 1, logits at the labels' size, one matrix, loss per labelled pixel of the whole split."""
    network = SmallNetwork(NUM_CLASSES)
    matrix = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    loss_sum = torch.zeros((), dtype=torch.float64)
    for image, mask, _ in images():
        height, width = mask.shape
        padded = F.pad(image[None].float(), (0, -(width - 1) % 16, 0, -(height - 1) % 16))
        logits = network(padded)[..., :height, :width].detach().double()
        labelled = mask != VOID
        loss_sum += F.cross_entropy(logits, mask[None].long(), ignore_index=VOID, reduction="sum")
        np.add.at(matrix, (mask[labelled].numpy(), logits[0].argmax(0)[labelled].numpy()), 1)
    scores, counted = evaluate(SmallTask(description=DESCRIPTION), batches(3), stage)
    hit = matrix.diagonal()
    iou = hit / (matrix.sum(0) + matrix.sum(1) - hit)
    assert np.abs(counted - matrix).sum() <= 4  # ties between classes within rounding
    assert scores[f"{prefix}/loss"] == pytest.approx(float(loss_sum) / matrix.sum(), rel=1e-5)
    assert scores[f"{prefix}/mIoU"] == pytest.approx(iou.mean(), abs=2e-3)
    assert scores[f"{prefix}/pixel_acc"] == pytest.approx(hit.sum() / matrix.sum(), abs=2e-3)
    for name, value in zip(DESCRIPTION["class_names"], iou, strict=True):
        assert scores[f"{prefix}/IoU/{name}"] == pytest.approx(value, abs=2e-3)


def test_labels_are_never_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every labelled pixel counts once, predictions have the labels' sizes, and only logits are interpolated."""
    interpolate, banded, seen = F.interpolate, BandedResize.band, []

    def watched(values: Tensor, *arguments: Any, **options: Any) -> Tensor:
        seen.append((values.shape[1], values.dtype))
        return interpolate(values, *arguments, **options)

    def watched_band(self: BandedResize, values: Tensor, rows: slice) -> Tensor:
        seen.append((values.shape[1], values.dtype))
        return banded(self, values, rows)

    monkeypatch.setattr(F, "interpolate", watched)
    monkeypatch.setattr(BandedResize, "band", watched_band)
    task = SmallTask(description=DESCRIPTION).eval()
    with torch.no_grad():
        preds = task.validation_step(batches(7)[0], 0)["pred"]
    assert [tuple(pred.shape) for pred in preds] == SIZES
    assert set(seen) == {(NUM_CLASSES, torch.float32)}
    labelled = sum(int((mask != VOID).sum()) for _, mask, _ in images())
    assert task.evaluation.total().sum() == labelled


def test_a_repeated_evaluation_starts_anew() -> None:
    """The second one sees other weights, and nothing of the first."""
    task, fresh = SmallTask(description=DESCRIPTION), SmallTask(description=DESCRIPTION)
    before, _ = evaluate(task, batches(2))
    for each in (task, fresh):
        each.model.classifier.weight.data.neg_()
    after, matrix = evaluate(task, batches(2))
    assert after["val/mIoU"] != before["val/mIoU"]
    expected, expected_matrix = evaluate(fresh, batches(2))
    assert after == expected
    assert np.array_equal(matrix, expected_matrix)


def test_evaluation_runs_the_folded_network(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    task, seen = DeepLabV3PlusTask(description=DESCRIPTION, **SMALL), []
    predict = Predictor.bands

    def watched(self: Predictor, image: Tensor) -> Any:
        seen.append(len(batch_norms(self.network.__self__)))  # type: ignore[attr-defined]
        return predict(self, image)

    monkeypatch.setattr(Predictor, "bands", watched)
    evaluate(task, batches(2))
    assert seen
    assert set(seen) == {0}
    assert batch_norms(task.model)
    assert task._predictor is None  # the copy is not kept


def test_a_split_of_void_is_no_crash() -> None:
    batch = batches(2)[0]
    batch["mask"] = [torch.full_like(mask, VOID) for mask in batch["mask"]]
    scores, _ = evaluate(SmallTask(description=DESCRIPTION), [batch])
    assert scores["val/loss"] == 0
    assert np.isnan(scores["val/mIoU"])


def test_the_real_network_agrees_with_itself_image_by_image() -> None:
    torch.manual_seed(0)
    task = DeepLabV3PlusTask(num_classes=NUM_CLASSES, **SMALL).eval()
    with torch.no_grad():
        together = task.validation_step(batches(7)[0], 0)["pred"]
        alone = [task.predictor().predict(image[None])[0] for image, _, _ in images()]
    agreeing = sum(int((a == b).sum()) for a, b in zip(together, alone, strict=True))
    assert agreeing / sum(pred.numel() for pred in alone) > 0.999


# --- training -------------------------------------------------------------------------------------------------------


def training_batch() -> Batch:
    """Two images with stripes of the four classes, each brighter than the last; the first image is all void."""
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(33) * NUM_CLASSES // 33).to(torch.uint8).expand(2, 33, 33).clone()
    image = (60 * mask.unsqueeze(1) + torch.randint(0, 60, (2, 3, 33, 33), generator=generator)).to(torch.uint8)
    mask[0] = VOID
    return {"image": image, "mask": mask, "sample_id": ["a", "b"]}


class Notes(Callback):
    """Writes down what every training step used and gave."""

    def __init__(self) -> None:
        self.learning_rates: list[list[float]] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.learning_rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])
        self.losses.append(float(outputs["loss"]))


def fit(task: SegmentationTask, steps: int) -> Notes:
    notes = Notes()
    trainer(max_steps=steps, callbacks=[notes]).fit(task, DataLoader([training_batch()] * steps, batch_size=None))
    return notes


def test_loss_is_that_of_the_labelled_pixels_at_full_size() -> None:
    task, batch = SmallTask(description=DESCRIPTION), training_batch()
    assert isinstance(batch["image"], Tensor)
    assert isinstance(batch["mask"], Tensor)
    logits = SmallNetwork(NUM_CLASSES)(batch["image"].float())
    expected = F.cross_entropy(logits[1:], batch["mask"][1:].long())  # the first image is all void
    loss = task.loss(task.model.training_maps(task.normalise(batch["image"])), batch["mask"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_learning_rates_follow_poly_with_the_heads_multiplier() -> None:
    optimizer = {"lr": 0.01, "head_lr_multiplier": 10, "warmup_steps": 1, "momentum": 0.8}
    task = DeepLabV3PlusTask(num_classes=NUM_CLASSES, optimizer=optimizer, **SMALL)
    notes = fit(task, 4)
    factors = [(1 - step / 4) ** 0.9 for step in range(5)]  # noted behind the scheduler's step
    for step, rates in enumerate(notes.learning_rates, start=1):
        assert rates == pytest.approx([0.01 * factors[step]] * 2 + [0.1 * factors[step]] * 3)
    groups = task.trainer.optimizers[0].param_groups
    assert [group["momentum"] for group in groups] == [0.8] * 5
    decay = {group["name"]: group["weight_decay"] for group in groups}
    assert decay == {"backbone/kernel": 1e-4, "backbone/other": 0, "head/bias": 0, "head/kernel": 1e-4, "head/other": 0}
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in task.parameters())


def test_step_schedule_and_bias_multiplier() -> None:
    optimizer: dict[str, Any] = {"lr": 0.01, "head_lr_multiplier": 10, "bias_lr_multiplier": 2}
    optimizer |= {"schedule": "step", "step_every": 2, "step_gamma": 0.5}
    task = DeepLabV3PlusTask(num_classes=NUM_CLASSES, optimizer=optimizer, **SMALL)
    rates = fit(task, 4).learning_rates  # noted behind the scheduler's step
    names = [group["name"] for group in task.trainer.optimizers[0].param_groups]
    base = {"backbone/kernel": 0.01, "backbone/other": 0.01, "head/bias": 0.2, "head/kernel": 0.1, "head/other": 0.1}
    for step, factor in enumerate([1, 0.5, 0.5, 0.25]):
        assert dict(zip(names, rates[step], strict=True)) == pytest.approx(
            {name: factor * rate for name, rate in base.items()}
        )


def test_adamw_and_cosine() -> None:
    optimizer = {"name": "adamw", "schedule": "cosine", "lr": 0.01}
    task = DeepLabV3PlusTask(num_classes=NUM_CLASSES, optimizer=optimizer, **SMALL)
    rates = fit(task, 4).learning_rates
    assert isinstance(task.trainer.optimizers[0], torch.optim.AdamW)
    assert [step[0] for step in rates] == pytest.approx([0.01 * (0.5 + 0.5**1.5), 0.005, 0.01 * (0.5 - 0.5**1.5), 0])
    decay = {group["name"]: group["weight_decay"] for group in task.trainer.optimizers[0].param_groups}
    assert decay["head/kernel"] == 1e-4
    assert decay["head/bias"] == 0


def test_frozen_batch_norms_keep_statistics_and_affine() -> None:
    torch.manual_seed(0)
    task = DeepLabV3PlusTask(num_classes=NUM_CLASSES, optimizer={"lr": 0.1}, freeze_batch_norm=True, **SMALL)
    before = {key: value.clone() for key, value in task.state_dict().items()}
    fit(task, 2)
    norms = [name for name, module in task.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) > 20
    changed = {key for key, value in task.state_dict().items() if not torch.equal(value, before[key])}
    assert not [key for key in changed if key.rsplit(".", 1)[0] in norms]
    assert "model.classifier.weight" in changed
    assert "model.backbone.features.conv_stem.weight" in changed


def test_a_second_stage_starts_from_the_weights_of_the_first(tmp_path: Path) -> None:
    """At another output stride and with frozen batch norms, as v3 is trained."""
    torch.manual_seed(0)
    first = DeepLabV3PlusTask(num_classes=NUM_CLASSES, optimizer={"lr": 0.1}, **SMALL)
    run = trainer(max_steps=1)
    run.fit(first, DataLoader([training_batch()], batch_size=None))
    run.save_checkpoint(tmp_path / "first.ckpt")
    options: dict[str, Any] = {"output_stride": 8, "freeze_batch_norm": True, **SMALL}
    second = DeepLabV3PlusTask(
        num_classes=NUM_CLASSES,
        optimizer={"lr": 0.0, "weight_decay": 0.0},
        weights=str(tmp_path / "first.ckpt"),
        **options,
    )
    fit(second, 1)
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key
    with pytest.raises(CheckpointError, match=r"second\.ckpt"):
        fit(DeepLabV3PlusTask(num_classes=NUM_CLASSES, weights=str(tmp_path / "second.ckpt"), **SMALL), 1)


def test_it_learns_a_batch_by_heart() -> None:
    """Forty steps bring seeds 0 to 2 to a tenth of where they begin, or a sixth; half is asked for."""
    torch.manual_seed(0)
    wide: dict[str, Any] = {**SMALL, "aspp_channels": 32, "decoder_channels": 32}
    notes = fit(DeepLabV3PlusTask(num_classes=NUM_CLASSES, optimizer={"lr": 0.1}, **wide), 40)
    assert notes.losses[0] == pytest.approx(np.log(NUM_CLASSES), rel=0.25)
    assert notes.losses[-1] < 0.5 * notes.losses[0]
    assert all(np.isfinite(notes.losses))


# --- settings -------------------------------------------------------------------------------------------------------


def test_described_by_a_datamodule_or_by_hand() -> None:
    assert SmallTask(description=DESCRIPTION).num_classes == 4
    task = SmallTask(class_names=["a", "b"], ignore_index=7)
    assert (task.num_classes, task.ignore_index) == (2, 7)
    assert task.description["class_names"] == ["a", "b"]
    assert describe_by_hand(3, None, None)["class_names"] == ["class_0", "class_1", "class_2"]
    assert describe_by_hand(3, None, None)["ignore_index"] == 255
    assert len(describe_by_hand(3, None, None)["palette"]) == 3


def test_classes_must_be_known() -> None:
    with pytest.raises(ConfigError, match=r"number of classes is not known.*num_classes.*describe\(\)"):
        SmallTask()


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_classes is 3, but the data has 2"):
        SmallTask(num_classes=3, class_names=["a", "b"])
    for given in ({"num_classes": 99}, {"ignore_index": 7}, {"class_names": ["cat"]}):
        with pytest.raises(ConfigError, match=r"but the data has"):
            SmallTask(description=DESCRIPTION, **given)


@pytest.mark.parametrize("given", [{"num_classes": 0}, {"class_names": []}, {"num_classes": 3, "ignore_index": 2}])
def test_impossible_classes_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"num_classes is 0; expected 1|at least one class|is also the id of class"):
        SmallTask(**given)


def test_a_task_without_a_network_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="which network to train"):
        SegmentationTask(num_classes=2)
    assert SegmentationTask(num_classes=2, network="EncoderDecoder", base_width=4).model.output_stride == 8


def test_checkpoints_say_which_task_they_are_of() -> None:
    checkpoint: dict[str, Any] = {}
    SmallTask(description=DESCRIPTION).on_save_checkpoint(checkpoint)
    assert checkpoint["deeplab_lightning"]["task"] == f"{__name__}.SmallTask"
    facts = {"task", "version", "new_layers", "trainer", "processes", "seed", "evaluation"}
    assert set(checkpoint["deeplab_lightning"]) == facts


def test_channels_last_is_an_option() -> None:
    for channels_last in (True, False):
        model = DeepLabV3PlusTask(num_classes=2, channels_last=channels_last, **SMALL).model
        wide = next(p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1)
        assert wide.is_contiguous(memory_format=torch.channels_last) == channels_last


# --- losses ---------------------------------------------------------------------------------------------------------


def test_losses_by_name_and_weight() -> None:
    batch = training_batch()
    assert isinstance(batch["image"], Tensor)
    assert isinstance(batch["mask"], Tensor)

    def loss(**options: Any) -> float:
        task = SmallTask(description=DESCRIPTION, **options)
        return task.loss(task.model.training_maps(task.normalise(batch["image"])), batch["mask"]).item()

    both = loss(loss={"cross_entropy": {"weight": 0.5}, "dice": {"weight": 2.0}})
    assert both == pytest.approx(0.5 * loss() + 2 * loss(loss={"cross_entropy": None, "dice": {}}), rel=1e-5)
    assert loss(loss={"cross_entropy": None, "focal": {"gamma": 0.0}}) == pytest.approx(loss(), rel=1e-5)
    assert loss(loss={"cross_entropy": {"label_smoothing": 0.2}}) != pytest.approx(loss(), rel=1e-3)
    with pytest.raises(ConfigError, match="Did you mean 'lovasz'"):
        loss(loss={"lovas": {}})


def test_class_weights_are_checked_and_used() -> None:
    batch = training_batch()
    assert isinstance(batch["image"], Tensor)
    assert isinstance(batch["mask"], Tensor)
    task = SmallTask(description=DESCRIPTION, loss={"cross_entropy": {"class_weights": [1.0, 0.0, 0.0, 0.0]}})
    logits = SmallNetwork(NUM_CLASSES)(batch["image"].float())
    only = batch["mask"].long() == 0
    expected = F.cross_entropy(logits, batch["mask"].long().where(only, VOID), ignore_index=VOID)
    assert task.loss(task.model.training_maps(task.normalise(batch["image"])), batch["mask"]).item() == pytest.approx(
        expected.item(), rel=1e-5
    )
    for wrong in ([1.0, 2.0], [1.0, 1.0, 1.0, -1.0]):
        with pytest.raises(ConfigError, match=r"the data has 4 classes|is \(1.0, 1.0, 1.0, -1.0\); expected 0 or more"):
            SmallTask(description=DESCRIPTION, loss={"cross_entropy": {"class_weights": wrong}})
    with pytest.raises(ConfigError, match="needs a datamodule"):
        fit(DeepLabV3PlusTask(num_classes=NUM_CLASSES, loss={"cross_entropy": {"class_weights": "enet"}}, **SMALL), 1)


# --- own loaders ----------------------------------------------------------------------------------------------------


class Own(torch.utils.data.Dataset[Any]):
    """What a user's own loader delivers."""

    def __init__(self, image: Tensor, labels: int = NUM_CLASSES, classes: int | None = None) -> None:
        self.image, self.highest = image, labels - 1
        if classes is not None:
            self.labels = LabelSet(tuple(f"class {index}" for index in range(classes)), voc_palette(classes))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        mask = torch.zeros(33, 33, dtype=torch.uint8)
        mask[index] = self.highest
        mask[:, 0] = VOID
        return {"image": self.image, "mask": mask, "sample_id": f"{index}"}


def bytes_task() -> SmallTask:
    return SmallTask({**DESCRIPTION, "pixel_range": 255.0})


def run_own(dataset: Own, stage: str, task: SmallTask | None = None) -> None:
    loader = DataLoader(dataset, batch_size=2)
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    if stage in ("fit", "predict"):
        getattr(trainer, stage)(task or bytes_task(), loader)
    else:
        getattr(trainer, stage)(task or bytes_task(), loader, verbose=False)


STORED = torch.randint(0, 256, (3, 33, 33), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_images_that_were_divided_or_normalised_already_are_refused(stage: str) -> None:
    for image in (STORED / 255, STORED / 255 * 4 - 2, (STORED / 255).double()):
        with pytest.raises(DataError, match=r"values from .* but the task divides by pixel_range 255"):
            run_own(Own(image), stage)


def test_stored_values_are_taken_in_any_type() -> None:
    for image in (STORED, STORED.float(), torch.zeros(3, 33, 33)):
        run_own(Own(image), "fit")
    run_own(Own(STORED / 255), "fit", SmallTask(DESCRIPTION))


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_more_or_fewer_classes_than_the_data_are_refused(stage: str) -> None:
    for count in (2, 7):
        with pytest.raises(ConfigError, match=f"The task has 4 classes, and the data {count}"):
            run_own(Own(STORED, classes=count), stage)
    with pytest.raises(DataError, match="holds label 6, but the task has 4 classes"):
        run_own(Own(STORED, labels=7), stage)
    run_own(Own(STORED, classes=NUM_CLASSES), stage)


@pytest.mark.parametrize("count", [3, 7])
def test_a_datamodule_of_other_classes_is_refused(count: int) -> None:
    names = [f"class {index}" for index in range(count)]
    task = SegmentationTask(network=SmallNetwork, class_names=names)
    trainer = Trainer(accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False)
    with pytest.raises(ConfigError, match=f"The task has {count} classes, and the data 10"):
        trainer.fit(task, datamodule=DrawnScenesDataModule(height=64, width=64, train_size=4, val_size=2))
