"""The error that ended a request is logged by whose fault it is, and never in a flood."""

import asyncio
import logging

import pytest

from gateway.core.errors import (
    CircuitBreakerOpen,
    DeadlineExpired,
    GatewayError,
    InvalidRequest,
    ModelFailed,
    ModelNotFound,
    NotPermitted,
    Overloaded,
    QuotaExceeded,
    Unavailable,
    Unsupported,
)
from gateway.logs.formats import about
from gateway.serving.wire.call_errors import ending, flush_log, log_error
from gateway.serving.wire.transport.interface import CallEnded


@pytest.fixture(autouse=True)
def records(caplog):
    """All that is logged, from the first of every kind."""
    flush_log()
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "gateway"):
        yield caplog
    flush_log()


def told(caplog):
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "gateway.serving.wire.call_errors"
    ]


@pytest.mark.parametrize(
    ("error", "level"),
    [
        *(
            (kind("why"), "DEBUG")
            for kind in (InvalidRequest, ModelNotFound, NotPermitted, QuotaExceeded, Unsupported)
        ),
        (CallEnded(9, "why"), "DEBUG"),
        *(
            (kind("why"), "WARNING")
            for kind in (
                Overloaded,
                DeadlineExpired,
                Unavailable,
                CircuitBreakerOpen,
                ModelFailed,
                GatewayError,
            )
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_callers_faults_are_told_at_debug_and_ours_at_warning(caplog, error, level):
    ending(error)
    assert told(caplog) == [(level, "request failed: why")]
    assert caplog.records[-1].exc_info is None


def test_a_cancelled_call_is_not_worth_a_line(caplog):
    ending(asyncio.CancelledError())
    assert told(caplog) == []


def test_what_nobody_expected_has_one_traceback_for_each_place_it_came_from(caplog):
    def one():
        raise ZeroDivisionError

    def other():
        raise ZeroDivisionError

    async def main():
        for fail in [one, other] * 100:
            try:
                fail()
            except ZeroDivisionError as error:
                ending(error)
        flush_log()

    asyncio.run(main())
    assert told(caplog) == [
        *[("ERROR", "A method failed. This is a bug.")] * 2,
        *[("ERROR", "99 more calls failed with ZeroDivisionError at the same place within 10 s")]
        * 2,
    ]
    assert [record.exc_info is not None for record in caplog.records[-4:]] == [
        True,
        True,
        False,
        False,
    ]


def test_what_is_known_of_the_request_stands_with_it_and_is_asked_for_only_then(caplog):
    asked = []

    def known():
        asked.append(True)
        return {"trace_id": b"t" * 16, "request_id": "r-1"}

    async def main():
        for _ in range(1000):
            error = ModelFailed("it broke")
            log_error(error, "digits", 3, known)
            ending(error)
        log_error(ModelFailed("it broke"), "other", 1)
        flush_log()

    asyncio.run(main())
    assert asked == [True]
    first, other, more = (
        record.__dict__
        for record in caplog.records
        if record.name == "gateway.serving.wire.call_errors"
    )
    expected = {
        "trace_id": b"t" * 16,
        "request_id": "r-1",
        "model": "digits",
        "version": 3,
        "status": "INTERNAL",
        "reason": "model_failed",
    }
    assert {name: first[name] for name in expected} == expected
    assert (other["model"], other["version"]) == ("other", 1)
    assert more["message"] == "999 more failed for the same reason within 10 s; the last: it broke"
    assert (more["model"], more["reason"]) == ("digits", "model_failed")
    assert "trace_id" not in more


def test_an_error_told_with_all_that_is_known_is_not_told_again_at_the_edge(caplog):
    error = Overloaded("full")
    log_error(error, "digits", 3)
    ending(error)
    assert len(told(caplog)) == 1


def test_a_thousand_kinds_at_once_are_told_as_one(caplog):
    async def main():
        for number in range(1000):
            log_error(Overloaded("full"), f"model-{number}", 1)
        assert len(told(caplog)) <= 257
        flush_log()

    asyncio.run(main())
    assert sum("more" in text for _, text in told(caplog)) == 1


def test_an_ended_event_loop_holds_no_later_error_back(caplog):
    async def fail():
        log_error(Overloaded("full"))

    for _ in range(2):
        asyncio.run(fail())
        flush_log()
    assert len(told(caplog)) == 2


def test_what_is_told_may_hold_anybodys_words():
    assert about(model="a\nb", version=0) == {"model": "a\nb"}
