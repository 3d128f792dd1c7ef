"""A worker process: opens and warms one version, then runs batch after batch."""

from __future__ import annotations

import gc
import logging
import socket

from gateway.onnx.session import Session
from gateway.serving.runtime.process.arena import Arena
from gateway.serving.runtime.process.arena_model import ArenaModel
from gateway.serving.runtime.process.worker_messages import (
    MESSAGE_BYTES,
    Opened,
    Refused,
    encode,
    handed_over,
    short,
)


def serve(link: socket.socket, arena: Arena) -> None:
    """Answers until the gateway hangs up."""
    logging.basicConfig(level="WARNING")
    plan = handed_over(arena)
    try:
        model = ArenaModel(plan, Session(plan.path, plan.session), arena)
    except Exception as error:  # noqa: BLE001
        # whatever it is, the gateway reports it better than a traceback would
        link.send(encode(Refused(short(error))))
        return
    warning = model.warm_up()
    gc.collect()
    gc.freeze()
    link.send(encode(Opened(warning)))
    answer_runs(link, model)


def answer_runs(link: socket.socket, model: ArenaModel) -> None:
    """Answers one run after the other, until the gateway hangs up."""
    packet = memoryview(bytearray(MESSAGE_BYTES))
    while size := link.recv_into(packet):
        link.send(model.answer(bytes(packet[:size])))
