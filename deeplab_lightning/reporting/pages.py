"""Reports that are one HTML file each, from the templates in this folder.

Nothing in a page comes from elsewhere: styles and scripts stand in it, images are data URIs, and its content security
policy forbids the rest. Whatever a template is given is escaped unless it is `Markup`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from .tables import number


class TableCell(str):
    """A cell of a table that is more than its text.

    Attributes:
        kind: Of its look: `better` or `worse`, or empty.
    """

    kind = ""


def page(template: str, title: str, subtitle: str, **values: Any) -> str:
    """Return a whole HTML document from a template, such as `run.html.j2`, and the values that it shows."""
    found = _templates().get_template(template)
    return found.render(title=title, subtitle=subtitle, version=__version__, contents=[], **values)


def macro(template: str, name: str) -> Callable[..., Markup]:
    """Return a part of a page as a function of what it shows."""
    found: Callable[..., Markup] = getattr(_templates().get_template(template).module, name)
    return found


def difference_cell(text: str, low: float, high: float, mark: str = "") -> TableCell:
    """Return the cell of a difference, coloured and marked if its interval, NaN for none, leaves out zero."""
    kind = "better" if low > 0 else "worse" if high < 0 else ""
    cell = TableCell(f"{text}{mark if kind else ''}")
    cell.kind = kind
    return cell


def data_uri(content: bytes) -> Markup:
    """Return a PNG or JPEG as an address that holds it."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode()}")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("deeplab_lightning.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {"number": number, "data_uri": data_uri, "json": json.dumps, "zip": zip}
    return environment
