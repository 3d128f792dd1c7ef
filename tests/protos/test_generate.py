"""The committed stubs are what protos/generate.py makes of the .proto files."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gateway.protocol.generated import inference_pb2, inference_pb2_grpc
from tests.support.checkout import ROOT

SCRIPT = ROOT / "protos" / "generate.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_protos", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_neighbours_are_imported_from_the_package_and_nothing_else_is_touched(
    script: ModuleType,
) -> None:
    compiled = (
        "import grpc\nimport a_pb2 as a__pb2\nfrom a_pb2 import X\nimport a_pb2\nimport "
        "a_pb2_grpc\nimport b_pb2 as b\n    import a_pb2\n"
    )
    lines = script.finished(compiled, source="a.proto", modules=frozenset({"a_pb2"})).splitlines()
    assert "protos/a.proto" in lines[0]
    assert lines[1:] == [
        "import grpc",
        "from gateway.protocol.generated import a_pb2 as a__pb2",
        "from gateway.protocol.generated.a_pb2 import X",
        "from gateway.protocol.generated import a_pb2",
        "import a_pb2_grpc",
        "import b_pb2 as b",
        "    import a_pb2",
    ]


def test_every_proto_has_its_stubs_and_every_stub_its_proto(script: ModuleType) -> None:
    stems = {path.stem for path in script.PROTOS.glob("*.proto")}
    assert stems == {
        "inference",
        "model_config",
        "health",
        "reflection_v1",
        "reflection_v1alpha",
        "gateway_control",
    }
    expected = {f"{stem}_pb2{suffix}" for stem in stems for suffix in (".py", ".pyi")} | {
        "inference_pb2_grpc.py",
        "gateway_control_pb2_grpc.py",
    }
    assert script.present(script.GENERATED).keys() == expected


def test_a_stub_that_is_old_missing_or_left_over_is_stale_until_written(
    script: ModuleType, tmp_path: Path
) -> None:
    fresh = {"old_pb2.py": "new\n", "missing_pb2.pyi": "new\n", "same_pb2.py": "same\n"}
    for name, text in {
        "__init__.py": "",
        "old_pb2.py": "old\n",
        "same_pb2.py": "same\n",
        "left_over_pb2.py": "old\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert script.stale(tmp_path, fresh) == ["left_over_pb2.py", "missing_pb2.pyi", "old_pb2.py"]
    script.write(tmp_path, fresh)
    assert script.stale(tmp_path, fresh) == []
    assert script.present(tmp_path) == fresh
    assert (tmp_path / "__init__.py").exists()


@pytest.mark.skipif(
    not (ROOT / ".tools" / "grpcio-tools-1.76.0" / "complete").exists(),
    reason="the compiler is not installed; protos/generate.py installs it",
)
def test_the_committed_stubs_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


class RecordingChannel:
    """A channel that keeps the paths that a stub asks it for."""

    def __init__(self) -> None:
        self.unary: set[str] = set()
        self.streaming: set[str] = set()

    def unary_unary(self, path: str, **_serializers: object) -> None:
        self.unary.add(path)

    def stream_stream(self, path: str, **_serializers: object) -> None:
        self.streaming.add(path)


def test_the_client_stub_calls_every_path_of_the_service() -> None:
    channel = RecordingChannel()
    inference_pb2_grpc.GRPCInferenceServiceStub(channel)
    methods = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    assert channel.streaming == {"/inference.GRPCInferenceService/ModelStreamInfer"}
    assert channel.unary | channel.streaming == {
        f"/inference.GRPCInferenceService/{method.name}" for method in methods
    }
