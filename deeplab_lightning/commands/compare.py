"""`compare`: what runs left, side by side, as tables and as one HTML file, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..errors import ConfigError
from ..options import Written

if TYPE_CHECKING:
    from ..reporting.records import RunRecord

COMPARISONS = Path("runs/comparisons")


def compare(
    runs: Annotated[list[str], Written(metavar="RUN")],
    /,
    *,
    out: Annotated[Path | None, Written(metavar="FILE.html")] = None,
) -> int:
    """Set runs side by side, with significance.

    What differs in their configurations, scores with significance, classes, the images they disagree on, accuracy
    against cost. Prints tables, and writes one HTML file. Scores of different splits, protocols or images get tables of
    their own.

    Args:
        runs: Runs, the baseline first: runs/NAME, runs/NAME/version_0, a folder that validate or test wrote, or
            wandb:ENTITY/PROJECT/ID.
        out: The page; runs/comparisons/NAME-NAME.html if not given.

    Returns:
        0.

    Raises:
        ConfigError: There are fewer than two, or one is not there.
        DataError: One has no scores.
    """
    from ..studies.comparison import compare_runs
    from ..studies.comparison_report import comparison_report, comparison_text

    records = read_runs(runs)
    comparison = compare_runs(records)
    print(comparison_text(comparison))
    names = [record.name for record in records]
    out = out or COMPARISONS / f"{'-'.join(name.replace('/', '_') for name in names)[:120]}.html"
    write_page(out, comparison_report(comparison, " against ".join(names)))
    return 0


def read_runs(runs: Sequence[str]) -> list[RunRecord]:
    """Read runs from their folders, those of Weights & Biases after fetching them."""
    from ..reporting.records import read_records

    folders = []
    for run in runs:
        if not run.startswith("wandb:"):
            folders.append(Path(run))
            continue
        from ..reporting.wandb_runs import fetch_run

        print(f"fetching {run} ...", flush=True)
        folders.append(fetch_run(run.removeprefix("wandb:"), COMPARISONS / "wandb"))
    return read_records(folders)


def write_page(out: Path, text: str) -> None:
    """Write an HTML file, and say where it is."""
    from ..files import write_text, writing

    with writing(out, "Give a place with --out FILE.html.", ConfigError):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    print(f"{out} ({len(text.encode()) / 1e6:.1f} MB)")
