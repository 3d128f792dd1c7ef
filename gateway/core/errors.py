"""What can go wrong with a request, told apart by whose fault it is.

::

    GatewayError
    ├── CallerFault             the request is wrong; it never counts against a model
    │   ├── InvalidRequest      its content does not fit the model or the protocol
    │   ├── ModelNotFound       nobody by that name or version
    │   ├── Unauthenticated     a credential is missing or wrong
    │   └── NotPermitted        this caller may not change the server
    ├── Overloaded              no room; try later or elsewhere
    │   └── QuotaExceeded       this caller has had its share
    ├── DeadlineExpired         the time the caller gave is over
    ├── Unavailable             known but not able to answer now (loading, unloading, stopping)
    │   ├── CircuitOpen         it has failed too often and is left alone for a while
    │   └── InstanceFailed      what ran the batch was lost, or could not be reached; another instance may answer
    ├── Unsupported             a part of the protocol that is not served
    └── ModelFailed             the model was asked and failed
        └── OutputRefused       it answered what no caller should be given

The gRPC status of each stands in `gateway.serving.wire.status`, and nowhere else.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Something that ends a request with a message for its caller."""


class CallerFault(GatewayError):
    """The request itself is at fault."""


class InvalidRequest(CallerFault):
    """A request's content does not fit the model or the protocol."""


class ModelNotFound(CallerFault):
    """No model, or no version of it, bears the name asked for."""


class Unauthenticated(CallerFault):
    """A credential is missing or wrong."""


class NotPermitted(CallerFault):
    """The caller may not do this to the server."""


class Overloaded(GatewayError):
    """There is no room for the request now."""


class QuotaExceeded(Overloaded):
    """The caller has asked for more than its quota; there may be room for others."""


class DeadlineExpired(GatewayError):
    """The request's time was over before it was answered."""


class Unavailable(GatewayError):
    """The model or the server cannot answer at the moment."""


class CircuitOpen(Unavailable):
    """A breaker is open: the model, or all that could run it, is left alone until the next try."""


class InstanceFailed(Unavailable):
    """What ran a batch was lost, hung, or could not be reached. The batch may be run again elsewhere."""


class Unsupported(GatewayError):
    """The protocol has it, this server does not."""


class ModelFailed(GatewayError):
    """The model was run and failed."""


class OutputRefused(ModelFailed):
    """The model answered with values that its configuration says are no answer."""
