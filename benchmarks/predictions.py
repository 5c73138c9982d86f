"""How much memory does `tfl predict` take for many rows? 10,000 and 100,000 short texts, each in a process of its own.

    python benchmarks/predictions.py [--rows 10000 100000]

The model is a BERT of two layers of width 16 with random weights and a vocabulary of a hundred words, so that what is measured
is the way of the rows: from a CSV through the tokeniser and the model to a CSV. Prints one table: seconds of the command, rows
a second, the peak of the resident memory in MB, and its ratio to that of the first line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

WORDS = [f"word{number}" for number in range(100)]


def trained(folder: Path) -> Path:
    import keras_hub

    import tfl

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 32}
    preset = folder / "bert"
    keras_hub.models.BertBackbone(vocabulary_size=len(vocabulary), **sizes).save_to_preset(str(preset))
    keras_hub.models.BertTokenizer(vocabulary, lowercase=True).save_to_preset(str(preset))
    table(folder / "train.csv", 60)
    run = tfl.finetune(str(folder / "train.csv"), backbone=str(preset), phases=[tfl.Phase(epochs=1)], out=folder / "run")
    return run.directory


def table(file: Path, rows: int) -> None:
    """Texts of 5 to 15 words, and labels."""
    random = np.random.default_rng(0)
    with file.open("w") as opened:
        opened.write("text,label\n")
        for number in range(rows):
            words = random.choice(WORDS, random.integers(5, 16))
            opened.write(f"{' '.join(words)},{'up' if number % 2 else 'down'}\n")


def part(run: str, file: str) -> dict[str, Any]:
    from tfl.cli import main

    begin = time.perf_counter()
    assert main(["predict", run, file, "--out", f"{file}.out.csv"]) == 0
    return {"seconds": time.perf_counter() - begin, "memory": measure.peak_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        trained(Path(arguments.train))
        return
    if arguments.part:
        print(json.dumps(part(**json.loads(arguments.part))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, "--train", name], check=True, stdout=subprocess.DEVNULL)
        found = []
        for rows in arguments.rows:
            table(folder / f"{rows}.csv", rows)
            one = measure.apart(__file__, run=str(folder / "run"), file=str(folder / f"{rows}.csv"))
            found.append((rows, one["seconds"], rows / one["seconds"], one["memory"]))
    cells = [[f"{rows:,}", took, speed, memory, memory / found[0][3]] for rows, took, speed, memory in found]
    measure.table("tfl predict, short texts", ["rows", "seconds", "rows/s", "peak MB", "ratio"], cells)


if __name__ == "__main__":
    main()
