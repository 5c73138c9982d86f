"""From an answer and sections to one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tfl.reporting.ink import svg
from tfl.reporting.section import Answer, Section
from tfl.whole import write_text


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg"] = svg
    return environment.get_template("page.html")


def write(file: Path, title: str, about: str, answer: Answer, sections: Iterable[Section]) -> Path:
    """Writes the page to `file`, whole or not at all, and returns its path. `about`: a line above the answer."""
    text = _template().render(title=title, about=about, answer=answer, sections=list(sections)).lstrip()
    write_text(file, text)
    return file
