"""Does batching pay? `tfl serve` under load, with batches and without, in turn.

    python benchmarks/serving.py [--seconds 60] [--clients 64] [--models mobilenet_0.25 minilm mobilenet_v2]

Each model is trained for one epoch on data that comes with tfl (digits, or the earnings-call sentences; random weights but for
MiniLM), exported, and served by a process of its own with `--batch 32` and with `--batch 1`. Another process has as many
clients, each of which sends one row after the other over a connection that it keeps. The bare call is the SavedModel called in
a loop with one row, in the process that prints. Prints one table: answers a second, the percentiles of their time in
milliseconds, what failed, and the ratios of the answers a second.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

import tfl
from tfl.lazy import tf
from tfl.serving import bundle

SIZES = {"mobilenet_0.25": 128, "mobilenet_v2": 224}


def exported(name: str, folder: Path) -> Path:
    backbone: dict[str, Any] = {"name": name}
    if name in SIZES:
        backbone |= {"weights": "none", "image_size": SIZES[name]}
    source = "digits" if name in SIZES else "earnings_calls"
    data = {"source": source, "max_train": 64, "test": 0.03, "validation": 0.03}
    run = tfl.finetune(data, backbone=backbone, phases=[tfl.Phase(epochs=1)], out=folder / "run")
    return run.export(folder / "export", name="model").parents[1]


def row(name: str, folder: Path) -> tuple[Any, Any]:
    """One row as JSON, and as the signature takes it."""
    if name not in SIZES:
        text = "Margins fell again, and we see no end to it, but orders were better than a year ago."
        return text, {"text": tf.constant([text])}
    size = 2 * SIZES[name]
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    data = tf.io.encode_jpeg(pixels).numpy()
    return {"b64": base64.b64encode(data).decode()}, {"images": tf.constant([data])}


def load(port: int, body: bytes, clients: int, seconds: float) -> dict[str, Any]:
    """What `clients` got in so many seconds."""
    took: list[float] = []
    failed: list[str] = []
    end = time.monotonic() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while time.monotonic() < end:
            start = time.perf_counter()
            try:
                connection.request("POST", "/v1/models/model:predict", body)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    failed.append(str(response.status))
            except OSError as error:
                failed.append(str(error))
            took.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = np.percentile(took, [50, 99]) * 1000
    return {"rate": len(took) / seconds, "p50": p50, "p99": p99, "failed": len(failed)}


def served(folder: Path, batch: int, body: Path, clients: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "tfl", "serve", str(folder), "--port", "0", "--batch", str(batch)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stdout or () if line.startswith("http://"))
        port = int(line.split("/")[2].split(":")[1])
        load(port, body.read_bytes(), clients, min(seconds, 5))  # the first of each batch size is slow
        arguments = {"port": port, "body": str(body), "clients": clients, "seconds": seconds}
        return measure.apart(__file__, **arguments)
    finally:
        process.terminate()
        process.wait()


def bare(folder: Path, inputs: Any, seconds: float) -> float:
    """Calls a second of the SavedModel with one row."""
    import tensorflow_text  # noqa: F401

    serve = tf.saved_model.load(str(bundle.chosen(folder)[0])).signatures["serving_default"]
    serve(**inputs)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        serve(**inputs)["probabilities"].numpy()
        count += 1
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--models", nargs="+", default=["mobilenet_0.25", "minilm", "mobilenet_v2"])
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        arguments = json.loads(given.part)
        print(json.dumps(load(**{**arguments, "body": Path(arguments["body"]).read_bytes()})))
        return
    lines = []
    for name in given.models:
        with tempfile.TemporaryDirectory() as place:
            folder = exported(name, Path(place))
            as_json, inputs = row(name, folder)
            body = Path(place) / "body.json"  # a file: an image is too long for a command line
            body.write_text(json.dumps({"instances": [as_json]}), encoding="utf-8")
            alone = bare(folder, inputs, min(given.seconds, 10))
            found = {batch: served(folder, batch, body, given.clients, given.seconds) for batch in (32, 1)}
            for batch, one in found.items():
                to_one = one["rate"] / found[1]["rate"]
                shown = [one["rate"], one["p50"], one["p99"], one["failed"], to_one, one["rate"] / alone]
                lines.append([name, batch, *shown])
                print(name, batch, shown, flush=True)
    measure.table(
        f"{given.clients} clients for {given.seconds:g} s, one row a request",
        ("model", "batch", "answers/s", "p50, ms", "p99, ms", "failed", "to batch 1", "to the bare call"),
        lines,
    )


if __name__ == "__main__":
    main()
