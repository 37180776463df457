"""What annotation files of all kinds share: JSON that may be damaged, and images of another size than it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, DeepLabError
from ...files import expect_parsed_fits, read_bytes


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON file, in UTF-8, that holds one object; the remedy is for one that cannot be used.

    Raises:
        DataError: The file is missing, unreadable, empty, no JSON, or holds something else than an object.
    """
    found = read_any_json(path, remedy)
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a JSON {type(found).__name__}, expected an object with fields. {remedy}")
    return found


def read_any_json(path: Path, remedy: str) -> Any:
    """Read a JSON file, in UTF-8; the remedy is for one that cannot be used.

    Raises:
        DataError: The file is missing, unreadable, empty, or no JSON.
    """
    try:
        data = read_bytes(path)
        expect_parsed_fits(data)
        return json.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. {remedy}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}). {remedy}") from error
    except json.JSONDecodeError as error:
        what = "is empty" if not error.doc.strip() else f"is damaged at line {error.lineno}: {error.msg}"
        raise DataError(f"{path} {what}. {remedy}") from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply for an annotation. {remedy}") from error
    except ValueError as error:  # Python reads integers of 4300 digits at most
        raise DataError(f"{path} holds a number that is none: {error}. {remedy}") from error


@contextmanager
def parsing(where: str | Path, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong while the content of a file is taken apart into an error that names it."""
    try:
        yield
    except DeepLabError:
        raise
    except Exception as error:  # of what is torn or made up, libraries raise dozens of kinds
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        what = f"{said} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {said}"
        raise DataError(f"{where} is not in the form expected: {what}. {remedy}") from error


def check_declared_size(
    image: np.ndarray, height: object, width: object, source: str | Path, annotation: str | Path
) -> None:
    """Refuse an image `(H, W, 3)` of another size than its annotation was drawn on: every point would be off.

    Height and width are None where the annotation does not say them; image and annotation are named in the message.
    """
    found = image.shape[:2]
    if (height is None and width is None) or found == (height, width):
        return
    turned = " One is turned: look at the image's EXIF orientation." if found == (width, height) else ""
    raise DataError(
        f"{source} is {found[1]}x{found[0]}, but {annotation} was drawn on an image of {width}x{height} (width x "
        f"height).{turned} Put back the image that was annotated, or annotate this one."
    )
