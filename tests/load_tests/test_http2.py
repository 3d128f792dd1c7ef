"""HTTP/2 in bytes, as the load tests' own client speaks it."""

import pytest

from load_tests.http2 import (
    CANCELLED,
    DATA,
    GOAWAY,
    LARGEST_FRAME,
    OK,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    UNAVAILABLE,
    WINDOW_UPDATE,
    Answer,
    Connection,
    frame,
)
from tests.support.http2_answers import answer


class TestHttp2:
    @pytest.fixture
    def connection(self):
        connection = Connection("host:1", "/a/B")
        assert connection.take().startswith(PREFACE)
        connection.receive(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\2"))  # at most two calls at a time
        connection.take()
        return connection

    def test_answers_come_however_the_bytes_are_cut(self, connection):
        stream = connection.call(b"hello")
        data = answer(stream, b"world")
        ended = [answer for k in range(len(data)) for answer in connection.receive(data[k : k + 1])]
        assert ended == [Answer(stream, OK, b"world")]

    def test_the_servers_limits_are_kept(self, connection):
        connection.call(b"1")
        assert connection.has_room(b"2")
        connection.call(b"2")
        assert not connection.has_room(b"3")
        # the first window is 65 535 bytes
        assert not Connection("host:1", "/a/B").has_room(bytes(70_000))
        with pytest.raises(ValueError, match="h2load"):
            connection.call(bytes(LARGEST_FRAME + 1))

    def test_a_window_is_used_up_and_given_again(self):
        connection = Connection("host:1", "/a/B")
        for _ in range(4):
            connection.call(bytes(LARGEST_FRAME - 1))
        assert not connection.has_room(bytes(LARGEST_FRAME))
        connection.receive(frame(WINDOW_UPDATE, 0, 0, (LARGEST_FRAME).to_bytes(4, "big")))
        assert connection.has_room(bytes(LARGEST_FRAME))

    def test_later_calls_send_their_headers_by_index(self, connection):
        connection.call(b"")
        first = len(connection.take())
        connection.call(b"")
        assert len(connection.take()) < first / 2

    def test_pings_are_answered(self, connection):
        connection.receive(frame(PING, 0, 0, b"12345678"))
        assert connection.take() == frame(PING, 1, 0, b"12345678")

    def test_resets_going_away_and_loss_end_calls(self, connection):
        a = connection.call(b"")
        b = connection.call(b"")
        assert connection.receive(frame(RST_STREAM, 0, a, b"\0\0\0\x08")) == [
            Answer(a, CANCELLED, b"")
        ]
        assert connection.receive(frame(GOAWAY, 0, 0, a.to_bytes(4, "big") + bytes(4))) == [
            Answer(b, UNAVAILABLE, b"")
        ]
        assert not connection.has_room(b"")
        assert connection.abandon() == []

    def test_what_it_cannot_read_it_refuses(self, connection):
        with pytest.raises(ConnectionError, match="padded"):
            connection.receive(frame(DATA, PADDED, 1, b"\0"))
