"""Hashes that tell whether anything has changed: for serving a version, and for what its inspection found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from gateway.core.plan import SessionPlan
from gateway.repository.folder import FoundModel, FoundVersion
from gateway.repository.plan import PlanDefaults


def fingerprint(model: FoundModel, version: FoundVersion, file_hash: str, defaults: PlanDefaults) -> str:
    """Equal for two scans whose plans for the version are equal; measured values do not enter (hexadecimal SHA-256)."""
    sidecars = model.sidecars
    files = _file_hashes([sidecars.reference, *sidecars.warmup_files.values()])
    return _sha256(model.name, version, file_hash, model.configuration, sorted(sidecars.labels.items()), files, defaults)


def inspection_key(model: FoundModel, file_hash: str, session: SessionPlan) -> str:
    """Equal where inspecting the file again would find the same: the file, how it is opened, and what trial inputs are made of.

    The version of ONNX Runtime and the machine are the caller's to add.
    """
    configuration, sidecars = model.configuration, model.sidecars
    files = _file_hashes([sidecars.reference, *sidecars.warmup_files.values()])
    return _sha256(file_hash, session, configuration.batching.max_batch_size, configuration.inputs, configuration.warmup, files)


def _file_hashes(paths: Iterable[str]) -> list[str]:
    hashes = []
    for path in filter(None, paths):
        try:
            hashes.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
        except OSError as error:  # whoever needs the file will say so
            hashes.append(f"unreadable: {error.errno}")
    return hashes


def _sha256(*facts: object) -> str:
    return hashlib.sha256("\0".join(map(repr, facts)).encode("utf-8", "surrogatepass")).hexdigest()
