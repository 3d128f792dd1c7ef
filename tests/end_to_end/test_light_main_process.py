"""The main process stays small while it serves.

Heavy libraries are loaded by the serving processes and by inspection only.
"""

from pathlib import Path

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support.checkout import ROOT

HEAVY = {"cygrpc", "onnxruntime_pybind11_state", "_multiarray_umath"}


def libraries(pid):
    """The names of the files that a process has mapped, without their endings."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split(maxsplit=5)[5]).name.partition(".")[0] for line in lines if "/" in line}


def test_grpc_numpy_and_onnxruntime_are_in_the_serving_processes_alone(gateway, connect):
    with gateway("--processes", "1", models=ROOT / "models") as running:
        stub = GRPCInferenceServiceStub(connect(running))
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="digits"), timeout=20)
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="digits"), timeout=20)
        (serving,) = running.serving_pids()
        assert libraries(serving) >= HEAVY
        assert not HEAVY & libraries(running.process.pid)
