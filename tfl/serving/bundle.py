"""The bundle of an export: versions of models as TensorFlow Serving takes them, each with its certificate.

EXPORT/README.md, models.config, batching.config
EXPORT/<model>/<version>/   saved_model.pb, variables/, assets/, certificate.json, model_card.md, evidence/, assets.extra/
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfl.config import UserError
from tfl.data.splits import shortened
from tfl.export import export
from tfl.models import tempered
from tfl.serving import card, certificate, warmup
from tfl.serving.targets import is_mixed
from tfl.whole import write_text

if TYPE_CHECKING:
    from tfl.run import Run

MODELS = "models.config"
"""The file that says which models a bundle has; TensorFlow Serving's `--model_config_file`."""
DRAFT = ".draft-"
"""How a folder in a bundle begins in which a version is being made, or was when its process was killed."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def write(
    run: Run, folder: Path, name: str | None = None, temperature: float | None = None
) -> tuple[Path, certificate.Certificate]:
    """Writes a new version of a model into the bundle in `folder`, and certifies it; returns the version's folder.

    `name`: of the model; None: source and backbone of the run. The version is the next number that is free. It appears
    whole, once it is certified, so that a server that watches the folder never loads anything else. `temperature`: by which
    logits are divided.

    Raises `UserError` where `folder` holds something else, where no `name` is given and the versions of the usual one predict
    something else, and where the SavedModel does not predict what was evaluated.
    """
    check(folder, name)
    if name is None:
        name = name_of(run)
        _check_alike(run, folder / name)
    base = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=DRAFT, dir=folder) as place:
        draft = Path(place) / "version"
        facts, (task,) = run.facts, run.facts.tasks.values()
        export(
            draft,
            run.model if temperature is None else tempered(run.model, temperature),
            facts.tasks,
            run.preprocess,
            modality=facts.modality,
            pairs=facts.pairs,
            resize=facts.resize,
        )
        tolerance = certificate.TOLERANCE_MIXED if is_mixed(run.model) else certificate.TOLERANCE
        # A server takes no longer texts: what they cost grows with the square of their length.
        length = getattr(run.preprocess, "sequence_length", None)
        details = {} if length is None else {"sequence_length": length}
        certificate.gather(draft, run.directory, task, tolerance, temperature, **details)
        warmup.write(draft, name)
        version = _next(base)
        (draft / "model_card.md").write_text(card.of_model(run.report, facts, name, temperature), encoding="utf-8")
        certified = certificate.certify(draft, name, version)
        if not certified.passed:
            raise UserError(certified.told())
        certified.save(draft)
        base.mkdir(exist_ok=True)  # not before: where the export fails, the folder is as it was
        target = _moved(draft, base)
        if target.name != str(version):  # another export took the number
            certified = dataclasses.replace(certified, version=int(target.name))
            certified.save(target)
    _describe(folder)
    return target, certified


def check(folder: Path, name: str | None = None) -> None:
    """Raises `UserError` where no version can be written into `folder`, or `name` is none that a model can have."""
    check_name(name)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; an export is a folder: name a new one")
    foreign = folder.is_dir() and any(not path.name.startswith(DRAFT) for path in folder.iterdir())
    if foreign and not (folder / MODELS).is_file():
        raise UserError(f"{folder} is not empty, and not an export; name another folder")


def _check_alike(run: Run, base: Path) -> None:
    """Raises `UserError` where the newest version of a model predicts something else than `run` does: a server would take up
    the one for the other.
    """
    (task,) = run.facts.tasks.values()
    newest = next(reversed(versions(base.parent).get(base.name, ())), None) if base.is_dir() else None
    try:
        about = json.loads((newest / certificate.EVIDENCE / certificate.TASK).read_text(encoding="utf-8")) if newest else None
    except (OSError, ValueError):
        return
    if about is not None and (about["kind"], about["class_names"]) != (task.kind, list(task.class_names)):
        raise UserError(
            f"{newest} is of another model ({_in_words(about['kind'], about['class_names'])}) than this run "
            f"({_in_words(task.kind, task.class_names)}); give this one a name of its own (name, --name), or {base.name!r} to "
            "make it the next version all the same"
        )


def _in_words(kind: str, class_names: Sequence[str]) -> str:
    return f"{kind}: {shortened(class_names)}" if class_names else kind


def check_name(name: str | None) -> None:
    """Raises `UserError` for a name that no model can have."""
    if name is not None and not NAME.fullmatch(name):
        raise UserError(f"name: {name!r} is not valid; letters, digits, _, - and ., such as photos")


def name_of(run: Run) -> str:
    """What the model of a run is called where nobody says: its source and its backbone."""
    config = run.report.config
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{config['data']['source']}-{run.report.backbone['name']}").strip("-") or "model"


def versions(folder: Path) -> dict[str, list[Path]]:
    """The folders of the versions of each model in a bundle, the oldest first."""
    found = {}
    for base in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        numbers = [path for path in base.iterdir() if path.name.isdecimal() and (path / "saved_model.pb").is_file()]
        if numbers:
            found[base.name] = sorted(numbers, key=lambda path: int(path.name))
    return found


def chosen(place: Path) -> list[Path]:
    """The versions that `place` names: itself, those of a model, or all of a bundle; or `place`, an export of another format.

    Raises `UserError` for none.
    """
    if (place / "saved_model.pb").is_file() or (place / certificate.FILE).is_file():
        return [place]
    if place.is_dir():
        found = [path for paths in versions(place).values() for path in paths] or versions(place.parent).get(place.name, [])
        if found:
            return found
    raise UserError(f"{place}: not an export, and not a version of one; `tfl export RUN --out {place}` makes one")


def _next(base: Path) -> int:
    return max((int(path.name) for path in base.glob("*") if path.name.isdecimal()), default=0) + 1


def _moved(draft: Path, base: Path) -> Path:
    """Gives the draft the next free number below `base`."""
    while True:
        target = base / str(_next(base))
        try:
            os.rename(draft, target)  # fails where a folder that is not empty is there already
        except OSError:
            if target.exists():
                continue
            shutil.rmtree(target, ignore_errors=True)
            raise
        return target


def _describe(folder: Path) -> None:
    """Writes what stands beside the models."""
    models = list(versions(folder))
    texts: dict[str, Any] = {
        MODELS: card.models_config(models),
        "batching.config": card.BATCHING,
        "README.md": card.of_bundle(models),
    }
    for file, text in texts.items():
        write_text(folder / file, text)
