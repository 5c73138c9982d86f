"""An export for another runtime: a folder with one model file, what a client needs beside it, and its certificate.

EXPORT/model.tflite | model.onnx | model.xml and model.bin, class_names.txt, preprocess/, README.md, model_card.md,
certificate.json, evidence/
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfl.config import UserError
from tfl.models import tempered
from tfl.serving import bundle, card, certificate, targets, tensors
from tfl.serving.readme import readme
from tfl.serving.targets import TARGETS

if TYPE_CHECKING:
    from tfl.run import Run

MAX_LOSS = 0.02
"""What quantisation may take from the accuracy on the test examples (of a regression: from R²)."""


def write(
    run: Run,
    folder: Path,
    name: str | None,
    format: str,
    *,
    quantize: str | None = None,
    max_loss: float = MAX_LOSS,
    temperature: float | None = None,
) -> Path:
    """Writes the model of `run` in the format `format` to `folder`, which is new or empty, and certifies it.

    `folder` appears whole, once it is certified. `quantize`: as in `targets.convert`; `max_loss`: see `MAX_LOSS`;
    `temperature`: by which logits are divided. Raises `UserError` where `folder` holds something, where the format cannot
    hold the model, and where the file does not predict what was evaluated.
    """
    check(folder, name)
    calibration = _calibration(run, quantize)
    facts, (task,), model = run.facts, run.facts.tasks.values(), name or bundle.name_of(run)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder.parent) as place:
        draft = Path(place) / "export"
        draft.mkdir()
        whole = run.model if temperature is None else tempered(run.model, temperature)
        targets.convert(draft, format, whole, facts.tasks, quantize=quantize, calibration=calibration)
        if task.class_names:
            lines = "".join(f"{one}\n" for one in task.class_names)
            (draft / certificate.CLASS_NAMES).write_text(lines, encoding="utf-8")
        shutil.copytree(run.directory / certificate.PREPROCESS, draft / certificate.PREPROCESS)
        certificate.gather(
            draft,
            run.directory,
            task,
            TARGETS[format].tolerance,
            temperature,
            format=format,
            modality=facts.modality,
            resize=facts.resize,
            quantize=quantize,
            max_loss=None if quantize is None else max_loss,
        )
        (draft / "model_card.md").write_text(card.of_model(run.report, facts, model, temperature), encoding="utf-8")
        (draft / "README.md").write_text(readme(run, model, format, quantize), encoding="utf-8")
        certified = certificate.certify(draft, model, 1)
        if not certified.passed:
            raise UserError(certified.told())
        certified.save(draft)
        os.replace(draft, folder)  # fails where something has come into the folder meanwhile
    return folder


def _calibration(run: Run, quantize: str | None) -> targets.Calibration | None:
    """What gives the inputs that the ranges of whole numbers are found by; None where no such thing is needed."""
    if quantize != "int8":
        return None
    return partial(tensors.inputs, tensors.training_examples(run), run.preprocess, run.facts.modality, run.facts.resize, 1)


def check(folder: Path, name: str | None = None) -> None:
    """Raises `UserError` where nothing can be exported to `folder`, or `name` is none that a model can have."""
    bundle.check_name(name)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; an export is a folder: name a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; an export of this format has a folder of its own: name a new one")


def folder_name(format: str, quantize: str | None) -> str:
    """Where below a run an export goes that is given no place."""
    return "-".join(["export", *([format] if format != targets.SAVEDMODEL else []), *([quantize] if quantize else [])])
