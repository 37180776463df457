"""What a local sweep found: a table, files, and plots."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..files import write_csv, write_text
from ..reporting.plots import BLUE, GREEN, GREY, ORANGE, style
from ..reporting.tables import markdown_table, number
from .local_sweep import ENDED, SECONDS, START, LocalSweep
from .options import as_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.trial import FrozenTrial
    from rich.table import Table

FEWEST_FOR_IMPORTANCE = 4
"""Finished trials below which importances say nothing."""


def state_of(frozen: FrozenTrial) -> str:
    """Return how far a trial is, in a word or two."""
    return str(frozen.user_attrs.get(ENDED, frozen.state.name.lower()))


def score_of(frozen: FrozenTrial, maximise: bool) -> float:
    """Return the best score of a trial so far, NaN before its first validation."""
    values = list(frozen.intermediate_values.values())
    if frozen.state.name == "COMPLETE" and frozen.value is not None:
        values.append(frozen.value)
    known = [value for value in values if not math.isnan(value)]
    return (max if maximise else min)(known) if known else math.nan


def live_table(local: LocalSweep, caption: str) -> Table:
    """Make the table that is shown while the sweep runs, the best trial marked."""
    from rich import box
    from rich.table import Table

    trials = local.study.get_trials(deepcopy=False)
    best = _best(trials, local.sweep.maximise)
    table = Table(box=box.SIMPLE_HEAD, title=local.sweep.name, title_justify="left", caption=caption)
    table.add_column("trial", justify="right")
    for parameter in local.sweep.parameters:
        table.add_column(parameter.name.partition(".")[2] or parameter.name, justify="right")
    for heading in (local.sweep.metric, "validations", "time"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    for frozen in trials:
        score = score_of(frozen, local.sweep.maximise)
        table.add_row(
            str(frozen.number),
            *(_short(frozen.params.get(parameter.name, "")) for parameter in local.sweep.parameters),
            "" if math.isnan(score) else f"{score:.4f}",
            str(len(frozen.intermediate_values)),
            f"{frozen.user_attrs[SECONDS]:.0f} s" if SECONDS in frozen.user_attrs else "",
            state_of(frozen) + (" (as it stands)" if frozen.user_attrs.get(START) else ""),
            style="bold" if frozen is best else "dim" if frozen.state.name in ("PRUNED", "FAIL") else "",
        )
    return table


def write_summary(local: LocalSweep) -> tuple[str, list[Path]]:
    """Write `trials.csv`, `summary.md` and the plots.

    Returns:
        The text of the summary, and the files.

    Raises:
        DataError: No trial has a score yet.
    """
    trials = local.study.get_trials(deepcopy=False)
    best = _best(trials, local.sweep.maximise)
    if best is None:
        raise DataError(f"No trial in {local.folder} has a score yet: there is nothing to sum up.")
    importance = _importance(local)
    summary = _summary(local, trials, best, importance)
    paths = [local.folder / name for name in ("trials.csv", "summary.md", "history.png", "parameters.png")]
    write_csv(paths[0], *_trial_rows(local, trials))
    write_text(paths[1], summary)
    _plot_history(local, trials, paths[2])
    _plot_parameters(local, trials, paths[3])
    if importance:
        paths.append(local.folder / "importance.png")
        _plot_importance(importance, local.sweep.metric, paths[-1])
    return summary, paths


def _best(trials: Sequence[FrozenTrial], maximise: bool) -> FrozenTrial | None:
    """Return the best of the finished trials."""
    finished = [frozen for frozen in trials if frozen.state.name == "COMPLETE"]
    if not finished:
        return None
    return (max if maximise else min)(finished, key=lambda frozen: score_of(frozen, maximise))


def _importance(local: LocalSweep) -> dict[str, float]:
    """Return each parameter's share in what made the better half of the finished trials better (PED-ANOVA)."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    finished = [t for t in local.study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    varied = [name for name in finished[0].params if len({str(t.params.get(name)) for t in finished}) > 1]
    if len(finished) < FEWEST_FOR_IMPORTANCE or not varied:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.5)
    return dict(get_param_importances(local.study, evaluator=evaluator, params=varied))


def _trial_rows(local: LocalSweep, trials: Sequence[FrozenTrial]) -> tuple[list[str], list[list[object]]]:
    names = [parameter.name for parameter in local.sweep.parameters]
    rows: list[list[object]] = []
    for frozen in trials:
        score = score_of(frozen, local.sweep.maximise)
        values = [as_word(frozen.params.get(name, "")) for name in names]
        shown = "" if math.isnan(score) else f"{score:.10g}"
        seconds = f"{frozen.user_attrs[SECONDS]:.1f}" if SECONDS in frozen.user_attrs else ""
        rows.append([frozen.number, state_of(frozen), *values, shown, len(frozen.intermediate_values), seconds])
    return ["trial", "state", *names, local.sweep.metric, "validations", "seconds"], rows


def _summary(local: LocalSweep, trials: Sequence[FrozenTrial], best: FrozenTrial, importance: dict[str, float]) -> str:
    maximise = local.sweep.maximise
    seconds = sum(float(frozen.user_attrs.get(SECONDS, 0)) for frozen in trials)
    how = ", ".join(f"{count} {state}" for state, count in Counter(map(state_of, trials)).items())
    lines = [f"# {local.sweep.name}", "", f"{len(trials)} trials ({how}), {seconds / 60:.1f} minutes of training.", ""]
    lines.append(f"Best: trial {best.number}, {local.sweep.metric} {score_of(best, maximise):.4f}, with")
    lines += ["", *(f"- `--{name} {as_word(value)}`" for name, value in best.params.items()), ""]
    start = next((frozen for frozen in trials if frozen.user_attrs.get(START)), None)
    if start is not None and start is not best:
        score = score_of(start, maximise)
        reached = "no score" if math.isnan(score) else f"{score:.4f}"
        given_up = "" if start.state.name == "COMPLETE" else f" ({state_of(start)})"
        values = ", ".join(f"{name} {as_word(value)}" for name, value in start.params.items())
        lines += [f"The configuration as it stands, trial {start.number}: {reached}{given_up}, with {values}.", ""]
    if importance:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in importance.items())
        lines += [f"Importance for being among the better half of the finished trials: {shares}.", ""]
    lines += [
        "One run a trial: scores of trials close to each other may well be chance. Compare the best with the start by "
        "several seeds (`ablate`) before you believe it.",
        "",
    ]

    def rank(frozen: FrozenTrial) -> tuple[bool, bool, float]:
        """Finished trials first, the best at the top; then the others."""
        score = score_of(frozen, maximise)
        return frozen.state.name != "COMPLETE", math.isnan(score), -score if maximise else score

    names = [parameter.name for parameter in local.sweep.parameters]
    rows = []
    for frozen in sorted(trials, key=rank):
        chosen = [_short(frozen.params.get(name, "")) for name in names]
        became = [number(score_of(frozen, maximise)), str(len(frozen.intermediate_values)), state_of(frozen)]
        rows.append([str(frozen.number), *chosen, *became])
    headings = ["trial", *names, local.sweep.metric, "validations", "state"]
    return "\n".join([*lines, markdown_table(headings, rows, slice(0, -1)), ""])


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# --- plots ------------------------------------------------------------------------------------------------------------

_COLOURS = {"COMPLETE": GREEN, "PRUNED": ORANGE, "RUNNING": BLUE, "FAIL": GREY, "WAITING": GREY}


def _plot_history(local: LocalSweep, trials: Sequence[FrozenTrial], png: Path) -> None:
    """Draw every trial's course over its validations, and the best score over the trials."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    courses, best_so_far = figure.subplots(1, 2)
    best = _best(trials, local.sweep.maximise)
    for frozen in trials:
        points = sorted(frozen.intermediate_values.items())
        alpha, width, above = (1.0, 2.4, 3) if frozen is best else (0.5, 1.1, 2)
        if points:
            look = {"color": _COLOURS[frozen.state.name], "alpha": alpha, "linewidth": width, "zorder": above}
            courses.plot(*zip(*points, strict=True), marker=".", **look)
    for state, label in (("COMPLETE", "finished"), ("PRUNED", "given up")):
        if any(frozen.state.name == state for frozen in trials):
            courses.plot([], [], color=_COLOURS[state], label=label)
    _style(courses, "validation", local.sweep.metric)
    courses.legend(frameon=False, fontsize=9)

    scores = [score_of(frozen, local.sweep.maximise) for frozen in trials]
    reached, running = [], math.nan
    for frozen, score in zip(trials, scores, strict=True):
        if frozen.state.name == "COMPLETE" and not math.isnan(score):
            running = score if math.isnan(running) else (max if local.sweep.maximise else min)(running, score)
        reached.append(running)
    numbers = [frozen.number for frozen in trials]
    best_so_far.scatter(numbers, scores, c=[_COLOURS[t.state.name] for t in trials], s=28, zorder=3)
    best_so_far.step(numbers, reached, where="post", color=GREY, linewidth=1.5, label="best finished so far")
    _style(best_so_far, "trial", local.sweep.metric)
    best_so_far.legend(frameon=False, fontsize=9)
    for axes in (courses, best_so_far):
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(png, format="png", dpi=130)


def _plot_parameters(local: LocalSweep, trials: Sequence[FrozenTrial], png: Path) -> None:
    """Draw the score over each parameter that varies."""
    from matplotlib.figure import Figure

    varied = [parameter for parameter in local.sweep.parameters if parameter.kind != "constant"]
    columns = min(3, len(varied))
    rows = math.ceil(len(varied) / columns)
    figure = Figure(figsize=(1 + 3.6 * columns, 3.4 * rows), layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, parameter in zip(all_axes, varied, strict=False):
        known = [frozen for frozen in trials if parameter.name in frozen.params]
        scores = [score_of(frozen, local.sweep.maximise) for frozen in known]
        colours = [_COLOURS[frozen.state.name] for frozen in known]
        values = [frozen.params[parameter.name] for frozen in known]
        if parameter.kind == "categorical":
            labels = [as_word(value) for value in parameter.values]
            # Points of one category stand apart, the same way every time.
            asides = [((frozen.number * 7) % 11 - 5) / 40 for frozen in known]
            places = [labels.index(as_word(value)) + aside for value, aside in zip(values, asides, strict=True)]
            axes.scatter(places, scores, c=colours, s=28, zorder=3)
            axes.set_xticks(range(len(labels)), labels, fontsize=8, rotation=20 if max(map(len, labels)) > 8 else 0)
            axes.set_xlim(-0.5, len(labels) - 0.5)
        else:
            axes.scatter(values, scores, c=colours, s=28, zorder=3)
            if parameter.kind == "log_uniform_values":
                axes.set_xscale("log")
        _style(axes, parameter.name, local.sweep.metric)
    for axes in all_axes[len(varied) :]:
        axes.set_axis_off()
    _legend(all_axes[0], trials)
    figure.savefig(png, format="png", dpi=130)


def _plot_importance(importance: dict[str, float], metric: str, png: Path) -> None:
    """Draw the parameters' shares as bars."""
    from matplotlib.figure import Figure

    names = list(importance)[::-1]
    figure = Figure(figsize=(7, 0.9 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [100 * importance[name] for name in names], color=BLUE)
    axes.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=9)
    _style(axes, f"share in {metric} being among the better half, %", "")
    axes.set_xlim(0, 110)
    figure.savefig(png, format="png", dpi=130)


def _legend(axes: Axes, trials: Sequence[FrozenTrial]) -> None:
    for state, label in (("COMPLETE", "finished"), ("PRUNED", "given up"), ("RUNNING", "at work"), ("FAIL", "failed")):
        if any(frozen.state.name == state for frozen in trials):
            axes.scatter([], [], c=_COLOURS[state], s=28, label=label)
    axes.legend(frameon=False, fontsize=8)


def _style(axes: Axes, x_label: str, y_label: str) -> None:
    style(axes, y_label)
    axes.set_xlabel(x_label)
    axes.margins(x=0.05)
