"""The certificate of an export: that a process which knows its runtime alone gets from it what the run was evaluated with."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfl import temperature as temperatures
from tfl.config import UserError, plain
from tfl.data import kept
from tfl.lazy import pd
from tfl.serving import comparison, targets, tensors
from tfl.serving.targets import SAVEDMODEL, TARGETS
from tfl.tasks import Task
from tfl.whole import write_csv, write_text

FILE, EVIDENCE = "certificate.json", "evidence"
"""In the folder of a version: the certificate, and the folder of what it rests on."""
EXAMPLES, EVALUATED, TASK = "examples.tfrecord", "predictions.csv", "task.json"
"""In `evidence`: the kept examples, what the run predicted for them, and what is predicted."""
CLASS_NAMES, PREPROCESS = "class_names.txt", "preprocess"
"""Beside a model file: its classes, a line each, and the run's preprocessing as it was saved."""
WITNESS, TENSOR_WITNESS = (Path(__file__).with_name(name) for name in ("witness.py", "tensor_witness.py"))
"""The scripts that ask a SavedModel and a model file; nothing here imports them, since they import what runs those."""
TOLERANCE = 1e-5
"""By how much a probability may differ in float32: the batch in which an example is computed moves it by about 1e-7, and what
is computed of frozen weights in advance by up to 1e-6."""
TOLERANCE_MIXED = 0.02
"""The same where layers compute in 16 bits; bfloat16 has 8 of them for the digits."""


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
    format: str = SAVEDMODEL
    quantize: str | None = None
    """dynamic | int8: then nothing but its cost decides, and no difference of single answers."""
    temperature: float | None = None
    """By which logits are divided, in what is served and in what it is compared with; None: they are as they were trained."""
    cost: Mapping[str, Any] | None = None
    """Of quantisation: {"metric" (accuracy; of a regression r2), "evaluated", "served", "lost", "at_most"}."""
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
        write_text(folder / FILE, json.dumps(plain(self), indent=1, ensure_ascii=False, default=str) + "\n")

    def told(self) -> str:
        """What the terminal says of it."""
        if self.passed and self.cost is not None and self.agreement is not None:
            return (
                "certificate: {0} test examples, {metric} {evaluated:.4f} evaluated and {served:.4f} served in 8 bits (at most "
                "{at_most:g} may be lost), the same classes for {1:.1%}"
            ).format(self.compared, self.agreement, **self.cost)
        if self.passed:
            scaled = "" if self.temperature is None else f", probabilities at the temperature {self.temperature:.3f}"
            classes = "" if "r2" in self.metrics else "the same classes for all, "
            return (
                f"certificate: {self.compared} test examples, {classes}largest difference "
                f"{self.largest_difference:.1e} (at most {self.tolerance:.0e}){scaled}"
            )
        lines = [f"the export does not predict what was evaluated: {'; '.join(self.reasons)}"]
        for one in self.disagreements:
            lines.append(f"  {one['id']}: evaluated {one['evaluated']}, served {one['served']}")
        return "\n".join(lines)


def gather(folder: Path, run: Path, task: Task, tolerance: float, temperature: float | None = None, **details: Any) -> None:
    """Puts what the certificate rests on into the version `folder`. Raises `UserError` where the run did not keep it.

    With a `temperature`, what was evaluated is kept as it is at that. `details`: of a model file, its `format`,
    `modality`, `resize`, `quantize` and `max_loss`; of a SavedModel for texts, its `sequence_length`.
    """
    there = folder / EVIDENCE
    there.mkdir()
    for name in (EXAMPLES, EVALUATED):
        if not (run / name).is_file():
            raise UserError(f"{run / name} is not there, and without it nothing shows that an export is right; train again")
        (there / name).write_bytes((run / name).read_bytes())
    about = {"kind": task.kind, "class_names": list(task.class_names), "tolerance": tolerance, **details}
    if temperature is not None:
        _scale(there / EVALUATED, task, temperature)
        about["temperature"] = temperature
    (there / TASK).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _scale(file: Path, task: Task, temperature: float) -> None:
    """Brings the predictions in `file` to `temperature`."""
    table = pd.read_csv(file, dtype=dict.fromkeys(("id", "label", "predicted"), str), keep_default_na=False)
    columns = [f"p_{name}" for name in task.class_names]
    table[columns] = temperatures.scaled(table[columns].to_numpy(np.float64), temperature)
    table["probability"] = table[columns].max(axis=1)
    write_csv(table, file)


def certify(folder: Path, model: str, version: int) -> Certificate:
    """Asks the model in `folder`, in a process of its own, for all kept examples, and compares."""
    there = folder / EVIDENCE
    about = json.loads((there / TASK).read_text(encoding="utf-8"))
    served = _served(folder, about)
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
        told, result = comparison.compared(about, evaluated, served, examples)
        reasons = told + reasons
    return Certificate(
        passed=not reasons,
        reasons=tuple(reasons),
        examples=total,
        compared=len(examples),
        tolerance=about["tolerance"],
        **{name: about[name] for name in ("format", "quantize", "temperature") if name in about},
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
    before = load(folder)
    now = files(folder)
    reasons = [
        f"{name} {'is not there any more' if name not in now else 'has changed' if name in before.files else 'is new'}"
        for name in sorted({*now, *before.files})
        if now.get(name) != before.files.get(name)
    ]
    try:
        found = certify(folder, before.model, before.version)
    except (UserError, OSError, ValueError, KeyError) as error:
        if not reasons:
            raise
        found = Certificate(
            passed=False,
            reasons=(str(error),),
            examples=before.examples,
            compared=0,
            tolerance=before.tolerance,
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


def load(folder: Path) -> Certificate:
    """The certificate in the folder of a version. Raises `UserError` where there is none."""
    try:
        return Certificate(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder}: no certificate ({error}); `tfl export` makes a version that has one") from error


def _served(folder: Path, about: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What the model answers to the kept examples, from a process that knows its runtime alone."""
    examples, name = folder / EVIDENCE / EXAMPLES, about.get("format", SAVEDMODEL)
    with tempfile.TemporaryDirectory() as place:
        answers, batches = Path(place) / "answers.npz", Path(place) / "batches"
        if name == SAVEDMODEL:
            return _asked("TensorFlow", folder, [WITNESS, folder, examples, answers])
        targets.require(name, (TARGETS[name].runtime,))
        batches.mkdir()
        gone = tensors.of_kept(examples, folder / PREPROCESS, about, batches)
        found = _asked(TARGETS[name].title, folder, [TENSOR_WITNESS, name, folder / TARGETS[name].file, batches, answers])
        if about["class_names"]:
            # "\n" alone ends a name: splitlines() would end one at U+2028 and others of its kind too
            listed = (folder / CLASS_NAMES).read_text(encoding="utf-8").removesuffix("\n").split("\n")
            found["class_names"] = np.array([listed])
        return found | gone


def _asked(runtime: str, folder: Path, words: list[str | Path]) -> dict[str, np.ndarray]:
    """The answers that the script `words[0]` writes to the file `words[-1]`."""
    # -P: nothing that lies where the scripts or the user are is imported. The rest of the path stays: HPC modules set
    # PYTHONPATH, and pip installs into the user's own folder where it may write nowhere else.
    done = subprocess.run([sys.executable, "-P", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(f"{folder}: a process of {runtime} alone cannot use this export: {last[0][:500]}")
    with np.load(words[-1]) as found:
        return dict(found)
