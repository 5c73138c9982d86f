"""The directory of a study: it is that of one question, and of one process at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfl.config import UserError
from tfl.locks import lock
from tfl.methods.course import changes
from tfl.whole import write_text

LOCK = ".lock"


@contextlib.contextmanager
def claimed(folder: Path, mark: str, about: Mapping[str, Any], study: str) -> Iterator[None]:
    """Within this context `folder` is that of one `study`, and of no other process; the file `mark` in it says what it is
    `about`. Raises `UserError` where the folder holds another one, or something else.
    """
    _claim(folder, folder / mark, json.loads(json.dumps(about, default=str)), study)
    with (folder / LOCK).open("w") as file:
        if not lock(file, exclusive=True, wait=False):
            raise UserError(f"out: another process is running the {study} in {folder}; wait for it, or name another folder")
        yield


def _claim(folder: Path, mark: Path, about: dict[str, Any], study: str) -> None:
    if mark.is_file():
        try:
            before = dict(json.loads(mark.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(f"out: {mark} is damaged ({error}); name another folder, or remove this one") from error
        changed = changes({name: before.get(name) for name in about}, about)
        if changed:
            lines = "".join(f"  {line}\n" for line in changed.values())
            raise UserError(f"out: {folder} holds another {study}:\n{lines}take those values, or name another folder")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"out: {folder} already holds something; name a new directory, or remove this one")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(mark, json.dumps(about, indent=1) + "\n")
