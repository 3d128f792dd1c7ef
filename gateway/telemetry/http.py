"""The HTTP port of the telemetry process: probes, and the routes of whatever else is to be read.

The probes answer whether the gateway is alive, whether it is ready, and whether a model is. A probe
reads the status alone: 200, or 400 where the answer is no, as in Triton; 404 for a model that is
not there.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol, Self

from aiohttp import web

_ENDS_S: Final = 0.5
"""The time left to answers that have begun: a slow reader must not cost others theirs."""
_HERE: Final = (
    "this port answers with the page (/), metrics (/metrics), how the gateway is "
    "(/v2/gateway/state) and probes (/v2/health/live, /v2/health/ready, /v2/models/NAME/ready)"
)
Ending = Callable[[object], Awaitable[None]]


class Health(Protocol):
    """What the probes ask; the process's assembly implements it."""

    @property
    def ready(self) -> bool:
        """Whether calls are welcome."""
        ...

    def model_ready(self, model: str, version: int | None = None) -> bool | None:
        """Whether this version, or any, is live; None: there is no such model."""
        ...


class HttpPort:
    """Serves HTTP on sockets that listen already; `async with` starts and stops it."""

    def __init__(
        self,
        health: Health,
        sockets: Sequence[socket.socket],
        routes: Iterable[web.RouteDef] = (),
        on_shutdown: Ending | None = None,
    ) -> None:
        """`routes`: what else is answered. `on_shutdown` ends answers that would never end."""
        self._sockets = sockets
        self._runner = web.AppRunner(
            application(health, routes, on_shutdown), access_log=None, shutdown_timeout=_ENDS_S
        )

    def __repr__(self) -> str:
        return f"<HttpPort {' '.join(map(str, self._runner.addresses)) or 'not started'}>"

    async def __aenter__(self) -> Self:
        # else callers that send rubbish fill the log with tracebacks
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        await self._runner.setup()
        for listening in self._sockets:
            await web.SockSite(self._runner, listening).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def application(
    health: Health, routes: Iterable[web.RouteDef] = (), on_shutdown: Ending | None = None
) -> web.Application:
    """Probes, `routes`, and an explanation for requests of anything else."""
    app = web.Application(middlewares=[_listen_on])
    if on_shutdown is not None:
        app.on_shutdown.append(on_shutdown)
    app.add_routes(_probes(health))
    app.add_routes(routes)
    return app


def _probes(health: Health) -> list[web.RouteDef]:
    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(_: web.Request) -> web.Response:
        return _yes_or_no({"ready": health.ready})

    async def model_ready(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        version = request.match_info.get("version")
        answer = health.model_ready(name, int(version) if version is not None else None)
        if answer is None:
            return web.json_response(
                {"error": f"Request for unknown model: '{name}' is not found"}, status=404
            )
        return _yes_or_no(
            {"name": name, **({"version": version} if version is not None else {}), "ready": answer}
        )

    return [
        web.get("/v2/health/live", live),
        web.get("/v2/health/ready", ready),
        web.get("/v2/models/{name}/ready", model_ready),
        web.get(r"/v2/models/{name}/versions/{version:\d{1,18}}/ready", model_ready),
    ]


@web.middleware
async def _listen_on(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers requests for what is not there, or is only read, in JSON.

    The answer names what may have been meant.
    """
    fault = request.match_info.http_exception
    if isinstance(fault, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(fault.allowed_methods))
        text = (
            f"{request.method} is not for {request.path}: this port is for reading "
            f"({allowed}); inference is gRPC"
        )
        return web.json_response({"error": text}, status=405, headers={"Allow": allowed})
    if fault is not None:
        return web.json_response(
            {"error": f"there is no {request.path} here: {_HERE}; inference is gRPC"}, status=404
        )
    return await handler(request)


def _yes_or_no(answer: dict[str, object]) -> web.Response:
    return web.json_response(answer, status=200 if answer["ready"] else 400)
