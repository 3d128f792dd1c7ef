"""Any ONNX model whose inputs and outputs are tensors is served as it is.

The answers are those of ONNX Runtime, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import grpc
import numpy as np
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support.infer_calls import outputs, request
from tests.support.onnx_cases import Case, converted_cases, light_cases, node_cases, seldom_seen
from tests.support.ort_reference import OrtReference
from tests.support.running import RunningGateway
from tests.support.tensor_bytes import difference

EVERY_CASE = bool(os.environ.get("GATEWAY_EVERY_ONNX_CASE"))
"""Whether all node tests, some 1600, and all networks run, in a minute; otherwise a sample does."""
ONE_OF = 1 if EVERY_CASE else 5
NETWORKS = () if EVERY_CASE else ("light_squeezenet", "light_shufflenet")
UNSERVED_TYPES = ("float8", "float4", "int4", "int2")
IDS = ("", "", "a", "ab", "abc", "abcd", "abcd")
"""Ids of different lengths move the tensors in the message, off every alignment.

A message laid out like an earlier one is read another way, so some lengths come twice.
"""


class Answers:
    """Cases, what ONNX Runtime answers to each, and a gateway that serves them all."""

    def __init__(self, folder: Path, cases: Iterator[Case]) -> None:
        self.repository = folder / "models"
        self.cases: dict[str, Case] = {}
        self.wanted: dict[str, dict[str, np.ndarray]] = {}
        self.unserved: dict[str, str] = {}
        for case in cases:
            self._ask_ort(case)
        self._gateway = RunningGateway(
            self.repository, folder / "gateway.log", "--processes", "1", "--drain-delay", "0s"
        )

    def _ask_ort(self, case: Case) -> None:
        try:
            reference = OrtReference(case.model)
        except Exception:  # noqa: BLE001
            # an error of ONNX Runtime in a case is no fault of the gateway
            return
        if odd := sorted(
            kind
            for kind in reference.types.values()
            if any(word in kind for word in UNSERVED_TYPES)
        ):
            self.unserved[case.name] = odd[0]
            case.save(self.repository)
            return
        try:
            wanted, *again = [reference.run(case.feed) for _ in range(4)]
        except Exception:  # noqa: BLE001
            return
        # random outputs cannot be compared
        if not any(differences(other, wanted) for other in again):
            case.save(self.repository)
            self.cases[case.name] = case
            self.wanted[case.name] = wanted

    def __enter__(self) -> Self:
        self._gateway.start().wait_ready(240)
        self._channel = self._gateway.channel()
        self.stub = GRPCInferenceServiceStub(self._channel)
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._gateway.kill()

    def faults(self, name: str) -> list[str]:
        """What is wrong with the gateway's answers to a case."""
        case = self.cases[name]
        wanted = self.wanted[name]
        for request_id in IDS:
            try:
                response = self.stub.ModelInfer(request(name, case.feed, id=request_id), timeout=60)
            except grpc.RpcError as error:
                return [f"{name}: {error.code()}: {error.details()}"]
            got = outputs(response)
            if (response.model_name, response.model_version, response.id, list(got)) != (
                name,
                "1",
                request_id,
                list(wanted),
            ):
                return [
                    (
                        f"{name}: {response.model_name} {response.model_version} "
                        f"{response.id!r} {list(got)}"
                    )
                ]
            if found := differences(got, wanted):
                return [f"{name}, id {request_id!r}: {text}" for text in found]
        return []


def differences(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> list[str]:
    return [f"'{name}': {text}" for name in wanted if (text := difference(got[name], wanted[name]))]


@pytest.fixture(scope="module")
def standard(tmp_path_factory) -> Iterator[Answers]:
    """ONNX's own cases."""
    cases = [case for number, case in enumerate(node_cases()) if number % ONE_OF == 0]
    with Answers(
        tmp_path_factory.mktemp("standard"),
        iter([*cases, *converted_cases(), *light_cases(*NETWORKS)]),
    ) as answers:
        yield answers


@pytest.fixture(scope="module")
def seldom(tmp_path_factory) -> Iterator[Answers]:
    cases = list(seldom_seen())
    with Answers(tmp_path_factory.mktemp("seldom"), iter(cases)) as answers:
        assert len(answers.cases) == len(cases), "ONNX Runtime runs them all"
        yield answers


@pytest.mark.timeout(600 if EVERY_CASE else 180)
def test_the_standards_own_models_are_answered_as_onnx_runtime_does(standard):
    assert len(standard.cases) > 1400 / ONE_OF + 80
    faults = [fault for name in standard.cases for fault in standard.faults(name)]
    assert not faults, f"{len(faults)} of {len(standard.cases)}:\n" + "\n".join(faults)


def test_only_models_of_datatypes_that_the_protocol_lacks_are_refused_and_the_reason_names_them(
    standard,
):
    refused = {
        each.name: each
        for each in standard.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        if each.state != "READY"
    }
    assert refused.keys() == standard.unserved.keys()
    assert standard.unserved
    for name, onnx_type in standard.unserved.items():
        assert "which the protocol has no datatype for" in refused[name].reason
        assert f" is {onnx_type}, " in refused[name].reason


@pytest.mark.parametrize("name", [case.name for case in seldom_seen()])
def test_what_is_seldom_seen_is_answered_as_onnx_runtime_does(seldom, name):
    assert not seldom.faults(name)


def test_rank_and_zero_sizes_come_back_as_they_are(seldom):
    """Shapes are tested apart from values: nothing on the way may make a vector of a scalar."""
    shapes = {
        name: list(seldom.stub.ModelInfer(request(name, seldom.cases[name].feed)).outputs[0].shape)
        for name in seldom.cases
    }
    assert shapes["rank 0"] == shapes["string of rank 0"] == shapes["rank 0 out of rank 2"] == []
    assert shapes["size 0 inside"] == [2, 0, 3]
    assert shapes["none found"] == [1, 0]
    assert len(shapes["25 axes"]) == 25


def test_strings_that_are_not_utf_8_are_refused_and_the_input_is_named(seldom):
    with pytest.raises(grpc.RpcError) as refusal:
        seldom.stub.ModelInfer(request("strings", {"x": np.array([b"fine", b"\xff\x00"], object)}))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "input 'x': element 1 is not UTF-8" in refusal.value.details()
