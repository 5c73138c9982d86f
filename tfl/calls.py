"""What the functions of `tfl` do with the values that they are given in Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from tfl import config as configs
from tfl.config import UserError
from tfl.jobs import check_folder, comparison, config_of, raw_of_source, selection

OF_OPTIMIZER = ("LearningRateScheduler", "ReduceLROnPlateau", "SwapEMAWeights", "BackupAndRestore")
"""Callbacks of Keras that need the optimizer of `Model.compile`, or go on with `Model.fit`."""


def finetune(
    source: Any,
    *,
    backbone: str | Mapping[str, Any],
    weights: str | None,
    out: str | Path | None,
    callbacks: Sequence[Any],
    fields: Mapping[str, Any],
) -> Any:
    """`tfl.finetune`: a config from Python values, and its run."""
    from tfl.methods import METHODS

    raw, given = _given(source, backbone, weights, fields)
    check_folder("out", out or "runs")
    _check_callbacks(callbacks)
    return METHODS["finetune"].run(config_of(raw), out, source=given, callbacks=callbacks)


def select(
    source: Any, *, backbones: Sequence[Any] | str | None, out: str | Path | None, options: Mapping[str, Any], fields: Any
) -> Any:
    """`tfl.select`: a selection from Python values."""
    raw, given = _given(source, fields.get("backbone"), None, fields)
    config, plan = selection(raw, backbones, options)
    check_folder("out", out or "runs")
    from tfl.studies.select.select import select as run

    return run(config, plan, out, source=given)


def compare(
    source: Any, *, backbone: str | Mapping[str, Any], weights: str | None, out: str | Path | None, options: Any, fields: Any
) -> Any:
    """`tfl.compare`: a comparison from Python values; its picture and page are written where Matplotlib is there."""
    raw, given = _given(source, backbone, weights, fields)
    config, plan = comparison(raw, options)
    check_folder("out", out or "runs")
    from tfl import reporting
    from tfl.studies.compare import page, picture
    from tfl.studies.compare.compare import compare as run

    done = run(config, plan, out, source=given)
    if done.trials is not None:
        picture.draw(done.trials, done.folder)
        reporting.attempt(done.folder, print, page.write)
    return done


def sweep(
    source: Any,
    *,
    space: Mapping[str, Any],
    backbone: str | Mapping[str, Any],
    weights: str | None,
    out: str | Path | None,
    trials: int,
    best: bool,
    fields: Mapping[str, Any],
) -> Any:
    """`tfl.sweep`: a sweep from Python values, and the run of its best."""
    from tfl.studies.sweep import space as spaces

    raw, given = _given(source, backbone, weights, fields)
    dimensions = spaces.given(space)
    if isinstance(trials, bool) or not isinstance(trials, Integral) or trials < 1:
        raise UserError(f"trials: {trials!r} is not valid; a whole number, at least 1")
    check_folder("out", out or "runs")
    spaces.check(raw, dimensions, config_of)
    from tfl.studies.sweep import sweep as sweeps

    done = sweeps.sweep(raw, dimensions, config_of, trials=trials, out=out, source=given)
    if not best or done.interrupted or not done.ranked:
        return done
    return dataclasses.replace(done, run=sweeps.run_best(done, config_of, given))


def lr_find(
    source: Any, *, backbone: str | Mapping[str, Any], weights: str | None, out: str | Path | None, options: Any, fields: Any
) -> Any:
    """`tfl.lr_find`: a range test from Python values; its picture is drawn where Matplotlib is there."""
    raw, given = _given(source, backbone, weights, fields)
    config = config_of(raw)
    from tfl.studies.lr_find.rates import Sought

    sought = Sought(**options)
    check_folder("out", out or "runs")
    from tfl.studies.lr_find import lr_find

    found = lr_find.lr_find(config, sought, out, source=given)
    lr_find.draw(found)
    return found


def audit(run: Any, *, sections: Sequence[str], slices: Sequence[str], scratch: Any, ood: str | Path | None, limit: int) -> Any:
    """`tfl.audit`: an audit from Python values; the run's page is written anew where what draws it is there."""
    named = {"sections": sections, "slices": slices}
    for name, words in named.items():
        if isinstance(words, str) or not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
            raise UserError(f"{name}: {words!r} is not valid; a list of names")
    if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
        raise UserError(f"limit: {limit!r} is not valid; a whole number, at least 1")
    from tfl import reporting
    from tfl.run import Run, load
    from tfl.studies.audit import audit as audits

    asked = run if isinstance(run, Run) else load(run)
    other = scratch if scratch is None or isinstance(scratch, Run) else load(scratch)
    chosen = {name: tuple(words) for name, words in named.items()}
    options = audits.Options(**chosen, scratch=other, ood=None if ood is None else str(ood), limit=int(limit))
    done = audits.audit(asked, options)
    reporting.attempt(asked.directory, print)
    return done


def _check_callbacks(callbacks: Any) -> None:
    """Raises `UserError` for what Keras would call back and cannot."""
    from tfl.lazy import keras

    if not isinstance(callbacks, Sequence):
        raise UserError(f"callbacks: {callbacks!r} is not valid; a list of Keras callbacks")
    for one in callbacks:
        if not isinstance(one, keras.callbacks.Callback):
            made = "; make one of the class" if isinstance(one, type) else ""
            raise UserError(f"callbacks: {one!r} is not a Keras callback, an instance of keras.callbacks.Callback{made}")
        if isinstance(one, tuple(getattr(keras.callbacks, name) for name in OF_OPTIMIZER)):
            raise UserError(
                f"callbacks: {type(one).__name__} needs the optimizer of Keras's fit, and a phase has its own; set the phase's "
                f"learning_rate, schedule, warmup and ema"
            )


def _given(source: Any, backbone: Any, weights: str | None, fields: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The raw config of Python values, and the data where it is given in memory (else None)."""
    if source is None:
        raise UserError("data: None is not valid; a path, a DataFrame, or a pair (inputs, labels)")
    in_memory = not isinstance(source, (str, Path, Mapping))
    if in_memory:
        data = {"source": "memory"}
    else:
        data = dict(source) if isinstance(source, Mapping) else raw_of_source(str(source))["data"]
    raw = configs.plain(dict(fields))
    given = raw.get("data") or {}
    if not isinstance(given, Mapping):
        raise UserError(f'data: {given!r} is not valid; it is a dict of fields such as data={{"label": "tone"}}')
    raw["data"] = {**data, **given}
    if backbone is not None:
        raw["backbone"] = dict(backbone) if isinstance(backbone, Mapping) else {"name": backbone}
    if weights is not None:
        raw.setdefault("backbone", {})["weights"] = weights
    return configs.plain({"method": "finetune", **raw}), source if in_memory else None
