"""Commands as typed functions: how words become arguments, what `--help` says, and what is refused in one line."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from deeplab_lightning.__main__ import COMMANDS, CONFIGURATIONS, main, summary
from deeplab_lightning.command_line import CommandLine, ConfigurationWords, run
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.options import Between, Options, Written, at_least

from .conftest import REPOSITORY


@dataclass(frozen=True)
class Steps(Options):
    """What is done to masks."""

    opening: Annotated[int, at_least(0)] = 0
    """Radius in pixels."""
    classes: Annotated[tuple[str, ...], Written("--step_classes")] = ()
    """Classes that it is done to."""


@dataclass(frozen=True)
class MoreSteps(Steps):
    """What is done to masks, and more."""

    last: str = "none"
    """The last step."""


@dataclass(frozen=True)
class Views(Options):
    """How images are looked at."""

    section: ClassVar[str] = "evaluation"
    scales: tuple[float, ...] = (1.0,)
    """Relative sides."""
    flip: Annotated[bool, Written("--mirror")] = False
    """Mirrored as well."""


CALLS: list[dict[str, Any]] = []


def command(
    images: Annotated[list[str], Written(metavar="IMAGE")],
    /,
    *,
    ckpt_path: str,
    output: Annotated[Path, Written("--output", "-o")] = Path("out"),
    size: tuple[int, int] | None = None,
    opacity: Annotated[float, Between(0, 1)] = 0.5,
    precision: Literal["fp32", "fp16"] = "fp32",
    stride: Annotated[Literal[8, 16] | None, Written("--model.output_stride")] = None,
    protocol: Annotated[list[str] | None, Written(repeated=True)] = None,
    secret: Annotated[str | None, Written(hidden=True)] = None,
    flag: bool = False,
    steps: MoreSteps | None = None,
    views: Views | None = None,
    configuration: ConfigurationWords = (),
) -> int:
    """Do something with 100% of the images.

    More of it.

    Args:
        images: Files, folders
            or globs.
        ckpt_path: Checkpoint.
        output: Where to.
        size: Height and width.
        opacity: Of colours.
        precision: Of weights.
        stride: Of the network.
        protocol: May be given several times.
        secret: Not for users.
        flag: Switches it on.
        configuration: -c FILE.yaml is that of fit.
    """
    CALLS.append(dict(locals()))
    return 7


def call(*words: str) -> dict[str, Any]:
    assert run(command, ["a.png", "--ckpt_path", "x", *words], "command") == 7
    return CALLS[-1]


def test_what_is_not_given_has_the_defaults_of_the_signature() -> None:
    given = call()
    assert given.pop("steps") == MoreSteps()
    assert given.pop("views") == Views()
    assert given == {
        **{"images": ["a.png"], "ckpt_path": "x", "output": Path("out"), "size": None, "opacity": 0.5},
        **{"precision": "fp32", "stride": None, "protocol": None, "secret": None, "flag": False, "configuration": []},
    }


def test_words_become_what_is_declared() -> None:
    given = call("-o", "there", "--size", "3", "4", "--opacity", "1", "--precision", "fp16", "--flag")
    assert (given["output"], given["size"], given["opacity"]) == (Path("there"), (3, 4), 1.0)
    assert isinstance(given["opacity"], float)
    assert (given["precision"], given["flag"]) == ("fp16", True)
    assert call("--protocol", "{}", "--protocol", "[1]")["protocol"] == ["{}", "[1]"]
    assert call("--secret", "s")["secret"] == "s"
    run(command, ["a", "b", "--ckpt_path=x"], "command")
    assert CALLS[-1]["images"] == ["a", "b"]


def test_groups_give_their_fields_and_those_with_a_section_are_yaml() -> None:
    given = call("--opening", "2", "--step_classes", "car", "bus", "--last", "3", "--evaluation.scales", "[0.5, 1]")
    assert given["steps"] == MoreSteps(2, ("car", "bus"), "3")
    assert given["views"] == Views((0.5, 1.0))
    assert call("--mirror", "true")["views"].flip is True


def test_words_of_a_configuration_are_handed_over_with_their_values() -> None:
    words = ["-c", "a.yaml", "--data.root", "there", "--model=V3", "--optimizer.lr=1", "--seed_everything", "3"]
    given = call(*words, "--model.output_stride", "8")
    assert given["configuration"] == words
    assert given["stride"] == 8, "its own options are its own, also with a dot"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--opacitty", "1"], "Unknown option --opacitty. Did you mean '--opacity'?"),
        (["--opac", "1"], "Unknown option --opac. Did you mean '--opacity'?"),
        (["--opacity", "2"], "--opacity is 2.0; expected 0 to 1, such as 1."),
        (["--opacity", "much"], "--opacity is 'much'; expected a number, 0 to 1."),
        (["--size", "3", "x"], "--size is 3 x; expected a whole number."),
        (["--size", "3"], "--size needs 2 values."),
        (["--output"], "--output needs one value."),
        (["--precision", "fp61"], "--precision is 'fp61'; expected one of fp32, fp16. Did you mean 'fp16'?"),
        (["--model.output_stride", "9"], "--model.output_stride is '9'; expected one of 8, 16."),
        (["--opening", "-1"], "--opening is -1; expected 0 or more, such as 0."),
        (["--evaluation.scales", "["], "--evaluation.scales is '[', which is not YAML"),
        (["--mirror", "maybe"], "--evaluation.flip is 'maybe'; expected true or false."),
        (["--flag", "b.png"], "command has no use for 'b.png'"),
    ],
)
def test_mistakes_are_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        call(*words)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="command needs IMAGE, --ckpt_path; command --help"):
        run(command, [], "command")


def test_help_is_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        run(command, ["--help"], "command")
    assert leaving.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "Do something with 100% of the images. More of it.",
        "IMAGE Files, folders or globs.",
        "--output OUTPUT, -o OUTPUT Where to. (default: out)",
        "--opacity X Of colours. (0 to 1; default: 0.5)",
        "--precision fp32|fp16",
        "What is done to masks, and more: --opening N Radius in pixels. (0 or more; default: 0)",
        "--last LAST The last step. (default: none)",
        "--evaluation.flip BOOL, --mirror BOOL Mirrored as well. (default: false)",
        "-c FILE.yaml is that of fit.",
    ):
        assert text in printed
    assert "secret" not in printed


# --- the real ones ----------------------------------------------------------------------------------------------------

TYPED = [name for name in COMMANDS if name not in CONFIGURATIONS]


@pytest.mark.parametrize("name", TYPED)
def test_every_option_of_every_command_is_described_by_itself(name: str) -> None:
    module, function = COMMANDS[name].split(":")
    line = CommandLine(getattr(importlib.import_module(f"deeplab_lightning.{module}"), function), name)
    texts = {argument.key: argument.what for argument in line.arguments}
    assert texts
    assert [key for key, what in texts.items() if not what.endswith(".")] == []
    assert [key for key, what in texts.items() if what.startswith(("See `", "Likewise", "As for", "Same as"))] == []
    assert line.configuration is None or line.texts[line.configuration]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_has_the_first_line_of_each_docstring(name: str) -> None:
    """As Python reads it, not as the list does."""
    module, function = COMMANDS[name].split(":")
    path = REPOSITORY / "deeplab_lightning" / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    first = (ast.get_docstring(found) or "").splitlines()[0]
    assert summary(name) == first[0].lower() + first[1:].rstrip(".")
    assert 10 < len(summary(name)) < 70


@pytest.mark.parametrize("name", TYPED)
def test_help_needs_no_torch(name: str) -> None:
    heavy = ("torch", "lightning", "timm", "numpy", "matplotlib", "jsonargparse")
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        f"try:\n    main([{name!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom deeplab_lightning.__main__ import main\nassert main(['--help']) == 0\n"
        "print('LOADED', [name for name in sys.modules if name.startswith('deeplab_lightning.') and name not in "
        "('deeplab_lightning.__main__', 'deeplab_lightning.errors')])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_a_mistake_on_a_real_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "a.png", "--ckpt_path", "x", "--min_aera", "3"]) == 2
    assert capsys.readouterr().err == (
        "deeplab_lightning predict: Unknown option --min_aera. Did you mean '--min_area'?\n"
    )
