"""The page around a report's sections: styles, script, contents, switch between light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

from ... import __version__


class Section(NamedTuple):
    """A part of a report.

    Attributes:
        title: Its heading, and its entry in the contents.
        body: HTML.
    """

    title: str
    body: str


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML document.

    Args:
        title: Of the document, and its heading.
        subtitle: A line below.
        sections: Its parts, from top to bottom.
    """
    names = [(f"part-{number}", section) for number, section in enumerate(sections, start=1)]
    contents = "".join(f'<li><a href="#{name}">{escape(section.title)}</a></li>' for name, section in names)
    parts = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{escape(section.title)}</h2>\n'
        f"{section.body}\n</section>"
        for name, section in names
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="deeplab_lightning {__version__}">
<title>{escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<div><h1>{escape(title)}</h1><p class="subtitle">{escape(subtitle)}</p></div>
<button type="button" id="theme" hidden>Dark</button>
</header>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main id="main" tabindex="-1">
{parts}
</main>
<footer><p>Made by deeplab_lightning {__version__} from the files of the run folder alone.</p></footer>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def facts(entries: Sequence[tuple[str, str]]) -> str:
    """Return names with values, as plain text, in a list."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in entries)
    return f'<dl class="facts">{rows}</dl>'


def note(text: str, kind: str = "note") -> str:
    """Return a paragraph that stands out; `kind` is `note` or `warning`."""
    word = "Warning: " if kind == "warning" else ""
    return f'<p class="{kind}"><strong>{word}</strong>{escape(text)}</p>'


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
