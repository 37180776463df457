"""From stored image to class map at full size: ours beside what a user would pick instead, in one run.

    python benchmarks/inference.py [--only smp torchvision transformers] [--rounds 40] [--no_onnx]

Each peer has the same backbone and image as ours beside it. With segmentation_models_pytorch (DeepLab v3+ on
MobileNetV2, 512x512, since it refuses 513) and torchvision (deeplabv3_mobilenet_v3_large, 513x513) ours is the same
network with the same weights, and must give the same classes before anything is timed. transformers'
MobileNetV2ForSemanticSegmentation is DeepLab v3 in its lite form at output stride 8; ours has the same layers and
random weights. Theirs is run as its users do: scaled to floats and normalised, network, logits resized to the image,
argmax; plain, then in channels-last order, then in ONNX Runtime with all of that in the graph, for images of one size
and of any. Ours is the Predictor behind predict and validate, and the files that `export` writes with --size and
without. Every round runs all rows, in an order of its own; of each row the middle one counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does: docs/decisions/0006-short-spinning.md

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from train_step import networks

from deeplab_lightning.checkpoints.importers import place, recognise
from deeplab_lightning.checkpoints.reading import ForeignFile
from deeplab_lightning.export.format import Order
from deeplab_lightning.export.formats.onnx import ONNX
from deeplab_lightning.export.model import ImageModel
from deeplab_lightning.inference.predictor import Predictor
from deeplab_lightning.layers import Normalise
from deeplab_lightning.models import DeepLabV3
from deeplab_lightning.models.batch_norm_folding import fold_batch_norms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 21
WARM_UP = 2
REST = 0.1
"""Seconds before each measurement: threads spin on for a while when they are done, and would hold up the next row's."""
Segment = Callable[[Tensor], Any]


class Theirs(nn.Module):
    """A peer's network as its users run it: bytes in, class ids out.

    Args:
        network: Theirs.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` uint8 -> `(B, H, W)` int64."""
        result: Any = self.network((image.float() / 255 - self.mean) / self.std)
        if isinstance(result, dict):
            result = result["out"] if "out" in result else result["logits"]
        elif hasattr(result, "logits"):
            result = result.logits
        if result.shape[-2:] != image.shape[-2:]:
            result = F.interpolate(result, image.shape[-2:], mode="bilinear", align_corners=False)
        return result.argmax(1)


def smp() -> tuple[nn.Module, Any, int, bool]:
    """Return their network and ours, the image's side, and whether both have the same weights."""
    options = argparse.Namespace(network="v3plus", backbone="mobilenetv2_100")
    return *networks(options), 512, True


def torchvision() -> tuple[nn.Module, Any, int, bool]:
    """Likewise."""
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    theirs = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)
    imported = recognise(ForeignFile(Path("in memory"), "pytorch", theirs.state_dict()), "torchvision")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in imported.options.items()}
    ours = DeepLabV3(NUM_CLASSES, **options)
    if not place(imported, ours).complete:
        raise SystemExit("torchvision's weights do not fit.")
    ours.load_state_dict(imported.state)
    return theirs, ours, 513, True


def transformers() -> tuple[nn.Module, Any, int, bool]:
    """Likewise."""
    from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

    config = MobileNetV2Config(output_stride=8, num_labels=NUM_CLASSES, image_size=513)
    theirs = MobileNetV2ForSemanticSegmentation(config)
    ours = DeepLabV3(NUM_CLASSES, "mobilenetv2_100", 8, atrous_rates=(), align_corners=False)
    return theirs, ours, 513, False


PEERS = {"smp": smp, "torchvision": torchvision, "transformers": transformers}


def onnx_session(module: nn.Module, image: Tensor, one_size: bool) -> Segment:
    """Write a module as ONNX in memory, as its users do, and return what runs it."""
    import onnxruntime

    open_size = torch.export.Dim.DYNAMIC
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            module,
            (image if one_size else image.repeat(2, 1, 1, 1),),
            dynamo=True,
            verbose=False,
            dynamic_shapes=None if one_size else ({0: open_size, 2: open_size, 3: open_size},),
        )
    assert program is not None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), settings)
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image.numpy()})[0]


def exported(model: ImageModel, image: Tensor, one_size: bool) -> Segment:
    """Return what runs the file that `export` writes."""
    with tempfile.TemporaryDirectory() as folder:
        order = Order(model, image.repeat(2, 1, 1, 1), Path(folder, "ours.onnx"), {}, "fp32", 18, one_size=one_size)
        run = ONNX().write(order).run
    return lambda image: run(image.numpy())


def milliseconds(segments: dict[str, Segment], image: Tensor, rounds: int) -> dict[str, float]:
    """Return the median of each row."""
    times: dict[str, list[float]] = {name: [] for name in segments}
    for number in range(WARM_UP + rounds):
        for name, segment in random.sample(list(segments.items()), len(segments)):
            time.sleep(REST)
            started = time.perf_counter()
            segment(image)
            if number >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def predicting(ours: Any, normalise: Normalise) -> Predictor:
    """Return what predict and validate would use."""
    folded: Any = fold_batch_norms(ours, torch.randn(1, 3, 65, 65))
    return Predictor(
        folded.coarse_logits,
        normalise,
        output_stride=ours.output_stride,
        align_corners=ours.align_corners,
        side_remainder=getattr(ours, "side_remainder", 1),
    )


@torch.inference_mode()
def compare(peer: str, rounds: int, with_onnx: bool) -> None:
    """Measure one peer and ours, and print the rows."""
    torch.manual_seed(0)
    theirs, ours, side, same = PEERS[peer]()
    plain, ours = Theirs(theirs).eval(), ours.eval()
    normalise = Normalise(MEAN, STD, 255)
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    if same:
        agree = (plain(image) == predicting(ours, normalise).predict(image)).float().mean().item()
        if agree < 0.99:  # random weights leave classes so close that rounding decides some
            raise SystemExit(f"{peer}: not the same network, {agree:.2%} of the classes agree.")
    counts = [sum(parameter.numel() for parameter in network.parameters()) / 1e6 for network in (theirs, ours)]
    onnx = {}
    if with_onnx:
        model = ImageModel(ours, normalise)
        onnx = {
            "theirs, ONNX, one size": onnx_session(plain, image, True),
            "theirs, ONNX, any size": onnx_session(plain, image, False),
            "ours, ONNX, one size": exported(model, image, True),
            "ours, ONNX, any size": exported(model, image, False),
        }
        first, *others = (np.asarray(run(image)) for run in onnx.values())
        if same and any((first == other).mean() < 0.99 for other in others):
            raise SystemExit(f"{peer}: the ONNX files give different classes.")
    # Once turned to channels-last, weights stay so: the plain rows have networks of their own.
    theirs_last, ours_plain = Theirs(PEERS[peer]()[0]).eval(), PEERS[peer]()[1].eval()
    theirs_last.to(memory_format=torch.channels_last)
    ours.to(memory_format=torch.channels_last)
    predictor, plain_predictor = predicting(ours, normalise), predicting(ours_plain, normalise)
    rows: dict[str, Segment] = {
        "theirs, plain": plain,
        "theirs, channels-last": lambda image: theirs_last(image.to(memory_format=torch.channels_last)),
        "ours, plain": plain_predictor.predict,
        "ours (channels-last)": predictor.predict,
        **onnx,
    }
    found = milliseconds(rows, image, rounds)
    weights = "the same weights" if same else f"{counts[0]:.2f} M parameters, ours {counts[1]:.2f} M"
    print(f"\n{peer}, {side}x{side}, {weights}")
    rivals = {"theirs, plain": "ours (channels-last)", "theirs, channels-last": "ours (channels-last)",
              "theirs, ONNX, one size": "ours, ONNX, one size",
              "theirs, ONNX, any size": "ours, ONNX, any size"}  # fmt: skip
    for name, value in found.items():
        ratio = f"{found[rivals[name]] / value:>8.2f}x" if name in rivals else ""
        print(f"{name:<26}{value:>9.1f} ms{ratio}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--no_onnx", action="store_true")
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}; ratios: ours / theirs")
    for peer in options.only:
        compare(peer, options.rounds, not options.no_onnx)


if __name__ == "__main__":
    main()
