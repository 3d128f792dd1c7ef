"""Calls a server by tritonclient and prints its answers as JSON.

It runs in a process of its own, because tritonclient's stubs and ours declare the same symbols:
``python -m tests.support.triton_caller ADDRESS FUNCTION``.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def refusal(call, *arguments, **named):
    """The status and text of the call's error; None where it has none."""
    try:
        call(*arguments, **named)
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return None


def describe(client):
    """Asks what a user asks first: health, metadata, configuration and index."""
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "models": {
            name: client.is_model_ready(*name.split("/")) for name in ("m", "m/1", "m/3", "nobody")
        },
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata("m", as_json=True),
        "config": client.get_model_config("m", "1", as_json=True),
        "index": client.get_model_repository_index(as_json=True),
        "unknown": refusal(client.get_model_metadata, "nobody"),
    }


def statistics(client):
    """Asks for the statistics of all versions, of one, and of one that is not there."""
    return {
        "all": client.get_inference_statistics(as_json=True),
        "one": client.get_inference_statistics("m", "2", as_json=True),
        "gone": refusal(client.get_inference_statistics, "m", "3"),
    }


def change(client):
    """Loads and unloads models."""
    client.load_model("m")
    client.load_model("m", config='{"max_batch_size": 4}')
    client.unload_model("m")
    client.unload_model("m", unload_dependents=True)
    files = {"file:1/model.onnx": b"onnx"}
    return {"upload": refusal(client.load_model, "m", config="{}", files=files)}


def configure(client):
    """Reads and changes trace and log settings."""
    return {
        "trace": client.get_trace_settings(as_json=True),
        "log": client.get_log_settings(as_json=True),
        "changed trace": client.update_trace_settings(
            settings={"trace_rate": "5", "trace_level": ["OFF"], "trace_file": None}, as_json=True
        ),
        "unknown": refusal(client.update_trace_settings, settings={"rate": "5"}),
        "wrong": refusal(client.update_log_settings, {"log_info": None}),
    }


def change_log(client):
    return client.update_log_settings(
        {"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"}, as_json=True
    )


def share(client):
    """Calls the methods of shared memory."""
    return {
        "status": refusal(client.get_system_shared_memory_status),
        "register": refusal(client.register_cuda_shared_memory, "r", b"aGFuZGxl", 0, 8),
        "unregister": refusal(client.unregister_system_shared_memory),
    }


def profile(client):
    """Makes the calls of perf_analyzer in its order, and draws its conclusions."""
    server = client.get_server_metadata(as_json=True)
    metadata = client.get_model_metadata("m", as_json=True)
    config = client.get_model_config("m", as_json=True)["config"]
    batched = config["max_batch_size"] > 0
    shapes = {each["name"]: each["shape"][1 if batched else 0 :] for each in metadata["inputs"]}
    queued = []
    for _ in range(2):
        for _ in range(5):
            inputs = []
            for each in config["input"]:
                if not each.get("optional"):
                    shape = [1, *map(int, shapes[each["name"]])]
                    inputs.append(
                        triton.InferInput(each["name"], shape, metadata["inputs"][0]["datatype"])
                    )
                    inputs[-1].set_data_from_numpy(np.ones(shape, np.float32))
            client.infer("m", inputs, priority=1)
        version = max(metadata["versions"], key=int)
        (one,) = client.get_inference_statistics("m", version, as_json=True)["model_stats"]
        queued.append(int(one["inference_stats"]["queue"].get("count", 0)))
    return {
        "has statistics": "statistics" in server["extensions"],
        "shapes": shapes,
        "queued": queued,
    }


if __name__ == "__main__":
    with triton.InferenceServerClient(sys.argv[1]) as connected:
        print(json.dumps(globals()[sys.argv[2]](connected)))
