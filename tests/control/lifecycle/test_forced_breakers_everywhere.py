"""Circuit breakers of whole gateways: forced in every process, and reported by every process."""

from __future__ import annotations

import os
import signal

from tests.support.running_gateway import until


def breakers(gateway):
    """The state and mode of every breaker by process, as one process answers for all.

    The value is None for a process that did not answer.
    """
    return {int(slot): report for slot, report in gateway.ask("breakers")["reports"].items()}


def test_whoever_is_asked_tells_of_every_process(start):
    gateway = start()

    assert breakers(gateway) == {0: {"m/1/": ["closed", ""]}, 1: {"m/1/": ["closed", ""]}}


def test_a_forced_breaker_is_so_in_every_process_when_the_answer_comes_and_after_a_restart(start):
    gateway = start()

    (warning,) = gateway.ask("force", "m/1/", "open")
    assert "it has no fallback" in warning
    assert breakers(gateway) == {0: {"m/1/": ["open", "open"]}, 1: {"m/1/": ["open", "open"]}}
    os.kill(gateway.pid_of(0), signal.SIGKILL)
    until(lambda: breakers(gateway).get(0))

    assert breakers(gateway)[0] == {"m/1/": ["open", "open"]}
    assert gateway.ask("force", "m/1/") == []
    assert breakers(gateway) == {0: {"m/1/": ["closed", ""]}, 1: {"m/1/": ["closed", ""]}}


def test_a_breaker_can_be_forced_before_there_is_one(start, models):
    gateway = start()

    gateway.ask("force", "n/1/", "open")
    assert gateway.ask("breakers")["forced"] == {"n/1/": "open"}
    (models / "n").write_text("1 ok\n")
    gateway.ask("load", "n")

    assert breakers(gateway)[1]["n/1/"] == ["open", "open"]


def test_a_frozen_process_is_told_of_as_silent(start):
    gateway = start()
    with gateway.connect() as connection:
        slot = connection.ask("state")["slot"]
        other = gateway.pid_of(1 - slot)
        os.kill(other, signal.SIGSTOP)
        try:
            answer = connection.ask("breakers")["reports"]
        finally:
            os.kill(other, signal.SIGCONT)

    assert answer == {str(slot): {"m/1/": ["closed", ""]}, str(1 - slot): None}
