"""A program with several of Triton's clients, or channels of grpc, open until its input ends.

Arguments: `triton` or `grpc`, the address, how many, and `own` where each is to have a connection
of its own. It imports nothing of the gateway, whose messages have the names of Triton's.
"""

import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

LIMITS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
OWN = [("grpc.use_local_subchannel_pool", 1), *LIMITS]


def by_triton(address, options):
    client = triton.InferenceServerClient(address, channel_args=options)
    rows = np.full((1, 4), 2.0, "f4")
    x = triton.InferInput("x", rows.shape, "FP32")
    x.set_data_from_numpy(rows)
    assert client.infer("double", [x]).as_numpy("y").tolist() == [[4.0] * 4]
    return client


def by_grpc(address, options):
    channel = grpc.insecure_channel(address, options)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=20).live
    return channel


def main():
    which, address, count, *own = sys.argv[1:]
    connect = {"triton": by_triton, "grpc": by_grpc}[which]
    clients = [connect(address, OWN if own else None) for _ in range(int(count))]
    print(len(clients), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
