"""The page of a comparison, from its compare.json alone: the verdict, the picture, the tables, and what they rest on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tfl import reporting
from tfl.config import UserError
from tfl.reporting.evidence import COMPARISON
from tfl.studies.compare.curves import LEVELS
from tfl.studies.compare.plan import METHODS, SCRATCH
from tfl.studies.compare.told import corrected, level, needed

Found = Mapping[str, Any]
"""What stands in compare.json."""


def read(folder: Path) -> Found:
    """The compare.json of a finished comparison. Raises `UserError` where it is not whole."""
    file = folder / COMPARISON
    try:
        found: Found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not what a comparison leaves there ({error})") from error
    if not found.get("effects") or not all(isinstance(one, Mapping) for one in found.get("methods", ("",))):
        raise UserError(f"{file}: not whole; the same `tfl compare … --out {folder}` writes it again, and trains nothing again")
    return found


def said(folder: Path) -> list[str]:
    """The verdict of a finished comparison in sentences."""
    from tfl.reporting import transfer

    found = read(folder)
    answer = transfer.answer(found)
    return [answer.headline, *answer.sentences, f"Measured by {transfer.basis(found)}."]


def write(folder: Path, out: Path | None = None) -> Path:
    """Writes `report.html` into the directory of a finished comparison, or the page to `out`, and returns its path."""
    reporting.require()
    from tfl.reporting import page, transfer
    from tfl.studies.compare.picture import against_labels

    found = read(folder)
    config = found["config"]
    data = config["data"]
    answer = dataclasses.replace(
        transfer.answer(found),
        about=(f"Measured by {transfer.basis(found)}.", *_about(found)),
        picture=against_labels(found["methods"], _counts(found), len(found["seeds"])),
    )
    about = f"comparison with training from scratch · {config['backbone']['name']} · {data.get('path') or data.get('source')}"
    return page.write(out or folder / reporting.PAGE, folder.resolve().name, about, answer, _sections(found))


def plots(folder: Path, out: Path) -> list[Path]:
    """Writes the pictures of the page into `out`, each as PNG and as SVG, and returns their paths."""
    reporting.require()
    from tfl.reporting import ink
    from tfl.studies.compare.picture import against_labels

    found = read(folder)
    top = against_labels(found["methods"], _counts(found), len(found["seeds"]))
    return ink.save([top, *(picture for section in _sections(found) for picture in section.pictures)], out)


def _counts(found: Found) -> dict[Any, float]:
    """The labels a class that each count of labels stands for."""
    own = {one["labels"]: one for one in found["trials"] if one["method"] == SCRATCH}
    return {labels: own[labels]["examples"] / own[labels]["classes"] for labels in found["labels"]}


def _about(found: Found) -> Iterator[str]:
    primary = sum(one["primary"] for one in found["effects"])
    order = corrected(primary, len(found["effects"]) - primary)
    yield f"{order[0].upper()}{order[1:]}."
    rate = next(one["phases"][0]["learning_rate"] for one in found["trials"] if one["method"] == SCRATCH)
    yield f"From scratch: {METHODS[SCRATCH]}; learning rate {rate:g}, augmented as the others."


def _sections(found: Found) -> list[Any]:
    from tfl.reporting.section import Section, Table
    from tfl.studies.compare.picture import learning

    over = "seconds" if found.get("budget") else "updates"
    pictures = [learning(found["trials"], labels, over) for labels in found["labels"]]
    needs = [f"{line[0].upper()}{line[1:]}." for line in needed(found["efficiency"], list(_counts(found).values()))]
    methods = [(name, METHODS[name], _phases(phases)) for name, phases in found["recipes"]["methods"].items()]
    recipes = Table(header=("method", "trains", "phases"), rows=methods, words=True)
    config = yaml.safe_dump(found["config"], sort_keys=False, allow_unicode=True)
    told = (
        "Verdicts go by the interval that the correction for the number of comparisons leaves, not by the 95 % one shown here."
    )
    reached = f"Means over seeds; start, area and best are of the validation split, levels are reached after so many {over}."
    return [
        Section(name="labels", title="What it saves in labels", sentences=needs, wide=True),
        Section(name="curves", title="Learning curves", sentences=("Means over seeds.",), pictures=pictures, wide=True),
        Section(name="differences", title="Every comparison", sentences=(told,), tables=(_differences(found),), wide=True),
        Section(
            name="course", title="Start, slope, end and cost", sentences=(reached,), tables=(_courses(found, over),), wide=True
        ),
        Section(name="methods", title="What was compared", tables=(recipes,), wide=True),
        Section(name="config", title="Config", listing=config, folded=True),
    ]


def _differences(found: Found) -> Any:
    from tfl.reporting.section import Table

    header = ("labels", "measure", "method", "its mean", SCRATCH, "difference", "95 %", "p, corrected", "verdict")
    rows = []
    for one in found["effects"]:
        values = [f"{one['transfer']:.3f}", f"{one['scratch']:.3f}", f"{one['value']:+.3f}"]
        spread = f"{one['low']:+.3f} to {one['high']:+.3f}"
        measure = one["measure"] + (" (primary)" if one["primary"] else "")
        rows.append((str(one["labels"]), measure, one["method"], *values, spread, f"{one['adjusted_p']:.3g}", one["verdict"]))
    return Table(header=header, rows=rows)


def _courses(found: Found, over: str) -> Any:
    from tfl.reporting.section import Table

    columns = ("before", "first", "area", "best", "last")
    costs = ("updates", "seconds", "trained_parameters")
    rows = []
    for one in found["methods"]:
        levels = [level(value, one["reached"][f"{value:g}"], len(found["seeds"])) for value in LEVELS]
        curve = [f"{one[name]:.3f}" for name in columns]
        spent = [f"{one['updates']:,.0f}", f"{one['seconds']:,.1f}", f"{one['trained_parameters']:,.0f}"]
        end = f"{one['end']['value']:.3f}"
        rows.append((str(one["labels"]), one["method"], end, *curve, " ".join(filter(None, levels)), *spent))
    names = [name.replace("_", " ") for name in costs]
    return Table(header=("labels", "method", "test", *columns, f"{over} to levels", *names), rows=rows)


def _phases(phases: Any) -> str:
    from tfl.terminal import declared

    return "; ".join(f"{declared(one['trainable'])} at {one['learning_rate']:g}" for one in phases)
