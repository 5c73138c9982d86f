"""What a method leaves: a directory, and its face in Python."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfl import config as configs
from tfl import evaluate, predict, terminal
from tfl.config import UserError
from tfl.cut import Cut, cut
from tfl.data import kept, seen
from tfl.data.batches import Batches
from tfl.data.config import Resize
from tfl.data.examples import Examples, Modality, Unreadable
from tfl.data.given import given
from tfl.directory import CONFIG, EXAMPLES, FACTS, MODEL, PREPROCESS, REPORT, SEEN, UNFINISHED
from tfl.features.config import Features
from tfl.features.extract import Extracted, Extractor, Request
from tfl.lazy import keras, pd, tf
from tfl.predict import Forward
from tfl.report import Report
from tfl.tasks import TASKS, Task
from tfl.whole import write_text


@dataclass(frozen=True)
class Facts:
    """What predicting needs to know of a run beside its model."""

    modality: Modality
    """image | text"""
    pairs: bool
    """Whether an example is a pair of texts."""
    resize: Resize
    """How images become square."""
    batch_size: int
    tasks: Mapping[str, Task]


class Run:
    """A finished run. It predicts, evaluates and exports; `print` shows its results, `tfl.load` opens it again.

    The directory holds `config.yaml` (resolved: it reproduces the run), `model.keras`, `preprocess/`, `run.json`,
    `predictions.csv` and `examples.tfrecord` (the test split), `report.json` and `logs/` (TensorBoard).
    """

    def __init__(self, directory: Path, facts: Facts, report: Report) -> None:
        self.directory, self.facts, self.report = directory, facts, report

    def __repr__(self) -> str:
        return f"<Run {self.directory}: {terminal.headline(self.report)}>"

    def __str__(self) -> str:
        """What `tfl train` says at its end."""
        return terminal.plain(terminal.summary(self.report))

    @cached_property
    def model(self) -> keras.Model:
        """The trained model, a plain `keras.Model` from preprocessed inputs to `{task: logits}`."""
        from tfl import backbones

        backbones.register_layers()
        try:
            return keras.models.load_model(self.directory / MODEL, compile=False)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            if zipfile.is_zipfile(self.directory / MODEL):
                raise
            raise UserError(f"{self.directory / MODEL} is damaged or not there; copy the run again, or train again") from error

    @cached_property
    def preprocess(self) -> Any:
        """Raw images or texts to the model's inputs."""
        from tfl import backbones

        return backbones.load_preprocess(self.directory / PREPROCESS)

    @property
    def metrics(self) -> dict[str, Any]:
        """The test results, `{name: {"value", "low", "high"}, …}`; of the task itself where there is only one."""
        tests = {name: splits["test"] for name, splits in self.report.metrics.items()}
        return next(iter(tests.values())) if len(tests) == 1 else tests

    def predict(self, inputs: Any) -> pd.DataFrame:
        """Predictions for images, texts, or the rows of a DataFrame or a file that holds them as the run's own table does.

        Images: paths; an array `[N, H, W(, C)]`, uint8 or floats in 0..1 or 0..255; or a list of arrays of one shape.
        Texts: strings, or pairs of them where the run reads pairs. A row an input, in order: `id` (the path, or the position),
        `predicted`, `probability`, `p_<class>`, under the index of a DataFrame or Series; an input that cannot be read has its
        reason in `error` and no prediction. Raises `UserError` where nothing can be read, or the run reads something else.
        """
        examples = given(inputs, self.facts.modality, self.facts.pairs, self.columns)
        rows = examples.readable()
        name, task = self._task()
        pays = len(rows) >= self.facts.batch_size  # a few are mostly new, and to look for them is to read all weights
        return examples.merged(predict.table(task, self._predictions(rows, stored=pays)[name], rows.ids))

    def evaluate(self, source: Any = None, **fields: Any) -> dict[str, Any]:
        """What the model is worth on its own test split, which it predicts again, or on another labelled `source`: a path, a
        mapping or a data frame.

        A source with a test split is evaluated on that, any other on all of it. Columns and kind of label are those of
        the run, where `fields` (of the source's config) does not name others. Examples that cannot be read are left out
        and listed as `unreadable`, `[{"id", "reason"}]`; `seen` counts those that the run was trained on or chose its epochs
        by, which no model is to be judged by. Raises `UserError` where more than 5 % of them cannot, where
        `on_error` is fail, or where the source holds a class that the model does not know.
        """
        from tfl.data.again import Reads, labelled

        if source is None:
            if fields:
                raise UserError(f"{', '.join(fields)}: they describe another source, and none was named; name one")
            rows, unreadable = self._tested()
        else:
            facts, task = self.facts, self._task()[1]
            reads = Reads(facts.modality, facts.pairs, task.kind, tuple(task.class_names))
            rows, unreadable = labelled(source, fields, self.report.config["data"], reads)
        skipped = [{"id": bad.id, "reason": bad.reason} for bad in unreadable]
        known = seen.count(self.directory / SEEN, rows.digests) if source is not None else 0
        told: dict[str, Any] = {"unreadable": skipped} if skipped else {}
        return self._measure(rows) | told | ({"seen": known} if known else {})

    def export(
        self,
        folder: str | Path,
        name: str | None = None,
        *,
        format: str = "savedmodel",
        quantize: str | None = None,
        max_loss: float | None = None,
        temperature: float | None = None,
    ) -> Path:
        """Writes a version of a model, a SavedModel with the preprocessing inside, into the bundle in `folder`; or, in the
        `format` litert, onnx or openvino, a model file that takes preprocessed tensors into `folder`, which is new.

        Returns the folder of the version or file; see `tfl.export.export` and `tfl.serving.portable.write`. `quantize`
        (litert alone): dynamic or int8, which may take `max_loss` of the accuracy (0.02). `temperature`: what logits are
        divided by before they become probabilities (classification alone); `tfl audit` finds one. Raises `UserError` where
        the export does not predict what was evaluated.
        """
        from tfl.serving import bundle, portable, targets

        loss = portable.MAX_LOSS if max_loss is None else max_loss
        targets.check(format, quantize, loss)
        is_positive = isinstance(temperature, (int, float, np.floating)) and temperature > 0
        if temperature is not None and (not is_positive or self._task()[1].kind != "classification"):
            raise UserError(f"temperature: {temperature!r} is not valid; above 0, and of a run that predicts one class")
        if format == targets.SAVEDMODEL:
            return bundle.write(self, Path(folder), name, temperature)[0]
        more: dict[str, Any] = {"quantize": quantize, "max_loss": loss, "temperature": temperature}
        return portable.write(self, Path(folder), name, format, **more)

    def _task(self) -> tuple[str, Task]:
        return next(iter(self.facts.tasks.items()))

    @property
    def columns(self) -> dict[str, str | None]:
        """What the run's own table called its columns of texts or images; None: found by its usual name."""
        own = self.report.config["data"]
        is_table = own["source"] in ("table", "memory")
        return {name: own.get(name) if is_table else None for name in ("text", "text_pair", "image")}

    @cached_property
    def _whole(self) -> Cut:
        return cut(self.model)

    @cached_property
    def _forward(self) -> Forward:
        return Forward(self._whole, tf.distribute.get_strategy())

    def _extract(self, batches: Batches) -> Extracted:
        """`batches` as rows of the feature store, where it has all of them, or else as they are."""
        config = self.report.config.get("features")
        extractor = Extractor(Features(**config) if config else None, say=lambda _: None)
        return extractor.find(Request(cut=self._whole, blocks=(), streams={"rows": batches}, exact=True, once=True))

    def predictions(self, rows: Examples, stored: bool = True) -> np.ndarray:
        """What the run predicts for `rows` of a source: probabilities `[N, C] float32`, of a regression values `[N]`.

        `stored`: whether frozen features are looked for in the store; changed examples are not there.
        """
        found: np.ndarray = self._predictions(rows, stored)[self._task()[0]]
        return found

    def _predictions(self, rows: Any, stored: bool = True) -> dict[str, Any]:
        from tfl.data.pipeline import prepare

        facts = self.facts
        batches = prepare(rows, self.preprocess, modality=facts.modality, batch_size=facts.batch_size, resize=facts.resize)
        found = self._extract(batches) if stored else Extracted(cut=self._whole, streams={"rows": batches})
        is_whole = found.cut is self._whole
        forward = self._forward if is_whole else Forward(found.cut, tf.distribute.get_strategy())
        logits = forward(found.streams["rows"])
        return {name: keras.ops.convert_to_numpy(task.predictions(logits[name])) for name, task in facts.tasks.items()}

    def _measure(self, rows: Any) -> dict[str, Any]:
        name, task = self._task()
        seed = int(self.report.config.get("seed", 0))
        return evaluate.evaluate(task.kind, rows.labels, self._predictions(rows)[name], task.class_names, seed=seed)

    def _tested(self) -> tuple[Examples, tuple[Unreadable, ...]]:
        """The kept test examples, and those whose image is gone or another one. Raises `UserError` where these are too many."""
        from tfl.data.splits import check_unreadable

        file = self.directory / EXAMPLES
        if not file.is_file():
            raise UserError(f"{file} is not there; name the data to evaluate on")
        rows = kept.examples(file, self._task()[1].kind)
        said = {"missing": "the file is gone", "changed": "the file is another one now"}
        gone = {place: Unreadable(str(rows.ids[place]), said[why]) for place, why in kept.gone(rows).items()}
        check_unreadable(len(rows) - len(gone), tuple(gone.values()))
        return rows.take(np.setdiff1d(np.arange(len(rows)), list(gone))), tuple(gone.values())


def save(directory: Path, config: Any, model: keras.Model, preprocess: Any, facts: Facts, report: Report) -> Run:
    """Writes a run to `directory`, its report last, so that a directory with a report is a whole run."""
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / CONFIG, configs.dump(config))
    model.save(directory / MODEL)
    preprocess.save(directory / PREPROCESS)
    tasks = {name: {"kind": task.kind, **configs.plain(task)} for name, task in facts.tasks.items()}
    plain = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)} | {"tasks": tasks}
    write_text(directory / FACTS, json.dumps(plain, indent=2))
    report.save(directory / REPORT)
    (directory / UNFINISHED).unlink(missing_ok=True)
    run = Run(directory, facts, report)
    run.__dict__["model"] = model  # no need to read it back
    run.__dict__["preprocess"] = preprocess
    return run


def load(directory: str | Path) -> Run:
    """The run in `directory`. Raises `UserError` where there is none, or only an unfinished one."""
    folder = Path(directory)
    if not (folder / REPORT).is_file():
        if folder.exists() and not (folder / CONFIG).is_file():
            raise UserError(f"{directory}: not the directory of a run; name one, which `tfl train … --out DIR` makes")
        state = "an unfinished run (no report.json)" if (folder / CONFIG).is_file() else "not the directory of a run"
        raise UserError(f"{directory}: {state}; `tfl train … --out {directory}` makes one")
    missing = [name for name in (FACTS, MODEL, PREPROCESS) if not (folder / name).exists()]
    if missing:
        raise UserError(
            f"{directory}: not a whole run: {' and '.join(missing)} is missing; restore it, or train again: "
            f"`tfl train {folder / CONFIG} --out …`"
        )
    try:
        plain = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tasks = {name: _task(dict(fields)) for name, fields in plain.pop("tasks").items()}
        facts = Facts(**plain, tasks=tasks)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder / FACTS}: not what a run leaves there ({error!r}); train again") from error
    return Run(folder, facts, Report.load(folder / REPORT))


def _task(fields: dict[str, Any]) -> Task:
    kind = TASKS[fields.pop("kind")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
