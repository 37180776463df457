"""What command lines and configurations may name: the commands' parser, and the classes of models and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser

from .arguments import in_one_line
from .data.datamodule import SegmentationDataModule
from .errors import ConfigError, did_you_mean
from .tasks import SegmentationTask


class OneLineParser(LightningArgumentParser):
    """Says what is wrong in one line, and how to put it right."""

    arguments: ClassVar[list[str]] = []
    outermost = False
    """Set on the parsers of commands; those that jsonargparse makes within them hand their message on."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Raise instead of printing the usage and leaving."""
        if not self.outermost:
            raise ValueError(message)
        names = {key: [found.__name__ for found in classes()] for key, classes in CLASSES.items()}
        raise ConfigError(in_one_line(str(message), self.arguments, class_options(), names))


CLASSES: dict[str, Callable[[], list[type]]] = {
    "model": lambda: subclasses(SegmentationTask),
    "data": lambda: subclasses(SegmentationDataModule),
}
"""What the sections of a configuration choose from, the user's own classes among them."""


def subclasses(base: type) -> list[type]:
    """Return all classes below `base`, by name."""
    found: set[type] = set()
    direct: type
    for direct in base.__subclasses__():
        found |= {direct, *subclasses(direct)}
    return sorted(found, key=lambda found_class: found_class.__name__)


def class_named(key: str, class_path: str) -> Any:
    """Return the model's or datamodule's class that a configuration names.

    Args:
        key: model or data.
        class_path: Its name, with or without the module.

    Raises:
        ConfigError: No such class was imported.
    """
    name = class_path.rsplit(".", 1)[-1]
    classes = {found.__name__: found for found in CLASSES[key]()}
    if name not in classes:
        raise ConfigError(
            f"There is no {key} class {class_path}.{did_you_mean(name, classes)} One of your own must be imported "
            f"first."
        )
    return classes[name]


def class_options() -> dict[str, list[str]]:
    """Return the constructor arguments of all models and all datamodules."""

    def names(found: type) -> list[str]:
        return [name.removeprefix("class.") for name in ArgumentParser().add_class_arguments(found, "class")]

    return {key: sorted({name for found in classes() for name in names(found)}) for key, classes in CLASSES.items()}


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command is asked to explain itself, or its configuration, and not to run."""
    return any(word in ("-h", "--help") or word.startswith("--print_config") for word in arguments)
