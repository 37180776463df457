"""The evaluation of a split: exact, whatever the order, the batches, the repetitions and the processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex
from torchmetrics.functional.classification import multiclass_confusion_matrix

from deeplab_lightning.errors import DataError
from deeplab_lightning.metrics.confusion import confusion_matrix
from deeplab_lightning.metrics.segmentation import SegmentationScores

NAMES = ["a", "b", "c", "d"]
VOID = 255


def image(index: int, ignore_index: int = VOID) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Prediction and mask `(H, W)` of image `index`, each of another size, a fifth void."""
    rng = np.random.default_rng(index)
    size = (5 + index, 9)
    mask = rng.integers(0, len(NAMES), size).astype(np.int64)
    mask[rng.random(size) < 0.2] = ignore_index
    return torch.from_numpy(rng.integers(0, len(NAMES), size).astype(np.uint8)), torch.from_numpy(mask), f"p{index}"


def reference(indices: range | list[int], ignore_index: int = VOID) -> np.ndarray:
    matrix = np.zeros((len(NAMES), len(NAMES)), dtype=np.int64)
    for index in indices:
        pred, mask, _ = image(index, ignore_index)
        for truth, guess in zip(mask.flatten().tolist(), pred.flatten().tolist(), strict=True):
            if truth != ignore_index:
                matrix[truth, guess] += 1
    return matrix


def evaluate(indices: range | list[int], ignore_index: int = VOID) -> SegmentationScores:
    evaluation = SegmentationScores(NAMES, ignore_index)
    for index in indices:
        evaluation.update(*image(index, ignore_index), loss_sum=index + 0.25)
    return evaluation


@pytest.mark.parametrize("ignore_index", [VOID, 4, -100])
def test_equals_numpy_to_the_last_bit(ignore_index: int) -> None:
    evaluation = evaluate(range(6), ignore_index)
    expected = reference(range(6), ignore_index)
    assert evaluation.total().dtype == np.int64
    assert np.array_equal(evaluation.total(), expected)
    hit = expected.diagonal()
    iou = hit / (expected.sum(0) + expected.sum(1) - hit)
    assert np.array_equal(evaluation.scores().iou, iou)
    assert evaluation.scores().mIoU == iou.mean()
    assert evaluation.scores().pixel_acc == hit.sum() / expected.sum()


def test_rows_are_the_truth() -> None:
    evaluation = SegmentationScores(NAMES, VOID)
    evaluation.update(torch.full((2, 3), 1, dtype=torch.uint8), torch.full((2, 3), 2, dtype=torch.uint8), "x")
    assert evaluation.total()[2, 1] == evaluation.total().sum() == 6


def test_order_and_repetition_do_not_matter() -> None:
    expected = reference(range(5))
    for indices in ([4, 2, 0, 1, 3], [0, 1, 1, 2, 3, 4, 0]):
        assert np.array_equal(evaluate(indices).total(), expected)


def test_an_image_of_void_counts_nothing() -> None:
    evaluation = evaluate([0])
    evaluation.update(torch.zeros(3, 3, dtype=torch.uint8), torch.full((3, 3), VOID, dtype=torch.uint8), "void")
    assert len(evaluation.images()) == 2
    assert np.array_equal(evaluation.total(), reference([0]))


def test_reset_forgets() -> None:
    evaluation = evaluate([0, 1])
    evaluation.reset()
    assert len(evaluation.images()) == 0
    assert np.isnan(evaluation.scores().mIoU)


def test_sync_alone_changes_nothing() -> None:
    evaluation = evaluate(range(3))
    evaluation.sync()
    assert np.array_equal(evaluation.total(), reference(range(3)))


def _process(rank: int, folder: str) -> None:
    """Evaluate images 0, 2, 4 or 1, 3, 0; the second process predicts image 0 differently."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    evaluation = evaluate([[0, 2, 4], [1, 3]][rank])
    if rank == 1:
        pred, mask, sample_id = image(0)
        evaluation.update(3 - pred, mask, sample_id, loss_sum=1000.0)
    evaluation.sync()
    np.save(f"{folder}/{rank}.npy", evaluation.total())
    np.save(f"{folder}/{rank}_loss.npy", evaluation.values()["loss"])
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Five images, one of them seen by both: the same matrix as one process, and the same in both of them.

    Where rounding made two processes see an image differently, the scores must still be the same everywhere: they
    decide which checkpoint is the best.
    """
    torch.multiprocessing.spawn(_process, args=(str(tmp_path),), nprocs=2)
    expected = reference(range(5))
    for rank in range(2):
        assert np.array_equal(np.load(tmp_path / f"{rank}.npy"), expected)
        assert np.load(tmp_path / f"{rank}_loss.npy") == pytest.approx(evaluate(range(5)).values()["loss"], rel=1e-12)


# --- counting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "ignore_index"),
    [(dtype, label) for dtype in (torch.uint8, torch.int32, torch.int64) for label in (VOID, 3, 0)]
    + [(torch.int32, -100), (torch.int64, -100)],  # bytes hold no such label
)
def test_counts_are_those_of_torchmetrics(dtype: torch.dtype, ignore_index: int) -> None:
    pred = torch.randint(0, 4, (2, 9, 7)).to(dtype)
    mask = torch.randint(0, 4, (2, 9, 7)).to(dtype)
    mask[:, :2] = ignore_index
    counts = confusion_matrix(pred, mask, 4, ignore_index)
    expected = multiclass_confusion_matrix(pred.long(), mask.long(), 4, ignore_index=ignore_index)
    assert counts.dtype == torch.int64
    assert torch.equal(counts, expected)


def test_a_label_that_is_no_class_is_an_error() -> None:
    mask = torch.tensor([[0, 200]], dtype=torch.uint8)
    with pytest.raises(DataError, match=r"labels are 0 to 200 .* 4 classes and ignore_index 255"):
        confusion_matrix(torch.zeros_like(mask), mask, 4, VOID)


@pytest.mark.parametrize("ignore_index", [VOID, 1, None])
def test_scores_are_those_of_torchmetrics(ignore_index: int | None) -> None:
    ours = SegmentationScores([*NAMES, "e"], -1 if ignore_index is None else ignore_index)
    confusion, jaccard = (
        kind(num_classes=5, ignore_index=ignore_index, **options)
        for kind, options in ((MulticlassConfusionMatrix, {}), (MulticlassJaccardIndex, {"average": None}))
    )
    for _ in range(2):
        logits, mask = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 6, 7))
        if ignore_index is not None:
            mask[0, 0] = ignore_index
        ours.update(logits, mask if ignore_index is None else mask.to(torch.uint8))
        confusion.update(logits, mask)
        jaccard.update(logits, mask)
    assert np.array_equal(ours.total(), confusion.compute().numpy())
    counted = [index for index in range(5) if index != ignore_index]  # torchmetrics has 0 for a class that is ignored
    assert ours.scores().iou[counted] == pytest.approx(jaccard.compute().numpy()[counted], rel=1e-6)
    ours.reset()
    assert ours.total().sum() == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("ignore_index", [VOID, 200, -1])
@pytest.mark.parametrize("wrong", [-2, -1, 4, 5, 100, 255, 2**33 + 1])
def test_what_is_no_class_is_an_error_wherever_it_stands(dtype: torch.dtype, ignore_index: int, wrong: int) -> None:
    """A label that equals the number of classes was dropped, a prediction counted for the next class."""
    if not torch.iinfo(dtype).min <= wrong <= torch.iinfo(dtype).max:
        return
    right = torch.tensor([[0, 1, 2, 3]] * 2).to(dtype)
    assert confusion_matrix(right, right, 4, ignore_index).diagonal().tolist() == [2, 2, 2, 2]
    for place in range(4):
        odd = right.clone()
        odd[1, place] = wrong
        with pytest.raises(DataError, match="is no class"):
            confusion_matrix(odd, right, 4, ignore_index)
        if wrong == ignore_index:
            assert confusion_matrix(right, odd, 4, ignore_index).sum() == 7
            continue
        with pytest.raises(DataError, match="is no class"):
            confusion_matrix(right, odd, 4, ignore_index)


def test_class_ids_are_integers_of_one_shape() -> None:
    ids = torch.zeros(4, 5, dtype=torch.uint8)
    for pred, mask in ((ids[:1], ids), (ids, ids[:, :1]), (ids.float(), ids), (ids, ids.float())):
        with pytest.raises(DataError, match="integers of one shape"):
            confusion_matrix(pred, mask, 4, VOID)
