"""The check of what is private to grpcio, and the choice of the transport by it."""

import asyncio
import logging
import types

import pytest
from grpc._cython import cygrpc

from gateway.serving.wire.transport import choose
from gateway.serving.wire.transport.choose import choose_transport
from gateway.serving.wire.transport.completion_queue import internals
from gateway.serving.wire.transport.completion_queue.internals import missing_internals
from gateway.serving.wire.transport.interface import Methods, TransportOptions


def grpcio(**changed):
    """A namespace like cygrpc's with some of its names changed; those given as None are gone."""
    names = {
        name: getattr(cygrpc, name) for name in (*internals._NEEDED, "insecure_server_credentials")
    }
    return types.SimpleNamespace(
        **{name: value for name, value in (names | changed).items() if value is not None}
    )


def test_the_installed_grpcio_has_all_that_is_needed():
    assert missing_internals() == []


def test_a_namespace_with_the_same_names_passes():
    assert missing_internals(grpcio()) == []


@pytest.mark.parametrize("name", [*internals._NEEDED, "insecure_server_credentials"])
def test_each_name_that_is_gone_is_reported(name):
    assert missing_internals(grpcio(**{name: None})) == [f"cygrpc.{name}"]


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, names in internals._NEEDED.items() for name in names],
)
def test_each_attribute_that_is_gone_is_reported(owner, name):
    kept = {each: None for each in internals._NEEDED[owner] if each != name}
    assert missing_internals(grpcio(**{owner: types.SimpleNamespace(**kept)})) == [
        f"cygrpc.{owner}.{name}"
    ]


def test_several_losses_are_all_reported():
    assert missing_internals(grpcio(Call=None, CallDetails=None)) == [
        "cygrpc.Call",
        "cygrpc.CallDetails",
    ]


def test_an_operation_with_other_parameters_is_reported():
    def takes_more(message, flags, compression):
        raise AssertionError

    (reported,) = missing_internals(grpcio(SendMessageOperation=takes_more))
    assert reported.startswith("TypeError: ")


def test_a_server_that_gives_its_slots_back_without_their_tags_is_reported():
    class Server:
        """A server that does nothing but report its shutdown."""

        register_completion_queue = lambda self, *_: None  # noqa: E731
        register_method = register_completion_queue
        start = register_completion_queue
        request_registered_call = register_completion_queue
        request_call = register_completion_queue

        def __init__(self, *arguments):
            self._server = cygrpc.Server(*arguments)

        add_http2_port = None
        cancel_all_calls = None

        def shutdown(self, queue, tag):
            self._server.register_completion_queue(queue)
            self._server.start()
            self._server.shutdown(queue, tag)

        def destroy(self):
            self._server.destroy()

    (reported,) = missing_internals(grpcio(Server=Server))
    assert "events at shutdown" in reported


def made_by(factory):
    """The class of the transport that a factory makes."""

    async def make():
        return type(factory(Methods(), TransportOptions())).__name__

    return asyncio.run(make())


def test_the_completion_queue_is_chosen_where_nothing_is_missing():
    for wanted in ("auto", "completion-queue"):
        name, factory = choose_transport(wanted)
        assert (name, made_by(factory)) == ("completion-queue", "CompletionQueueServer")


def test_grpc_aio_is_chosen_by_itself_with_a_warning_that_names_what_is_missing(caplog):
    with caplog.at_level(logging.WARNING):
        name, factory = choose_transport("auto", missing=lambda: ["cygrpc.Call.peer"])
    assert (name, made_by(factory)) == ("aio", "AioServer")
    (record,) = caplog.records
    assert "cygrpc.Call.peer" in record.getMessage()


def test_grpc_aio_is_chosen_where_asked_for_without_a_look_at_the_internals(caplog):
    def unasked():
        raise AssertionError

    assert choose_transport("aio", missing=unasked)[0] == "aio"
    assert caplog.records == []


def test_the_completion_queue_is_refused_where_asked_for_but_not_possible():
    with pytest.raises(ValueError, match=r"lacks cygrpc\.Call\).*--transport auto"):
        choose_transport("completion-queue", missing=lambda: ["cygrpc.Call"])


def test_an_unknown_transport_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match="'carrier-pigeon': expected auto, completion-queue or aio"
    ):
        choose_transport("carrier-pigeon")


def test_what_cannot_even_be_imported_counts_as_missing(monkeypatch):
    """The module is gone as far as the import system is concerned."""
    monkeypatch.setitem(__import__("sys").modules, internals.__name__, None)
    (reported,) = choose._missing_internals()
    assert internals.__name__ in reported
