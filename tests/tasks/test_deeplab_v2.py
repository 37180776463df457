"""DeepLab v2's task: the paper's multipliers, and a loss at every scale and on the fused map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.tasks import DeepLabV2Task

from .test_base import fit

NUM_CLASSES = 4
VOID = 255


def task(**options: Any) -> DeepLabV2Task:
    torch.manual_seed(0)
    return DeepLabV2Task(num_classes=NUM_CLASSES, **{"backbone": "resnet18", **options})


def scene() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, NUM_CLASSES, (2, 65, 97), generator=generator).to(torch.uint8)
    mask[0, 5:20] = VOID
    return torch.randn(2, 3, 65, 97, generator=generator), mask


def test_the_loss_is_the_sum_over_scales_and_the_fused_map() -> None:
    """Labels of each map's own size: 65 rows on 5, 7 and 9 (twice), 97 columns on 7, 10 and 13."""
    module, (image, mask) = task(), scene()
    rows = {5: slice(0, None, 16), 7: [0, 11, 21, 32, 43, 53, 64], 9: slice(0, None, 8)}
    columns = {7: slice(0, None, 16), 10: [0, 11, 21, 32, 43, 53, 64, 75, 85, 96], 13: slice(0, None, 8)}
    module.eval()  # frozen statistics: the same maps twice
    terms = []
    maps = module.model.training_maps(image)
    for logits in (*maps.further, maps.main):
        labels = mask[:, rows[logits.shape[2]]][:, :, columns[logits.shape[3]]]
        terms.append(F.cross_entropy(logits, labels.long(), ignore_index=VOID))
    assert len(terms) == 4
    assert module.loss(module.model.training_maps(image), mask).item() == pytest.approx(
        sum(term.item() for term in terms), rel=1e-6
    )


def test_the_loss_of_a_single_scale_is_counted_once() -> None:
    module, (image, mask) = task(scales=(1.0,)).eval(), scene()
    expected = F.cross_entropy(module.model.coarse_logits(image), mask[:, ::8, ::8].long(), ignore_index=VOID)
    assert module.loss(module.model.training_maps(image), mask).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "classifiers"), [({}, 4), ({"atrous_rates": (12,)}, 1), ({"backbone": "vgg16", "scales": (1.0,)}, 4)]
)
def test_learning_rates_and_decay_are_the_papers(options: dict[str, Any], classifiers: int) -> None:
    """Fact sheet, section 3: classifiers x10, their biases x20 without decay; fc6 and fc7 belong to the backbone."""
    module = task(**options)
    fit(module, 1)
    groups = {group["name"]: group for group in module.trainer.optimizers[0].param_groups}
    found = {name: (group["initial_lr"], group["weight_decay"]) for name, group in groups.items()}
    assert found["backbone/kernel"] == (pytest.approx(2.5e-4), 5e-4)
    assert found["head/kernel"] == (pytest.approx(2.5e-3), 5e-4)
    assert found["head/bias"] == (pytest.approx(5e-3), 0)
    assert found.get("backbone/bias", (5e-4, 0)) == (pytest.approx(5e-4), 0)
    assert len(groups["head/kernel"]["params"]) == len(groups["head/bias"]["params"]) == classifiers


def test_batch_norms_can_be_frozen_as_in_the_paper() -> None:
    module = task(freeze_batch_norm=True, scales=(1.0,))
    before = {key: value.clone() for key, value in module.model.state_dict().items()}
    fit(module, 2)
    after = module.model.state_dict()
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert "classifier.branches.0.weight" in moved
    assert "backbone.features.conv1.weight" in moved
    assert not any("bn" in key or "downsample.1" in key for key in moved)


def test_it_is_described_by_its_hyper_parameters() -> None:
    module = task(atrous_rates=[2, 4], scales=[1.0, 0.5], output_stride=16, stride_place="conv2", ceil_mode=True)
    optimizer = module.hparams["optimizer"]
    assert (optimizer["schedule"], optimizer["lr"], optimizer["weight_decay"]) == ("poly", 2.5e-4, 5e-4)
    assert [conv.dilation[0] for conv in module.model.classifier.branches] == [1, 2]
    assert module.model.input_scales == (1.0, 0.5)
    assert module.model.output_stride == 16
    assert module.model.backbone.features.maxpool.ceil_mode
