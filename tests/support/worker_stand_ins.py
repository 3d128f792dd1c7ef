"""Entries of worker processes that misbehave.

Tests name them, and `gateway.serving.runtime.process.worker_main` runs them.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from gateway.onnx.session import Session
from gateway.serving.runtime.process.arena_model import ArenaModel
from gateway.serving.runtime.process.arena_tensors import put, view
from gateway.serving.runtime.process.worker import answer_runs, serve
from gateway.serving.runtime.process.worker_messages import (
    Opened,
    Ran,
    decode_run,
    encode,
    handed_over,
)


class Echo:
    """Answers `y = x + x` without a session; a negative `x[0, 0]` says how it misbehaves."""

    def __init__(self, arena):
        self.arena = arena
        self.kept = []

    def answer(self, packet):
        run = decode_run(packet)
        x = view(self.arena, run.inputs[0])
        self.behave(int(x[0, 0]))
        places, _ = put(self.arena, [("y", x + x)], run.outputs_at)
        return encode(Ran(places))

    def behave(self, order):
        match order:
            case -1:
                os.kill(os.getpid(), signal.SIGSEGV)
            case -2:
                os._exit(3)
            case -3:
                time.sleep(3600)
            case -4:
                self.kept.append(np.ones(64 << 20, np.uint8))
            case -5:
                while True:
                    self.kept.append(np.ones(1 << 20, np.uint8))
                    time.sleep(0.002)


def echo(link, arena):
    link.send(encode(Opened()))
    answer_runs(link, Echo(arena))


def exits(link, arena):
    os._exit(7)


def sleeps(link, arena):
    time.sleep(3600)


def slow(link, arena):
    time.sleep(1)
    serve(link, arena)


def only_first(link, arena):
    """Opens only once: it leaves a file at the plan's path, and exits where that file exists."""
    marker = Path(handed_over(arena).path)
    if marker.exists():
        os._exit(8)
    marker.write_text("opened once")
    echo(link, arena)


def mumbles(link, arena):
    link.send(encode(Opened()))
    while link.recv(1 << 18):
        link.send(b"what?")


def lies(link, arena):
    """Answers with outputs that lie outside of the shared memory."""
    link.send(encode(Opened()))
    while packet := link.recv(1 << 18):
        run = decode_run(packet)
        link.send(
            encode(
                Ran(
                    tuple(
                        type(place)("y", "FP32", arena.size - 8, 32, (2, 4)) for place in run.inputs
                    )
                )
            )
        )


def tells_bound(link, arena):
    """Serves, and writes into a file beside the model what is bound after each batch."""
    plan = handed_over(arena)
    model = ArenaModel(plan, Session(plan.path, plan.session), arena)

    class Telling:
        def answer(self, packet):
            answer = model.answer(packet)
            (Path(plan.path).parent / "bound").write_text(repr(model))
            return answer

    link.send(encode(Opened()))
    answer_runs(link, Telling())
