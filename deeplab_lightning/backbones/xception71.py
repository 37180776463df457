"""Xception-71 at output stride 8, which timm builds without the convolution in one shortcut.

Where a block of 728 channels loses its stride, timm takes its shortcut for an identity, and the ImageNet weights no
longer fit. So the network is built at 16, and that stride taken out here: what follows doubles its rate.
"""

from __future__ import annotations

from typing import Any

from torch import nn

NAMES = {"xception71"}
_BUILT_AT, _WANTED = 16, 8


def needs_help(architecture: str, output_stride: int) -> bool:
    """Tell whether timm would build other weights than at output stride 32."""
    return architecture in NAMES and output_stride == _WANTED


def take_out_last_stride(features: Any) -> None:
    """Change timm's Xception of output stride 16 to 8, in place."""
    blocks = [module for name, module in features.items() if name.startswith("blocks")]
    last = max(index for index, block in enumerate(blocks) if block.stack.conv3.conv_dw.stride[0] == 2)
    blocks[last].stack.conv3.conv_dw.stride = (1, 1)
    blocks[last].shortcut.conv.stride = (1, 1)
    for block in blocks[last + 1 :]:
        for conv in block.modules():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1):
                conv.dilation = conv.padding = (2 * conv.dilation[0],) * 2
    for info in features.feature_info.info:
        info["reduction"] = min(info["reduction"], _WANTED)
