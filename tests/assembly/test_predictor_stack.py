"""Which predictors the requests of a version go through, and in which order."""

import asyncio
import os
import time

import numpy as np
import pytest

from gateway.assembly.predictor_stack import ProcessContext, VersionInstances, build_stack
from gateway.core.errors import QuotaExceeded, Unavailable
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.protection import AdmissionPlan, FallbackLink, ProtectionPlan
from gateway.core.request import InferenceRequest, RequestForm
from gateway.records.counters import StatisticsTable, size_statistics_file
from gateway.serving.policies.admission.admission import Room
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.fallback_targets import FallbackTargets

QUOTA = AdmissionPlan(quota_key="x-team", quota_per_s=1.0, max_in_flight=5)


class NoInstances:
    """Instances that are all down."""

    max_concurrency = 1

    def unreachable(self):
        return "every instance is down"

    def acquire(self, ready):
        pass

    def release(self, slot):
        pass


class Runner:
    def run(self, feed, wanted, rows):
        return [feed["x"]]


class Caller:
    def metadata(self):
        return (("x-team", "a"),)

    def peer(self):
        return "ipv4:127.0.0.1:1"


def ignore(record):
    pass


class Made:
    """The stack of a version with these protections, and its counters."""

    def __init__(self, protection=None, *, runner=None, most_in_gateway=0):
        spec = TensorSpec("x", "FP32", (-1, 1))
        plan = VersionPlan(
            "m", 1, "", "", (spec,), (spec,),
            BatchingPlan(max_batch_size=8, splits=True), protection=protection or ProtectionPlan(),
        )  # fmt: skip
        statistics = os.memfd_create("statistics")
        size_statistics_file(statistics, 1)
        self.table = StatisticsTable(statistics)
        context = ProcessContext(
            processes=1,
            global_limit=Room("the gateway", most_in_gateway, 0),
            targets=FallbackTargets(Catalogue()),
            on_event=ignore,
        )
        breaker = CircuitBreaker("m", plan.protection.breaker, time.monotonic, ignore)
        self.stack = build_stack(
            plan,
            VersionInstances(NoInstances(), runner),
            breaker,
            self.table.writer(0, 1),
            context,
        )

    def names(self):
        return [line.split()[0] for line in self.stack.outermost.describe().lines()]

    async def ask(self):
        form = RequestForm(
            names=("x",), key=("x",), rows=1, input_bytes=4, outputs=(0,), parameters={}
        )
        request = InferenceRequest(form, (np.zeros((1, 1), "f4"),), time.monotonic())
        request.caller = Caller()
        return await self.stack.outermost.predict(request)


def test_a_version_without_protections_is_counted_and_has_a_breaker():
    async def main():
        made = Made(runner=Runner())
        assert made.names() == ["InFlight", "Breaker", "Split", "Batcher"]

    asyncio.run(main())


def test_every_protection_is_a_predictor_and_the_quota_is_the_outermost():
    async def main():
        fallback = (FallbackLink(constant={"x": [0.0]}), FallbackLink(cache_age_s=60.0))
        made = Made(ProtectionPlan(admission=QUOTA, fallback=fallback), most_in_gateway=9)
        assert made.names() == [
            "Quota",
            "InFlight",
            "Admission",
            "Fallback",
            "Remembered",
            "Admission",
            "Breaker",
            "Reachable",
            "Split",
            "Batcher",
        ]

    asyncio.run(main())


def test_what_a_quota_refuses_is_never_inside_and_no_failure_of_the_version():
    async def main():
        made = Made(ProtectionPlan(admission=QUOTA))
        with pytest.raises(Unavailable, match="every instance is down"):
            await made.ask()
        assert made.table.read(1).fail.count == 1
        with pytest.raises(QuotaExceeded):
            await made.ask()
        assert made.table.read(1).fail.count == 1
        assert made.stack.inside.count == 0

    asyncio.run(main())
