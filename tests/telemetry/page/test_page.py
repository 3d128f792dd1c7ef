"""The page in a real browser.

Its numbers move, the console has no errors, it fits a phone, and it says so when the gateway goes.
"""

import asyncio
import contextlib

import pytest

from gateway.ipc.telemetry_messages import ProcessState
from gateway.records.events import Detail
from tests.support.chromium import Browser
from tests.support.live_feed import NAMES, Feed, Traffic, WallClock

USUAL = len(NAMES)
pytestmark = pytest.mark.timeout(180)


def browse(tmp_path, what, *, models=USUAL):
    """Runs `what(feed, traffic, browser)` with a page that moves."""

    async def main():
        clock = WallClock()
        traffic = Traffic(models, clock)
        for ago_s in range(30, 0, -1):
            with clock.earlier(ago_s):
                traffic.second()
                traffic.numbers.live.tick()
        profile = tmp_path / "profile"
        profile.mkdir()
        async with Feed(traffic.numbers) as feed, Browser(profile) as browser:
            going = asyncio.create_task(traffic.go_on())
            try:
                await what(feed, traffic, browser)
            finally:
                going.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await going

    asyncio.run(asyncio.wait_for(main(), 150))


ROWS = "document.querySelectorAll('#versions tr').length"
CALLS = "document.querySelector('.chart dd').textContent"


def test_numbers_appear_and_move_and_the_console_stays_empty(tmp_path):
    async def looked_at(feed, _, browser):
        await browser.open(feed.url)
        await browser.until(f"{ROWS} === {len(NAMES) + 3}")
        await browser.until("document.querySelectorAll('canvas').length === 4")
        first = await browser.until(f"/^[1-9]/.test({CALLS}) && {CALLS}")
        await browser.until(f"{CALLS} !== {first!r}")
        assert (await browser.texts("#phase")) == ["serving"]
        assert (await browser.texts("#versions th"))[0].startswith("fraud_scoring")
        assert any("cannot be opened" in text for text in await browser.texts("#versions td"))
        assert [row.split()[0] for row in await browser.texts("#processes tr")] == ["0", "1"]
        assert {"worker 0", "worker 1"} == set(await browser.texts("#instances th"))
        await browser.until(
            "document.getElementById('versions').innerText.includes('in 1 of 2 "
            "processes, next request tries')"
        )
        links = await browser.value(
            "[...document.querySelectorAll('#requests a')].map((link) => link.href)"
        )
        assert links
        assert all(link.startswith("http://jaeger.test:16686/trace/") for link in links)
        assert browser.faults == []

    browse(tmp_path, looked_at)


def test_the_charts_go_on_where_the_clock_of_the_gateway_is_set_back(tmp_path):
    async def looked_at(feed, traffic, browser):
        await browser.open(feed.url)
        await browser.until(f"/^[1-9]/.test({CALLS})")
        shown = "document.getElementById('clock').textContent"
        before = await browser.value(shown)
        traffic.numbers.clock.set_back(7 * 60)
        await browser.until(f"{shown}.slice(0, -3) !== {before[:-3]!r}")
        seen = await browser.value(CALLS)
        await browser.until(f"/^[1-9]/.test({CALLS}) && {CALLS} !== {seen!r}")
        assert browser.faults == []

    browse(tmp_path, looked_at)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_scrolling_sideways(tmp_path, dark):
    async def looked_at(feed, _, browser):
        await browser.open(feed.url, width=390, height=844, phone=True, dark=dark)
        await browser.until(f"{ROWS} > 3 && document.querySelectorAll('canvas').length === 4")
        assert await browser.value("document.documentElement.scrollWidth") == 390
        assert await browser.value(OVERFLOWING) == []
        columns = await browser.texts("#models thead th")
        assert columns == ["Model", "Calls/s", "Errors/s", "p99"]
        assert (
            await browser.value(
                "Math.min(...[...document.querySelectorAll('.kinds "
                "button')].map((button) => button.offsetHeight))"
            )
            >= 34
        )
        light = await browser.value("getComputedStyle(document.documentElement).backgroundColor")
        assert light == ("rgb(17, 22, 26)" if dark else "rgb(245, 247, 248)")
        assert browser.faults == []

    browse(tmp_path, looked_at)


OVERFLOWING = """[...document.querySelectorAll('.table')].filter((table) => table.scrollWidth > \
table.clientWidth)
    .map((table) => `${table.scrollWidth} > ${table.clientWidth}: ${table.innerText}`)"""


@pytest.mark.parametrize("width", [1280, 1000, 720])
def test_no_table_is_wider_than_the_window_has_room_for(tmp_path, width):
    async def looked_at(feed, _, browser):
        await browser.open(feed.url, width=width)
        await browser.until(f"{ROWS} > 3")
        assert await browser.value(OVERFLOWING) == []
        assert await browser.value("document.documentElement.scrollWidth") == width

    browse(tmp_path, looked_at)


def test_a_thousand_models_can_be_searched_and_one_be_charted(tmp_path):
    async def looked_at(feed, _, browser):
        await browser.open(feed.url)
        await browser.until(f"{ROWS} === 50")
        assert await browser.texts("#models-count") == ["the 50 busiest of 1\u202f003"]
        await browser.value("document.getElementById('more').click()")
        assert await browser.value(ROWS) == 1003
        await browser.value(
            "{ const box = document.getElementById('filter'); box.value = 'penguins'; "
            "box.dispatchEvent(new Event('input')); }"
        )
        assert [text.split()[0] for text in await browser.texts("#versions th")] == ["penguins"]
        await browser.value("document.querySelector('#versions button').click()")
        assert await browser.texts("#now-title") == ["penguins, version 1"]
        await browser.until(f"/^[1-9]/.test({CALLS})")
        await browser.value("document.getElementById('everything').click()")
        assert await browser.texts("#now-title") == ["All models"]
        assert browser.faults == []

    browse(tmp_path, looked_at, models=1000)


def test_words_of_callers_are_shown_as_words(tmp_path):
    async def looked_at(feed, traffic, browser):
        slot = traffic.numbers.slots[0]
        said = "<img src=x onerror=alert(1)><script>alert(1)</script>"
        slot.request(
            0,
            traffic.numbers.clock.ns(),
            reason="model_not_found",
            status=5,
            request_id="<b>id</b>",
            detail=Detail(error=said),
        )
        slot.tell(traffic.numbers.live)
        await browser.open(feed.url)
        await browser.until(
            "document.getElementById('requests').innerText.includes('<script>alert(1)</script>')"
        )
        assert (
            await browser.value(
                "document.querySelectorAll('#requests img, #requests script, #requests b').length"
            )
            == 0
        )
        assert browser.faults == []

    browse(tmp_path, looked_at)


def test_the_page_says_that_the_gateway_drains_that_a_process_is_gone_or_that_nothing_comes(
    tmp_path,
):
    async def looked_at(feed, traffic, browser):
        numbers = traffic.numbers
        await browser.open(feed.url)
        await browser.until(f"{ROWS} > 3")
        gone = ProcessState(1, 0, "restarting", 1, "killed by signal 9")
        numbers.live.on_event(
            numbers.overview(
                phase="draining", ready=False, processes=(numbers.overview().processes[0], gone)
            )
        )
        await browser.until("document.getElementById('notices').innerText.includes('draining')")
        await browser.until(
            "document.getElementById('processes').innerText.includes('killed by signal 9')"
        )
        assert await browser.texts("#phase") == ["draining"]
        assert browser.faults == []
        await feed.stop()
        await browser.until(
            "document.getElementById('connection').innerText.includes('No connection since')"
        )
        assert await browser.texts("#phase") == ["no connection"]
        assert await browser.value("document.body.classList.contains('stale')")

    browse(tmp_path, looked_at)
