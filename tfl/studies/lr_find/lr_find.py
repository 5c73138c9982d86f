"""Which learning rate for a phase? Rates that rise step by step, until the loss does."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl import reporting
from tfl.config import UserError, plain
from tfl.cut import Cut
from tfl.data.batches import Batches
from tfl.directory import new_folder
from tfl.distribute import distributed
from tfl.interrupt import Terminated
from tfl.lazy import keras
from tfl.methods import finetune
from tfl.methods.session import Session
from tfl.models import Group, groups
from tfl.phases import Phase, in_words
from tfl.step import Objective, Stepper
from tfl.studies.folder import claimed
from tfl.studies.lr_find.rates import Curve, Sought, has_diverged
from tfl.training import Supervised
from tfl.whole import write_text

ABOUT, RESULT, PICTURE = "sought.json", "lr_find.json", "lr_find"
CALL = 5
"""Steps between looks at whether the loss has diverged."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a range test came to; `lr_find.json` has it."""

    folder: Path
    sought: Sought
    phases: tuple[Phase, ...]
    """Those of the job."""
    curve: Curve | None
    """None where it was interrupted."""

    @property
    def phase(self) -> Phase:
        """The one that was tried."""
        return self.phases[self.sought.phase - 1]

    @property
    def suggested(self) -> float | None:
        """The learning rate to take; None where the loss did not fall beyond its noise, or the test was interrupted."""
        return self.curve.suggested if self.curve is not None else None


def lr_find(config: finetune.Config, sought: Sought, out: str | Path | None = None, *, source: Any = None) -> Found:
    """Tries rates on a phase of `config`, after training those before it, and writes what came of it to the directory `out`.

    Nothing that was trained is kept. `source`: as in `finetune.run`. Raises `UserError` for a phase that is not there.
    """
    folder = Path(out) if out else new_folder("lr-find")
    config = dataclasses.replace(config, folds=0, checkpoints=None)
    about = {"config": plain(config), "sought": plain(sought)}
    with claimed(folder, ABOUT, about, "range test"), Session(config, folder / "session") as session, session.interrupt:
        splits, backbone = finetune.load(session, config, source)
        config = finetune.resolve(config, backbone.modality, len(backbone.blocks), len(splits.train))
        place = _place(config.phases, sought)
        session.config = config
        model, made = finetune.assemble(session, config, backbone, splits)
        finetune.try_phases(session, config, backbone, model)
        if place:
            session.say(f"training what comes before phase {sought.phase}, to be thrown away")
            before = dataclasses.replace(config, phases=config.phases[:place])
            finetune.train(session, before, backbone, model, made, splits, (), quiet=True)
        phase = config.phases[place]
        finetune.declare(session, config, model, backbone, place, phase)
        stream = session.batches(backbone, splits.train, training=True, number=place)
        request = session.request(phase, backbone, model, stream, stream)
        extracted = session.extractor.extract(dataclasses.replace(request, streams={"train": stream}))
        curve = None
        if not session.interrupt.stopping:
            curve = range_test(
                extracted.cut,
                extracted.streams["train"],
                Supervised(made, phase.label_smoothing),
                groups(model, backbone, phase),
                phase,
                sought,
                strategy=session.strategy,
                stop=lambda: session.interrupt.stopping,
            )
        if session.interrupt.terminated:
            raise Terminated
        found = Found(folder=folder, sought=sought, phases=config.phases, curve=curve)
        if curve is not None:
            _save(found, curve, about)
        return found


def range_test(
    model: Cut,
    stream: Batches,
    objective: Objective,
    own: Sequence[Group],
    phase: Phase,
    sought: Sought,
    *,
    strategy: Any,
    stop: Callable[[], bool] = lambda: False,
) -> Curve | None:
    """The losses of `phase` over rates that rise from step to step, and the model as it was before; None where `stop` says so.

    Optimizer, clipping, weight decay and the proportion of the groups' rates are those of the phase; schedule, warm-up and
    averaging are not. The loss of a step is that before its update, so that what a rate did is in the loss of the next.
    """
    before = [np.array(variable.numpy()) for variable in model.model.variables]
    plain_phase = dataclasses.replace(phase, schedule="constant", warmup=0.0, ema=None)
    with strategy.scope():
        stepper = Stepper(model, objective, own, plain_phase, len(stream), strategy)
    growth = sought.highest / sought.lowest
    for group, optimizer in zip(stepper.groups, stepper.optimizers, strict=True):
        rising = keras.optimizers.schedules.ExponentialDecay(sought.lowest * group.scale, sought.steps - 1, growth)
        getattr(optimizer, "inner_optimizer", optimizer).learning_rate = rising
    iterators = {"train": iter(distributed(strategy, functools.partial(stream.forever, 0, 0)))}
    losses: list[float] = []
    while len(losses) <= sought.steps and not has_diverged(losses) and not stop():
        losses += stepper(iterators, min(CALL, sought.steps + 1 - len(losses)))["loss"].tolist()
    for variable, value in zip(model.model.variables, before, strict=True):
        variable.assign(value)
    return None if stop() else _curve(losses, sought)


def _curve(losses: Sequence[float], sought: Sought) -> Curve:
    finite = next((place for place, loss in enumerate(losses) if not np.isfinite(loss)), len(losses))
    if finite < 3:
        raise UserError(
            f"the loss is {losses[finite]} from the first steps on, at a learning rate of {sought.lowest:g}; look at the data, "
            f"train in float32 (precision: float32), or begin lower (lowest)"
        )
    kept = tuple(float(loss) for loss in losses[1:finite])
    diverged = has_diverged(losses)
    return Curve(rates=tuple(sought.rates[: len(kept)].tolist()), losses=kept, diverged=diverged)


def _place(phases: Sequence[Phase], sought: Sought) -> int:
    if not 1 <= sought.phase <= len(phases):
        listed = ", ".join(f"{number} ({in_words(phase.trainable)})" for number, phase in enumerate(phases, start=1))
        raise UserError(f"phase: {sought.phase} is not valid; this job has {listed}")
    return sought.phase - 1


def _save(found: Found, curve: Curve, about: dict[str, Any]) -> None:
    """Writes lr_find.json."""
    shown = {
        "suggested": curve.suggested,
        "steepest": curve.steepest,
        "lowest": curve.lowest,
        "rule": "the lower of steepest and a tenth of lowest",
        "phase": found.sought.phase,
        "learning_rate": found.phase.learning_rate,
        **plain(curve),
        "smoothed": curve.smoothed.tolist(),
        **about,
    }
    write_text(found.folder / RESULT, json.dumps(shown, indent=1, default=str) + "\n")


# --- for people -------------------------------------------------------------------------------------------------------


def told(found: Found) -> Iterator[str]:
    """The suggestion of a finished test and what it rests on, a line each."""
    curve, phase = found.curve, found.phase
    assert curve is not None
    name = f"phase {found.sought.phase}/{len(found.phases)}, {in_words(phase.trainable)}, {phase.optimizer}"
    if curve.suggested is None:
        yield f"{name}: no suggestion, the loss did not fall by more than its noise; try --steps {4 * found.sought.steps}"
        yield f"(within the noise, it falls most steeply at {curve.steepest:.2g} and is lowest at {curve.lowest:.2g})"
        return
    yield f"{name}: suggested learning rate {curve.suggested:.2g} (this job has {phase.learning_rate:g})"
    yield (
        f"the loss falls most steeply at {curve.steepest:.2g} and is lowest at {curve.lowest:.2g}; suggested is the lower of "
        f"the first and a tenth of the second"
    )
    if curve.diverged:
        yield f"it diverges at {curve.rates[-1]:.2g}"
    else:
        yield f"it does not diverge up to {curve.rates[-1]:.2g}; where it is lowest may lie above (--highest)"


def draw(found: Found) -> list[Path]:
    """Writes lr_find.png and lr_find.svg; nothing where Matplotlib is not installed."""
    if reporting.missing() or found.curve is None:
        return []
    from tfl.reporting import ink

    curve = found.curve

    def plot(axes: Any, palette: ink.Palette) -> None:
        axes.plot(curve.rates, curve.losses, ".", markersize=2, color=palette.muted, label="a batch")
        axes.plot(curve.rates, curve.smoothed, color=palette.series[0], label="smoothed")
        marks = {"suggested": (curve.suggested, "-"), "steepest": (curve.steepest, "--"), "lowest": (curve.lowest, ":")}
        for (name, (rate, style)), color in zip(marks.items(), palette.series[1:], strict=False):
            if rate is not None:
                axes.axvline(rate, linestyle=style, linewidth=1.2, color=color, label=f"{name} {rate:.2g}")
        axes.set_ylim(0, 1.1 * float(np.max(curve.smoothed)))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.set_xlabel(f"learning rate, phase {found.sought.phase} ({in_words(found.phase.trainable)})")
        axes.set_ylabel("loss after the update")
        axes.grid()
        axes.legend()

    told = "the loss against the learning rate, by batch and smoothed, with the suggested rate marked"
    return ink.save([ink.Picture(name=PICTURE, told=told, draw=plot, width=4.2, height=2.8)], found.folder)
