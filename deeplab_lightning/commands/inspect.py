"""`inspect`: what a network really computes, layer by layer, and what its parts answer to an image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..command_line import ConfigurationWords
from ..errors import ConfigError
from ..files import writing
from ..options import Written
from .export import SMALLEST_SIDE, Side

if TYPE_CHECKING:
    from ..inspection import Layer, Trace
    from ..tasks import SegmentationTask

OTHER_PLACE = "Choose another place."


def inspect(
    checkpoint: Annotated[str | None, Written(metavar="CHECKPOINT|RUN")] = None,
    /,
    *,
    configuration: ConfigurationWords = (),
    size: Annotated[tuple[Side, Side] | None, Written(metavar=("H", "W"))] = None,
    every_layer: Annotated[bool, Written("--all")] = False,
    csv: Annotated[Path | None, Written(metavar="FILE")] = None,
    plot: Annotated[Path | None, Written(metavar="FILE.png")] = None,
    image: Annotated[str | None, Written(metavar="FILE")] = None,
    layers: Annotated[str | None, Written(metavar="A,B")] = None,
    output: Annotated[Path, Written(metavar="FOLDER")] = Path("activations"),
) -> int:
    """Say what a network really computes, layer by layer.

    Runs it once without weights or data, and lists every layer with its size, stride, receptive field, parameters and
    multiply-adds. Or, with --image, draws what its parts answer to an image.

    Args:
        checkpoint: Checkpoint, or a run such as runs/v3plus, of which the best checkpoint is taken.
        configuration: -c FILE.yaml, --model.option and --data.option are those of fit: inspect -c configs/v3plus.yaml
            --model.output_stride 8. They override a checkpoint's own.
        size: Height and width of the image in pixels; the data's crop_size if not given.
        every_layer: List every layer, also those of blocks that repeat one another.
        csv: File to write the layers to as well.
        plot: File to draw receptive fields and taps to as well.
        image: Image to run the network on, to draw feature maps in place of the report.
        layers: Modules whose feature maps are drawn, such as aspp,decoder; all parts of the network if not given.
        output: Folder for the feature maps, NAME.png each.

    Returns:
        0.

    Raises:
        ConfigError: There is no network, or options contradict each other.
    """
    if checkpoint is None and not configuration:
        raise ConfigError("inspect needs a network: a checkpoint, a run, or -c configs/v3plus.yaml.")
    if image is None:
        if layers is not None:
            raise ConfigError("--layers names what is drawn of an image: add --image FILE.")
        return describe(configuration, checkpoint, size, every_layer, csv, plot)
    for option, given in (("size", size), ("csv", csv), ("plot", plot)):
        if given is not None:
            raise ConfigError(f"--image draws feature maps of that image, without a report: leave out --{option}.")
    names = [name.strip() for name in (layers or "").split(",") if name.strip()]
    return draw_activations(configuration, checkpoint, image, names, output)


def describe(
    configuration: Sequence[str],
    checkpoint: str | None,
    size: Sequence[int] | None,
    every_layer: bool,
    csv: Path | None,
    plot: Path | None,
) -> int:
    """Print the report on a network, by the options of `inspect`; no weights are read or fetched, no data is opened."""
    from ..config import Configuration
    from ..inspection import report, trace, warnings_of, write_layers_csv

    if plot is not None and plot.suffix.lower() != ".png":
        raise ConfigError(f"The drawing is a PNG: name it {plot.with_suffix('.png')} instead of {plot}.")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        configured = Configuration(configuration, checkpoint)
        task = configured.make_task(on_paper=True)
    height, width = size or (configured.data.crop_size, configured.data.crop_size)
    if min(height, width) < SMALLEST_SIDE:
        raise ConfigError(f"An image of {height}x{width} is too small: --size takes {SMALLEST_SIDE} and more.")
    executed = trace(task.model, (height, width), task.description["channels"])

    print(report(executed, every_layer))
    print(f"\n{_support(task)}")
    package = str(Path(__file__).parent.parent)
    ours = [str(warning.message) for warning in said if warning.filename.startswith(package)]
    for warning in [*ours, *warnings_of(executed)]:
        print(f"warning: {warning}")
    if csv is not None:
        with writing(csv, OTHER_PLACE):
            write_layers_csv(csv, executed)
        print(f"layers: {csv}")
    if plot is not None:
        _draw_fields(executed, type(task.model).__name__, plot)
        print(f"drawing: {plot}")
    return 0


def draw_activations(
    configuration: Sequence[str], checkpoint: str | None, image: str, names: Sequence[str], output: Path
) -> int:
    """Run a network on an image as `predict` does, and draw what some modules, or all of its parts, make of it."""
    import torch

    from ..config import Configuration
    from ..data.files.rasters import read_source
    from ..inspection import capture, find_parts
    from ..reporting.activations import plot_activations

    task = Configuration(configuration, checkpoint).trained_task().eval()
    stored = read_source(image, task.description["channels"], task.description["pixel_range"])
    network = task.model
    parts = find_parts(network, names)
    predictor = task.predictor()
    run, covered = predictor.network, stored.shape[:2]

    def note_size(padded: torch.Tensor) -> torch.Tensor:
        nonlocal covered
        covered = padded.shape[-2:]
        return run(padded)

    predictor.network = note_size
    batch = torch.from_numpy(stored.transpose(2, 0, 1).copy())[None]
    with capture(network, parts) as maps:
        predictor.predict(batch)
    silent = [name for name in parts if name not in maps] if names else []
    if silent:
        inner = [path for path, _ in network.get_submodule(silent[0]).named_children()]
        raise ConfigError(
            f"The module {silent[0]!r} makes no feature map of its own."
            + (f" What it holds: {', '.join(f'{silent[0]}.{path}' for path in inner)}." if inner else "")
        )
    for name, made in maps.items():
        path = output / f"{name}.png"
        with writing(path, OTHER_PLACE):
            path.parent.mkdir(parents=True, exist_ok=True)
            plot_activations(stored, made[0].numpy(), name, path, covered=covered, align_corners=network.align_corners)
    whose = f"weights of {checkpoint}" if checkpoint else "no checkpoint: weights as a training starts from"
    print(f"{', '.join(maps)}: {output}/NAME.png ({whose})")
    return 0


def _draw_fields(executed: Trace, network: str, png: Path) -> None:
    from ..data.sets.drawn_scenes import DrawnScenes
    from ..reporting.receptive_fields import SeenWindow, plot_receptive_fields

    def window(layer: Layer, label: str, **more: Any) -> SeenWindow | None:
        square = executed.square(layer)
        return None if square is None else SeenWindow(label, *square, **more)

    windows = [window(executed.deepest(), "deepest map")]
    for branch in executed.atrous_branches():
        share = "" if branch.valid_taps is None else f"{branch.valid_taps:.0%} of all taps on the map"
        rate = branch.dilation[0]
        windows.append(window(branch, f"rate {rate}", taps=executed.taps(branch), note=share))
    seen = sorted((entry for entry in windows if entry), key=lambda entry: entry.rows[1] - entry.rows[0])
    if not seen:
        raise ConfigError("This network sees the image through means only: there is no receptive field to draw.")
    height, width = executed.size
    side = max(64, height, width)  # scenes are drawn from there on
    image, _ = DrawnScenes("val", 1, side, side).load(0)
    title = f"{network} on {height} x {width}: what the centre of its deepest map and of its atrous branches sees"
    with writing(png, OTHER_PLACE):
        plot_receptive_fields(image[:height, :width], seen, title, png)


def _support(task: SegmentationTask) -> str:
    """Say how faithfully the backbone runs at its output stride."""
    from ..backbones import TimmBackbone
    from ..backbones.atrous import atrous_support

    backbone = getattr(task.model, "backbone", None)
    if not isinstance(backbone, TimmBackbone):
        return "output stride: fixed by this network"
    meaning = {
        "exact": "exact: the same weights compute the same at 32, 16 and 8",
        "approximate": "approximate: evaluate at the output stride of training",
        "unknown": "not measured: evaluate at the output stride of training",
    }
    return f"output strides of the backbone {backbone.name}: {meaning[atrous_support(backbone.name)]}"
