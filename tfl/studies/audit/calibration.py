"""Whether a probability says how often the model is right.

Bins are 15 of equal width, (m / 15, (m + 1) / 15]; the expected calibration error is the mean over examples of the distance
between confidence and accuracy of their bin (Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599). The Brier score is
the squared distance between probabilities and the label, summed over classes (Brier 1950, Monthly Weather Review 78:1).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tfl import evaluate, temperature
from tfl.bootstrap import with_intervals
from tfl.config import UserError
from tfl.evaluate import BINS, CALIBRATION
from tfl.run import Run
from tfl.studies.audit.finding import Finding, Section, graded
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.subject import Predicted, Subject, need

NOTABLE, SERIOUS = 0.03, 0.10
RESULT = "audit.json"


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """The data of the reliability diagram, a row a bin: its bounds, how many are in it, their confidence and accuracy.

    Labels `[N] int`: of the predicted class. Labels `[N, C]` of 0 and 1: of every class of every example.
    """
    if labels.ndim == 1:
        confidence = probabilities.max(axis=1)
        right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    else:
        confidence, right = probabilities.reshape(-1), labels.astype(np.float64).reshape(-1)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    rows = []
    for number in range(BINS):
        inside = bins == number
        count = int(inside.sum())
        rows.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "examples": count,
                "confidence": float(confidence[inside].mean()) if count else None,
                "accuracy": float(right[inside].mean()) if count else None,
            }
        )
    return rows


def brier(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """`[N]`: the score of each example, 0 (right and sure) to 2 (wrong and sure); of several labels their mean, 0 to 1."""
    if labels.ndim == 1:
        true = np.eye(probabilities.shape[1])[labels]
        found: np.ndarray = ((probabilities - true) ** 2).sum(axis=1)
        return found
    return np.asarray(((probabilities - labels) ** 2).mean(axis=1))


def section(subject: Subject) -> Section:
    """Calibration on the test split, before and after temperature scaling on the validation split."""
    need(subject, "calibration", ("classification", "multilabel"))
    test = subject.test
    facts = {"examples": len(test.labels), "bins": reliability(test.labels, test.predictions), **_measured(subject, test)}
    error = facts[CALIBRATION]
    lines = [f"calibration error {shown(error)}, Brier score {shown(facts['brier'])}"]
    advice = ""
    if subject.kind == "classification":
        facts["overconfidence"] = float(test.predictions.max(axis=1).mean() - subject.scores(test).mean())
        found = _scaling(subject, test)
        facts["temperature"] = found
        if "value" in found:
            after = found[CALIBRATION]
            said = f"temperature {found['value']:.2f} (fitted on {found['examples']} validation examples)"
            lines.append(f"{said}: calibration error {shown(after)}")
            better = found["log_loss"]["value"] < facts["log_loss"]["value"]
            if not better:
                lines.append("that is no better on the test split: the validation split is too small, or another kind of data")
            if better and after["value"] < error["value"]:
                advice = f"; at the {said} it is {after['value']:.3f}: `tfl export {subject.run.directory} --temperature`"
        else:
            lines.append(found["why"])
    return Section(findings=_findings(facts, advice), facts=facts, lines=tuple(lines))


def _findings(facts: dict[str, Any], advice: str) -> tuple[Finding, ...]:
    error, over = facts[CALIBRATION], facts.get("overconfidence")
    kind = "" if over is None else f", it is too {'sure' if over > 0 else 'unsure'} by {abs(over):.3f} in the mean"
    text = f"probabilities are off by {shown(error)}{kind}{advice}"
    return graded(error["low"], text, notable=NOTABLE, serious=SERIOUS)


def _measured(subject: Subject, one: Predicted) -> dict[str, Any]:
    """Calibration error, log-loss and Brier score with their bootstrap intervals."""
    found = evaluate.evaluate(subject.task.kind, one.labels, one.predictions, subject.classes, seed=subject.seed)
    squares = brier(one.labels, one.predictions)
    more = with_intervals(
        lambda weights: {"brier": squares @ weights / weights.sum(axis=0)}, len(squares), subject.seed, resamples=1000, cost=1
    )
    return {CALIBRATION: found[CALIBRATION], "log_loss": found["log_loss"], **more}


def _scaling(subject: Subject, test: Predicted) -> dict[str, Any]:
    """The temperature and what it comes to on the test split, or `why` there is none."""
    try:
        validation = subject.part("validation")
        value = temperature.fit(validation.predictions, validation.labels)
    except UserError as error:
        return {"why": f"no temperature: {error}"}
    after = Predicted(rows=test.rows, labels=test.labels, predictions=temperature.scaled(test.predictions, value))
    return {"value": value, "examples": len(validation.labels), **_measured(subject, after)}


def temperature_of(run: Run) -> float:
    """The temperature of `run`: that of its audit, or one fitted now. Raises `UserError` where there is none.

    An audit of an earlier tfl may hold an end of the search, which is no temperature.
    """
    file = run.directory / RESULT
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))["sections"].get("calibration", {}).get("temperature", {})
        if "value" in found and not temperature.at_end(found["value"]):
            return float(found["value"])
    subject = Subject(run)
    need(subject, "temperature", ("classification",))
    validation = subject.part("validation")
    return temperature.fit(validation.predictions, validation.labels)
