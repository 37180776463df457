"""What every network promises to training, evaluation, export and import; a new one is tested without being named."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from typing import Annotated, Any, Literal

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.backbones import vgg, vgg_atrous
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.layers.norms import batch_norms
from deeplab_lightning.models import Network, NetworkOptions, deeplab_v1, fcn, network_named, networks, segnet
from deeplab_lightning.options import Options, constraint_words, hints_of

SMALL: dict[str, Any] = {
    "backbone": "mobilenetv2_035", "aspp_channels": 8, "decoder_channels": 8, "base_width": 2, "last_block": 5,
    "scales": (0.5, 1.0), "aux_head": True,
    "members": ({"name": "DeepLabV3Plus", "backbone": "mobilenetv2_035", "aspp_channels": 8, "decoder_channels": 8},),
}  # fmt: skip
"""As far as a network has them."""
CASCADE: dict[str, Any] = {"backbone": "resnet26", "multi_grid": (1, 2)}
NAMES = sorted(networks())


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with few channels."""
    for module in (vgg, vgg_atrous, deeplab_v1, fcn, segnet):
        monkeypatch.setattr(module, "VGG16_WIDTHS", ((4, 4), (6, 6), (8, 8, 8), (8, 8, 8), (8, 8, 8)))
    monkeypatch.setattr(fcn, "FC_CHANNELS", 16)
    monkeypatch.setitem(vgg_atrous.FC6_SHAPES, "largefov", vgg_atrous.FC6Shape(3, 16, 12))


def small(name: str, num_classes: int = 3, in_channels: int = 3, **options: Any) -> Network:
    network = network_named(name)
    known = hints_of(network.Options)
    wanted = {**SMALL, **(CASCADE if name == "DeepLabV3Cascade" else {}), **options}
    torch.manual_seed(0)
    return network(num_classes, in_channels, **{key: value for key, value in wanted.items() if key in known})


def shapes(network: Network) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


# --- finding ----------------------------------------------------------------------------------------------------------


def test_networks_are_found_by_name() -> None:
    assert set(NAMES) >= {"DeepLabV1", "DeepLabV2", "DeepLabV3", "DeepLabV3Cascade", "DeepLabV3Plus", "FCN", "UNet"}
    assert network_named("UNet").__name__ == "UNet"
    with pytest.raises(ConfigError, match=r"Unknown network 'DeepLabV3plus'\. Did you mean 'DeepLabV3Plus'\?"):
        network_named("DeepLabV3plus")


def test_the_users_own_network_is_found_too() -> None:
    class Thresholder(Network):
        output_stride = 8

        def build(self, num_classes: int, in_channels: int) -> None:
            self.classifier = nn.Conv2d(in_channels, num_classes, 1)

        def coarse_logits(self, image: Tensor) -> Tensor:
            return self.classifier(image[..., ::8, ::8])

    assert networks()["Thresholder"] is Thresholder
    assert Thresholder(2)(torch.randn(1, 3, 17, 20)).shape == (1, 2, 17, 20)


# --- the interface ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_classifiers_are_the_parts_whose_channels_follow_the_classes(name: str) -> None:
    three, four = shapes(small(name, 3)), shapes(small(name, 4))
    different = {key.split(".")[0] for key in three if three[key] != four[key]}
    assert different == {part for part in small(name).classifiers if getattr(small(name), part) is not None}


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_is_trained_is_what_the_network_says(name: str) -> None:
    network, image = small(name).eval(), torch.randn(2, 3, 33, 49)
    for part in network.classifiers:
        for parameter in network.get_submodule(part).parameters():
            nn.init.normal_(parameter, std=0.1)
    maps = network.training_maps(image)
    expected = network(image) if maps.main.shape[-2:] == (33, 49) else network.coarse_logits(image)
    assert expected.std() > 0
    assert torch.allclose(maps.main, expected, atol=1e-5)
    assert all(one.shape[:2] == (2, 3) for one in maps.further)
    assert len(maps.further) == {"DeepLabV2": 2, "DeepLabV3": 1, "DeepLabV3Plus": 1, "PanopticDeepLab": 1}.get(name, 0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_coarse_logits_resized_are_the_logits(name: str) -> None:
    network, image = small(name).eval(), torch.randn(1, 3, 33, 49)
    coarse, logits = network.coarse_logits(image), network(image)
    if coarse.shape != logits.shape:
        coarse = nn.functional.interpolate(coarse, (33, 49), mode="bilinear", align_corners=network.align_corners)
    assert torch.allclose(coarse, logits, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_deepest_map_has_the_output_stride(name: str) -> None:
    network = small(name).eval()
    if name == "FCN":  # its trunk works at 32 whatever the scores' stride, on an image with a wide margin
        assert network.output_stride == 8
        return
    if name == "SegNet":  # pools by a function, once behind every stage
        assert network.output_stride == 2 ** len(network.backbone)
        return
    sides: set[int] = set()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            module.register_forward_hook(lambda _, __, out: sides.add(out.shape[-1]))
    if network.input_scales != (1.0,):
        network.input_scales = (1.0,)
    with torch.no_grad():
        network.coarse_logits(torch.randn(1, 3, 65, 65))
    deepest = min(side for side in sides if side > 1)  # 1: image pooling
    assert deepest == -(-65 // network.output_stride)


@pytest.mark.parametrize("name", NAMES)
def test_labels_shrink_where_coarse_logits_are_compared(name: str) -> None:
    assert network_named(name).shrinks_labels == (name in ("DeepLabV1", "DeepLabV2"))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_features_that_fit_the_image_are_mapped_as_the_logits_are(name: str) -> None:
    """What one single classifier reads is a map of the image with the size of the coarse logits."""
    network, seen = small(name).eval(), []
    if not network.features_fit_image:
        assert name in ("DeepLabV2", "FCN", "Ensemble")
        return
    network.classifier.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[-2:]))
    coarse = network.coarse_logits(torch.randn(1, 3, 33, 49))
    assert seen == [coarse.shape[-2:]]


def test_facts_that_depend_on_options() -> None:
    valid = small("UNet", padding="valid", batch_norm=False)
    assert not valid.features_fit_image
    assert valid.needs_fixed_size == "U-Net's valid form, whose mirrored tile"
    assert (
        small("DeepLabV3Plus", context="psp").needs_fixed_size == "pyramid pooling (context psp), whose grid of cells"
    )
    assert [small(name).needs_fixed_size for name in NAMES] == [None] * len(NAMES)
    assert small("DeepLabV2", scales=(1.0, 0.5)).input_scales == (1.0, 0.5)
    assert small("DeepLabV3", align_corners=False, side_remainder=0).side_remainder == 0
    assert small("DeepLabV3", align_corners=False).align_corners is False


def test_protocols_of_the_papers() -> None:
    from deeplab_lightning.inference import EvaluationOptions

    found = {name: small(name).crf_of_paper for name in NAMES}
    found["on VGG16"] = small("DeepLabV2", backbone="vgg16").crf_of_paper
    papers = {name: paper for name, paper in found.items() if paper is not None}
    assert papers == {"DeepLabV1": "v1", "DeepLabV2": "v2_resnet101", "on VGG16": "v2_vgg16"}
    for paper in papers.values():
        assert EvaluationOptions(crf=paper).crf_options is not None
    assert {name for name in NAMES if network_named(name).scored_at_stride_8} == {"DeepLabV3", "DeepLabV3Plus"}


# --- what can be done to any network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_other_channels_of_the_image(name: str) -> None:
    assert small(name, in_channels=5).eval()(torch.randn(1, 5, 33, 33)).shape == (1, 3, 33, 33)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_one_logit_for_two_classes(name: str) -> None:
    network = small(name, 2, binary=True).eval()
    image = torch.randn(1, 3, 33, 33)
    assert all(
        torch.all(logits[:, 0] == 0) for maps in [network.training_maps(image)] for logits in (maps.main, *maps.further)
    )
    with pytest.raises(ConfigError, match=r"--model\.binary is for data of two classes; this has 3"):
        small(name, 3, binary=True)


@pytest.mark.parametrize("name", NAMES)
def test_group_norms_and_frozen_norms(name: str) -> None:
    assert batch_norms(small(name, norm="group")) == []
    frozen = small(name, freeze_batch_norm=True).train()
    assert frozen.training
    for norm in batch_norms(frozen):
        assert not norm.training
        assert all(not parameter.requires_grad for parameter in norm.parameters())
    with pytest.raises(ConfigError, match="norm is group, so there is no batch norm to freeze"):
        small(name, norm="group", freeze_batch_norm=True)


def test_group_norms_do_not_take_imagenet_weights(tmp_path: Any) -> None:
    import timm

    torch.save(timm.create_model("mobilenetv2_035").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"norm is group, but ImageNet weights.*pretrained false"):
        small("DeepLabV3", pretrained=str(tmp_path / "weights.pth"), norm="group")


def test_and_none_are_fetched_before_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("it was looked for"))
    with pytest.raises(ConfigError, match="norm is group, but ImageNet weights"):
        small("DeepLabV3", pretrained=True, norm="group")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels_last", [True, False])
def test_order_of_the_channels(name: str, channels_last: bool) -> None:
    network = small(name, channels_last=channels_last)
    kernels = [value for value in network.parameters() if value.ndim == 4 and min(value.shape) > 1]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) == channels_last for kernel in kernels)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_checkpointing_where_the_backbone_is_timms(name: str) -> None:
    if "backbone" not in hints_of(network_named(name).Options):
        with pytest.raises(ConfigError, match=rf"{name} has no gradient checkpointing: .*resnet101"):
            small(name, gradient_checkpointing=True)
        return
    network, plain = small(name, gradient_checkpointing=True), small(name)
    assert any(getattr(module, "grad_checkpointing", False) for module in network.modules())
    image = torch.randn(2, 3, 33, 33)
    gradients = []
    for one in (network, plain):
        torch.manual_seed(1)
        one.train().training_maps(image).main.square().mean().backward()
        gradients.append([parameter.grad for parameter in one.backbone.parameters()])
    for found, expected in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


def test_gradient_checkpointing_of_v2_on_vgg16() -> None:
    with pytest.raises(ConfigError, match="DeepLabV2 has no gradient checkpointing"):
        small("DeepLabV2", backbone="vgg16", gradient_checkpointing=True)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_options_go_there_and_back(name: str) -> None:
    network = small(name, num_classes=4)
    plain = network.options.plain()
    assert network.Options.of(plain) == network.options
    again = network_named(name)(4, **plain)
    assert shapes(again) == shapes(network)
    assert isinstance(network.options, NetworkOptions)
    with pytest.raises(ConfigError, match=r"Unknown option --model\.chanels_last\. Did you mean 'channels_last'\?"):
        network_named(name)(4, chanels_last=True)


def declarations(group: type[Options]) -> dict[str, list[str | None]]:
    """Return every declaration of each option among a group and its bases, as the sentence behind it."""
    found: dict[str, list[str | None]] = {}
    for one in group.__mro__:
        if not issubclass(one, Options) or one is Options:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(tree, ast.ClassDef)
        for statement, following in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
            if isinstance(statement, ast.AnnAssign) and "ClassVar" not in ast.unparse(statement.annotation):
                assert isinstance(statement.target, ast.Name)
                value = following.value if isinstance(following, ast.Expr) else None
                sentence = value.value if isinstance(value, ast.Constant) else None
                found.setdefault(statement.target.id, []).append(sentence if isinstance(sentence, str) else None)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_sentence_that_stands_alone(name: str) -> None:
    found = declarations(network_named(name).Options)
    assert set(found) == set(hints_of(network_named(name).Options))
    for option, sentences in found.items():
        sentence = next((each for each in sentences if each is not None), None)
        assert sentence is not None, option
        assert sentence.strip().endswith("."), option
        assert len(sentence.split()) >= 6, option
        assert not any(word in sentence for word in ("Likewise", "likewise", "See ", "As in `")), option


def numbers_without_range(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is Annotated:
        return [] if constraint_words(hint) else [hint]
    if typing.get_origin(hint) is Literal or hint is Ellipsis:
        return []
    inner = typing.get_args(hint)
    return [hint] if hint in (int, float) else [one for each in inner for one in numbers_without_range(each)]


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range(name: str) -> None:
    for option, hint in hints_of(network_named(name).Options).items():
        assert numbers_without_range(hint) == [], option


@pytest.mark.filterwarnings("ignore:.*output stride.*")
def test_kernels_over_three_dimensions_keep_their_order() -> None:
    """Lambda networks have some, which `Module.to` would refuse to bring into channels-last order."""
    network = network_named("DeepLabV3Plus")(5, 3, backbone="lambda_resnet26t", output_stride=32, pretrained=False)
    assert network.options.channels_last
    assert any(isinstance(module, nn.Conv3d) for module in network.modules())
