"""The directories that runs and studies leave: what a run's holds, and where a new one is."""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path
from typing import Any

from tfl import config as configs
from tfl.config import UserError
from tfl.whole import write_text

CONFIG, REPORT, MODEL = "config.yaml", "report.json", "model.keras"
PREDICTIONS, EXAMPLES, SEEN = "predictions.csv", "examples.tfrecord", "seen.npy"
FACTS, PREPROCESS = "run.json", "preprocess"
UNFINISHED = ".unfinished"
"""A file that is in the directory of a run from its beginning to its end."""


def is_unfinished(directory: Path) -> bool:
    """Whether `directory` holds a run that has begun and not ended."""
    return (directory / UNFINISHED).is_file()


def begin(directory: Path, config: Any) -> None:
    """Makes `directory` that of an unfinished run of `config`; or goes on being so."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / UNFINISHED).touch()
    write_text(directory / CONFIG, configs.dump(config))


def stem(config: Any) -> str:
    """How the name of a run's directory begins where the user gives none."""
    return f"{config.data.source}-{config.backbone.name}".replace("/", "_").replace(":", "_")


def free_directory(out: str | Path | None, config: Any) -> Path:
    """The directory of a run, new or unfinished. Raises `UserError` where `out` holds something else: nothing is
    overwritten.
    """
    if out is not None:
        folder = Path(out)
        if is_unfinished(folder):
            return folder
        if (folder / REPORT).is_file():
            raise UserError(f"out: {out} already holds something, a finished run; name a new directory, or remove this one")
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise UserError(f"out: {out} already holds something; name a new directory, or remove this one")
        return folder
    return new_folder(stem(config))


def new_folder(kind: str) -> Path:
    """A folder below runs/ that is not there yet, named by `kind` and the time."""
    name = f"{kind}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(folder for name in names if not (folder := Path("runs") / name).exists())
