"""A server with all services."""

import grpc
import pytest

from gateway.serving.wire.transport.aio import AioServer
from gateway.serving.wire.transport.completion_queue.server import CompletionQueueServer
from tests.support.service_parts import Served


@pytest.fixture(params=[CompletionQueueServer, AioServer])
def served(request):
    with Served(transport=request.param) as parts:
        yield parts


@pytest.fixture
def refused():
    """Makes calls and returns the status and the text of their refusal."""

    def call(method, request, **arguments):
        with pytest.raises(grpc.RpcError) as caught:
            method(request, timeout=10, **arguments)
        return caught.value.code(), caught.value.details()

    return call
