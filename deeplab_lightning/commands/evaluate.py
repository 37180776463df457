"""`evaluate`: one checkpoint, many protocols, one table. What was scored once is not scored again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import ConfigError, DataError, did_you_mean
from ..files import atomic_open, sha256
from .evaluating import from_yaml
from .inspect import split_arguments
from .protocol_scores import Evaluation, Progress, plain
from .protocols import Protocol, as_protocol, default_protocols, read_list

if TYPE_CHECKING:
    from ..labels import LabelSet
    from ..tasks import SegmentationTask


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning evaluate",
        description="Score a checkpoint under many protocols: output strides, scales, flip, windows, CRF. Prints a "
        "table with the published figures where the run has the name of a recipe in configs/paper, and writes it as "
        "Markdown and CSV. Scores are kept: an evaluation that was stopped goes on where it was.",
        epilog="-c FILE.yaml and --data.option are those of validate, such as -c configs/data/voc.yaml. A protocol is "
        "output_stride and the options of validate --evaluation.*: see docs/inference.md.",
        allow_abbrev=False,
    )
    parser.add_argument("--ckpt_path", required=True, help="checkpoint, or a run such as runs/v3plus (its best one)")
    parser.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="YAML",
        help="such as '{output_stride: 8, scales: [0.75, 1, 1.25], flip: true}'; may be given several times (without "
        "it: those of the generation's paper)",
    )
    parser.add_argument("--protocols", type=Path, metavar="FILE.yaml", help="a list of such protocols")
    parser.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        help="beside mIoU and pixel accuracy: boundary_iou, bf_score, trimap (around the labels' boundaries), "
        "trimap_void (around void, the papers' for VOC), none (boundary_iou bf_score); see docs/boundaries.md",
    )
    parser.add_argument("--split", choices=("val", "test"), default="val", help="(%(default)s)")
    parser.add_argument("--images", type=int, help="so many, spread evenly over the split (all)")
    parser.add_argument("--output", type=Path, help="folder for the results (evaluate/ in the run's folder)")
    parser.add_argument("--published", metavar="NAME", help="recipe in configs/paper to compare with (the run's name)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (the GPU if there is one)")
    own, configuration = split_arguments(arguments)
    options = parser.parse_args(own)
    if options.images is not None and options.images < 1:
        raise ConfigError(f"--images is {options.images}; expected 1 or more.")
    given = [from_yaml(text, "--protocol") for text in options.protocol]
    if options.protocols is not None:
        given += read_list(options.protocols)
    return evaluate(
        configuration,
        options.ckpt_path,
        [as_protocol(one) for one in given],
        options.split,
        options.images,
        options.output,
        options.published,
        options.device,
        options.measures,
    )


def evaluate(
    configuration: Sequence[str],
    ckpt_path: str,
    protocols: Sequence[Protocol] = (),
    split: str = "val",
    images: int | None = None,
    output: Path | None = None,
    recipe: str | None = None,
    device: str | None = None,
    measures: Sequence[str] | None = None,
) -> int:
    """Score, print the table, and write `table.md`, `table.csv` and what each protocol counted to `output`.

    With a trimap among the measures also its curves: `trimap.png`, and a CSV file per protocol.

    Args:
        configuration: `-c`, `--model.x` and `--data.x` as given to `validate`.
        ckpt_path: Checkpoint or run.
        protocols: The rows; the default set of the model's generation if there is none.
        split: Of the data.
        images: How many of it; all if None.
        output: Folder of the results; in the checkpoint's run if None.
        recipe: Whose published figures to show; the one that the run is named after if None.
        device: Where to run.
        measures: Names in `metrics.measures.MEASURES`, beside `ALWAYS`; the `CHEAP` ones if None.

    Returns:
        0.
    """
    import torch

    measured = _measures_named(measures)
    from ..data.fingerprint import exact_fingerprint
    from ..data.splitting import spread
    from ..reporting.protocol_table import as_markdown, write_csv

    networks = _Networks(list(configuration), ckpt_path, device)
    configured = networks.configured(None)
    dataset = configured.dataset(split)
    chosen = spread(len(dataset), images or len(dataset))
    checkpoint = configured.checkpoint_path
    assert checkpoint is not None
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else None
    folder = output or (Path("evaluate") if run is None else run / "evaluate")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Cannot write to {folder} ({error.strerror}): choose a folder with --output.") from error

    by_default = not protocols
    rows_wanted = list(protocols) or default_protocols(configured.model, type(dataset).__name__)
    subject = {
        "checkpoint": sha256(checkpoint),
        "data": exact_fingerprint(dataset, chosen),
        "split": split,
        "version": __version__,
    }
    evaluations = []
    for protocol in rows_wanted:
        try:
            task = networks.task(protocol.output_stride)
            predictor = task.predictor(protocol.options)
        except ConfigError as error:
            if not by_default:
                raise
            print(f"left out: output stride {protocol.output_stride}: {error}", file=sys.stderr)
            continue
        morphology = protocol.morphology(dataset.labels)
        key: dict[str, Any] = {"model": plain(dict(task.hparams)), "options": asdict(protocol.options)}
        key |= subject | {"postprocessing": str(morphology), "measures": measured}
        words = ", ".join(filter(None, (predictor.protocol, str(morphology))))
        evaluations.append(Evaluation(folder, key, protocol, words))

    name = recipe or (run.parent.name if run is not None else "")
    where = (
        _data_name(configured.config[configured.command].data.class_path)
        if split == "val" and len(chosen) == len(dataset)
        else ""
    )
    progress = Progress(evaluations, len(chosen))
    rows = []
    try:
        for evaluation in evaluations:
            if evaluation.result is None:
                task = networks.task(evaluation.protocol.output_stride)
                predictor = task.predictor(evaluation.protocol.options, task.folded())
                evaluation.run(predictor, task.device, dataset, chosen, progress)
            rows.append(evaluation.row(name, where))
    finally:
        progress.close()
    table = as_markdown(rows)
    caption = f"{checkpoint}, {type(dataset).__name__} {split}; {_machine(networks.device, torch.get_num_threads())}"
    with atomic_open(folder / "table.md") as file:
        file.write(f"{table}\n\n{caption}\n".encode())
    write_csv(folder / "table.csv", rows)
    files = ["table.md", "table.csv", *_draw_trimaps(folder, evaluations, measured, dataset.labels)]
    print(table)
    print(f"\n{caption}\nFiles: {', '.join(f'{folder}/{name}' for name in files)}")
    return 0


def _measures_named(names: Sequence[str] | None) -> list[str]:
    """Return the measures in the order of the table's columns."""
    from ..metrics.measures import ALWAYS, CHEAP, MEASURES

    asked = CHEAP if names is None else [] if list(names) == ["none"] else names
    for name in asked:
        if name not in MEASURES:
            raise ConfigError(
                f"There is no measure {name!r}.{did_you_mean(name, MEASURES)} There are: {', '.join(MEASURES)}, none."
            )
    if {"trimap", "trimap_void"} <= set(asked):
        raise ConfigError("trimap and trimap_void have the same columns: ask for one at a time.")
    return [name for name in MEASURES if name in (*ALWAYS, *asked)]


def _draw_trimaps(
    folder: Path, evaluations: Sequence[Evaluation], measured: Sequence[str], labels: LabelSet
) -> list[str]:
    """Write the trimap curves, where there are any; return the names of the files."""
    from ..metrics.boundary_metrics import Trimap
    from ..reporting.boundaries import plot_trimaps, write_trimap_csv

    curves = {}
    for evaluation in evaluations:
        for metric in evaluation.metrics(labels).values() if {"trimap", "trimap_void"} & set(measured) else ():
            if isinstance(metric, Trimap) and metric.total().any():
                curves[evaluation.words] = metric.scores()
                write_trimap_csv(folder / f"trimap-{len(curves)}.csv", metric.scores())
    if not curves:
        return []
    with atomic_open(folder / "trimap.png") as file:
        plot_trimaps(curves, file)
    return ["trimap.png", *(f"trimap-{number}.csv" for number in range(1, len(curves) + 1))]


class _Networks:
    """The checkpoint's network at the output stride at hand: one at a time.

    Args:
        configuration: As given to `evaluate`.
        ckpt_path: Likewise.
        device: Likewise.
    """

    def __init__(self, configuration: list[str], ckpt_path: str, device: str | None) -> None:
        import torch

        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._configuration, self._ckpt_path = configuration, ckpt_path
        self._at: int | None = None
        self._made: Any = None

    def configured(self, output_stride: int | None) -> Any:
        """Return the configuration with its model, at an output stride or (None) its own."""
        from ..configured import ConfiguredModel

        if self._made is None or self._at != output_stride:
            stride = [] if output_stride is None else ["--model.output_stride", str(output_stride)]
            self._made = None
            self._made = ConfiguredModel([*self._configuration, *stride], self._ckpt_path, on_paper=False)
            self._at = output_stride
        return self._made

    def task(self, output_stride: int | None) -> SegmentationTask:
        """Return the network, ready on its device."""
        return self.configured(output_stride).model.eval().to(self.device)


def _data_name(class_path: str) -> str:
    return class_path.rsplit(".", 1)[-1].removesuffix("DataModule").lower()


def _machine(device: str, threads: int) -> str:
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"
