"""Whether confidence tells what the model does not know: input of another kind, and its own mistakes.

Confidence is the largest probability (Hendrycks and Gimpel 2017, arXiv:1610.02136). What is refused first is what it is least
sure of: coverage is the share that is answered (El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017, arXiv:1705.08500).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfl import data, evaluate
from tfl.config import UserError
from tfl.data.examples import Examples
from tfl.data.files import EXTENSIONS as IMAGES
from tfl.data.given_files import GivenFiles
from tfl.data.guess import guess
from tfl.data.table import EXTENSIONS as TABLES
from tfl.studies.audit import intervals
from tfl.studies.audit.finding import Finding, Section, graded
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.subject import Subject, need, taken
from tfl.validate import validate

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
SURE = 0.9
"""Confidence above which an answer is taken for a sure one."""
NOTABLE, SERIOUS = 0.10, 0.50
"""Of the share of foreign input that is answered surely."""
BLIND = 0.6
"""An area under the curve, right against wrong, below which confidence says little about mistakes."""


def coverage(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """For each of `COVERAGES`, the accuracy of the so many most confident of `[N]`, and the confidence that lets them in."""
    order = np.argsort(-confidence, kind="stable")
    rows = []
    for share in COVERAGES:
        kept = order[: max(1, round(share * len(order)))]
        threshold = float(confidence[kept[-1]])
        rows.append({"coverage": share, "threshold": threshold, **intervals.mean(right[kept])})
    return rows


def risk_area(confidence: np.ndarray, right: np.ndarray) -> float:
    """The mean error of the most confident 1, 2, … N: the area under the risk-coverage curve; 0 is best."""
    wrong = 1 - right[np.argsort(-confidence, kind="stable")]
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


def separation(inside: np.ndarray, outside: np.ndarray, seed: int) -> dict[str, Any]:
    """The area under the ROC curve with which confidence tells `inside` from `outside`; 0.5 is chance."""
    confidence = np.clip(np.concatenate([inside, outside]), 0, 1)
    labels = np.repeat([1, 0], [len(inside), len(outside)])
    found = evaluate.evaluate(
        "classification", labels, np.stack([1 - confidence, confidence], axis=1), ("out", "in"), seed=seed
    )
    area: dict[str, Any] = found["auroc"]
    return area


def foreign(subject: Subject, source: str) -> Examples:
    """Unlabelled examples of `source`, at most `limit`: images or texts in files, or another source. Raises `UserError`."""
    facts, place = subject.run.facts, Path(source).expanduser()
    suffix = place.suffix.lower()
    if place.is_dir() or suffix in (*IMAGES, *TABLES, ".txt"):
        files = GivenFiles([str(place)], facts.modality, facts.pairs, subject.run.columns)
        return next(files.parts(subject.limit)).given().readable()
    raw = guess(source)
    records = data.SOURCES[raw["source"]].read(validate(data.AnyConfig, raw))
    if records.modality != facts.modality:
        raise UserError(f"ood: {source} holds {records.modality}s, but this run reads {facts.modality}s; name another")
    return taken(next(rows for rows in records.splits.values() if len(rows)), subject.limit)


def built_in(subject: Subject) -> tuple[str, np.ndarray]:
    """Predictions for input that means nothing: images of noise, or texts of words drawn from all test texts."""
    count = min(subject.limit, len(subject.test.labels))
    if subject.run.facts.modality == "image":
        height, width = subject.run.preprocess.size
        noise = np.stack([subject.random("noise", n).integers(0, 256, (height, width, 3)) for n in range(count)])
        return "images of noise", subject.of_pixels(noise.astype(np.uint8))
    chosen = subject.test.take(subject.sample(len(subject.test.labels), count, "words"))
    texts = {}
    for name, values in subject.texts(chosen.rows).items():
        words = sorted(word for text in values for word in text.split())
        random = subject.random("words", name)
        texts[name] = [" ".join(random.choice(words, max(1, len(text.split())))) for text in values]
    return "texts of shuffled words", subject.of_texts(texts)


def section(subject: Subject, ood: str | None = None) -> Section:
    """Confidence on foreign input beside that on the test split, and the accuracy kept when the least sure are refused."""
    need(subject, "confidence", ("classification",))
    test = subject.test
    confidence, right = test.predictions.max(axis=1), subject.scores(test)
    name, predictions = built_in(subject)
    others = {name: predictions}
    if ood is not None:
        others[ood] = subject.run.predictions(foreign(subject, ood))
    facts: dict[str, Any] = {"examples": len(right), "foreign": {}, "coverage": coverage(confidence, right)}
    facts["risk_area"] = risk_area(confidence, right)
    findings: list[Finding] = []
    lines = []
    for what, found in others.items():
        outside = found.max(axis=1)
        one: dict[str, Any] = {"examples": len(outside), "mean_confidence": float(outside.mean())}
        one["auroc"] = separation(confidence, outside, subject.seed)
        one["sure"] = intervals.mean((outside >= SURE).astype(float))
        facts["foreign"][what] = one
        lines.append(f"{what}: told from the test split with an AUROC of {shown(one['auroc'])}")
        text = f"{what}: {shown(one['sure'])} of them get a class with a probability of {SURE} or more"
        # Nobody sends noise, so that what is built in is never a serious finding.
        findings += graded(one["sure"]["low"], text, notable=NOTABLE, serious=SERIOUS if what == ood else 2.0)
    kept = ", ".join(f"{row['coverage']:.0%} {row['value']:.3f}" for row in facts["coverage"])
    lines.append(f"accuracy of the most confident: {kept}")
    facts["mistakes"] = None
    if 0 < right.sum() < len(right):
        facts["mistakes"] = separation(confidence[right == 1], confidence[right == 0], subject.seed)
        findings += _blind(facts["mistakes"], 1 - float(right.mean()))
    return Section(findings=tuple(findings), facts=facts, lines=tuple(lines))


def _blind(area: dict[str, Any], wrong: float) -> tuple[Finding, ...]:
    """Where confidence does not know its mistakes, refusing does not help; at stake are the mistakes."""
    if area["high"] is None or area["high"] >= BLIND:
        return ()
    text = f"confidence hardly tells mistakes from right answers (AUROC {shown(area)}): refusing the unsure does not help"
    return (Finding(level="notable", size=wrong, text=text),)
