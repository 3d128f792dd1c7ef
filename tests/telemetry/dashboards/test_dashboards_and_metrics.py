"""Dashboards and alerts query metrics that exist, in expressions that Prometheus understands.

The alerts fire when they should.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.resources import files

import pytest
import yaml

from gateway.core.errors import REASONS
from gateway.telemetry.metrics.metric_names import FAMILIES
from tests.support.metrics_parts import ROW, Metrics, Spans, gauges

FOLDER = files("gateway.telemetry") / "dashboards"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
RULES = FOLDER / "prometheus_rules.yaml"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]] + [
    each["expr"] for each in DASHBOARD["annotations"]["list"]
]


@pytest.fixture
def metrics():
    """Metrics in which every series exists."""
    made = Metrics(Spans())
    made.table.writer(0, ROW).record_failure(1, 0.1)
    made.say(0, gauges(100))
    yield made
    made.close()


@pytest.fixture
def promtool():
    found = shutil.which("promtool")
    if found is None:
        text = "promtool is not installed: apt-get install prometheus"
        assert os.environ.get("CI") != "true", text
        pytest.skip(text)

    def run(*arguments):
        return subprocess.run(
            [found, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
        )

    return run


def metric_names(text):
    return set(re.findall(r"\bgateway_[a-z_]+", text))


def test_every_metric_that_is_asked_for_is_one_that_is_shown(metrics):
    shown = {name for name, _ in metrics.samples()}
    variables = [
        variable["definition"]
        for variable in DASHBOARD["templating"]["list"]
        if variable["type"] == "query"
    ]
    told = [text for rule in ALERTS.values() for text in rule["annotations"].values()]

    for text in [*QUERIES, *variables, *(rule["expr"] for rule in ALERTS.values())]:
        assert metric_names(text) <= shown, text
        assert metric_names(text)
    for text in told:
        assert metric_names(text) <= shown | {family.name for family in FAMILIES}, text


def test_every_label_that_is_asked_for_is_one_of_the_metric(metrics):
    having: dict[str, set[str]] = {}
    for name, labels in metrics.samples():
        having.setdefault(name, {"instance", "job"}).update(label for label, _ in labels)
    for text in [*QUERIES, *(rule["expr"] for rule in ALERTS.values())]:
        for name, inside in re.findall(r"(gateway_[a-z_]+)\{([^}]*)\}", text):
            assert set(re.findall(r"(\w+)\s*[!=]~?\"", inside)) <= having[name], text
        grouped = {
            label.strip()
            for group in re.findall(r"by \(([^)]*)\)", text)
            for label in group.split(",")
        }
        assert grouped <= set().union(*(having[name] for name in metric_names(text))), text


def test_reasons_and_states_that_are_asked_for_exist():
    for text in [*QUERIES, *(rule["expr"] for rule in ALERTS.values())]:
        for words in re.findall(r'reason[!=]~?"([^"]*)"', text):
            assert set(words.split("|")) <= set(REASONS), text
        for word in re.findall(r'state="([^"]*)"', text):
            assert word in {"open", "half-open", "READY", "UNAVAILABLE"}, text


def test_every_metric_but_a_few_is_on_the_dashboard():
    seen = set().union(*map(metric_names, QUERIES))
    bare = {re.sub("_(bucket|sum|count)$", "", name) for name in seen}
    assert {family.name for family in FAMILIES} - seen - bare == {
        "gateway_phase",
        "gateway_start_time_seconds",
        "gateway_build_info",
    }


def test_panels_have_numbers_titles_and_places_of_their_own():
    panels = DASHBOARD["panels"]
    assert (
        len({panel["id"] for panel in panels})
        == len({panel["title"] for panel in panels})
        == len(panels)
    )
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_queries_of_the_dashboard_are_promql(promtool, tmp_path):
    def filled(query):
        return (
            query.replace("$__rate_interval", "5m")
            .replace("$instance", "a.*")
            .replace("$model", "b.*")
        )

    rules = [
        {"record": f"panel:{number}", "expr": filled(query)} for number, query in enumerate(QUERIES)
    ]
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    )

    checked = promtool("check", "rules", tmp_path / "rules.yaml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(QUERIES)} rules found" in checked.stdout


def test_the_rules_are_as_prometheus_wants_them(promtool):
    checked = promtool("check", "rules", RULES)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in checked.stdout


def test_every_alert_says_what_it_is_and_what_to_do():
    for name, rule in ALERTS.items():
        assert name.startswith("Gateway")
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert 20 < len(rule["annotations"]["summary"]) < 160
        assert len(rule["annotations"]["description"]) > 100


OF = '{instance="g:8002",job="gateway",model="digits",version="2"'
STEADY = "0+60x60"
RINGING = "0x10 0+60x50"
TRIALS = {
    "GatewayHighErrorRatio": {
        f'gateway_requests_total{OF},status="OK",reason=""}}': "0+900x60",
        f'gateway_requests_total{OF},status="INTERNAL",reason="model_failed"}}': (
            "0+100x60",
            "0+10x60",
        ),
        (
            f'gateway_requests_total{OF},status="INVALID_ARGUMENT",reason="invalid_request"}}'
        ): "0+9000x60",
    },
    "GatewayHighLatency": {
        f'gateway_request_duration_seconds_bucket{OF},outcome="answered",le="1"}}': (
            "0+90x60",
            "0+100x60",
        ),
        f'gateway_request_duration_seconds_bucket{OF},outcome="answered",le="2.5"}}': "0+100x60",
        f'gateway_request_duration_seconds_bucket{OF},outcome="answered",le="+Inf"}}': "0+100x60",
    },
    "GatewayBreakerOpen": {
        f'gateway_breaker_state{OF},model_instance="worker 1",process="0",state="open"}}': (
            "1 0 " * 30,
            "0x20 1 0x40",
        )
    },
    "GatewayQueueFilling": {f'gateway_queue_requests{OF},process="0"}}': ("3000x60", "2000x60")},
    "GatewayRefusingRequests": {
        f'gateway_requests_total{OF},status="RESOURCE_EXHAUSTED",reason="overloaded"}}': (
            "0+5x60",
            "3x60",
        ),
    },
    "GatewayWorkerDown": {
        f'gateway_model_instance_up{OF},model_instance="worker 1",process="0"}}': ("0x60", "0 1x60")
    },
    "GatewayProcessDown": {
        'gateway_process_up{instance="g:8002",job="gateway",process="1"}': ("0x60", "1x60")
    },
    "GatewayProcessRestarting": {
        'gateway_process_restarts_total{instance="g:8002",job="gateway",process="1"}': (
            "0x25 1x35",
            "1x60",
        )
    },
    "GatewaySpansDropped": {
        (
            'gateway_spans_dropped_total{exporter="otlp",instance="g:8002",'
            'job="gateway",reason="queue_full"}'
        ): (
            "0+5x60",
            "5x60",
        ),
        'gateway_records_dropped_total{instance="g:8002",job="gateway",process="0"}': "7x60",
    },
    "GatewayModelUnavailable": {f'gateway_model_state{OF},state="UNAVAILABLE"}}': ("1x60", "0x60")},
    "GatewayEventLoopBlocked": {
        'gateway_event_loop_lag_seconds{instance="g:8002",job="gateway",process="0"}': (
            "0.5x60",
            "0.02x60",
        )
    },
    "GatewayNotReady": {'gateway_ready{instance="g:8002",job="gateway"}': ("0x60", "0 0 1x60")},
}
"""For each alert the series that it sees, a sample a minute.

Where two are named, the alert fires for the first and not for the second.
"""


def test_every_alert_is_tried():
    assert TRIALS.keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", TRIALS)
@pytest.mark.parametrize("rings", [True, False], ids=["rings", "keeps still"])
def test_an_alert_rings_for_what_it_is_meant_for_and_for_nothing_less(
    promtool, tmp_path, alert, rings
):
    case = 0 if rings else 1
    series = [
        {"series": name, "values": values if isinstance(values, str) else values[case]}
        for name, values in TRIALS[alert].items()
    ]
    trial = {
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"eval_time": "30m", "alertname": alert, "exp_alerts": []}],
    }
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [trial]}))

    tried = promtool("test", "rules", path)

    # Where an alert fires that should not, promtool shows it with its texts filled in.
    assert (tried.returncode != 0) is rings, tried.stdout + tried.stderr
    assert ("got:[" in tried.stdout + tried.stderr) is rings
    assert "error expanding template" not in tried.stdout + tried.stderr


def test_a_breaker_s_alert_says_whose_it_is(promtool, tmp_path):
    (rule,) = [ALERTS["GatewayBreakerOpen"]]
    series = {
        "series": f'gateway_breaker_state{OF},model_instance="worker 1",process="0",state="open"}}',
        "values": "1x60",
    }
    labels = {
        "severity": "critical",
        "instance": "g:8002",
        "job": "gateway",
        "model": "digits",
        "version": "2",
        "model_instance": "worker 1",
    }
    expected = {
        "exp_labels": labels,
        "exp_annotations": {
            "summary": "A circuit breaker of digits version 2 (worker 1) is open on g:8002",
            "description": rule["annotations"]["description"]
            .replace("{{ $labels.model }}", "digits")
            .replace("{{ $labels.version }}", "2"),
        },
    }
    trial = {"interval": "1m", "input_series": [series]}
    trial["alert_rule_test"] = [
        {"eval_time": "30m", "alertname": "GatewayBreakerOpen", "exp_alerts": [expected]}
    ]
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [trial]}))

    tried = promtool("test", "rules", path)

    assert tried.returncode == 0, tried.stdout + tried.stderr
