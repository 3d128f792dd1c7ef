"""OTLP receivers, over gRPC and over HTTP, that keep what they are sent."""

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb


class Received:
    def __init__(self):
        self.requests = []
        self.headers = []
        self.status = grpc.StatusCode.OK

    @property
    def spans(self):
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def grpc_receiver():
    """Runs a receiver over gRPC; yields what it receives and its endpoint."""
    received = Received()

    def export(request, context):
        if received.status is not grpc.StatusCode.OK:
            context.abort(received.status, "told to")
        received.headers.append(dict(context.invocation_metadata()))
        received.requests.append(request)
        return pb.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
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
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield received, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextmanager
def http_receiver():
    """Runs a receiver over HTTP; yields what it receives and its endpoint."""
    received = Received()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces"
            received.headers.append({name.lower(): value for name, value in self.headers.items()})
            body = self.rfile.read(int(self.headers["content-length"]))
            unpacked = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
            received.requests.append(pb.ExportTraceServiceRequest.FromString(unpacked))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield received, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
