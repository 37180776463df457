"""`python -m deeplab_lightning COMMAND ...`: find the command by name, and only then import what it needs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import DeepLabError, did_you_mean, shown

COMMANDS = {
    "fit": "cli:fit",
    "stages": "commands.stages:stages",
    "folds": "commands.folds:folds",
    "validate": "cli:validate",
    "test": "cli:test",
    "evaluate": "commands.evaluate:evaluate",
    "predict": "commands.predict:predict",
    "import": "commands.import_:import_file",
    "export": "commands.export:export",
    "doctor": "commands.doctor:doctor",
    "inspect": "commands.inspect:inspect",
    "benchmark": "commands.benchmark:benchmark",
    "ablate": "commands.ablate:ablate",
    "sweep": "commands.sweep:sweep",
    "compare": "commands.compare:compare",
    "report": "commands.report:report",
    "reproduce": "commands.reproduce:reproduce",
    "crf-search": "commands.crf_search:crf_search",
}
"""Name -> where the function is. The first sentence of its docstring is what the list of commands says of it."""
IMPORT = "--import"
"""A module of the user's own, whose classes a checkpoint may then name. Nothing is imported because a file names it."""
CONFIGURATIONS = ("fit", "validate", "test")
"""Commands whose words are a configuration, which has a parser of its own: they take them as they are."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; `sys.argv` if None.

    Returns:
        Exit code: 0, 2 for a mistake that the user can fix, 3 for training that diverged, or what the command says.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"deeplab_lightning {__version__}")
        return 0
    name, (words, modules) = arguments[0], _without_imports(arguments[1:])
    if name not in COMMANDS:
        print(f"Unknown command {name!r}.{did_you_mean(name, COMMANDS)}\n\n{usage()}", file=sys.stderr)
        return 2
    # Must be said before torch is imported; see docs/decisions/0006-short-spinning.md.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    module, function = COMMANDS[name].split(":")
    command = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    from . import plugins

    try:
        plugins.handed_on[:] = modules
        for own in modules:
            plugins.bring_in(f"the module {own}", own)
        if name in CONFIGURATIONS:
            return command(words)
        from .command_line import run

        return run(command, words, name)
    except DeepLabError as error:
        print(shown(f"deeplab_lightning {name}: {error}", lines=True), file=sys.stderr)
        return error.exit_code


def _without_imports(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a command's words without `--import MODULE`, and the modules: every command takes it."""
    kept, modules, left = list[str](), list[str](), list(words)
    while left:
        word = left.pop(0)
        if word == IMPORT and left:
            modules.append(left.pop(0))
        elif word.startswith(f"{IMPORT}="):
            modules.append(word.removeprefix(f"{IMPORT}="))
        else:
            kept.append(word)
    return kept, modules


def usage() -> str:
    """Return the overview of all commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary(name)}" for name in COMMANDS]
    return "\n".join(
        [
            "DeepLab semantic segmentation on PyTorch Lightning",
            "",
            "usage: python -m deeplab_lightning COMMAND [-c FILE.yaml ...] [--option value ...]",
            "",
            *lines,
            "",
            "COMMAND --help lists a command's options. Later -c files, and options, override earlier files.",
            "Every command takes --import MODULE, one of your own: checkpoints alone import none.",
        ]
    )


def summary(name: str) -> str:
    """Return what a command does: the first line of its docstring, read without importing it, which takes a while."""
    module, function = COMMANDS[name].split(":")
    source = Path(__file__).parent.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    text = source.split(f"\ndef {function}(", 1)[1].split('"""', 2)[1].split("\n", 1)[0]
    return text[:1].lower() + text[1:].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
