"""The client's side of one HTTP/2 connection for small unary gRPC calls, without I/O.

Bytes that arrived are passed in, and bytes to send are taken out.

It is written by hand because a generator must be faster than what it measures, and h2load sends one
payload a run: grpc.aio's client ends near 5 000 calls a second, this one spends 9 us on a call. It
knows what a gRPC server on loopback sends and refuses the rest (padding, continuations) with
ConnectionError. HPACK is the hpack library's; header blocks repeat, so each is coded once.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA = 0
HEADERS = 1
RST_STREAM = 3
SETTINGS = 4
PING = 6
GOAWAY = 7
WINDOW_UPDATE = 8
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HEADER_TABLE_SIZE = 1
MAX_CONCURRENT_STREAMS = 3
INITIAL_WINDOW_SIZE = 4
FRAME_BYTES = 9
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65_535
LARGEST_FRAME = 16_384
CANCEL = 8
OK = 0
CANCELLED = 1
RESOURCE_EXHAUSTED = 8
INTERNAL = 13
UNAVAILABLE = 14
# as the gRPC specification maps them
STATUS_OF_RESET = {7: UNAVAILABLE, CANCEL: CANCELLED, 11: RESOURCE_EXHAUSTED}

_HEAD = struct.Struct(">BHBBI")
_SETTING = struct.Struct(">HI")
_WORD = struct.Struct(">I")


class Answer(NamedTuple):
    """How a call ended.

    It has the call's stream, its gRPC status code and the DATA bytes received, prefix included.
    """

    stream: int
    status: int
    body: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


class Connection:
    """The calls in flight on one connection.

    `outgoing` gathers what must be sent; the owner empties it with `take`.
    """

    def __init__(self, authority: str, path: str, *, timeout_ms: int = 0) -> None:
        """`timeout_ms` is the deadline each call tells the server; 0 tells none."""
        self._headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", authority),
        ]
        self._headers += [("te", "trailers"), ("content-type", "application/grpc")]
        if timeout_ms:
            self._headers.append(("grpc-timeout", f"{timeout_ms}m"))
        self._encoder = hpack.Encoder()
        self._first_block = self._encoder.encode(self._headers)
        # what the first block put into the server's table, by index
        self._block = self._encoder.encode(self._headers)
        self._statuses: dict[bytes, int] = {}
        self._bodies: dict[int, bytes] = {}
        self._received = b""
        self._next_stream = 1
        self._window = FIRST_WINDOW
        self._stream_window = FIRST_WINDOW
        self._most_calls = LARGEST_WINDOW
        self._unacknowledged_bytes = 0
        # settled: the server has told its limits
        self.going_away = False
        self.settled = False
        settings = _SETTING.pack(HEADER_TABLE_SIZE, 0) + _SETTING.pack(
            INITIAL_WINDOW_SIZE, LARGEST_WINDOW
        )
        grant = _WORD.pack(LARGEST_WINDOW - FIRST_WINDOW)
        self.outgoing = bytearray(
            PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, grant)
        )

    def __repr__(self) -> str:
        return (
            f"<Connection: {len(self._bodies)} in flight, {self._window} bytes of "
            f"window{', going away' * self.going_away}>"
        )

    @property
    def in_flight(self) -> int:
        """How many calls have not ended."""
        return len(self._bodies)

    def take(self) -> bytes:
        """The bytes that must be sent now; each is returned once."""
        data = bytes(self.outgoing)
        self.outgoing.clear()
        return data

    def has_room(self, message: bytes) -> bool:
        """Whether the server allows one more call with this message now."""
        return (
            not self.going_away
            and len(self._bodies) < self._most_calls
            and len(message) <= min(self._window, self._stream_window)
        )

    def call(self, message: bytes) -> int:
        """Starts a call with a framed message of at most 16 384 bytes and returns its stream.

        Ask `has_room` first.
        """
        if len(message) > LARGEST_FRAME:
            raise ValueError(
                f"this generator sends messages of at most {LARGEST_FRAME} bytes, got "
                f"{len(message)}; use h2load for larger ones"
            )
        stream = self._next_stream
        block = self._block if stream > 1 else self._first_block
        self.outgoing += _HEAD.pack(0, len(block), HEADERS, END_HEADERS, stream)
        self.outgoing += block
        self.outgoing += _HEAD.pack(0, len(message), DATA, END_STREAM, stream)
        self.outgoing += message
        self._window -= len(message)
        self._bodies[stream] = b""
        self._next_stream += 2
        return stream

    def cancel(self, stream: int) -> None:
        """Gives a call up and resets its stream."""
        self._bodies.pop(stream, None)
        self.outgoing += frame(RST_STREAM, 0, stream, _WORD.pack(CANCEL))

    def abandon(self) -> list[Answer]:
        """Ends every call in flight with UNAVAILABLE: the connection is lost."""
        self.going_away = True
        answers = [Answer(stream, UNAVAILABLE, b"") for stream in self._bodies]
        self._bodies.clear()
        return answers

    def receive(self, data: bytes) -> list[Answer]:
        """Reads bytes from the server and returns the calls that ended with them.

        Acknowledgements go to `outgoing`.
        """
        data = self._received + data if self._received else data
        at = 0
        answers = list[Answer]()
        while len(data) - at >= FRAME_BYTES:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            start = at + FRAME_BYTES
            end = start + (high << 16 | low)
            if end > len(data):
                break
            if kind in {DATA, HEADERS}:
                self._on_stream(kind, flags, stream, data[start:end], answers)
            else:
                self._on_control(kind, flags, stream, data[start:end], answers)
            at = end
        self._received = data[at:]
        return answers

    def _on_stream(
        self, kind: int, flags: int, stream: int, payload: bytes, answers: list[Answer]
    ) -> None:
        if flags & PADDED or (kind == HEADERS and not flags & END_HEADERS):
            raise ConnectionError(
                f"the server sent a padded or continued frame (type {kind}, flags {flags:#x}), "
                "which this client does not read"
            )
        if kind == DATA:
            self._grant(len(payload))
            if stream in self._bodies:
                self._bodies[stream] += payload
        if flags & END_STREAM and stream in self._bodies:
            # a gRPC answer ends with trailers
            status = self._status(payload) if kind == HEADERS else INTERNAL
            answers.append(Answer(stream, status, self._bodies.pop(stream)))

    def _on_control(
        self, kind: int, flags: int, stream: int, payload: bytes, answers: list[Answer]
    ) -> None:
        if kind == WINDOW_UPDATE and stream == 0:
            self._window += _WORD.unpack(payload)[0]
        elif kind == SETTINGS and not flags & ACK:
            self._adopt(dict(_SETTING.iter_unpack(payload)))
        elif kind == PING and not flags & ACK:
            self.outgoing += frame(PING, ACK, 0, payload)
        elif kind == RST_STREAM and stream in self._bodies:
            answers.append(
                Answer(
                    stream,
                    STATUS_OF_RESET.get(_WORD.unpack(payload)[0], INTERNAL),
                    self._bodies.pop(stream),
                )
            )
        elif kind == GOAWAY:
            self.going_away = True
            last = _WORD.unpack_from(payload)[0]
            answers += [
                Answer(s, UNAVAILABLE, self._bodies.pop(s)) for s in list(self._bodies) if s > last
            ]

    def _adopt(self, settings: dict[int, int]) -> None:
        self._most_calls = settings.get(MAX_CONCURRENT_STREAMS, self._most_calls)
        self._stream_window = settings.get(INITIAL_WINDOW_SIZE, self._stream_window)
        self.outgoing += frame(SETTINGS, ACK, 0, b"")
        self.settled = True

    def _grant(self, received: int) -> None:
        self._unacknowledged_bytes += received
        if self._unacknowledged_bytes > LARGEST_WINDOW // 2:
            self.outgoing += frame(WINDOW_UPDATE, 0, 0, _WORD.pack(self._unacknowledged_bytes))
            self._unacknowledged_bytes = 0

    def _status(self, block: bytes) -> int:
        """The grpc-status of a trailer block.

        This side's header table has size 0, so a block means the same wherever it comes.
        """
        if block not in self._statuses:
            headers = dict(hpack.Decoder().decode(block, raw=True))
            # a cache of blocks that have ids in them would grow for ever
            if len(self._statuses) > LARGEST_FRAME:
                self._statuses.clear()
            self._statuses[block] = int(headers.get(b"grpc-status", b"13"))
        return self._statuses[block]
