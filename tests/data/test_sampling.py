"""Which image comes when: pure functions of seed, epoch and place, whoever reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from deeplab_lightning.data.dataset import SegmentationDataset
from deeplab_lightning.data.loading import LoaderView
from deeplab_lightning.data.sampling import Draw, EpochSampler, ShardSampler
from deeplab_lightning.data.transforms.pipelines import AugmentationOptions, TrainingTransform


def positions(sampler: EpochSampler) -> list[int]:
    return [draw.position for draw in sampler]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first = positions(EpochSampler(50, seed=3, epoch=2))
    torch.manual_seed(99)
    assert positions(EpochSampler(50, seed=3, epoch=2)) == first
    assert sorted(first) == list(range(50))
    assert positions(EpochSampler(50, seed=4, epoch=2)) != first
    assert positions(EpochSampler(50, seed=3, epoch=1)) != first
    sampler = EpochSampler(50, seed=3)
    list(sampler)
    sampler.set_epoch(2)
    assert positions(sampler) == first
    assert positions(sampler) == first


def test_draws_carry_their_epoch() -> None:
    assert {draw.epoch for draw in EpochSampler(5, seed=0, epoch=7)} == {7}


def test_a_resumed_epoch_goes_on_and_the_next_is_whole() -> None:
    whole = positions(EpochSampler(20, seed=1, epoch=3))
    sampler = EpochSampler(20, seed=1, epoch=3)
    sampler.start = 8
    assert len(sampler) == 20
    assert positions(sampler) == whole[8:]
    sampler.set_epoch(4)
    assert positions(sampler) == positions(EpochSampler(20, seed=1, epoch=4))


@pytest.mark.parametrize(("size", "world_size"), [(12, 1), (12, 3), (11, 3), (10, 4), (1, 4), (3, 8)])
def test_ranks_share_one_order_and_get_equally_many(size: int, world_size: int) -> None:
    ranks = [positions(EpochSampler(size, seed=0, rank=rank, world_size=world_size)) for rank in range(world_size)]
    share = -(-size // world_size)
    assert [len(rank) for rank in ranks] == [share] * world_size
    assert [len(EpochSampler(size, 0, rank, world_size)) for rank in range(world_size)] == [share] * world_size
    dealt = [ranks[place % world_size][place // world_size] for place in range(share * world_size)]
    order = positions(EpochSampler(size, seed=0))
    assert dealt[:size] == order
    assert all(position == order[place % size] for place, position in enumerate(dealt))


@pytest.mark.parametrize(("size", "world_size"), [(12, 1), (11, 3), (5, 2), (2, 4), (0, 2)])
def test_shards_cover_exactly(size: int, world_size: int) -> None:
    shards = [list(ShardSampler(size, rank, world_size)) for rank in range(world_size)]
    idle = (
        max(0, world_size - size) if size else 0
    )  # processes without an image see the first one, which counts once by its id
    assert Counter(index for shard in shards for index in shard) == Counter(range(size)) + Counter({0: idle})
    assert all(shard == sorted(shard) for shard in shards)
    assert [len(ShardSampler(size, rank, world_size)) for rank in range(world_size)] == list(map(len, shards))


# --- what a loader draws --------------------------------------------------------------------------------------------


class Noise(SegmentationDataset):
    """Images of noise."""

    def __len__(self) -> int:
        return 8

    def sample_id(self, index: int) -> str:
        return f"noise-{index}"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(index)
        return rng.integers(0, 256, (40, 44, 3), dtype=np.uint8), rng.integers(0, 4, (40, 44), dtype=np.uint8)


def augmentation() -> TrainingTransform:
    return TrainingTransform(AugmentationOptions(crop_size=33, colour_jitter=0.3), (124, 116, 104), ignore_index=255)


def draw_epoch(num_workers: int, epoch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Every image of an epoch with its mask as a fourth channel, by sample id."""
    loader = DataLoader(
        LoaderView(Noise(), augmentation(), seed),
        batch_size=3,
        sampler=EpochSampler(8, seed=5, epoch=epoch),
        num_workers=num_workers,
    )
    return {
        sample_id: torch.cat([image, mask.unsqueeze(0)])
        for batch in loader
        for sample_id, image, mask in zip(batch["sample_id"], batch["image"], batch["mask"], strict=True)
    }


def test_pixels_do_not_depend_on_the_workers() -> None:
    alone = draw_epoch(num_workers=0, epoch=1)
    shared = draw_epoch(num_workers=2, epoch=1)
    assert len(alone) == 8
    assert alone.keys() == shared.keys()
    assert all(torch.equal(alone[sample_id], shared[sample_id]) for sample_id in alone)


def test_pixels_do_not_depend_on_what_was_drawn_before() -> None:
    view = LoaderView(Noise(), augmentation())
    again = LoaderView(Noise(), augmentation())
    for position in (3, 1, 3, 0):
        again[Draw(4, position)]
    assert torch.equal(view[Draw(2, 5)]["image"], again[Draw(2, 5)]["image"])


def test_other_epochs_and_seeds_augment_otherwise() -> None:
    first, second, third = draw_epoch(0, 1), draw_epoch(0, 2), draw_epoch(0, 1, seed=1)
    assert not any(torch.equal(first[sample_id], second[sample_id]) for sample_id in first)
    assert not any(torch.equal(first[sample_id], third[sample_id]) for sample_id in first)


def test_without_a_transform_images_stay_as_they_are() -> None:
    sample, (image, mask) = LoaderView(Noise())[2], Noise().load(2)
    assert sample["sample_id"] == "noise-2"
    assert sample["image"].dtype == sample["mask"].dtype == torch.uint8
    assert np.array_equal(sample["image"].numpy(), image.transpose(2, 0, 1))
    assert np.array_equal(sample["mask"].numpy(), mask)
