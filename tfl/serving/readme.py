"""The README of a model file: what it takes and gives, and the preprocessing in words, for a client that has no tfl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfl.lazy import tf
from tfl.serving.targets import TARGETS, output

if TYPE_CHECKING:
    from tfl.run import Run

RESIZES = {
    "crop": "Scale both sides by the same factor until the image covers {size}, and cut out the middle.",
    "squash": "Scale to {size}, each side by its own factor.",
    "pad": "Scale both sides by the same factor until the image fits into {size}, put it in the middle, and fill with black.",
}
MODES = {
    "caffe": "Reverse the channels to BGR, and subtract 103.939, 116.779 and 123.68 from them.",
    "tf": "Divide by 127.5 and subtract 1.",
    "torch": "Divide by 255; from the channels R, G, B subtract 0.485, 0.456, 0.406; divide by 0.229, 0.224, 0.225.",
    "unit": "Divide by 255.",
    "none": "Leave the values as they are.",
}
QUANTIZED = {
    "dynamic": "Its weights are in 8 bits, its activations are not.",
    "int8": "Its weights and activations are in 8 bits, where LiteRT has that; what it takes and gives is float32.",
}
SAMPLE = "Sales rose again this year."


def readme(run: Run, name: str, format: str, quantize: str | None) -> str:
    """The text of the README."""
    target, model, (task,) = TARGETS[format], run.model, run.facts.tasks.values()
    names = sorted(model.input)
    lines = [f"# {name}", "", f"A model for {target.title}, `{target.file}`. {QUANTIZED.get(quantize or '', '')}".strip(), ""]
    if format == "openvino":
        lines += ["`model.bin`, beside it, has its weights.", ""]
    lines += ["| | name | shape | dtype |", "|---|---|---|---|"]
    for key in names:
        shape = ["N", *("L" if size is None else str(size) for size in model.input[key].shape[1:])]
        lines.append(f"| takes | `{key}` | [{', '.join(shape)}] | {model.input[key].dtype} |")
    gives = "[N]" if task.kind == "regression" else f"[N, {len(task.class_names)}]"
    lines += [f"| gives | `{output(task)}` | {gives} | float32 |", "", f"{_meaning(task)} N is any number of examples.", ""]
    mapping = ", ".join(f'"{key}": {key}' for key in names)
    keywords = ", ".join(f"{key}={key}" for key in names)
    usage = target.usage.format(output=output(task), keywords=keywords, mapping=f"{{{mapping}}}")
    lines += ["```python", usage, "```", ""]
    lines += ["## Preprocessing", "", *(_text(run) if run.facts.modality == "text" else _image(run)), ""]
    lines += [
        "`certificate.json` says how near the answers are to those that the model was evaluated with; `tfl verify .` compares",
        "again. `model_card.md` says what the model was trained on and how good it is.",
        "",
    ]
    return "\n".join(lines)


def _meaning(task: Any) -> str:
    if task.kind == "regression":
        return "`value` is in the units of the labels."
    many = ", each by itself" if task.kind == "multilabel" else ", and sum to 1"
    return f"`probabilities` are those of the classes in `class_names.txt`, in that order{many}."


def _image(run: Run) -> list[str]:
    """From the bytes of an image to the tensor."""
    preprocess = run.preprocess
    size = "{} × {} pixels (height × width)".format(*preprocess.size)
    return [
        "1. Decode to RGB, 8 bits a channel: grey becomes RGB, an alpha channel is dropped. Turn a JPEG upright by the",
        "   orientation that its EXIF notes.",
        f"2. {RESIZES[run.facts.resize].format(size=size)}",
        "   Bilinear, pixel centres at halves, with antialiasing where it shrinks (the triangle filter as wide as the factor,",
        "   as Pillow's `BILINEAR` has it), in float32, without rounding; values are kept to 0 to 255.",
        f"3. {MODES[preprocess.mode]} The result is float32, channels last.",
    ]


def _text(run: Run) -> list[str]:
    """From texts to token ids and masks, with an example to check a tokeniser by."""
    preprocess = run.preprocess
    tokenizer = preprocess.layer.tokenizer
    traits = [f"{trait} {getattr(tokenizer, trait)}" for trait in ("lowercase", "strip_accents") if hasattr(tokenizer, trait)]
    told = f" ({', '.join(traits)})" if traits else ""
    given = [tf.constant([SAMPLE])] * (2 if run.facts.pairs else 1)
    sample = preprocess(*given)
    what = "both times the text" if run.facts.pairs else "the text"
    pads = ", ".join(f"`{name}` {value}" for name, value in preprocess.pad_values.items())
    one = "two texts" if run.facts.pairs else "a text"
    return [
        f"1. Split into tokens as KerasHub's `{type(tokenizer).__name__}`{told} does, by the files in `preprocess/vocabulary`.",
        f"2. Pack as its `{type(preprocess.layer).__name__}` does: {one} with the special tokens, cut to",
        f"   {preprocess.sequence_length} tokens, those included.",
        f"3. Pad behind the end to the longest of the batch, L, with {pads}.",
        "",
        f"For {what} “{SAMPLE}” that gives",
        "",
        *(f"    {name}: {sample[name].numpy()[0].tolist()}" for name in sorted(sample)),
    ]
