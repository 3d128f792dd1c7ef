"""What an inspection process does with a job: one model file, from opening to cost curve."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from gateway.control.inspection.cost import measure, measure_one
from gateway.control.inspection.evidence import Evidence, weigh
from gateway.control.inspection.job import InspectionJob
from gateway.control.inspection.written_names import written_columns, written_labels
from gateway.core.datatypes import datatype_of_onnx
from gateway.core.plan import Findings, GraphTensor
from gateway.onnx.graph_facts import GraphFacts, graph_facts
from gateway.onnx.model_faults import OnnxFileFault
from gateway.onnx.reference_sample import load_reference, reference_of_warmup
from gateway.onnx.samples import SampleTensor, sample_tensors
from gateway.onnx.session import Session, SessionNotOpened
from gateway.onnx.zipmap import ZIPMAP

Array = np.ndarray[Any, Any]

_DEFAULT_BATCH = 64
_MOST_BATCH = 1024
_TRIM_BYTES = 1 << 20


def examine(job: InspectionJob, doing: Callable[[str], None] = lambda _: None) -> Findings:
    """The findings for a job; a file that cannot be served gives findings with an error.

    `doing` is called with what is about to be done, so that it is known what ended the process.
    """
    doing("opening it")
    file_bytes = _file_bytes(job.path)
    facts = _facts(job.path)
    before = _resident_bytes(settle=file_bytes > _TRIM_BYTES)
    try:
        session = Session(job.path, replace(job.session, cut_zipmap=ZIPMAP in facts.operators))
    except SessionNotOpened as error:
        return Findings(error=str(error))
    # weights that went where an earlier model's were add nothing to the process
    memory = max(_resident_bytes() - before, file_bytes)
    opened = _opened(session, facts, memory)
    refusal = unservable(session.inputs, session.outputs)
    if refusal:
        return replace(opened, error=refusal)
    doing("running it")
    try:
        return _tried(session, job, opened, facts)
    except Exception as error:  # noqa: BLE001
        # a model too strange for our samples is still served, one request at a time
        return replace(
            opened, evidence=f"the trial runs broke off: {type(error).__name__}: {error}"
        )


def _facts(path: str) -> GraphFacts:
    """What the graph is made of; nothing where the file cannot be read, which opening it says."""
    try:
        return graph_facts(path)
    except (OnnxFileFault, OSError):
        return GraphFacts()


def _opened(session: Session, facts: GraphFacts, memory_bytes: int) -> Findings:
    return Findings(
        inputs=session.inputs,
        outputs=session.outputs,
        memory_bytes=memory_bytes,
        cut_zipmap=bool(session.classes),
        labels=written_labels(session, facts),
        columns=written_columns(session),
    )


def _tried(session: Session, job: InspectionJob, opened: Findings, facts: GraphFacts) -> Findings:
    reference, warnings = _reference(job, sample_tensors(session.inputs))
    evidence = weigh(session, reference, facts)
    costs, stopped = _costs(session, job, evidence)
    return replace(
        opened,
        outputs=_with_rows(opened.outputs) if evidence.batchable else opened.outputs,
        batchable=evidence.batchable,
        evidence=evidence.sentence,
        cost_us=costs,
        warnings=(*warnings, stopped) if stopped else warnings,
    )


def _with_rows(outputs: Sequence[GraphTensor]) -> tuple[GraphTensor, ...]:
    """Outputs that have as many rows as are asked, whatever the graph declares."""
    return tuple(
        replace(tensor, shape=(None, *tensor.shape[1:])) if tensor.shape[:1] == (1,) else tensor
        for tensor in outputs
    )


def unservable(inputs: Sequence[GraphTensor], outputs: Sequence[GraphTensor]) -> str:
    """Why the protocol cannot carry these inputs and outputs; empty where it can."""
    if not outputs:
        return "the graph has no outputs, so there is nothing to answer"
    for side, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            if not tensor.onnx_type.startswith("tensor("):
                return (
                    f"{side} '{tensor.name}' is {tensor.onnx_type}, and only tensors are served; "
                    "export the model with tensors in its place"
                )
            if datatype_of_onnx(tensor.onnx_type) is None:
                return (
                    f"{side} '{tensor.name}' is {tensor.onnx_type}, which the protocol has no "
                    "datatype for; cast it inside the graph"
                )
    return ""


def _reference(
    job: InspectionJob, inputs: Sequence[SampleTensor]
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The reference sample's arrays, the warm-up's for inputs it lacks, and what does not fit."""
    arrays, faults = load_reference(job.reference, inputs) if job.reference else ({}, ())
    warmup, more = reference_of_warmup(
        [entry for entry in job.warmup if entry.name not in arrays], inputs
    )
    return warmup | arrays, faults + more


def _costs(
    session: Session, job: InspectionJob, evidence: Evidence
) -> tuple[dict[int, float], str]:
    if not job.measure or not evidence.ran:
        return {}, ""

    def run(feed: Any) -> list[Array]:
        return session.run(feed, session.output_names)

    batches = evidence.rows > 0 and (evidence.batchable or job.max_batch_size > 0)
    if not batches:
        feed = evidence.feed
        if evidence.rows:
            feed = {name: array[:1] for name, array in feed.items()}
        return measure_one(run, feed), ""
    return measure(run, evidence.feed, min(job.max_batch_size or _DEFAULT_BATCH, _MOST_BATCH))


def _file_bytes(path: str) -> int:
    with contextlib.suppress(OSError):
        return Path(path).stat().st_size
    return 0


def _resident_bytes(*, settle: bool = False) -> int:
    """Resident memory of this process in bytes; 0: /proc does not have it.

    `settle`: the allocator first gives back what it holds without need.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if settle:
            ctypes.CDLL(None).malloc_trim(0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
