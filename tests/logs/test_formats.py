"""Records are written as lines, whatever they contain."""

import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logs.formats import HumanFormatter, JsonFormatter, about, rfc3339
from gateway.logs.redaction import printable, quoted
from gateway.logs.setup import make_formatter

TRACE = bytes(range(16))
SPAN = bytes(range(8))
EVIL = "digits\n2026-01-01 00:00:00,000 ERROR   gateway: forged\x1b[2J\u202e\u2028"


def traceback_of(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    return caught.tb


def record(message="told", *, error=None, level=logging.WARNING, **known):
    exc_info = None if error is None else (type(error), error, traceback_of(error))
    return logging.getLogger("gateway.test").makeRecord(
        "gateway.test", level, __file__, 1, message, (), exc_info, extra=about(**known)
    )


def as_json(made):
    line = JsonFormatter("serving-0").format(made)
    assert "\n" not in line
    assert line.isascii()
    return json.loads(line)


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_a_record_is_one_line_of_printable_text_whatever_callers_write(message, model, request_id):
    made = record(message, model=model, request_id=request_id)
    line = HumanFormatter("0").format(made)
    assert line.isprintable()
    assert f" model={quoted(model)} request_id={quoted(request_id)}" in line
    found = as_json(made)
    if len(message) < 4096 and message.isprintable():
        assert found["message"] == message
    assert (found["model"], found["request_id"]) == (model[:256], request_id[:256])


@given(st.text(max_size=300))
def test_a_quoted_value_ends_where_it_ends(text):
    shown = quoted(text)
    assert re.fullmatch(r'[^\s"=\\]+|"(\\.|[^"\\])*"', shown)
    assert shown.isprintable()


def test_what_is_long_is_cut():
    assert len(printable("x" * 1_000_000)) == 4099
    assert len(quoted("x" * 1_000_000)) < 300
    assert len(HumanFormatter("").format(record("m" * 1_000_000, model="n" * 1_000_000))) < 5000
    assert len(HumanFormatter("").format(record(error=ValueError("e" * 1_000_000)))) < 40_000
    assert (
        len(json.dumps(as_json(record("m" * 1_000_000, error=ValueError("e" * 1_000_000)))))
        < 30_000
    )


def test_no_line_of_a_traceback_begins_like_a_record():
    first, *others = HumanFormatter("").format(record(error=ValueError(EVIL))).split("\n")
    assert first.endswith("gateway.test: told")
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert others[0] == "  Traceback (most recent call last):"
    assert any("ValueError: digits" in line for line in others)


def test_the_human_form_is_that_of_before_with_what_is_known_behind_it():
    line = HumanFormatter("3").format(
        record(
            trace_id=TRACE,
            span_id=SPAN,
            model="digits",
            version=3,
            status="INTERNAL",
            reason="model_failed",
        )
    )
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING gateway\.test \[3\]: told "
        r"reason=model_failed status=INTERNAL model=digits version=3 "
        r"trace_id=000102030405060708090a0b0c0d0e0f span_id=0001020304050607",
        line,
    )


def test_json_has_the_fields_that_are_promised():
    found = as_json(
        record(
            trace_id=TRACE,
            span_id=SPAN,
            request_id="r",
            model="digits",
            version=3,
            status="INTERNAL",
            error=KeyError("k"),
        )
    )
    assert list(found)[:6] == ["time", "level", "logger", "message", "process", "pid"]
    assert (
        found["level"],
        found["logger"],
        found["process"],
        found["version"],
        found["request_id"],
    ) == (
        "WARNING",
        "gateway.test",
        "serving-0",
        3,
        "r",
    )
    assert (found["trace_id"], found["span_id"]) == (TRACE.hex(), SPAN.hex())
    assert (found["exception"]["type"], found["exception"]["message"]) == ("KeyError", "'k'")
    assert found["exception"]["stack"].startswith("Traceback (most recent call last)")


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_are_rfc_3339_in_microseconds(micros):
    text = rfc3339(micros / 1e6)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    read = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert round((read - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6) == micros


@pytest.mark.parametrize(
    ("process", "shown", "named"),
    [("main", "", "main"), ("telemetry", " [telemetry]", "telemetry"), (2, " [2]", "serving-2")],
)
def test_every_process_says_which_it_is(process, shown, named):
    assert f"gateway.test{shown}: told" in make_formatter("human", process).format(record())
    assert json.loads(make_formatter("json", process).format(record()))["process"] == named


def test_in_json_even_what_nobody_catches_is_an_object():
    script = """if True:
        import threading, warnings
        from gateway.logs.setup import begin_logs
        begin_logs("json", "info", 0)
        warnings.warn("warned")
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raise ValueError("the end")
    """
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    first, second, third = map(json.loads, done.stderr.splitlines())
    assert "warned" in first["message"]
    assert second["exception"]["type"] == "ZeroDivisionError"
    assert (third["level"], third["exception"]["message"]) == ("CRITICAL", "the end")


def test_human_logs_do_not_bring_json_into_a_process():
    script = (
        "import sys; from gateway.logs.setup import begin_logs; begin_logs('human', "
        "'info', 0); print(*sys.modules)"
    )
    modules = set(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert not modules & {"json", "numpy", "asyncio", "structlog", "pythonjsonlogger"}


def test_what_onnx_runtime_says_of_a_failed_node_is_left_out_for_it_quotes_inputs():
    text = (
        "it failed: [ONNXRuntimeError] : 2 : Non-zero status code returned while running Gather "
        "node. Name:'g' Status Message: idx=77\nidx=77"
    )
    made = record(text, error=ValueError(text))
    for line in (HumanFormatter("").format(made), JsonFormatter("main").format(made)):
        assert "idx=77" not in line
        assert (
            "while running Gather node. Name:'g' Status Message: (left out: it may quote inputs)"
            in line
        )


@pytest.mark.parametrize("rows", ["in row 3, at [3, 1]", "at [1]"])
def test_the_value_of_a_refused_output_is_left_out(rows):
    made = record(
        "request failed: output 'y' of model 'm' version 1 holds "
        f"-77.5 {rows}; it must be 0 or more"
    )
    assert f"holds a value {rows}; it must be 0 or more" in HumanFormatter("").format(made)
