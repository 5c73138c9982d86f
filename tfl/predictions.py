"""Predictions for many inputs, a part at a time, into a file; a process that is killed goes on where it was.

Parts lie in a hidden folder beside the file until all are there. What is predicted and by which run is kept with them, so that
another command on the same file begins anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfl.config import UserError
from tfl.data.given import Given
from tfl.lazy import pd
from tfl.run import MODEL, Run

SUFFIXES = (".csv", ".jsonl", ".parquet")
PART = 2048
"""Rows that are predicted and written together."""


def check(file: Path) -> None:
    """Raises `UserError` where no predictions can be written by that name."""
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out: {file} is not valid; its name has to end in {', '.join(SUFFIXES)}")


def write(
    run: Run,
    examples: Given,
    file: Path,
    say: Callable[[str], None] = lambda line: None,
    moved: Callable[[int], None] = lambda rows: None,
    part: int = PART,
) -> int:
    """Writes a row for each of `examples`, in order, as `Run.predict` gives them; returns how many have an `error` instead.

    `moved` gets the rows of each part that is done. Raises `UserError` where no example can be read.
    """
    if len(examples.errors) == len(examples.ids):
        examples.readable()  # raises, with the reasons
    folder = file.with_name(f".{file.name}.parts")
    _begin(folder, run, examples, part, say)
    starts = range(0, len(examples.ids), part)
    for number, start in enumerate(starts):
        there, size = folder / f"{number:06}.parquet", min(part, len(examples.ids) - start)
        if not there.is_file():
            draft = there.with_suffix(".partial")
            _predicted(run, examples.part(start, start + size)).to_parquet(draft, index=False)
            draft.replace(there)
        moved(size)
    _assemble([folder / f"{number:06}.parquet" for number in range(len(starts))], file, bool(examples.errors))
    shutil.rmtree(folder)
    return len(examples.errors)


def _begin(folder: Path, run: Run, examples: Given, part: int, say: Callable[[str], None]) -> None:
    """Makes the folder of the parts, or goes on with it where it is of the same predictions."""
    state = hashlib.blake2b(digest_size=16)
    state.update((run.directory / MODEL).read_bytes())
    for column in (examples.ids, *(examples.inputs[name] for name in sorted(examples.inputs))):
        for value in column:
            state.update(str(value).encode("utf-8", "surrogatepass") + b"\0")
    about = {"of": state.hexdigest(), "rows": len(examples.ids), "part": part}
    manifest = folder / "about.json"
    if manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")) == about:
        done = len(list(folder.glob("*.parquet"))) * part
        say(f"going on behind the first {min(done, len(examples.ids))} rows")
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    draft = folder / "about.partial"
    draft.write_text(json.dumps(about), encoding="utf-8")
    draft.replace(manifest)


def _predicted(run: Run, examples: Given) -> pd.DataFrame:
    if len(examples.errors) < len(examples.ids):
        return run.predict(examples)
    return pd.DataFrame({"id": examples.ids, **examples.shown, "error": [examples.errors[n] for n in range(len(examples.ids))]})


def _assemble(parts: list[Path], file: Path, errors: bool) -> None:
    """Writes `file` of its parts; it is there when it is whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.unify_schemas([pq.read_schema(part).remove_metadata() for part in parts], promote_options="permissive")
    if errors:  # as in a table that is made at once, it is the last column
        places = [*(place for place, name in enumerate(schema.names) if name != "error"), schema.get_field_index("error")]
        schema = pa.schema([schema.field(place) for place in places])
    draft, suffix = file.with_name(f".{file.name}.partial"), file.suffix.lower()
    draft.unlink(missing_ok=True)
    tables = (_with(schema, pq.read_table(part)) for part in parts)
    if suffix == ".parquet":
        with pq.ParquetWriter(draft, schema) as writer:
            for table in tables:
                writer.write_table(table)
    else:
        with draft.open("w", encoding="utf-8", newline="") as opened:
            for number, table in enumerate(tables):
                frame = table.to_pandas()
                if suffix == ".csv":
                    frame.to_csv(opened, index=False, header=number == 0)
                else:
                    frame.to_json(opened, orient="records", lines=True, force_ascii=False)
    draft.replace(file)


def _with(schema: Any, table: Any) -> Any:
    """`table` with the columns of `schema`, in its order; empty where it has none."""
    import pyarrow as pa

    def columns() -> Iterator[Any]:
        for field in schema:
            found = table.column(field.name) if field.name in table.column_names else pa.nulls(len(table))
            yield found.cast(field.type)

    return pa.table(list(columns()), schema=schema)
