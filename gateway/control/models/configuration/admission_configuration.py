"""Whom a model's versions let in, as far as it is configured.

Read in the main process. `gateway.control.models.configuration.execution_configuration` says how
sections are written.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from gateway.config.option import Option
from gateway.config.quantities import ByteSize, Duration
from gateway.control.models.configuration.bounded_values import NotNegative
from gateway.control.models.configuration.protection_values import MetadataKey
from gateway.core.protection import AdmissionPlan


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """How much one caller may ask."""

    key: Annotated[MetadataKey, Option("metadata key whose value identifies callers; lower-case")]
    per_second: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1e9)],
        Option("requests a second of one caller, over all processes; more than 0"),
    ]
    burst: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None,
        Option("requests that a caller may save up, at least 1; 0: a second's worth", default="0"),
    ] = None


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a version lets in, besides its queue."""

    PLAN: ClassVar = AdmissionPlan
    max_in_flight: Annotated[
        NotNegative | None,
        Option(
            "requests accepted and not yet answered, over all processes; 0: no bound but the "
            "queue's"
        ),
    ] = None
    max_in_flight_bytes: Annotated[
        ByteSize | None, Option("their inputs, a size; 0B: no bound but the queue's")
    ] = None
    default_deadline_s: Annotated[
        Duration | None, Option("for requests that come without a deadline; 0s: they have none")
    ] = msgspec.field(default=None, name="default_deadline")
    predict_wait: Annotated[
        bool | None, Option("what cannot be answered before its deadline is refused at arrival")
    ] = None
    priority_shares: Annotated[
        tuple[Annotated[float, msgspec.Meta(gt=0, le=1)], ...] | None,
        Option(
            "least share of the capacity for each of `queue.priority_levels`, most urgent first; "
            "each more than 0, together at most 1",
            default="half goes by urgency alone, half evenly",
        ),
    ] = None
    quota: Annotated[
        Quota | None, Option("how much one caller may ask", default="all callers share one quota")
    ] = None
