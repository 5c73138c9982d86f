"""How well the model does on parts of the test split, and whether the gap between them comes with the pre-training."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from tfl import data
from tfl.config import UserError, did_you_mean
from tfl.data.columns import columns_of
from tfl.lazy import pd
from tfl.studies.audit import intervals
from tfl.studies.audit.finding import Finding, Section
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.subject import Subject, measure
from tfl.studies.paired import holm
from tfl.validate import validate

LEAST = 5
"""Examples that a slice must have for the gap; the others are listed alone."""
MANY = 12
"""Distinct values above which a column of numbers is cut at its quartiles."""
PERMUTATIONS = 2000
SERIOUS = 0.10
BUILT_IN = ("class", "folder", "length")


def slices_of(subject: Subject, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """`{column: [N] str}` for the test split: the columns `names`, or what there is without them.

    That is `class`, `folder` (below the class) where there are several, and the `length` of texts. Raises `UserError` for a
    column that is not there.
    """
    rows = subject.test.rows
    found = {name: value for name in BUILT_IN if (value := _built_in(subject, name)) is not None}
    if not names:
        return {name: value for name, value in found.items() if len(set(value.tolist())) > 1}
    chosen = {}
    own = [name for name in names if name not in found]
    frame = columns_of(validate(data.AnyConfig, subject.config["data"])) if own else None
    for name in names:
        if name in found:
            chosen[name] = found[name]
            continue
        assert frame is not None
        if name not in frame.columns:
            known = [*found, *map(str, frame.columns)]
            raise UserError(f"slices: no column {name!r}{did_you_mean(name, known)}; one of {', '.join(known)}")
        chosen[name] = _values(frame[name].reindex(pd.Index(rows.ids, dtype=object)))
    return chosen


def _built_in(subject: Subject, name: str) -> np.ndarray | None:
    test = subject.test
    if name == "class" and subject.kind == "classification":
        return np.array(subject.classes, object)[test.labels]
    if name == "folder" and subject.config["data"]["source"] == "folder":
        classes = [subject.classes[label] for label in test.labels]
        return np.array([_below(name, own) for name, own in zip(test.rows.ids, classes, strict=True)], object)
    if name == "length" and subject.run.facts.modality == "text":
        words = [len(" ".join(texts).split()) for texts in zip(*subject.texts(test.rows).values(), strict=True)]
        return _values(pd.Series(words))
    return None


def _below(name: str, own: str) -> str:
    """The folders between that of the class and the file."""
    parts = PurePosixPath(name).parts[:-1]
    return "/".join(parts[parts.index(own) + 1 :]) if own in parts else ""


def _values(column: Any) -> np.ndarray:
    """A column as names of slices; many different numbers become quartiles, what is missing is called so."""
    there = column.dropna()
    numbers = pd.to_numeric(there, errors="coerce")  # cells of a .csv file are texts
    if numbers.notna().all() and numbers.nunique() > MANY:
        column = pd.qcut(numbers.reindex(column.index), 4, duplicates="drop")
    return np.array(["(missing)" if pd.isna(value) else str(value) for value in column], object)


def gap_of(scores: np.ndarray, names: np.ndarray, random: np.random.Generator) -> dict[str, Any] | None:
    """The gap between the best and the worst slice; None where fewer than two have examples enough.

    The largest of many gaps is large by chance, so `p` is that of a permutation test: how often a gap as large comes about
    where the scores are dealt out to the slices at random.
    """
    found, group = np.unique(names.astype(str), return_inverse=True)
    sizes = np.bincount(group)
    large = np.flatnonzero(sizes >= LEAST)
    if len(large) < 2:
        return None
    one_hot = (group[None, :] == large[:, None]).astype(np.float64) / sizes[large][:, None]
    means = one_hot @ scores
    worst, best = int(means.argmin()), int(means.argmax())
    largest = float(means.max() - means.min())
    dealt = np.empty(PERMUTATIONS)
    for number in range(PERMUTATIONS):
        shuffled = one_hot @ random.permutation(scores)
        dealt[number] = shuffled.max() - shuffled.min()
    inside = [scores[group == large[place]] for place in (best, worst)]
    p = (1 + int((dealt >= largest - 1e-12).sum())) / (PERMUTATIONS + 1)
    return {"worst": str(found[large[worst]]), "best": str(found[large[best]]), **intervals.apart(*inside), "p": p}


def beside_scratch(own: np.ndarray, scratch: np.ndarray, names: np.ndarray) -> dict[str, Any] | None:
    """The gap of two models between the same two slices, and by how much that of the first is larger.

    The slices are the best and the worst by the mean of both models, so that neither is favoured by the choice.
    """
    both = (own + scratch) / 2
    means = {name: both[names == name].mean() for name in sorted(set(names.tolist())) if (names == name).sum() >= LEAST}
    if len(means) < 2:
        return None
    worst, best = min(means, key=lambda name: means[name]), max(means, key=lambda name: means[name])
    high, low = names == best, names == worst
    more = intervals.apart((own - scratch)[high], (own - scratch)[low])
    return {
        "worst": worst,
        "best": best,
        "own": intervals.apart(own[high], own[low]),
        "scratch": intervals.apart(scratch[high], scratch[low]),
        "more": more,
        "verdict": _verdict(more),
    }


def _verdict(more: dict[str, Any]) -> str:
    """What a difference of gaps shows; without an interval, nothing."""
    if more["low"] is None:
        return "no difference"
    return "larger" if more["low"] > 0 else "smaller" if more["high"] < 0 else "no difference"


VERDICTS = {
    "larger": "it is larger than from scratch, so pre-training brings at least some of it",
    "smaller": "it is smaller than from scratch, so it comes from the data, not from pre-training",
    "no difference": "from scratch it is not shown to be another, so nothing says that it comes with pre-training",
}


def section(subject: Subject, names: tuple[str, ...] = (), scratch: Subject | None = None) -> Section:
    """The mean score of every slice, and the gap of every column."""
    scores = subject.scores(subject.test)
    other = None if scratch is None else scratch_scores(subject, scratch)
    chosen = slices_of(subject, names)
    facts: dict[str, Any] = {"measure": measure(subject.task), "overall": intervals.mean(scores), "columns": {}}
    lines = []
    for column, values in chosen.items():
        each = {name: intervals.mean(scores[values == name]) for name in sorted(set(values.tolist()))}
        gap = gap_of(scores, values, subject.random("slices", column))
        entry: dict[str, Any] = {"slices": [{"slice": name, **one} for name, one in each.items()], "gap": gap}
        if other is not None:
            entry["scratch"] = beside_scratch(scores, other, values)
        facts["columns"][column] = entry
        listed = sorted(each.items(), key=lambda item: item[1]["value"])
        shortened = ", ".join(f"{name} {shown(one)}, n {one['examples']}" for name, one in listed[:4])
        lines.append(f"{column}: {shortened}{f' … {len(listed) - 4} more' if len(listed) > 4 else ''}")
    return Section(findings=_findings(facts["columns"]), facts=facts, lines=tuple(lines) or ("nothing to slice by",))


def _findings(columns: dict[str, Any]) -> tuple[Finding, ...]:
    """The gaps that are larger than chance gives, corrected for the number of columns."""
    gaps = {name: one["gap"] for name, one in columns.items() if one["gap"] is not None}
    adjusted, _ = holm([gap["p"] for gap in gaps.values()]) if gaps else ([], [])
    findings = []
    for (column, gap), p in zip(gaps.items(), adjusted, strict=True):
        gap["adjusted_p"] = p
        if p >= 0.05 or gap["low"] is None:
            continue
        size = max(0.0, float(gap["low"]))
        text = f"{column}: {gap['worst']} does worse than {gap['best']} by {shown(gap)}"
        beside = columns[column].get("scratch")
        if beside is not None:
            pair = f"between {beside['worst']} and {beside['best']}" if beside["worst"] != gap["worst"] else "of the same"
            text += f"; from scratch the gap {pair} is {shown(beside['scratch'])}: {VERDICTS[beside['verdict']]}"
        findings.append(Finding(level="serious" if size >= SERIOUS else "notable", size=size, text=text))
    return tuple(findings)


def scratch_scores(subject: Subject, scratch: Subject) -> np.ndarray:
    """`[N]`: those of the from-scratch run for the examples of the other one. Raises `UserError` where it is another thing."""
    if scratch.config["backbone"]["weights"] != "none":
        raise UserError(f"scratch: {scratch.run.directory} began with weights; name a run with backbone.weights: none")
    own, other = subject.test, scratch.test
    places = {one: place for place, one in enumerate(other.rows.ids.tolist())}
    if scratch.classes != subject.classes or not all(one in places for one in own.rows.ids.tolist()):
        raise UserError(
            f"scratch: {scratch.run.directory} was tested on other examples; train it on the same data with the same seed"
        )
    order = np.array([places[one] for one in own.rows.ids.tolist()])
    if not np.array_equal(other.labels[order], own.labels):
        raise UserError(f"scratch: {scratch.run.directory} has other labels for the same examples; train it on the same data")
    return scratch.scores(other)[order]
