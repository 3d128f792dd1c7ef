"""Versions that answer and fail as a test wants, live in a real catalogue, and requests to them."""

import asyncio
import math
import selectors
import time

import numpy as np

from gateway.core.datatypes import numpy_dtype
from gateway.core.errors import Unavailable
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.predictor import Description
from gateway.core.protection import FallbackLink, OutputGuardPlan, ProtectionPlan
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.core.waiter import Driven
from gateway.records.batch_counter import BatchCounter
from gateway.serving.batching.batcher import Batcher
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker
from gateway.serving.policies.retry_budget import RetryBudget
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.runtime.threads.thread_lanes import ThreadSlots
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers
from tests.support.versions import make_live


def spec(name, shape=(-1, 2), datatype="FP32", **more):
    return TensorSpec(name, datatype, shape, **more)


X = spec("x")
Y = spec("y")


def version_plan(
    *links, model="m", version=1, inputs=(X,), outputs=(Y,), rows=8, splits=False, guard=None
):
    return VersionPlan(
        model,
        version,
        "",
        f"{model} {version}",
        inputs,
        outputs,
        BatchingPlan(max_batch_size=rows, useful_batch_size=rows, splits=splits),
        protection=ProtectionPlan(fallback=links, output_guard=guard or OutputGuardPlan()),
    )


def request(plan, *arrays, rows=1, deadline=math.inf, outputs=None, names=None):
    """A request with these arrays for the inputs of these names; without arrays, one of zeros."""
    names = names or tuple(s.name for s in plan.inputs)
    arrays = arrays or tuple(
        np.zeros((rows, *s.shape[1:]), numpy_dtype(s.datatype)) for s in plan.inputs
    )
    batched = plan.batching.max_batch_size > 0
    form = RequestForm(
        names=names,
        key=tuple(
            (name, a.shape[1:] if batched else a.shape)
            for name, a in zip(names, arrays, strict=True)
        ),
        rows=len(arrays[0]) if batched else 1,
        input_bytes=sum(a.nbytes for a in arrays),
        outputs=tuple(range(len(plan.outputs))) if outputs is None else outputs,
        parameters={},
    )
    return InferenceRequest(form, arrays, time.monotonic(), deadline, "id")


class Inside:
    """A Predictor that raises the error that it is given, or else doubles the first input."""

    def __init__(self, error=None, parameters=None):
        self.error = error
        self.parameters = parameters
        self.asked = []

    async def predict(self, asked):
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return Prediction((asked.inputs[0] * 2,), self.parameters)

    def describe(self):
        return Description("Inside")


class Counts:
    def __init__(self):
        self.failures = 0

    def record_failures(self, requests, ns):
        self.failures += requests

    def record_batch(self, **counted):
        pass

    def record_bytes(self, input_bytes, output_bytes):
        pass


class CatalogueResolver:
    """Resolves the live versions of a catalogue, none of which has a fallback."""

    def __init__(self, *lives):
        self.catalogue = Catalogue()
        self.catalogue.swap(lives, ())

    def resolve(self, model, version, besides):
        if version:
            return self.catalogue.resolve(model, str(version))
        for live in reversed(self.catalogue.versions(model)):
            if live.plan.key != besides:
                return live
        raise Unavailable(f"no other version of '{model}' is live")


def live(plan, inner):
    return make_live(plan, inner, Counts())


def batcher(plan, runner, workers: ThreadWorkers):
    """A real batcher on a runner, in threads."""
    retries = RetryBudget(plan.protection.retry, time.monotonic)
    breaker = CircuitBreaker("m", plan.protection.breaker, time.monotonic, lambda _transition: None)
    return Batcher(
        plan,
        ThreadSlots(runner, workers, plan.instances),
        listeners=(BatchCounter(Counts()), breaker),
        retries=retries,
    )


class ByHand(Driven):
    """Drives a coroutine the way the transport does."""

    def __init__(self, coroutine):
        self.ended = asyncio.Event()
        self.value = None
        self.error = None
        self.start(coroutine)

    def _finished(self, value):
        self.value = value
        self.ended.set()

    def _failed(self, error):
        self.error = error
        self.ended.set()

    async def outcome(self):
        await self.ended.wait()
        if self.error is not None:
            raise self.error
        return self.value


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer when nothing is ready."""

    def __init__(self):
        self.at = 1000.0
        super().__init__(_Selector(self))

    def time(self):
        return self.at


class _Selector(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        self._loop.at += timeout or 0.0
        return super().select(0)


def in_virtual_time(main):
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


CONSTANT = FallbackLink(constant={"y": [1.5, 2.5]})
