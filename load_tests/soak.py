"""Runs a load of everything that clients do, and looks what it leaves in the serving process.

Guests of every kind (see `load_tests.guests`) share one serving process: calls that are waited for
must be answered, and right; the others may end as they were made to. Memory must not grow once it
has settled, nor may descriptors or threads stay behind.

    .venv/bin/python -m load_tests.soak [--seconds 60] [--transport completion-queue|aio]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from load_tests.benchmark_models import build, copy_name
from load_tests.chaos.gateways import Gateway, until
from load_tests.figures import percentile
from load_tests.guests import Fickle, Guest, Hurried, Mistaken, Streaming, Vanishing
from load_tests.lanes import by_name
from load_tests.payloads import Payload, make_payload
from load_tests.processes import Usage, serving_pids, usage
from load_tests.servers import GATEWAY, UP_WITHIN_S, check, serving

COPIES = 8
SAMPLE_S = 0.5
# a reset that comes with the last data is noticed by the next keepalive only, a minute later
LINGER_S = 100.0
GROWTH_MIB = 24.0


def guests(payloads: dict[str, Payload]) -> list[Guest | Streaming]:
    """Makes one or more guests of each kind."""
    small = [payload for name, payload in payloads.items() if name.startswith("small")]
    mid = [payloads["mid"]]
    return [
        Guest(small, 8, 1),
        Guest(mid, 4, 2),
        Fickle(mid, 16, 3),
        Fickle(small, 16, 4),
        Hurried(mid, 8, 5),
        Vanishing(mid, 64, 6),
        Vanishing(small, 16, 7),
        Mistaken(small, 2, 8),
        Streaming(small, 2, 9),
    ]


async def soak(
    address: str, pid: int, everybody: list[Guest | Streaming], seconds: float
) -> list[Usage]:
    """Runs the load and returns what the process held from moment to moment."""
    samples: list[Usage] = []

    async def sample() -> None:
        while True:
            samples.append(usage(pid))
            await asyncio.sleep(SAMPLE_S)

    sampling = asyncio.create_task(sample())
    await asyncio.gather(*(guest.run(address, seconds) for guest in everybody))
    sampling.cancel()
    return samples


async def settled(pid: int, before: Usage, linger_s: float) -> Usage:
    """What the process holds when the connections of the load are gone, or after `linger_s`."""
    left = usage(pid)
    for _ in range(round(linger_s / SAMPLE_S)):
        if left.descriptors <= before.descriptors:
            break
        await asyncio.sleep(SAMPLE_S)
        left = usage(pid)
    return left


def growth_mib(samples: list[Usage]) -> float:
    """The growth of memory, from the median of the second quarter to that of the last, in MiB.

    In the second quarter the pools and arenas have their size already.
    """
    quarter = max(1, len(samples) // 4)
    sizes = [sample.resident_mib for sample in samples]
    return percentile(sizes[-quarter:], 50) - percentile(sizes[quarter : 2 * quarter], 50)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    parser.add_argument(
        "--growth-mib",
        type=float,
        default=GROWTH_MIB,
        help=f"memory that may be added once it has settled (default {GROWTH_MIB})",
    )
    parser.add_argument(
        "--linger",
        type=float,
        default=LINGER_S,
        help=f"seconds for dead connections to be noticed; 0: not looked at (default {LINGER_S:g})",
    )
    parser.add_argument("--transport", default="auto", help="the gateway's (default auto)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        build(models, copies=COPIES)
        payloads = {
            name: make_payload(models, name)
            for name in ("small", "mid", *map(copy_name, range(COPIES)))
        }
        command = f"{GATEWAY} --transport {args.transport} --cache-dir {folder}/cache"
        with serving(command, models, payloads["mid"], Path(folder) / "log") as server:
            gateway = Gateway(server)
            until(lambda: gateway.serves(payloads), within_s=UP_WITHIN_S)
            for payload in payloads.values():
                check(server.address, payload)
            (pid,) = serving_pids(server.process.pid)
            before = usage(pid)
            everybody = guests(payloads)
            samples = asyncio.run(soak(server.address, pid, everybody, args.seconds))
            left = asyncio.run(settled(pid, before, args.linger))
            for payload in payloads.values():
                check(server.address, payload, timeout_s=2)
            survived = serving_pids(server.process.pid) == [pid]
    report(everybody, samples, before, left)
    faults = [
        f"{count} x {guest.name}: {text}"
        for guest in everybody
        for text, count in guest.faults.items()
    ]
    if not survived:
        faults.append("the serving process died")
    if (growth := growth_mib(samples)) > args.growth_mib:
        faults.append(f"memory grew by {growth:.0f} MiB")
    if args.linger and left.descriptors > before.descriptors:
        faults.append(f"{left.descriptors - before.descriptors} descriptors were left behind")
    if faults:
        raise SystemExit("\n".join(faults))


def report(
    everybody: list[Guest | Streaming], samples: list[Usage], before: Usage, left: Usage
) -> None:
    """Prints what the guests saw and what the process held."""
    for guest in everybody:
        print(f"{guest.name:<12} {by_name(guest.statuses)}, {guest.cancelled} left by the caller")
    shown = samples[:: max(1, len(samples) // 8)]
    print(
        f"MiB: {before.resident_mib:.0f} before; "
        f"{' '.join(f'{sample.resident_mib:.0f}' for sample in shown)}; "
        f"{left.resident_mib:.0f} after"
    )
    print(f"grew by {growth_mib(samples):.1f} MiB once settled")
    print(
        f"threads {before.threads} before, {left.threads} after; descriptors {before.descriptors} "
        f"before, {left.descriptors} after"
    )


if __name__ == "__main__":
    main()
