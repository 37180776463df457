"""Networks of programs that cannot be installed here, written down anew from what is known of them.

Layers have those programs' names, so that a state dict is as they write it; what a layer does is PyTorch's own. They
know nothing of the package that is tested.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def upsample(x: Tensor, like: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=align_corners)


def set_rate(conv: nn.Conv2d, rate: int) -> None:
    conv.dilation = conv.padding = (rate, rate)


class TorchvisionTrunk(nn.Module):
    """ResNet-50 by torchvision's names, its last stage dilated; first unit at rate 1 (lag), unless `rates` say more."""

    def __init__(self, rates: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        from torchvision.models import resnet50

        net = resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(net, name))
        for unit, rate in zip(self.layer4, rates or (), strict=False):  # type: ignore[arg-type]
            set_rate(unit.conv2, rate)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        low = self.layer1(x)
        return low, self.layer4(self.layer3(self.layer2(low)))


# --- VainF ----------------------------------------------------------------------------------------------------------


class VainFSeparable(nn.Module):
    def __init__(self, channels: int, out: int, rate: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False),
            nn.Conv2d(channels, out, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def vainf_conv(channels: int, out: int, rate: int, separable: bool) -> nn.Module:
    if separable:
        return VainFSeparable(channels, out, rate)
    return nn.Conv2d(channels, out, 3, padding=rate, dilation=rate, bias=False)


class VainFASPP(nn.Module):
    def __init__(self, channels: int, width: int, separable: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                *(
                    nn.Sequential(vainf_conv(channels, width, rate, separable), nn.BatchNorm2d(width), nn.ReLU())
                    for rate in (6, 12, 18)
                ),
                nn.Sequential(
                    nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
                ),
            ]
        )
        self.project = nn.Sequential(
            nn.Conv2d(5 * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = [conv(x) for conv in self.convs]
        parts[4] = upsample(parts[4], x, False)
        return self.project(torch.cat(parts, 1))


class VainFHeadPlus(nn.Module):
    def __init__(self, classes: int, width: int, separable: bool) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Conv2d(256, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU())
        self.aspp = VainFASPP(2048, width, separable)
        self.classifier = nn.Sequential(
            vainf_conv(48 + width, width, 1, separable), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, classes, 1)
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        low = self.project(low)
        return self.classifier(torch.cat([low, upsample(self.aspp(high), low, False)], 1))


class VainFHead(nn.Module):
    def __init__(self, classes: int, width: int, separable: bool) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            VainFASPP(2048, width, separable),
            vainf_conv(width, width, 1, separable),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.classifier(high)


class VainF(nn.Module):
    def __init__(self, classes: int, plus: bool, separable: bool, width: int = 24) -> None:
        super().__init__()
        self.backbone = TorchvisionTrunk()
        self.classifier = (VainFHeadPlus if plus else VainFHead)(classes, width, separable)

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.classifier(*self.backbone(image)), image, False)


# --- jfzhang95 ------------------------------------------------------------------------------------------------------


class JFBranch(nn.Module):
    def __init__(self, channels: int, width: int, rate: int | None) -> None:
        super().__init__()
        kernel, padding = (1, 0) if rate is None else (3, rate)
        self.atrous_conv = nn.Conv2d(channels, width, kernel, padding=padding, dilation=rate or 1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.atrous_conv(x)).relu()


class JFASPP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.aspp1, self.aspp2, self.aspp3, self.aspp4 = (JFBranch(2048, width, rate) for rate in (None, 6, 12, 18))
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(2048, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.conv1, self.bn1 = nn.Conv2d(5 * width, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in (self.aspp1, self.aspp2, self.aspp3, self.aspp4)]
        parts.append(upsample(self.global_avg_pool(x), x, True))
        return self.bn1(self.conv1(torch.cat(parts, 1))).relu()


class JFDecoder(nn.Module):
    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(256, 48, 1, bias=False), nn.BatchNorm2d(48)
        self.last_conv = nn.Sequential(
            nn.Conv2d(width + 48, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
            nn.Conv2d(width, classes, 1),
        )  # fmt: skip

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        low = self.bn1(self.conv1(low)).relu()
        return self.last_conv(torch.cat([upsample(high, low, True), low], 1))


class JFZhang95(nn.Module):
    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.backbone = TorchvisionTrunk((2, 4, 8))
        self.aspp, self.decoder = JFASPP(width), JFDecoder(classes, width)

    def forward(self, image: Tensor) -> Tensor:
        low, high = self.backbone(image)
        return upsample(self.decoder(self.aspp(high), low), image, True)


# --- mmsegmentation -------------------------------------------------------------------------------------------------


class MMConv(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int = 1, rate: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, out, kernel, padding=rate * (kernel // 2), dilation=rate, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class MMSeparable(nn.Module):
    def __init__(self, channels: int, out: int, rate: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = MMConv(channels, channels, 3, rate, groups=channels)
        self.pointwise_conv = MMConv(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class MMTrunk(nn.Module):
    """ResNet-50 at output stride 8, first units at the previous rate, from one 7x7 or (V1c) three 3x3."""

    def __init__(self, deep: bool) -> None:
        super().__init__()
        from torchvision.models import resnet50

        net = resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
        if deep:
            layers: list[nn.Module] = []
            for channels, out, stride in ((3, 32, 2), (32, 32, 1), (32, 64, 1)):
                layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1, self.bn1 = net.conv1, net.bn1
        for name in ("layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(net, name))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x) if hasattr(self, "stem") else self.bn1(self.conv1(x)).relu()
        maps = [F.max_pool2d(x, 3, 2, 1)]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps[1:]


class MMHead(nn.Module):
    def __init__(self, classes: int, width: int, plus: bool) -> None:
        super().__init__()
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), MMConv(2048, width))
        self.aspp_modules = nn.ModuleList(
            [MMConv(2048, width)]
            + [MMSeparable(2048, width, rate) if plus else MMConv(2048, width, 3, rate) for rate in (12, 24, 36)]
        )
        self.bottleneck = MMConv(5 * width, width, 3)
        if plus:
            self.c1_bottleneck = MMConv(256, 48)
            self.sep_bottleneck = nn.Sequential(MMSeparable(width + 48, width), MMSeparable(width, width))
        self.dropout = nn.Dropout2d(0.1)
        self.conv_seg = nn.Conv2d(width, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        high = maps[3]
        parts = [upsample(self.image_pool(high), high, False), *(module(high) for module in self.aspp_modules)]
        x = self.bottleneck(torch.cat(parts, 1))
        if hasattr(self, "c1_bottleneck"):
            low = self.c1_bottleneck(maps[0])
            x = self.sep_bottleneck(torch.cat([upsample(x, low, False), low], 1))
        return self.conv_seg(self.dropout(x))


class MMAuxiliary(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(MMConv(1024, 256, 3))
        self.dropout = nn.Dropout2d(0.1)
        self.conv_seg = nn.Conv2d(256, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.conv_seg(self.dropout(self.convs(maps[2])))


class MMSegmentation(nn.Module):
    def __init__(self, classes: int, plus: bool, deep: bool, width: int = 24) -> None:
        super().__init__()
        self.backbone = MMTrunk(deep)
        self.decode_head, self.auxiliary_head = MMHead(classes, width, plus), MMAuxiliary(classes)

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.decode_head(self.backbone(image)), image, False)


# --- detectron2 -----------------------------------------------------------------------------------------------------


class D2Conv(nn.Conv2d):
    """A convolution that keeps its batch norm inside."""

    def __init__(
        self, channels: int, out: int, kernel: int = 1, rate: int = 1, norm: bool = True, **options: Any
    ) -> None:
        padding = rate * (kernel // 2)
        super().__init__(channels, out, kernel, padding=padding, dilation=rate, bias=not norm, **options)
        self.norm = nn.BatchNorm2d(out) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x if self.norm is None else self.norm(x)


class D2Separable(nn.Module):
    def __init__(self, channels: int, out: int, rate: int = 1) -> None:
        super().__init__()
        self.depthwise = D2Conv(channels, channels, 3, rate, groups=channels)
        self.pointwise = D2Conv(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x).relu())


def d2_conv3x3(channels: int, out: int, rate: int, separable: bool) -> nn.Module:
    return D2Separable(channels, out, rate) if separable else D2Conv(channels, out, 3, rate)


class D2Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, rate: int) -> None:
        super().__init__()
        self.shortcut = D2Conv(channels, 4 * width, stride=stride) if channels != 4 * width else None
        self.conv1, self.conv3 = D2Conv(channels, width), D2Conv(width, 4 * width)
        self.conv2 = D2Conv(width, width, 3, rate, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv3(self.conv2(self.conv1(x).relu()).relu())
        return (out + (x if self.shortcut is None else self.shortcut(x))).relu()


class D2Stem(nn.Module):
    def __init__(self, deep: bool) -> None:
        super().__init__()
        if deep:
            self.conv1, self.conv2 = D2Conv(3, 64, 3, stride=2), D2Conv(64, 64, 3)
            self.conv3 = D2Conv(64, 128, 3)
        else:
            self.conv1 = D2Conv(3, 64, 7, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.children():
            x = conv(x).relu()
        return F.max_pool2d(x, 3, 2, 1)


class D2Backbone(nn.Module):
    def __init__(self, deep: bool) -> None:
        super().__init__()
        self.stem = D2Stem(deep)
        channels = 128 if deep else 64
        for stage, (count, stride) in enumerate(zip((3, 4, 6, 3), (1, 2, 2, 1), strict=True)):
            width = 64 * 2**stage
            rates = (2, 4, 8) if stage == 3 else (1,) * count
            units = []
            for index, rate in enumerate(rates):
                units.append(D2Bottleneck(channels, width, stride if index == 0 else 1, rate))
                channels = 4 * width
            self.add_module(f"res{stage + 2}", nn.Sequential(*units))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.res2(self.stem(x))
        return low, self.res5(self.res4(self.res3(low)))


class D2ASPP(nn.Module):
    def __init__(self, width: int, separable: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                D2Conv(2048, width),
                *(d2_conv3x3(2048, width, rate, separable) for rate in (6, 12, 18)),
                nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2048, width, 1)),
            ]
        )
        self.project = D2Conv(5 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = [conv(x).relu() for conv in self.convs]
        parts[4] = upsample(parts[4], x, False)
        return self.project(torch.cat(parts, 1)).relu()


class D2HeadPlus(nn.Module):
    def __init__(self, classes: int, width: int, separable: bool) -> None:
        super().__init__()
        fuse: nn.Module = D2Separable(width + 48, width)
        if not separable:
            fuse = nn.Sequential(D2Conv(width + 48, width, 3), nn.ReLU(), D2Conv(width, width, 3))
            fuse = nn.ModuleList([fuse[0], fuse[2]])
        self.decoder = nn.ModuleDict(
            {
                "res5": nn.ModuleDict({"project_conv": D2ASPP(width, separable)}),
                "res2": nn.ModuleDict({"project_conv": D2Conv(256, 48), "fuse_conv": fuse}),
            }
        )
        self.predictor = nn.Conv2d(width, classes, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        level: Any = self.decoder["res2"]
        low = level["project_conv"](low).relu()
        aspp: Any = self.decoder["res5"]
        x = torch.cat([low, upsample(aspp["project_conv"](high), low, False)], 1)
        fuse = level["fuse_conv"]
        for conv in fuse if isinstance(fuse, nn.ModuleList) else [fuse]:
            x = conv(x).relu()
        return self.predictor(x)


class D2Head(nn.Module):
    def __init__(self, classes: int, width: int, separable: bool) -> None:
        super().__init__()
        self.aspp = D2ASPP(width, separable)
        self.predictor = nn.Conv2d(width, classes, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.predictor(self.aspp(high))


class Detectron2(nn.Module):
    def __init__(self, classes: int, plus: bool, separable: bool, deep: bool, width: int = 24) -> None:
        super().__init__()
        self.backbone = D2Backbone(deep)
        self.sem_seg_head = (D2HeadPlus if plus else D2Head)(classes, width, separable)

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.sem_seg_head(*self.backbone(image)), image, False)


# --- kazuto1011 and Caffe -------------------------------------------------------------------------------------------


def kazuto_conv(channels: int, out: int, kernel: int = 1, stride: int = 1, rate: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, stride, rate * (kernel // 2), rate, bias=False)
    layers = nn.Sequential()
    layers.add_module("conv", conv)
    layers.add_module("bn", nn.BatchNorm2d(out))
    return layers


class KazutoBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, rate: int, first: bool) -> None:
        super().__init__()
        self.reduce = kazuto_conv(channels, width, stride=stride)
        self.conv3x3 = kazuto_conv(width, width, 3, rate=rate)
        self.increase = kazuto_conv(width, 4 * width)
        self.shortcut = kazuto_conv(channels, 4 * width, stride=stride) if first else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.increase(self.conv3x3(self.reduce(x).relu()).relu())
        return (out + (x if self.shortcut is None else self.shortcut(x))).relu()


class Kazuto(nn.Module):
    """v2 on a ResNet of two units a stage, without the other scales."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer1 = nn.ModuleDict({"conv1": kazuto_conv(3, 64, 7, stride=2)})
        channels = 64
        for stage, (stride, rate) in enumerate(((1, 1), (2, 1), (1, 2), (1, 4))):
            width = 64 * 2**stage
            blocks = nn.Sequential()
            for index in range(2):
                first = index == 0
                blocks.add_module(
                    f"block{index + 1}", KazutoBlock(channels, width, stride if first else 1, rate, first)
                )
                channels = 4 * width
            self.add_module(f"layer{stage + 2}", blocks)
        self.aspp = nn.ModuleDict(
            {
                f"c{index}": nn.Conv2d(2048, classes, 3, padding=rate, dilation=rate)
                for index, rate in enumerate((6, 12, 18, 24))
            }
        )

    def scores(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(self.layer1["conv1"](image).relu(), 3, 2, 1, ceil_mode=True)
        x = self.layer5(self.layer4(self.layer3(self.layer2(x))))
        return torch.stack([branch(x) for branch in self.aspp.values()]).sum(0)

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.scores(image), image, False)


class CaffeVGG(nn.Module):
    """The authors' VGG16 nets by their prototxt: v1's LargeFOV, or v2 with four branches fc6_1 ... fc8_voc12_4."""

    def __init__(self, classes: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.rates = dict(zip([""] if len(rates) == 1 else ["_1", "_2", "_3", "_4"], rates, strict=True))
        channels = 3
        for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
            for index in range(1, count + 1):
                rate = 2 if stage == 5 else 1
                self.add_module(f"conv{stage}_{index}", nn.Conv2d(channels, width, 3, padding=rate, dilation=rate))
                channels = width
        for ending, rate in self.rates.items():
            self.add_module(f"fc6{ending}", nn.Conv2d(512, 1024, 3, padding=rate, dilation=rate))
            self.add_module(f"fc7{ending}", nn.Conv2d(1024, 1024, 1))
            self.add_module(f"fc8_voc12{ending}", nn.Conv2d(1024, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for stage, stride in enumerate((2, 2, 2, 1, 1), start=1):
            for name, conv in self.named_children():
                x = conv(x).relu() if name.startswith(f"conv{stage}_") else x
            x = F.max_pool2d(x, 3, stride, 1)
        if len(self.rates) == 1:
            x = F.avg_pool2d(x, 3, 1, 1)
        scores = []
        for ending in self.rates:
            fc6, fc7, fc8 = (getattr(self, f"{layer}{ending}") for layer in ("fc6", "fc7", "fc8_voc12"))
            scores.append(fc8(fc7(fc6(x).relu()).relu()))
        return upsample(torch.stack(scores).sum(0), image, True)


class MultiScale(nn.Module):
    """Its wrapper: the maximum over three scales, of which two are made from the image."""

    def __init__(self, base: Kazuto, align_corners: bool = False) -> None:
        super().__init__()
        self.base, self.align_corners = base, align_corners

    def forward(self, image: Tensor) -> Tensor:
        maps = [self.base.scores(image)]
        for scale in (0.5, 0.75):
            size = [int((side - 1) * scale) + 1 for side in image.shape[-2:]]
            smaller = F.interpolate(image, size, mode="bilinear", align_corners=self.align_corners)
            maps.append(upsample(self.base.scores(smaller), maps[0], self.align_corners))
        return upsample(torch.stack(maps).amax(0), image, self.align_corners)
