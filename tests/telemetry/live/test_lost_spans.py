"""Lost spans are shown as a notice for a minute."""

from dataclasses import dataclass, field

from gateway.ipc.telemetry_messages import Overview
from gateway.telemetry.live.lost_spans import Lost, LostSpans
from gateway.telemetry.live.warnings import notices

SERVING = Overview(ready=True, phase="serving", index=())


@dataclass
class Exports:
    counts: dict = field(default_factory=dict)
    asking_s: dict = field(default_factory=dict)


def texts(lost):
    return [notice["text"] for notice in notices(SERVING, (), (), {}, lost.lately())]


def test_what_was_lost_is_told_for_a_minute_with_its_reason_and_exporter():
    exports = Exports(
        {"otlp": (0, {"queue_full": 0, "export_failed": 0}), "console": (0, {"queue_full": 0})},
        {"otlp": 0.0},
    )
    lost = LostSpans(exports)
    lost.refresh(100.0)
    assert texts(lost) == []
    exports.counts["otlp"] = (7, {"queue_full": 0, "export_failed": 3})
    lost.refresh(101.0)
    assert texts(lost) == [
        (
            "3 spans were not exported by otlp within the last minute (export failed): traces are "
            "not complete. The log says more."
        )
    ]
    for second in range(102, 161):
        lost.refresh(float(second))
        assert [each.spans for each in lost.lately()] == [3]
    lost.refresh(161.5)
    assert texts(lost) == []


def test_an_exporter_that_hangs_is_told_before_anything_is_lost():
    exports = Exports({"otlp": (0, {"queue_full": 0})}, {"otlp": 14.0})
    lost = LostSpans(exports)
    lost.refresh(0.0)
    assert lost.lately() == []
    exports.asking_s["otlp"] = 43.2
    assert lost.lately() == [Lost("otlp", 0, (), 43.2)]
    assert texts(lost) == ["Spans wait: the exporter otlp has had no answer for 43 s."]


def test_without_exporters_nothing_is_lost():
    lost = LostSpans(None)
    lost.refresh(0.0)
    assert lost.lately() == []
