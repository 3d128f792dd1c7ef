"""How the output of other programs is read."""

import subprocess
import sys

import pytest

from load_tests.ghz_run import parse_report
from load_tests.h2load import parse_log, parse_output
from tests.support.checkout import ROOT

H2LOAD_OUTPUT = """\
finished in 20.93ms, 1910.77 req/s, 256.76KB/s
requests: 40 total, 40 started, 40 done, 40 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 40 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 5.38KB (5504) total, 270B (270) headers (space savings 91.67%), 3.09KB (3160) data
"""
H2LOAD_LOG = (
    "1795487366471945\t200\t8098\n1795487366471945\t200\t2131\n1795487366471946\t200\t8132\n"
)
GHZ_OUTPUT = """{"count": 4711, "rps": 4616.95, "errorDistribution": {"rpc error: code = \
Unavailable desc = full": 11},
"statusCodeDistribution": {"OK": 4700, "Unavailable": 11},
"latencyDistribution": [{"percentage": 50, "latency": 25952588}, {"percentage": 99, "latency": \
49649800}]}"""


class TestOutputOfOtherTools:
    def test_h2load_summary(self):
        output = parse_output(H2LOAD_OUTPUT)
        assert (output.succeeded, output.failed, output.data_bytes, output.calls_per_s) == (
            40,
            0,
            3160,
            1910.77,
        )
        assert output.fault(40, 79) == ""

    def test_h2load_successes_with_too_few_bytes_are_a_fault(self):
        """Errors of gRPC come as HTTP 200 without DATA, and h2load calls them successes."""
        assert "got 3160" in parse_output(H2LOAD_OUTPUT).fault(40, 80)
        assert "40 of 41" in parse_output(H2LOAD_OUTPUT).fault(41, 79)

    def test_h2load_log_gives_ascending_milliseconds(self):
        assert parse_log(H2LOAD_LOG) == [2.131, 8.098, 8.132]

    def test_h2load_text_without_a_summary_is_named(self):
        with pytest.raises(ValueError, match="succeeded"):
            parse_output("h2load: no such option")

    def test_ghz_report_counts_what_was_not_ok(self):
        found = parse_report(GHZ_OUTPUT)
        assert (found.failed, found.statuses["Unavailable"], found.latency_ms[99]) == (
            11,
            11,
            49.6498,
        )
        assert "11 calls: rpc error" in str(found)

    def test_ghz_report_without_calls_is_a_failure(self):
        assert parse_report('{"count": 0, "rps": 0, "statusCodeDistribution": null}').failed == 1


def test_a_tool_that_is_unknown_is_refused_with_those_there_are():
    command = [sys.executable, "-m", "load_tests.tools", "ghz", "gzh"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no tool 'gzh'; there are: ghz, jaeger, kubeconform" in done.stderr
