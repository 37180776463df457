"""The networks: one generation, one file. Plain `torch.nn.Module`s, for any training loop."""

from __future__ import annotations

from ..plugins import import_all, named, own_class, subclasses
from .base import Network, NetworkOptions, TrainingMaps
from .deeplab_v1 import DeepLabV1
from .deeplab_v2 import DeepLabV2
from .deeplab_v3 import DeepLabV3, DeepLabV3Cascade
from .deeplab_v3plus import DeepLabV3Plus
from .encoder_decoder import EncoderDecoder
from .fcn import FCN
from .panoptic_deeplab import PanopticDeepLab
from .segnet import SegNet
from .unet import UNet

__all__ = [
    "FCN",
    "DeepLabV1",
    "DeepLabV2",
    "DeepLabV3",
    "DeepLabV3Cascade",
    "DeepLabV3Plus",
    "EncoderDecoder",
    "Network",
    "NetworkOptions",
    "PanopticDeepLab",
    "SegNet",
    "TrainingMaps",
    "UNet",
    "network_named",
    "networks",
]


def networks() -> dict[str, type[Network]]:
    """Return all networks by their class's name: those of this folder, and the user's own subclasses of `Network`."""
    import_all(__name__)
    return {network.__name__: network for network in subclasses(Network)}  # type: ignore[type-abstract]


def network_named(name: str) -> type[Network]:
    """Return a network's class; one of the user's own by its module and name, `mymodule.MyNet`.

    Raises:
        ConfigError: There is none of that name; the nearest is named.
    """
    if "." in name:
        return own_class("network", name, Network)  # type: ignore[type-abstract]
    return named("network", name, networks())
