"""TraceSetting and LogSettings."""

import grpc
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from tests.support.service_parts import two_versions

ELSEWHERE = [("x-forwarded-for", "203.0.113.7")]


def trace_request(model="", **settings):
    return pb.TraceSettingRequest(
        model_name=model,
        settings={k: pb.TraceSettingRequest.SettingValue(value=v) for k, v in settings.items()},
    )


def log_request(**settings):
    return pb.LogSettingsRequest(
        settings={k: pb.LogSettingsRequest.SettingValue(**v) for k, v in settings.items()}
    )


def trace(served, request, **arguments):
    return {
        name: list(each.value)
        for name, each in served.stub.TraceSetting(
            request, timeout=10, **arguments
        ).settings.items()
    }


def log(served, request, **arguments):
    answered = served.stub.LogSettings(request, timeout=10, **arguments).settings
    return {
        name: getattr(each, each.WhichOneof("parameter_choice")) for name, each in answered.items()
    }


def test_settings_are_those_published_last(served):
    served.publish()
    assert trace(served, trace_request()) == {
        "trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": ["1000"], "trace_file": [""],
        "trace_ids": ["true"]
    }  # fmt: skip
    assert log(served, log_request()) == {
        "log_info": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_file": "",
        "log_format": "default",
    }
    served.publish(log={"log_verbose_level": 3}, trace={})
    assert trace(served, trace_request()) == {}
    assert log(served, log_request()) == {"log_verbose_level": 3}
    assert served.control.asked == []


def test_before_the_first_publication_settings_are_unavailable(served, refused):
    assert refused(served.stub.TraceSetting, trace_request())[0] is grpc.StatusCode.UNAVAILABLE
    assert refused(served.stub.LogSettings, log_request())[0] is grpc.StatusCode.UNAVAILABLE


def test_trace_values_take_the_type_of_the_setting(served):
    served.publish()
    served.control.answer = {"trace_rate": 5}
    request = trace_request(
        trace_level=["OFF"], trace_rate=["-5"], trace_file=["a.json"], trace_ids=["false"]
    )
    assert trace(served, request) == {"trace_rate": ["5"]}
    assert served.control.asked == [
        (
            "trace_settings",
            "",
            {"trace_level": ("OFF",), "trace_rate": -5, "trace_file": "a.json", "trace_ids": False},
        )
    ]


def test_a_trace_setting_without_a_value_asks_for_its_default(served):
    served.publish()
    served.control.answer = {}
    trace(served, trace_request(trace_rate=[], trace_level=[]))
    assert served.control.asked == [("trace_settings", "", {"trace_rate": (), "trace_level": ()})]


def test_the_trace_settings_of_a_live_model_are_the_servers_and_cannot_be_changed_for_it_alone(
    served, refused
):
    served.start_up(*two_versions())
    assert trace(served, trace_request("m")) == trace(served, trace_request())
    for values in (["8"], []):
        assert refused(served.stub.TraceSetting, trace_request("m", trace_rate=values)) == (
            grpc.StatusCode.UNIMPLEMENTED,
            "'m' has no trace settings of its own: leave its name out to change those of all models"
        )  # fmt: skip
    assert served.control.asked == []
    assert refused(served.stub.TraceSetting, trace_request("nobody")) == (
        grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'nobody' is not found"
    )  # fmt: skip


def test_log_values_come_in_the_field_of_their_type(served):
    served.publish()
    served.control.answer = {"log_info": False, "log_verbose_level": 2}
    request = log_request(
        log_info={"bool_param": False},
        log_verbose_level={"uint32_param": 2},
        log_format={"string_param": "ISO8601"},
    )
    assert log(served, request) == {"log_info": False, "log_verbose_level": 2}
    assert served.control.asked == [
        ("log_settings", "", {"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"})
    ]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"level": ["OFF"]},
            (
                "unknown trace setting 'level': there are trace_file, "
                "trace_ids, trace_level, trace_rate"
            ),
        ),
        ({"trace_file": ["a", "b"]}, "expect only 1 value for 'trace_file', got 2"),
        (
            {"trace_rate": ["often"]},
            "Unable to parse 'trace_rate', expected a whole number, got: often",
        ),
        ({"trace_ids": ["1"]}, "Unable to parse 'trace_ids', expected true or false, got: 1"),
    ],
)
def test_trace_settings_that_do_not_fit_are_refused(served, refused, settings, text):
    served.publish()
    assert refused(served.stub.TraceSetting, trace_request(**settings)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        text,
    )
    assert served.control.asked == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"verbose": {"bool_param": True}},
            (
                "unknown log setting 'verbose': there are log_error, log_file, log_format, "
                "log_info, log_verbose_level"
            ),
        ),
        (
            {"log_info": {"string_param": "no"}},
            "expect boolean for 'log_info' (in bool_param), got string_param",
        ),
        (
            {"log_verbose_level": {"bool_param": True}},
            "expect uint32 for 'log_verbose_level' (in uint32_param), got bool_param",
        ),
        ({"log_file": {}}, "expect string for 'log_file' (in string_param), got no value"),
    ],
)
def test_log_settings_that_do_not_fit_are_refused(served, refused, settings, text):
    served.publish()
    assert refused(served.stub.LogSettings, log_request(**settings)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        text,
    )
    assert served.control.asked == []


def test_where_there_are_no_settings_the_refusal_says_so(served, refused):
    served.publish(log={})
    assert (
        refused(served.stub.LogSettings, log_request(log_info={"bool_param": True}))[1]
        == "unknown log setting 'log_info': there are none"
    )


def test_everybody_may_ask_and_only_administrators_may_change(served, refused):
    served.publish()
    assert trace(served, trace_request(), metadata=ELSEWHERE)
    assert log(served, log_request(), metadata=ELSEWHERE)
    assert (
        refused(served.stub.TraceSetting, trace_request(trace_rate=["1"]), metadata=ELSEWHERE)[0]
        is grpc.StatusCode.PERMISSION_DENIED
    )
    change = log_request(log_info={"bool_param": False})
    assert (
        refused(served.stub.LogSettings, change, metadata=ELSEWHERE)[0]
        is grpc.StatusCode.PERMISSION_DENIED
    )
    assert served.control.asked == []
