"""`python -m deeplab_lightning COMMAND ...`: find the command by name, and only then import what it needs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from . import __version__
from .errors import DeepLabError, did_you_mean

COMMANDS = {
    "fit": ("deeplab_lightning.cli:fit", "train a model: fit -c configs/v3plus.yaml"),
    "stages": ("deeplab_lightning.commands.stages:main", "train configurations in turn, each from the last one's best"),
    "validate": ("deeplab_lightning.cli:validate", "score a checkpoint on the validation split"),
    "test": ("deeplab_lightning.cli:test", "score a checkpoint on the test split"),
    "evaluate": ("deeplab_lightning.commands.evaluate:main", "score a checkpoint under many protocols, in one table"),
    "predict": ("deeplab_lightning.commands.predict:main", "segment image files with a checkpoint"),
    "import": ("deeplab_lightning.commands.import_:main", "take over weights that another program trained"),
    "export": ("deeplab_lightning.commands.export:main", "write a model for ONNX, LiteRT or plain PyTorch, checked"),
    "doctor": ("deeplab_lightning.commands.doctor:main", "look at a data set before training: doctor FOLDER"),
    "inspect": ("deeplab_lightning.commands.inspect:main", "say what a network really computes, layer by layer"),
    "benchmark": ("deeplab_lightning.commands.benchmark:main", "time networks from image to class map, as a table"),
    "ablate": ("deeplab_lightning.commands.ablate:main", "train a study's combinations, and print a paper's table"),
    "sweep": ("deeplab_lightning.commands.sweep:main", "search hyper-parameters by a sweep file, without a server"),
    "compare": ("deeplab_lightning.commands.compare:main", "set runs side by side, with significance"),
    "report": (
        "deeplab_lightning.commands.compare:report_main",
        "one HTML file of a run, a study or several runs",
    ),
    "reproduce": ("deeplab_lightning.commands.reproduce:main", "make a run again, and say what differs here"),
    "crf-search": ("deeplab_lightning.commands.crf_search:main", "find the dense CRF's parameters, coarse to fine"),
}
"""Name -> (where the function is, what it does). The function gets the remaining arguments and returns an exit code."""


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
    name = arguments[0]
    if name not in COMMANDS:
        print(f"Unknown command {name!r}.{did_you_mean(name, COMMANDS)}\n\n{usage()}", file=sys.stderr)
        return 2
    # Must be said before torch is imported; see docs/decisions/0006-short-spinning.md.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    module, function = COMMANDS[name][0].split(":")
    try:
        return getattr(importlib.import_module(module), function)(arguments[1:])
    except DeepLabError as error:
        print(f"deeplab_lightning {name}: {error}", file=sys.stderr)
        return error.exit_code


def usage() -> str:
    """Return the overview of all commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "DeepLab semantic segmentation on PyTorch Lightning",
            "",
            "usage: python -m deeplab_lightning COMMAND [-c FILE.yaml ...] [--option value ...]",
            "",
            *lines,
            "",
            "COMMAND --help lists a command's options. Later -c files, and options, override earlier files.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
