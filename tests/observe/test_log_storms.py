"""However many records there are, the first of a kind is written at once and the others as a number every ten seconds."""

import asyncio
import logging
import selectors

import pytest

from gateway.logs.rate_limit import MOST_KINDS, Storms


class VirtualTime(asyncio.SelectorEventLoop):
    """Time that passes when nothing is left to do."""

    def __init__(self):
        self._passed_s = 0.0
        super().__init__(_Selector(self))

    def time(self):
        return self._passed_s


class _Selector(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        self._loop._passed_s += timeout or 0
        return super().select(0)


@pytest.fixture
def storms(caplog):
    caplog.set_level(logging.INFO)
    return Storms(logging.getLogger("storm"))


def run(main):
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(main)


def happen(storms, kind, words=""):
    """One more; True: it was the first."""
    if storms.counted(kind, words):
        return False
    storms.begin(kind, logging.WARNING, "things happened", {"model": kind})
    return True


def test_numbers_come_every_ten_seconds_until_there_are_none_and_then_there_is_a_first_again(storms, caplog):
    async def main():
        assert [happen(storms, "a", f"thing {i}") for i in range(4)] == [True, False, False, False]
        await asyncio.sleep(11)
        assert caplog.messages == ["3 more things happened within 10 s; the last: thing 3"]
        assert not happen(storms, "a")
        await asyncio.sleep(10)
        assert caplog.messages[1:] == ["1 more things happened within 10 s"]
        await asyncio.sleep(11)
        assert len(caplog.messages) == 2
        assert happen(storms, "a")

    run(main())
    assert caplog.records[0].model == "a"


def test_kinds_are_counted_apart(storms, caplog):
    async def main():
        assert [happen(storms, kind) for kind in "abbabb"] == [True, True, False, False, False, False]
        storms.tell_rest()

    run(main())
    assert sorted(caplog.messages) == ["1 more things happened within 10 s", "3 more things happened within 10 s"]


def test_kinds_that_are_quiet_are_forgotten(storms):
    async def main():
        for number in range(MOST_KINDS):
            happen(storms, number)
        assert storms.full
        await asyncio.sleep(11)
        assert not storms.full
        assert repr(storms) == "<Storms 0 kinds, 0 untold>"

    run(main())


def test_outside_an_event_loop_nothing_is_held_back(storms):
    assert [happen(storms, "a") for _ in range(3)] == [True, True, True]


def test_the_words_of_the_last_are_harmless(storms, caplog):
    async def main():
        happen(storms, "a")
        happen(storms, "a", "x\ny" + "z" * 100_000)
        storms.tell_rest()

    run(main())
    (message,) = caplog.messages
    assert message.isprintable()
    assert len(message) < 1100
