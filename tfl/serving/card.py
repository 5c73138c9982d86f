"""What is written beside a model for people and for TensorFlow Serving: the model card, the bundle's README, two configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfl.report import Report

BATCHING = """\
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 100 }
"""

README = """\
# Models for TensorFlow Serving

Every folder of a number is a version: a SavedModel, with a model card and the certificate that it predicts what was evaluated.

    docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models" tensorflow/serving \\
        --model_config_file=/models/models.config --enable_batching --batching_parameters_file=/models/batching.config

    curl -d '{{"instances": [{instance}]}}' http://localhost:8501/v1/models/{model}:predict

The signatures of each version: `serving_default` (raw input to classes), `predict_tensors` (the same from preprocessed tensors)
and `features` (raw input to the vector that the head sees). `tfl verify .` repeats the comparison with the evaluation.

Models: {models}
"""


def models_config(models: Sequence[str]) -> str:
    """TensorFlow Serving's `--model_config_file`, where the bundle is its folder /models."""
    entries = "".join(
        f'  config {{ name: "{name}" base_path: "/models/{name}" model_platform: "tensorflow" }}\n' for name in models
    )
    return f"model_config_list {{\n{entries}}}\n"


def of_bundle(models: Sequence[str]) -> str:
    """The README of a bundle."""
    instance = '{"b64": "…the bytes of an image in base64…"}, or "a text"'
    return README.format(model=models[0], models=", ".join(models), instance=instance)


def of_model(report: Report, facts: Any, name: str, temperature: float | None = None) -> str:
    """The model card (Mitchell et al. 2019, arXiv:1810.03993): what a user of the model has to know.

    `temperature`: by which its logits are divided.
    """
    config, ((task_name, task),) = report.config, facts.tasks.items()
    lines = [f"# {name}", ""]
    inputs = "pairs of texts" if facts.pairs else {"image": "images", "text": "texts"}[facts.modality]
    gives = f"one of {len(task.class_names)} classes" if task.kind == "classification" else task.kind
    lines += [f"Takes {inputs}, gives {gives}. Trained by tfl: {config['method']} of {report.backbone['name']}.", ""]
    if task.class_names:
        lines += [f"Classes: {', '.join(task.class_names)}.", ""]
    lines += _data(report)
    lines += ["", "## What trained", "", "| phase | trained | epochs | parameters trained | frozen |", "|---|---|---|---|---|"]
    for number, phase in enumerate(report.phases, 1):
        declared = phase.trainable
        what = declared if isinstance(declared, str) else " ".join(f"{key} {value}" for key, value in declared.items())
        row = [number, what, len(phase.epochs), f"{phase.trainable_parameters:,}", f"{phase.frozen_parameters:,}"]
        lines.append(f"| {' | '.join(map(str, row))} |")
    if temperature is not None:
        lines += ["", f"Its logits are divided by {temperature:.4f} (temperature scaling, Guo et al. 2017, arXiv:1706.04599)."]
        lines += ["The classes stay; the log-loss and the calibration error below are those without it."]
    lines += ["", "## Test results", "", "With 95 % intervals, by bootstrap over the test examples.", ""]
    lines += ["| metric | value | from | to |", "|---|---|---|---|"]
    for metric, value in report.metrics[task_name]["test"].items():
        if isinstance(value, dict) and value.get("value") is not None and {"low", "high"} <= value.keys():
            lines.append(f"| {metric} | {value['value']:.4f} | {value['low']:.4f} | {value['high']:.4f} |")
    lines += [
        "",
        "## Use and limits",
        "",
        f"For {inputs} like those it was tested on; others (sources, devices, times) have to be evaluated first, by",
        "`tfl evaluate`. It answers with a class for any input, also where none fits. What the backbone learned before, its",
        "bias included, is in it. The intervals say how well the result on data like the test split is known.",
        "",
    ]
    return "\n".join(lines)


def _data(report: Report) -> list[str]:
    """What the run was trained and tested on, and what is wrong with it."""
    config, data = report.config["data"], report.data
    lines = ["## Data", "", f"Source: {config['source']}, fingerprint {data['fingerprint']}.", ""]
    lines += ["| split | examples | classes |", "|---|---|---|"]
    for split, size in data["sizes"].items():
        counts = data["class_counts"].get(split) or {}
        shown = ", ".join(f"{label} {count}" for label, count in list(counts.items())[:20])
        lines.append(f"| {split} | {size} | {shown} |")
    if pairs := data.get("duplicates"):
        tested = sum(pair[3] == "test" for pair in pairs)
        where = f", {tested} of them in the test split." if tested else "."
        lines += ["", f"{len(pairs)} examples stand in two splits{where}"]
    if parted := data.get("parted_groups"):
        lines += ["", f"{len({group for group, *_ in parted})} groups stand in two splits."]
    if pairs := data.get("contradictions"):
        lines += ["", f"{len(pairs)} examples have another's content and a different label."]
    if left_out := data.get("left_out"):
        lines += ["", f"Left out: {', '.join(f'{count} {suffix}' for suffix, count in left_out.items())}."]
    return lines
