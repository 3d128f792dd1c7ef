"""Every option is declared once: its field says its name, unit, default and help."""

import pickle

import msgspec
import pytest

from gateway.cli.options.declared import declared_options, read_values, server_options
from gateway.config.option import DURATION, SIZE
from gateway.config.server_options import ServerOptions
from gateway.config.typed_yaml import TypedYamlFault


def test_an_option_says_what_it_does_and_how_its_value_looks():
    for key, option in declared_options().items():
        assert option.option.help, key
        assert option.option.value or option.type is bool, key


def test_units_stand_in_the_names_of_fields():
    for option in declared_options().values():
        assert option.field.endswith("_s") == (option.option.value == DURATION)
        assert option.field.endswith("_bytes") == (option.option.value == SIZE)


def test_nothing_said_is_every_group_as_by_default():
    faults = []
    assert server_options({}, faults) == ServerOptions()
    assert not faults


def test_a_value_lands_in_the_field_that_declares_it_and_nowhere_else():
    made = server_options(read_values({"max_queue_size": "1MiB", "grace": "7s"}), [])
    assert made.defaults.max_queue_bytes == 1 << 20
    assert made.stop.grace_s == 7.0
    assert (
        msgspec.structs.replace(made, defaults=ServerOptions().defaults, stop=ServerOptions().stop)
        == ServerOptions()
    )


def test_a_group_that_cannot_be_is_told_and_the_others_hold():
    faults = []
    made = server_options({"max_message_size": 0, "max_connection_age": 1e9, "host": "h"}, faults)
    assert faults == [
        "--max-message-size: must be more than 0B",
        "--max-connection-age: at most 480h, got 1000000000.0",
    ]
    assert made.listen.host == "h"
    assert made.limits == ServerOptions().limits


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"port": -1}, "port: expected int >= 0 (-1)"),
        ({"model_control": "pol"}, "model_control: unknown value 'pol'; did you mean 'poll'?"),
        ({"trace_ratio": 2}, "trace_ratio: expected a number from 0 to 1, got 2"),
        ({"hosst": "x"}, "unknown key 'hosst'; did you mean 'host'?"),
        ([], "the file: expected a mapping of keys to values, got []"),
    ],
)
def test_what_does_not_fit_its_declaration_is_refused(said, fault):
    with pytest.raises(TypedYamlFault) as caught:
        read_values(said)
    assert caught.value.faults == (fault,)


def test_the_groups_travel_to_other_processes():
    assert pickle.loads(pickle.dumps(ServerOptions())) == ServerOptions()
