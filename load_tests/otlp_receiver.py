"""An OTLP/gRPC receiver in a process of its own, which decodes and counts every span."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any, Final, Self

_SERVER_KIND: Final = 2
_UP_WITHIN_S: Final = 30
_STILL_S: Final = 3.0


class Receiver:
    """Receives while it is entered, on one core where one is named.

    `endpoint` is the address that exporters must be given.
    """

    def __init__(self, core: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._port, self._spans, self._requests = (context.Value("q", 0) for _ in range(3))
        self._process = context.Process(
            target=_receive, args=(self._port, self._spans, self._requests, core), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        until = monotonic() + _UP_WITHIN_S
        while not self._port.value:
            if monotonic() > until or not self._process.is_alive():
                raise SystemExit("the OTLP receiver did not come up")
            sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def __repr__(self) -> str:
        return f"<Receiver {self.endpoint}: {self.spans} spans of {self.requests} requests>"

    @property
    def endpoint(self) -> str:
        """Its address, as OTEL_EXPORTER_OTLP_ENDPOINT has it."""
        return f"http://127.0.0.1:{self._port.value}"

    @property
    def spans(self) -> int:
        """How many spans of every kind have come so far."""
        return int(self._spans.value)

    @property
    def requests(self) -> int:
        """How many SERVER spans have come so far."""
        return int(self._requests.value)

    def settled(self) -> int:
        """How many SERVER spans have come, once no more come for a while."""
        seen = -1
        while seen != self.requests:
            seen = self.requests
            sleep(_STILL_S)
        return seen


def _receive(port: Any, spans: Any, requests: Any, core: int | None) -> None:
    import grpc  # noqa: PLC0415  # in the receiver's process only
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb  # noqa: PLC0415

    if core is not None:
        os.sched_setaffinity(0, {core})

    def export(
        request: pb.ExportTraceServiceRequest, _context: object
    ) -> pb.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                spans.value += len(scope.spans)
                requests.value += sum(span.kind == _SERVER_KIND for span in scope.spans)
        return pb.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", -1)])
    method = grpc.unary_unary_rpc_method_handler(
        export,
        pb.ExportTraceServiceRequest.FromString,
        pb.ExportTraceServiceResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": method}
            ),
        )
    )
    port.value = server.add_insecure_port("127.0.0.1:0")
    server.start()
    server.wait_for_termination()
