"""A script, for a process of its own that knows NumPy and one runtime: what a model file says to preprocessed tensors.

    python -P tensor_witness.py FORMAT MODEL BATCHES ANSWERS

`BATCHES` is a folder of .npz files, each the inputs of a batch by their names. `ANSWERS`, an .npz, gets the outputs by
their names, in the order of the files' names.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""From inputs to outputs, by name."""


def litert(model: str) -> Run:
    """By LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=model).get_signature_runner()
    return lambda tensors: runner(**tensors)


def onnx(model: str) -> Run:
    """By ONNX Runtime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda tensors: dict(zip(names, session.run(names, dict(tensors)), strict=True))


def openvino(model: str) -> Run:
    """By OpenVINO, on the CPU, in float32."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report to Google Analytics
    import openvino

    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        found = compiled(dict(tensors))
        return {port.get_any_name(): found[port] for port in compiled.outputs}

    return run


RUNTIMES: dict[str, Callable[[str], Run]] = {"litert": litert, "onnx": onnx, "openvino": openvino}


def main(name: str, model: str, batches: str, answers: str) -> None:
    """Asks the model and writes what it says."""
    run = RUNTIMES[name](model)
    found: dict[str, list[Any]] = {}
    for file in sorted(os.listdir(batches)):
        with np.load(os.path.join(batches, file)) as tensors:
            for output, values in run(dict(tensors)).items():
                found.setdefault(output, []).append(np.array(values))
    np.savez(answers, allow_pickle=False, **{output: np.concatenate(parts) for output, parts in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
