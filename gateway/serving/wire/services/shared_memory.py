"""The calls of the shared-memory extensions, which no serving process serves."""

from __future__ import annotations

from gateway.core.errors import Unsupported
from gateway.serving.wire.transport.interface import Call


async def refuse_system_shared_memory(_call: Call, _message: bytes) -> bytes:
    """SystemSharedMemoryStatus, Register and Unregister: raises Unsupported."""
    raise Unsupported(
        "system shared memory is not served: send tensors in raw_input_contents, they "
        "come back in raw_output_contents"
    )


async def refuse_cuda_shared_memory(_call: Call, _message: bytes) -> bytes:
    """CudaSharedMemoryStatus, Register and Unregister: raises Unsupported."""
    raise Unsupported(
        "CUDA shared memory is not served: send tensors in raw_input_contents, they "
        "come back in raw_output_contents"
    )
