"""The keys of model.yaml, as their structs declare them."""

from gateway.cli.options.model_keys import ModelKey, protection_keys, serving_keys


def by_path(keys: list[ModelKey]) -> dict[str, ModelKey]:
    return {path: key for key in keys for path in key.paths}


def test_a_default_is_that_of_the_plan_in_the_form_that_people_write():
    keys = by_path([*serving_keys(), *protection_keys()])
    assert {
        path: keys[path].left_out
        for path in (
            "queue.max_bytes",
            "queue.default_timeout",
            "queue.allow_timeout_override",
            "session.graph_optimization",
            "breaker.failure_rate",
            "warmup[].count",
        )
    } == {
        "queue.max_bytes": "512MiB",
        "queue.default_timeout": "0s",
        "queue.allow_timeout_override": "false",
        "session.graph_optimization": "`all`",
        "breaker.failure_rate": "0.5",
        "warmup[].count": "1",
    }


def test_a_key_that_must_be_there_says_so():
    assert by_path(protection_keys())["admission.quota.key"].left_out == "required"


def test_inputs_and_outputs_share_the_rows_of_what_both_have():
    rows = [key.paths for key in serving_keys() if key.paths[0].startswith(("inputs", "outputs"))]
    assert ("inputs[].name", "outputs[].name") in rows
    assert ("inputs[].optional",) in rows
    assert ("outputs[].labels",) in rows


def test_lists_and_mappings_of_structs_are_followed():
    assert "warmup[].inputs.NAME.file" in by_path(serving_keys())
    assert "fallback[].cache.max_age" in by_path(protection_keys())
