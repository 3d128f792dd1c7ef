"""Names of metrics, their labels, and the values that labels have."""

from __future__ import annotations

import re

import pytest

from gateway.core import errors
from gateway.core.errors import REASONS, reason_index
from gateway.core.grpc_codes import STATUS_NAMES
from gateway.telemetry.metrics.families import Kind
from gateway.telemetry.metrics.metric_names import ENDINGS, FAMILIES


def test_names_are_as_prometheus_wants_them():
    assert (
        len({family.name for family in FAMILIES})
        == len({family.otlp_name for family in FAMILIES})
        == len(FAMILIES)
    )
    for family in FAMILIES:
        assert re.fullmatch(r"gateway_[a-z_]+", family.name)
        assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)
        assert ("seconds" in family.name) is (family.unit == "s")
        assert ("bytes" in family.name) is (family.unit == "By")
        assert bool(family.bounds) is (family.kind is Kind.HISTOGRAM)


def test_every_reason_has_its_place_and_status():
    assert (
        [REASONS[index] for index, _, _ in ENDINGS]
        == [reason for _, _, reason in ENDINGS]
        == list(REASONS[1:])
    )


@pytest.mark.parametrize(
    "error",
    [
        errors.CircuitBreakerOpen,
        errors.InstanceFailed,
        errors.OutputRefused,
        errors.InvalidRequest,
        errors.ModelNotFound,
        errors.NotPermitted,
        errors.QuotaExceeded,
        errors.QueueFull,
        errors.Overloaded,
        errors.DeadlineExpired,
        errors.Unavailable,
        errors.Unsupported,
        errors.ModelFailed,
    ],
)
def test_the_status_of_a_reason_is_the_one_that_callers_are_given(error):
    index = reason_index(error("x"))

    assert (index, STATUS_NAMES[error("x").status]) in {(place, word) for place, word, _ in ENDINGS}
