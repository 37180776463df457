"""`report`: what a run or a study left, as one HTML file, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ..options import Written
from .compare import compare, read_runs, write_page

REPORT = "report.html"


def report(
    paths: Annotated[list[str], Written(metavar="PATH")],
    /,
    *,
    out: Annotated[Path | None, Written(metavar="FILE.html")] = None,
) -> int:
    """Make one HTML file of a run, of a study, or of several runs.

    It holds everything, needs no network, and can be mailed. Only the folder's files are read; torch is not needed.

    Args:
        paths: A run (runs/NAME, runs/NAME/version_0, a folder that validate or test wrote, or wandb:ENTITY/PROJECT/ID),
            several runs to compare, or a study: runs/STUDY, what ablate wrote.
        out: The page; report.html in the folder of the run or the study if not given.

    Returns:
        0.

    Raises:
        ConfigError: There is nothing of the kind.
        DataError: A file is missing or damaged.
    """
    from ..reporting.run_report import run_report
    from ..studies.study_report import is_study, study_report

    if len(paths) > 1:
        return compare(paths, out=out)
    folder = Path(paths[0])
    if is_study(folder):
        write_page(out or folder / REPORT, study_report(folder))
        return 0
    (record,) = read_runs(paths)
    write_page(out or record.run.path / REPORT, run_report(record))
    return 0
