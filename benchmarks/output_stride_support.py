"""Writes docs/backbones.md: which backbones compute the same at output strides 16 and 8 as at 32.

    python benchmarks/output_stride_support.py

Runs the measurement of `tests/backbones/test_atrous.py` (random weights, float64, an odd and an even size) on the
networks that are listed there, a few minutes in all.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import timm

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY))

from deeplab_lightning.backbones.atrous import atrous_support  # noqa: E402
from deeplab_lightning.errors import ConfigError  # noqa: E402
from tests.backbones.test_atrous import APPROXIMATE_SMALL, EXACT_LARGE, EXACT_SMALL, drift  # noqa: E402

HEAD = f"""# Backbones and output strides

A network trained at output stride 32 can be run at 16 or 8: strides are taken out, and what follows is dilated. Only
where the denser features, subsampled, equal the strided ones does one set of weights serve all of them. Not every
network that accepts an output stride keeps that promise; `fit` warns of those that do not, and refuses those without.

Every backbone is tried on two images when it is built. Its maps have the image's sides over their stride, rounded up;
where a network rounds down (ConvNeXt, VGG) or only fits images whose sides its stride divides (HRNet, DLA), zeros, the
mean pixel, are put to the right and below. Networks that fail even then (HaloNet, Inception-ResNet) are refused.

Measured with timm {timm.__version__}, random weights and batch-norm statistics, float64, images of odd and even size:
the largest difference from the strided features, relative to the largest of them. Written by
`python benchmarks/output_stride_support.py`; the suite repeats the measurement. Larger members of a family are taken to
behave as the measured one (`backbones/atrous.py` has the names). ResNets can be built in the papers' other forms, too:
`first_unit: lag` (here) and `stride_place: previous` (TensorFlow's) are exact, `first_unit: full` is not.

| backbone | at 16 | at 8 | support |
|---|---:|---:|---|
"""

TAIL = """
## As segmentation_models_pytorch builds them

`import` turns encoders of that package into backbones named `smp_...`: with the weights of a network of timm, they
compute something else. They can be trained from scratch, too. All dilate every convolution of a stage that lost its
stride, its first unit included, and are therefore approximate.

- `smp_mobilenet_v2`: `mobilenetv2_100` with its last 1x1 convolution, to 1280 channels.
- `smp_efficientnet_b0` to `_b7`: `tf_efficientnet_b0` ..., padded as on an image of 224, 240, 260, 300, 380, 456, 528,
  600 pixels. In `b0`, two units of stride 16 have the last stage's rate.
- `smp_se_resnet50`, `101`, `152`: `seresnet50` ..., max pooling without padding, a stage's stride in its first 1x1.
- `smp_se_resnext50_32x4d`, `smp_se_resnext101_32x4d`, `smp_senet154`: likewise, with the stride in the 3x3.
- `smp_mobileone_s0` to `_s4`: `mobileone_s0` ..., dilated as said above.
"""


def measured(name: str, output_stride: int) -> str:
    """Return the difference as the table shows it."""
    try:
        difference = drift(name, output_stride)
    except ConfigError:
        return "refused"
    return "0" if difference == 0 else f"{difference:.0e}"


def main() -> None:
    """Measure all, print as it goes, write the page."""
    warnings.simplefilter("ignore")
    rows = []
    for name in [*EXACT_SMALL, *EXACT_LARGE, *APPROXIMATE_SMALL]:
        found = [measured(name, output_stride) for output_stride in (16, 8)]
        rows.append(f"| `{name}` | {found[0]} | {found[1]} | {atrous_support(name)} |\n")
        print(rows[-1], end="", flush=True)
    (REPOSITORY / "docs" / "backbones.md").write_text(HEAD + "".join(rows) + TAIL)


if __name__ == "__main__":
    main()
