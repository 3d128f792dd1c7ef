"""Answers of an HTTP/2 server, in bytes."""

from load_tests.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, frame

OK_TRAILERS = b"\x00\x0bgrpc-status\x010"


def answer(stream, reply):
    """The frames of a call that is answered with OK."""
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, OK_TRAILERS)
    return frame(HEADERS, END_HEADERS, stream, b"\x88") + frame(DATA, 0, stream, reply) + trailers
