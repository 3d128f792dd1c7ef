"""Parameters of requests and responses: protobuf maps of name to value, as plain Python values.

Runs in the serving processes.
"""

from __future__ import annotations

from typing import Any

from gateway.core.errors import InvalidRequest
from gateway.core.request import Parameter


def read_parameters(parameters: Any) -> dict[str, Parameter]:
    """A parameter map as plain values.

    Raises InvalidRequest for names that the server keeps for itself, and for a parameter without a
    value.
    """
    values: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        if name.startswith("triton_") and name != "triton_enable_empty_final_response":
            raise InvalidRequest(
                "parameter keys starting with 'triton_' are reserved for Triton usage and "
                f"should not be specified: '{name}'"
            )
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidRequest(f"parameter '{name}' has no value")
        values[name] = getattr(parameter, choice)
    return values


def whole_number(parameters: dict[str, Parameter], name: str) -> int:
    """A parameter that counts something; 0 where it is not there. Raises InvalidRequest."""
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequest(
            f"parameter '{name}' must be a whole number of 0 or more, got {value!r}"
        )
    return value


def chosen(parameters: Any, name: str, *, default: Parameter) -> Parameter:
    """One parameter of a map; the default where it is not there or has no value."""
    if name not in parameters:
        return default
    choice = parameters[name].WhichOneof("parameter_choice")
    value: Parameter = default if choice is None else getattr(parameters[name], choice)
    return value


def set_parameter(parameter: Any, value: Parameter) -> None:
    """Writes a plain value into a parameter, in the field of its type."""
    kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[
        type(value)
    ]
    setattr(parameter, kind, value)
