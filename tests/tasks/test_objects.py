"""Objects through a task: true maps give full marks, and training moves both towers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference.options import EvaluationOptions
from deeplab_lightning.losses.instances import instance_targets
from deeplab_lightning.tasks import DeepLabV3PlusTask, PanopticDeepLabTask
from deeplab_lightning.types import DataDescription

from ..models.test_panoptic_deeplab import SMALL

OBJECTS = {"centre_window": 5, "min_stuff_area": 0}


def data() -> DrawnScenesDataModule:
    return DrawnScenesDataModule(
        height=96, width=80, train_size=4, val_size=3, batch_size=2, crop_size=65, num_workers=0, seed=0
    )


def trainer(**options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(accelerator="cpu", enable_checkpointing=False, num_sanity_val_steps=0, **quiet, **options)


class Knowing(PanopticDeepLabTask):
    """Tells what is true of the images of a split, at their own size, and makes objects of it as always."""

    def knows(self, module: DrawnScenesDataModule) -> Knowing:
        """Learn the masks and numbers of the validation images."""
        dataset, self.known = module.dataset("val"), []
        for index in range(len(dataset)):
            image, mask = dataset.load(index)
            arrays = [torch.from_numpy(array) for array in (image, mask, dataset.instances(index))]
            self.known.append((arrays[0].permute(2, 0, 1), arrays[1], arrays[2]))
        return self

    def folded(self) -> Any:
        """Return the network, whose maps are the true ones."""
        self.model.all_maps = self.true_maps  # type: ignore[method-assign]
        self.model.align_corners = False
        return self.model

    def true_maps(self, images: Tensor) -> Tensor:
        """Return full-size logits, centres and offsets of images that are known."""
        found = [
            next(known[1:] for known in self.known if torch.allclose(self.normalise(known[0][None])[0], image))
            for image in images
        ]
        mask, numbers = (torch.stack(each) for each in zip(*found, strict=True))
        targets = instance_targets(numbers, mask, torch.tensor(self.description["things"]), 255, 8.0)
        logits = 20 * F.one_hot(mask.where(mask != 255, 0).long(), self.num_classes).permute(0, 3, 1, 2).float()
        return torch.cat([logits, targets.centres[:, None], targets.offsets], dim=1)


@pytest.mark.parametrize("flip", [False, True])
def test_true_maps_have_full_marks(flip: bool) -> None:
    module = data()
    task = Knowing(module.description, **SMALL).knows(module)
    if flip:  # classes of two looks: those that are not told what is true are as they are
        task.model.coarse_logits = lambda image: task.true_maps(image)[:, :-3]  # type: ignore[method-assign]
        known = task.known
        task.known = [*known, *((image.flip(-1), mask.flip(-1), numbers.flip(-1)) for image, mask, numbers in known)]
    task.evaluation_options = EvaluationOptions.of({"objects": OBJECTS, "flip": flip})
    (found,) = trainer().validate(task, module, verbose=False)
    assert found["val/mIoU"] == 1
    assert found["val/PQ"] == found["val/SQ"] == found["val/RQ"] == found["val/AP"] == found["val/AP50"] == 1
    assert "objects above 0.1 in windows of 5" in task.protocol


def test_a_step_learns_classes_centres_and_offsets() -> None:
    module = data()
    task = PanopticDeepLabTask(module.description, **SMALL, loss={"instances": {"sigma": 3}})
    before = {name: weight.clone() for name, weight in task.named_parameters()}
    runs = trainer(max_steps=2, limit_val_batches=1)
    runs.fit(task, module)
    logged = {name: float(value) for name, value in runs.callback_metrics.items()}
    parts = [logged[f"train/loss/{name}"] for name in ("labels", "centres", "offsets")]
    assert sum(parts) == pytest.approx(logged["train/loss"], rel=1e-5)
    assert all(part > 0 for part in parts)
    assert {"val/PQ", "val/PQ_things", "val/PQ_stuff", "val/mIoU"} <= logged.keys()
    still = [name for name, weight in task.named_parameters() if torch.equal(weight, before[name])]
    assert not [name for name in still if name.endswith("weight") and "norm" not in name], still


def test_losses_are_those_of_the_maps_against_targets() -> None:
    module = data()
    module.deliver("instances")
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    task = PanopticDeepLabTask(module.description, **SMALL)
    assert task.objects is not None
    things = torch.tensor(module.description["things"])
    targets = instance_targets(batch["instances"], batch["mask"], things, 255, 8.0)
    maps = task.model.training_maps(task.normalise(batch["image"]))
    assert maps.instances is not None
    right = maps.instances._replace(centres=targets.centres[:, None], offsets=targets.offsets)
    perfect = maps._replace(instances=right)
    assert [float(part) for part in task.objects.losses(perfect, batch).values()] == [0, 0]
    shifted = perfect._replace(instances=right._replace(offsets=targets.offsets + 1))
    assert float(task.objects.losses(shifted, batch)["offsets"].detach()) == pytest.approx(0.01 * 2)


def test_small_objects_weigh_more_where_asked() -> None:
    module = data()
    module.deliver("instances")
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    plain = PanopticDeepLabTask(module.description, **SMALL)
    heavy = PanopticDeepLabTask(module.description, **SMALL, loss={"instances": {"small_weight": 3, "small_area": 100}})
    assert plain.objects is not None
    assert heavy.objects is not None
    assert plain.objects.pixel_weights(batch) is None
    weights = heavy.objects.pixel_weights(batch)
    assert weights is not None
    for image, numbers in enumerate(batch["instances"]):
        for number in numbers.unique():
            area = int((numbers == number).sum())
            expected = 3 if number > 0 and area < 100 else 1
            assert (weights[image][numbers == number] == expected).all()


def test_a_network_and_data_that_do_not_fit() -> None:
    description = data().description
    with pytest.raises(ConfigError, match=r"--loss.instances is for networks that find objects.*PanopticDeepLab"):
        DeepLabV3PlusTask(description, loss={"instances": {}}, backbone="mobilenetv2_035")
    without: DataDescription = {**description, "things": []}
    with pytest.raises(ConfigError, match=r"names none: drawn scenes, Cityscapes and COCO have things"):
        PanopticDeepLabTask(without, **SMALL)
