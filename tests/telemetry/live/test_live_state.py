"""The state of the gateway at one moment.

It is made of counters, cells and gauges that were really written, on a clock moved by hand.
"""

import json
import time

import pytest

from gateway.ipc.repository_index import IndexEntry
from gateway.ipc.telemetry_messages import ProcessState
from gateway.records.cells import DEGRADED, REFUSED_SAMPLING, SLOW
from gateway.records.counters import GATEWAY_ROW
from gateway.records.events import Detail
from gateway.telemetry.live.history import POINTS
from gateway.telemetry.live.recent_requests import KEPT
from tests.support.live_parts import LOADING, PIDS, READY, STARTED_S, UNAVAILABLE, Numbers, gauged


@pytest.fixture
def numbers():
    with Numbers() as made:
        made.live.on_event(made.overview())
        made.second()
        yield made


def state(numbers):
    return json.loads(numbers.live.document().text())


def version(numbers, model="digits"):
    return next(each for each in state(numbers)["versions"] if each["model"] == model)


def texts(numbers):
    return [notice["text"] for notice in state(numbers)["notices"]]


def test_rates_are_those_of_all_processes_over_the_last_five_seconds(numbers):
    numbers.second(5)
    for slot in numbers.slots:
        slot.answer(0, 20, 0.004, rows=2)
    numbers.slots[0].fail(0, "deadline")
    numbers.second()
    found = version(numbers)
    assert found["calls_per_s"] == pytest.approx(41 / 5)
    assert found["errors_per_s_by_reason"] == {"deadline": 0.2}
    assert (found["rows_per_s"], found["batches_per_s"], found["rows_per_batch"]) == (
        16.0,
        0.4,
        40.0,
    )
    assert found["input_bytes_per_s"] == 40 * 256 / 5
    assert 2.5 < found["latency_p50_ms"] < 5
    assert state(numbers)["total"]["calls_per_s"] == found["calls_per_s"]
    numbers.second(5)
    assert (version(numbers)["calls_per_s"], version(numbers)["latency_p50_ms"]) == (0, None)


def test_what_was_counted_before_the_first_look_is_no_burst():
    with Numbers() as numbers:
        numbers.slots[0].answer(0, 10_000, 0.001)
        numbers.live.on_event(numbers.overview())
        numbers.second(2)
        assert version(numbers)["calls_per_s"] == 0


def test_a_version_that_comes_later_brings_no_burst_and_takes_nothing_from_the_others(numbers):
    numbers.slots[0].answer(0, 50, 0.001)
    numbers.slots[0].answer(7, 5000, 0.001)
    numbers.second()
    before = version(numbers)["calls_per_s"]
    index = (*numbers.overview().index, IndexEntry("new", "1", READY))
    numbers.live.on_event(
        numbers.overview(rows={**numbers.overview().rows, 7: ("new", 1)}, index=index)
    )
    numbers.second()
    assert version(numbers, "new")["calls_per_s"] == 0
    assert version(numbers)["calls_per_s"] > 0
    assert before > 0
    numbers.slots[1].answer(7, 10, 0.001)
    numbers.second()
    assert version(numbers, "new")["calls_per_s"] > 0


def test_a_row_that_is_cleared_for_another_version_never_counts_backwards(numbers):
    numbers.slots[0].answer(0, 500, 0.001)
    numbers.second()
    numbers.table.clear(0)
    numbers.slots[0].answer(0, 10, 0.001)
    numbers.second()
    assert version(numbers)["calls_per_s"] == pytest.approx(10 / 2)


def test_calls_for_models_that_are_not_there_count_in_the_total_alone(numbers):
    numbers.slots[0].fail(GATEWAY_ROW, "model_not_found")
    numbers.second()
    assert state(numbers)["total"]["errors_per_s_by_reason"] == {"model_not_found": 1.0}
    assert {each["model"] for each in state(numbers)["versions"]} == {"digits", "penguins"}


def test_gauges_add_up_over_processes_and_the_worst_breaker_is_shown(numbers):
    at_ns = numbers.clock.ns()
    instances = (("worker 0", False, 0, "open"), ("worker 1", True, 1, "closed"))
    numbers.slots[0].gauges(at_ns, (gauged(0, "digits", queued=3, running=1, instances=instances),))
    numbers.slots[1].gauges(at_ns, (gauged(0, "digits", queued=4, breaker="open", forced="open"),))
    numbers.second()
    found = version(numbers)
    assert (found["queued"], found["running_batches"], found["in_flight"]) == (7, 1, 8)
    assert (
        found["breaker"],
        found["breaker_open_processes"],
        found["breaker_processes"],
        found["breaker_forced"],
    ) == ("open", 1, 2, "open")
    assert [(each["process"], each["name"], each["available"]) for each in found["instances"]] == [
        (0, "worker 0", False),
        (0, "worker 1", True),
    ]
    assert state(numbers)["total"]["queued"] == 7
    assert (
        "The circuit breaker of digits version 1 is open in 1 of 2 processes, because it was set "
        "so; `gateway breakers digits:1 --automatic` undoes it."
    ) in texts(numbers)


def test_a_breaker_that_the_next_request_tries_is_open_and_says_so(numbers):
    at_ns = numbers.clock.ns()
    numbers.slots[0].gauges(
        at_ns,
        (
            gauged(
                0,
                "digits",
                breaker="open, to try",
                instances=(("worker 0", True, 0, "open, to try"),),
            ),
        ),
    )
    numbers.slots[1].gauges(at_ns, (gauged(0, "digits", breaker="open"),))
    numbers.second()
    found = version(numbers)
    assert (
        found["breaker"],
        found["breaker_open_processes"],
        found["breaker_to_try_processes"],
    ) == ("open", 2, 1)
    assert [(each["breaker"], each["breaker_to_try"]) for each in found["instances"]] == [
        ("open", True)
    ]
    text = "The circuit breaker of digits version 1 is open in 2 of 2 processes{}. {}"
    why = "`gateway breakers digits:1` says why."
    assert text.format("", why) in texts(numbers)
    numbers.slots[1].gauges(numbers.clock.ns(), (gauged(0, "digits", breaker="open, to try"),))
    numbers.second()
    assert text.format("; the next request tries it", why) in texts(numbers)
    numbers.slots[1].gauges(
        numbers.clock.ns(),
        (gauged(0, "digits", breaker="open, to try"), gauged(1, "penguins", breaker="open")),
    )
    numbers.second()
    assert len([each for each in texts(numbers) if "circuit breaker of" in each]) == 2


def test_what_a_process_said_before_it_was_replaced_is_not_shown(numbers):
    numbers.slots[0].gauges(numbers.clock.ns(), (gauged(0, "digits", queued=3),))
    numbers.live.on_event(
        numbers.overview(
            processes=(ProcessState(0, 999, "serving", 1), ProcessState(1, PIDS[1], "serving", 0))
        )
    )
    numbers.second()
    assert version(numbers)["queued"] == 0
    assert state(numbers)["processes"][0]["speaks"] is False


def test_a_process_that_falls_silent_is_told_of_and_its_gauges_go(numbers):
    for _ in range(3):
        for slot in numbers.slots:
            slot.gauges(numbers.clock.ns(), (gauged(0, "digits", queued=3),))
        numbers.second()
    assert not texts(numbers)
    numbers.second(6)
    assert version(numbers)["queued"] == 0
    assert "Process 0 sends no gauges: its queue and requests in flight are not known." in texts(
        numbers
    )


@pytest.mark.parametrize("phase", ["draining", "stopping"])
def test_a_gateway_on_its_way_out_says_so(numbers, phase):
    numbers.live.on_event(numbers.overview(phase=phase, ready=False))
    numbers.second()
    assert state(numbers)["gateway"]["phase"] == phase
    assert any(phase in text for text in texts(numbers))
    assert any(event["text"] == f"the gateway is {phase}" for event in state(numbers)["events"])


def test_a_process_that_is_restarted_is_told_of_with_the_reason(numbers):
    gone = ProcessState(1, 0, "restarting", 1, "killed by signal 9")
    numbers.live.on_event(numbers.overview(processes=(numbers.overview().processes[0], gone)))
    numbers.second()
    assert "Process 1 is restarting; the one before it ended: killed by signal 9." in texts(numbers)
    assert state(numbers)["events"][0]["text"] == "process 1 is restarting: killed by signal 9"


def test_of_many_versions_that_cannot_be_served_three_are_named_and_the_others_counted(numbers):
    index = tuple(IndexEntry(name, "1", UNAVAILABLE, "broken. " * 100) for name in "abcde")
    numbers.live.on_event(numbers.overview(index=index, rows={}))
    numbers.second()
    found = [text for text in texts(numbers) if "served" in text]
    assert [text[:12] for text in found[:3]] == ["a version 1 ", "b version 1 ", "c version 1 "]
    assert found[3:] == ["2 more versions cannot be served."]
    assert all(len(text) < 300 for text in found)


def test_processes_that_are_idle_beside_a_busy_one_are_told_of(numbers):
    for busy_s in (0.0, 0.9):
        for slot, cpu_s in zip(numbers.slots, (busy_s, 0.0), strict=True):
            slot.gauges(numbers.clock.ns(), (), cpu_s=cpu_s)
        numbers.second()
    (text,) = [text for text in texts(numbers) if "idle" in text]
    assert text.startswith("1 of 2 processes are idle while process 0 uses 90 % of a core: ")
    for slot in numbers.slots:
        slot.gauges(numbers.clock.ns(), (), cpu_s=1.8)
    numbers.second()
    assert not [text for text in texts(numbers) if "idle" in text]


def test_versions_that_cannot_be_served_are_named_and_unloaded_ones_are_not(numbers):
    index = (
        IndexEntry("a", "1", UNAVAILABLE, "cannot be opened"),
        IndexEntry("b", "1", UNAVAILABLE, "unloaded"),
        IndexEntry("c", "1", LOADING),
    )
    numbers.live.on_event(numbers.overview(index=(*index, IndexEntry("d")), rows={}))
    numbers.second()
    assert (
        "a version 1 cannot be served: cannot be opened. Mended, `gateway load a` loads it."
        in texts(numbers)
    )
    assert not [text for text in texts(numbers) if text.startswith("b ")]
    assert [(each["model"], each["state"]) for each in state(numbers)["versions"]][-1] == (
        "d",
        "NOT_LOADED",
    )


def test_records_that_found_no_room_are_told_of_while_it_is_news(numbers):
    numbers.slots[0].gauges(numbers.clock.ns())
    numbers.second()
    numbers.slots[0].gauges(numbers.clock.ns(), dropped=12)
    numbers.second()
    assert any("no room for 12 records" in text for text in texts(numbers))
    for _ in range(8):
        numbers.slots[0].gauges(numbers.clock.ns(), dropped=12)
        numbers.second()
    assert not any("no room" in text for text in texts(numbers))


def test_a_failed_request_is_shown_with_what_its_caller_was_told_and_its_trace(numbers):
    detail = Detail(error="<b>\x1b[2J too late", retries=1)
    trace = bytes(range(16))
    numbers.slots[1].request(
        1,
        numbers.clock.ns(),
        took_ms=20,
        reason="deadline",
        status=4,
        trace=trace,
        request_id="order-7",
        detail=detail,
    )
    numbers.second()
    (request,) = state(numbers)["requests"]
    assert request["at_s"] == STARTED_S + 1001
    assert (request["kind"], request["reason"], request["status"], request["took_ms"]) == (
        "failed",
        "deadline",
        "DEADLINE_EXCEEDED",
        20.0,
    )
    assert (request["model"], request["version"], request["process"], request["request_id"]) == (
        "penguins",
        "1",
        1,
        "order-7",
    )
    assert request["error"] == detail.error
    assert request["trace_url"] == f"http://jaeger.test:16686/trace/{trace.hex()}"


def test_a_request_whose_caller_said_not_sampled_has_an_id_but_no_link(numbers):
    numbers.slots[0].request(
        0, numbers.clock.ns(), flags=SLOW | REFUSED_SAMPLING, trace=bytes(range(16))
    )
    numbers.second()
    (request,) = state(numbers)["requests"]
    assert request["trace_id"] == bytes(range(16)).hex()
    assert request["trace_url"] == ""


def test_a_degraded_answer_is_shown_once_though_it_was_slow_too(numbers):
    numbers.slots[0].request(
        0,
        numbers.clock.ns(),
        flags=DEGRADED | SLOW,
        detail=Detail(served_by="penguins/1", fallback_reason="circuit_open"),
    )
    numbers.second()
    (request,) = state(numbers)["requests"]
    assert (request["kind"], request["served_by"], request["reason"]) == (
        "degraded",
        "penguins/1",
        "circuit_open",
    )
    assert len(request["trace_id"]) == 32


def test_a_flood_of_one_fault_leaves_the_others_to_be_seen(numbers):
    numbers.slots[0].request(0, numbers.clock.ns(), reason="instance_failed", status=14)
    for _ in range(500):
        numbers.slots[0].request(0, numbers.clock.ns(), reason="invalid_request", status=3)
    numbers.second()
    found = [request["reason"] for request in state(numbers)["requests"]]
    assert found.count("invalid_request") == KEPT
    assert found.count("instance_failed") == 1


def test_what_was_decided_is_told_the_newest_first(numbers):
    for second, word in enumerate(("open", "half-open", "closed")):
        numbers.slots[0].decide(
            numbers.clock.ns() + second,
            "breaker",
            "digits",
            1,
            word,
            "5 in a row failed",
            "worker 0",
        )
    numbers.second()
    assert [event["state"] for event in state(numbers)["events"]] == ["closed", "half-open", "open"]


def test_history_has_a_point_a_second_of_everything_and_of_each_version(numbers):
    since_s = numbers.clock.unix_s()
    for _ in range(3):
        numbers.slots[0].answer(0, 10, 0.004)
        numbers.second()
    whole, digits, penguins = (
        numbers.live.history(key, since_s) for key in (None, ("digits", 1), ("penguins", 1))
    )
    assert [at - STARTED_S for at in whole["at_s"]] == [1002, 1003, 1004]
    assert whole["calls_per_s"] == digits["calls_per_s"] == pytest.approx([10, 10, 10])
    assert penguins["calls_per_s"] == [0, 0, 0]
    assert penguins["latency_p99_ms"] == [None, None, None]
    assert numbers.live.history(("nobody", 1)) is None


def test_history_is_bounded_and_forgets_what_is_unloaded(numbers):
    numbers.second(POINTS + 20)
    assert len(numbers.live.history()["at_s"]) == POINTS
    numbers.live.on_event(numbers.overview(rows={0: ("digits", 1)}))
    numbers.second()
    assert numbers.live.history(("penguins", 1)) is None


def test_changes_hold_what_is_new_alone_and_lead_to_the_same_state(numbers):
    before = numbers.live.document()
    numbers.slots[0].answer(0, 10, 0.004)
    numbers.live.on_event(
        numbers.overview(index=numbers.overview().index[:1], rows={0: ("digits", 1)})
    )
    numbers.second()
    after = numbers.live.document()
    changes = json.loads(after.changes(before))
    assert "gateway" not in changes
    assert [each["model"] for each in changes["versions"]] == ["digits"]
    assert changes.pop("gone") == ["penguins/1"]
    told = {**json.loads(before.text()), **changes}
    assert told == state(numbers)


def test_a_look_at_a_thousand_versions_takes_milliseconds():
    with Numbers([f"model_{number:04d}" for number in range(1000)]) as numbers:
        numbers.live.on_event(numbers.overview())
        took_s = []
        for _ in range(8):
            for slot in numbers.slots:
                slot.gauges(
                    numbers.clock.ns(),
                    tuple(gauged(row, name) for row, name in enumerate(numbers.names)),
                )
                slot.answer(5, 10, 0.004)
                slot.tell(numbers.live)
            numbers.clock.now_s += 1
            began_s = time.perf_counter()
            numbers.live.tick()
            numbers.live.document()
            took_s.append(time.perf_counter() - began_s)
        assert min(took_s) < 0.1, "measured: 8 ms; ten times that is no noise"


def test_charts_go_on_where_the_clock_of_the_machine_is_set_back():
    with Numbers() as numbers:
        numbers.live.on_event(numbers.overview())
        numbers.second(5)
        numbers.clock.wall_s -= 3600
        for _ in range(3):
            numbers.slots[0].answer(0, 10, 0.005)
            numbers.second()
        of_one = numbers.live.history(("digits", 1))
        of_all = numbers.live.history()
        assert of_one["at_s"] == of_all["at_s"] == sorted(of_all["at_s"])
        assert len(of_all["at_s"]) == 3
        assert of_one["calls_per_s"][-1] > 0
        assert numbers.live.history(since_s=of_all["at_s"][1])["at_s"] == of_all["at_s"][2:]
