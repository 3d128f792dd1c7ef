"""Where a server is and how it is spoken to, for commands of the command line that ask one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ADDRESS_VARIABLE: Final = "GATEWAY_ADDRESS"
"""The variable of the environment that stands for `--address`."""
DEFAULT_ADDRESS: Final = "127.0.0.1:8001"


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Where the server is and how it is spoken to."""

    address: str
    timeout_s: float = 5.0
    """Time for everything that is asked, together."""
    tls: bool = False
    tls_ca: str = ""
    """Roots the server's certificate leads to, a PEM file; empty: those gRPC brings."""
    tls_cert: str = ""
    tls_key: str = ""
    """The client's own, PEM files; empty: it has none."""
    tls_server_name: str = ""
    """The name in the server's certificate; empty: that of the address."""

    @property
    def secure(self) -> bool:
        """It is spoken to by TLS."""
        return self.tls or bool(
            self.tls_ca or self.tls_cert or self.tls_key or self.tls_server_name
        )
