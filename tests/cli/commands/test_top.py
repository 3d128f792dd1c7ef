"""`gateway top` against a server that answers in place of a gateway."""

import http.server
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.checkout import ROOT

FIGURES = {
    "calls_per_s": 0.0, "errors_per_s": 0.0, "latency_p50_ms": None, "latency_p90_ms": None,
    "latency_p99_ms": None, "queue_p90_ms": None, "rows_per_batch": None, "queued": 0,
    "in_flight": 0, "errors_per_s_by_reason": {},
}  # fmt: skip
VERSION = {
    **FIGURES,
    "version": "1",
    "state": "READY",
    "reason": "",
    "breaker": "closed",
    "breaker_forced": "",
    "breaker_open_processes": 0,
    "breaker_to_try_processes": 0,
    "instances": [],
}
BUSY = {
    **VERSION, "model": "digits", "version": "2", "calls_per_s": 1234.5, "errors_per_s": 2.25,
    "latency_p50_ms": 1.234, "latency_p99_ms": 2345.6, "rows_per_batch": 17.25, "queued": 12,
    "breaker": "open", "instances": [{"available": False, "breaker": "open"}],
}  # fmt: skip
HOSTILE = "\x1b[2J[bold]5 failed"
STATE = {
    "made_at_s": 1_700_000_000.0,
    "window_s": 5,
    "gateway": {
        "phase": "serving",
        "ready": True,
        "address": "127.0.0.1:8001",
        "started_at_s": 1_699_992_800.0,
    },
    "notices": [{"level": "warning", "text": "1 version has an open breaker."}],
    "total": {
        **FIGURES,
        "calls_per_s": 1234.5,
        "errors_per_s": 2.25,
        "errors_per_s_by_reason": {"model_failed": 2.25},
    },
    "versions": [
        {**VERSION, "model": "idle"},
        {**VERSION, "model": "broken", "state": "UNAVAILABLE", "reason": "no", "breaker": ""},
        BUSY,
        *({**VERSION, "model": f"another_{number:02}"} for number in range(40)),
    ],
    "processes": [
        {
            "process": 0,
            "pid": 4100,
            "state": "serving",
            "speaks": True,
            "cpu_percent": 61.2,
            "memory_bytes": 180 << 20,
            "loop_lag_ms": 0.4,
            "in_flight": 3,
            "restarts": 1,
            "last_end": "died with SIGKILL (pid 4000)",
        },
    ],
    "events": [
        {
            "at_s": 1_700_000_000.0,
            "what": "breaker",
            "state": "open",
            "model": "digits",
            "version": "2",
            "instance": "",
            "text": HOSTILE,
        },
    ],
}


class Answering:
    """An HTTP server; `answer` is the status and the body of every answer."""

    def __init__(self):
        self.answer = 200, json.dumps(STATE).encode()
        answering = self

        class Asked(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                assert self.path == "/v2/gateway/state"
                status, body = answering.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked)
        self.address = f"127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def answering():
    made = Answering()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(made.server.serve_forever)
        yield made
        made.close()


def row_of(out, name):
    return re.split(
        r" {2,}", next(line for line in out.splitlines() if line.strip().startswith(name)).strip()
    )


def test_once_prints_every_version_the_busiest_first_without_a_terminal(gateway, answering):
    done = gateway("top", "--once", "--address", answering.address)
    assert (done.status, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert row_of(done.out, "digits") == [
        "digits",
        "2",
        "ready",
        "1,234",
        "2.2",
        "1.23 ms",
        "-",
        "2.3 s",
        "-",
        "17.2",
        "12",
        "0",
        "open, 1 of 1 away",
    ]
    names = [
        line.split()[0]
        for line in done.out.splitlines()
        if re.match(r" (digits|broken|idle|another_\d+) ", line)
    ]
    assert names[:2] == ["digits", "broken"], "what cannot be served comes before what is idle"
    assert len(names) == 43
    assert row_of(done.out, "0") == [
        "0",
        "serving",
        "4100",
        "61 %",
        "180 MiB",
        "0.40 ms",
        "3",
        "1",
        "died with SIGKILL (pid 4000)",
    ]
    assert "1 version has an open breaker." in done.out
    assert "model failed 2.2" in done.out


def lines_in(done, width):
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= width
    return lines


@pytest.mark.parametrize("width", [40, 60, 80, 110, 130])
def test_a_narrow_screen_shows_fewer_columns_and_every_name_in_one_line(gateway, answering, width):
    long_name = {**BUSY, "model": "a_name_of_" + "many_" * 38 + "words"}
    answering.answer = (
        200,
        json.dumps({**STATE, "versions": [long_name, *STATE["versions"]]}).encode(),
    )
    lines = lines_in(
        gateway("top", "--once", "--address", answering.address, env={"COLUMNS": str(width)}), width
    )
    header = next(line for line in lines if "model" in line.split())
    assert ("ver" in header.split(), "rows/batch" in header.split(), "in flight" in header) == (
        True,
        width >= 130,
        width >= 110,
    )
    assert re.search(r"^ a_name_of_m\S*… +2 ", "\n".join(lines), re.MULTILINE)
    assert sum(line.startswith(" another_") for line in lines) == 40
    assert all(
        re.match(r" another_\d\d +1 ", line) for line in lines if line.startswith(" another_")
    )


def test_80_columns_have_the_load_the_errors_the_tail_and_the_breaker(gateway, answering):
    lines = lines_in(
        gateway("top", "--once", "--address", answering.address, env={"COLUMNS": "80"}), 80
    )
    header = next(line for line in lines if "model" in line.split())
    assert header.split() == ["model", "ver", "state", "calls/s", "err/s", "p99", "breaker"]
    assert row_of("\n".join(lines), "digits") == [
        "digits",
        "2",
        "ready",
        "1,234",
        "2.2",
        "2.3 s",
        "open, 1 of 1 away",
    ]


def test_what_is_not_written_to_a_terminal_is_whole(gateway, answering):
    name = "a_name_of_" + "many_" * 38 + "words"
    answering.answer = 200, json.dumps({**STATE, "versions": [{**BUSY, "model": name}]}).encode()
    done = gateway("top", "--once", "--address", answering.address)
    assert len(row_of(done.out, name)) == 13


def test_a_breaker_that_the_next_call_tries_says_so(gateway, answering):
    tried = {
        **VERSION,
        "model": "tried",
        "breaker": "open",
        "breaker_open_processes": 2,
        "breaker_to_try_processes": 2,
    }
    answering.answer = (
        200,
        json.dumps(
            {
                **STATE,
                "versions": [tried, {**tried, "model": "partly", "breaker_to_try_processes": 1}],
            }
        ).encode(),
    )
    done = gateway("top", "--once", "--address", answering.address)
    assert row_of(done.out, "tried")[-1] == "open, next call tries"
    assert row_of(done.out, "partly")[-1] == "open"


def test_a_breaker_that_an_operator_holds_is_told_apart_from_one_that_stands_so(gateway, answering):
    forced = {**VERSION, "model": "forced", "breaker_forced": "closed"}
    answering.answer = 200, json.dumps({**STATE, "versions": [forced]}).encode()
    assert (
        row_of(gateway("top", "--once", "--address", answering.address).out, "forced")[-1]
        == "forced closed"
    )


def test_words_from_elsewhere_do_nothing_to_the_terminal(gateway, answering):
    done = gateway("top", "--once", "--address", answering.address)
    assert "[bold]5 failed" in done.out
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    "answer", [(404, b"not here"), (200, b"<html>"), (200, b"[]"), (200, b"{}"), (503, b"{}")]
)
def test_a_server_that_is_no_gateway_is_told_apart(gateway, answering, answer):
    answering.answer = answer
    done = gateway("top", "--once", "--address", answering.address)
    assert done.status == 3
    assert done.faults == [
        (
            f"{answering.address} answers /v2/gateway/state with HTTP status "
            f"{answer[0]}, and not as a gateway does"
        )
    ]


def test_as_json_it_is_all_that_the_gateway_told(gateway, answering):
    done = gateway("top", "--json", "--address", answering.address)
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert told["gateway"] == STATE["gateway"]
    assert [each["model"] for each in told["versions"]] == [
        each["model"] for each in STATE["versions"]
    ]


@pytest.mark.parametrize("by", ["GATEWAY_HTTP_ADDRESS", "GATEWAY_ADDRESS"])
def test_the_environment_says_where_the_gateway_is(gateway, answering, by):
    where = answering.address if by == "GATEWAY_HTTP_ADDRESS" else "127.0.0.7:9001"
    done = gateway("top", "--json", env={by: where})
    if by == "GATEWAY_HTTP_ADDRESS":
        assert done.status == 0, done.err
    else:
        assert done.faults == ["no gateway answers HTTP at 127.0.0.7:8002: connection refused"]


def test_nobody_there_is_one_line_and_a_status_of_its_own(gateway):
    done = gateway("top", "--address", "127.0.0.1:9")
    assert done.status == 3
    assert done.faults == ["no gateway answers HTTP at 127.0.0.1:9: connection refused"]


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [("a..b:80", 3, "no host can be called so"), ("ex ample:80", 2, "expected HOST:PORT")],
)
def test_what_no_host_is_called_is_one_line_too(gateway, address, status, says):
    done = gateway("top", "--once", "--address", address)
    assert done.status == status
    assert len(done.faults) == 1
    assert says in done.faults[0]


def test_all_that_is_wrong_with_the_options_is_said_at_once(gateway):
    done = gateway("top", "--address", "nowhere", "--interval", "soon", "--all")
    assert done.status == 2
    assert len(done.faults) == 3


def test_without_a_terminal_it_says_how_to_go_on(gateway, answering):
    done = gateway("top", "--address", answering.address)
    assert done.status == 2
    assert done.faults == ["this is no terminal: --once prints one table and ends"]


def test_in_a_terminal_it_follows_says_when_nobody_answers_and_ends_with_ctrl_c(answering):
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "gateway",
        "top",
        "--address",
        answering.address,
        "--interval",
        "200ms",
    ]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "30"}
    # a program that a shell starts in the background ignores SIGINT, and so do its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    )
    os.close(theirs)
    seen = bytearray()

    def read():
        try:
            while part := os.read(ours, 1 << 16):
                seen.extend(part)
        except OSError:
            pass  # the other end is closed

    reading = threading.Thread(target=read)
    reading.start()
    try:
        wait_for(lambda: b"digits" in seen and b"more" in seen)
        answering.answer = 500, b""
        wait_for(lambda: b"no connection since" in seen)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        reading.join(10)
        os.close(ours)
    assert process.stderr.read() == b""
    assert bytes(seen).rstrip().endswith(b"\x1b[?25h\x1b[?1049l"), (
        "the cursor is shown again, and what was on the screen before"
    )


def wait_for(what):
    give_up = time.monotonic() + 30
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.02)
