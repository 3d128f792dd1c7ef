"""NVIDIA's tritonclient."""

import tritonclient.grpc as triton
from report import ADDRESS, TASK, UNKNOWN, arrays, attempt, attempt_error, words

CLIENT = triton.InferenceServerClient(ADDRESS)


def infer(model, output):
    inputs = []
    for name, values in arrays(model).items():
        inputs.append(triton.InferInput(name, values.shape, TASK["datatypes"][model][name]))
        inputs[-1].set_data_from_numpy(values)
    answer = CLIENT.infer(model, inputs, outputs=[triton.InferRequestedOutput(output)])
    return answer.as_numpy(output)


attempt("metadata", lambda: {"response": CLIENT.get_model_metadata("digits", as_json=True)})
attempt("config", lambda: {"response": CLIENT.get_model_config("digits", as_json=True)})
attempt("health", lambda: {"ready": CLIENT.is_server_ready() and CLIENT.is_model_ready("digits")})
attempt("numbers", lambda: {"values": infer("digits", "digit").tolist()})
attempt("strings", lambda: {"values": words(infer("penguins", "sex"))})
attempt_error(lambda: CLIENT.get_model_metadata(UNKNOWN))
