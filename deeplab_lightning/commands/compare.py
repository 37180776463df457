"""`compare` and `report`: what runs left, as tables and as one HTML file. Neither needs torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..reporting.records import RunRecord

COMPARISONS = Path("runs/comparisons")
REPORT = "report.html"
RUN_HELP = "runs/NAME, runs/NAME/version_0, a folder that validate or test wrote, or wandb:ENTITY/PROJECT/ID"


def main(arguments: Sequence[str]) -> int:
    """Run `compare`."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning compare",
        description="Set runs side by side: what differs in their configurations, scores with significance, classes, "
        "the images they disagree on, accuracy against cost. Prints tables, and writes one HTML file. Scores of "
        "different splits, protocols or images get tables of their own.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help=f"{RUN_HELP}; the first is the baseline")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help=f"the page ({COMPARISONS}/NAME-NAME.html)")
    options = parser.parse_args(list(arguments))
    return compare(options.runs, options.out)


def compare(runs: Sequence[str], out: Path | None = None) -> int:
    """Compare runs, print the tables, and write the page.

    Args:
        runs: Folders or runs of Weights & Biases, the baseline first.
        out: The page.

    Returns:
        0.

    Raises:
        ConfigError: There are fewer than two, or one is not there.
        DataError: One has no scores.
    """
    from ..studies.comparison import compare_runs
    from ..studies.comparison_report import comparison_report, comparison_text

    records = _records(runs)
    comparison = compare_runs(records)
    print(comparison_text(comparison))
    names = [record.name for record in records]
    out = out or COMPARISONS / f"{'-'.join(name.replace('/', '_') for name in names)[:120]}.html"
    _write(out, comparison_report(comparison, " against ".join(names)))
    return 0


def report_main(arguments: Sequence[str]) -> int:
    """Run `report`."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning report",
        description="Make one HTML file of a run, of a study, or of a comparison of several runs. It holds everything, "
        "needs no network, and can be mailed. Only the folder's files are read; torch is not needed.",
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help=f"{RUN_HELP}; or runs/STUDY, what ablate wrote")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help=f"the page ({REPORT} in the folder)")
    options = parser.parse_args(list(arguments))
    return report(options.paths, options.out)


def report(paths: Sequence[str], out: Path | None = None) -> int:
    """Write the page on a run, a study, or several runs.

    Args:
        paths: One or more.
        out: The page; in the folder of the run or the study if not given.

    Returns:
        0.

    Raises:
        ConfigError: There is nothing of the kind.
        DataError: A file is missing or damaged.
    """
    from ..reporting.run_report import run_report
    from ..studies.study_report import is_study, study_report

    if len(paths) > 1:
        return compare(paths, out)
    folder = Path(paths[0])
    if is_study(folder):
        _write(out or folder / REPORT, study_report(folder))
        return 0
    (record,) = _records(paths)
    _write(out or record.run.path / REPORT, run_report(record))
    return 0


def _records(runs: Sequence[str]) -> list[RunRecord]:
    from ..reporting.records import read_records

    folders = []
    for run in runs:
        if not run.startswith("wandb:"):
            folders.append(Path(run))
            continue
        from ..extras import need

        need("wandb", "wandb", "Reading a run of Weights & Biases")
        from ..reporting.wandb_runs import fetch_run

        print(f"fetching {run} ...", flush=True)
        folders.append(fetch_run(run.removeprefix("wandb:"), COMPARISONS / "wandb"))
    return read_records(folders)


def _write(out: Path, text: str) -> None:
    from ..files import write_text

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): give a place with --out FILE.html.") from error
    print(f"{out} ({len(text.encode()) / 1e6:.1f} MB)")
