"""The configurations that come along with the package: found by name from wherever the program runs."""

from __future__ import annotations

from pathlib import Path

from .errors import did_you_mean

FOLDERS = ("configs", "sweeps")
"""They stand at the top of the repository; a wheel has them inside the package."""


def find_file(given: str | Path) -> Path:
    """Return the file that is meant: the one at this path, or else the packaged one of that name.

    Args:
        given: A path; or the name of a packaged file, with or without its folder and its ending, such as `v3plus`,
            `paper/v3plus_resnet101_voc`, `configs/data/camvid.yaml` or `sweeps/v3plus`.

    Returns:
        An existing file; if there is none, `given` as a path.
    """
    path = Path(given)
    if path.is_file() or path.is_absolute():
        return path
    packaged = _packaged()
    name = path.as_posix().removesuffix(".yaml")
    return next((packaged[key] for key in (name, f"{FOLDERS[0]}/{name}") if key in packaged), path)


def nearest_name(given: str | Path) -> str:
    """Return `" Did you mean 'v3plus'?"` for the packaged configuration nearest to `given`, or an empty string."""
    name = Path(given).as_posix().removesuffix(".yaml").removeprefix(f"{FOLDERS[0]}/")
    return did_you_mean(name, [key.removeprefix(f"{FOLDERS[0]}/") for key in _packaged()])


def _packaged() -> dict[str, Path]:
    """Return the packaged files by name, such as `configs/data/camvid`."""
    package = Path(__file__).parent
    top = package if (package / FOLDERS[0]).is_dir() else package.parent
    files = [file for folder in FOLDERS for file in sorted((top / folder).rglob("*.yaml"))]
    return {file.relative_to(top).with_suffix("").as_posix(): file for file in files}
