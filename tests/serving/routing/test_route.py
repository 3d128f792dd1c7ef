"""A route picks the version of each request; the one that answers is named and counted.

The service, journal, counters and codecs are the real ones.
"""

import asyncio
import contextlib
import os
from itertools import cycle

import numpy as np
import pytest

from gateway.core.errors import InvalidRequest, ModelFailed
from gateway.core.plan import TensorSpec, VersionPlan
from gateway.core.predictor import Description
from gateway.core.request import Prediction
from gateway.protocol.generated.inference_pb2 import ModelInferRequest, ModelInferResponse
from gateway.records.counters import GATEWAY_ROW, StatisticsTable, size_statistics_file
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import size_rings_file
from gateway.records.sampling import SamplingPlan
from gateway.records.writer import RecordWriter
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.wire.services.inference_service import InferenceService
from gateway.serving.wire.services.open_streams import OpenStreams
from tests.support.versions import make_live


class Times:
    """The predictor of a version: it multiplies, and fails for NaN."""

    def __init__(self, factor):
        self._factor = factor

    async def predict(self, request):
        if np.isnan(request.inputs[0]).any():
            raise ModelFailed("NaN")
        return Prediction((request.inputs[0] * self._factor,))

    def describe(self):
        return Description("times")


class InTurn:
    """A route over several versions that have the same interface."""

    version = None

    def __init__(self, *arms):
        self.codec = arms[0].codec
        self._arms = cycle(arms)

    async def predict(self, request):
        return await next(self._arms).predict(request)

    def describe(self):
        return Description("InTurn")


class Routes(Catalogue):
    def __init__(self, route):
        super().__init__()
        self.route = route

    def resolve(self, model, version):
        return self.route


class Call:
    deadline = float("inf")

    def metadata(self):
        return ()

    def peer(self):
        return "ipv4:127.0.0.1:5"


def message(value, request_id):
    request = ModelInferRequest(model_name="m", id=request_id)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    request.raw_input_contents.append(np.float32([[value]]).tobytes())
    return request.SerializeToString()


class Server:
    def __init__(self, versions=2, datatype="FP32"):
        statistics = os.memfd_create("statistics")
        size_statistics_file(statistics, 1)
        rings = os.memfd_create("rings")
        size_rings_file(rings, 1)
        self.table = StatisticsTable(statistics)
        writer = RecordWriter(
            RingWriter(rings, 0), SamplingPlan(), self.table.writer(0, GATEWAY_ROW), everything=True
        )
        self.reader = RecordReader(0, RingReader(rings, 0))
        arms = [self._version(number, datatype) for number in range(1, versions + 1)]
        route = InTurn(*arms) if versions > 1 else arms[0]
        self.service = InferenceService(Routes(route), OpenStreams(), writer, 64 << 20)

    def _version(self, number, datatype):
        spec = (-1, 1)
        plan = VersionPlan(
            "m", number, "", "", (TensorSpec("x", "FP32", spec),),
            (TensorSpec("y", datatype, spec),), statistics_row=number,
        )  # fmt: skip
        return make_live(plan, Times(number), self.table.writer(0, number))

    async def cells(self):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.reader.read()
        return self.reader.read().requests


def test_an_answer_is_encoded_counted_and_written_down_for_the_version_that_served_it():
    async def main():
        server = Server()
        answers = [
            ModelInferResponse.FromString(
                await server.service.model_infer(Call(), message(10, f"r{turn}"))
            )
            for turn in range(4)  # the first is parsed, the others are read by its layout
        ]
        values = [np.frombuffer(each.raw_output_contents[0], "f4")[0] for each in answers]
        assert values == [10, 20, 10, 20]
        assert [each.model_version for each in answers] == ["1", "2", "1", "2"]
        assert [each.id for each in answers] == ["r0", "r1", "r2", "r3"]
        cells = await server.cells()
        assert [int(row) for row in cells["version"]] == [1, 2, 1, 2]
        assert [server.table.read(row).request_time.count for row in (1, 2)] == [2, 2]

    asyncio.run(main())


def test_a_failure_is_counted_and_written_down_for_the_version_that_failed():
    async def main():
        server = Server()
        for turn in range(4):
            with pytest.raises(ModelFailed):
                await server.service.model_infer(Call(), message(np.nan, f"r{turn}"))
        cells = await server.cells()
        assert [int(row) for row in cells["version"]] == [1, 2, 1, 2]
        assert [server.table.read(row).fail.count for row in (1, 2)] == [2, 2]
        assert [server.table.read(row).failure_time.count for row in (1, 2)] == [2, 2]

    asyncio.run(main())


def test_an_answer_that_cannot_be_encoded_has_failed_in_the_version_that_gave_it():
    async def main():
        server = Server(datatype="FP16")  # which no typed contents hold
        asked = ModelInferRequest.FromString(message(1, "typed"))
        asked.parameters["binary_data_output"].bool_param = False
        for _ in range(2):
            with pytest.raises(InvalidRequest, match="FP16"):
                await server.service.model_infer(Call(), asked.SerializeToString())
        assert [int(row) for row in (await server.cells())["version"]] == [1, 2]
        assert [server.table.read(row).failure_time.count for row in (1, 2)] == [1, 1]

    asyncio.run(main())


def test_a_version_is_a_route_to_itself():
    async def main():
        server = Server(versions=1)
        answer = await server.service.model_infer(Call(), message(3, ""))
        assert ModelInferResponse.FromString(answer).model_version == "1"
        with contextlib.suppress(ModelFailed):
            await server.service.model_infer(Call(), message(np.nan, ""))
        assert [int(row) for row in (await server.cells())["version"]] == [1, 1]

    asyncio.run(main())


def test_what_never_reached_a_version_belongs_to_none_where_the_route_has_several():
    async def main():
        server = Server()
        wrong = ModelInferRequest(model_name="m", id="odd").SerializeToString()
        with pytest.raises(Exception, match="missing required input"):
            await server.service.model_infer(Call(), wrong)
        assert server.table.read(GATEWAY_ROW).failure_time.count == 1

    asyncio.run(main())
