"""What the terminal says of an audit: the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tfl.studies.audit.audit import Audit

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES = {"serious": "bold red", "notable": "yellow"}


def told(done: Audit) -> RenderableType:
    """The findings, then what each section measured."""
    from rich.console import Group
    from rich.text import Text

    return Group(*_findings(done), Text(""), *_sections(done))


def headline(done: Audit) -> str:
    """How many findings there are, in words."""
    levels = [one.level for _, one in done.findings]
    if not levels:
        count = len(done.sections)
        return f"audit: nothing found in {count} section{'s' if count != 1 else ''}"
    counts = [f"{count} {level}" for level in STYLES if (count := levels.count(level))]  # type: ignore[arg-type]
    return f"audit: {' and '.join(counts)} {'findings' if len(levels) > 1 else 'finding'}, the worst first"


def _findings(done: Audit) -> Iterator[Any]:
    from rich.text import Text

    yield Text(headline(done), "bold")
    for number, (name, one) in enumerate(done.findings, start=1):
        # not markup: what a class or a file is called may hold brackets
        yield Text.assemble(f"  {number}. ", (one.level, STYLES[one.level]), f", {name}: {one.text}")


def _sections(done: Audit) -> Iterator[Any]:
    from rich.text import Text

    for name, seconds in done.seconds.items():
        yield Text(f"{name} ({seconds:.1f} s)", "bold")
        lines = done.sections[name].lines if name in done.sections else (f"not asked: {done.skipped[name]}",)
        yield from (Text(f"  {line}") for line in lines)
