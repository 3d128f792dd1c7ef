"""`GET /metrics` of the telemetry process, for Prometheus and whatever else reads its text."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gateway.telemetry.metrics.collect import MetricsSource, NamesOf
from gateway.telemetry.metrics.prometheus import encode


def metrics_route(source: MetricsSource, default: NamesOf = NamesOf.GATEWAY) -> web.RouteDef:
    """The route of `/metrics`.

    `?names=triton` or `?names=all` asks for other names than the default ones.
    """
    one_at_a_time = asyncio.Lock()

    async def metrics(request: web.Request) -> web.Response:
        wanted = request.query.get("names", default)
        if wanted not in tuple(NamesOf):
            return web.Response(
                status=400, text=f"names: there is no '{wanted}' ({', '.join(NamesOf)})\n"
            )
        async with one_at_a_time:  # a thread: records of requests are read meanwhile
            text, content_type = await asyncio.to_thread(
                _text, source, NamesOf(wanted), request.headers.get("Accept", "")
            )
        return web.Response(body=text, headers={"Content-Type": content_type})

    return web.get("/metrics", metrics)


def _text(source: MetricsSource, whose: NamesOf, accept: str) -> tuple[bytes, str]:
    return encode(source.collect(whose), accept)
