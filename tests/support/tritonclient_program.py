"""What a user of tritonclient sees of a gateway.

pytest runs it in a process of its own, because tritonclient's stubs and ours declare the same
symbols. GATEWAY_CLIENT names the client (`grpc` or `grpc.aio`), GATEWAY_ADDRESS is the address of
the gateway, GATEWAY_MODELS the folder of its models. No code of the gateway is imported here.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.support.ort_reference import OrtReference
from tests.support.tensor_bytes import DTYPES, difference

CLIENT = os.environ["GATEWAY_CLIENT"]
ADDRESS = os.environ["GATEWAY_ADDRESS"]
MODELS = Path(os.environ["GATEWAY_MODELS"])
LIBRARY = importlib.import_module(f"tritonclient.{CLIENT}")


class Synchronous:
    """The aio client, each call driven to its end, so that one test covers both clients."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = self.drive(self._make())

    async def _make(self):
        return LIBRARY.InferenceServerClient(ADDRESS)

    def drive(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def __getattr__(self, name: str) -> Callable:
        return lambda *arguments, **named: self.drive(
            getattr(self.client, name)(*arguments, **named)
        )

    def close(self) -> None:
        self.drive(self.client.close())
        self.loop.close()


@pytest.fixture(scope="module")
def client() -> Iterator:
    made = Synchronous() if CLIENT == "grpc.aio" else LIBRARY.InferenceServerClient(ADDRESS)
    yield made
    made.close()


def inputs(**arrays: np.ndarray) -> list:
    """The arrays as tritonclient's InferInput objects."""
    return [
        triton.InferInput(
            name, list(array.shape), np_to_triton_dtype(array.dtype)
        ).set_data_from_numpy(array)
        for name, array in arrays.items()
    ]


def row(*values: float) -> np.ndarray:
    """An array of one row of FP32."""
    return np.array([values], "f4")


def refusal(call: Callable, *arguments, **named) -> tuple[str, str]:
    """The status, without its class, and the text of the call's error."""
    with pytest.raises(InferenceServerException) as raised:
        call(*arguments, **named)
    return raised.value.status().removeprefix("StatusCode."), raised.value.message()


def counts(client, model: str, version: str) -> dict[str, int]:
    """Some numbers of a version's statistics."""
    (one,) = client.get_inference_statistics(model, version, as_json=True)["model_stats"]
    stats = one["inference_stats"]
    return {
        "rows": int(one.get("inference_count", 0)),
        "batches": int(one.get("execution_count", 0)),
        **{
            name: int(stats[name].get("count", 0))
            for name in ("success", "fail", "queue", "compute_infer")
        },
        **{
            f"{name}_ns": int(stats[name].get("ns", 0))
            for name in ("success", "queue", "compute_infer")
        },
    }


def stream(client, requests: list[dict], *, server_ends: bool = False, **options) -> list:
    """The answers of a stream in their order: results, and errors as `(status or None, text)`.

    With `server_ends` the aio client does not end the stream: its core takes a write to a stream
    that is over for an INTERNAL error.
    """
    found = []
    if isinstance(client, Synchronous):

        async def answers() -> None:
            async def ask():
                for each in requests:
                    yield each
                if server_ends:
                    await asyncio.Event().wait()

            async for result, error in client.client.stream_infer(ask(), **options):
                found.append(result if error is None else (error.status(), error.message()))

        try:
            client.drive(answers())
        except grpc.RpcError as error:
            found.append((str(error.code()), error.details()))
        return found
    got: queue.SimpleQueue = queue.SimpleQueue()
    client.start_stream(lambda result, error: got.put((result, error)), **options)
    for each in requests:
        client.async_stream_infer(**each)
    client.stop_stream()
    while not got.empty():
        result, error = got.get()
        found.append(result if error is None else (error.status(), error.message()))
    return found


# What the server and its models are


def test_the_server_is_live_and_ready_and_says_what_it_is(client):
    assert client.is_server_live()
    assert client.is_server_ready(headers={"x-anything": "1"}, client_timeout=5)
    metadata = client.get_server_metadata(as_json=True)
    assert metadata["name"] == "onnx-gateway"
    assert {
        "statistics",
        "classification",
        "model_configuration",
        "model_repository",
        "binary_tensor_data",
    } <= set(metadata["extensions"])
    assert not {"system_shared_memory", "cuda_shared_memory", "sequence"} & set(
        metadata["extensions"]
    )


def test_models_are_ready_by_name_and_version(client):
    ready = {
        name: client.is_model_ready(*name.split("/"))
        for name in ("digits", "digits/1", "digits/2", "digits/3", "nobody")
    }
    assert ready == {
        "digits": True,
        "digits/1": True,
        "digits/2": True,
        "digits/3": False,
        "nobody": False,
    }


def test_metadata_has_the_batch_axis_and_config_has_not(client):
    metadata = client.get_model_metadata("digits", as_json=True)
    config = client.get_model_config("digits", as_json=True)["config"]
    assert (metadata["versions"], metadata["platform"]) == (["1", "2"], "onnxruntime_onnx")
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": ["-1", "8", "8"]}]
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": ["8", "8"]}]
    assert (config["max_batch_size"], config["platform"], config["backend"]) == (
        64,
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert config["dynamic_batching"] == {}
    assert client.get_model_config("digits", "1").config.output[0].label_filename == "labels.txt"


def test_a_configuration_from_a_config_pbtxt_comes_back(client):
    config = client.get_model_config("limited").config
    assert (
        config.max_batch_size,
        config.dynamic_batching.priority_levels,
        config.dynamic_batching.default_priority_level,
    ) == (4, 3, 2)
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 500


def test_a_model_nobody_knows_is_not_found(client):
    for call in (client.get_model_metadata, client.get_model_config):
        assert refusal(call, "nobody") == (
            "NOT_FOUND",
            "Request for unknown model: 'nobody' is not found",
        )
    assert refusal(client.infer, "nobody", inputs(x=row(1))) == (
        "NOT_FOUND",
        "Request for unknown model: 'nobody' is not found",
    )
    assert refusal(client.get_inference_statistics, "nobody")[0] == "INVALID_ARGUMENT"


def test_the_repository_is_listed(client):
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {("digits", "1", "READY"), ("digits", "2", "READY"), ("penguins", "1", "READY")} <= {
        (each["name"], each["version"], each["state"]) for each in index
    }


# Tensors


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (0, 3), (65, 1)])
@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_is_answered_as_onnx_runtime_does(client, datatype, shape):
    model = f"same_{datatype}"
    if datatype == "BYTES":
        array = np.array(
            [f"{i} \0 grün" if i % 3 else "" for i in range(np.prod(shape))], object
        ).reshape(shape)
    else:
        array = (
            np.random.default_rng(1)
            .integers(0, 2 if datatype == "BOOL" else 120, shape)
            .astype(DTYPES[datatype])
        )
    want = OrtReference(str(MODELS / model / "1" / "model.onnx")).run({"x": array})["y"]
    given = (
        np.array([text.encode() for text in array.ravel()], object).reshape(shape)
        if datatype == "BYTES"
        else array
    )
    result = client.infer(model, inputs(x=given))
    assert result.get_output("y").datatype == datatype
    assert not difference(result.as_numpy("y"), want)


def test_numbers_that_are_none_are_answered_as_they_are(client):
    array = np.array([[np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45]], "f4")
    assert not difference(client.infer("same_FP32", inputs(x=array)).as_numpy("y"), array)


def test_rank_0_stays_rank_0(client):
    result = client.infer("scalar", inputs(x=np.array(2.5, "f4")))
    assert list(result.get_output("y").shape) == []
    assert result.as_numpy("y") == np.float32(-2.5)


def test_the_shape_of_an_output_may_come_from_the_data(client):
    for hits in (0, 1, 5):
        array = np.concatenate([np.ones(hits), np.zeros(3)]).astype("f4")
        assert client.infer("hits", inputs(x=array)).as_numpy("y").tolist() == [list(range(hits))]


def test_shipped_models_are_answered_as_onnx_runtime_does(client):
    for model in ("digits/1", "digits/2", "breast_cancer/1", "penguins/1"):
        name, version = model.split("/")
        reference = OrtReference(str(MODELS / model / "model.onnx"))
        sample = np.load(MODELS / name / "reference.npz")
        for rows in (1, 2, 7):
            feed = {each: sample[each][:rows] for each in reference.inputs}
            want = reference.run(
                {
                    each: array.astype(object) if array.dtype.kind == "U" else array
                    for each, array in feed.items()
                }
            )
            sent = {
                each: np.char.encode(array, "utf-8").astype(object)
                if array.dtype.kind == "U"
                else array
                for each, array in feed.items()
            }
            result = client.infer(name, inputs(**sent), version)
            assert {
                each: difference(result.as_numpy(each), want[each]) for each in want
            } == dict.fromkeys(want, "")


def test_large_tensors_go_both_ways(client):
    array = np.random.default_rng(2).random((1, 5_000_000), np.float32)  # 20 MB
    assert not difference(client.infer("same_FP32", inputs(x=array)).as_numpy("y"), array)


# What a request may ask for


def test_outputs_come_as_requested(client):
    array = np.zeros((2, 8, 8), "f4")
    result = client.infer(
        "digits", inputs(image=array), outputs=[LIBRARY.InferRequestedOutput("digit")]
    )
    assert [each.name for each in result.get_response().outputs] == ["digit"]
    assert result.as_numpy("probabilities") is None
    both = [LIBRARY.InferRequestedOutput("digit"), LIBRARY.InferRequestedOutput("probabilities")]
    response = client.infer("digits", inputs(image=array), outputs=both).get_response()
    assert [each.name for each in response.outputs] == ["digit", "probabilities"]
    nobody = [LIBRARY.InferRequestedOutput("nobody")]
    assert refusal(client.infer, "digits", inputs(image=array), outputs=nobody) == (
        "INVALID_ARGUMENT",
        (
            "[request id: <id_unknown>] unexpected inference output 'nobody' for model 'digits' "
            "(outputs: probabilities, digit)"
        ),
    )  # fmt: skip


def test_classes_come_instead_of_values(client):
    images = np.load(MODELS / "digits" / "reference.npz")["image"][:3]
    probabilities = client.infer("digits", inputs(image=images)).as_numpy("probabilities")
    asked = [LIBRARY.InferRequestedOutput("probabilities", class_count=2)]
    classes = client.infer("digits", inputs(image=images), outputs=asked).as_numpy("probabilities")
    assert classes.shape == (3, 2)
    labels = (MODELS / "digits" / "labels.txt").read_text().split()
    for found, wanted in zip(classes, probabilities, strict=True):
        for text, index in zip(found, np.argsort(-wanted, kind="stable"), strict=False):
            value, place, label = text.decode().split(":")
            assert (float(value), int(place), label) == (
                pytest.approx(float(wanted[index]), abs=1e-6),
                index,
                labels[index],
            )


def test_versions_are_chosen(client):
    answers = {}
    for version in ("1", "2", ""):
        result = client.infer("twofold", inputs(x=row(1, 2, 3, 4)), version)
        answers[version] = (result.get_response().model_version, result.as_numpy("y")[0, 0])
    assert answers == {"1": ("1", 2.0), "2": ("2", 3.0), "": ("2", 3.0)}
    assert refusal(client.infer, "twofold", inputs(x=row(1, 2, 3, 4)), "7") == (
        "NOT_FOUND",
        "Request for unknown model: 'twofold' version 7 is not found (live versions: 2, 1)",
    )
    status, text = refusal(client.infer, "twofold", inputs(x=row(1, 2, 3, 4)), "newest")
    assert status == "INVALID_ARGUMENT"
    assert "version should be an integral value > 0" in text


@pytest.mark.parametrize("request_id", ["", "7", "grün \U0001f600", "x" * 500])
def test_ids_come_back(client, request_id):
    for _ in range(2):
        assert (
            client.infer("same_FP32", inputs(x=row(1)), request_id=request_id).get_response().id
            == request_id
        )


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
def test_requests_may_be_compressed(client, algorithm):
    array = np.zeros((1, 100_000), "f4")
    array[0, 7] = 5
    assert not difference(
        client.infer("same_FP32", inputs(x=array), compression_algorithm=algorithm).as_numpy("y"),
        array,
    )
    (answer,) = stream(
        client,
        [{"model_name": "same_FP32", "inputs": inputs(x=array)}],
        compression_algorithm=algorithm,
    )
    assert not difference(answer.as_numpy("y"), array)


def test_parameters_of_any_type_are_taken(client):
    client.infer(
        "same_FP32",
        inputs(x=row(1)),
        parameters={"team": "risk", "depth": 3, "weight": 0.5, "dry": True},
        headers={"x-trace": "1"},
    )
    client.infer(
        "same_FP32", inputs(x=row(1)), sequence_id=5, sequence_start=True, sequence_end=True
    )
    client.infer("same_FP32", inputs(x=row(1)), sequence_id="five", sequence_start=True)


def test_priorities_are_taken(client):
    for priority in (0, 1, 3):
        assert client.infer("limited", inputs(x=row(1, 2, 3, 4)), priority=priority).as_numpy(
            "y"
        ).tolist() == [[2, 4, 6, 8]]


def test_a_timeout_on_the_server_ends_a_request_that_waits(client):
    """The timeout is a microsecond, which is over before any worker is free."""
    status, text = refusal(
        client.infer, "limited", inputs(x=row(1, 2, 3, 4)), timeout=1, request_id="late"
    )
    assert status == "DEADLINE_EXCEEDED"
    assert text.startswith("Request timeout expired")
    assert client.infer("limited", inputs(x=row(1, 2, 3, 4)), timeout=10_000_000) is not None


def test_a_timeout_that_no_configuration_allows_is_ignored_as_by_triton(client):
    """Seconds where microseconds are meant: what tritony sends."""
    answer = client.infer("passing", inputs(x=row(1, 2, 3, 4)), timeout=1)
    assert answer.as_numpy("y").tolist() == [[2, 4, 6, 8]]


def test_a_timeout_of_the_client_ends_its_wait(client):
    began = time.monotonic()
    status, _ = refusal(
        client.infer, "patient", inputs(x=np.array([[1_500_000]])), client_timeout=0.3
    )
    assert status == "DEADLINE_EXCEEDED"
    assert time.monotonic() - began < 5


# What is wrong with a request


@pytest.mark.parametrize(
    ("model", "arrays", "text"),
    [
        (
            "limited",
            {"z": row(1, 2, 3, 4)},
            "unexpected inference input 'z' for model 'limited' (inputs: x)",
        ),
        ("limited", {}, "expected 1 inputs but got 0 inputs for model 'limited'"),
        (
            "limited",
            {"x": row(1, 2, 3)},
            "unexpected shape for input 'x' for model 'limited'. Expected [-1,4], got [1,3]",
        ),
        (
            "limited",
            {"x": row(1, 2, 3, 4).astype("f8")},
            "inference input 'x' data-type is 'FP64', but model 'limited' expects 'FP32'",
        ),
        (
            "limited",
            {"x": np.zeros((5, 4), "f4")},
            "inference request batch-size must be <= 4 for 'limited'",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_refused_with_tritons_text(client, model, arrays, text):
    status, message = refusal(client.infer, model, inputs(**arrays), request_id="r-1")
    assert status == "INVALID_ARGUMENT"
    assert message.startswith(f"[request id: r-1] {text}")


def test_data_of_the_wrong_size_is_refused(client):
    wrong = inputs(x=row(1, 2, 3, 4))
    wrong[0].set_shape([2, 4])
    status, text = refusal(client.infer, "limited", wrong)
    assert status == "INVALID_ARGUMENT"
    assert "input byte size mismatch for input 'x' for model 'limited'. Expected 32, got 16" in text


def test_an_input_without_data_is_refused(client):
    status, text = refusal(client.infer, "limited", [triton.InferInput("x", [1, 4], "FP32")])
    assert status == "INVALID_ARGUMENT"
    assert "unable to find data for input tensor 'x' for model 'limited' in request." in text


def test_a_model_that_fails_says_so(client):
    status, text = refusal(client.infer, "fragile", inputs(x=np.array([[9]])))
    assert status == "INTERNAL"
    assert "ONNX Runtime failed to run the model" in text
    assert client.infer("fragile", inputs(x=np.array([[1]]))).as_numpy("y").tolist() == [[5.0]]


# Streams


def test_a_stream_answers_in_the_order_of_the_requests(client):
    """The first request takes the longest; each has its own answer and its id."""
    rounds = [50_000, 1, 10_000, 2, 3]
    requests = [
        {"model_name": "patient", "inputs": inputs(x=np.array([[n]])), "request_id": f"r{n}"}
        for n in rounds
    ]
    requests += [
        {
            "model_name": "twofold",
            "inputs": inputs(x=row(n, n, n, n)),
            "model_version": "1",
            "request_id": f"t{n}",
        }
        for n in range(50)
    ]
    answers = stream(client, requests)
    assert [each.get_response().id for each in answers] == [
        *(f"r{n}" for n in rounds),
        *(f"t{n}" for n in range(50)),
    ]
    assert [each.as_numpy("y")[0, 0] for each in answers] == [*rounds, *(2 * n for n in range(50))]


def test_an_error_in_a_stream_is_told_in_it_and_the_stream_goes_on(client):
    good = {"model_name": "twofold", "inputs": inputs(x=row(1, 1, 1, 1))}
    bad = [
        {**good, "model_name": "nobody"},
        {**good, "inputs": inputs(x=row(1, 1)), "request_id": "b"},
        {**good, "model_version": "9"},
    ]
    first, unknown, shape, version, last = stream(client, [good, *bad, good])
    assert first.as_numpy("y").tolist() == last.as_numpy("y").tolist() == [[3, 3, 3, 3]]
    assert unknown == (None, "Request for unknown model: 'nobody' is not found")
    assert shape[1] == (
        "[request id: b] unexpected shape for input 'x' for model "
        "'twofold'. Expected [-1,4], got [1,2]"
    )
    assert version[1] == (
        "Request for unknown model: 'twofold' version 9 is not found (live versions: 2, 1)"
    )


def test_an_error_ends_a_stream_whose_header_asks_for_it(client):
    good = {"model_name": "twofold", "inputs": inputs(x=row(1, 1, 1, 1))}
    bad = {**good, "model_name": "nobody"}
    before, ended = stream(
        client, [good, bad], server_ends=True, headers={"triton_grpc_error": "true"}
    )
    assert before.as_numpy("y").tolist() == [[3, 3, 3, 3]]
    assert ended == ("StatusCode.NOT_FOUND", "Request for unknown model: 'nobody' is not found")


@pytest.mark.skipif(
    CLIENT != "grpc",
    reason="the aio client takes a write to a stream that is over "
    "for an INTERNAL error of its core",
)
def test_requests_behind_the_one_that_ends_a_stream_are_dropped(client):
    bad = {"model_name": "nobody", "inputs": inputs(x=row(1))}
    answers = stream(client, [bad] * 20, headers={"triton_grpc_error": "true"})
    assert answers == [("StatusCode.NOT_FOUND", "Request for unknown model: 'nobody' is not found")]


def test_a_stream_with_a_deadline_ends_with_it(client):
    endless = {"model_name": "patient", "inputs": inputs(x=np.array([[1_500_000]]))}
    named = {"stream_timeout": 0.4}
    answers = stream(client, [endless], **named)
    assert [status for status, _ in answers] == ["StatusCode.DEADLINE_EXCEEDED"]


# The rest


def test_statistics_count_what_was_answered(client):
    before = counts(client, "twofold", "1")
    for rows in (1, 2, 3):
        client.infer("twofold", inputs(x=np.ones((rows, 4), "f4")), "1")
    after = counts(client, "twofold", "1")
    grown = {name: after[name] - before[name] for name in after}
    assert (
        grown["success"],
        grown["queue"],
        grown["compute_infer"],
        grown["rows"],
        grown["batches"],
    ) == (3, 3, 3, 6, 3)
    assert min(grown["success_ns"], grown["queue_ns"], grown["compute_infer_ns"]) > 0
    assert client.get_inference_statistics(as_json=True)["model_stats"]
    assert refusal(client.get_inference_statistics, "twofold", "9")[0] == "INVALID_ARGUMENT"


def test_models_are_unloaded_and_loaded(client):
    client.unload_model("passing")
    assert not client.is_model_ready("passing")
    status, text = refusal(client.infer, "passing", inputs(x=row(1, 2, 3, 4)))
    assert (status, "not at ready state" in text) == ("UNAVAILABLE", True)
    client.load_model("passing")
    assert client.infer("passing", inputs(x=row(1, 2, 3, 4))).as_numpy("y").tolist() == [
        [2, 4, 6, 8]
    ]
    client.unload_model("passing", unload_dependents=True)
    client.load_model("passing")
    assert client.is_model_ready("passing")


def test_a_model_is_loaded_under_another_configuration(client):
    client.load_model("passing", config=json.dumps({"max_batch_size": 2, "backend": "onnxruntime"}))
    assert client.get_model_config("passing").config.max_batch_size == 2
    assert (
        refusal(client.infer, "passing", inputs(x=np.ones((3, 4), "f4")))[0] == "INVALID_ARGUMENT"
    )
    client.load_model("passing")
    assert client.get_model_config("passing").config.max_batch_size == 64


def test_uploads_and_models_that_are_not_there_are_refused(client):
    status, text = refusal(
        client.load_model, "passing", config="{}", files={"file:1/model.onnx": b"onnx"}
    )
    assert status == "UNIMPLEMENTED"
    assert "models come from the repository only" in text
    status, text = refusal(client.load_model, "nobody")
    assert (status, text.startswith("failed to load 'nobody'")) == ("NOT_FOUND", True)


def test_log_settings_change_and_come_back(client):
    before = client.get_log_settings(as_json=True)["settings"]
    level = before["log_verbose_level"]["uint32_param"]
    try:
        changed = client.update_log_settings({"log_verbose_level": level + 1}, as_json=True)[
            "settings"
        ]
        assert (
            changed
            == {**before, "log_verbose_level": {"uint32_param": level + 1}}
            == client.get_log_settings(as_json=True)["settings"]
        )
    finally:
        client.update_log_settings({"log_verbose_level": level})
    assert refusal(client.update_log_settings, {"log_colour": True})[0] == "INVALID_ARGUMENT"


def test_trace_settings_are_answered(client):
    settings = client.get_trace_settings(as_json=True).get("settings", {})
    assert (
        client.get_trace_settings("digits", as_json=True).get("settings", {}).keys()
        == settings.keys()
    )
    assert ("trace" in client.get_server_metadata().extensions) == bool(settings)
    assert (
        refusal(client.update_trace_settings, settings={"rate_of_nothing": "5"})[0]
        == "INVALID_ARGUMENT"
    )


def test_shared_memory_is_refused_in_words_that_say_what_to_do(client):
    refused = [
        refusal(client.get_system_shared_memory_status),
        refusal(client.register_system_shared_memory, "r", "/r", 64),
        refusal(client.unregister_system_shared_memory, "r"),
        refusal(client.get_cuda_shared_memory_status),
        refusal(client.register_cuda_shared_memory, "r", b"aGFuZGxl", 0, 64),
        refusal(client.unregister_cuda_shared_memory),
    ]
    given = triton.InferInput("x", [1, 4], "FP32")
    given.set_shared_memory("r", 16)
    refused.append(refusal(client.infer, "twofold", [given]))
    asked = LIBRARY.InferRequestedOutput("y")
    asked.set_shared_memory("r", 16)
    refused.append(refusal(client.infer, "twofold", inputs(x=row(1, 2, 3, 4)), outputs=[asked]))
    assert {status for status, _ in refused} == {"UNIMPLEMENTED"}
    assert all("shared memory" in text for _, text in refused)
    assert "raw_input_contents" in refused[0][1]


# What only one of the two clients has


@pytest.mark.skipif(CLIENT != "grpc", reason="the blocking client's")
def test_calls_may_be_left_to_run_and_called_off(client):
    got: queue.SimpleQueue = queue.SimpleQueue()
    for number in range(100):
        data = inputs(x=row(number, number, number, number))
        client.async_infer(
            "twofold",
            data,
            lambda result, error: got.put((result, error)),
            request_id=str(number),
            model_version="1",
        )
    answers = dict(_numbered(*got.get(timeout=20)) for _ in range(100))
    assert answers == {number: 2.0 * number for number in range(100)}
    call = client.async_infer(
        "patient", inputs(x=np.array([[1_500_000]])), lambda result, error: got.put((result, error))
    )
    call.cancel()
    _, error = got.get(timeout=20)
    assert error.status() == "StatusCode.CANCELLED"


def _numbered(result, error) -> tuple[int, float]:
    assert error is None, error
    return int(result.get_response().id), float(result.as_numpy("y")[0, 0])


@pytest.mark.skipif(CLIENT != "grpc", reason="the blocking client's")
def test_a_stream_may_be_called_off_with_requests_under_way(client):
    got: queue.SimpleQueue = queue.SimpleQueue()
    client.start_stream(lambda result, error: got.put((result, error)))
    client.async_stream_infer("patient", inputs(x=np.array([[1_500_000]])))
    client.stop_stream(cancel_requests=True)
    _, error = got.get(timeout=20)
    assert error.status() == "StatusCode.CANCELLED"
    assert client.infer("twofold", inputs(x=row(1, 1, 1, 1))) is not None


@pytest.mark.skipif(CLIENT != "grpc", reason="the blocking client's")
def test_the_empty_final_answer_is_marked_where_it_is_asked_for(client):
    got: queue.SimpleQueue = queue.SimpleQueue()
    client.start_stream(lambda result, error: got.put((result, error)))
    client.async_stream_infer(
        "twofold", inputs(x=row(1, 1, 1, 1)), enable_empty_final_response=True
    )
    client.async_stream_infer("twofold", inputs(x=row(1, 1, 1, 1)))
    client.stop_stream()
    marked = [got.get(timeout=5)[0].get_response().parameters for _ in range(2)]
    assert [
        "triton_final_response" in each and each["triton_final_response"].bool_param
        for each in marked
    ] == [True, False]


@pytest.mark.skipif(CLIENT != "grpc.aio", reason="the aio client's")
def test_many_calls_of_one_loop_get_their_own_answers(client):
    async def ask(number: int) -> None:
        version = str(1 + number % 2)
        data = inputs(x=row(number, number, number, number))
        result = await client.client.infer("twofold", data, version, request_id=str(number))
        assert result.get_response().id == str(number)
        assert result.as_numpy("y").tolist() == [[(2.0 + number % 2) * number] * 4]

    async def ask_all() -> None:
        await asyncio.gather(*(ask(number) for number in range(400)))

    client.drive(ask_all())


@pytest.mark.skipif(CLIENT != "grpc.aio", reason="the aio client's")
def test_a_call_may_be_called_off(client):
    async def call_off() -> None:
        task = asyncio.ensure_future(
            client.client.infer("patient", inputs(x=np.array([[1_500_000]])))
        )
        await asyncio.wait([task], timeout=0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    client.drive(call_off())
    assert client.infer("twofold", inputs(x=row(1, 1, 1, 1))) is not None
