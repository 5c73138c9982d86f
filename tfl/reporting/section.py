"""What a page is made of: sections with sentences, pictures, tables and cards. What stands in them, the template escapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfl.reporting.ink import Picture

Row = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text; the first column stands to the left, the others, which are mostly numbers, to the right."""

    header: Row
    rows: Sequence[Row]
    caption: str = ""
    words: bool = False
    """Whether all columns hold words, and stand to the left."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One example."""

    title: str
    lines: Sequence[str]
    image: str = ""
    """A `data:` address, or nothing."""
    text: str = ""
    """What the example says, where it is a text; or why its picture is not there."""
    small: bool = False
    """Whether the picture is so small that its pixels are shown as squares."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page under a heading of its own."""

    name: str
    """Its place in the page's address: letters and hyphens."""
    title: str
    sentences: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    cards: Sequence[Card] = ()
    listing: str = ""
    """Lines that are shown as they are."""
    wide: bool = False
    """Whether it takes the whole width of a wide page, not half of it."""
    folded: bool = False
    """Whether it is opened by a click only."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What stands above all: what was asked, and what the numbers say."""

    state: str
    """helped | no difference | hurt | mixed | unknown: its colour."""
    badge: str
    """The answer in a word or two."""
    headline: str
    sentences: Sequence[str] = ()
    command: str = ""
    """What to type for an answer, where there is none yet."""
    after: str = ""
    """What follows the command."""
    figure: str = ""
    """The number that all is about, such as 0.959."""
    figure_told: str = ""
    """What that number is, with its interval."""
    about: Sequence[str] = ()
    """What the number is worth: against a baseline."""
    picture: Picture | None = None
    warnings: Sequence[str] = ()
