"""Feature maps are taken from the modules that a user means, as they were when the module was done."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inspection import capture, find_parts


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
        self.context = nn.ModuleDict({"aspp": nn.Identity()})
        self.branches = nn.ModuleList([nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)])
        self.after = nn.ReLU(inplace=True)
        self.unused = nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        features = self.context["aspp"](self.backbone(image))
        return self.after(self.branches[0](features)) + self.branches[1](features)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], ["backbone", "context.aspp", "branches.0", "branches.1", "after", "unused"]),
        (["branches.1", "backbone"], ["backbone", "branches.1"]),
        (["aspp"], ["context.aspp"]),
        (["branches"], ["branches.0", "branches.1"]),
        (["b"], ["backbone", "branches.0", "branches.1"]),
        (["backbone", "backbone.0"], ["backbone", "backbone.0"]),
    ],
)
def test_names_lead_to_modules(names: list[str], found: list[str]) -> None:
    assert find_parts(Network(), names) == found


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"has no part 'asppp'. Did you mean 'aspp'\?") as raised:
        find_parts(Network(), ["asppp"])
    assert "Its parts: backbone, context" in str(raised.value)


def test_maps_are_those_of_the_moment() -> None:
    torch.manual_seed(0)
    network = Network().eval()
    image = torch.randn(1, 3, 5, 4)
    with capture(network, ["backbone", "branches.0", "after", "unused"]) as maps:
        network(image)
    assert set(maps) == {"backbone", "branches.0", "after"}
    expected = network.branches[0](network.backbone(image))
    assert (expected < 0).any()
    assert torch.equal(maps["branches.0"], expected)  # though ReLU worked in place
    assert torch.equal(maps["after"], expected.relu())
    with torch.no_grad():
        network(image + 1)
    assert torch.equal(maps["after"], expected.relu())  # nothing is taken any more


def test_of_several_maps_the_last_is_taken() -> None:
    class Several(nn.Module):
        def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
            return [image, image + 1], image + 2

    network = nn.Sequential(Several())
    with capture(network, ["0"]) as maps:
        network(torch.zeros(1, 3, 2, 2))
    assert (maps["0"] == 2).all()
