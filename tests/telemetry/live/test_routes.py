"""The page's files, its JSON and its stream, over real HTTP."""

import asyncio
import contextlib
import json
import re
from pathlib import Path

import aiohttp
import pytest

from gateway.telemetry.live import stream
from gateway.telemetry.live.stream import MOST_CLIENTS
from tests.support.live_feed import Feed
from tests.support.live_parts import Numbers

PAGE = Path(stream.__file__).parents[1] / "page"


def run(what):
    """Runs `what(feed, session)` against a page that is served."""

    async def main():
        with Numbers() as numbers:
            numbers.live.on_event(numbers.overview())
            async with Feed(numbers) as feed, aiohttp.ClientSession(feed.url) as session:
                await what(feed, session)

    asyncio.run(asyncio.wait_for(main(), 60))


async def messages(response, count):
    """The next `count` messages of the stream: kind and JSON."""
    found = []
    while len(found) < count:
        text = (await response.content.readuntil(b"\n\n")).decode()
        found.append(
            (
                re.search(r"^event: (\w+)$", text, re.MULTILINE)[1],
                json.loads(re.search(r"^data: (.*)$", text, re.MULTILINE)[1]),
            )
        )
    return found


def test_every_file_that_the_page_names_is_served_with_its_type():
    async def asked(_, session):
        async with session.get("/") as response:
            page = await response.text()
        modules = "".join(
            file.read_text() for file in PAGE.glob("*.js") if "uPlot" not in file.name
        )
        named = set(re.findall(r'(?:href|src)="(page/[^"]+)"', page)) | {
            f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', modules)
        }
        assert len(named) > 8
        for name in named:
            async with session.get(f"/{name}") as response:
                assert response.status == 200, name
                assert (
                    response.content_type
                    == {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[
                        name.rpartition(".")[2]
                    ]
                )
                assert "default-src 'self'" in response.headers["Content-Security-Policy"]
                assert response.headers["X-Content-Type-Options"] == "nosniff"

    run(asked)


def test_the_page_has_no_script_or_style_of_its_own_and_nothing_from_elsewhere():
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", page)


def test_a_file_that_has_not_changed_is_not_sent_again():
    async def asked(_, session):
        async with session.get("/page/page.js") as response:
            tag = response.headers["ETag"]
        async with session.get("/page/page.js", headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
        async with session.get("/page/page.js", headers={"If-None-Match": '"another"'}) as response:
            assert response.status == 200

    run(asked)


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/__init__.py", "/page/..%2f__init__.py"]
)
def test_only_the_files_of_the_page_are_served(path):
    async def asked(_, session):
        async with session.get(path) as response:
            assert response.status == 404

    run(asked)


def test_the_state_is_json_that_nobody_keeps():
    async def asked(_, session):
        async with session.get("/v2/gateway/state") as response:
            assert response.headers["Cache-Control"] == "no-store"
            state = await response.json()
        assert {
            "made_at_s",
            "window_s",
            "gateway",
            "notices",
            "total",
            "processes",
            "requests",
            "events",
            "versions",
        } == set(state)

    run(asked)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?since_s=5.5", 200),
        ("?model=digits&version=1", 200),
        ("?model=digits&version=2", 404),
        ("?model=no%00ne&version=1", 404),
        ("?model=digits", 400),
        ("?version=1", 400),
        ("?model=digits&version=x", 400),
        ("?model=digits&version=" + "9" * 5000, 400),
        ("?since_s=soon", 400),
        ("?since_s=nan", 400),
        ("?since_s=inf", 400),
    ],
)
def test_history_answers_what_it_has_and_refuses_what_it_does_not_understand(query, status):
    async def asked(_, session):
        async with session.get(
            aiohttp.client.URL(f"/v2/gateway/history{query}", encoded=True)
        ) as response:
            assert response.status == status
            assert ("error" in await response.json()) == (status != 200)

    run(asked)


def test_the_stream_tells_the_whole_first_and_then_what_changes():
    async def asked(feed, session):
        async with session.get("/v2/gateway/events") as response:
            assert response.content_type == "text/event-stream"
            ((kind, whole),) = await messages(response, 1)
            assert (kind, len(whole["versions"])) == ("state", 2)
            feed.numbers.slots[0].answer(0, 10, 0.004)
            feed.numbers.clock.now_s += 1
            while True:
                ((kind, update),) = await messages(response, 1)
                assert kind == "update"
                if update["versions"]:
                    break
            assert [version["model"] for version in update["versions"]] == ["digits"]
            assert update["versions"][0]["calls_per_s"] > 0
            assert "processes" not in update

    run(asked)


def test_a_server_that_stops_ends_the_streams_and_takes_no_new_ones():
    async def asked(feed, session):
        async with session.get("/v2/gateway/events") as response:
            await messages(response, 1)
            await asyncio.wait_for(feed.stop(), 5)
            await asyncio.wait_for(response.read(), 5)

    run(asked)


def test_the_number_of_those_who_read_the_stream_is_bounded():
    async def asked(_, session):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(MOST_CLIENTS):
                response = await stack.enter_async_context(session.get("/v2/gateway/events"))
                await messages(response, 1)
            async with session.get("/v2/gateway/events") as refused:
                assert refused.status == 503
        while True:  # their places are free again
            async with session.get("/v2/gateway/events") as response:
                if response.status == 200:
                    break
            await asyncio.sleep(0.05)

    run(asked)


def test_who_does_not_read_the_stream_is_cut_off_and_the_others_are_not():
    async def asked(feed, session):
        reader, writer = await asyncio.open_connection("127.0.0.1", session._base_url.port, limit=1)
        writer.write(b"GET /v2/gateway/events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(12)
        writer.transport.pause_reading()
        async with session.get("/v2/gateway/events") as response:
            await messages(response, 1)
            while len(feed.stream._clients) != 2:
                await asyncio.sleep(0.01)
            message = b"event: update\ndata: " + b'"x"' * 1_000_000 + b"\n\n"
            while len(feed.stream._clients) == 2:
                for client in list(feed.stream._clients):
                    if not client.send(message):
                        feed.stream._clients.discard(client)
                for _ in range(4):
                    await response.content.readany()
                await asyncio.sleep(0.01)
            assert (await response.content.readany())[:1]
        writer.close()

    run(asked)
