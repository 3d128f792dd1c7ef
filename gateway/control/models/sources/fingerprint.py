"""Whether anything changed that a version's plan depends on, as the control process finds out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from gateway.control.models.planning.version_plan import PlanDefaults
from gateway.control.models.sources.found import FoundModel, FoundVersion


def fingerprint(
    model: FoundModel, version: FoundVersion, file_hash: str, defaults: PlanDefaults
) -> str:
    """SHA-256 (hexadecimal), equal for two scans whose plans for the version are equal.

    It depends on no measured value.
    """
    sidecars = model.sidecars
    remotes = model.configuration.remotes or ()
    certificates = [str(model.folder / remote.tls_ca) for remote in remotes if remote.tls_ca]
    files = _file_hashes([sidecars.reference, *sidecars.warmup_files.values(), *certificates])
    tokens = [_sha256(os.environ.get(remote.token_env)) for remote in remotes if remote.token_env]
    return _sha256(
        model.name,
        version,
        file_hash,
        model.configuration,
        sorted(sidecars.labels.items()),
        sidecars.columns,
        sidecars.noted_labels,
        files,
        tokens,
        defaults,
    )


def _file_hashes(paths: Iterable[str]) -> list[str]:
    hashes = []
    for path in filter(None, paths):
        try:
            hashes.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
        except OSError as error:  # what needs the file reports the error
            hashes.append(f"unreadable: {error.errno}")
    return hashes


def _sha256(*facts: object) -> str:
    return hashlib.sha256("\0".join(map(repr, facts)).encode("utf-8", "surrogatepass")).hexdigest()
