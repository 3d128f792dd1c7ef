"""nvidia-pytriton's ModelClient."""

import numpy as np
from pytriton.client import ModelClient
from report import ADDRESS, UNKNOWN, arrays, attempt, attempt_error, tell, words


def client(model):
    return ModelClient(f"grpc://{ADDRESS}", model, init_timeout_s=20)


def config():
    with client("digits") as asked:
        found = asked.model_config
    return {
        "names": {
            "inputs": [tensor.name for tensor in found.inputs],
            "outputs": [tensor.name for tensor in found.outputs],
        }
    }


def infer(model, output):
    with client(model) as asked:
        return asked.infer_batch(**arrays(model))[output]


def ready():
    with client("digits") as asked:
        asked.wait_for_model(timeout_s=20)
    return {"ready": True}


def unknown():
    with ModelClient(f"grpc://{ADDRESS}", UNKNOWN, init_timeout_s=2) as asked:
        asked.infer_batch(np.zeros((1, 1), np.float32))


tell("metadata", none="it reads the configuration alone")
attempt("config", config)
attempt("health", ready)
attempt("numbers", lambda: {"values": infer("digits", "digit").tolist()})
attempt("strings", lambda: {"values": words(infer("penguins", "sex"))})
attempt_error(unknown)
