"""A gRPC client that speaks HTTP/2 by itself.

It can stop, vanish or misbehave at any byte.
"""

import socket
import struct
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

GOAWAY = 7  # a frame's type


def framed(message):
    """A message as it travels: the mark for not compressed, its length and its bytes."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def parsed(body):
    """The messages of a body, each with its compressed flag."""
    messages = []
    while body:
        length = int.from_bytes(body[1:5], "big")
        messages.append((body[0], body[5 : 5 + length]))
        body = body[5 + length :]
    return messages


class RawClient:
    """One connection.

    `trailers`, `bodies` and `resets` are by stream; `goaway` is the code of the last GOAWAY.
    """

    def __init__(self, server, *, reads=True):
        self._reads = reads
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self.trailers = {}
        self.bodies = {}
        self.resets = {}
        self.headers = {}
        self.goaway = None
        self.settings = {}
        self.closed = False
        self._unread = b""
        self._http2.initiate_connection()
        self._flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def begin(self, path, *headers):
        """Sends a call's headers and returns its stream."""
        stream = self._http2.get_next_available_stream_id()
        fixed = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
        self._http2.send_headers(stream, (*fixed, *headers))
        self._flush()
        return stream

    def send(self, stream, data, *, end=True):
        self._http2.send_data(stream, data, end_stream=end)
        self._flush()

    def window(self, stream):
        """The bytes that this client may send on a stream now."""
        return self._http2.local_flow_control_window(stream)

    def end(self, stream):
        """Closes the client's side of a stream."""
        self._http2.end_stream(stream)
        self._flush()

    def reset(self, stream):
        self._http2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def ping(self):
        self._http2.ping(b"12345678")
        self._flush()

    def read_until(self, holds, within_s=10.0):
        """Reads until `holds` returns true, the time is over or the server has closed.

        It returns whether `holds` returns true then.
        """
        give_up = time.monotonic() + within_s
        while not holds() and not self.closed and (left := give_up - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                break
            except ConnectionResetError:
                data = b""
            self.closed = not data
            for event in self._http2.receive_data(self._without_goaway(data)):
                self._note(event)
            self._flush()
        return holds()

    def ended(self, stream, within_s=10.0):
        """Reads until the stream is over.

        It returns the stream's trailers, or the code of its reset, or None where neither came.
        """
        self.read_until(lambda: stream in self.trailers or stream in self.resets, within_s)
        return self.trailers.get(stream, self.resets.get(stream))

    def vanish(self):
        """Closes the connection without a goodbye: its peer gets a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _without_goaway(self, data):
        """The whole frames that have come, without GOAWAY.

        h2 takes a GOAWAY for the connection's end, but streams that are open may go on.
        """
        self._unread += data
        passed = b""
        while len(self._unread) >= 9 and len(self._unread) >= 9 + (
            length := int.from_bytes(self._unread[:3], "big")
        ):
            frame = self._unread[: 9 + length]
            self._unread = self._unread[9 + length :]
            if frame[3] == GOAWAY:
                self.goaway = int.from_bytes(frame[13:17], "big")
            else:
                passed += frame
        return passed

    def _note(self, event):
        match event:
            case h2.events.ResponseReceived():
                self.headers[event.stream_id] = dict(event.headers)
                if "grpc-status" in self.headers[event.stream_id]:
                    self.trailers[event.stream_id] = self.headers[event.stream_id]
            case h2.events.TrailersReceived():
                self.trailers[event.stream_id] = dict(event.headers)
            case h2.events.DataReceived():
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                self._http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamReset():
                self.resets[event.stream_id] = event.error_code
            case h2.events.RemoteSettingsChanged():
                self.settings |= {
                    code: changed.new_value for code, changed in event.changed_settings.items()
                }

    def _flush(self):
        data = self._http2.data_to_send()
        if data:
            try:
                self._socket.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                self.closed = True


def bytes_of_a_call(path, message):
    """All bytes that a client sends for one call on a connection of its own."""
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http2.initiate_connection()
    fixed = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    http2.send_headers(1, fixed)
    http2.send_data(1, framed(message), end_stream=True)
    return http2.data_to_send()
