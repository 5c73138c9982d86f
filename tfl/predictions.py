"""Predictions for many inputs, a part at a time, into a file; a process that is killed goes on where it was.

Parts lie in a hidden folder beside the file until all are there. What is predicted and by which run is kept with them, so that
another command on the same file begins anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tfl import whole
from tfl.config import UserError
from tfl.data.given import Given
from tfl.data.given_files import GivenFiles
from tfl.directory import FACTS, MODEL, PREPROCESS
from tfl.lazy import pd
from tfl.locks import lock
from tfl.run import Run

SUFFIXES = (".csv", ".jsonl", ".parquet")
LOCK = ".lock"
"""A file that a process holds while it writes parts beside it."""
PART = 2048
"""Rows that are predicted and written together."""


def check(file: Path) -> None:
    """Raises `UserError` where no predictions can be written by that name, or a file has it: nothing is overwritten."""
    if file.exists():
        raise UserError(f"out: {file} is there already; name another file, or remove it")
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"out: {file} is not valid; its name has to end in {', '.join(SUFFIXES)}")


def write(
    run: Run,
    examples: GivenFiles,
    file: Path,
    say: Callable[[str], None] = lambda line: None,
    moved: Callable[[int], None] = lambda rows: None,
    part: int = PART,
) -> int:
    """Writes a row for each of `examples`, in order, as `Run.predict` gives them; returns how many have an `error` instead.

    At most `part` rows are in memory. `moved` gets the rows of each part that is done. Raises `UserError` where no example
    can be read.
    """
    folder = file.with_name(f".{file.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as held:
        if not lock(held, exclusive=True, wait=False):
            raise UserError(f"out: another process is writing {file} just now; wait for it, or name another file")
        _begin(folder, run, examples, part, say)
        parts = []
        for number, rows in enumerate(examples.parts(part)):
            there = folder / f"{number:06}.parquet"
            if not there.is_file():
                with whole.written(there) as draft:
                    _predicted(run, rows.given()).to_parquet(draft, index=False)
            parts.append(there)
            moved(len(rows))
        failed = sum(map(_errors, parts))
        reasons = _first_reasons(parts[0], failed) if failed == len(examples) else ""
        if not reasons:
            _assemble(parts, file, bool(failed))
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # some file systems keep what is open until it is closed
        folder.rmdir()
    if reasons:
        raise UserError(reasons)
    return failed


def show(run: Run, examples: GivenFiles, stream: TextIO) -> None:
    """Writes to `stream` what `write` would write to a .csv file; nothing of it where that fails."""
    with tempfile.TemporaryDirectory(prefix="tfl-predictions-") as folder:
        file = Path(folder) / "predictions.csv"
        write(run, examples, file)
        with file.open(encoding="utf-8", newline="") as written:
            shutil.copyfileobj(written, stream)


def _begin(folder: Path, run: Run, examples: GivenFiles, part: int, say: Callable[[str], None]) -> None:
    """Makes the folder of the parts, or goes on with it where it is of the same predictions."""
    about = {"run": _of_run(run), "of": examples.digest, "rows": len(examples), "part": part}
    manifest = folder / "about.json"
    if manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")) == about:
        done = len(list(folder.glob("*.parquet"))) * part
        say(f"going on behind the first {min(done, len(examples))} rows")
        return
    for there in folder.iterdir():
        if there.name != LOCK:
            there.unlink()
    whole.write_text(manifest, json.dumps(about))


def _of_run(run: Run) -> str:
    """A digest of all that decides what a run predicts."""
    state = hashlib.sha256()
    for path in sorted([run.directory / MODEL, run.directory / FACTS, *(run.directory / PREPROCESS).rglob("*")]):
        if path.is_file():
            with path.open("rb") as file:
                state.update(f"{path.relative_to(run.directory)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return state.hexdigest()


def _predicted(run: Run, examples: Given) -> pd.DataFrame:
    if len(examples.errors) < len(examples.ids):
        return run.predict(examples)
    return pd.DataFrame({"id": examples.ids, **examples.shown, "error": [examples.errors[n] for n in range(len(examples.ids))]})


def _errors(part: Path) -> int:
    """How many rows of a part have no prediction."""
    import pyarrow.parquet as pq

    if "error" not in pq.read_schema(part).names:
        return 0
    column = pq.read_table(part, columns=["error"]).column("error")
    return len(column) - int(column.null_count)


def _first_reasons(part: Path, failed: int) -> str:
    frame = pd.read_parquet(part, columns=["id", "error"]).head(5)
    lines = [f"  {name}: {reason}" for name, reason in zip(frame["id"], frame["error"], strict=True)]
    more = [f"  … and {failed - 5} more"] if failed > 5 else []
    return "\n".join(["there is nothing to predict: no example could be read", *lines, *more])


def _assemble(parts: list[Path], file: Path, errors: bool) -> None:
    """Writes `file` of its parts; it is there when it is whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.unify_schemas([pq.read_schema(part).remove_metadata() for part in parts], promote_options="permissive")
    if errors:  # as in a table that is made at once, it is the last column
        places = [*(place for place, name in enumerate(schema.names) if name != "error"), schema.get_field_index("error")]
        schema = pa.schema([schema.field(place) for place in places])
    tables = (_with(schema, pq.read_table(part)) for part in parts)
    with whole.written(file) as draft:
        _write(tables, draft, file.suffix.lower(), schema)


def _write(tables: Iterable[Any], draft: Path, suffix: str, schema: Any) -> None:
    import pyarrow.parquet as pq

    if suffix == ".parquet":
        with pq.ParquetWriter(draft, schema) as writer:
            for table in tables:
                writer.write_table(table)
        return
    with draft.open("w", encoding="utf-8", newline="") as opened:
        for number, table in enumerate(tables):
            frame = table.to_pandas()
            if suffix == ".csv":
                whole.write_csv(frame, opened, header=number == 0)
            else:
                frame.to_json(opened, orient="records", lines=True, force_ascii=False)


def _with(schema: Any, table: Any) -> Any:
    """`table` with the columns of `schema`, in its order; empty where it has none."""
    import pyarrow as pa

    def columns() -> Iterator[Any]:
        for field in schema:
            found = table.column(field.name) if field.name in table.column_names else pa.nulls(len(table))
            yield found.cast(field.type)

    return pa.table(list(columns()), schema=schema)
