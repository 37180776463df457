"""Files as the package writes them: whole or not at all, with all digits, and readable again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.errors import DataError
from deeplab_lightning.files import atomic_open, read_csv, read_json, write_csv, write_json, write_text


def test_what_fails_in_the_middle_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_text(path, "older")
    with suppress(KeyError), atomic_open(path) as file:
        file.write(b"half")
        raise KeyError
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_has_all_digits_and_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    third = np.float64(1) / 3
    write_csv(path, ["name", "a", "b"], [['x, "y"', third, None], ("z", float("nan"), 0), ["", np.nan, np.int64(3)]])
    assert path.read_bytes() == b'name,a,b\n"x, ""y""",0.3333333333333333,\nz,,0\n,,3\n'
    assert float(read_csv(path)[0]["a"]) == third


def test_rows_by_name_may_lack_columns_and_have_others(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", ["b", "a"], [{"a": 1, "b": 2}, {"a": "ä", "c": 3}])
    assert read_csv(tmp_path / "x.csv") == [{"b": "2", "a": "1"}, {"b": "", "a": "ä"}]


@pytest.mark.parametrize("indent", [2, None])
def test_json_comes_back_even_with_bytes_of_no_encoding(tmp_path: Path, indent: int | None) -> None:
    value = {"Zürich": [1, 0.1, None, "caf\udce9"], "nested": {"a": True}}
    write_json(tmp_path / "x.json", value, indent)
    assert read_json(tmp_path / "x.json", "") == value
    assert "Zürich".encode() in (tmp_path / "x.json").read_bytes()


def test_no_json_and_damaged_json(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json", "") is None
    (tmp_path / "x.json").write_text('{"a": 1')
    with pytest.raises(DataError, match=r"x\.json cannot be read .*: evaluate again\."):
        read_json(tmp_path / "x.json", "evaluate again.")
