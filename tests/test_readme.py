"""What the README tells people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from deeplab_lightning.__main__ import COMMANDS
from deeplab_lightning.config import options_of_all_classes
from deeplab_lightning.config_words import config_files, option_value

from .conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
COMMAND_LINES = [
    shlex.split(line, comments=True)[3:]
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("python -m deeplab_lightning")
]

WRITTEN = {
    Path(name).with_suffix(".yaml").name
    for words in COMMAND_LINES
    for name in (option_value(words, "--write"), option_value(words, "-o"))
    if name
}
"""Configurations that commands of the README write."""


def test_it_opens_with_the_two_commands() -> None:
    lines = BLOCKS[0].splitlines()
    assert [line.split("#")[0].strip() for line in lines] == ["make run", "make test"]
    makefile = (REPOSITORY / "Makefile").read_text()
    assert all(f"\n{line.split()[1]}:" in makefile for line in lines)


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_commands_files_and_options_exist(words: list[str]) -> None:
    command, *arguments = words
    assert command in COMMANDS
    assert all((REPOSITORY / path).is_file() or path.name in WRITTEN for path in config_files(arguments))
    for option in (word for word in arguments if word.startswith(("--model.", "--data."))):
        key, name = option.removeprefix("--").split(".", 1)
        assert name in options_of_all_classes()[key]
        assert option_value(arguments, option)


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert all((REPOSITORY / link).exists() for link in links)
