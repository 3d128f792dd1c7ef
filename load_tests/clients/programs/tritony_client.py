"""tritony, which finds inputs and outputs by the model's metadata."""

import os

os.environ["TRITON_LOAD_DELAY"] = "0.1"  # it tries five times, each after twice the time

import numpy as np
from report import (
    ADDRESS,
    UNKNOWN,
    arrays,
    attempt,
    attempt_error,
    tell,
    words,
)
from tritony import InferenceClient


def client(model, version="1"):
    return InferenceClient.create_with(model, ADDRESS, model_version=version, run_async=False)


def infer(model, version, output):
    """Its answer has the outputs in the order of the metadata, by their place alone."""
    asked = client(model, version)
    answer = asked(arrays(model))
    return answer[list(asked.default_model_spec.output_name).index(output)]


tell("metadata", none="it reads it before each model's first call, and shows it to nobody")
tell("config", none="as the metadata")
tell("health", none="it asks for no health")
attempt("numbers", lambda: {"values": infer("digits", "2", "digit").tolist()})
attempt("strings", lambda: {"values": words(infer("penguins", "1", "sex"))})
attempt_error(lambda: client(UNKNOWN)(np.zeros((1, 1), np.float32)))
