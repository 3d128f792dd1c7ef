"""An instance is available while its server reports health, by either way of asking."""

import asyncio
import logging
import socket
import threading
import time

import grpc
import pytest

from gateway.core.errors import InstanceFailed
from gateway.protocol.generated.health_pb2 import HealthCheckRequest
from tests.support.remote_parts import (
    NOT_SERVING,
    SERVICE_UNKNOWN,
    SERVING,
    Piece,
    Stand,
    free_port,
    remote,
    result,
    rows,
    start,
    until,
)


def test_a_watch_is_believed_at_the_start_and_at_every_change(stand):
    async def main():
        server = stand(health=[SERVING])
        told = []
        async with remote(server.address) as instance:
            assert instance.available
            instance.watch(lambda: told.append(instance.available))
            server.says(NOT_SERVING)
            await until(lambda: told == [False])
            assert not instance.available
            server.says(SERVING)
            await until(lambda: told == [False, True])
            assert instance.available

    asyncio.run(main())


def test_a_server_that_says_it_is_not_serving_is_not_available_though_its_model_is_ready(stand):
    async def main():
        server = stand(health=[NOT_SERVING])
        async with remote(server.address) as instance:
            await until(lambda: "not serving" in repr(instance))
            assert not instance.available

    asyncio.run(main())


@pytest.mark.parametrize(("version", "service"), [("", "theirs"), ("3", "theirs/3")])
def test_the_models_own_health_is_watched(stand, version, service):
    async def main():
        server = stand(health=[SERVING])
        async with remote(server.address, model="theirs", version=version):
            await until(lambda: server.watched)
            assert HealthCheckRequest.FromString(server.watched[0]).service == service

    asyncio.run(main())


@pytest.mark.parametrize("health", [None, [SERVICE_UNKNOWN]])
def test_a_server_without_a_watch_that_knows_the_model_is_asked_every_few_seconds(stand, health):
    async def main():
        server = stand(health=health)
        async with remote(server.address) as instance:
            assert instance.available
            asked = server.asked
            assert asked <= 2
            server.ready = False
            await until(lambda: not instance.available)
            assert server.asked <= asked + 2
            server.ready = True
            await until(lambda: instance.available)

    asyncio.run(main())


def test_a_server_whose_watch_serves_is_not_asked(stand):
    async def main():
        server = stand(health=[SERVING])
        async with remote(server.address):
            await asyncio.sleep(4)  # longer than between two questions
            assert server.asked <= 2

    asyncio.run(main())


def test_a_model_that_is_not_there_is_not_available(stand):
    async def main():
        def unknown(context):
            context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model")

        async with remote(stand(ready=unknown).address) as instance:
            assert not instance.available
            assert "NOT_FOUND: Request for unknown model" in repr(instance)

    asyncio.run(main())


def test_a_server_that_is_down_at_the_start_is_used_when_it_comes_up():
    async def main():
        port = free_port()
        before = time.monotonic()
        async with remote(f"127.0.0.1:{port}") as instance:
            assert time.monotonic() - before < 1.5
            assert not instance.available
            server = Stand(port=port, health=[SERVING])
            try:
                await until(lambda: instance.available)
            finally:
                server.stop()
            await until(lambda: not instance.available)
            server = Stand(port=port, health=[SERVING])
            try:
                await until(lambda: instance.available)
            finally:
                server.stop()

    asyncio.run(main())


def test_the_start_does_not_wait_for_a_server_that_says_nothing():
    async def main():
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            before = time.monotonic()
            async with remote(f"127.0.0.1:{silent.getsockname()[1]}") as instance:
                assert 1.5 < time.monotonic() - before < 3.5
                assert not instance.available
                await until(lambda: "DEADLINE_EXCEEDED" in repr(instance))

    asyncio.run(main())


def test_after_an_overdue_batch_a_server_that_hangs_is_found_out_though_its_watch_said_serving(
    stand,
):
    async def main():
        hang = threading.Event()

        def hung(*_):
            hang.wait(20)
            return True

        server = stand(lambda _request, _context: hung(), health=[SERVING])
        async with remote(server.address, timeout_s=0.2) as instance:
            await until(lambda: server.watched)
            server.ready = hung
            with pytest.raises(InstanceFailed, match="DEADLINE_EXCEEDED"):
                await result(instance, Piece(rows(1)))
            await until(lambda: not instance.available, timeout_s=4)
            hang.set()
            await until(lambda: instance.available)

    asyncio.run(main())


def test_a_server_that_is_busy_or_refuses_one_batch_stays_available(stand):
    async def main():
        def busy(_request, context):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Exceeds maximum queue size")

        server = stand(busy)
        async with remote(server.address) as instance:
            asked = server.asked
            for _ in range(20):
                with pytest.raises(InstanceFailed, match="Exceeds maximum queue size"):
                    await result(instance, Piece(rows(1)))
            assert instance.available
            assert server.asked <= asked + 1

    asyncio.run(main())


def test_failing_batches_do_not_make_a_storm_of_questions(stand):
    async def main():
        def lost(_request, context):
            context.abort(grpc.StatusCode.UNAVAILABLE, "somehow")

        server = stand(lost)
        async with remote(server.address) as instance:
            before = time.monotonic()
            for _ in range(100):
                await start(instance, Piece(rows(1)))
            assert server.asked <= 3 + (time.monotonic() - before) / 0.1
            assert instance.available

    asyncio.run(main())


def test_a_watcher_that_raises_ends_nothing(stand):
    async def main():
        complaints = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: complaints.append(context["exception"])
        )
        server = stand()
        async with remote(server.address) as instance:
            instance.watch(lambda: 1 // 0)
            for ready in (False, True):
                server.ready = ready
                await until(lambda ready=ready: instance.available is ready)
            await until(lambda: len(complaints) == 2)

    asyncio.run(main())


def test_changes_are_logged_once(caplog):
    caplog.set_level(logging.INFO, "gateway.serving.runtime.remote")

    async def main():
        port = free_port()
        async with remote(f"127.0.0.1:{port}") as instance:
            for _ in range(3):  # found down once more each time, but logged only once
                with pytest.raises(InstanceFailed):
                    await result(instance, Piece(rows(1)))
            server = Stand(port=port, health=[SERVING])
            await until(lambda: instance.available)
            server.stop()
            await until(lambda: not instance.available)

    asyncio.run(main())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert "cannot run 'm': UNAVAILABLE" in caplog.records[0].message
