"""The program of an inspection process, which opens model files for the first time.

It is started as `python -m gateway.control.inspection.inspection_main PARENT_PID`. Jobs come on
stdin, reports go to what was stdout, both in the frames of `gateway.control.inspection.job`. A file
may kill this process, and no other one: it leaves no core, dies with its parent, and is the first
that a machine short of memory ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from gateway.control.inspection.examine import examine
from gateway.control.inspection.job import LENGTH, InspectionJob, Report, frame
from gateway.core.plan import Findings
from gateway.onnx.session import warm_runtime

_PR_SET_PDEATHSIG = 1
_NICENESS = 5  # serving goes first where both want the core
_OOM_SCORE = "900"


def serve(jobs: BinaryIO, reports: BinaryIO) -> None:
    """Answers jobs one by one until the stream ends."""
    while header := _exactly(jobs, LENGTH.size):
        job = msgspec.msgpack.decode(_exactly(jobs, LENGTH.unpack(header)[0]), type=InspectionJob)
        findings = _findings(job, lambda doing: _write(reports, Report(doing=doing)))
        _write(reports, Report(findings=findings))


def _findings(job: InspectionJob, doing: Callable[[str], None]) -> Findings:
    try:
        return examine(job, doing)
    except Exception as error:  # noqa: BLE001
        # a failure of the inspection on a strange model is reported as the model's
        return Findings(error=f"it could not be inspected: {type(error).__name__}: {error}")


def _exactly(stream: BinaryIO, count: int) -> bytes:
    """`count` bytes; empty at the stream's end."""
    data = stream.read(count)
    return data if len(data) == count else b""


def _write(stream: BinaryIO, report: Report) -> None:
    stream.write(frame(report))
    stream.flush()


def _make_expendable(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the line above
        sys.exit(1)
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _private_stdout() -> BinaryIO:
    """The report stream; what libraries print to stdout from here on goes to stderr."""
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return reports


if __name__ == "__main__":
    _make_expendable(int(sys.argv[1]))
    warm_runtime()
    with _private_stdout() as reports:
        serve(sys.stdin.buffer, reports)
