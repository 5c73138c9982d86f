"""Pages: what a run, several runs or a comparison came to, in one HTML file that opens anywhere; and its pictures as files.

Needs the extra `report`: `pip install '.[report]'` in the clone of tfl. `write` is what a run calls at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from tfl.config import UserError, extra

PAGE = "report.html"
NEEDS = ("jinja2", "matplotlib", "PIL")
INSTALL = extra("report")


def missing() -> bool:
    """Whether what draws pages is not installed."""
    return any(find_spec(name) is None for name in NEEDS)


def require() -> None:
    """Raises `UserError` where what draws pages is not installed."""
    if missing():
        raise UserError(f"pages and pictures need Jinja2 and Matplotlib, which are not installed: {INSTALL}")


def write(directory: Path, out: Path | None = None) -> Path:
    """Writes `report.html` into the directory of a finished run, or the page to `out`, and returns its path.

    Raises `UserError` where that is no finished run, or where what draws is not installed.
    """
    require()
    from tfl.reporting import answer, page, sections
    from tfl.reporting.evidence import Evidence

    run = Evidence(directory)
    report = run.report
    data = report.config.get("data", {})
    source = data.get("path") or data.get("name") or data.get("source", "")
    about = f"{report.method} · {report.backbone.get('name', '?')} · {source}"
    return page.write(out or directory / PAGE, run.name, about, answer.answer(run), sections.of(run))


def attempt(directory: Path, say: Callable[[str], None], make: Callable[[Path], Path] = write) -> Path | None:
    """`make`, where what draws is installed; else, and whatever comes in its way, a line that says so, and None: what the page
    is about is whole without it, and ends well.
    """
    if missing():
        say(f"no {PAGE}: {INSTALL} brings what draws it, then `tfl report {directory}`")
        return None
    try:
        return make(directory)
    except Exception as error:  # (any: hours of training are not to end in an error of a picture)
        say(f"no {PAGE}: {type(error).__name__}: {error}; try again: `tfl report {directory}`")
        return None


def plots(directory: Path, folder: Path) -> list[Path]:
    """Writes the pictures of a run's page into `folder`, each as PNG and as SVG, and returns their paths."""
    require()
    from tfl.reporting import answer, ink, sections
    from tfl.reporting.evidence import Evidence

    run = Evidence(directory)
    top = answer.answer(run).picture
    drawn = [picture for section in sections.of(run) for picture in section.pictures]
    return ink.save([top, *drawn] if top is not None else drawn, folder)


def write_several(directories: Sequence[Path], file: Path) -> Path:
    """Writes a page that holds several finished runs together to `file`, and returns its path."""
    require()
    from tfl.reporting import page
    from tfl.reporting.several import Runs

    runs = Runs(directories)
    return page.write(file, " and ".join(runs.names), f"{len(runs.runs)} runs", runs.answer(), runs.sections())
