"""Where does a run fail? Questions to a finished run, each on its own; a run that lacks what one needs says so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfl.config import UserError, did_you_mean, plain
from tfl.run import Run
from tfl.studies.audit import calibration, confidence, cues, labels, overfitting, robustness, slices
from tfl.studies.audit.calibration import RESULT
from tfl.studies.audit.finding import Finding, Section
from tfl.studies.audit.subject import LIMIT, Subject
from tfl.whole import write_text

SCHEMA = 1
"""Version of audit.json; it rises when a field changes its meaning or goes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked."""

    sections: tuple[str, ...] = ()
    """Names of `SECTIONS`; empty: all."""
    slices: tuple[str, ...] = ()
    """Columns; empty: what there is without naming any."""
    scratch: Run | None = None
    """The same network from scratch, whose gaps stand beside those of the run."""
    ood: str | None = None
    """A source of input of another kind."""
    limit: int = LIMIT
    """Examples, at most, that are predicted again and again; `ONCE` or `STORED` times as many where it is once."""


Ask = Callable[[Subject, Options], Section]

SECTIONS: Mapping[str, Ask] = {
    "calibration": lambda subject, options: calibration.section(subject),
    "slices": lambda subject, options: slices.section(subject, options.slices, _scratch(options)),
    "robustness": lambda subject, options: robustness.section(subject),
    "confidence": lambda subject, options: confidence.section(subject, options.ood),
    "labels": lambda subject, options: labels.section(subject),
    "overfitting": lambda subject, options: overfitting.section(subject),
    "cues": lambda subject, options: cues.section(subject),
}
"""Every question, by its name."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit came to."""

    sections: Mapping[str, Section]
    skipped: Mapping[str, str]
    """Why a section was not asked, by its name."""
    seconds: Mapping[str, float]
    """Wall time of each section."""

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """Of all sections with their names, the worst first: serious ones before notable ones, then by what is at stake."""
        every = [(name, one) for name, section in self.sections.items() for one in section.findings]
        return sorted(every, key=lambda item: (item[1].level != "serious", -item[1].size))


def audit(run: Run, options: Options | None = None) -> Audit:
    """Asks `run` what `options` say (all of it by default), and writes the answers to audit.json in its directory, where those
    to other sections stay that were asked before.

    Raises `UserError` for a section or column that is not there, and for a run to compare with that does not fit.
    """
    options = options or Options()
    chosen = check(options.sections)
    subject = Subject(run, options.limit)
    if options.scratch is not None:
        slices.scratch_scores(subject, Subject(options.scratch))
    if options.slices and "slices" in chosen:
        slices.slices_of(subject, options.slices)
    if options.ood is not None and "confidence" in chosen:
        confidence.foreign(subject, options.ood)
    sections, skipped, seconds = {}, {}, {}
    for name in chosen:
        started = time.perf_counter()
        try:
            sections[name] = SECTIONS[name](subject, options)
        except UserError as error:
            skipped[name] = str(error)
        seconds[name] = time.perf_counter() - started
    done = Audit(sections=sections, skipped=skipped, seconds=seconds)
    _save(run, done, options)
    return done


def check(names: tuple[str, ...]) -> tuple[str, ...]:
    """The sections `names`, or all. Raises `UserError` for one that is none."""
    for name in names:
        if name not in SECTIONS:
            raise UserError(f"sections: {name!r} is not valid{did_you_mean(name, SECTIONS)}; one of {', '.join(SECTIONS)}")
    return tuple(name for name in SECTIONS if name in names or not names)


def _scratch(options: Options) -> Subject | None:
    return None if options.scratch is None else Subject(options.scratch)


def _save(run: Run, done: Audit, options: Options) -> None:
    """Writes audit.json, whole or not at all; what it says of sections that were not asked now stays."""
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "findings": [{"section": name, **plain(one)} for name, one in done.findings],
        "sections": {name: plain(dict(section.facts)) for name, section in done.sections.items()},
        "skipped": dict(done.skipped),
        "seconds": dict(done.seconds),
        "options": {
            "slices": list(options.slices),
            "scratch": None if options.scratch is None else str(options.scratch.directory),
            "ood": options.ood,
            "limit": options.limit,
        },
    }
    before, asked = _before(run.directory / RESULT), set(done.sections) | set(done.skipped)
    for part in ("sections", "skipped", "seconds"):
        found[part] |= {name: one for name, one in before.get(part, {}).items() if name not in asked}
    found["findings"] += [one for one in before.get("findings", ()) if one["section"] not in asked]
    found["findings"].sort(key=lambda one: (one["level"] != "serious", -one["size"]))
    kept = {"slices": "slices", "scratch": "slices", "ood": "confidence"}
    found["options"] |= {
        name: before["options"].get(name) for name, section in kept.items() if "options" in before and section not in asked
    }
    write_text(run.directory / RESULT, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _before(file: Path) -> dict[str, Any]:
    """What an earlier audit of the run found; nothing where there was none, or its file is damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA else {}
