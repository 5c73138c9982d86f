"""A server in a process of its own, asked as TensorFlow Serving's REST API is, by a client of the standard library."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.client import Client, encoded, serving
from tfl.cli import main
from tfl.serving import bundle

pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def client(both: Path) -> Iterator[Client]:
    with serving(both) as client:
        yield client


@pytest.fixture(scope="module")
def files(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))[::4]


def test_status_and_metadata(client: Client) -> None:
    expected = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert client.ask("/v1/models/photos") == (200, {"model_version_status": [expected]})
    assert client.ask("/v1/models/photos/versions/1") == (200, {"model_version_status": [expected]})
    status, told = client.ask("/v1/models/calls/metadata")
    assert status == 200
    assert told["model_spec"] == {"name": "calls", "signature_name": "", "version": "1"}
    signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["text"]["dtype"] == "DT_STRING"
    assert signature["inputs"]["text"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


def test_images_row_by_row_and_as_columns(client: Client, image_run: Any, files: list[Path]) -> None:
    table = image_run.predict(list(map(str, files)))
    for instances in (encoded(files), [{"images": one} for one in encoded(files)]):
        status, answer = client.ask("/v1/models/photos:predict", {"instances": instances})
        assert status == 200
        assert [row["class"] for row in answer["predictions"]] == table["predicted"].tolist()
    rows = [row["probabilities"] for row in answer["predictions"]]
    np.testing.assert_allclose(rows, table[["p_bright", "p_dark"]], atol=1e-5)
    for inputs in (encoded(files), {"images": encoded(files)}):
        status, answer = client.ask("/v1/models/photos/versions/1:predict", {"inputs": inputs})
        assert status == 200
        assert answer["outputs"]["class"] == table["predicted"].tolist()
    body = {"signature_name": "features", "instances": encoded(files[:2])}
    status, answer = client.ask("/v1/models/photos:predict", body)
    assert np.shape(answer["predictions"]) == (2, 256)  # a single output goes without its name


def test_texts_and_tensors(client: Client, text_run: Any) -> None:
    texts = ["sales rose this year", "costs fell", "we saw that"]
    table = text_run.predict(texts)
    status, answer = client.ask("/v1/models/calls:predict", {"instances": texts})
    assert status == 200
    np.testing.assert_allclose([row["probabilities"] for row in answer["predictions"]], table[["p_down", "p_up"]], atol=1e-5)
    tensors = {name: value.numpy().tolist() for name, value in text_run.preprocess(np.array(texts)).items()}
    status, same = client.ask("/v1/models/calls:predict", {"signature_name": "predict_tensors", "inputs": tensors})
    assert status == 200, same
    np.testing.assert_allclose(same["outputs"]["probabilities"], table[["p_down", "p_up"]], atol=1e-5)


WRONG = [
    ("/v1/models/nothing:predict", {"instances": ["a"]}, 404, "Servable not found for request: Latest(nothing)"),
    ("/v1/models/calls/versions/7:predict", {"instances": ["a"]}, 404, "Specific(calls, 7)"),
    ("/v1/models/calls/versions/x:predict", {"instances": ["a"]}, 404, "Malformed request"),
    ("/v1/models/calls:classify", {"examples": []}, 404, "Malformed request"),
    ("/v2/models", {}, 404, "Malformed request"),
    ("/v1/models/calls:predict", b"{", 400, "JSON Parse error"),
    ("/v1/models/calls:predict", b"[" * 100_000, 400, "JSON Parse error"),
    ("/v1/models/calls:predict", [], 400, "JSON object"),
    ("/v1/models/calls:predict", {}, 400, "Missing 'inputs' or 'instances'"),
    ("/v1/models/calls:predict", {"instances": []}, 400, "not empty"),
    ("/v1/models/calls:predict", {"instances": [1]}, 400, "a string"),
    ("/v1/models/calls:predict", {"instances": [{"txt": "a"}]}, 400, "does not have the inputs text"),
    ("/v1/models/calls:predict", {"inputs": {"text": "a"}}, 400, "a list is expected"),
    ("/v1/models/calls:predict", {"instances": ["a"], "signature_name": "x"}, 400, 'Serving signature name: "x" not found'),
    ("/v1/models/calls:predict", {"instances": ["a"] * 257}, 413, "at most 256"),
    ("/v1/models/photos:predict", {"instances": [{"b64": "%%"}]}, 400, "no base64"),
    ("/v1/models/photos:predict", {"instances": ["no image"]}, 400, ""),
    ("/v1/models/photos:predict", {"instances": [""]}, 400, ""),
    (
        "/v1/models/photos:predict",
        {"instances": [[[0.5]]], "signature_name": "predict_tensors"},
        400,
        "does not fit",
    ),
    (
        "/v1/models/calls:predict",
        {
            "inputs": {name: [[1] * 1000] * 2 for name in ("padding_mask", "segment_ids", "token_ids")},
            "signature_name": "predict_tensors",
        },
        413,
        "at most 24 values in a row",
    ),
    ("/v1/models/calls/labels/stable:predict", {"instances": ["a"]}, 404, "Malformed request"),
]


@pytest.mark.parametrize(("path", "body", "status", "reason"), WRONG)
def test_mistakes(client: Client, path: str, body: Any, status: int, reason: str) -> None:
    found, answer = client.ask(path, body)
    assert found == status
    assert reason in answer["error"]


def test_clients_share_batches_and_a_bad_one_harms_nobody(client: Client, image_run: Any, files: list[Path]) -> None:
    table, answers = image_run.predict(list(map(str, files))), {}

    def ask(place: int) -> None:
        one = encoded([files[place]]) if place >= 0 else [{"b64": "AAAA"}]
        answers[place] = client.ask("/v1/models/photos:predict", {"instances": one})

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(-1, len(files))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[-1][0] == 400
    for place, row in table.iterrows():
        status, answer = answers[place]
        assert status == 200
        np.testing.assert_allclose(
            answer["predictions"][0]["probabilities"], row[["p_bright", "p_dark"]].astype(float), atol=1e-5
        )
    metrics = client.ask("/metrics")[1]
    assert 'tfl_requests_total{code="200",model="photos"}' in metrics
    rows, batches = (
        float(line.split()[1])
        for key in ("sum", "count")
        for line in metrics.splitlines()
        if line.startswith(f"tfl_batch_rows_{key}")
    )
    assert rows > batches


def test_health_and_the_page(client: Client) -> None:
    assert client.ask("/healthz")[0] == client.ask("/readyz")[0] == 200
    status, page = client.ask("/")
    assert status == 200
    assert '"photos": ["images"]' in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_new_version_is_taken_up_without_a_failed_request(both: Path, tmp_path: Path, files: list[Path]) -> None:
    folder, seen, stop = tmp_path / "export", [], threading.Event()
    shutil.copytree(both, folder)
    with serving(folder) as client:

        def ask() -> None:
            while not stop.is_set():
                seen.append(client.ask("/v1/models/photos:predict", {"instances": encoded(files[:1])})[0])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        draft = tmp_path / "draft"
        shutil.copytree(folder / "photos" / "1", draft)
        draft.rename(folder / "photos" / "2")
        end = time.monotonic() + 60
        while client.ask("/v1/models/photos")[1]["model_version_status"][0]["version"] != "2" and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        assert client.ask("/v1/models/photos/versions/2")[0] == 200
        assert client.ask("/v1/models/photos/versions/1")[0] == 404
        assert set(seen) == {200}
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(30) == 0


def test_images_need_no_tensorflow_text(image_export: Path) -> None:
    with serving(image_export) as client:
        assert client.ask("/readyz")[0] == 200
        loaded = Path(f"/proc/{client.process.pid}/maps").read_text()
    assert "tensorflow" in loaded
    assert "tensorflow_text" not in loaded


def test_a_token(text_export: Path) -> None:
    with serving(text_export, TFL_SERVE_TOKEN="secret") as client:
        body = {"instances": ["sales rose"]}
        assert client.ask("/v1/models/calls:predict", body)[0] == 401
        assert client.ask("/v1/models/calls:predict", body, Authorization="Bearer wrong")[0] == 401
        assert client.ask("/v1/models/calls:predict", body, Authorization="Bearer secret")[0] == 200
        assert client.ask("/healthz")[0] == 200


@pytest.mark.parametrize("token", ["geheim-ü", "two words", "line\n", "\u6f22"])
def test_a_token_that_no_client_can_send_is_refused(
    token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFL_SERVE_TOKEN", token)
    assert main(["serve", str(tmp_path), "--port", "0"]) == 2
    told = capsys.readouterr().err
    assert "TFL_SERVE_TOKEN: its character" in told
    assert token.strip() not in told


def test_the_official_stubs(both: Path, text_run: Any, image_run: Any, files: list[Path]) -> None:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

    with serving(both, "--grpc-port", "0") as client:
        assert client.process.stdout is not None
        address = next(line for line in client.process.stdout if line.startswith("grpc: ")).split()[1]
        stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))

        def predict(model: str, **inputs: Any) -> Any:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            return stub.Predict(request, timeout=60)

        response = predict("photos", images=[file.read_bytes() for file in files])
        table = image_run.predict(list(map(str, files)))
        found = tf.make_ndarray(response.outputs["probabilities"])
        np.testing.assert_allclose(found, table[["p_bright", "p_dark"]], atol=1e-5)
        assert response.model_spec.version.value == 1
        found = tf.make_ndarray(predict("calls", text=["sales rose", "costs fell"]).outputs["class"])
        assert [name.decode() for name in found] == text_run.predict(["sales rose", "costs fell"])["predicted"].tolist()
        for model, inputs, code in (
            ("nothing", {"text": ["a"]}, grpc.StatusCode.NOT_FOUND),
            ("calls", {"txt": ["a"]}, grpc.StatusCode.INVALID_ARGUMENT),
            ("calls", {"text": [1.0]}, grpc.StatusCode.INVALID_ARGUMENT),
            ("photos", {"images": [b"no image"]}, grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                predict(model, **inputs)
            assert caught.value.code() == code
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "calls"
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert stub.GetModelMetadata(request, timeout=60).metadata["signature_def"].Unpack(signatures)
        assert set(signatures.signature_def) == {"serving_default", "predict_tensors", "features"}


def test_what_cannot_be_served(photos: Path, text_export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(photos)]) == 2
    assert "not an export" in capsys.readouterr().err
    assert main(["serve", str(text_export), "--batch", "0"]) == 2
    assert "--batch is at least 1" in capsys.readouterr().err
    for option in ("--port", "--grpc-port"):
        for port in ("99999", "-1"):
            assert main(["serve", str(text_export), option, port]) == 2
            assert "--port and --grpc-port from 0 to 65535" in capsys.readouterr().err
    assert bundle.versions(text_export)
