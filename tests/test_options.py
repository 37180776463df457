"""Options: declared once, checked where they are made, put together by inheritance; and folders that are searched."""

from __future__ import annotations

import json
import math
import sys
from abc import ABC, abstractmethod
from dataclasses import FrozenInstanceError, dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from deeplab_lightning import plugins
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.options import (
    Between,
    OneOf,
    Options,
    above,
    at_least,
    constraint_words,
    hints_of,
    option_name,
)


def colours() -> list[str]:
    return ["red", "green"]


@dataclass(frozen=True)
class Inner(Options):
    """A group within a group."""

    depth: Annotated[int, at_least(0)] = 1
    """How deep."""


@dataclass(frozen=True)
class Paint(Options):
    """Everything that an annotation can say."""

    section: ClassVar[str] = "paint"

    share: Annotated[float, Between(0, 1)] = 0.5
    """A share."""
    speed: Annotated[float, above(0, near=0.1)] = 1.0
    """More than nothing."""
    count: Annotated[int, at_least(1)] | None = None
    """A count, or none."""
    colour: Annotated[str, OneOf(colours)] = "red"
    """A name that is known only when asked for."""
    stride: Literal[8, 16, 32] = 16
    """One of three numbers."""
    tool: Literal["brush", "roller"] | None = None
    """One of two words, or none."""
    sizes: tuple[Annotated[int, at_least(1)], ...] = (1, 2)
    """Any number of numbers."""
    pair: tuple[Annotated[float, Between(0, 1)], Annotated[float, at_least(1)]] = (0.5, 1.0)
    """Two numbers of different ranges."""
    grid: tuple[Annotated[int, at_least(1)], ...] | None = None
    """Numbers, or none."""
    source: bool | str = False
    """A switch or a file."""
    labels: dict[str, float] | None = None
    """Words and numbers."""
    folder: Path = Path("runs")
    """A folder."""
    inner: Inner = Inner()
    """Options of their own."""

    def check(self) -> None:
        super().check()
        if self.tool == "roller" and self.share > 0.9:
            raise ConfigError("A roller never covers more than 0.9.")


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"share": 0}, {"share": 1}, {"speed": 1e-9}, {"count": None}, {"count": 1}, {"colour": "green"}, {"stride": 8},
        {"tool": None}, {"tool": "brush"}, {"sizes": ()}, {"sizes": (3,)}, {"pair": (0, 7)}, {"grid": (1,)},
        {"source": True}, {"source": "a.pth"}, {"labels": {"a": 1.0}},
    ],
)  # fmt: skip
def test_what_is_allowed(given: dict[str, Any]) -> None:
    made = Paint(**given)
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"share": 1.5}, r"^--paint\.share is 1\.5; expected 0 to 1, such as 1\.$"),
        ({"share": -2}, r"^--paint\.share is -2; expected 0 to 1, such as 0\.$"),
        ({"share": True}, r"is True; expected a number, 0 to 1"),
        ({"share": "half"}, r"is 'half'; expected a number"),
        ({"share": math.nan}, r"is nan; expected 0 to 1"),
        ({"speed": 0}, r"--paint\.speed is 0; expected more than 0, such as 0\.1"),
        ({"count": 0}, r"--paint\.count is 0; expected 1 or more, such as 1"),
        ({"colour": "gren"}, r"--paint\.colour is 'gren'; expected one of red, green\. Did you mean 'green'\?"),
        ({"stride": 4}, r"--paint\.stride is 4; expected one of 8, 16, 32"),
        ({"tool": "brsh"}, r"--paint\.tool is 'brsh'; expected one of brush, roller\. Did you mean 'brush'\?"),
        ({"sizes": (1, 0)}, r"--paint\.sizes is \(1, 0\); expected 1 or more, such as 1"),
        ({"pair": (0.5, 0.5)}, r"--paint\.pair is \(0\.5, 0\.5\); expected 1 or more"),
        ({"pair": (2, 1)}, r"--paint\.pair is \(2, 1\); expected 0 to 1"),
        ({"grid": (0,)}, r"--paint\.grid is \(0,\); expected 1 or more"),
        ({"pair": ()}, r"--paint\.pair is \(\); expected 2 values in brackets"),
        ({"pair": (0.5, 1, 2)}, r"expected 2 values in brackets"),
        ({"source": math.nan}, r"--paint\.source is nan; expected true or false; or text"),
        ({"source": [1]}, r"expected true or false; or text"),
        ({"labels": 3}, r"--paint\.labels is 3; expected values by name, such as '\{name: value\}'"),
        ({"labels": {"a": math.inf}}, r"expected a number"),
        ({"tool": 7.5}, r"--paint\.tool is 7\.5; expected one of brush, roller"),
        ({"tool": "roller", "share": 1.0}, r"^A roller never covers more than 0\.9\.$"),
    ],
)
def test_what_is_refused_and_the_nearest_that_works(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Paint(**given)


def test_a_group_without_a_section_is_named_alone() -> None:
    with pytest.raises(ConfigError, match=r"^depth is -1; expected 0 or more, such as 0\.$"):
        Inner(depth=-1)
    assert option_name("", "depth") == "depth"
    assert option_name("paint", "depth") == "--paint.depth"


def test_lists_become_the_tuples_that_are_declared() -> None:
    made = Paint.of({"sizes": [3, 4], "grid": [1], "pair": [0.1, 2]})
    assert (made.sizes, made.grid, made.pair) == ((3, 4), (1,), (0.1, 2))
    with pytest.raises(ConfigError, match=r"--paint\.sizes is \(0,\)"):
        Paint.of({"sizes": [0]})


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match=r"^Unknown option --paint\.shape\. Did you mean 'share'\?$"):
        Paint.of({"shape": 1})
    with pytest.raises(ConfigError, match=r"^Unknown option --paint\.xyz\.$"):
        Paint.of({"xyz": 1})


def test_options_do_not_change() -> None:
    made = Paint()
    with pytest.raises(FrozenInstanceError):
        made.share = 0.2  # type: ignore[misc]
    assert made.replaced(share=0.2) == Paint(share=0.2)
    assert made.share == 0.5
    with pytest.raises(ConfigError, match="share is 3"):
        made.replaced(share=3)
    with pytest.raises(ConfigError, match="Unknown option"):
        made.replaced(sher=3)


def test_plain_values_go_to_yaml_and_back() -> None:
    import yaml

    made = Paint(sizes=(4,), grid=(1, 2), labels={"a": 0.5}, source="a.pth", count=3)
    plain = made.plain()
    assert plain["sizes"] == [4]
    assert plain["folder"] == "runs"
    assert plain["inner"] == {"depth": 1}
    read = yaml.safe_load(yaml.safe_dump(plain))
    assert read == plain
    same = {name: value for name, value in read.items() if name not in ("folder", "inner")}
    assert Paint.of(same) == made


# --- ranges in words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (Between(0, 1), "0 to 1"),
        (Between(0, 1, open_low=True), "more than 0 to 1"),
        (Between(0, 1, open_high=True), "0 to below 1"),
        (at_least(2), "2 or more"),
        (Between(0, 2**32 - 1), "0 to 4294967295"),
        (above(2), "more than 2"),
        (Between(high=3), "3 or less"),
        (Between(high=3, open_high=True), "less than 3"),
        (OneOf(colours), "one of red, green"),
    ],
)
def test_words(constraint: Any, words: str) -> None:
    assert constraint.words() == words


@pytest.mark.parametrize(
    ("constraint", "value", "problem"),
    [
        (Between(0, 1, open_high=True, near=0.9), 1, "0 to below 1, such as 0.9"),
        (Between(0, 1, open_high=True), 1, "0 to below 1"),
        (Between(0, 1, open_high=True), -1, "0 to below 1, such as 0"),
        (Between(0, 1, open_low=True), 2, "more than 0 to 1, such as 1"),
        (Between(high=3), 4, "3 or less, such as 3"),
        (Between(0, 1), 0.5, None),
    ],
)
def test_nearest(constraint: Between, value: float, problem: str | None) -> None:
    assert constraint.problem(value) == problem


def test_ranges_are_found_inside_types() -> None:
    hints = hints_of(Paint)
    assert constraint_words(hints["share"]) == "0 to 1"
    assert constraint_words(hints["count"]) == "1 or more"
    assert constraint_words(hints["sizes"]) == "1 or more"
    assert constraint_words(hints["pair"]) == "0 to 1, 1 or more"
    assert constraint_words(hints["stride"]) == ""
    assert "section" not in hints


# --- groups -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Brush(Options):
    """One group."""

    width: Annotated[int, at_least(1)] = 3
    """Width."""
    soft: bool = False
    """Softness."""

    def check(self) -> None:
        super().check()
        if self.soft and self.width < 2:
            raise ConfigError("A soft brush is wide.")


@dataclass(frozen=True)
class Wall(Brush, Paint):
    """Two groups, one with another default."""

    soft: bool = True


def test_groups_put_together() -> None:
    made = Wall(width=2, share=0.25)
    assert isinstance(made, Brush)
    assert isinstance(made, Paint)
    assert (made.soft, Brush().soft) == (True, False)
    assert set(hints_of(Wall)) == {*hints_of(Brush), *hints_of(Paint)}
    with pytest.raises(ConfigError, match=r"--paint\.width is 0"):
        Wall(width=0)
    for given, message in ({"width": 1}, "soft brush"), ({"tool": "roller", "share": 1}, "roller"):
        with pytest.raises(ConfigError, match=message):
            Wall(**given)  # the checks of both groups


# --- plugins ----------------------------------------------------------------------------------------------------------


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Rounded(Shape):
    """Abstract still."""


class Disc(Rounded):
    def area(self) -> float:
        return 3.0


class Ring(Disc):
    pass


class Block(Shape):
    def area(self) -> float:
        return 1.0


def test_subclasses_that_can_be_made_by_name() -> None:
    assert plugins.subclasses(Shape) == [Block, Disc, Ring]  # type: ignore[type-abstract]
    assert plugins.subclasses(Ring) == []


def test_the_nearest_name() -> None:
    choices: dict[str, type[Shape]] = {"disc": Disc, "block": Block}
    assert plugins.named("shape", "disc", choices) is Disc
    with pytest.raises(ConfigError, match=r"^Unknown shape 'dics'\. Did you mean 'disc'\? There are: block, disc\.$"):
        plugins.named("shape", "dics", choices)


def test_a_folder_is_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder_of_shapes"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("LOADED = ['one']\n")
    (folder / "two.py").write_text("LOADED = ['two']\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.import_all("folder_of_shapes")
    assert sys.modules["folder_of_shapes.one"].LOADED == ["one"]
    assert sys.modules["folder_of_shapes.two"].LOADED == ["two"]
    sys.modules["folder_of_shapes.one"].LOADED.append("changed")
    plugins.import_all("folder_of_shapes")
    assert sys.modules["folder_of_shapes.one"].LOADED == ["one", "changed"]


class Colour(Enum):
    """For `ReadBack`."""

    red = 1


@dataclass(frozen=True)
class ReadBack(Options):
    """Types that YAML, JSON and checkpoints have no form of."""

    labels: dict[int, int] | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    by_name: dict[str, tuple[float, ...]] | None = None
    folder: Path | None = None
    colour: Colour = Colour.red
    words: list[int] | None = None


def test_what_comes_back_has_the_declared_types() -> None:
    given = ReadBack({0: 0, -1: 1}, ((1, 2), (3, 4)), {"a": (0.5, 1.0)}, Path("x") / "y", Colour.red, [1, 2])
    assert ReadBack.of(json.loads(json.dumps(given.plain()))) == given
