"""What a method leaves: a directory, and its face in Python."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tfl import config as configs
from tfl import evaluate, predict
from tfl.config import UserError
from tfl.data.config import Resize
from tfl.data.examples import Modality
from tfl.lazy import keras, pd, tf
from tfl.predict import Forward
from tfl.report import Report
from tfl.tasks import TASKS, Task

CONFIG, REPORT, MODEL, PREDICTIONS = "config.yaml", "report.json", "model.keras", "predictions.csv"
FACTS, PREPROCESS = "run.json", "preprocess"


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
    """A finished run. It predicts, evaluates and exports; `tfl.load` opens it again from its directory.

    The directory holds `config.yaml` (resolved: it reproduces the run), `model.keras`, `preprocess/`, `run.json`,
    `predictions.csv` (the test split), `report.json` and `logs/` (TensorBoard).
    """

    def __init__(self, directory: Path, facts: Facts, report: Report) -> None:
        self.directory, self.facts, self.report = directory, facts, report

    @cached_property
    def model(self) -> keras.Model:
        """The trained model, a plain `keras.Model` from preprocessed inputs to `{task: logits}`."""
        from tfl import backbones

        backbones.register_layers()
        return keras.models.load_model(self.directory / MODEL, compile=False)

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
        """Predictions for images (paths, or an array `[N, H, W, 3] uint8`) or texts (strings, or pairs of them).

        One row an input, in order: `id`, `predicted`, `probability`, `p_<class>`; an input that cannot be read has its
        reason in `error` and no prediction.
        """
        rows, bad = predict.examples(inputs, self.facts.modality)
        name, task = self._task()
        result = predict.table(task, self._predictions(rows)[name], rows.ids)
        if not bad:
            return result
        errors = pd.DataFrame({"id": [path for path, _ in bad], "error": [reason for _, reason in bad]})
        order = {str(path): place for place, path in enumerate(inputs)}
        together = pd.concat([result, errors], ignore_index=True)
        return together.sort_values("id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)

    def evaluate(self, source: Any = None, **fields: Any) -> dict[str, Any]:
        """The test results again, or those on another labelled `source`: a path, a mapping or a data frame.

        A source with a test split is evaluated on that, any other on all of it. Raises `UserError` where it holds a
        class that the model does not know.
        """
        from tfl import data

        if source is None:
            return self.metrics
        rows = data.labelled(source, self._data_fields(source) | fields, self._task()[1].class_names)
        return self._measure(rows)

    def export(self, folder: str | Path) -> Path:
        """Writes a SavedModel with the preprocessing inside; see `tfl.export.export`. Returns its folder."""
        from tfl.export import export

        facts = self.facts
        return export(
            Path(folder),
            self.model,
            facts.tasks,
            self.preprocess,
            modality=facts.modality,
            pairs=facts.pairs,
            resize=facts.resize,
        )

    def _task(self) -> tuple[str, Task]:
        return next(iter(self.facts.tasks.items()))

    def _data_fields(self, source: Any) -> dict[str, Any]:
        """The column names that the run's own table had, for another table."""
        own = self.report.config["data"]
        names = ("text", "text_pair", "image", "label", "label_separator", "kind")
        is_table = own["source"] in ("table", "memory") and not isinstance(source, Mapping)
        return {name: own[name] for name in names if is_table and own.get(name) is not None}

    @cached_property
    def _forward(self) -> Forward:
        return Forward(self.model, tf.distribute.get_strategy())

    def _predictions(self, rows: Any) -> dict[str, Any]:
        from tfl.data.pipeline import prepare

        facts = self.facts
        batches = prepare(rows, self.preprocess, modality=facts.modality, batch_size=facts.batch_size, resize=facts.resize)
        logits = self._forward(batches)
        return {name: keras.ops.convert_to_numpy(task.predictions(logits[name])) for name, task in facts.tasks.items()}

    def _measure(self, rows: Any) -> dict[str, Any]:
        name, task = self._task()
        return evaluate.evaluate(task.kind, rows.labels, self._predictions(rows)[name], task.class_names)


def save(directory: Path, config: Any, model: keras.Model, preprocess: Any, facts: Facts, report: Report) -> Run:
    """Writes a run to `directory`, its report last, so that a directory with a report is a whole run."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONFIG).write_text(configs.dump(config), encoding="utf-8")
    model.save(directory / MODEL)
    preprocess.save(directory / PREPROCESS)
    tasks = {name: {"kind": task.kind, **configs.plain(task)} for name, task in facts.tasks.items()}
    plain = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)} | {"tasks": tasks}
    (directory / FACTS).write_text(json.dumps(plain, indent=2), encoding="utf-8")
    report.save(directory / REPORT)
    run = Run(directory, facts, report)
    run.__dict__["model"] = model  # no need to read it back
    run.__dict__["preprocess"] = preprocess
    return run


def load(directory: str | Path) -> Run:
    """The run in `directory`. Raises `UserError` where there is none, or only an unfinished one."""
    folder = Path(directory)
    if not (folder / REPORT).is_file():
        state = "an unfinished run (no report.json)" if (folder / CONFIG).is_file() else "not the directory of a run"
        raise UserError(f"{directory}: {state}; `tfl train … --out {directory}` makes one")
    plain = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    tasks = {name: _task(dict(fields)) for name, fields in plain.pop("tasks").items()}
    return Run(folder, Facts(**plain, tasks=tasks), Report.load(folder / REPORT))


def _task(fields: dict[str, Any]) -> Task:
    kind = TASKS[fields.pop("kind")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
