"""The page and its JSON on the HTTP port of the telemetry process.

Everything here only reads. Files are held in memory and asked for anew at every visit, with a tag
that makes the answer short.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import math
import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.core.plan import Key
from gateway.telemetry.live.json_document import dumped
from gateway.telemetry.live.live_state import LiveState
from gateway.telemetry.live.stream import LiveStream

_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action "
        "'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str
    tag: str


def routes(stream: LiveStream) -> list[web.RouteDef]:
    """The page at `/`, its files, and the JSON under `/v2/gateway/`."""
    live = stream.live
    files = _files()

    async def file(request: web.Request) -> web.StreamResponse:
        found = files.get(request.match_info.get("name", "index.html"))
        if found is None:
            return _fault(f"there is no {request.path}", 404)
        return _answer(found, request)

    async def state(_: web.Request) -> web.Response:
        return _json(live.document().text())

    async def history(request: web.Request) -> web.Response:
        return _history(live, request)

    return [
        web.get("/", file),
        web.get("/page/{name}", file),
        web.get("/v2/gateway/state", state),
        web.get("/v2/gateway/history", history),
        web.get("/v2/gateway/events", stream.serve, allow_head=False),
    ]


def _history(live: LiveState, request: web.Request) -> web.Response:
    """The points of the charts: of one version where `model` and `version` are named, else of all.

    `since_s`, a Unix time, leaves out what is older.
    """
    model, version, since = (
        request.query.get(name, "") for name in ("model", "version", "since_s")
    )
    if bool(model) != bool(version) or (version and not re.fullmatch("[0-9]{1,18}", version)):
        return _fault(
            "a version is named by model and version, a number; "
            "without both: all versions together",
            400,
        )
    try:
        since_s = float(since or 0)
    except ValueError:
        since_s = math.nan
    if not math.isfinite(since_s):
        return _fault("since_s: expected seconds of the Unix epoch", 400)
    key: Key | None = (model, int(version)) if model else None
    found = live.history(key, since_s)
    if found is None:
        return _fault(f"there is no version {version} of a model '{model}' that is served", 404)
    return _json(dumped(found))


def _json(text: str, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(
        body=(text + "\n").encode(errors="replace"),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers=headers,
    )


def _fault(text: str, status: int) -> web.Response:
    return _json(dumped({"error": text}), status)


def _files() -> dict[str, _File]:
    folder = importlib.resources.files("gateway.telemetry.page")
    found = {}
    for each in folder.iterdir():
        content_type = _TYPES.get("." + each.name.rpartition(".")[2])
        if content_type is not None:
            content = each.read_bytes()
            found[each.name] = _File(
                content, content_type, hashlib.sha256(content).hexdigest()[:20]
            )
    return found


def _answer(file: _File, request: web.Request) -> web.Response:
    headers = {**_HEADERS, "Cache-Control": "no-cache", "ETag": f'"{file.tag}"'}
    if any(tag.value in (file.tag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(
        body=file.content, content_type=file.content_type, charset="utf-8", headers=headers
    )
