"""What an ablation study is: the file that describes it, its rows, and the runs ("cells") behind them.

name: decoder-and-output-stride        # of the folder under runs/; the file's stem if not given
base: ../v3plus.yaml                   # one configuration or several, relative to this file
options: {trainer.max_steps: 300}      # of fit, for every cell
factors:                               # rows: every combination of one level of each
  decoder:
    with: {}
    without: {model.decoder: false}
  trained at:
    os 16: {model.output_stride: 16}
    os 8: {model.output_stride: 8}
evaluations:                           # optional: the same weights scored in several ways (options of validate)
  at os 16: {}
  at os 8: {model.output_stride: 8}
seeds: [0, 1, 2]
baseline: {decoder: with}              # what rows are compared with; first levels where not given
source: DeepLab v3+ (2018)             # of the published figures
published:                             # in percent; each must fit one row
  - {decoder: without, trained at: os 16, evaluation: at os 16, mIoU: 77.21}
also_published:                        # rows that are printed beside, but cannot be run from here
  - {row: with a CRF, mIoU: 71.57}
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, did_you_mean
from ..files import expect_name
from .options import Options, as_words, content_key, merged, read_yaml

EVALUATION = "evaluation"
"""The name of the column that `evaluations` make."""
_KEYS = ("name", "base", "options", "factors", "evaluations", "seeds", "baseline", "source", "published",
         "also_published")  # fmt: skip
MOST_CELLS = 100_000
"""Of a study: more would fill the memory before the first was trained."""
_OURS = ("run.name", "run.folder", "seed_everything", "ckpt_path")
"""Options that a study sets itself."""


@dataclass(frozen=True)
class Cell:
    """One training: a configuration and a seed.

    Attributes:
        key: Stands for the content of the configuration with its seed.
        recipe: Likewise without the seed: what costs the same.
        configs: Files of the base.
        options: On top of them.
        seed: Of everything.
    """

    key: str
    recipe: str
    configs: tuple[Path, ...]
    options: Options
    seed: int

    @property
    def words(self) -> list[str]:
        """The words after `fit`, without those that say where the run goes."""
        return [*(word for path in self.configs for word in ("-c", str(path))), *as_words(self.options)]


@dataclass(frozen=True)
class StudyEvaluation:
    """A way to score weights.

    Attributes:
        name: For the table; empty if the study knows only one.
        options: Of `validate`; none stands for the validation that was part of the training.
    """

    name: str
    options: Options

    @property
    def key(self) -> str:
        """Stands for the options."""
        return content_key(self.options)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        levels: Factor -> level, in the file's order, `evaluation` last.
        cells: One for each seed.
        evaluation: How they are scored.
        published: mIoU in percent, or None.
    """

    levels: dict[str, str]
    cells: tuple[Cell, ...]
    evaluation: StudyEvaluation
    published: float | None

    @property
    def name(self) -> str:
        """The levels in one line."""
        return ", ".join(self.levels.values())


@dataclass(frozen=True)
class Study:
    """A study file, understood.

    Attributes:
        name: Of its folder.
        rows: In the file's order, the last factor changing fastest.
        baseline: Index of the row that the others are compared with.
        source: Where the published figures stand.
        also_published: Names and mIoU in percent of rows that are not run.
    """

    name: str
    rows: tuple[Row, ...]
    baseline: int
    source: str
    also_published: tuple[tuple[str, float], ...]

    @property
    def cells(self) -> list[Cell]:
        """All cells, each once: rows whose configurations say the same share their runs.

        Seed by seed, so that a study that is stopped early has whole tables of fewer seeds.
        """
        by_seed = zip(*(row.cells for row in self.rows), strict=True)
        return list({cell.key: cell for group in by_seed for cell in group}.values())

    def evaluations_of(self, cell: Cell) -> list[StudyEvaluation]:
        """Return the ways in which a cell's weights are to be scored besides its own validation."""
        wanted = {
            row.evaluation.key: row.evaluation
            for row in self.rows
            if row.evaluation.options and any(other.key == cell.key for other in row.cells)
        }
        return list(wanted.values())


def load_study(path: Path, more_options: Mapping[str, Any] | None = None) -> Study:
    """Read a study file.

    Args:
        path: See the module's docstring.
        more_options: Of `fit`, for every cell; below the levels', above the file's own.

    Raises:
        ConfigError: The file is not of this form; says where and what would be.
    """
    content = read_yaml(path)
    for key in content:
        if key not in _KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}.{did_you_mean(str(key), _KEYS)}")
    configs = _configs(path, content)
    shared = _checked_options(path, "options", content.get("options")) | dict(more_options or {})
    factors = _factors(path, content)
    evaluations = [
        StudyEvaluation(name, options)
        for name, options in _levels(path, "evaluations", content.get("evaluations") or {"": {}}).items()
    ]
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise ConfigError(f"{path}: seeds are {seeds}; expected a list of whole numbers, such as [0, 1, 2].")
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"{path}: seeds {seeds} has one twice: equal seeds make equal runs.")

    name = str(content.get("name", path.stem))
    expect_name(f"{path}: name", name)
    count = math.prod(map(len, factors.values())) * len(evaluations) * len(seeds)
    if count > MOST_CELLS:
        raise ConfigError(
            f"{path}: its factors, evaluations and seeds make {count:,} cells; {MOST_CELLS:,} are allowed."
        )
    rows = []
    published = [
        ({str(key): str(value) for key, value in levels.items() if key != "mIoU"}, figure)
        for levels, figure in _figures(path, content, "published", "levels with an mIoU")
    ]
    also_published = _figures(path, content, "also_published", "entries such as {row: with a CRF, mIoU: 71.57}", "row")
    for names in itertools.product(*factors.values()):
        levels = dict(zip(factors, names, strict=True))
        options = dict(shared)
        for factor, level in levels.items():
            options |= factors[factor][level]
        recipe = content_key(merged(configs, options))
        keys = [content_key(merged(configs, options | {"seed_everything": seed})) for seed in seeds]
        cells = tuple(Cell(key, recipe, configs, options, seed) for key, seed in zip(keys, seeds, strict=True))
        for evaluation in evaluations:
            named = levels | ({EVALUATION: evaluation.name} if evaluation.name else {})
            figure = next((entry for entry in published if entry[0] == named), None)
            if figure is not None:
                published.remove(figure)
            rows.append(Row(named, cells, evaluation, None if figure is None else figure[1]))
    if published:  # a misspelt level would drop its figure without a word
        raise ConfigError(
            f"{path}: the published figure of {published[0][0]} belongs to no row. Rows are like {rows[0].levels}."
        )
    return Study(
        name=name,
        rows=tuple(rows),
        baseline=_baseline(path, content.get("baseline") or {}, rows),
        source=str(content.get("source", "")),
        also_published=tuple((str(entry["row"]), figure) for entry, figure in also_published),
    )


def _configs(path: Path, content: Mapping[str, Any]) -> tuple[Path, ...]:
    base = content.get("base")
    names = [base] if isinstance(base, str) else base
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: base is {base!r}; expected a configuration, such as ../v3plus.yaml, or a list.")
    found = tuple(path.parent / name for name in names)
    for config in found:
        if not config.is_file():
            near = [str(other.name) for other in sorted(config.parent.glob("*.yaml"))]
            raise ConfigError(
                f"{path}: the base {config} does not exist; it is looked for relative to the study's own folder."
                f"{did_you_mean(config.name, near)}"
            )
    return found


def _factors(path: Path, content: Mapping[str, Any]) -> dict[str, dict[str, Options]]:
    factors = content.get("factors")
    if not isinstance(factors, dict) or not factors:
        raise ConfigError(f"{path}: factors are {factors!r}; expected names, each with levels and their options.")
    if EVALUATION in factors:
        raise ConfigError(f"{path}: no factor can be called {EVALUATION!r}: `evaluations` makes that column.")
    return {str(name): _levels(path, f"factors.{name}", levels) for name, levels in factors.items()}


def _levels(path: Path, where: str, levels: Any) -> dict[str, Options]:
    if not isinstance(levels, dict) or not levels:
        raise ConfigError(
            f"{path}: {where} is {levels!r}; expected levels with options, such as with: {{model.decoder: true}}."
        )
    return {str(level): _checked_options(path, f"{where}.{level}", options) for level, options in levels.items()}


def _checked_options(path: Path, where: str, options: Any) -> Options:
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ConfigError(f"{path}: {where} is {options!r}; expected options, such as {{model.output_stride: 8}}.")
    for name in options:
        if name in _OURS or str(name).split(".")[0] == "run":
            raise ConfigError(f"{path}: {where} sets {name}, which the study sets itself; seeds go into `seeds`.")
    return {str(name): value for name, value in options.items()}


def _baseline(path: Path, wanted: Any, rows: Sequence[Row]) -> int:
    """Return the row with the wanted levels, and the first of each factor that is not named."""
    first = rows[0].levels
    if not isinstance(wanted, dict):
        raise ConfigError(f"{path}: baseline is {wanted!r}; expected factors with a level each, such as {first}.")
    levels = first | {str(factor): str(level) for factor, level in wanted.items()}
    for index, row in enumerate(rows):
        if row.levels == levels:
            return index
    raise ConfigError(f"{path}: no row has the baseline's levels {levels}. The first row has {first}.")


def _figures(
    path: Path, content: Mapping[str, Any], key: str, expected: str, *needed: str
) -> list[tuple[dict[Any, Any], float]]:
    """Return the entries of a list of published figures, each with its mIoU in percent."""
    entries = content.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(one, dict) and one.keys() >= {*needed} for one in entries):
        raise ConfigError(f"{path}: {key} is no list of {expected}.")
    for score in (entry.get("mIoU") for entry in entries):
        if not isinstance(score, int | float) or not 1 < score < 100:
            raise ConfigError(f"{path}: a published mIoU is {score!r}; expected percent, such as 77.21.")
    return [(entry, float(entry["mIoU"])) for entry in entries]
