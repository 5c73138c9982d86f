"""The frame of a run that every method shares: where it writes, what it says, what it times, what it reports."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfl import distribute, evaluate, models, predict, reporting
from tfl.checkpoint import Recorder, State
from tfl.config import UserError
from tfl.cut import cut
from tfl.data import kept, seen
from tfl.data.batches import Batches, stream_seed
from tfl.data.examples import Columns, Examples
from tfl.data.pipeline import prepare
from tfl.data.splits import Splits
from tfl.data.text import tokenize
from tfl.directory import EXAMPLES, PREDICTIONS, SEEN, free_directory
from tfl.features.extract import Extracted, Extractor, Request
from tfl.graphs import given_back, reordering
from tfl.interrupt import Interrupt, Terminated
from tfl.methods.course import Course, Part
from tfl.methods.facts import report_of, report_of_run, told_of_data
from tfl.methods.validation import validator
from tfl.phases import Phase, in_words
from tfl.report import PhaseReport
from tfl.run import Facts, Run, load, save
from tfl.tasks import Task
from tfl.whole import write_csv


class Session:
    """One run while it runs. A context: it sets seed, determinism and strategy, and gives back what it can of the process."""

    def __init__(self, config: Any, out: str | Path | None) -> None:
        from rich.console import Console

        self.config, self._out, self.directory = config, out, free_directory(out, config)
        self.console = Console(soft_wrap=True)
        self.seconds: dict[str, float] = {}
        self.interrupt = Interrupt()
        self._tokenised: weakref.WeakKeyDictionary[Examples, Columns] = weakref.WeakKeyDictionary()
        self.course = Course()
        self._epochs = 0

    def __enter__(self) -> Session:
        from tfl.lazy import keras, tf

        self._process = contextlib.ExitStack()
        self.strategy = distribute.strategy(self.config.distribute)  # first: a cluster is joined before anything is computed
        self.workers = distribute.workers(self.strategy)
        if self.workers.count > 1 and self._out is None:
            raise UserError("out: workers that train together write one run; name its directory")
        self.extractor = Extractor(
            self.config.features,
            say=self.say,
            progress=self._progress,
            stop=lambda: self.interrupt.stopping,
            workers=self.workers,
        )
        self._process.enter_context(given_back())
        keras.utils.set_random_seed(self.config.seed)
        if self.config.deterministic and not distribute.needs_static_shapes(self.strategy):
            # (What XLA compiles for a TPU is so anyway, and it refuses some operations where this is asked for.)
            tf.config.experimental.enable_op_determinism()
        # TensorFlow's rewriting of sums and products goes through hash tables, whose order changes with each process.
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": not self.config.deterministic})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._process.close()
        if self.course.checkpoints is not None:
            self.course.checkpoints.release()
        if self.workers.count > 1 and distribute.lost(error):
            raise distribute.WorkerLost(
                f"another worker is gone ({str(error).splitlines()[0]}); start all of them again with the same command, and "
                f"{self.directory} goes on from its last checkpoint"
            ) from error

    def stage(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        """`call(*args)`, its seconds counted for the stage `name`."""
        start = time.perf_counter()
        try:
            return call(*args)
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def say(self, text: str) -> None:
        """A line to the terminal."""
        self.console.print(text, highlight=False, markup=False)

    def describe(self, splits: Splits) -> None:
        """What the data is: sizes, class counts, what could not be read, what is there twice."""
        for line in told_of_data(splits):
            self.say(line)

    def start(self, config: Any, fingerprint: str) -> None:
        """Makes the run's directory and keeps the resolved config in it, or goes on with the unfinished run that it holds."""
        self.config, replicas = config, self.strategy.num_replicas_in_sync
        if config.data.batch_size < replicas:
            raise UserError(
                f"data.batch_size: {config.data.batch_size} is too small for {replicas} replicas; at least one row each"
            )
        self.course = Course.of_run(self.directory, config, fingerprint, self.workers, self.say)

    def batches(
        self, backbone: Any, examples: Examples, training: bool = False, number: int = 0, exact: bool = False
    ) -> Batches:
        """The batches of `examples`, for phase `number` where they train; texts are tokenised once a run.

        `exact`: images are decoded in full, as in an export. Else a large one is decoded at the scale that is needed.
        """
        config = self.config
        if backbone.modality == "text" and backbone.preprocess.pad_values and examples not in self._tokenised:
            self._tokenised[examples] = tokenize(examples, backbone.preprocess)
        made = prepare(
            self._tokenised.get(examples, examples),
            backbone.preprocess,
            modality=backbone.modality,
            batch_size=config.data.batch_size,
            resize=config.data.resize,
            training=training,
            seed=stream_seed(config.seed, number),
            augment=config.augment,
            replicas=self.strategy.num_replicas_in_sync,
            static=distribute.needs_static_shapes(self.strategy),
            max_tokens=config.data.max_tokens,
            reduced=not exact,
            service=config.data.service,
        )
        if training and not len(made):
            raise UserError(
                f"data.batch_size: {len(examples)} examples to train on make no batch, which needs {made.least} of them here; "
                f"take a smaller batch_size, fewer devices (distribute), or more examples"
            )
        return made

    def tokenised(self, splits: Splits, backbone: Any) -> Splits:
        """`splits` with their texts tokenised; images as they are."""
        if backbone.modality != "text" or not backbone.preprocess.pad_values:
            return splits
        train, validation = (tokenize(part, backbone.preprocess) for part in (splits.train, splits.validation))
        return dataclasses.replace(splits, train=train, validation=validation)

    def declare(self, model: Any, backbone: Any, phase: Phase) -> None:
        """Makes trainable what `phase` declares; adapters are variables, which the strategy has to own."""
        with self.strategy.scope():
            models.set_trainable(model, backbone, phase.trainable, phase.batch_norm)
        models.synchronize(model, self.strategy.num_replicas_in_sync)

    def phase(
        self,
        number: int,
        phase: Phase,
        backbone: Any,
        model: Any,
        made: Mapping[str, Task],
        extracted: Extracted,
        part: Part,
        callbacks: Sequence[Any],
        quiet: bool = False,
    ) -> PhaseReport:
        """Trains one phase of `model`, whose trainable variables are set, and holds it to what it declared.

        `extracted`: what it runs on, as `extract` gives it. `part`: what it is a phase of, and where it goes on.
        """
        from tfl.training import Supervised, fit_phase

        groups = models.groups(model, backbone, phase)
        loop, before = part.loop()
        before = before or models.snapshot(model)
        recorder = part.recorder(model, before)
        self._end_if_asked(recorder, loop)  # while something was extracted
        stream = extracted.streams["train"]
        fit = fit_phase(
            extracted.cut,
            {"train": stream},
            Supervised(made, phase.label_smoothing),
            groups,
            phase,
            strategy=self.strategy,
            validate=validator(extracted, made, self.strategy),
            callbacks=[*callbacks, *([] if quiet else self._watchers(number, phase, stream))],
            interrupt=self.interrupt,
            recorder=recorder,
            start=loop,
        )
        self._epochs += 0 if quiet else len(fit.epochs)
        return report_of(phase, backbone, model, fit, moved=models.what_moved(model, before), extracted=extracted)

    def resume(self, part: Part) -> None:
        """Goes on behind the phases of `part` that are done."""
        self._epochs = sum(len(report.epochs) for report in part.reports)

    def end_if_asked(self, part: Part, model: Any) -> None:
        """Raises `Terminated` where the process was asked to end while a phase came to its end; a checkpoint is left."""
        self._end_if_asked(part.recorder(model, []), None)

    def _end_if_asked(self, recorder: Recorder | None, loop: State | None) -> None:
        self.interrupt.settle(self.workers.most, self.workers.count > 1)
        if self.interrupt.terminated:
            if recorder is not None:
                recorder.write(loop, wait=True)
            raise Terminated

    def extract(self, phase: Phase, backbone: Any, model: Any, stream: Batches, validation: Batches) -> Extracted:
        """What `phase`, as it is declared in `model` now, runs on: what it leaves frozen is computed or read."""
        return self.extractor.extract(self.request(phase, backbone, model, stream, validation))

    def request(self, phase: Phase, backbone: Any, model: Any, stream: Batches, validation: Batches) -> Request:
        """What has to be extracted for `phase`, as it is declared in `model` now."""
        features = self.config.features
        views = features.views if features is not None and features.views != "auto" else 1
        augmented = views > 1 and self.config.augment is not None
        return Request(
            cut=cut(model),
            blocks=backbone.blocks,
            streams={"train": stream, "validation": validation},
            backbone=backbone.name,
            views=min(views, phase.epochs) if augmented else None,
        )

    def _progress(self, what: str, total: int) -> Any:
        from tfl.progress import counting

        return counting(what, total, self.console)

    def _watchers(self, number: int, phase: Phase, stream: Batches) -> list[Any]:
        from tfl.progress import ProgressBar, TensorBoard

        title = f"phase {number + 1}/{len(self.config.phases)} {in_words(phase.trainable)}"
        bar = ProgressBar(title, phase.epochs, len(stream), self.console)
        return [bar, TensorBoard(self.directory / "logs", self._epochs, self.say)] if self.workers.is_chief else [bar]

    def logits(self, model: Any, backbone: Any, examples: Examples, exact: bool) -> dict[str, np.ndarray]:
        """`{task: logits [N, …]}` of `examples`; `exact`: as a served model computes them."""
        stream = {"examples": self.batches(backbone, examples, exact=exact)}
        request = Request(
            cut=cut(model), blocks=backbone.blocks, streams=stream, backbone=backbone.name, exact=exact, once=True
        )
        extracted = self.extractor.extract(request)
        with reordering(exact or not self.config.deterministic):
            return predict.Forward(extracted.cut, self.strategy)(extracted.streams["examples"])

    def evaluate(
        self, model: Any, made: Mapping[str, Task], backbone: Any, splits: Splits
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """`{task: {split: metrics}}` for validation and test; keeps the test split's predictions for `finish`."""
        results: dict[str, dict[str, Any]] = {name: {} for name in made}
        for split in ("validation", "test"):
            examples = getattr(splits, split)
            logits = self.logits(model, backbone, examples, exact=split == "test")
            for name, task in made.items():
                predictions = np.asarray(task.predictions(logits[name]))
                results[name][split] = evaluate.evaluate(
                    task.kind, examples.labels, predictions, task.class_names, seed=self.config.seed
                )
                self._table = predict.table(task, predictions, examples.ids, examples.labels)
        return results

    def finish(
        self,
        config: Any,
        splits: Splits,
        backbone: Any,
        model: Any,
        made: Mapping[str, Task],
        phases: Sequence[PhaseReport],
        results: dict[str, Any],
        folds: dict[str, Any] | None,
    ) -> Run:
        """Writes the run and returns it; of several workers the chief writes, and the others read."""
        report = report_of_run(config, splits, backbone, phases, results, folds, self.seconds, self.strategy)
        if not self.workers.is_chief:
            self.workers.wait()
            return load(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        write_csv(self._table, self.directory / PREDICTIONS)
        kept.keep(splits.test, self.directory / EXAMPLES)
        seen.keep(splits, self.directory / SEEN)
        facts = Facts(
            modality=splits.modality,
            pairs=getattr(config.data, "text_pair", None) is not None,
            resize=config.data.resize,
            batch_size=config.data.batch_size,
            tasks=dict(made),
        )
        run = save(self.directory, config, model, backbone.preprocess, facts, report)
        if self.course.checkpoints is not None:
            self.course.checkpoints.clear()
        reporting.attempt(self.directory, self.say)
        self.workers.wait()
        return run
