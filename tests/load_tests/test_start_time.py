"""Requests for any model."""

import numpy as np

from gateway.protocol.generated import inference_pb2
from load_tests.start_time import make_request


class TestRequestsForAnyModel:
    def metadata(self, name, *inputs):
        response = inference_pb2.ModelMetadataResponse(name=name)
        for tensor, datatype, shape in inputs:
            response.inputs.add(name=tensor, datatype=datatype, shape=shape)
        return response

    def test_free_axes_are_one_and_values_zero(self, tmp_path):
        request = make_request(
            self.metadata("m", ("x", "FP32", [-1, 3]), ("s", "BYTES", [-1, 2]), ("k", "INT64", [])),
            tmp_path,
        )
        assert [list(tensor.shape) for tensor in request.inputs] == [[1, 3], [1, 2], []]
        assert list(request.raw_input_contents) == [bytes(12), bytes(8), bytes(8)]

    def test_a_reference_sample_gives_the_first_row(self, tmp_path):
        (tmp_path / "m").mkdir()
        np.savez(
            tmp_path / "m" / "reference.npz",
            x=np.arange(6, dtype=np.float32).reshape(2, 3),
            s=np.array([["ab", "c"]]),
        )
        request = make_request(
            self.metadata("m", ("x", "FP32", [-1, 3]), ("s", "BYTES", [-1, 2])), tmp_path
        )
        assert np.frombuffer(request.raw_input_contents[0], np.float32).tolist() == [0, 1, 2]
        assert request.raw_input_contents[1] == b"\2\0\0\0ab\1\0\0\0c"
