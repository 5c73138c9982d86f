"""What common corruptions take from the score, at three strengths, on the same examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfl.data.examples import Examples
from tfl.studies.audit import intervals
from tfl.studies.audit.corruptions import IMAGE, TEXT, Corruption
from tfl.studies.audit.finding import Finding, Section, graded
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.subject import Predicted, Subject, measure

NOTABLE, SERIOUS = 0.05, 0.15
JUDGED = 2
"""The strength that findings go by: the middle one."""


def section(subject: Subject) -> Section:
    """The score of at most `limit` test examples, as they are and corrupted."""
    test = subject.test
    chosen = test.take(subject.sample(len(test.labels), subject.limit, "robustness"))
    is_image = subject.run.facts.modality == "image"
    content: Any = subject.pixels(chosen.rows) if is_image else subject.texts(chosen.rows)
    clean = _scores(subject, chosen, content)
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    findings: list[Finding] = []
    for name, corruption in (IMAGE if is_image else TEXT).items():
        values = []
        for strength, setting in enumerate(corruption.settings, start=1):
            scores = _scores(subject, chosen, _corrupted(subject, chosen.rows, content, name, strength, corruption))
            drop = intervals.paired(clean, scores)
            values.append({"corruption": name, "strength": strength, "setting": setting, "unit": corruption.unit})
            values[-1] |= {**intervals.mean(scores), "drop": drop}
        rows += values
        lines.append(f"{name}: {' / '.join(format(one['value'], '.3f') for one in values)}")
        findings += _finding(name, values[JUDGED - 1])
    before = intervals.mean(clean)
    first = f"{measure(subject.task)} {shown(before)} of {len(clean)} test examples; corrupted, at strengths 1 / 2 / 3:"
    facts = {"measure": measure(subject.task), "examples": len(clean), "clean": before, "corruptions": rows}
    return Section(findings=tuple(findings), facts=facts, lines=(first, *lines))


def _finding(name: str, one: dict[str, Any]) -> tuple[Finding, ...]:
    text = f"{name} of strength {one['strength']} of 3 ({one['unit']}: {one['setting']:g}) takes {shown(one['drop'])}"
    return graded(one["drop"]["low"], text, notable=NOTABLE, serious=SERIOUS)


def _corrupted(subject: Subject, rows: Examples, content: Any, name: str, strength: int, corruption: Corruption) -> Any:
    """`content` changed, each example by random numbers of its own."""
    setting = corruption.settings[strength - 1]

    def changed(examples: Any, column: str) -> list[Any]:
        randoms = [subject.random(name, strength, column, found.decode("latin-1")) for found in rows.digests]
        return [corruption.change(one, setting, random) for one, random in zip(examples, randoms, strict=True)]

    if isinstance(content, dict):
        return {column: changed(values, column) for column, values in content.items()}
    return np.stack(changed(content, "image"))


def _scores(subject: Subject, chosen: Predicted, content: Any) -> np.ndarray:
    predictions = subject.of_texts(content) if isinstance(content, dict) else subject.of_pixels(content)
    return subject.scores(Predicted(rows=chosen.rows, labels=chosen.labels, predictions=predictions))
