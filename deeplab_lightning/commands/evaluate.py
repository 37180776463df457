"""`evaluate`: one checkpoint, many protocols, one table. What was scored once is not scored again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ..command_line import ConfigurationWords, from_yaml
from ..errors import ConfigError, did_you_mean, shown
from ..files import atomic_open, write_text, writing
from ..options import Written, at_least
from .identity import identity
from .protocol_scores import Evaluation
from .protocols import as_protocol, default_protocols, read_list

if TYPE_CHECKING:
    from ..config import Configuration
    from ..labels import LabelSet
    from ..tasks import SegmentationTask


def evaluate(
    *,
    ckpt_path: str,
    configuration: ConfigurationWords = (),
    protocol: Annotated[list[str] | None, Written(metavar="YAML", repeated=True)] = None,
    protocols: Annotated[Path | None, Written(metavar="FILE.yaml")] = None,
    measures: Annotated[list[str] | None, Written(metavar="NAME")] = None,
    split: Literal["val", "test"] = "val",
    images: Annotated[int, at_least(1)] | None = None,
    output: Annotated[Path | None, Written(metavar="FOLDER")] = None,
    published: Annotated[str | None, Written(metavar="NAME")] = None,
    device: str | None = None,
) -> int:
    """Score a checkpoint under many protocols, in one table.

    Output strides, scales, flip, windows, CRF. Prints a table with the published figures where the run has the name of
    a recipe in configs/paper, and writes it as Markdown and CSV; with a trimap among the measures also its curves.
    Scores are kept: an evaluation that was stopped goes on where it was. A protocol is output_stride and the options of
    validate --evaluation.*: see docs/inference.md.

    Args:
        ckpt_path: Checkpoint, or a run such as runs/v3plus, of which the best checkpoint is taken.
        configuration: -c FILE.yaml and --data.option are those of validate, such as -c configs/data/voc.yaml.
        protocol: A row of the table, such as '{output_stride: 8, scales: [0.75, 1, 1.25], flip: true}'; may be given
            several times. Without any, the rows are those of the generation's paper.
        protocols: File with a list of protocols, rows of the table.
        measures: What is measured beside mIoU and pixel accuracy: boundary_iou, bf_score, trimap (around the labels'
            boundaries), trimap_void (around void, the papers' for VOC) or none; boundary_iou and bf_score if not given.
            See docs/boundaries.md.
        split: Split of the data that is scored.
        images: Score so many images, spread evenly over the split; all if not given.
        output: Folder for the results; evaluate/ in the run's folder if not given.
        published: Recipe in configs/paper whose published figures are shown; the one that the run is named after if
            not given.
        device: Where to run, such as cpu or cuda:1; the GPU, if there is one, when not given.

    Returns:
        0, or 1 if some image could not be scored: it is named at the end, and the others' scores stand in the table.

    Raises:
        ConfigError: A protocol, a measure or an option cannot be used.
        DataError: The results cannot be written.
    """
    given = [from_yaml(text, "--protocol") for text in protocol or ()]
    given += [] if protocols is None else read_list(protocols)
    asked = [as_protocol(one) for one in given]
    import torch
    from tqdm import tqdm

    measured = _measures_named(measures)
    from ..data.fingerprint import exact_fingerprint
    from ..data.spacing import spread
    from ..reporting.protocol_table import as_markdown, write_csv
    from ..runs import run_of
    from ..tasks.precision import expect_full_precision

    expect_full_precision(configuration, "evaluate")
    networks = _Networks(list(configuration), ckpt_path, device)
    configured = networks.configured(None)
    dataset = configured.datamodule().dataset(split)
    chosen = spread(len(dataset), images or len(dataset))
    checkpoint = configured.checkpoint_path
    assert checkpoint is not None
    run = run_of(checkpoint)
    folder = output or (Path("evaluate") if run is None else run.path / "evaluate")
    with writing(f"to {folder}", "Choose a folder with --output."):
        folder.mkdir(parents=True, exist_ok=True)

    rows_wanted = asked or default_protocols(networks.task(None), type(dataset).__name__)
    data = exact_fingerprint(dataset, chosen)
    evaluations = []
    for row in rows_wanted:
        try:
            task = networks.task(row.output_stride)
            predictor = task.predictor(row.options)
        except ConfigError as error:
            if asked:
                raise
            print(f"left out: output stride {row.output_stride}: {error}", file=sys.stderr)
            continue
        morphology = row.morphology(dataset.labels)
        key = identity(task, data) | {"options": asdict(row.options), "split": split}
        key |= {"postprocessing": str(morphology), "measures": measured}
        words = ", ".join(filter(None, (predictor.protocol, str(morphology))))
        evaluations.append(Evaluation(folder, key, row, words, predictor.output_stride))

    name = published or (run.path.parent.name if run is not None else "")
    is_whole = split == "val" and len(chosen) == len(dataset)
    where = configured.data_class.name_in_yaml().lower() if is_whole else ""
    rows = []
    cost = sum(evaluation.cost() for evaluation in evaluations if evaluation.result is None) * len(chosen)
    form, pause = "{desc}{percentage:3.0f}% |{bar}| {elapsed}, {remaining} to go", 0.1 if sys.stderr.isatty() else 15
    with tqdm(total=cost, bar_format=form, mininterval=pause, disable=cost == 0) as bar:
        for number, evaluation in enumerate(evaluations, start=1):
            if evaluation.result is None:
                bar.set_description(f"protocol {number} of {len(evaluations)}")
                task = networks.task(evaluation.protocol.output_stride)
                predictor = task.predictor(evaluation.protocol.options, task.folded())
                evaluation.run(predictor, task.device, dataset, chosen, bar)
            rows.append(evaluation.row(name, "" if evaluation.failures else where))
    table = as_markdown(rows)
    threads, on_gpu = torch.get_num_threads(), torch.device(networks.device).type == "cuda"
    cpu = f"CPU, {threads} thread{'' if threads == 1 else 's'}"
    machine = torch.cuda.get_device_name(networks.device) if on_gpu else cpu
    caption = f"{checkpoint}, {type(dataset).__name__} {split}; {machine}"
    write_text(folder / "table.md", f"{table}\n\n{caption}\n")
    write_csv(folder / "table.csv", rows)
    files = ["table.md", "table.csv", *_draw_trimaps(folder, evaluations, measured, dataset.labels)]
    print(table)
    print(f"\n{caption}\nFiles: {', '.join(f'{folder}/{name}' for name in files)}")
    failures = dict.fromkeys(failure for evaluation in evaluations for failure in evaluation.failures)
    for failure in failures:
        print(f"not scored: {shown(failure)}")
    return 1 if failures else 0


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
    """The checkpoint's network, by the options of `evaluate`, at the output stride at hand: one at a time."""

    def __init__(self, configuration: list[str], ckpt_path: str, device: str | None) -> None:
        from ..inference.devices import chosen_device

        self.device = str(chosen_device(device))
        self._configuration, self._ckpt_path = configuration, ckpt_path
        self._at: int | None = None
        self._task: SegmentationTask | None = None

    def configured(self, output_stride: int | None) -> Configuration:
        """Return the configuration, at an output stride or (None) its own."""
        from ..config import Configuration

        stride = [] if output_stride is None else ["--model.output_stride", str(output_stride)]
        return Configuration([*self._configuration, *stride], self._ckpt_path)

    def task(self, output_stride: int | None) -> SegmentationTask:
        """Return the network, ready on its device."""
        if self._task is None or self._at != output_stride:
            self._task = None
            self._task = self.configured(output_stride).trained_task().eval().to(self.device)
            self._at = output_stride
        return self._task
