"""The choice of grpcio's I/O mode, and that it takes effect in the installed grpcio."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

from gateway.serving.wire.transport.io_mode import apply_io_mode, choose_io_mode

SWITCH = ("-event_engine_listener", "-event_engine_client")


def knows(*names):
    return names.__contains__


def test_auto_is_polling_wherever_there_is_a_switch():
    for version in ("1.75.1", "1.80.1", "1.85.1", "1.99.0", "2.0.0"):
        chosen = choose_io_mode("auto", version=version, known=knows("event_engine_listener"))
        assert (chosen.mode, chosen.experiments) == ("polling", SWITCH)


def test_auto_falls_back_to_event_engine_when_the_switch_is_gone():
    chosen = choose_io_mode("auto", version="1.99.0", known=knows())
    assert (chosen.mode, chosen.experiments) == ("event-engine", ())
    assert "1.99.0" in str(chosen)


def test_polling_that_cannot_be_had_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"grpcio 1\.99\.0 cannot .* --io-mode at auto"):
        choose_io_mode("polling", version="1.99.0", known=knows())


@pytest.mark.parametrize(
    ("version", "names", "experiments"),
    [
        ("1.85.1", ("event_engine_listener",), ()),
        (
            "1.76.0",
            ("event_engine_listener", "event_engine_poller_for_python"),
            ("event_engine_poller_for_python",),
        ),
    ],
)
def test_event_engine_when_asked_for(version, names, experiments):
    chosen = choose_io_mode("event-engine", version=version, known=knows(*names))
    assert (chosen.mode, chosen.experiments) == ("event-engine", experiments)


def test_event_engine_before_python_had_it_is_refused():
    with pytest.raises(ValueError, match=r"grpcio 1\.75\.1 has no EventEngine"):
        choose_io_mode("event-engine", version="1.75.1", known=knows("event_engine_listener"))


@pytest.mark.parametrize(
    ("entry", "mode"),
    [("event_engine_listener", "event-engine"), ("-event_engine_listener", "polling")],
)
def test_the_users_own_entry_wins_over_auto(entry, mode):
    chosen = choose_io_mode(
        "auto",
        version="1.85.1",
        known=knows("event_engine_listener"),
        set_by_user=("tcp_rcv_lowat", entry),
    )
    assert (chosen.mode, chosen.experiments) == (mode, ())
    assert "GRPC_EXPERIMENTS" in str(chosen)


def test_an_option_that_contradicts_the_users_entry_is_refused():
    with pytest.raises(
        ValueError, match=r"--io-mode polling contradicts GRPC_EXPERIMENTS=event_engine_listener"
    ):
        choose_io_mode(
            "polling",
            version="1.85.1",
            known=knows("event_engine_listener"),
            set_by_user=("event_engine_listener",),
        )


def test_other_entries_of_the_user_are_kept():
    environ = {"GRPC_EXPERIMENTS": "tcp_rcv_lowat, -multiping"}
    assert apply_io_mode("auto", environ, imported=()).mode == "polling"
    assert environ["GRPC_EXPERIMENTS"] == ",".join(["tcp_rcv_lowat", "-multiping", *SWITCH])


def test_a_child_finds_the_choice_in_its_environment():
    environ = {}
    apply_io_mode("auto", environ, imported=())
    before = dict(environ)
    assert apply_io_mode("auto", environ, imported=("grpc",)).mode == "polling"
    assert environ == before


def test_a_choice_after_grpc_was_imported_is_an_error():
    with pytest.raises(RuntimeError, match="too late"):
        apply_io_mode("auto", {}, imported=("grpc",))


# A server whose queue nobody polls: whether it greets a client tells who does the I/O.
PROBE = """
import os, socket, sys
from gateway.serving.wire.transport.io_mode import apply_io_mode
assert "grpc" not in sys.modules
apply_io_mode(sys.argv[1])
from grpc._cython import cygrpc
queue, server = cygrpc.CompletionQueue(), cygrpc.Server((), False)
server.register_completion_queue(queue)
port = server.add_http2_port(b"127.0.0.1:0", cygrpc.insecure_server_credentials())
server.start()
client = socket.create_connection(("127.0.0.1", port))
client.settimeout(0.5)
client.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
try:
    print("event-engine" if client.recv(1) else "closed", flush=True)
except TimeoutError:
    print("polling", flush=True)
os._exit(0)  # the queue, never drained, would hang in its destructor
"""


@pytest.mark.parametrize("wanted", ["auto", "polling", "event-engine"])
def test_the_mode_takes_effect_in_the_installed_grpcio_and_without_a_complaint(wanted):
    environ = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    version = tuple(int(part) for part in importlib.metadata.version("grpcio").split(".")[:2])
    if wanted == "event-engine" and version < (1, 76):
        pytest.skip("this grpcio has none for Python")
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, wanted],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ran.stdout.strip() == ("polling" if wanted == "auto" else wanted)
    assert ran.stderr == ""
