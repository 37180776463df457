"""What a folder of the package offers: one file a thing, found by looking, so that adding one edits no list."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pkgutil
import sys
from typing import TypeVar

from .errors import ConfigError, did_you_mean

Kind = TypeVar("Kind")


@functools.cache
def import_all(package: str) -> None:
    """Import every module of a package of ours, once."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def subclasses(base: type[Kind]) -> list[type[Kind]]:
    """Return all classes below `base` that can be made, those of the user's own modules included, by name."""
    found: set[type[Kind]] = set()
    for direct in base.__subclasses__():
        found |= {direct, *subclasses(direct)}
    return sorted((one for one in found if not inspect.isabstract(one)), key=lambda one: one.__name__)


def name_of(found: type) -> str:
    """Return the name by which configurations and checkpoints know a class: with its module if it is the user's own."""
    if found.__module__.split(".")[0] == __package__:
        return found.__name__
    return f"{found.__module__}.{found.__qualname__}"


handed_on: list[str] = []
"""Modules that this command was told to import, for the commands that it starts."""
_named_by_user: set[str] = set()
"""Modules that the user named, on the command line or in a configuration that he gave with -c."""


def bring_in(what: str, module: str) -> None:
    """Import a module of the user's own, on his word. Nothing else imports what a name in a file stands for.

    Args:
        what: Whose module it is, for the message, such as `the network mymodule.MyNet`.
        module: Its name.

    Raises:
        ConfigError: There is no such module, or it cannot be imported.
    """
    if os.getcwd() not in map(os.path.abspath, sys.path):  # the installed program looks beside itself alone
        sys.path.append(os.getcwd())
    try:
        importlib.import_module(module)
    except (ImportError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{what[:1].upper()}{what[1:]} cannot be had: importing {module} failed ({error}). Modules of your own are "
            f"looked for in the working folder and on PYTHONPATH."
        ) from error
    _named_by_user.add(module)


def own_class(what: str, name: str, base: type[Kind]) -> type[Kind]:
    """Return a class of the user's own, from a module that is there: that he named, or that his program imported.

    Args:
        what: Such as `network`, for the message.
        name: With its module, such as `mymodule.MyNet`.
        base: What it must be below.

    Raises:
        ConfigError: Its module is not there, or has no such class.
    """
    known = next((one for one in subclasses(base) if name_of(one) == name), None)
    if known is not None:
        return known
    module, _, attribute = name.rpartition(".")
    if module not in _named_by_user:
        raise ConfigError(
            f"The {what} {name} is none of this package, and nothing is imported because a file names it. If you know "
            f"the module and trust it, add --import {module}; in a program, import it before."
        )
    there = sys.modules.get(module)
    found = getattr(there, attribute, None)
    if not isinstance(found, type) or not issubclass(found, base):
        near = [one for one in dir(there) if not one.startswith("_")]
        raise ConfigError(f"{module} has no {what} {attribute}.{did_you_mean(attribute, near)}")
    return found


def named_by_user(module: str) -> bool:
    """Whether the user named a module, or a package in which it is."""
    return any(module == one or module.startswith(f"{one}.") for one in _named_by_user)


def named(what: str, name: str, choices: dict[str, Kind]) -> Kind:
    """Return the choice of that name.

    Args:
        what: Such as `network`, for the message.
        name: As the user wrote it.
        choices: All there are.

    Raises:
        ConfigError: There is none; the nearest is named.
    """
    if name not in choices:
        raise ConfigError(
            f"Unknown {what} {name!r}.{did_you_mean(name, choices)} There are: {', '.join(sorted(choices))}."
        )
    return choices[name]
