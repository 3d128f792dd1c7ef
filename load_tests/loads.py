"""The loads of `compare`: the contestants, what is sent, and which figures are compared."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from load_tests.benchmark_models import build, copy_name
from load_tests.closed_loop import run_closed_loop
from load_tests.figures import Slice, take_turns
from load_tests.h2load import SHAPES, Shape, run_h2load, write_framed
from load_tests.payloads import Payload, make_payload
from load_tests.servers import YARDSTICK, Server, check, serving
from load_tests.start_time import start_gateway, start_plain, warm_cache
from load_tests.tables import Table, tabulate, tabulate_times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from load_tests.tables import Pairs

    Entry = tuple[str, Path, Payload]  # the command, the folder of models, what is sent

# copies of small beside small, mid and large
FEW_COPIES = 5
HUNDRED = 100


@dataclass(frozen=True)
class Bench:
    """What one run of this program compares, and where it keeps its files."""

    gateway: str
    against: str | None
    turns: int
    folder: Path
    server_core: int
    shrink: int  # a slice has so many times fewer calls

    @property
    def few(self) -> Path:
        """The folder of eight models."""
        return self.folder / "few"

    @property
    def hundred(self) -> Path:
        """The folder of a hundred models."""
        return self.folder / "hundred"

    def ours(self) -> dict[str, str]:
        """The gateway and, where asked for, its second variant."""
        return {"gateway": self.gateway} | ({"against": self.against} if self.against else {})

    def serve(
        self, stack: contextlib.ExitStack, name: str, command: str, models: Path, payload: Payload
    ) -> Server:
        """Starts a server that runs until the stack is closed."""
        return stack.enter_context(
            serving(command, models, payload, self.folder / f"{name}.log", core=self.server_core)
        )

    def build_models(self) -> None:
        """Writes the models of both folders."""
        build(self.few, copies=FEW_COPIES)
        build(self.hundred, copies=HUNDRED)


def compare_shape(bench: Bench, load: str) -> Table:
    """Compares the gateway with the yardsticks on small, mid, large and alone, driven by h2load."""
    shape = SHAPES[load]
    commands = (
        bench.ours()
        | {"yardstick": YARDSTICK}
        | ({"echo": f"{YARDSTICK} --echo"} if load == "alone" else {})
    )
    entries = {
        name: (command, bench.few, make_payload(bench.few, shape.model, echo=name == "echo"))
        for name, command in commands.items()
    }
    figure = "p50_ms" if load == "alone" else "calls_per_s"
    return _compare(
        bench,
        load,
        shape,
        figure,
        entries,
        [("gateway", name) for name in commands if name != "gateway"],
    )


def compare_hundred(bench: Bench) -> Table:
    """Compares a model that is one of a hundred loaded with the same model among eight."""
    name = copy_name(0)
    entries = {
        f"{variant}, {label}": (command, folder, make_payload(folder, name))
        for variant, command in bench.ours().items()
        for label, folder in (("of 100", bench.hundred), ("of 8", bench.few))
    }
    pairs = [(f"{variant}, of 100", f"{variant}, of 8") for variant in bench.ours()]
    return _compare(
        bench, "hundred", replace(SHAPES["small"], model=name), "calls_per_s", entries, pairs
    )


def _compare(
    bench: Bench, load: str, shape: Shape, figure: str, entries: Mapping[str, Entry], pairs: Pairs
) -> Table:
    shape = replace(shape, calls=shape.calls // bench.shrink)
    with contextlib.ExitStack() as stack:
        up = {
            name: bench.serve(stack, name, command, models, payload)
            for name, (command, models, payload) in entries.items()
        }
        contestants: dict[str, Callable[[], Slice]] = {}
        for name, server in up.items():
            payload = entries[name][2]
            framed = write_framed(bench.folder, payload)
            size = check(server.address, payload)
            contestants[name] = lambda server=server, framed=framed, size=size: run_h2load(
                server.address, framed, shape, size
            )  # type: ignore[misc]
        slices = take_turns(contestants, bench.turns)
        for name, server in up.items():
            check(server.address, entries[name][2])
        return tabulate(
            load, figure, slices, {name: server.memory_mib() for name, server in up.items()}, pairs
        )


def compare_spread(bench: Bench) -> Table:
    """Compares calls that go to a hundred models in turn with calls to one of them.

    The server and the generator are the same.
    """
    payloads = [make_payload(bench.hundred, copy_name(number)) for number in range(HUNDRED)]
    calls = SHAPES["small"].calls // bench.shrink
    with contextlib.ExitStack() as stack:
        up = {
            name: bench.serve(stack, name, command, bench.hundred, payloads[0])
            for name, command in bench.ours().items()
        }
        contestants: dict[str, Callable[[], Slice]] = {}
        for name, server in up.items():
            for label, chosen in (("spread", payloads), ("one model", payloads[:1])):
                contestants[f"{name}, {label}"] = lambda server=server, chosen=chosen: asyncio.run(  # type: ignore[misc]
                    run_closed_loop(server.address, chosen, connections=4, streams=32, calls=calls)
                )
        slices = take_turns(contestants, bench.turns)
        memory = {
            contestant: up[contestant.split(",")[0]].memory_mib() for contestant in contestants
        }
    return tabulate(
        "spread",
        "calls_per_s",
        slices,
        memory,
        [(f"{name}, spread", f"{name}, one model") for name in bench.ours()],
    )


def compare_start(bench: Bench, models: Path) -> Table:
    """Compares a start of the gateway on `models`, its cache warm, with that of a plain script.

    The script opens the same files.
    """
    log = bench.folder / "start.log"
    cache = bench.folder / "cache"
    live = warm_cache(bench.gateway, models, log, cache)
    starts = take_turns(
        {
            "gateway": lambda: start_gateway(bench.gateway, models, log, cache, live),
            "plain script": lambda: start_plain(live),
        },
        max(6, bench.turns // 2),
        warm_up=1,
    )
    plain_s = [start.all_s for start in starts["plain script"]]
    times_s = {
        "first answer": [s.first_s for s in starts["gateway"]],
        "all answered": [s.all_s for s in starts["gateway"]],
        "plain script": plain_s,
    }
    return tabulate_times(
        "start", times_s, [("first answer", "plain script"), ("all answered", "plain script")]
    )
