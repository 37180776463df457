"""What every model must do. A new model adds a class of a few lines that inherits these tests."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.backbones import BackboneOptions, TimmBackbone
from deeplab_lightning.backbones.resnet_variants import AS_IN_TIMM, ResNetOptions


def timm_backbone(
    name: str, output_stride: Any = 16, in_channels: int = 3, *, generation: ResNetOptions = AS_IN_TIMM, **options: Any
) -> TimmBackbone:
    """Build a backbone from options by name; `low_level_map` is the network's."""
    low_level_map = options.pop("low_level_map", "stage")
    built = BackboneOptions(backbone=name, output_stride=output_stride, **options)
    backbone = TimmBackbone(built, in_channels, generation)
    if low_level_map == "tensorflow":
        backbone.take_low_level_map_of_tensorflow()
    return backbone


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
    """Arguments that make the network small."""
    output_strides: tuple[int, ...] = (8, 16, 32)
    """The output strides that the same weights must serve; one or none skips that test."""
    align_corners: tuple[bool, ...] = (True, False)
    """Conventions that the network can be told to use; empty where it has no such argument."""

    def build(self, num_classes: int = 5, **options: Any) -> Any:
        torch.manual_seed(0)
        model = self.model_class(num_classes, **{**self.options, **options})
        randomise(model)
        return model

    @pytest.mark.parametrize("size", [(33, 33), (64, 64), (97, 65), (360, 480)])
    @torch.no_grad()
    def test_size_in_is_size_out(self, size: tuple[int, int]) -> None:
        assert self.build().eval()(torch.randn(1, 3, *size)).shape == (1, 5, *size)

    @pytest.mark.parametrize("size", [(33, 33), (48, 65)])
    def test_batch_of_one_trains_every_parameter(self, size: tuple[int, int]) -> None:
        for options in [{"align_corners": value} for value in self.align_corners] or [{}]:
            self.check_training(self.build(**options).train(), size)

    @staticmethod
    def check_training(model: Any, size: tuple[int, int]) -> None:
        logits = model(torch.randn(1, 3, *size))
        nn.functional.cross_entropy(logits, torch.randint(0, 5, (1, *size))).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
        assert all(parameter.grad.abs().sum() > 0 for parameter in model.classifier.parameters())

    def test_same_weights_at_every_output_stride(self) -> None:
        if len(self.output_strides) < 2:
            pytest.skip("one output stride")
        states = {stride: self.build(output_stride=stride).state_dict() for stride in self.output_strides}
        first, *others = ({key: value.shape for key, value in state.items()} for state in states.values())
        assert all(shapes == first for shapes in others)
        self.build(output_stride=min(states)).load_state_dict(states[max(states)])

    @torch.no_grad()
    def test_images_of_a_batch_do_not_meet_in_evaluation(self) -> None:
        model, images = self.build().eval(), torch.randn(2, 3, 49, 33)
        assert torch.allclose(model(images)[1:], model(images[1:]), atol=1e-4)

    @torch.no_grad()
    def test_channels_last_changes_nothing(self) -> None:
        model, image = self.build().eval(), torch.randn(1, 3, 49, 33)
        expected = model(image)
        model.to(memory_format=torch.channels_last)
        assert torch.allclose(model(image.contiguous(memory_format=torch.channels_last)), expected, atol=1e-4)

    def test_trains_under_bf16_autocast(self) -> None:
        model, image = self.build().train(), torch.randn(2, 3, 49, 33)
        mask = torch.randint(0, 5, (2, 49, 33))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(image)
        assert logits.dtype == torch.bfloat16
        nn.functional.cross_entropy(logits.float(), mask).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
        assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
        expected = model.eval()(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            difference = (model(image).float() - expected).abs()
        assert difference.quantile(0.9) <= 0.1 * expected.abs().max()  # rounding moves maxima, and a few logits far

    @pytest.mark.slow
    @torch.no_grad()
    def test_inductor_changes_nothing(self) -> None:
        model, image = self.build().eval(), torch.randn(2, 3, 49, 65)
        compiled = torch.compile(copy.deepcopy(model))
        assert torch.allclose(compiled(image), model(image), atol=1e-3)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_compiled_traced_and_exported_networks_agree(self) -> None:
        self.check_compiled()

    def check_compiled(self) -> None:
        model, image = self.build().eval(), torch.randn(2, 3, 49, 65)
        with torch.no_grad():
            expected = model(image)
            compiled = torch.compile(copy.deepcopy(model), backend="aot_eager")(image)
            traced = torch.jit.trace(model, image, check_trace=False)(image)
            exported = torch.export.export(model, (image,)).module()(image)
        for logits in (compiled, traced, exported):
            assert torch.allclose(logits, expected, atol=1e-4)


class FullSizeLogitsTests(ModelTests):
    """A network that makes its logits at the image's size: nothing is left to resize."""

    @torch.no_grad()
    def test_coarse_logits_are_the_logits(self) -> None:
        model, image = self.build().eval(), torch.randn(1, 3, 49, 33)
        assert torch.equal(model.coarse_logits(image), model(image))
        assert model.align_corners is False

    @pytest.mark.slow
    @torch.no_grad()
    def test_one_export_serves_every_size(self) -> None:
        model, any_size = self.build().eval(), torch.export.Dim.AUTO
        sizes = {0: any_size, 2: any_size, 3: any_size}
        exported = torch.export.export(model, (torch.randn(2, 3, 49, 65),), dynamic_shapes=(sizes,)).module()
        for size in [(33, 33), (64, 96), (47, 100)]:
            image = torch.randn(3, 3, *size)
            assert torch.allclose(exported(image), model(image), atol=1e-4)


def conv_multiply_adds(model: nn.Module, image: Tensor) -> int:
    """Count the multiply-adds of all convolutions, and of nothing else, on one image."""
    total = 0

    def count(conv: nn.Conv2d, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * conv.in_channels // conv.groups * conv.kernel_size[0] * conv.kernel_size[1]

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    model(image)
    return total
