"""What every model must do. A new model adds a class of a few lines that inherits these tests."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

SMALL = {"backbone": "mobilenetv2_035"}


@torch.no_grad()
def randomise(network: nn.Module) -> None:
    """Give batch norms statistics and the classifier weights that tell classes apart."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)


class ModelTests:
    model_class: Any
    options: dict[str, Any] = {}  # noqa: RUF012 - overridden, never changed

    def build(self, num_classes: int = 5, **options: Any) -> Any:
        torch.manual_seed(0)
        model = self.model_class(num_classes, **{**SMALL, **self.options, **options})
        randomise(model)
        return model

    @pytest.mark.parametrize("size", [(33, 33), (64, 64), (97, 65), (360, 480)])
    @torch.no_grad()
    def test_size_in_is_size_out(self, size: tuple[int, int]) -> None:
        assert self.build().eval()(torch.randn(1, 3, *size)).shape == (1, 5, *size)

    @pytest.mark.parametrize("align_corners", [True, False])
    @pytest.mark.parametrize("size", [(33, 33), (48, 65)])
    def test_batch_of_one_trains_every_parameter(self, size: tuple[int, int], align_corners: bool) -> None:
        model = self.build(align_corners=align_corners).train()
        logits = model(torch.randn(1, 3, *size))
        nn.functional.cross_entropy(logits, torch.randint(0, 5, (1, *size))).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
        assert model.classifier.weight.grad.abs().sum() > 0

    def test_same_weights_at_every_output_stride(self) -> None:
        states = {stride: self.build(output_stride=stride).state_dict() for stride in (8, 16, 32)}
        shapes = [{key: value.shape for key, value in state.items()} for state in states.values()]
        assert shapes[0] == shapes[1] == shapes[2]
        self.build(output_stride=8).load_state_dict(states[32])

    @torch.no_grad()
    def test_pictures_of_a_batch_do_not_meet_in_evaluation(self) -> None:
        model, images = self.build().eval(), torch.randn(2, 3, 49, 33)
        assert torch.allclose(model(images)[1:], model(images[1:]), atol=1e-4)

    @torch.no_grad()
    def test_channels_last_changes_nothing(self) -> None:
        model, image = self.build().eval(), torch.randn(1, 3, 49, 33)
        expected = model(image)
        model.to(memory_format=torch.channels_last)
        assert torch.allclose(model(image.contiguous(memory_format=torch.channels_last)), expected, atol=1e-4)

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_compiled_traced_and_exported_networks_agree(self) -> None:
        model, image = self.build().eval(), torch.randn(2, 3, 49, 65)
        with torch.no_grad():
            expected = model(image)
            compiled = torch.compile(copy.deepcopy(model), backend="aot_eager")(image)
            traced = torch.jit.trace(model, image, check_trace=False)(image)
            exported = torch.export.export(model, (image,)).module()(image)
        for logits in (compiled, traced, exported):
            assert torch.allclose(logits, expected, atol=1e-4)


def conv_multiply_adds(model: nn.Module, image: Tensor) -> int:
    """Count the multiply-adds of all convolutions, and of nothing else, on one picture."""
    total = 0

    def count(conv: nn.Conv2d, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * conv.in_channels // conv.groups * conv.kernel_size[0] * conv.kernel_size[1]

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    model(image)
    return total
