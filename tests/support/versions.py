"""Live versions around any predictor, put together as the gateway does it."""

import time

from gateway.protocol.codec import VersionCodec
from gateway.serving.policies.admission.in_flight import InFlight, Inside
from gateway.serving.routing.live_version import LiveVersion


async def _nothing():
    pass


def make_live(plan, inner, counts, *, without_fallback=None, close=_nothing):
    """Makes a version live around the predictor `inner`.

    `without_fallback` is the predictor that the fallbacks of other versions use; None: `inner`.
    """
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
