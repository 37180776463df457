"""Files as the package writes them: whole or not at all, with all digits, and readable again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.errors import DataError, shown
from deeplab_lightning.files import atomic_open, read_csv, read_json, write_csv, write_json, write_text


def test_what_fails_in_the_middle_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_text(path, "older")
    with pytest.raises(KeyError), atomic_open(path) as file:  # noqa: PT012
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


def test_cells_that_are_no_formulas_for_spreadsheets_and_come_back(tmp_path: Path) -> None:
    cells = ["=HYPERLINK(1)", "@x", "+a", "-2+3+cmd|x", "\tx", "-0.5", "plain", "'quoted"]
    write_csv(tmp_path / "t.csv", ["name"], [[cell] for cell in cells])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        stored = [row["name"] for row in csv.DictReader(file)]
    assert stored == ["'=HYPERLINK(1)", "'@x", "'+a", "'-2+3+cmd|x", "'\tx", "-0.5", "plain", "'quoted"]
    assert [row["name"] for row in read_csv(tmp_path / "t.csv")] == cells


def test_texts_are_shown_without_what_a_terminal_obeys() -> None:
    assert shown("a\x1b[2Jb\nnot segmented: c\u202e\udcff é 道") == ("a\\x1b[2Jb\\nnot segmented: c\\u202e\\udcff é 道")
    assert shown("two\nlines", lines=True) == "two\n  lines"
    assert shown("a\u3000b\xa0c") == "a\u3000b\xa0c"  # spaces are shown
