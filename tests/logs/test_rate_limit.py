"""The first record of a kind is logged at once.

The others are logged as a number every ten seconds, however many they are.
"""

import asyncio
import logging
import selectors

import pytest

from gateway.logs.rate_limit import MOST_KINDS, RateLimitedLog


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop whose time passes when nothing is left to do."""

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
def limited(caplog):
    caplog.set_level(logging.INFO)
    return RateLimitedLog(logging.getLogger("storm"))


def run(main):
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(main)


def happen(limited, kind, words=""):
    """Records one more of the kind; true: it was the first."""
    if limited.counted(kind, words):
        return False
    limited.begin(kind, logging.WARNING, "things happened", {"model": kind})
    return True


def test_numbers_come_every_ten_seconds_until_there_are_none_and_then_there_is_a_first_again(
    limited, caplog
):
    async def main():
        assert [happen(limited, "a", f"thing {i}") for i in range(4)] == [True, False, False, False]
        await asyncio.sleep(11)
        assert caplog.messages == ["3 more things happened within 10 s; the last: thing 3"]
        assert not happen(limited, "a")
        await asyncio.sleep(10)
        assert caplog.messages[1:] == ["1 more things happened within 10 s"]
        await asyncio.sleep(11)
        assert len(caplog.messages) == 2
        assert happen(limited, "a")

    run(main())
    assert caplog.records[0].model == "a"


def test_kinds_are_counted_apart(limited, caplog):
    async def main():
        assert [happen(limited, kind) for kind in "abbabb"] == [
            True,
            True,
            False,
            False,
            False,
            False,
        ]
        limited.flush()

    run(main())
    assert sorted(caplog.messages) == [
        "1 more things happened within 10 s",
        "3 more things happened within 10 s",
    ]


def test_kinds_that_are_quiet_are_forgotten(limited):
    async def main():
        for number in range(MOST_KINDS):
            happen(limited, number)
        assert limited.full
        await asyncio.sleep(11)
        assert not limited.full
        assert repr(limited) == "<RateLimitedLog 0 kinds, 0 not logged yet>"

    run(main())


def test_outside_an_event_loop_nothing_is_held_back(limited):
    assert [happen(limited, "a") for _ in range(3)] == [True, True, True]


def test_the_words_of_the_last_are_harmless(limited, caplog):
    async def main():
        happen(limited, "a")
        happen(limited, "a", "x\ny" + "z" * 100_000)
        limited.flush()

    run(main())
    (message,) = caplog.messages
    assert message.isprintable()
    assert len(message) < 1100


def test_a_warning_is_written_with_its_traceback_and_those_alike_are_counted(limited, caplog):
    async def main():
        for i in range(3):
            limited.warning("failed", f"call {i}", "calls failed", ValueError("why"))
        assert caplog.messages == ["call 0"]
        assert caplog.records[0].exc_info[0] is ValueError
        await asyncio.sleep(11)
        assert caplog.messages[1:] == ["2 more calls failed within 10 s; the last: call 2"]

    run(main())
