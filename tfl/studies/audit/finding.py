"""What a section of an audit comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["serious", "notable"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know before the model is used."""

    level: Level
    size: float
    """What is at stake, as a share of examples or of probability: the end of an interval that is nearer to nothing."""
    text: str
    """What was found, in a sentence or two that stand alone."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one question came to."""

    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, as it stands in audit.json."""
    lines: tuple[str, ...] = ()
    """The same for the terminal, in a line or a few."""


def graded(size: float | None, text: str, *, notable: float, serious: float) -> tuple[Finding, ...]:
    """A finding where `size` comes up to a threshold, and else none."""
    if size is None or size < notable:
        return ()
    return (Finding(level="serious" if size >= serious else "notable", size=float(size), text=text),)
