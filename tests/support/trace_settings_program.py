"""Reads and changes trace settings by tritonclient.

It runs in a process of its own, because tritonclient's stubs and ours declare the same symbols:
``python -m tests.support.trace_settings_program ADDRESS``. A line of JSON on stdin holds the
arguments of a change, an empty object those of a question, and `model_name` in either. A line of
JSON on stdout answers it: the settings, or status and text of the error.
"""

from __future__ import annotations

import json
import sys

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def answer(client: triton.InferenceServerClient, asked: dict) -> object:
    call = client.update_trace_settings if "settings" in asked else client.get_trace_settings
    try:
        return {
            name: each.get("value", [])
            for name, each in call(**asked, as_json=True).get("settings", {}).items()
        }
    except InferenceServerException as error:
        return [error.status(), error.message()]


if __name__ == "__main__":
    with triton.InferenceServerClient(sys.argv[1]) as client:
        for line in sys.stdin:
            print(json.dumps(answer(client, json.loads(line))), flush=True)
