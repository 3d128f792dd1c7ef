"""KServe's InferenceGRPCClient."""

import asyncio

from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from report import ADDRESS, TASK, UNKNOWN, arrays, attempt, attempt_error, tell, words


def in_a_client(use):
    """Runs what is done with a client; each in a loop and on a connection of its own."""

    async def run():
        async with InferenceGRPCClient(ADDRESS, timeout=20) as client:
            return await use(client)

    return asyncio.run(run())


def infer(model, output, like=""):
    inputs = []
    for name, values in arrays(like or model).items():
        datatype = TASK["datatypes"][like or model][name]
        inputs.append(InferInput(name, list(values.shape), datatype))
        inputs[-1].set_data_from_numpy(values)
    request = InferRequest(model, inputs, request_outputs=[RequestedOutput(output)])
    answer = in_a_client(lambda client: client.infer(request))
    (found,) = answer.outputs
    return found.as_numpy()


async def ready(client):
    return (
        await client.is_server_live()
        and await client.is_server_ready()
        and await client.is_model_ready("digits")
    )


tell("metadata", none="it has no such call")
tell("config", none="it has no such call")
attempt("health", lambda: {"ready": in_a_client(ready)})
attempt("numbers", lambda: {"values": infer("digits", "digit").tolist()})
attempt("strings", lambda: {"values": words(infer("penguins", "sex"))})
attempt_error(lambda: infer(UNKNOWN, "digit", like="digits"))
