"""A wrong reply is noticed, whatever is wrong with it."""

import numpy as np
import pytest

from gateway.protocol.generated import inference_pb2
from load_tests.payloads import fault_of_framed, fault_of_message, faults_of, make_payload


class TestReplies:
    @pytest.fixture
    def reply(self, payload):
        response = inference_pb2.ModelInferResponse(
            model_name="small", raw_output_contents=[payload.expected.tobytes()]
        )
        response.outputs.add(name="probs", datatype="FP32", shape=[1, 10])
        return response

    def test_a_right_reply_has_no_fault(self, reply, payload):
        message = reply.SerializeToString()
        assert fault_of_message(message, payload) == ""
        assert fault_of_framed(b"\0" + len(message).to_bytes(4, "big") + message, payload) == ""

    def test_rounding_is_no_fault_and_another_value_is(self, reply, payload):
        reply.raw_output_contents[0] = (payload.expected * np.float32(1 + 1e-6)).tobytes()
        assert fault_of_message(reply.SerializeToString(), payload) == ""
        reply.raw_output_contents[0] = (payload.expected + np.float32(1e-3)).tobytes()
        assert "expected [" in fault_of_message(reply.SerializeToString(), payload)

    def test_size_shape_model_and_framing_are_looked_at(self, reply, payload):
        wrong = {
            "shape": inference_pb2.ModelInferResponse(),
            "bytes": inference_pb2.ModelInferResponse(),
            "from 'other'": reply.__class__(),
        }
        for change in wrong.values():
            change.CopyFrom(reply)
        wrong["shape"].outputs[0].shape[:] = [10, 1]
        wrong["bytes"].raw_output_contents[0] = b"1234"
        wrong["from 'other'"].model_name = "other"
        for word, change in wrong.items():
            assert word in fault_of_message(change.SerializeToString(), payload)
        message = reply.SerializeToString()
        for broken in (
            b"",
            message,
            b"\1" + len(message).to_bytes(4, "big") + message,
            b"\0\0\0\0\1" + message,
        ):
            assert "not one uncompressed gRPC message" in fault_of_framed(broken, payload)
        assert len(faults_of([(b"", payload)] * 3)) == 3

    def test_two_rows_of_one_model_have_different_answers(self, models):
        """If they had the same, an answer given to the wrong caller would not show."""
        a, b = (make_payload(models, "small", seed=seed) for seed in (0, 1))
        assert not np.allclose(a.expected, b.expected, rtol=1e-2)
        assert not np.allclose(
            make_payload(models, "small_000").expected,
            make_payload(models, "small_001").expected,
            rtol=1e-2,
        )
