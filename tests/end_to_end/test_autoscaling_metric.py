"""The autoscaler's metric, asked of a real Prometheus as prometheus-adapter asks it."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yaml

from tests.support import graphs
from tests.support.callers import Callers, over, until
from tests.support.scraping import Prometheus

RULES = yaml.safe_load((files("gateway") / "deploy" / "prometheus_adapter.yaml").read_text())
(RULE,) = RULES["rules"]["custom"]
LABELS = 'job="gateway"'
QUERY = RULE["metricsQuery"].replace("<<.GroupBy>>", "instance")
METRIC = QUERY.replace("<<.LabelMatchers>>", LABELS)
SUM = "gateway_queue_duration_seconds_sum"
COUNT = "gateway_queue_duration_seconds_count"


@pytest.fixture
def served(gateway, models):
    graphs.scale(models, "scale", factor=2.0)
    with gateway("--processes", "1") as running:
        yield running


def test_the_metric_is_the_mean_wait_of_a_pod_and_nothing_where_nobody_waited(
    served, tmp_path, connect
):
    with Prometheus(tmp_path, [served.http_port]) as prometheus:
        until(lambda: prometheus.value(METRIC) == 0)  # no request: a number, and no NaN
        channel = connect(served)
        with Callers(over([channel]), "scale", count=8) as callers:
            callers.go_on(2000)
        assert callers.failures == []
        until(lambda: prometheus.value(METRIC) > 0)
        until(lambda: prometheus.value(f"sum({COUNT})") >= 2000)
        mean = f"sum({SUM}) / sum({COUNT})"  # of all, as all have come within the minute
        assert prometheus.value(METRIC) == pytest.approx(prometheus.value(mean), rel=0.2)


def test_the_metric_is_asked_of_series_that_there_are():
    assert RULE["seriesQuery"].startswith(f"{COUNT}{{")
