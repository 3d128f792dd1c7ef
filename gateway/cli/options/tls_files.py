"""The server's TLS files, tried on the command line before anything is started with them.

gRPC would take any file, and then fail each handshake.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path


def tls_faults(certificate: str, key: str, client_ca: str) -> Iterator[str]:
    """What is wrong with the files, each PEM and empty where it is not given; a sentence each."""
    if certificate and key:
        yield from _pair_faults(certificate, key)
    elif certificate:
        yield "--tls-cert is given without --tls-key: TLS takes both"
    elif key or client_ca:
        yield (
            f"--tls-{'key' if key else 'client-ca'} is given without --tls-cert: TLS "
            "takes --tls-cert and --tls-key"
        )
    if client_ca and Path(client_ca).is_file():
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as error:
            yield f"--tls-client-ca: {client_ca} does not hold PEM certificates: {_reason(error)}"


def _pair_faults(certificate: str, key: str) -> Iterator[str]:
    try:
        # the empty password keeps OpenSSL from asking the terminal for one
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        yield (
            f"--tls-cert {certificate} and --tls-key {key} cannot be used together, PEM files "
            f"without a password: {_reason(error)}"
        )
    except OSError:
        pass  # the reader of the files reports which cannot be read


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).lower().replace("_", " ")
