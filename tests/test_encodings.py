"""Text files that are not in UTF-8, or that begin with a mark, as Windows writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.benchmarking.plan import read_plan
from deeplab_lightning.commands.protocols import read_list
from deeplab_lightning.config_words import read_config
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.studies.options import read_yaml

READERS: dict[str, Callable[[Path], Any]] = {
    "configuration": read_config, "study": read_yaml, "plan": read_plan, "protocols": read_list
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_named(reader: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("run: {name: Straße}", encoding=encoding)
    with pytest.raises(ConfigError, match=r"x\.yaml.*not text in UTF-8"):
        READERS[reader](path)


def test_a_mark_at_the_beginning_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("run: {name: Straße}", encoding="utf-8-sig")
    assert read_config(path) == {"run": {"name": "Straße"}} == read_yaml(path)
