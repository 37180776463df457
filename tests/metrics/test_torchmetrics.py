"""What torchmetrics promises of a metric holds for ours: in any LightningModule, in any number of processes."""

from __future__ import annotations

import copy
import io
import math
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassJaccardIndex

from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.metrics.boundary_metrics import BFScore, BoundaryIoU, Trimap
from deeplab_lightning.metrics.by_image import ByImage, Counted
from deeplab_lightning.metrics.depth import DepthScores
from deeplab_lightning.metrics.instances import InstancePrecision, Objects
from deeplab_lightning.metrics.panoptic import PanopticScores
from deeplab_lightning.metrics.segmentation import SegmentationScores
from deeplab_lightning.metrics.threshold import BestThreshold
from deeplab_lightning.metrics.tracking import TrackingScores

NAMES = ("a", "b", "c")
VOID = 255
KINDS: dict[str, Callable[[], ByImage]] = {
    "regions": lambda: SegmentationScores(NAMES, VOID),
    "boundary_iou": lambda: BoundaryIoU(NAMES, VOID, 0.1),
    "bf_score": lambda: BFScore(NAMES, VOID, 0.1),
    "trimap": lambda: Trimap(NAMES, VOID, widths=(1, 3)),
    "threshold": lambda: BestThreshold(VOID),
    "depth": lambda: DepthScores(),
    "panoptic": lambda: PanopticScores(NAMES, (1, 2), VOID),
    "cityscapes_ap": lambda: InstancePrecision(NAMES, (1, 2), VOID),
    "coco_ap": lambda: InstancePrecision(NAMES, (1, 2), VOID, "coco"),
    "tracking": lambda: TrackingScores(NAMES, (1, 2), VOID),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def image(kind: str, number: int) -> tuple[Any, Any]:
    """Return prediction and truth of image `number`, each of another size."""
    if kind in ("panoptic", "cityscapes_ap", "coco_ap", "tracking"):
        return segments(kind, number)
    generator = torch.Generator().manual_seed(number)
    size = (6 + number, 9)
    if kind == "depth":
        return torch.rand(size, generator=generator) + 0.5, torch.rand(size, generator=generator) + 0.5
    mask = torch.randint(0, 2 if kind == "threshold" else 3, size, generator=generator, dtype=torch.uint8)
    mask[torch.rand(size, generator=generator) < 0.2] = VOID
    if kind == "threshold":
        return torch.rand(size, generator=generator), mask
    return torch.randint(0, 3, size, generator=generator, dtype=torch.uint8), mask


def segments(kind: str, number: int) -> tuple[Any, Any]:
    """Return stripes: objects of the classes b and c, in the prediction somewhat moved."""
    width = 6 + number
    numbers = torch.arange(1, 7, dtype=torch.int32).repeat_interleave(width)[None].repeat(30, 1)
    truth = (numbers % 3).to(torch.uint8), numbers.where(numbers % 3 > 0, 0)
    pred = tuple(entry.roll(1 + number % 2, 1) for entry in truth)
    if kind in ("panoptic", "tracking"):
        return pred, truth
    return Objects(pred[1], [1, 2, 1, 1, 2, 2], [0.9 - 0.1 * number, 0.5, 0.1, 0.2, 0.8, 0.3]), truth


def update(metric: ByImage, kind: str, *numbers: int) -> ByImage:
    for number in numbers:
        losses = {"loss_sum": 0.1 * number} if kind == "regions" else {}
        metric.update(*image(kind, number), f"image-{number}", **losses)
    return metric


def counted(kind: str, *numbers: int) -> ByImage:
    return update(KINDS[kind](), kind, *numbers)


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        assert value.dtype == torch.float64
        assert torch.equal(value, other[name]) or (value.isnan() and other[name].isnan()), name


# --- several processes ------------------------------------------------------------------------------------------------

SHARES = {
    2: ([0, 2, 4, 1], [1, 3]),  # of another length; image 1 in both, as a sampler that pads the set has it
    3: ([0, 2, 4], [1, 3, 0], []),  # the last one sees no image
}


def _process(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("objects are exchanged, not tensors")

    distributed.all_gather_object = refuse
    found: dict[str, Any] = {}
    own = SHARES[processes][rank]
    for kind in KINDS:
        metric = counted(kind, *own)
        found[kind] = metric.compute()
        found[f"{kind} alone"] = list(metric.images())  # and goes on with its own
        metric.sync()
        with pytest.raises(DataError, match="unsync or reset"):
            metric.update(*image(kind, 0), "more")
        found[f"{kind} together"] = list(metric.images()), metric.values()
        metric.unsync()
        assert list(metric.images()) == found[f"{kind} alone"]
        metric.sync()
        metric.reset()
        assert not metric.images()
        update(metric, kind, *own)
        found[f"{kind} again"] = metric.compute()
    differing = SegmentationScores(NAMES, VOID)
    differing.update(torch.full((2, 2), rank), torch.zeros(2, 2, dtype=torch.uint8), "seen by all")
    differing.update(torch.full((2, 2), rank), torch.zeros(2, 2, dtype=torch.uint8))  # without an id: one for each
    differing.sync()
    found["differing"] = differing.total()
    found["none"] = SegmentationScores(NAMES, VOID).compute()["mIoU"]
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("processes", SHARES)
def test_several_processes_give_what_one_gives(tmp_path: Path, processes: int) -> None:
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_process, args=(rank, processes, str(tmp_path))) for rank in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [0] * processes
    for rank in range(processes):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        for kind in KINDS:
            alone = counted(kind, *range(5))
            assert_same(found[kind], alone.compute())
            assert_same(found[f"{kind} again"], alone.compute())
            assert sorted(found[f"{kind} alone"]) == sorted(f"image-{number}" for number in SHARES[processes][rank])
            assert found[f"{kind} together"] == (list(alone.images()), alone.values())
        assert found["differing"][0].tolist() == [8 if first == 0 else 4 for first in range(processes)] + [0] * (
            3 - processes
        )
        assert found["none"].isnan()


# --- one process ------------------------------------------------------------------------------------------------------


@every_kind
def test_forward_gives_the_batch_and_accumulates(kind: str) -> None:
    metric = KINDS[kind]()
    for number in range(3):
        assert_same(metric(*image(kind, number), f"image-{number}"), counted_without_loss(kind, number).compute())
    assert_same(metric.compute(), counted_without_loss(kind, 0, 1, 2).compute())
    metric(*image(kind, 1), "image-0")  # an id that is there stays as it is
    assert_same(metric.compute(), counted_without_loss(kind, 0, 1, 2).compute())


def counted_without_loss(kind: str, *numbers: int) -> ByImage:
    metric = KINDS[kind]()
    for number in numbers:
        metric.update(*image(kind, number), f"image-{number}")
    return metric


@every_kind
def test_merging_keeps_what_is_here(kind: str) -> None:
    metric, other = counted(kind, 0, 1), KINDS[kind]()
    metric.compute()  # what it found is no longer true
    other.update(*image(kind, 4), "image-1")
    update(other, kind, 2, 3)
    metric.merge_state(other)
    assert_same(metric.compute(), counted(kind, 0, 1, 2, 3).compute())
    metric.merge_state(counted(kind, 4).metric_state)
    assert_same(metric.compute(), counted(kind, *range(5)).compute())
    with pytest.raises(DataError, match=r"cannot be merged with counts of 'confusion matrix' over 2"):
        SegmentationScores(("a", "b"), VOID).merge_state(metric)
    with pytest.raises(ValueError, match="SegmentationScores"):
        counted("regions", 0).merge_state(MulticlassJaccardIndex(3))


@every_kind
def test_copies_and_pickles_are_independent(kind: str) -> None:
    metric = counted(kind, 0, 1)
    for made in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert_same(update(made, kind, 2).compute(), counted(kind, 0, 1, 2).compute())
    assert list(metric.images()) == ["image-0", "image-1"]


@every_kind
def test_states_are_saved_on_demand(kind: str) -> None:
    metric, fresh = counted(kind, 0, 1), KINDS[kind]()
    assert metric.state_dict() == {}
    metric.persistent(True)
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file))
    assert_same(update(fresh, kind, 2).compute(), counted(kind, 0, 1, 2).compute())


@every_kind
def test_counts_do_not_change_by_type_or_device(kind: str) -> None:
    parent = nn.Sequential(nn.Linear(1, 1), counted(kind, 0, 1))
    parent.half().double().to(torch.bfloat16)
    metric: ByImage = parent[1].half().set_dtype(torch.float16)
    assert metric.records[0].dtype == metric.dtype == torch.int64
    assert_same(metric.compute(), counted(kind, 0, 1).compute())
    parent.to("meta")  # stands for any other device
    assert (metric.device.type, parent[0].weight.device.type) == ("meta", "meta")
    update(metric, kind, 2)
    assert {value.device.type for value in metric.compute().values()} == {"meta"}
    assert metric.values() == counted(kind, 0, 1, 2).values()


def test_compute_is_kept_until_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = counted("regions", 0)
    first, calls = metric.compute(), []
    monkeypatch.setattr(SegmentationScores, "values", lambda _: calls.append(1) or {"mIoU": 0.0})
    assert_same(metric.compute(), first)
    assert not calls
    assert_same(update(metric, "regions", 1).compute(), {"mIoU": torch.tensor(0.0, dtype=torch.float64)})
    assert len(calls) == 1


@every_kind
def test_reset_forgets(kind: str) -> None:
    metric = counted(kind, 0, 1)
    metric.compute()
    metric.reset()
    assert not metric.images()
    assert not metric.update_called
    assert_same(update(metric, kind, 2).compute(), counted(kind, 2).compute())


def test_batches_lists_and_single_images_count_alike() -> None:
    images = [image("regions", 3), image("regions", 3)]
    preds, masks = zip(*images, strict=True)
    single, batch, uneven = (SegmentationScores(NAMES, VOID) for _ in range(3))
    for number, (pred, mask) in enumerate(images):
        single.update(pred, mask, str(number), 0.1 * number)
    batch.update(torch.stack(preds), torch.stack(masks), ["0", "1"], torch.tensor([0.0, 0.1], dtype=torch.float64))
    assert batch.values() == single.values()
    logits = [
        nn.functional.one_hot(pred.long(), 3).movedim(-1, 0).float() for pred in (preds[0], image("regions", 1)[0])
    ]
    uneven.update(logits, [masks[0], image("regions", 1)[1]], ["image-3", "image-1"])
    assert np.array_equal(uneven.total(), counted("regions", 3, 1).total())
    for wrong in (["0"], "01"):
        with pytest.raises(DataError, match="as many of each"):
            batch.update(torch.stack(preds), torch.stack(masks), wrong)


def test_an_image_without_an_id_counts_every_time() -> None:
    metric = SegmentationScores(NAMES, VOID)
    pred, mask = image("regions", 0)
    metric(pred[None], mask[None])
    metric(pred[None], mask[None])
    assert np.array_equal(metric.total(), 2 * counted("regions", 0).total())
    assert list(metric.images()) == ["unnamed-000000", "unnamed-000001"]
    assert "loss" not in metric.values()


def test_ids_come_back_as_they_were() -> None:
    ids = ["", "a", "a\0", "\0\0", "8 bytes.", "folder/\u00fc\u4e2d.png", "\udce4 of no encoding", "n" * 1000]
    metric = SegmentationScores(NAMES, VOID)
    for number, name in enumerate(ids):
        metric.update(*image("regions", number), name)
    assert list(metric.images()) == sorted(ids)
    for number, name in enumerate(ids):
        assert np.array_equal(metric.image(name), counted("regions", number).total())
    with pytest.raises(KeyError):
        metric.image("another")


def test_a_state_of_another_metric_is_refused() -> None:
    state = counted("boundary_iou", 0).state()
    again = KINDS["boundary_iou"]()
    again.restore(state)
    assert_same(again.compute(), counted("boundary_iou", 0).compute())
    with pytest.raises(DataError, match=r"not counts of 'boundary IoU, band of 20\.00%.*over 3 classes"):
        BoundaryIoU(NAMES, VOID, 0.2).restore(state)


def test_one_score_alone() -> None:
    metric = SegmentationScores(NAMES, VOID, only="IoU/b")
    value = metric(*image("regions", 0))
    assert value.shape == ()
    assert value == counted("regions", 0).scores().iou[1]
    with pytest.raises(ConfigError, match="Did you mean 'mIoU'"):
        update(SegmentationScores(NAMES, VOID, only="miou"), "regions", 0).compute()


def test_in_a_collection() -> None:
    metrics = {
        "mIoU": SegmentationScores(NAMES, VOID, only="mIoU"),
        "accuracy": SegmentationScores(NAMES, VOID, only="pixel_acc"),
        "without a": SegmentationScores(NAMES, 0, only="mIoU"),  # counts the same as long as there is no a
        "bands": BoundaryIoU(NAMES, VOID, 0.1, only="boundary_IoU"),
    }
    collection = MetricCollection(metrics, prefix="val/")
    apart = {name: copy.deepcopy(metric) for name, metric in metrics.items()}
    for number, values in enumerate([(1, 2), (0, 1, 2), (0, 1, 2)]):
        generator = torch.Generator().manual_seed(number)
        pred, mask = (torch.tensor(values)[torch.randint(0, len(values), (2, 9, 9), generator=generator)] for _ in "pm")
        collection.update(pred, mask, sample_id=[f"{number}a", f"{number}b"])
        for metric in apart.values():
            metric.update(pred, mask, [f"{number}a", f"{number}b"])
    assert sorted(map(sorted, collection.compute_groups.values())) == [["accuracy", "mIoU"], ["bands"], ["without a"]]
    for _ in range(2):
        assert collection.compute() == {f"val/{name}": metric.compute() for name, metric in apart.items()}
    collection.reset()
    collection.update(pred, mask)
    assert collection.compute()["val/mIoU"] == SegmentationScores(NAMES, VOID, only="mIoU")(pred, mask)
    whole = MetricCollection([SegmentationScores(NAMES, VOID), BFScore(NAMES, VOID)])(pred, mask)
    assert {"IoU/a", "IoU/b", "IoU/c", "mIoU", "pixel_acc", "mean_acc", "fwIoU", "mean_dice", "BF", "BF/a"} <= set(
        whole
    )


class Accuracy(ByImage):
    """The example of `by_image`: how it counts, and how it scores."""

    def __init__(self, ignore_index: int, **options: Any) -> None:
        super().__init__("pixel accuracy", (), ignore_index, (2,), **options)

    def count(self, pred: Tensor, truth: Tensor) -> Counted:
        labelled = truth != self.ignore_index
        return Counted(np.array([int(((pred == truth) & labelled).sum()), int(labelled.sum())]))

    def values(self) -> dict[str, float]:
        right, labelled = self.total()
        return {"accuracy": right / labelled}


def test_a_new_metric_is_how_it_counts_and_how_it_scores() -> None:
    metric = Accuracy(VOID)
    for number in (0, 1, 1):
        metric.update(*image("regions", number), str(number))
    assert metric.compute()["accuracy"] == counted("regions", 0, 1).scores().pixel_acc


# --- in another LightningModule ---------------------------------------------------------------------------------------


class Another(LightningModule):
    """Somebody's module, which logs our metrics as it would torchmetrics' own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 1)
        self.miou = SegmentationScores(NAMES, VOID, only="mIoU")
        self.others = MetricCollection(
            {"bf": BFScore(NAMES, VOID, only="BF"), "acc": SegmentationScores(NAMES, VOID, only="pixel_acc")}
        )

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        image, _ = batch
        return self.layer(image).mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        image, mask = batch
        pred = self.layer(image).argmax(1)
        self.miou.update(pred, mask)
        self.others.update(pred, mask)
        self.log("val/mIoU", self.miou)
        self.log_dict(self.others)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_in_another_lightning_module(tmp_path: Path) -> None:
    """With averaged weights, which Lightning keeps in a copy of the module, metrics included."""
    torch.manual_seed(0)
    data = [(torch.randn(1, 7, 8), torch.randint(0, 3, (7, 8))) for _ in range(5)]
    module = Another()
    expected = [SegmentationScores(NAMES, VOID), BFScore(NAMES, VOID)]
    quiet: dict[str, Any] = dict.fromkeys(["logger", "enable_progress_bar", "enable_model_summary"], False)
    options: dict[str, Any] = {"max_steps": 2, "num_sanity_val_steps": 1, "default_root_dir": tmp_path}
    trainer = Trainer(accelerator="cpu", devices=1, callbacks=[WeightAveraging()], **options, **quiet)
    trainer.fit(module, DataLoader(data, batch_size=2), DataLoader(data, batch_size=2))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert set(torch.load(tmp_path / "a.ckpt")["state_dict"]) == {"layer.weight", "layer.bias"}
    (logged,) = trainer.validate(module, DataLoader(data, batch_size=2), verbose=False)
    for image_, mask in data:
        with torch.no_grad():
            pred = module.layer(image_[None]).argmax(1)
        for metric in expected:
            metric.update(pred, mask[None])
    regions, bf = (metric.values() for metric in expected)
    assert logged == pytest.approx({"val/mIoU": regions["mIoU"], "acc": regions["pixel_acc"], "bf": bf["BF"]}, rel=1e-6)
    assert not module.miou.images()  # Lightning has reset it
    assert not math.isnan(logged["bf"])
