"""The protection of a version is described in a few words."""

import asyncio
import json
import shutil

import pytest

from gateway.cli.commands.explain import tree
from gateway.cli.reports.protection_report import protection_json, protection_text, runs_text
from gateway.cli.reports.repository_check import (
    Examined,
    ExaminedModel,
    ExaminedVersion,
    fallback_warnings,
)
from gateway.config.typed_yaml import decode_yaml
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.sources.found import FoundModel, FoundVersion
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.protection import (
    AdmissionPlan,
    BreakerPlan,
    FallbackLink,
    OutputGuardPlan,
    ProcessWorkersPlan,
    ProtectionPlan,
    RemotePlan,
    RetryPlan,
)
from tests.support.checkout import ROOT

SECOND = "remote: dns:///t:1 as big version 2, at most 1 batch at a time, TLS with a token"
CACHE = FallbackLink(cache_age_s=30.0, errors=frozenset(["deadline", "failed"]))
REMOTES = (
    RemotePlan("10.0.0.7:8001"),
    RemotePlan("dns:///t:1", "big", "2", b"PEM", "s3cr3t", concurrent_batches=1),
)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        ({}, ""),
        ({"breaker": BreakerPlan(enabled=False, consecutive_failures=1)}, "breaker off"),
        (
            {"breaker": BreakerPlan(consecutive_failures=3, window_s=60.0)},
            "breaker: consecutive_failures 3, window 1m",
        ),
        ({"retry": RetryPlan(attempts=1)}, "no retries"),
        ({"retry": RetryPlan(attempts=3, budget=0.5)}, "retry: attempts 3, budget 0.5"),
        (
            {
                "fallback": (
                    FallbackLink(version=1),
                    FallbackLink(version=-1),
                    FallbackLink(model="small"),
                    FallbackLink(function="a:b"),
                )
            },
            "fallback: version 1, newest other version, model small, function a:b",
        ),
        (
            {"fallback": (CACHE, FallbackLink(constant={}, minimum_slack_s=0.002))},
            "fallback: cache 30s on deadline/failed, constant with 2ms left",
        ),
        (
            {"output_guard": OutputGuardPlan(("y", "z"), {"y": (0.0, float("inf"))})},
            "finite: y, z; y from 0 to inf",
        ),
        (
            {"admission": AdmissionPlan(1, 1 << 20, 10.0, predict_wait=False)},
            (
                "at most 1 request in flight; at most 1MiB in flight; deadline 10s where none "
                "comes; waits are not predicted"
            ),
        ),
        (
            {
                "admission": AdmissionPlan(
                    priority_shares=(0.5, 0.25),
                    quota_key="x-tenant",
                    quota_per_s=100.0,
                    quota_burst=200.0,
                )
            },
            "priority shares 0.5, 0.25; 100 a second for each x-tenant, 200 saved up",
        ),
    ],
)
def test_only_what_deviates_from_the_defaults_is_told(plan, text):
    assert protection_text(ProtectionPlan(**plan)) == text


def version(**protection):
    return VersionPlan(
        "m",
        1,
        "/m",
        "",
        (),
        (),
        batching=BatchingPlan(loop_batch_size=0),
        instances=3,
        protection=ProtectionPlan(**protection),
    )


@pytest.mark.parametrize(
    ("protection", "text"),
    [
        (
            {},
            (
                "in threads; at most 3 at a time in one process, 1 thread "
                "each, by CPUExecutionProvider"
            ),
        ),
        (
            {"workers": ProcessWorkersPlan()},
            "in 1 worker process of each serving process, 1 thread each, by CPUExecutionProvider",
        ),
        (
            {"workers": ProcessWorkersPlan(2, memory_limit_bytes=2 << 30)},
            (
                "in 2 worker processes of each serving process, 1 thread each, by "
                "CPUExecutionProvider, replaced at 2GiB"
            ),
        ),
        (
            {"remotes": REMOTES, "local": False},
            f"remote: 10.0.0.7:8001, at most 8 batches at a time, plaintext; {SECOND}",
        ),
    ],
)
def test_what_runs_a_version_is_said_in_a_line(protection, text):
    assert runs_text(version(**protection)) == text


def test_what_runs_here_is_told_before_what_runs_elsewhere():
    assert runs_text(version(remotes=REMOTES[:1])).startswith(
        "in threads; at most 3 at a time in one process, 1 thread each, by "
        "CPUExecutionProvider; remote: 10"
    )


def test_programs_read_the_whole_plan_without_its_secrets():
    plan = ProtectionPlan(
        fallback=(FallbackLink(model="small"),),
        output_guard=OutputGuardPlan(("y",), {"y": (0.0, float("inf"))}),
        remotes=REMOTES,
        local=False,
    )
    text = json.dumps(protection_json(plan), allow_nan=False)
    assert "s3cr3t" not in text
    report = json.loads(text)
    assert report["fallback"][0]["errors"] == ["failed", "unavailable"]
    assert (report["output_guard"]["ranges"], report["breaker"]["window_s"], report["workers"]) == (
        {"y": [0.0, "inf"]},
        30.0,
        None,
    )
    assert [(remote["token"], remote["tls_ca"]) for remote in report["remotes"]] == [
        (False, False),
        (True, True),
    ]


X = TensorSpec("x", "FP32", (-1, 4))
Y = TensorSpec("y", "FP32", (-1, 3))


def examined(name, text="", inputs=(X,), outputs=(Y,), fault=""):
    found = FoundModel(
        name, "/models", decode_yaml(text, ModelConfiguration), (FoundVersion(1, "/m"),)
    )
    plan = None if fault else VersionPlan(name, 1, "/m", "", inputs, outputs)
    return ExaminedModel(found, (ExaminedVersion(1, plan=plan, fault=fault),))


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        (examined("small"), ""),
        (
            examined(
                "small",
                inputs=(X, TensorSpec("t", "FP32", (1,), optional=True)),
                outputs=(Y, TensorSpec("z", "FP32", (1,))),
            ),
            "",
        ),
        (
            examined(
                "small",
                inputs=(TensorSpec("x", "FP32", (-1, -1)),),
                outputs=(TensorSpec("y", "FP32", ()),),
            ),
            "",
        ),
        (examined("smal"), "fallback[0].model small is not there; did you mean smal?"),
        (
            examined("small", fault="broken"),
            "fallback[0].model small has no version that can be served",
        ),
        (
            examined("small", inputs=()),
            "fallback[0].model small has another interface: it has no input 'x'",
        ),
        (
            examined("small", outputs=()),
            "fallback[0].model small has another interface: it has no output 'y'",
        ),
        (
            examined("small", outputs=(TensorSpec("y", "FP64", (-1, 3)),)),
            (
                "fallback[0].model small has another interface: its output 'y' is "
                "FP64 [-1,3], not FP32 [-1,3]"
            ),
        ),
        (
            examined("small", inputs=(TensorSpec("x", "FP32", (-1, 5)),)),
            (
                "fallback[0].model small has another interface: its input 'x' is "
                "FP32 [-1,5], not FP32 [-1,4]"
            ),
        ),
        (
            examined("small", inputs=(X, TensorSpec("t", "FP32", (1,)))),
            "fallback[0].model small has another interface: it asks for the input 't' as well",
        ),
    ],
)
def test_a_fallback_on_a_model_that_cannot_stand_in_is_a_warning(other, warning):
    model = examined("m", "fallback: [{model: small}]")
    assert list(fallback_warnings(model, (model, other))) == ([warning] if warning else [])
    assert Examined(None, (model, other)).models[0].faults == ()


@pytest.mark.parametrize(
    ("protection", "ends"),
    [
        ({}, ["Session"]),
        ({"workers": ProcessWorkersPlan(2), "remotes": REMOTES}, ["Workers", "Remote", "Remote"]),
        ({"remotes": REMOTES, "local": False}, ["Remote", "Remote"]),
    ],
)
def test_the_tree_ends_in_everything_that_runs_the_version(protection, ends):
    async def lines():
        return [line.split()[0] for line in tree(version(**protection))]

    found = asyncio.run(lines())
    assert found[-len(ends) :] == ends
    assert sum(line in ("Session", "Workers", "Remote") for line in found) == len(ends)


def test_check_tells_the_protection_of_a_model_and_what_its_fallbacks_lack(gateway, tmp_path):
    shutil.copytree(
        ROOT / "models" / "digits", tmp_path / "digits", ignore=shutil.ignore_patterns("model.yaml")
    )
    (tmp_path / "digits" / "model.yaml").write_text(
        "breaker: off\nfallback:\n- model: digits_smal\n- cache: {max_age: "
        "60s}\n  on: [failed, deadline]\n"
        "workers: {kind: process, count: 2}\nremotes: [{address: "
        "'10.0.0.7:8001', token_env: TOKEN_OF_TEST}]\n"
    )
    done = gateway("check", tmp_path, env={"TOKEN_OF_TEST": "s3cr3t"})
    assert (done.status, done.faults) == (0, [])
    assert (
        "    protected breaker off; fallback: model digits_smal, cache 1m on deadline/failed\n"
        in done.out
    )
    assert "    runs      in 2 worker processes of each serving process, " in done.out
    assert "    warning:  fallback[0].model digits_smal is not there\n" in done.out
    assert (
        "    warning:  remotes[0]: the token is sent to 10.0.0.7:8001 "
        "unencrypted, because tls_ca is not set\n"
    ) in done.out
    report = gateway("check", tmp_path, "--json", env={"TOKEN_OF_TEST": "s3cr3t"}).out
    assert json.loads(report)["models"][0]["versions"][0]["protection"]["workers"]["count"] == 2
    assert "s3cr3t" not in done.out + report
    done = gateway("check", tmp_path)
    assert done.status == 1
    assert done.faults == [
        "digits version 2: remotes[0].token_env: the environment variable TOKEN_OF_TEST is not set"
    ]
