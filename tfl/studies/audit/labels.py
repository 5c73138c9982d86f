"""Labels that are probably wrong: confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068).

A linear model on frozen features predicts every example by folds that it did not train on. Class j counts for an example where
its probability is at least the mean that class j has over the examples labelled so; where the likeliest such class is another
than the label, the label is suspected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data import concatenate
from tfl.data.examples import Examples
from tfl.studies.audit import features, intervals
from tfl.studies.audit.finding import Finding, Section
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.subject import STORED, Subject, need

FOLDS = 5
SHOWN = 50
"""Suspects that are listed, the most suspicious first."""
NOTABLE = 0.01
"""Share of the labels, by the lower end of its interval."""


def confident(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """`[N] int`: the class that is counted for each example, -1 where none is. Labels `[N] int`, probabilities `[N, C]`."""
    classes = probabilities.shape[1]
    own = [probabilities[labels == number, number] for number in range(classes)]
    thresholds = np.array([values.mean() if len(values) else np.inf for values in own])
    reached = probabilities >= thresholds
    chosen = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), chosen, -1)


def joint(labels: np.ndarray, counted: np.ndarray, classes: int) -> np.ndarray:
    """`[C, C]`: the estimated share of examples by given (row) and true label, summing to 1.

    The confident counts, with rows scaled to how often each label is given (equation 2 of the paper).
    """
    counts = np.zeros((classes, classes))
    kept = counted >= 0
    np.add.at(counts, (labels[kept], counted[kept]), 1)
    given = np.bincount(labels, minlength=classes).astype(np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    empty = np.eye(classes)  # nothing counted for a label: taken as it is given
    scaled = np.where(rows > 0, counts / np.maximum(rows, 1), empty) * given[:, None]
    found: np.ndarray = scaled / scaled.sum()
    return found


def out_of_fold(values: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """`[N, C]`: probabilities by regularised logistic regression on the other folds. Raises `UserError` for small classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    least = int(np.bincount(labels)[np.unique(labels)].min())
    if least < 2:
        raise UserError("labels: a class has a single example, which no fold can check; add examples")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01 if values.shape[1] > 64 else 1.0, max_iter=300))
    folds = StratifiedKFold(min(FOLDS, least), shuffle=True, random_state=seed)
    with threadpool_limits(1):  # the fits are small: beside other work, threads wait for each other more than they do
        found: np.ndarray = cross_val_predict(model, values, labels, cv=folds, method="predict_proba")
    return found


def section(subject: Subject) -> Section:
    """The suspects among at most `STORED * limit` examples of all splits."""
    need(subject, "labels", ("classification",))
    rows, labels = _pool(subject)
    values, origin = features.of(subject, rows)
    probabilities = out_of_fold(values, labels, subject.seed)
    present = np.unique(labels)
    own = np.searchsorted(present, labels)
    counted = confident(own, probabilities)
    places = np.arange(len(labels))
    margin = probabilities[places, own] - probabilities.max(axis=1)
    suspects = np.flatnonzero((counted >= 0) & (counted != own))
    suspects = suspects[np.argsort(margin[suspects], kind="stable")]
    share = intervals.mean(np.isin(places, suspects).astype(float))
    facts: dict[str, Any] = {
        "examples": len(labels),
        "of": sum(subject.splits.sizes.values()),
        "features": origin,
        "accuracy": intervals.mean((probabilities.argmax(axis=1) == own).astype(float)),
        "suspected": len(suspects),
        "share": share,
        "estimated_noise": float(1 - np.trace(joint(own, counted, len(present)))),
        "suspects": [
            {
                "id": str(rows.ids[place]),
                "label": subject.classes[labels[place]],
                "suggested": subject.classes[present[counted[place]]],
                "probability_of_label": float(probabilities[place, own[place]]),
                "probability_of_suggested": float(probabilities[place, counted[place]]),
            }
            for place in suspects[:SHOWN]
        ],
    }
    checked = f"{len(suspects)} of {len(labels)} labels suspected, by {origin} (right for {facts['accuracy']['value']:.3f})"
    listed = [f"{one['id']}: {one['label']}, rather {one['suggested']}" for one in facts["suspects"][:3]]
    return Section(findings=_findings(facts, listed), facts=facts, lines=(checked, *listed))


def _findings(facts: dict[str, Any], listed: list[str]) -> tuple[Finding, ...]:
    """A linear model errs too, so that suspects are to be looked at, and never serious by themselves."""
    if facts["share"]["low"] < NOTABLE:
        return ()
    text = (
        f"{facts['suspected']} of {facts['examples']} labels may be wrong, {shown(facts['share'])}; first {'; '.join(listed)}"
    )
    return (Finding(level="notable", size=float(facts["share"]["low"]), text=text),)


def _pool(subject: Subject) -> tuple[Examples, np.ndarray]:
    """Examples of all splits, or of those that can be put together, and their labels."""
    splits = subject.splits
    pool: Examples = splits.train
    for part in (splits.validation, splits.test):
        try:
            pool = concatenate(pool, part)
        except UserError:  # streams of several files
            continue
    pool = pool.take(subject.sample(len(pool), STORED * subject.limit, "labels"))
    return pool, np.asarray(pool.labels)
