"""What an export answers beside what was evaluated, example by example and in every metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfl import evaluate

SHOWN = 10
"""Examples that a failed certificate names."""
QUALITY = {"classification": "accuracy", "multilabel": "accuracy", "regression": "r2"}
"""The metric, better where it is higher, that a quantised export may lose a little of."""
ROUNDING = 1e-9
"""So that a loss of exactly what is allowed is allowed."""


def compared(
    about: Mapping[str, Any], evaluated: Any, served: Mapping[str, np.ndarray], examples: Sequence[Mapping[str, Any]]
) -> tuple[list[str], dict[str, Any]]:
    """Why the two do not agree, and what the certificate says of them.

    Of a quantised export (`about["quantize"]`), no single answer but the loss of quality is held against it.
    """
    kind, names, tolerance = about["kind"], about["class_names"], about["tolerance"]
    if kind == "regression":
        before, after = evaluated["predicted"].to_numpy(np.float64), served["value"].astype(np.float64)
        differences = np.abs(before - after) / max(np.abs(before).max(initial=0), 1e-9)
        same = differences <= tolerance
    else:
        before = evaluated[[f"p_{name}" for name in names]].to_numpy(np.float64)
        after = served["probabilities"].astype(np.float64)
        listed = served["class_names"][0].tolist()
        if listed != names:
            reason = f"the classes are served as {', '.join(listed)}, and were evaluated as {', '.join(names)}"
            return [reason], {"largest_difference": None, "agreement": None}
        differences = np.abs(before - after).max(axis=-1)
        same = _same_classes(kind, before, after, tolerance)
    quantized = about.get("quantize") is not None
    bad = ~(differences <= tolerance)  # NaN is bad
    wrong = np.flatnonzero(~same if quantized and kind != "regression" else bad | ~same)[:SHOWN]
    shown = [
        {
            "id": examples[place]["id"],
            "evaluated": _shown(before[place], names),
            "served": _shown(after[place], names),
            "difference": float(differences[place]),
        }
        for place in wrong
    ]
    metrics = _metrics(about, [row["label"] for row in examples], before, after)
    result = {
        "largest_difference": float(differences.max()),
        "agreement": float(same.mean()),
        "metrics": metrics,
        "disagreements": tuple(shown),
    }
    if not quantized:
        return _reasons(kind, differences, bad, same, tolerance), result
    told, cost = _cost(QUALITY[kind], metrics, about["max_loss"])
    return told, result | {"cost": cost}


def _reasons(kind: str, differences: np.ndarray, bad: np.ndarray, same: np.ndarray, tolerance: float) -> list[str]:
    """Why the two do not agree; nothing where they do."""
    reasons = []
    if bad.any():
        what = "values" if kind == "regression" else "probabilities"
        most = f"by up to {differences.max():.2g} (at most {tolerance:.0e})"
        reasons.append(f"{what} of {bad.sum()} of {len(bad)} examples differ, {most}")
    if not same.all() and kind != "regression":
        reasons.append(f"{(~same).sum()} of {len(same)} examples get another class")
    return reasons


def _cost(
    metric: str, metrics: Mapping[str, Mapping[str, float | None]], at_most: float
) -> tuple[list[str], dict[str, Any] | None]:
    """Why quantisation takes too much of `metric`, and how much it takes."""
    values = metrics.get(metric, {})
    before, after = values.get("evaluated"), values.get("served")
    if before is None or after is None:
        return [f"what quantisation costs cannot be told: {metric} is not defined for these answers"], None
    lost = before - after
    cost = {"metric": metric, "evaluated": before, "served": after, "lost": lost, "at_most": at_most}
    if lost <= at_most + ROUNDING:
        return [], cost
    return [f"quantisation takes {lost:.4f} of {metric}, from {before:.4f} to {after:.4f} (at most {at_most:g})"], cost


def _metrics(
    about: Mapping[str, Any], labels: Sequence[np.ndarray], before: np.ndarray, after: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Each metric of both; nothing where what is served is no number."""
    if not np.isfinite(after).all():
        return {}
    kind, true = about["kind"], np.array(labels)
    true = true[:, 0].astype(np.int64) if kind == "classification" else true
    first, second = (evaluate.evaluate(kind, true, values, about["class_names"], resamples=1) for values in (before, after))
    names = [name for name, value in first.items() if isinstance(value, dict) and "value" in value]
    return {name: {"evaluated": first[name]["value"], "served": second[name]["value"]} for name in names}


def _same_classes(kind: str, before: np.ndarray, after: np.ndarray, tolerance: float) -> np.ndarray:
    """[N] bool: whether an example gets the same classes; a tie within the tolerance is no disagreement."""
    if kind == "classification":
        rows = np.arange(len(before))
        chosen = after.argmax(axis=-1)
        return before.max(axis=-1) - before[rows, chosen] <= tolerance
    return (((before >= 0.5) == (after >= 0.5)) | (np.abs(before - 0.5) <= tolerance)).all(axis=-1)


def _shown(values: np.ndarray, names: Sequence[str]) -> str:
    if not names:
        return f"{float(values):.6g}"
    place = int(np.argmax(values))
    return f"{names[place]} {values[place]:.6f}"
