"""A version is protected as its model.yaml says.

The file is checked against the version's outputs and the versions beside it.
"""

import math
import pickle
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.config.quantities import format_bytes, format_duration
from gateway.config.typed_yaml import decode_yaml
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.contradictions import contradictions
from gateway.control.models.configuration.protection_values import ERRORS
from gateway.control.models.planning import constant_answer
from gateway.control.models.planning.protection_plan import plan_protection
from gateway.control.models.planning.version_plan import PlanDefaults, plan_version
from gateway.control.models.sources.fingerprint import fingerprint
from gateway.control.models.sources.folder import scan
from gateway.control.models.sources.found import FoundVersion
from gateway.core.plan import TensorSpec
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
from gateway.onnx.model_faults import PlanFault
from tests.support.repository_models import findings, found_model, graph_tensor, write, write_model

README = Path(constant_answer.__file__).parents[1] / "README.md"
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
OUTPUTS = (
    TensorSpec("y", "FP32", (-1, 3)),
    TensorSpec("digit", "INT8", (-1,)),
    TensorSpec("name", "BYTES", (-1, 2, -1)),
    TensorSpec("sure", "BOOL", (-1, 1)),
)
CONSTANT = {"y": [0.5, 0, 1], "digit": 7, "name": [["a"], ["b"]], "sure": [True]}


def plan_with_warnings(
    text,
    outputs=OUTPUTS[:1],
    *,
    batched=True,
    instances=1,
    environment=(),
    versions=(1,),
    version=1,
    folder=None,
):
    model, _ = found_model(decode_yaml(text, ModelConfiguration))
    found = tuple(
        FoundVersion(number, Path(f"/models/m/{number}/model.onnx")) for number in versions
    )
    model = replace(model, versions=found, folder=folder or model.folder)
    return plan_protection(
        model, version, outputs, batched=batched, instances=instances, environment=dict(environment)
    )


def plan(text, *arguments, **more):
    return plan_with_warnings(text, *arguments, **more)[0]


def warnings(text, **more):
    return plan_with_warnings(text, **more)[1]


def faults(text, *arguments, **more):
    with pytest.raises(PlanFault) as caught:
        plan(text, *arguments, **more)
    return str(caught.value)


def test_what_is_not_said_is_as_the_plans_have_it():
    assert plan_with_warnings("") == (ProtectionPlan(), ())
    assert plan("workers: thread\nlocal: true\nfallback: []\nremotes: []") == ProtectionPlan()


def test_the_defaults_in_the_readme_are_those_of_the_plans():
    rows = dict(
        re.findall(
            r"^\| `([^`]+)` \|.*\| `?([^|`]*)`? \|$",
            README.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    kinds = {
        "breaker": BreakerPlan(),
        "retry": RetryPlan(),
        "admission": AdmissionPlan(),
        "workers": ProcessWorkersPlan(),
        "remotes[]": RemotePlan(""),
    }
    compared = 0
    for key, text in rows.items():
        section, _, name = key.partition(".")
        default = next(
            (
                getattr(kinds[section], name + end)
                for end in ("_s", "_bytes", "")
                if hasattr(kinds.get(section), name + end)
            ),
            None,
        )
        if isinstance(default, bool | int | float) and key != "workers.count":
            written = yaml.safe_load(text)
            written = (
                format_duration(default)
                if text.endswith(("s", "m")) and text[0].isdigit()
                else written
            )
            assert text in (
                str(default).lower(),
                f"{default:g}",
                format_duration(default),
                format_bytes(int(default)),
            ), key
            compared += 1
    assert compared >= 20
    assert rows["fallback[].cache.max_bytes"] == format_bytes(FallbackLink().cache_bytes)
    assert rows["fallback[].on"] == "[failed, unavailable]"
    assert FallbackLink().errors == {"failed", "unavailable"}


def test_the_readmes_example_comes_to_a_plan(tmp_path):
    text = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    write(tmp_path / "ca.pem", CA)
    text = f"queue: {{priority_levels: 2}}\n{text}"
    assert list(contradictions(decode_yaml(text, ModelConfiguration))) == []
    scores = (TensorSpec("scores", "FP32", (-1, 10)),)
    made = plan(
        text, scores, environment={"TRITON_TOKEN": "s3cr3t"}, folder=tmp_path, versions=(1, 2)
    )
    assert [link.name for link in made.fallback] == [
        "newest other version", "model digits_small", "function mypackage.fallbacks:answer",
        "cache", "constant",
    ]  # fmt: skip
    assert (made.output_guard.finite, made.output_guard.ranges) == (
        ("scores",),
        {"scores": (0.0, 1.0)},
    )
    assert made.remotes[0] == RemotePlan("10.0.0.7:8001")
    assert made.remotes[1] == RemotePlan(
        "dns:///triton:8001", "digits_large", "2", CA.encode(), "s3cr3t", 8, 30.0, 64
    )


DURATIONS = st.integers(1, 10**6).map(lambda us: us / 1e3)
SIZES = st.integers(1, 1 << 45)
COUNTS = st.integers(1, 10**6)
SHARES = st.floats(0, 1)
FALLBACKS = st.one_of(
    st.builds(FallbackLink, version=st.integers(2, 99) | st.just(-1)),
    st.builds(FallbackLink, model=st.sampled_from(["other", "tiny"])),
    st.builds(
        FallbackLink,
        constant=st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(lambda row: {"y": row}),
    ),
    st.builds(FallbackLink, function=st.sampled_from(["a:b", "a.b_c:d.e"])),
    st.builds(FallbackLink, cache_age_s=DURATIONS, cache_bytes=SIZES),
)
LINKS = st.builds(
    lambda link, errors, slack: replace(link, errors=frozenset(errors), minimum_slack_s=slack),
    FALLBACKS,
    st.sets(st.sampled_from(ERRORS), min_size=1),
    DURATIONS,
)
PLANS = st.builds(
    ProtectionPlan,
    breaker=st.builds(
        BreakerPlan, st.booleans(), COUNTS, SHARES, DURATIONS, COUNTS, DURATIONS, DURATIONS
    ),
    retry=st.builds(RetryPlan, COUNTS, SHARES, COUNTS),
    fallback=st.lists(LINKS, max_size=4).map(tuple),
    output_guard=st.builds(
        OutputGuardPlan,
        st.sampled_from([(), ("y",)]),
        st.dictionaries(
            st.just("y"),
            st.tuples(st.floats(-9, 0) | st.just(-math.inf), st.floats(1, 9) | st.just(math.inf)),
        ),
    ),
    admission=st.builds(
        AdmissionPlan,
        COUNTS,
        SIZES,
        DURATIONS,
        st.booleans(),
        st.just((0.5, 0.25)),
        st.just("x-tenant"),
        st.floats(1, 1e6),
        st.floats(1, 1e6),
    ),
    workers=st.none() | st.builds(ProcessWorkersPlan, COUNTS, DURATIONS, DURATIONS, SIZES, COUNTS),
    remotes=st.lists(
        st.builds(
            RemotePlan,
            st.sampled_from(["a:1", "b:2", "unix:/x"]),
            st.sampled_from(["", "m"]),
            st.sampled_from(["", "2", "blue"]),
            concurrent_batches=COUNTS,
            timeout_s=DURATIONS,
            max_rows=COUNTS,
        ),
        unique_by=lambda remote: remote.address,
        max_size=3,
    ).map(tuple),
)


def words(part, **names):
    """The fields of the part, as model.yaml writes them."""
    written = {}
    for field in part.__struct_fields__:
        value = getattr(part, field)
        key = field.removesuffix("_s")
        if field.endswith("_s"):
            value = format_duration(value)
        elif field.endswith("_bytes"):
            value = format_bytes(value)
            key = field if field.startswith("max_in") else field.removesuffix("_bytes")
        written[names.get(key, key)] = value
    return written


def written_link(link):
    named = {
        key: value
        for key, value in {
            "version": link.version,
            "model": link.model,
            "constant": link.constant,
            "function": link.function,
        }.items()
        if value
    }
    if link.version == -1:
        named["version"] = "other"
    if link.cache_age_s:
        named["cache"] = {
            "max_age": format_duration(link.cache_age_s),
            "max_bytes": format_bytes(link.cache_bytes),
        }
    return {
        **named,
        "on": sorted(link.errors),
        "minimum_slack": format_duration(link.minimum_slack_s),
    }


def written(made):
    admission = words(made.admission)
    quota = {
        "key": admission.pop("quota_key"),
        "per_second": made.admission.quota_per_s,
        "burst": admission.pop("quota_burst"),
    }
    admission.pop("quota_per")
    remotes = [
        {
            key: value
            for key, value in words(remote).items()
            if value and key not in ("tls_ca", "token")
        }
        for remote in made.remotes
    ]
    return {
        "queue": {"priority_levels": 2},
        "breaker": words(made.breaker),
        "retry": words(made.retry),
        "fallback": [written_link(link) for link in made.fallback],
        "output_guard": {
            "finite": list(made.output_guard.finite),
            "ranges": {k: list(v) for k, v in made.output_guard.ranges.items()},
        },
        "admission": {
            **admission,
            "priority_shares": list(made.admission.priority_shares),
            "quota": quota,
        },
        "workers": {"kind": "process", **words(made.workers)} if made.workers else "thread",
        "remotes": remotes,
    }


@given(PLANS)
def test_what_is_written_is_what_is_planned(made):
    text = yaml.safe_dump(written(made))
    assert list(contradictions(decode_yaml(text, ModelConfiguration))) == []
    again = plan(text, versions=(1, 2))
    assert again == made
    assert pickle.loads(pickle.dumps(again)) == made
    plain = (
        again.breaker.window_s,
        again.admission.max_in_flight_bytes,
        *(remote.address for remote in again.remotes),
    )
    assert {type(value) for value in plain} <= {float, int, str}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        (
            {"z": 1},
            (
                "fallback[0].constant names 'z', but there is no such output; "
                "known are y, digit, name, sure"
            ),
        ),
        ({"y": None}, "fallback[0].constant lacks the output 'y'"),
        (
            {"y": [1, 2]},
            "fallback[0].constant.y has the shape [2], but a row of the output has [3]",
        ),
        ({"y": 1}, "fallback[0].constant.y has the shape [], but a row of the output has [3]"),
        (
            {"y": [[1, 2, 3]]},
            "fallback[0].constant.y has the shape [1, 3], but a row of the output has [3]",
        ),
        (
            {"digit": [1]},
            "fallback[0].constant.digit has the shape [1], but a row of the output has []",
        ),
        ({"name": [["a"], ["b", "c"]]}, "fallback[0].constant.name: its lists differ in length"),
        ({"name": [["a"], "b"]}, "fallback[0].constant.name: its lists differ in length"),
        ({"name": [["a", "b"], ["c", "d"]]}, ""),
        ({"name": [[], []]}, ""),
        ({"y": [1, 2, "3"]}, "fallback[0].constant.y holds '3', which is no FP32"),
        ({"y": [1, 2, True]}, "fallback[0].constant.y holds True, which is no FP32"),
        ({"y": [1, 2, 1e39]}, "fallback[0].constant.y holds 1e+39, which is no FP32"),
        (
            {"y": [1, 2, 10**400]},
            (
                "fallback[0].constant.y holds "
                "1000000000000000000000000000000000000000..., which is no FP32"
            ),
        ),
        ({"y": [math.nan, math.inf, -math.inf]}, ""),
        ({"digit": 128}, "fallback[0].constant.digit holds 128, which is no INT8"),
        ({"digit": -128}, ""),
        ({"digit": 1.0}, "fallback[0].constant.digit holds 1.0, which is no INT8"),
        ({"digit": True}, "fallback[0].constant.digit holds True, which is no INT8"),
        ({"name": [[1], ["b"]]}, "fallback[0].constant.name holds 1, which is no BYTES"),
        ({"sure": [1]}, "fallback[0].constant.sure holds 1, which is no BOOL"),
    ],
)
def test_a_constant_must_be_a_row_of_an_answer(change, fault):
    constant = {key: value for key, value in {**CONSTANT, **change}.items() if value is not None}
    text = yaml.safe_dump({"fallback": [{"constant": constant}]})
    if fault:
        assert faults(text, OUTPUTS) == fault
    else:
        assert plan(text, OUTPUTS).fallback[0].constant.keys() == CONSTANT.keys()


def test_a_constant_is_the_whole_tensor_where_the_version_is_not_batched():
    outputs = (TensorSpec("y", "UINT8", (-1, 2)),)
    assert plan("fallback: [{constant: {y: [[1, 2], [3, 255]]}}]", outputs, batched=False).fallback
    assert "y has the shape [2], but the output has [-1, 2]" in faults(
        "fallback: [{constant: {y: [1, 2]}}]", outputs, batched=False
    )
    assert "holds 256, which is no UINT8" in faults(
        "fallback: [{constant: {y: [[1, 256]]}}]", outputs, batched=False
    )


@pytest.mark.parametrize("value", ["5", "[1, 2]", "[[1], [2]]"])
def test_an_output_of_a_rank_that_the_graph_leaves_open_takes_any_constant(value):
    assert plan(
        f"fallback: [{{constant: {{y: {value}}}}}]", (TensorSpec("y", "FP32", ()),), batched=False
    ).fallback


@pytest.mark.parametrize("shape", [(-1, 3), ()])
def test_a_constant_that_contains_itself_is_a_fault(shape):
    assert "has the shape [1, 1" in faults(
        "fallback: [{constant: {y: &a [*a]}}]",
        (TensorSpec("y", "FP32", shape),),
        batched=bool(shape),
    )


def test_a_model_does_not_fall_back_on_itself():
    assert (
        faults("fallback: [{version: 2}, {model: m}]")
        == "fallback[1].model is this model itself: name another version of it with `version`"
    )


def test_each_of_the_live_versions_leaves_itself_out_of_the_chain_they_share():
    text = "versions: all\nfallback: [{version: 1}, {version: 2}, {model: n}]"
    assert [link.name for link in plan(text, versions=(1, 2), version=1).fallback] == [
        "version 2",
        "model n",
    ]
    assert [link.name for link in plan(text, versions=(1, 2), version=2).fallback] == [
        "version 1",
        "model n",
    ]
    assert warnings(text, versions=(1, 2), version=2) == ()


@pytest.mark.parametrize(
    ("text", "versions", "warning"),
    [
        ("fallback: [{version: 3}]", (1, 2), "fallback[0].version 3 is not there"),
        (
            "fallback: [{version: 1}]",
            (1, 2),
            "fallback[0].version 1 is not live under the version policy, latest 1",
        ),
        (
            "fallback: [{version: 2}]",
            (1, 2),
            "fallback[0].version 2 is this version itself, and no other is live",
        ),
        (
            "fallback: [{version: other}]",
            (1, 2),
            (
                "fallback[0].version is other, and no other version is live under "
                "the version policy, latest 1"
            ),
        ),
        (
            "fallback: [{constant: {y: [0, 0, 0]}}, {model: n}]",
            (1, 2),
            (
                "fallback[1] is never tried: fallback[0] is a constant, which "
                "answers whatever comes to it"
            ),
        ),
    ],
)
def test_a_fallback_that_cannot_answer_now_is_a_warning(text, versions, warning):
    assert warnings(text, versions=versions, version=2) == (warning,)


@pytest.mark.parametrize(
    "second",
    [
        "{model: n, on: [failed, overloaded]}",
        "{model: n, on: deadline}",
        "{constant: {y: [0, 0, 0]}, on: [overloaded]}",
    ],
)
def test_what_a_constant_leaves_is_for_those_behind_it(second):
    assert warnings(f"fallback: [{{constant: {{y: [0, 0, 0]}}}}, {second}]") == ()
    assert warnings("fallback: [{constant: {y: [0, 0, 0]}, minimum_slack: 1s}, {model: n}]") == ()


def test_true_guards_every_floating_point_output_and_no_other():
    outputs = (
        *OUTPUTS,
        TensorSpec("h", "FP16", (-1,)),
        TensorSpec("b", "BF16", (-1,)),
        TensorSpec("d", "FP64", (-1,)),
    )
    assert plan("output_guard: {finite: true}", outputs).output_guard.finite == ("y", "h", "b", "d")
    assert plan("output_guard: {finite: false}", outputs).output_guard.finite == ()
    assert plan("output_guard: {finite: [d, y, d]}", outputs).output_guard.finite == ("d", "y")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "finite: [yy]",
            "output_guard.finite names 'yy', but there is no such output; did you mean 'y'?",
        ),
        (
            "finite: [digit]",
            (
                "output_guard.finite names 'digit', which is INT8: only floating "
                "point can be NaN or infinite"
            ),
        ),
        (
            "ranges: {z: [0, 1]}",
            (
                "output_guard.ranges names 'z', but there is no such output; "
                "known are y, digit, name, sure"
            ),
        ),
        (
            "ranges: {name: [0, 1]}",
            "output_guard.ranges names 'name', which is BYTES and has no order",
        ),
        (
            "ranges: {sure: [0, 1]}",
            "output_guard.ranges names 'sure', which is BOOL and has no order",
        ),
    ],
)
def test_a_guard_must_fit_the_outputs(text, fault):
    assert faults(f"output_guard: {{{text}}}", OUTPUTS) == fault


def test_all_that_does_not_fit_is_told_together():
    text = (
        "output_guard: {finite: [a], ranges: {b: [0, 1]}}\nfallback: [{model: m}, {constant: {c: "
        "1}}]\nremotes: [{address: 'h:1', token_env: UNSET}]"
    )
    found = faults(text)
    assert all(
        part in found
        for part in (
            "finite names 'a'",
            "ranges names 'b'",
            "fallback[0].model",
            "names 'c'",
            "remotes[0].token_env",
        )
    )


def test_a_quota_of_less_than_one_a_second_lets_one_through():
    text = "admission: {quota: {key: k, per_second: 0.1}}"
    assert plan(text).admission == AdmissionPlan(quota_key="k", quota_per_s=0.1, quota_burst=1.0)
    assert plan(text.replace("0.1", "5")).admission == AdmissionPlan(quota_key="k", quota_per_s=5.0)


@pytest.mark.parametrize(
    ("text", "cores", "count", "threads"),
    [
        ("workers: process", 4, 4, 1),
        ("workers: process", 0, 1, 1),
        ("workers: {kind: process, count: 2}", 8, 2, 4),
        ("instances: 2\nworkers: process", 8, 2, 4),
        ("instances: 2\nworkers: {kind: process, count: 2}", 4, 2, 2),
    ],
)
def test_worker_processes_are_as_many_as_batches_run_at_a_time(text, cores, count, threads):
    model, version = found_model(decode_yaml(text, ModelConfiguration))
    made = plan_version(
        model, version, findings(), fingerprint="", defaults=PlanDefaults(cores=cores)
    )
    assert (made.protection.workers.count, made.instances, made.session.intra_op_threads) == (
        count,
        count,
        threads,
    )


@pytest.mark.parametrize(
    ("text", "on_loop"),
    [
        ("", 16),
        ("workers: process", 0),
        ("local: false\nremotes: [h:1]", 0),
        ("remotes: [h:1]", 16),
    ],
)
def test_only_what_threads_would_run_here_runs_on_the_loop(text, on_loop):
    model, version = found_model(decode_yaml(text, ModelConfiguration))
    made = plan_version(model, version, findings(), fingerprint="", defaults=PlanDefaults())
    assert made.batching.loop_batch_size == on_loop


def test_a_versions_plan_carries_its_protection_and_its_warnings():
    model, version = found_model(
        decode_yaml(
            "breaker: off\nfallback: [{version: 3}, {constant: {y: [1, 2, 3]}}]", ModelConfiguration
        )
    )
    made = plan_version(model, version, findings(), fingerprint="", defaults=PlanDefaults())
    assert made.protection.breaker == BreakerPlan(enabled=False)
    assert made.warnings == ("fallback[0].version 3 is not there",)
    with pytest.raises(
        PlanFault,
        match=r"fallback\[1\].constant.y has the shape \[3\], but the output has \[-1, 3\]",
    ):
        plan_version(
            model,
            version,
            findings(batchable=False, outputs=(graph_tensor("y", ("n", 3)),)),
            fingerprint="",
            defaults=PlanDefaults(),
        )


def test_a_token_comes_from_the_environment_and_is_shown_nowhere(tmp_path):
    write(tmp_path / "ca.pem", CA)
    text = (
        "remotes: [{address: 'h:1', tls_ca: ca.pem, token_env: A}, {address: 'unix:/x', token_env: "
        "A}, {address: 'h:2', token_env: A}]"
    )
    made, said = plan_with_warnings(text, environment={"A": " s3cr3t\n"}, folder=tmp_path)
    assert [remote.token for remote in made.remotes] == ["s3cr3t"] * 3
    assert [remote.tls_ca for remote in made.remotes] == [CA.encode(), b"", b""]
    assert said == ("remotes[2]: the token is sent to h:2 unencrypted, because tls_ca is not set",)
    assert "s3cr3t" not in repr(made)


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        ({}, "remotes[0].token_env: the environment variable A is not set"),
        ({"A": " "}, "remotes[0].token_env: the environment variable A is not set"),
        (
            {"A": "s3cr3t two"},
            "remotes[0].token_env: the environment variable A must hold one token, without spaces",
        ),
        (
            {"A": "s3crét"},
            "remotes[0].token_env: the environment variable A must hold one token, without spaces",
        ),
    ],
)
def test_a_token_that_cannot_be_sent_is_a_fault_that_does_not_show_it(environment, fault):
    assert faults("remotes: [{address: 'h:1', token_env: A}]", environment=environment) == fault


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("no.pem", "'no.pem' is not in the model's folder"),
        ("../out.pem", "'../out.pem' must be a path inside the model's folder"),
        ("/etc/hosts", "'/etc/hosts' must be a path inside the model's folder"),
        ("link.pem", "'link.pem' is a link that leaves the model's folder"),
        ("empty.pem", "'empty.pem' holds no PEM certificate"),
        ("folder", "'folder' is not a file"),
    ],
)
def test_certificates_stand_in_the_models_folder(tmp_path, name, fault):
    write(tmp_path / "out.pem", CA)
    folder = tmp_path / "m"
    write(folder / "empty.pem", "")
    (folder / "folder").mkdir()
    (folder / "link.pem").symlink_to(tmp_path / "out.pem")
    assert (
        faults(f"remotes: [{{address: 'h:1', tls_ca: {name}}}]", folder=folder)
        == f"remotes[0].tls_ca: {fault}"
    )


def test_whatever_protection_depends_on_changes_the_fingerprint(tmp_path, monkeypatch):
    write_model(tmp_path / "m/1/model.onnx")

    def taken():
        (model,) = scan(tmp_path).models
        (version,) = model.live
        return fingerprint(model, version, "hash", PlanDefaults())

    seen = [taken()]
    for text in (
        "breaker: off",
        "fallback: [{model: n}]",
        "fallback: [{constant: {y: 1}}]",
        "fallback: [{constant: {y: 2}}]",
        "workers: process",
        "remotes: [{address: 'h:1', tls_ca: ca.pem, token_env: TOKEN_OF_TEST}]",
    ):
        write(tmp_path / "m/model.yaml", text)
        seen.append(taken())
    write(tmp_path / "m/ca.pem", CA)
    seen.append(taken())
    write(tmp_path / "m/ca.pem", CA * 2)
    seen.append(taken())
    for token in ("one", "two"):
        monkeypatch.setenv("TOKEN_OF_TEST", token)
        seen.append(taken())
    assert taken() == seen[-1]
    assert len(set(seen)) == len(seen)
