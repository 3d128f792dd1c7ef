"""Live versions around any predictor, put together as the gateway does it."""

import time

from gateway.protocol.codec import VersionCodec
from gateway.serving.policies.admission.in_flight import InFlight, Inside
from gateway.serving.routing.live_version import LiveVersion


async def _nothing():
    pass


def make_live(plan, inner, counts, *, without_fallback=None, close=_nothing):
    """`without_fallback`: what others' fallbacks are answered by; None: `inner`."""
    inside = Inside()
    return LiveVersion(
        plan,
        InFlight(inner, inside, counts, time.monotonic),
        VersionCodec(plan),
        counts=counts,
        inside=inside,
        without_fallback=InFlight(without_fallback or inner, inside, None, time.monotonic),
        close=close,
    )
