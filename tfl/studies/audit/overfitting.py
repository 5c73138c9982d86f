"""How much better the model does on what it was trained on, epoch by epoch and at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.studies.audit import intervals
from tfl.studies.audit.finding import Finding, Section, graded
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.subject import Subject, measure

NOTABLE, SERIOUS = 0.05, 0.15


def history(subject: Subject) -> list[dict[str, Any]]:
    """A row an epoch: its phase, and of the loss and each metric, the validation split's minus the training split's value.

    The training values are means over the epoch, as the weights changed, with dropout and augmentation on: early in a phase the
    gap is the other way round.
    """
    rows = []
    for number, phase in enumerate(subject.run.report.phases, start=1):
        for epoch in phase.epochs:
            gaps = {
                name: float(epoch[f"val_{name}"]) - value
                for name, value in epoch.items()
                if _is_number(value) and _is_number(epoch.get(f"val_{name}"))
            }
            kept = epoch.get("epoch") == phase.kept_epoch
            rows.append({"phase": number, "epoch": epoch.get("epoch"), "kept": kept, "gaps": gaps})
    return rows


def _is_number(value: Any) -> bool:
    """Whether a value of the history is there: that of a loss which diverged is null."""
    return isinstance(value, (int, float)) and bool(np.isfinite(value))


def since_best(subject: Subject) -> dict[str, Any] | None:
    """How far the validation loss of the last phase rose behind its lowest value, as a share of that; None without one."""
    phases = subject.run.report.phases
    losses: list[Any] = [epoch.get("val_loss") for epoch in phases[-1].epochs] if phases else []
    known = [float(value) for value in losses if _is_number(value)]
    if not known or min(known) <= 0:
        return None
    return {"lowest": min(known), "last": known[-1], "rose_by": known[-1] / min(known) - 1}


def section(subject: Subject) -> Section:
    """The gap between training, validation and test, each predicted as it is served."""
    test = subject.scores(subject.test)
    facts: dict[str, Any] = {
        "measure": measure(subject.task),
        "epochs": history(subject),
        "validation_loss": since_best(subject),
        "test": intervals.mean(test),
    }
    lines: list[str] = []
    findings: list[Finding] = []
    try:
        parts = {name: subject.scores(subject.part(name)) for name in ("train", "validation")}
    except UserError as error:
        facts["why"] = str(error)
        lines.append(f"from the history alone: {error}")
        parts = {}
    for name, scores in parts.items():
        gap = intervals.apart(scores, test)
        facts[name] = {**intervals.mean(scores), "gap": gap}
        lines.append(f"{name} {shown(facts[name])}, {shown(gap)} above test")
    if parts:
        findings += _train(facts["train"]["gap"])
        findings += _validation(facts["validation"]["gap"])
    rose = facts["validation_loss"]
    if rose is not None and rose["rose_by"] > 0:
        lines.append(f"validation loss {rose['lowest']:.3f} at best, {rose['last']:.3f} in the last epoch")
    return Section(findings=tuple(findings), facts=facts, lines=tuple(lines))


def _train(gap: dict[str, Any]) -> tuple[Finding, ...]:
    text = f"overfitted: on what it was trained on it does better than on the test split, by {shown(gap)}"
    return graded(gap["low"], text, notable=NOTABLE, serious=SERIOUS)


def _validation(gap: dict[str, Any]) -> tuple[Finding, ...]:
    text = (
        f"the test split is harder than the validation split, by {shown(gap)}: what it learned does not hold "
        "there; it comes from elsewhere, or lacks a cue that the others have"
    )
    return graded(gap["low"], text, notable=NOTABLE, serious=SERIOUS)
