"""Batches on servers of the tests' own: deadlines, parts, faults, and nothing left behind."""

import asyncio
import threading
import time

import grpc
import numpy as np
import pytest
import trustme

from gateway.core.errors import DeadlineExpired, InstanceFailed, ModelFailed
from gateway.core.protection import RemotePlan
from gateway.serving.runtime.remote.grpc_channel import Channels
from gateway.serving.runtime.remote.remote_instance import RemoteInstance
from tests.support.remote_parts import (
    SERVING,
    Piece,
    doubled,
    free_port,
    remote,
    result,
    rows,
    start,
    until,
    version,
)

pytestmark = pytest.mark.alone  # times are compared


def test_a_batch_is_answered(stand):
    async def main():
        server = stand()
        async with remote(server.address, concurrent_batches=3) as instance:
            (y,) = await result(instance, Piece(rows(5)))
            assert (y == rows(5) * 2).all()
            assert (instance.name, instance.capacity) == (server.address, 3)

    asyncio.run(main())


def test_several_batches_run_at_the_same_time(stand):
    async def main():
        together = threading.Barrier(4, timeout=10)

        def wait(request, _context):
            together.wait()
            return doubled(request)

        async with remote(stand(wait).address) as instance:
            await asyncio.gather(*[result(instance, Piece(rows(1))) for _ in range(4)])

    asyncio.run(main())


def test_the_callers_time_goes_along_and_its_end_is_nobodys_failure(stand):
    async def main():
        server = stand(lambda request, _context: (time.sleep(1), doubled(request))[1])
        async with remote(server.address) as instance:
            with pytest.raises(DeadlineExpired, match=server.address):
                await result(instance, Piece(rows(1), deadline_in_s=0.3))
            assert 0.1 < server.calls[0][1] < 0.31  # on the wire it is rounded up to milliseconds

    asyncio.run(main())


def test_a_batch_whose_time_is_over_is_not_sent(stand):
    async def main():
        server = stand()
        async with remote(server.address) as instance:
            with pytest.raises(DeadlineExpired):
                await result(instance, Piece(rows(1), deadline_in_s=-0.1))
            assert server.requests == []

    asyncio.run(main())


def test_the_end_of_the_servers_time_is_its_failure(stand):
    async def main():
        server = stand(lambda request, _context: (time.sleep(1), doubled(request))[1])
        async with remote(server.address, timeout_s=0.3) as instance:
            before = time.monotonic()
            with pytest.raises(InstanceFailed, match=f"{server.address}: DEADLINE_EXCEEDED"):
                await result(instance, Piece(rows(1), deadline_in_s=30))
            assert 0.2 < time.monotonic() - before < 0.9

    asyncio.run(main())


def test_a_server_that_refuses_for_want_of_time_is_neither_slow_nor_doubted(stand):
    async def main():
        def refuse(_request, context):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "it would take longer")

        server = stand(refuse)
        async with remote(server.address) as instance:
            asked = server.asked
            with pytest.raises(DeadlineExpired, match="it would take longer"):
                await result(instance, Piece(rows(1), deadline_in_s=5))
            with pytest.raises(InstanceFailed, match="it would take longer"):
                await result(instance, Piece(rows(1)))
            assert instance.expected_s == 0.0
            assert server.asked == asked

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, ModelFailed),
        (grpc.StatusCode.INTERNAL, ModelFailed),
        (grpc.StatusCode.NOT_FOUND, InstanceFailed),
    ],
)
def test_a_status_becomes_an_error_with_address_status_and_text(stand, code, kind):
    async def main():
        server = stand(lambda _request, context: context.abort(code, "their words"))
        async with remote(server.address) as instance:
            with pytest.raises(kind, match=f"{server.address}: {code.name}: their words"):
                await result(instance, Piece(rows(1)))

    asyncio.run(main())


def test_an_exception_of_the_server_is_the_models_failure(stand):
    async def main():
        async with remote(stand(lambda _request, _context: 1 // 0).address) as instance:
            with pytest.raises(ModelFailed, match="UNKNOWN"):
                await result(instance, Piece(rows(1)))

    asyncio.run(main())


@pytest.mark.parametrize("nonsense", [b"", b"\xff\xff\xff"])
def test_an_answer_that_is_none_is_the_models_failure(stand, nonsense):
    async def main():
        server = stand(lambda _request, _context: nonsense)
        async with remote(server.address) as instance:
            with pytest.raises(ModelFailed, match=server.address):
                await result(instance, Piece(rows(1)))

    asyncio.run(main())


def test_a_batch_of_more_rows_than_the_server_takes_goes_in_parts_side_by_side(stand):
    async def main():
        together = threading.Barrier(3, timeout=10)

        def wait(request, _context):
            together.wait()
            return doubled(request)

        server = stand(wait)
        async with remote(server.address, max_rows=4) as instance:
            (y,) = await result(instance, Piece(rows(10)))
        assert (y == rows(10) * 2).all()
        assert sorted(request.inputs[0].shape[0] for request in server.requests) == [3, 3, 4]

    asyncio.run(main())


def test_one_part_that_fails_fails_the_batch_and_lets_the_others_go(stand):
    async def main():
        gone = threading.Event()

        def second_fails(request, context):
            if request.raw_input_contents[0] == rows(2)[1:].tobytes():
                context.abort(grpc.StatusCode.INTERNAL, "the second")
            context.add_callback(gone.set)
            gone.wait(10)
            return doubled(request)

        async with remote(stand(second_fails).address, max_rows=1) as instance:
            with pytest.raises(ModelFailed, match="the second"):
                await result(instance, Piece(rows(2)))
            await until(gone.is_set)

    asyncio.run(main())


def test_parts_that_do_not_fit_together_are_the_models_failure(stand):
    async def main():
        def odd(request, _context):
            width = int(np.frombuffer(request.raw_input_contents[0], "f4")[0])
            response = doubled(request)
            del response.outputs[0].shape[1:], response.raw_output_contents[:]
            response.outputs[0].shape.append(width)
            response.raw_output_contents.append(bytes(4 * width))
            return response

        async with remote(stand(odd).address, of=version(shape=(-1, -1)), max_rows=1) as instance:
            with pytest.raises(ModelFailed, match="do not go together"):
                await result(instance, Piece(rows(2)))

    asyncio.run(main())


def test_a_large_batch_is_made_and_read_off_the_event_loop(stand):
    async def main():
        message = ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)
        async with remote(stand(options=message).address) as instance:
            large = Piece(rows(100_000))
            small = Piece(rows(1))
            (y,) = await result(instance, large)
            assert (y == rows(100_000) * 2).all()
            await result(instance, small)
            assert large.collated_in is not threading.current_thread()
            assert small.collated_in is threading.current_thread()

    asyncio.run(main())


def test_inputs_that_cannot_be_joined_fail_their_batch(stand):
    async def main():
        class Unwilling(Piece):
            def collate(self):
                raise MemoryError("no room")

        async with remote(stand().address) as instance:
            for size in (1, 1 << 20):
                with pytest.raises(ModelFailed, match="MemoryError: no room"):
                    await result(instance, Unwilling(rows(1), input_bytes=size))

    asyncio.run(main())


def test_the_token_and_what_the_hook_says_go_along(stand):
    async def main():
        server = stand(health=[SERVING])
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        async with remote(
            server.address,
            token="secret",
            metadata=lambda work: (("traceparent", trace), ("rows", str(work.rows))),
        ) as instance:
            await result(instance, Piece(rows(2)))
            assert "secret" not in repr(instance)
        sent = server.calls[0][0]
        assert (sent["authorization"], sent["traceparent"], sent["rows"]) == (
            "Bearer secret",
            trace,
            "2",
        )

    asyncio.run(main())


def test_a_hook_that_raises_fails_the_batch(stand):
    async def main():
        async with remote(stand().address, metadata=lambda _work: 1 // 0) as instance:
            with pytest.raises(InstanceFailed, match="could not be called"):
                await result(instance, Piece(rows(1)))

    asyncio.run(main())


def test_nobody_there_fails_batches_at_once():
    async def main():
        async with remote(f"127.0.0.1:{free_port()}") as instance:
            before = time.monotonic()
            with pytest.raises(InstanceFailed, match="UNAVAILABLE"):
                await result(instance, Piece(rows(1)))
            assert time.monotonic() - before < 2

    asyncio.run(main())


def test_closing_fails_what_is_under_way_and_leaves_no_thread(stand):
    async def main():
        let_go = threading.Event()
        server = stand(
            lambda request, _context: (let_go.wait(20), doubled(request))[1], health=[SERVING]
        )
        before = set(threading.enumerate())
        async with remote(server.address) as instance:
            works = [Piece(rows(1)) for _ in range(5)]
            ends = [start(instance, work) for work in works]
            await until(lambda: len(server.requests) == 5)
        assert all(end.done() for end in ends)
        assert [type(work.error) for work in works] == [InstanceFailed] * 5
        assert not instance.available
        let_go.set()
        own = ("health of", "remote_")
        await until(
            lambda: (
                not [
                    t
                    for t in set(threading.enumerate()) - before
                    if t.name.startswith(own) or "channel_spin" in t.name
                ]
            )
        )

    asyncio.run(main())


def test_a_closed_instance_fails_batches_of_any_size(stand):
    async def main():
        async with remote(stand().address) as instance:
            pass
        for count in (1, 100_000):
            with pytest.raises(InstanceFailed, match="not used any more"):
                await result(instance, Piece(rows(count)))
        await instance.close()

    asyncio.run(main())


def test_versions_that_use_one_address_share_a_channel(stand):
    async def main():
        server = stand()
        async with Channels() as channels:
            first, second = (
                RemoteInstance(version(name), RemotePlan(server.address), channels)
                for name in ("a", "b")
            )
            async with first:
                async with second:
                    assert repr(channels).count(server.address) == 1
                    await result(second, Piece(rows(1)))
                (y,) = await result(first, Piece(rows(1)))
                assert (y == rows(1) * 2).all()
            assert server.address not in repr(channels)
        assert [request.model_name for request in server.requests] == ["b", "a"]

    asyncio.run(main())


def test_what_a_batch_takes_is_expected_of_the_next_and_one_that_hangs_counts_while_it_hangs(stand):
    async def main():
        hang = threading.Event()

        def slow(request, _context):
            if len(request.raw_input_contents[0]) > 16:
                hang.wait(20)
            time.sleep(0.05)
            return doubled(request)

        async with remote(stand(slow).address) as instance:
            assert instance.expected_s == 0.0
            await result(instance, Piece(rows(1)))
            assert 0.04 < instance.expected_s < 1
            over = start(instance, Piece(rows(2)))
            await until(lambda: instance.expected_s > 1.5)
            hang.set()
            await over

    asyncio.run(main())


def test_tls_with_the_right_roots_and_no_other(stand):
    async def main():
        ours = trustme.CA()
        others = trustme.CA()
        certificate = ours.issue_cert("127.0.0.1")
        pair = (
            certificate.private_key_pem.bytes(),
            b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
        )
        server = stand(credentials=grpc.ssl_server_credentials([pair]))
        async with remote(server.address, tls_ca=ours.cert_pem.bytes()) as instance:
            assert instance.available
            (y,) = await result(instance, Piece(rows(1)))
            assert (y == rows(1) * 2).all()
        for wrong in ({"tls_ca": others.cert_pem.bytes()}, {}):
            async with remote(server.address, **wrong) as instance:
                assert not instance.available

    asyncio.run(main())
