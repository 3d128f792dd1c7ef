"""`grpc.reflection`, v1 and v1alpha, in a serving process.

With it tools such as grpcurl and ghz call the server without .proto files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from gateway.core.grpc_codes import INVALID_ARGUMENT, NOT_FOUND
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import StreamCall


class Descriptors:
    """The files that declare some services and all that these import.

    Nothing else of the process's descriptor pool is shown.
    """

    def __init__(self, services: Sequence[ServiceDescriptor]) -> None:
        self.services = sorted(service.full_name for service in services)
        self._pool = services[0].file.pool
        self._files = {
            file.name: file for service in services for file in _with_imports(service.file)
        }

    def file(self, name: str) -> list[bytes]:
        """A file and all it imports, serialised, each once; raises KeyError."""
        found = {file.name: file.serialized_pb for file in _with_imports(self._files[name])}
        return list(found.values())

    def file_containing(self, symbol: str) -> list[bytes]:
        """The file that declares a symbol, and all it imports; raises KeyError.

        A symbol is a message, field, enum, service or method.
        """
        try:
            name = self._pool.FindFileContainingSymbol(symbol).name
        except KeyError:  # it does not look into services
            name = self._pool.FindMethodByName(symbol).containing_service.file.name
        return self.file(name)

    def message(self, name: str) -> str:
        """The name of a message; raises KeyError where it is none of ours."""
        descriptor = self._pool.FindMessageTypeByName(name)
        if descriptor.file.name not in self._files:
            raise KeyError(name)
        return str(descriptor.full_name)

    def __repr__(self) -> str:
        return f"<Descriptors of {', '.join(self.services)}>"


class ReflectionService:
    """Answers questions about descriptors in one version of the protocol.

    The versions differ in the names of the messages only.
    """

    def __init__(
        self, messages: ModuleType, descriptors: Descriptors, streams: OpenStreams
    ) -> None:
        self._messages = messages
        self._descriptors = descriptors
        self._streams = streams

    async def server_reflection_info(self, call: StreamCall) -> None:
        """ServerReflectionInfo: one answer a question, in order."""
        while (message := await self._streams.wait(call.receive())) is not None:
            await call.send(self.answer(message))

    def answer(self, message: bytes) -> bytes:
        """The answer to one question; what is not found is an answer too."""
        request = parse(self._messages.ServerReflectionRequest, message)
        response = self._messages.ServerReflectionResponse(
            valid_host=request.host, original_request=request
        )
        try:
            self._fill(response, request)
        except KeyError:
            question = request.WhichOneof("message_request")
            response.error_response.error_code = NOT_FOUND
            response.error_response.error_message = (
                f"{question} '{getattr(request, question)}' is not found".replace("\n", " ")
            )
        return bytes(response.SerializeToString())

    def _fill(self, response: Any, request: Any) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._descriptors.services:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                response.file_descriptor_response.file_descriptor_proto.extend(
                    self._descriptors.file(request.file_by_filename)
                )
            case "file_containing_symbol":
                files = self._descriptors.file_containing(request.file_containing_symbol)
                response.file_descriptor_response.file_descriptor_proto.extend(files)
            case "all_extension_numbers_of_type":  # our messages are proto3: none can be extended
                name = self._descriptors.message(request.all_extension_numbers_of_type)
                response.all_extension_numbers_response.base_type_name = name
            case "file_containing_extension":
                raise KeyError
            case _:
                response.error_response.error_code = INVALID_ARGUMENT
                response.error_response.error_message = (
                    "the request asks nothing: set one of the fields of message_request"
                )


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """The file, then what it imports, directly or not; what is imported twice comes twice."""
    yield file
    for imported in file.dependencies:
        yield from _with_imports(imported)
