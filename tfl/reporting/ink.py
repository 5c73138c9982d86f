"""Pictures, drawn by Matplotlib: into a page, where they take the page's colours, light or dark; or into PNG and SVG files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours by what they are for."""

    ink: str
    """Text, and what is measured."""
    muted: str
    """Axes, and what it is measured against."""
    paper: str
    """What lies below."""
    series: tuple[str, ...]
    """Lines and bars, in order."""


FILE = Palette(
    ink="#1c2128",
    muted="#6b7480",
    paper="#ffffff",
    series=("#2b6cb0", "#c2570c", "#2f855a", "#8250a8", "#b83280", "#64748b"),
)
"""On white paper."""

PAGE = Palette(
    ink="#a1b200",
    muted="#a1b201",
    paper="#a1b202",
    series=tuple(f"#a1b21{place}" for place in range(len(FILE.series))),
)
"""Marks that `svg` makes variables of the page's style sheet."""

VARIABLES = {PAGE.ink: "--ink", PAGE.muted: "--muted", PAGE.paper: "--paper"} | {
    color: f"--series-{place}" for place, color in enumerate(PAGE.series, 1)
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Something to be drawn."""

    name: str
    """Of its files, and of what is in it: unique in a page."""
    told: str
    """What it shows, for those who do not see it."""
    draw: Callable[[Any, Palette], None]
    """Draws it on Matplotlib axes."""
    width: float = 3.6
    """Inches; a phone shows about 3.2 of 96 pixels, so that text is not much smaller there."""
    height: float = 2.5


def svg(picture: Picture) -> Markup:
    """The picture as an `<svg>` element for a page, without colours, fonts or ids of its own."""
    from markupsafe import Markup, escape

    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _drawn(picture, PAGE) as figure:
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{picture.name}-", text)  # ids are those of the whole page
    text = re.sub(r"#a1b2[01]\d", lambda found: f"var({VARIABLES[found[0]]})", text)
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None
    width = round(picture.width * 96 * 1.3)
    head = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view[0]} style="max-width: {width}px" role="img"'
    return Markup(f'{head} aria-label="{escape(picture.told)}">{text[text.index(">") + 1 :]}')


def save(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    """Writes each picture into `folder` as a PNG and an SVG file, dark on white."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for picture in pictures:
        with _drawn(picture, FILE) as figure:
            for kind in ("png", "svg"):
                file = folder / f"{picture.name}.{kind}"
                figure.savefig(file, dpi=200, metadata={"Date": None} if kind == "svg" else None)
                files.append(file)
    return files


@contextmanager
def _drawn(picture: Picture, palette: Palette) -> Iterator[Any]:
    """The picture as a Matplotlib figure, which has to be saved within the context."""
    import matplotlib
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rules: Any = {
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": picture.name,  # the same picture twice is the same file twice
        "text.parse_math": False,  # the name of a class may hold dollars
        "text.color": palette.ink,
        "axes.labelcolor": palette.muted,
        "axes.edgecolor": palette.muted,
        "axes.titlecolor": palette.ink,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=palette.series),
        "axes.facecolor": "none",
        "figure.facecolor": palette.paper,
        "xtick.color": palette.muted,
        "ytick.color": palette.muted,
        "grid.color": palette.muted,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.5,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.6,
    }
    with matplotlib.rc_context(rules), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")  # a page has the fonts of its reader
        figure = Figure(figsize=(picture.width, picture.height), layout="constrained")
        FigureCanvasAgg(figure)
        picture.draw(figure.add_subplot(), palette)
        yield figure
