"""How often `tfl compare` calls a difference where there is none: scratch against scratch, in seeded trials.

By default the predictions are simulated: test examples are of unequal difficulty, seeds differ in how good their network
is, and both methods are drawn alike. With --networks they are those of real, small networks (scikit-learn's MLP on its
digits), which differ by their seeds and subsets alone. A verdict of "no difference" at the nominal 95 % level is expected
in at least 90 of 100 trials. The last column is how often a true difference of 0.1 is seen, so that an interval that never
decides anything shows up too.

    python benchmarks/compare_null.py [--trials 100] [--networks]
"""

from __future__ import annotations

import argparse

import measure
import numpy as np

from tfl.studies import paired
from tfl.studies.compare.verdict import verdict

WANTED = 90
CASES = (  # seeds, test examples, spread of seeds (of the logit), spread of examples
    (2, 40, 0.0, 1.0),
    (2, 153, 0.3, 1.5),
    (2, 1000, 0.3, 1.5),
    (3, 153, 0.0, 0.0),
    (3, 153, 0.3, 1.5),
    (3, 1000, 0.5, 3.0),
    (5, 153, 0.3, 1.5),
    (5, 1000, 0.1, 3.0),
)


def simulated(case: tuple[int, int, float, float], random: np.random.Generator, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Two methods on the same test examples, some of which are easier for one of them; `gain`: what the first is better by."""
    seeds, examples, of_seed, of_example = case
    difficulty = random.normal(0.8, of_example, (1, examples))
    right = []
    for more in (gain, 0.0):
        logit = difficulty + random.normal(0, of_seed, (seeds, 1)) + random.normal(0, of_example / 3, (1, examples))
        chance = 1 / (1 + np.exp(-logit))
        right.append((random.random(chance.shape) < np.clip(chance + more, 0, 1)).astype(float))
    return right[0], right[1]


def networks(seeds: int, trial: int, examples: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two times `seeds` networks on `examples` digits a seed, tested on 400 others; pairs share their examples."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(trial).permutation(len(x))
    test, rest = order[:400], order[400:]
    right: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for seed in range(seeds):
        chosen = np.random.default_rng((trial, seed)).choice(rest, examples, replace=False)
        for place, own in enumerate(right):
            made = MLPClassifier((32,), max_iter=60, random_state=(trial * 100 + seed) * 2 + place)
            made.fit(x[chosen] / 16, y[chosen])
            own.append((made.predict(x[test] / 16) == y[test]).astype(float))
    return np.array(right[0]), np.array(right[1])


def said(first: np.ndarray, second: np.ndarray) -> str:
    """The verdict by the 95 % interval."""
    return verdict(*paired.of_examples(first, second).interval())


def main() -> None:
    """Prints one table and how many of the cases hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--networks", action="store_true")
    arguments = parser.parse_args()
    trials, rows = arguments.trials, []
    if arguments.networks:
        import warnings

        warnings.filterwarnings("ignore")  # so few iterations do not converge
        for seeds in (2, 3, 5):
            none = sum(said(*networks(seeds, trial)) == "no difference" for trial in range(trials))
            rows.append(("MLP, 60 digits", seeds, 400, none, None))
    else:
        for case in CASES:
            none = sum(said(*simulated(case, np.random.default_rng(trial), 0.0)) == "no difference" for trial in range(trials))
            seen = sum(said(*simulated(case, np.random.default_rng(trial), 0.1)) == "helped" for trial in range(trials))
            rows.append((f"seeds {case[2]:g}, examples {case[3]:g}", case[0], case[1], none, seen))
    header = ("spread", "seeds", "test examples", f"no difference, of {trials}", "a difference of 0.1 seen")
    measure.table("scratch against scratch, 95 % intervals", header, rows)
    held = sum(row[3] >= WANTED * trials / 100 for row in rows)
    print(f"{held} of {len(rows)} cases say no difference in at least {WANTED} of 100 trials")


if __name__ == "__main__":
    main()
