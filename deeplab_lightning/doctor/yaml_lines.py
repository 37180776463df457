"""Sections of a configuration as YAML, a line for each option, with comments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def section(name: str, options: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Write one section; options may have a dot, for groups within groups (`cross_entropy.class_weights`)."""
    lines, open_groups = [f"{name}:"], list[str]()
    for option, value in options.items():
        *groups, last = option.split(".")
        for depth, group in enumerate(groups):
            if groups[: depth + 1] != open_groups[: depth + 1]:
                lines.append(f"{'  ' * (depth + 1)}{group}:")
        open_groups = groups
        comment = f"  # {comments[option]}" if option in comments else ""
        lines.append(f"{'  ' * (len(groups) + 1)}{last}: {value_of(value)}{comment}")
    return "\n".join(lines) + "\n"


def value_of(value: Any) -> str:
    """Return a value as it stands in YAML, in one line."""
    written = yaml.safe_dump(value, default_flow_style=True, width=100_000, allow_unicode=True)
    return written.removesuffix("...\n").strip()
