"""The sections of model.yaml about protection are read strictly.

Each fault is named by its key, and nothing is shown that may be a secret.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.typed_yaml import TypedYamlFault, decode_yaml
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.contradictions import contradictions
from gateway.control.models.configuration.merge import merge
from gateway.control.models.configuration.protection_configuration import Breaker, Fallback
from gateway.control.models.configuration.protection_values import ERRORS, Address
from gateway.control.models.configuration.worker_configuration import Remote, Workers
from gateway.control.models.sources.folder import scan
from tests.support.repository_models import write, write_model


def read(text):
    return decode_yaml(text, ModelConfiguration)


def fault(text):
    with pytest.raises(TypedYamlFault) as caught:
        read(text)
    (found,) = caught.value.faults
    return found


@pytest.mark.parametrize(
    ("text", "breaker"),
    [
        ("breaker: off", Breaker(enabled=False)),
        ("breaker: 'off'", Breaker(enabled=False)),
        ("breaker: false", Breaker(enabled=False)),
        ("breaker: on", Breaker(enabled=True)),
        ("breaker: {}", Breaker()),
        ("breaker:", Breaker()),
        ("breaker: {window: 1m, enabled: false}", Breaker(enabled=False, window_s=60.0)),
    ],
)
def test_a_breaker_may_be_written_short(text, breaker):
    assert read(text).breaker == breaker


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("workers: process", Workers(kind="process")),
        ("workers: thread", Workers(kind="thread")),
        ("workers: {kind: process, count: 3}", Workers(kind="process", count=3)),
        ("", None),
    ],
)
def test_workers_may_be_written_short(text, workers):
    assert read(text).workers == workers


def test_a_remote_may_be_a_bare_address():
    said = read(
        "remotes: [10.0.0.7:8001, {address: 'h:1', version: 2}, {address: 'h:2', version: '2'}]"
    )
    assert said.remotes == (
        Remote(address="10.0.0.7:8001"),
        Remote(address="h:1", version=2),
        Remote(address="h:2", version="2"),
    )


def test_the_bare_key_on_is_understood_although_yaml_reads_it_as_true():
    said = read(
        "fallback:\n- version: other\n  on: [failed]\n- version: 2\n  "
        "'on': overloaded\n- {model: m}"
    )
    assert [link.on for link in said.fallback] == [("failed",), ("overloaded",), None]
    assert [repr(link.version) for link in said.fallback] == ["other", "2", "None"]


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.7:8001",
        "triton:8001",
        "my_host.local:1",
        "[::1]:8001",
        "dns:///triton:8001",
        "dns:triton:8001",
        "dns://8.8.8.8/triton:8001",
        "ipv4:10.0.0.7:80",
        "ipv6:[::1]:80",
        "unix:/run/triton.sock",
        "unix:///run/t.sock",
        "unix-abstract:name",
    ],
)
def test_addresses_are_what_grpc_dials(text):
    assert Address.parse(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "triton",
        "triton:",
        ":8001",
        "triton:0",
        "triton:65536",
        "::1:8001",
        "a b:1",
        "unix:",
        "a:1,b:2",
        8001,
        None,
    ],
)
def test_other_texts_are_no_addresses(text):
    with pytest.raises(ValueError, match=r"expected an address such as 10\.0\.0\.7:8001"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("breaker: {windw: 1s}", "breaker: unknown key 'windw'; did you mean 'window'?"),
        ("breaker: 3", "breaker: expected off, or a mapping of keys to values, got 3"),
        ("breaker: {failure_rate: 1.1}", "breaker: failure_rate: expected float <= 1.0 (1.1)"),
        ("breaker: {failure_rate: .nan}", "breaker: failure_rate: expected float >= 0.0 (nan)"),
        ("breaker: {window: 0s}", "breaker: window: must be more than 0s"),
        (
            "breaker: {reset_timeout: 5}",
            "breaker: reset_timeout: expected a duration with its unit",
        ),
        ("breaker: {minimum_batches: 0}", "breaker: minimum_batches: expected int >= 1 (0)"),
        ("retry: {attempts: 0}", "retry.attempts: expected int >= 1 (0)"),
        ("retry: {budget: 2}", "retry.budget: expected float <= 1.0 (2)"),
        ("retry: {budgt: 2}", "unknown key 'budgt' in retry; did you mean 'budget'?"),
        ("fallback: {model: m}", "fallback: expected a list of fallbacks, tried in this order"),
        (
            "fallback: [m]",
            (
                "fallback: [0] expected a mapping with one of version, model, constant, "
                "function and cache, got 'm'"
            ),
        ),
        (
            "fallback: [{model: m}, {modle: m}]",
            "fallback: [1] unknown key 'modle'; did you mean 'model'?",
        ),
        (
            "fallback: [{version: 0}]",
            (
                "fallback: [0] version: expected a version such as 1, or other (the "
                "newest other live one), got 0"
            ),
        ),
        ("fallback: [{version: true}]", "fallback: [0] version: expected a version such as 1"),
        ("fallback: [{version: newest}]", "fallback: [0] version: expected a version such as 1"),
        (
            "fallback: [{model: m, on: [overload]}]",
            "fallback: [0] on: unknown value 'overload'; did you mean 'overloaded'?",
        ),
        (
            "fallback: [{model: m, on: []}]",
            (
                "fallback: [0] on: expected a list of failed, unavailable, "
                "deadline, overloaded, got []"
            ),
        ),
        (
            "fallback: [{model: m, minimum_slack: 2}]",
            "fallback: [0] minimum_slack: expected a duration with its unit",
        ),
        ("fallback: [{cache: {}}]", "fallback: [0] cache: the key 'max_age' is missing"),
        ("fallback: [{cache: {max_age: 0s}}]", "fallback: [0] cache.max_age: must be more than 0s"),
        (
            "fallback: [{cache: {max_age: 1s, max_bytes: 9}}]",
            "fallback: [0] cache.max_bytes: expected a size with its unit",
        ),
        (
            "fallback: [{function: answer}]",
            (
                "fallback: [0] function: expected module:function, such as "
                "mypackage.fallbacks:answer, got 'answer'"
            ),
        ),
        ("fallback: [{function: 'a.b:c d'}]", "fallback: [0] function: expected module:function"),
        ("fallback: [{constant: [1]}]", "fallback: [0] constant: expected object, got array ([1])"),
        ("output_guard: {finite: y}", "output_guard.finite: expected bool | array, got str ('y')"),
        (
            "output_guard: {ranges: {y: [1, 0]}}",
            "output_guard.ranges: y: expected [LOW, HIGH], two numbers of which the first is less",
        ),
        ("output_guard: {ranges: {y: [1, 1]}}", "output_guard.ranges: y: expected [LOW, HIGH]"),
        ("output_guard: {ranges: {y: [0, .nan]}}", "output_guard.ranges: y: expected [LOW, HIGH]"),
        ("output_guard: {ranges: {y: [0]}}", "output_guard.ranges: y: expected [LOW, HIGH]"),
        (
            "output_guard: {ranges: [0, 1]}",
            "output_guard.ranges: expected a range such as [0, 1] for each output, got [0, 1]",
        ),
        (
            "admission: {max_in_flight_bytes: 1}",
            "admission.max_in_flight_bytes: expected a size with its unit",
        ),
        (
            "admission: {priority_shares: [0.5, 0]}",
            "admission.priority_shares[1]: expected float > 0.0",
        ),
        ("admission: {quota: {per_second: 5}}", "admission.quota: the key 'key' is missing"),
        ("admission: {quota: {key: k}}", "admission.quota: the key 'per_second' is missing"),
        (
            "admission: {quota: {key: k, per_second: 0}}",
            "admission.quota.per_second: expected float > 0.0",
        ),
        (
            "admission: {quota: {key: k, per_second: .inf}}",
            "admission.quota.per_second: expected float <= 1000000000.0",
        ),
        (
            "admission: {quota: {key: X-Tenant, per_second: 1}}",
            "admission.quota.key: expected a metadata key of text: lower-case",
        ),
        (
            "admission: {quota: {key: x-bin, per_second: 1}}",
            "admission.quota.key: expected a metadata key of text",
        ),
        ("workers: proces", "workers: unknown value 'proces'; did you mean 'process'?"),
        ("workers: {count: 2}", "workers: the key 'kind' is missing"),
        ("workers: {kind: process, count: 0}", "workers: count: expected int >= 1 (0)"),
        (
            "workers: {kind: process, memory_limit: 2}",
            "workers: memory_limit: expected a size with its unit",
        ),
        ("workers: 2", "workers: expected thread, process, or a mapping of keys to values, got 2"),
        ("remotes: h:1", "remotes: expected a list of addresses, or of mappings with one"),
        (
            "remotes: [http://h:1]",
            (
                "remotes: [0] address: expected an address such as 10.0.0.7:8001, "
                "dns:///triton:8001 or unix:/run/triton.sock, got"
            ),
        ),
        (
            "remotes: [h:1, {adress: 'h:2'}]",
            (
                "remotes: [1] unknown key 'adress'; did you mean 'address'?; "
                "the key 'address' is missing"
            ),
        ),
        ("remotes: [{address: 'h:1', timeout: 0s}]", "remotes: [0] timeout: must be more than 0s"),
        ("local: maybe", "local: expected bool, got str ('maybe')"),
        ("remote: [h:1]", "unknown key 'remote'; did you mean 'remotes'?"),
    ],
)
def test_each_fault_is_named_by_its_key(text, expected):
    assert fault(text).startswith(expected)


def test_all_faults_of_a_section_are_told_together():
    found = fault("fallback: [{version: 0, minimum_slack: 1}, {modle: m}]")
    assert [
        part in found for part in ("[0] version", "minimum_slack", "[1] unknown key 'modle'")
    ] == [True] * 3


@pytest.mark.parametrize(
    "text",
    [
        "remotes: [{address: 'h:1', token: s3cr3t}]",
        "remotes: [{address: 'h:1', token: s3cr3t, timeot: 1s}]",
        "remotes: {address: 'h:1', token: s3cr3t}",
        "remotes: [[{address: 'h:1', token: s3cr3t}]]",
        "remotes: [{address: 'h:1', token_env: s3cr3t-with-a-dash}]",
        "remotes: [{address: 'h:1', token_env: [s3cr3t]}]",
    ],
)
def test_a_token_in_the_file_is_refused_and_not_shown(text):
    assert "s3cr3t" not in fault(text)


def test_who_writes_a_token_is_told_where_it_belongs():
    assert fault("remotes: [{address: 'h:1', token: x}]") == (
        "remotes: [0] a token must not stand in a file: put it into an environment variable of the "
        "gateway and name that with token_env"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "breaker: {consecutive_failures: 0, failure_rate: 0}",
            "breaker.consecutive_failures and breaker.failure_rate are both 0, so that it",
        ),
        ("fallback: [{}]", "fallback[0] must set one of version, model, constant, function, cache"),
        (
            "fallback: [{version: 1}, {model: m, version: 1}]",
            (
                "fallback[1] must set one of version, model, constant, "
                "function, cache, not version and"
            ),
        ),
        (
            "fallback: [{cache: {max_age: 1s, max_bytes: 0B}}]",
            "fallback[0].cache.max_bytes must not be 0B",
        ),
        (
            "admission: {priority_shares: [1]}",
            "admission.priority_shares has 1 shares, but queue.priority_levels is 0",
        ),
        (
            "queue: {priority_levels: 2}\nadmission: {priority_shares: [0.1, 0.1, 0.1]}",
            "admission.priority_shares has 3 shares, but queue.priority_",
        ),
        (
            "queue: {priority_levels: 2}\nadmission: {priority_shares: [0.6, 0.5]}",
            "admission.priority_shares come to 1.1, which is more than 1",
        ),
        (
            "admission: {quota: {key: k, per_second: 1, burst: 0.5}}",
            "admission.quota.burst is 0.5, and a request costs 1",
        ),
        ("workers: {kind: thread, count: 2}", "workers.count is for kind process, not thread"),
        (
            "workers: {kind: thread, memory_limit: 1B}",
            "workers.memory_limit is for kind process, not thread",
        ),
        (
            "instances: 3\nworkers: {kind: process, count: 2}",
            "workers.count is 2 and instances is 3, but a worker process runs one batch at a time",
        ),
        ("remotes: [h:1, {address: 'h:1', model: m}]", "remotes: 'h:1' is listed 2 times"),
        ("local: false", "local is false and there are no remotes: nothing would run the model"),
        (
            "local: false\nremotes: [h:1]\nworkers: process",
            "local is false, so that nothing runs here, and workers sets what runs it here",
        ),
    ],
)
def test_what_cannot_hold_together_is_a_fault(text, expected):
    (found,) = contradictions(read(text))
    assert found.startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "breaker: {enabled: false, consecutive_failures: 0, failure_rate: 0}",
        "breaker: {failure_rate: 0}",
        (
            "queue: {priority_levels: 3}\nadmission: {priority_shares: [0.3333333333333334, "
            "0.3333333333333334, 0.3333333333333334]}"
        ),
        "admission: {priority_shares: []}",
        "instances: 2\nworkers: {kind: process, count: 2}",
        "instances: 2\nworkers: {kind: thread}",
        "local: false\nremotes: [h:1]",
        "local: true",
        "admission: {quota: {key: k, per_second: 0.1, burst: 0}}",
    ],
)
def test_what_can_hold_together_is_none(text):
    assert list(contradictions(read(text))) == []


def test_protection_stands_in_model_yaml_beside_a_config_pbtxt(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(
        tmp_path / "m/config.pbtxt",
        "max_batch_size: 8\ndynamic_batching { priority_levels: 2 default_priority_level: 1 }",
    )
    write(
        tmp_path / "m/model.yaml",
        "breaker: off\nadmission: {priority_shares: [0.5, 0.5]}\n"
        "workers: {kind: process, count: 2}",
    )
    (model,) = scan(tmp_path).models
    assert model.faults == ()
    said = model.configuration
    assert (
        said.batching.max_batch_size,
        said.breaker.enabled,
        said.admission.priority_shares,
        said.workers.count,
    ) == (8, False, (0.5, 0.5), 2)


def test_what_only_the_yaml_file_says_is_kept_in_the_union():
    said = read(
        "fallback: [{constant: {y: [1, 2]}}]\noutput_guard: {ranges: {y: [0, 1]}}\nremotes: [h:1]\n"
        "local: false\nworkers: process"
    )
    for first, second in ((said, ModelConfiguration()), (ModelConfiguration(), said)):
        assert merge(first, second, ("a", "b")) == (said, ())


def test_a_constant_that_contains_itself_is_read():
    (link,) = read("fallback: [{constant: {y: &a [*a]}}]").fallback
    assert isinstance(link, Fallback)


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from(["off", "process", "h:1", "1s", "1B", "other", "x", *ERRORS]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "enabled",
                    "window",
                    "attempts",
                    "version",
                    "model",
                    "constant",
                    "function",
                    "cache",
                    "max_age",
                    "max_bytes",
                    "on",
                    "finite",
                    "ranges",
                    "y",
                    "quota",
                    "key",
                    "per_second",
                    "kind",
                    "count",
                    "address",
                    "token_env",
                    "tls_ca",
                    "timeout",
                    "priority_shares",
                    True,
                    1,
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
SECTIONS = st.sampled_from(
    ["breaker", "retry", "fallback", "output_guard", "admission", "workers", "remotes", "local"]
)


@given(st.dictionaries(SECTIONS, JUNK, min_size=1, max_size=3))
def test_whatever_is_written_is_read_or_refused_by_key(document):
    import yaml

    try:
        said = read(yaml.safe_dump(document))
        faults = ()
    except TypedYamlFault as error:
        said = ModelConfiguration()
        faults = error.faults
    assert all(
        any(section in text for section in document) for text in (*faults, *contradictions(said))
    )
