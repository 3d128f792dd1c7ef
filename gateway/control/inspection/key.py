"""What findings depend on, as one hash of the control process: equal keys, equal findings."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import platform
import re
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import fields, replace

from gateway.control.inspection.job import InspectionJob
from gateway.core.plan import Findings, GraphTensor

SCHEMA: Final = 3
"""Raised when inspection changes, so that findings of before are made anew."""

_CPU_FIELDS: Final = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags", "CPU implementer",
    "CPU architecture", "CPU part", "Features",
}  # fmt: skip


def findings_key(job: InspectionJob) -> str:
    """SHA-256 (hexadecimal) over all that the findings of a job depend on.

    These are file, session, samples, ONNX Runtime and CPU. Reads the samples' files.
    """
    warmup = tuple(replace(entry, source=_source_hash(entry.source)) for entry in job.warmup)
    what = replace(
        job, path="", reference=_content_hash(job.reference), warmup=warmup, timeout_s=0.0
    )
    form = [field.name for kind in (Findings, GraphTensor) for field in fields(kind)]
    return hashlib.sha256(
        msgspec.json.encode([SCHEMA, form, onnxruntime_version(), cpu(), what])
    ).hexdigest()


@functools.cache
def onnxruntime_version() -> str:
    """The version of the installed ONNX Runtime; empty: it is not installed.

    It is read without the import, because the control process has no use for its 30 MB.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return ""
    found = re.search(
        r'^__version__ = "([^"]+)"', Path(spec.origin).read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else str(Path(spec.origin).stat().st_mtime_ns)


@functools.cache
def cpu() -> str:
    """What identifies this machine's processor: kernels and costs depend on it."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    fields = [line for line in first.splitlines() if line.split(":")[0].strip() in _CPU_FIELDS]
    return "\n".join([platform.machine(), *fields])


def _source_hash(source: str) -> str:
    return source if source in ("zero", "random") else _content_hash(source)


def _content_hash(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except OSError:
        return "unreadable"
