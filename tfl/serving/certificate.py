"""The certificate of an export: that a process which knows TensorFlow alone gets from it what the run was evaluated with."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfl import evaluate
from tfl.config import UserError, plain
from tfl.data import kept
from tfl.lazy import pd
from tfl.tasks import Task

FILE, EVIDENCE = "certificate.json", "evidence"
"""In the folder of a version: the certificate, and the folder of what it rests on."""
EXAMPLES, EVALUATED, TASK = "examples.tfrecord", "predictions.csv", "task.json"
"""In `evidence`: the kept examples, what the run predicted for them, and what is predicted."""
WITNESS = Path(__file__).with_name("witness.py")
"""The script that asks the SavedModel; nothing here imports it, since it imports TensorFlow."""
TOLERANCE = 1e-5
"""By how much a probability may differ in float32: the batch in which an example is computed moves it by about 1e-7."""
TOLERANCE_MIXED = 0.02
"""The same where layers compute in 16 bits; bfloat16 has 8 of them for the digits."""
SHOWN = 10
"""Examples that a failed certificate names."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What came out of the comparison."""

    passed: bool
    reasons: tuple[str, ...] = ()
    """Why it did not pass, the gravest first."""
    examples: int
    """That were kept."""
    compared: int
    """Of them, those whose image is still there and the same."""
    tolerance: float
    largest_difference: float | None
    """Between a served and an evaluated probability (of a regression: value, as a share of the largest)."""
    agreement: float | None
    """Share of the examples for which both give the same classes, ties within the tolerance left out; 0 to 1."""
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """{name: {"evaluated", "served"}} over the compared examples."""
    disagreements: tuple[Mapping[str, Any], ...] = ()
    """The first ten examples that differ: id, evaluated, served, difference."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every file of the version, by its path."""
    model: str = ""
    version: int = 0
    made: str = ""
    """When, in UTC."""

    def save(self, folder: Path) -> None:
        """Writes it into the folder of a version."""
        draft = folder / f"{FILE}.partial"
        draft.write_text(json.dumps(plain(self), indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
        draft.replace(folder / FILE)

    def told(self) -> str:
        """What the terminal says of it."""
        if self.passed:
            return (
                f"certificate: {self.compared} test examples, the same classes for all, largest difference "
                f"{self.largest_difference:.1e} (at most {self.tolerance:.0e})"
            )
        lines = [f"the export does not predict what was evaluated: {'; '.join(self.reasons)}"]
        for one in self.disagreements:
            lines.append(f"  {one['id']}: evaluated {one['evaluated']}, served {one['served']}")
        return "\n".join(lines)


def gather(folder: Path, run: Path, task: Task, mixed: bool) -> None:
    """Puts what the certificate rests on into the version `folder`. Raises `UserError` where the run did not keep it."""
    there = folder / EVIDENCE
    there.mkdir()
    for name in (EXAMPLES, EVALUATED):
        if not (run / name).is_file():
            raise UserError(f"{run / name} is not there, and without it nothing shows that an export is right; train again")
        (there / name).write_bytes((run / name).read_bytes())
    about = {"kind": task.kind, "class_names": list(task.class_names), "tolerance": TOLERANCE_MIXED if mixed else TOLERANCE}
    (there / TASK).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def certify(folder: Path, model: str, version: int) -> Certificate:
    """Asks the SavedModel in `folder`, in a process of its own, for all kept examples, and compares."""
    there = folder / EVIDENCE
    about = json.loads((there / TASK).read_text(encoding="utf-8"))
    served = _served(folder)
    gone = {str(one) for name in ("missing", "changed") for one in served[name]}
    examples = [row for row in kept.read(there / EXAMPLES) if row["id"] not in gone]
    evaluated = pd.read_csv(there / EVALUATED, dtype={"id": str}, keep_default_na=False)
    total = len(evaluated)
    evaluated = evaluated[~evaluated["id"].isin(gone)]
    reasons = [
        f"{len(served[name])} of {total} images {what}, the first is {served[name][0]}"
        for name, what in (("missing", "cannot be read any more"), ("changed", "have changed since"))
        if len(served[name])
    ]
    result: dict[str, Any] = {"largest_difference": None, "agreement": None}
    if [row["id"] for row in examples] != evaluated["id"].tolist():
        reasons.insert(0, "the kept examples and predictions are not of the same run")
    elif not examples:
        reasons.insert(0, "there is no test example to compare")
    else:
        told, result = _compared(about, evaluated, served, examples)
        reasons = told + reasons
    return Certificate(
        passed=not reasons,
        reasons=tuple(reasons),
        examples=total,
        compared=len(examples),
        tolerance=about["tolerance"],
        files=files(folder),
        model=model,
        version=version,
        made=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S}",
        **result,
    )


def verify(folder: Path) -> Certificate:
    """The comparison once more, for a version that has a certificate and still has to consist of the same files.

    Raises `UserError` where `folder` is no version of an export of tfl.
    """
    try:
        before = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no certificate ({error}); `tfl export` makes a version that has one") from error
    now = files(folder)
    reasons = [
        f"{name} {'is not there any more' if name not in now else 'has changed' if name in before['files'] else 'is new'}"
        for name in sorted({*now, *before["files"]})
        if now.get(name) != before["files"].get(name)
    ]
    try:
        found = certify(folder, before["model"], before["version"])
    except (UserError, OSError, ValueError, KeyError) as error:
        if not reasons:
            raise
        found = Certificate(
            passed=False,
            reasons=(str(error),),
            examples=before["examples"],
            compared=0,
            tolerance=before["tolerance"],
            largest_difference=None,
            agreement=None,
        )
    return dataclasses.replace(found, passed=found.passed and not reasons, reasons=(*reasons, *found.reasons))


def files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` but the certificate, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != FILE:
            with path.open("rb") as opened:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def _served(folder: Path) -> dict[str, np.ndarray]:
    """What the SavedModel answers to the kept examples, from a process that knows TensorFlow alone."""
    with tempfile.TemporaryDirectory() as place:
        answers = Path(place) / "answers.npz"
        command = [sys.executable, "-I", str(WITNESS), str(folder), str(folder / EVIDENCE / EXAMPLES), str(answers)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise UserError(f"{folder}: a process of TensorFlow alone cannot use this SavedModel: {last[0][:500]}")
        with np.load(answers) as found:
            return dict(found)


def _compared(
    about: Mapping[str, Any], evaluated: Any, served: Mapping[str, np.ndarray], examples: Sequence[Mapping[str, Any]]
) -> tuple[list[str], dict[str, Any]]:
    """Why the two do not agree, and what the certificate says of them."""
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
    reasons = []
    bad = ~(differences <= tolerance)  # NaN is bad
    if bad.any():
        what = "values" if kind == "regression" else "probabilities"
        most = f"by up to {np.nanmax(differences):.2g} (at most {tolerance:.0e})"
        reasons.append(f"{what} of {bad.sum()} of {len(bad)} examples differ, {most}")
    if not same.all() and kind != "regression":
        reasons.append(f"{(~same).sum()} of {len(same)} examples get another class")
    wrong = np.flatnonzero(bad | ~same)[:SHOWN]
    shown = [
        {
            "id": examples[place]["id"],
            "evaluated": _shown(before[place], names),
            "served": _shown(after[place], names),
            "difference": float(differences[place]),
        }
        for place in wrong
    ]
    return reasons, {
        "largest_difference": float(differences.max()),
        "agreement": float(same.mean()),
        "metrics": _metrics(about, [row["label"] for row in examples], before, after),
        "disagreements": tuple(shown),
    }


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
