"""Whether `tfl select` orders backbones as fine-tuning all of them does, and in what part of the time.

Candidates are four MobileNets with ImageNet weights and the same four with random weights as bait. Each of them is fine-tuned
in full: the head, then all of the backbone (random weights: all of it from the start, BatchNorm included, at the rate of new
networks), the same number of epochs. Kendall's tau-b is that of the order by each score with the order by test accuracy after
fine-tuning, which the selection never sees. Seconds are those of the whole call, with an empty store of features each, and
without the start of the process; where the machine does something else too, those of the processor say more.

    python benchmarks/selection.py [--data hymenoptera flowers5 art] [--train 250] [--size 128] [--epochs 12] [--seeds 1]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

DATA = {"hymenoptera": "images/hymenoptera", "flowers5": "images/flowers5", "art": "images/pacs/art_painting"}
WEIGHTS = {
    "mobilenet_v2": measure.MOBILENET_V2,
    "mobilenet_v2_0.35": "weights/mobilenet_v2_0.35_224_imagenet_notop.weights.h5",
    "mobilenet_0.5": "weights/mobilenet_0.5_224_imagenet_notop.weights.h5",
    "mobilenet_0.25": "weights/mobilenet_0.25_224_imagenet.weights.h5",
}
SCORES = ("accuracy", "neighbours", "log_me", "h_score")


def candidates(size: int) -> list[dict[str, Any]]:
    """The backbones as configs, the bait last."""
    real = [{"name": name, "weights": str(measure.asset(file)), "image_size": size} for name, file in WEIGHTS.items()]
    return [*real, *({**one, "weights": "none"} for one in real)]


def source(name: str, train: int) -> dict[str, Any]:
    """The data config; data without a test split keeps three tenths for it."""
    path = str(measure.asset(DATA[name]))
    return {"source": "folder", "path": path, "test": 0.3, "validation": 0.1, "max_train": train}


def selected(name: str, train: int, size: int, seed: int) -> dict[str, Any]:
    """The scores of all candidates, in their order, and the seconds that the selection took."""
    import tfl
    from tfl.lazy import tf

    tf.constant(0)  # starting it belongs to the process
    with tempfile.TemporaryDirectory() as folder, measure.fresh_cache(), contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter(), time.process_time()
        found = tfl.select(source(name, train), backbones=candidates(size), seed=seed, out=Path(folder, "select"))
        took = since(*began)
    assert found.ranking is not None
    rows = {(one.backbone.name, one.backbone.weights == "none"): one for one in found.ranking.candidates}
    keys = [(one["name"], one["weights"] == "none") for one in candidates(size)]
    scores = [{what: getattr(rows[key].scores, what) for what in SCORES} for key in keys]
    return {**took, "scores": scores, "recommended": found.ranking.recommended.label}


def since(wall: float, processor: float) -> dict[str, float]:
    """Seconds, of the clock and of the processor."""
    return {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}


def trained(name: str, train: int, size: int, seed: int, number: int, epochs: int) -> dict[str, Any]:
    """The test accuracy of candidate `number` after fine-tuning in full, and the seconds of the run."""
    import tfl
    from tfl.lazy import tf
    from tfl.studies.compare import recipes

    tf.constant(0)
    one = candidates(size)[number]
    method = "scratch" if one["weights"] == "none" else "full"
    phases = recipes.with_epochs(recipes.phases_of(method, "image", 1, ()), epochs)
    with tempfile.TemporaryDirectory() as folder, measure.fresh_cache(), contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter(), time.process_time()
        run = tfl.finetune(source(name, train), backbone=one, phases=phases, seed=seed, out=Path(folder, "run"))
        took = since(*began)
    return {**took, "accuracy": run.metrics["accuracy"]["value"]}


def measured(name: str, given: argparse.Namespace) -> tuple[Any, ...]:
    """A row of the table for one data set; what it rests on is printed on the way."""
    from scipy import stats

    common = {"name": name, "train": given.train, "size": given.size}
    found = [measure.apart(__file__, what="selected", **common, seed=seed) for seed in range(given.seeds)]
    labels = [f"{one['name']}{' (random)' if one['weights'] == 'none' else ''}" for one in candidates(given.size)]
    runs = []
    for number, label in enumerate(labels):
        own = [
            measure.apart(__file__, what="trained", **common, seed=seed, number=number, epochs=given.epochs)
            for seed in range(given.seeds)
        ]
        runs.append({key: float(np.mean([run[key] for run in own])) for key in ("seconds", "processor", "accuracy")})
        print(f"{name}, {label}: {runs[-1]['accuracy']:.3f} after {runs[-1]['seconds']:.0f} s", flush=True)
    scores = {
        what: [float(np.mean([one["scores"][at][what] for one in found])) for at in range(len(labels))] for what in SCORES
    }
    after = [run["accuracy"] for run in runs]
    header = ("candidate", "probe", "k-NN", "LogME", "H-score", "fine-tuned", "seconds", "CPU s")
    clocks = [[run[clock] for run in runs] for clock in ("seconds", "processor")]
    rows = list(zip(labels, *scores.values(), after, *clocks, strict=True))
    measure.table(f"{name}, {given.size} px", header, rows)
    print(f"selected in {np.mean([one['seconds'] for one in found]):.0f} s: {found[0]['recommended']}", flush=True)
    taus = [float(stats.kendalltau(own, after).statistic) for own in scores.values()]
    real = float(stats.kendalltau(scores["accuracy"][:4], after[:4]).statistic)
    last = min(scores["accuracy"][:4]) > max(scores["accuracy"][4:])
    parts: list[Any] = []
    for clock in ("seconds", "processor"):
        mine, total = float(np.mean([one[clock] for one in found])), sum(run[clock] for run in runs)
        parts += [mine, total, f"{100 * mine / total:.1f} %"]
    return name, *taus, real, "yes" if last else "no", *parts


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--train", type=int, default=250, help="training examples, at most")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--epochs", type=int, default=12, help="of each fine-tuning")
    parser.add_argument("--seeds", type=int, default=1, help="splits and trainings that are averaged")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        arguments = json.loads(given.part)
        print(json.dumps({"selected": selected, "trained": trained}[arguments.pop("what")](**arguments)))
        return
    rows = [measured(name, given) for name in given.data]
    taus = ("data", "tau: probe", "k-NN", "LogME", "H-score", "probe, of the 4 real", "bait last")
    header = (*taus, "select, s", "all, s", "part", "select, CPU s", "all, CPU s", "part")
    measure.table(f"order by tfl select and after fine-tuning in full, {given.size} px, {given.epochs} epochs", header, rows)


if __name__ == "__main__":
    main()
