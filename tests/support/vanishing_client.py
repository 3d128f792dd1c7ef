"""A client with many calls in flight, which a test kills.

``python -m tests.support.vanishing_client HOST:PORT CALLS CONNECTIONS < message`` sends the message
from stdin (a serialised ModelInferRequest) in CALLS calls, prints `sent`, and waits; it reads no
answer.
"""

from __future__ import annotations

import socket
import struct
import sys

from load_tests.http2 import Connection
from load_tests.payloads import METHOD


def connect(address: str) -> tuple[socket.socket, Connection]:
    """Opens a connection and waits until the server has sent its limits."""
    host, _, port = address.rpartition(":")
    connected = socket.create_connection((host, int(port)))
    connection = Connection(address, METHOD)
    while not connection.settled:
        connected.sendall(connection.take())
        connection.receive(connected.recv(1 << 16))
    connected.sendall(connection.take())
    return connected, connection


def main(address: str, calls: int, connections: int) -> None:
    message = sys.stdin.buffer.read()
    framed = b"\0" + struct.pack(">I", len(message)) + message
    opened = [connect(address) for _ in range(connections)]
    for number in range(calls):
        opened[number % connections][1].call(framed)
    for connected, connection in opened:
        connected.sendall(connection.take())
    print("sent", flush=True)
    signal_comes = socket.socketpair()[0]
    signal_comes.recv(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
