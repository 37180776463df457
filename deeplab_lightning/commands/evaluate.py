"""`evaluate`: one checkpoint, many protocols, one table. What was scored once is not scored again."""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import ConfigError, DataError, DeepLabError, did_you_mean
from ..files import atomic_open
from ..memory import forget_peak, peak_memory
from .crf_search import spread
from .evaluating import from_yaml
from .inspect import split_arguments
from .tidying import Tidying

if TYPE_CHECKING:
    import numpy as np

    from ..data.datasets.base import SegmentationDataset
    from ..inference import EvaluationOptions, Predictor
    from ..inference.morphology import Morphology
    from ..labels import LabelSet
    from ..metrics.measures import Measure
    from ..reporting.protocol_table import ProtocolRow
    from ..tasks import SegmentationTask

SECONDS_BETWEEN_SAVES = 20
"""What a kill can cost."""
HASHED_PICTURES = 8
"""Pictures whose pixels are part of the data's fingerprint; of the others, names, sizes and times of their files."""


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
    parser.add_argument("--pictures", type=int, help="so many, spread evenly over the split (all)")
    parser.add_argument("--output", type=Path, help="folder for the results (evaluate/ in the run's folder)")
    parser.add_argument("--published", metavar="NAME", help="recipe in configs/paper to compare with (the run's name)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (the GPU if there is one)")
    own, configuration = split_arguments(arguments)
    options = parser.parse_args(own)
    if options.pictures is not None and options.pictures < 1:
        raise ConfigError(f"--pictures is {options.pictures}; expected 1 or more.")
    given = [from_yaml(text, "--protocol") for text in options.protocol]
    if options.protocols is not None:
        given += _read_list(options.protocols)
    return evaluate(
        configuration,
        options.ckpt_path,
        [_as_protocol(one) for one in given],
        options.split,
        options.pictures,
        options.output,
        options.published,
        options.device,
        options.measures,
    )


NOT_TIDIED = Tidying()


@dataclass(frozen=True)
class Protocol:
    """What a row of the table is made by.

    Attributes:
        output_stride: Of the network; its own if None.
        options: Everything else.
        tidying: What is done to the class maps, in the words of `predict`.
    """

    output_stride: int | None
    options: EvaluationOptions
    tidying: Tidying = NOT_TIDIED

    def morphology(self, labels: LabelSet) -> Morphology:
        """Return the tidying for these classes."""
        return self.tidying.morphology(labels)


def evaluate(
    configuration: Sequence[str],
    ckpt_path: str,
    protocols: Sequence[Protocol] = (),
    split: str = "val",
    pictures: int | None = None,
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
        pictures: How many of it; all if None.
        output: Folder of the results; in the checkpoint's run if None.
        recipe: Whose published figures to show; the one that the run is named after if None.
        device: Where to run.
        measures: Names in `metrics.measures.MEASURES`, beside `ALWAYS`; the `CHEAP` ones if None.

    Returns:
        0.
    """
    import torch

    measured = _measures_named(measures)
    from ..cli import _resolve
    from ..reporting.protocol_table import as_markdown, write_csv

    networks = _Networks(list(configuration), ckpt_path, device)
    configured = networks.configured(None)
    data = configured.config[configured.command].data
    dataset = _resolve("data", data.class_path)(**data.init_args.as_dict()).dataset(split)
    chosen = spread(len(dataset), pictures or len(dataset))
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
        "checkpoint": _sha256(checkpoint),
        "data": data_fingerprint(dataset, chosen),
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
        key: dict[str, Any] = {"model": _plain(dict(task.hparams)), "options": asdict(protocol.options)}
        key |= subject | {"tidying": str(morphology), "measures": measured}
        words = ", ".join(filter(None, (predictor.protocol, str(morphology))))
        evaluations.append(Evaluation(folder, key, protocol, words))

    name = recipe or (run.parent.name if run is not None else "")
    where = _data_name(data.class_path) if split == "val" and len(chosen) == len(dataset) else ""
    progress = _Progress(evaluations, len(chosen))
    rows = []
    try:
        for evaluation in evaluations:
            if evaluation.result is None:
                task = networks.task(evaluation.protocol.output_stride)
                evaluation.run(task.predictor(evaluation.protocol.options), task.device, dataset, chosen, progress)
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
    from ..metrics.measures import TrimapColumns
    from ..reporting.boundaries import plot_trimaps, write_trimap_csv

    curves = {}
    for evaluation in evaluations:
        for measure in evaluation.measures(labels).values() if {"trimap", "trimap_void"} & set(measured) else ():
            curve = measure.curve() if isinstance(measure, TrimapColumns) else None
            if curve is not None:
                curves[evaluation.words] = curve
                write_trimap_csv(folder / f"trimap-{len(curves)}.csv", curve)
    if not curves:
        return []
    with atomic_open(folder / "trimap.png") as file:
        plot_trimaps(curves, file)
    return ["trimap.png", *(f"trimap-{number}.csv" for number in range(1, len(curves) + 1))]


def default_protocols(task: SegmentationTask, dataset: str) -> list[Protocol]:
    """Return the rows of the generation's paper: v1 and v2 with and without CRF, the others with scales and flip."""
    from ..inference import EvaluationOptions
    from ..reporting.published import CITYSCAPES_SCALES, VOC_SCALES

    model: Any = task.model
    generation = type(task).__name__
    once = EvaluationOptions()
    if generation in ("DeepLabV1Task", "DeepLabV2Task"):
        vgg = task.hparams.get("backbone") == "vgg16"
        paper = "v1" if generation == "DeepLabV1Task" else "v2_vgg16" if vgg else "v2_resnet101"
        is_rgb = task.description["channels"] == 3 and task.description["pixel_range"] == 255
        looks = [once, EvaluationOptions(crf=paper)] if is_rgb else [once]
    else:
        scales = CITYSCAPES_SCALES if "Cityscapes" in dataset else VOC_SCALES
        looks = [once, EvaluationOptions(scales), EvaluationOptions(scales, flip=True)]
    strides: list[int | None] = [None]
    if generation in ("DeepLabV3Task", "DeepLabV3PlusTask") and model.output_stride != 8:
        strides.append(8)
    return [Protocol(stride, look) for stride in strides for look in looks]


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


class Evaluation:
    """One protocol on all pictures; what is known of it lies in `KEY.npz` (counts) and, when done, `KEY.json`.

    Args:
        folder: For the files.
        key: All that the scores depend on.
        protocol: How to look.
        words: That in words.

    Attributes:
        result: What `KEY.json` holds, or None.
    """

    def __init__(self, folder: Path, key: dict[str, Any], protocol: Protocol, words: str) -> None:
        self.protocol, self.words, self.key = protocol, words, key
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True, default=str).encode()).hexdigest()[:16]
        self._counts, self._result = folder / f"{digest}.npz", folder / f"{digest}.json"
        self.result: dict[str, Any] | None = None
        with suppress(OSError, ValueError):  # not there, or torn: score again
            self.result = json.loads(self._result.read_text(encoding="utf-8"))

    def cost(self) -> float:
        """Return what a picture costs, in looks at scale 1 and output stride 16: for the time to go."""
        options = self.protocol.options
        stride = self.protocol.output_stride or 16
        return sum(scale**2 for scale in options.scales) * (1 + options.flip) * max(1.0, 16 / stride)

    def run(
        self,
        predictor: Predictor,
        device: Any,
        dataset: SegmentationDataset,
        chosen: Sequence[int],
        progress: _Progress,
    ) -> None:
        """Score the pictures that are not scored yet; what is done is kept, however this ends."""
        import numpy as np
        import torch

        measures, seconds, peak = self._taken_up(dataset.labels)
        morphology = self.protocol.morphology(dataset.labels)
        on_gpu = torch.device(device).type == "cuda"
        progress.start(self, len(seconds))

        def most_memory() -> int:
            now = torch.cuda.max_memory_allocated(device) if on_gpu else (peak_memory() or 0) if fresh else 0
            return max(peak, now)

        def keep() -> None:
            state: dict[str, np.ndarray] = {
                "seconds": np.array(list(seconds.values())),
                "done": np.array(list(seconds), dtype=np.str_),
                "peak": np.array(most_memory()),
            }
            for name, measure in measures.items():
                state |= {f"{name}/{part}": value for part, value in measure.state().items()}
            with atomic_open(self._counts) as file:
                np.savez_compressed(file, **state)  # type: ignore[arg-type,unused-ignore]

        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        fresh = forget_peak()
        saved = time.monotonic()
        try:
            for index in chosen:
                sample_id = dataset.sample_id(index)
                if sample_id in seconds:
                    continue
                picture, mask = dataset.load(index)
                image = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).to(device)[None]
                started = time.perf_counter()
                with torch.inference_mode():
                    if morphology:
                        probs = predictor.probs(image)
                        untidy = predictor.decide(probs.log())[0].cpu().numpy()
                        pred = torch.from_numpy(morphology.apply(untidy, probs[0].cpu().numpy()))
                    else:
                        pred = predictor.predict(image)[0].cpu()
                taken = time.perf_counter() - started
                for measure in measures.values():
                    measure.update(pred, torch.from_numpy(mask), sample_id)
                seconds[sample_id] = taken
                progress.step(self)
                if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                    keep()
                    saved = time.monotonic()
        finally:
            keep()
        scores = {name: value for measure in measures.values() for name, value in measure.compute().items()}
        self.result = {
            "protocol": self.words,
            "scores": scores,
            "seconds": statistics.median(seconds.values()),
            "peak_bytes": most_memory() or None,
            "pictures": len(seconds),
            "key": _plain(self.key),
        }
        with atomic_open(self._result) as file:
            file.write((json.dumps(self.result, indent=2) + "\n").encode())

    def measures(self, labels: LabelSet) -> dict[str, Measure]:
        """Return what was measured, as far as it is known."""
        return self._taken_up(labels)[0]

    def _taken_up(self, labels: LabelSet) -> tuple[dict[str, Measure], dict[str, float], int]:
        """Return the measures, the seconds of each picture, and the peak of memory, as far as they were known."""
        import numpy as np

        from ..metrics.measures import MEASURES

        def begin() -> dict[str, Measure]:
            return {name: MEASURES[name](labels.class_names, labels.ignore_index) for name in self.key["measures"]}

        measures = begin()
        try:
            with np.load(self._counts, allow_pickle=False) as state:
                for name, measure in measures.items():
                    own = [part for part in state.files if part.startswith(f"{name}/")]
                    measure.restore({part.removeprefix(f"{name}/"): state[part] for part in own})
                done = dict(zip(state["done"].tolist(), state["seconds"].tolist(), strict=True))
                return measures, done, int(state["peak"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):  # not there, or torn
            return begin(), {}, 0

    def row(self, recipe: str, data: str) -> ProtocolRow:
        """Return the result as a line of the table."""
        from ..inference.crf import PAPERS
        from ..reporting.protocol_table import ProtocolRow
        from ..reporting.published import published_miou

        assert self.result is not None
        options = self.protocol.options
        published = None
        if (
            self.protocol.tidying == NOT_TIDIED
            and options.window_size is None
            and options.crf_options in (None, *PAPERS.values())
        ):
            stride = int(self.words.split(",")[0].removeprefix("os"))
            published = published_miou(recipe, data, stride, options.scales, options.flip, options.crf is not None)
        result = self.result
        return ProtocolRow(
            self.words, result["scores"], published, result["seconds"], result["peak_bytes"], result["pictures"]
        )


class _Progress:
    """One bar over all that is still to be scored, weighted by what it costs.

    Args:
        evaluations: All of them.
        pictures: Of each.
    """

    def __init__(self, evaluations: Sequence[Evaluation], pictures: int) -> None:
        from tqdm import tqdm

        cost = sum(evaluation.cost() for evaluation in evaluations if evaluation.result is None)
        self._places = {id(evaluation): place for place, evaluation in enumerate(evaluations, 1)}
        between_lines = 0.1 if sys.stderr.isatty() else 15
        shown = "{desc}{percentage:3.0f}% |{bar}| {elapsed}, {remaining} to go"
        self._bar = tqdm(total=cost * pictures, bar_format=shown, mininterval=between_lines, disable=cost == 0)

    def start(self, evaluation: Evaluation, done: int) -> None:
        """Begin a protocol of whose pictures some are done."""
        self._bar.set_description(f"protocol {self._places[id(evaluation)]} of {len(self._places)}")
        self._bar.initial += done * evaluation.cost()  # no time went into them
        self._bar.update(done * evaluation.cost())

    def step(self, evaluation: Evaluation) -> None:
        """Count a picture."""
        self._bar.update(evaluation.cost())

    def close(self) -> None:
        """Leave the bar."""
        self._bar.close()


def data_fingerprint(dataset: SegmentationDataset, chosen: Sequence[int]) -> str:
    """Return what changes when the pictures, the masks or their reading do: a digest.

    It covers all names, the sizes and times of all files, and the pixels and labels of `HASHED_PICTURES` of them.
    """
    digest = hashlib.sha256()
    labels = dataset.labels
    digest.update(json.dumps([type(dataset).__name__, list(labels.class_names), labels.ignore_index]).encode())
    for index in chosen:
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in dataset.files(index)]
        digest.update(json.dumps([dataset.sample_id(index), stats]).encode())
    for place in spread(len(chosen), HASHED_PICTURES):
        image, mask = dataset.load(chosen[place])
        digest.update(str((image.shape, image.dtype)).encode())
        digest.update(image.tobytes())
        digest.update(mask.tobytes())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


def _read_list(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot read {path} ({error.strerror}): expected a YAML list of protocols.") from error
    found = from_yaml(text, str(path))
    if not isinstance(found, list) or not found:
        raise ConfigError(f"{path} holds no list of protocols; expected lines such as '- {{output_stride: 8}}'.")
    return found


def _as_protocol(given: Any) -> Protocol:
    from ..inference import EvaluationOptions, options_from

    if not isinstance(given, Mapping):
        raise ConfigError(f"The protocol {given!r} is not a mapping; expected such as '{{output_stride: 8}}'.")
    names = ["output_stride", "tidying", *(field.name for field in fields(EvaluationOptions))]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"A protocol has no {name!r}.{did_you_mean(str(name), names)} There are: {', '.join(names)}."
            )
    stride = given.get("output_stride")
    if stride not in (None, 8, 16, 32):
        raise ConfigError(f"The protocol's output_stride is {stride!r}; expected 8, 16 or 32.")
    try:
        options = options_from({name: value for name, value in given.items() if name not in names[:2]})
    except DeepLabError as error:
        raise ConfigError(f"The protocol {dict(given)} cannot be used: {error}") from error
    return Protocol(stride, options, _as_tidying(given.get("tidying") or {}))


def _as_tidying(given: Any) -> Tidying:
    if not isinstance(given, Mapping):
        raise ConfigError(f"The protocol's tidying is {given!r}; expected such as '{{min_area: 50}}'.")
    for name in given:
        if name not in Tidying._fields:
            raise ConfigError(
                f"Tidying has no {name!r}.{did_you_mean(str(name), Tidying._fields)} There are: "
                f"{', '.join(Tidying._fields)}."
            )
    words: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    tidying = Tidying(**words)
    if tidying.threshold and tidying.unsure is None:
        raise ConfigError("A tidying with a threshold needs `unsure: CLASS`: scores know no other label.")
    return tidying


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as JSON can hold them."""
    return json.loads(json.dumps(options, default=str, sort_keys=True))


def _data_name(class_path: str) -> str:
    return class_path.rsplit(".", 1)[-1].removesuffix("DataModule").lower()


def _machine(device: str, threads: int) -> str:
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"
