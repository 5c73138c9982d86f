"""Temperature scaling: one number by which logits are divided, so that a probability says how often it is right.

Guo et al. 2017, arXiv:1706.04599. It changes no class that is predicted, since the order of the logits stays.
"""

from __future__ import annotations

import numpy as np

from tfl.config import UserError

RANGE = (0.05, 20.0)
"""Where the temperature is looked for."""

EDGE = 1e-3
"""Of the logarithm: so near to an end of `RANGE` the log-loss still falls there, and the end is what stopped the search."""

SMALLEST = float(np.finfo(np.float32).tiny)
"""Probabilities are taken as at least this, so that those which float32 has rounded to 0 have a logarithm."""


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """What probabilities `[N, C]` would be with logits divided by `temperature`: `[N, C] float64`.

    softmax(log p / T) is softmax(z / T), since log p and the logits z differ by one number a row.
    """
    from scipy import special

    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
    found: np.ndarray = special.softmax(logits / temperature, axis=1)
    return found


def fit(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the mean log-loss of probabilities `[N, C]` is least, for `labels` `[N] int`.

    The log-loss is convex in 1 / T, so there is one minimum. Raises `UserError` where no example is wrong: any lower
    temperature would then be better, down to 0. Likewise where the least is at an end of `RANGE`.
    """
    from scipy import optimize, special

    if (probabilities.argmax(axis=1) == labels).all():
        raise UserError(
            f"temperature: all {len(labels)} validation examples are predicted right, so that nothing says how sure the model "
            "may be; it needs a validation split with mistakes in it"
        )
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(special.log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    found = optimize.minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-6})
    value = float(np.exp(found.x))
    if at_end(value):
        say, better = ("nothing", "higher") if value > 1 else ("too little", "lower")
        raise UserError(
            f"temperature: the probabilities say {say} on the validation split; no temperature helps, since the {better} the "
            "better; train longer or on more data, or export without a temperature"
        )
    return value


def at_end(temperature: float) -> bool:
    """Whether `temperature` is an end of what is searched, and so no minimum."""
    return bool(np.abs(np.log(temperature) - np.log(RANGE)).min() < EDGE)
