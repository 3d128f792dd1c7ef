"""Values of options that are not simply numbers or texts."""

import pytest

from gateway.config.written_values import http_port, process_count, ratio, trace_url


@pytest.mark.parametrize(
    ("said", "port"), [("off", None), (False, None), ("0", 0), (8002, 8002), (" 9 ", 9)]
)
def test_a_port_or_none(said, port):
    assert http_port(said) == port


@pytest.mark.parametrize(("said", "count"), [("auto", 0), (1, 1), ("64", 64)])
def test_a_number_of_processes_or_as_many_as_the_machine_can_take(said, count):
    assert process_count(said) == count


@pytest.mark.parametrize(("said", "share"), [(0, 0.0), ("0.25", 0.25), (1, 1.0)])
def test_a_share(said, share):
    assert ratio(said) == share


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (http_port, True),
        (http_port, 65536),
        (http_port, "٣"),
        (process_count, 0),
        (process_count, 65),
        (process_count, False),
        (ratio, True),
        (ratio, "nan"),
        (ratio, [0.5]),
        (ratio, 1.01),
        (trace_url, None),
        (trace_url, "ftp://h/{trace_id}"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(read, said):
    with pytest.raises(ValueError, match=r"expected .*, got "):
        read(said)
