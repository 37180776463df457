"""Packages that only some users need: imported where they are used, with a word on how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import ConfigError


def need(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package.

    Args:
        package: Its import name.
        extra: The extra of this package that brings it.
        purpose: What cannot be done without it, to begin the message with.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the package {package}, which is not installed: pip install 'deeplab-lightning[{extra}]'."
        ) from error
