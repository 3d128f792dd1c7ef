"""TLS files checked and made into gRPC's credentials, in a serving process."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import grpc

from gateway.serving.wire.transport.interface import TransportOptions


def server_credentials(options: TransportOptions) -> Any:
    """The `grpc.ServerCredentials`, or None for plaintext.

    Raises ValueError where the certificate, the key or the client roots cannot be used: gRPC's core
    takes anything here and fails each handshake later, so OpenSSL is asked first.
    """
    if not options.tls_certificate:
        if options.tls_key or options.tls_client_ca:
            raise ValueError("TLS: a key or client roots are given, but no certificate")
        return None
    _check_pair(options.tls_certificate, options.tls_key)
    if options.tls_client_ca:
        _check_roots(options.tls_client_ca)
    roots = options.tls_client_ca or None
    return grpc.ssl_server_credentials(
        ((options.tls_key, options.tls_certificate),), roots, require_client_auth=roots is not None
    )


def _check_pair(certificate: bytes, key: bytes) -> None:
    """Has OpenSSL load the pair.

    Python's ssl reads one from files only, so it gets a file in memory.
    """
    if not key:
        raise ValueError("TLS: the certificate is given without its key")
    descriptor = os.memfd_create("tls")
    try:
        os.write(descriptor, key.rstrip() + b"\n" + certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            Path(f"/proc/self/fd/{descriptor}"), password=""
        )
    except ssl.SSLError as error:
        raise ValueError(
            f"TLS: the certificate and the key cannot be used together: {error.reason or error}"
        ) from error
    finally:
        os.close(descriptor)


def _check_roots(roots: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=roots.decode())
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ValueError(f"TLS: the client roots are not PEM certificates: {error}") from error
