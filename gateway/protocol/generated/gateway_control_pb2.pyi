# Made by protos/generate.py from protos/gateway_control.proto: change that file and run the script.
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BreakerMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_MODE_UNSPECIFIED: _ClassVar[BreakerMode]
    AUTOMATIC: _ClassVar[BreakerMode]
    FORCE_OPEN: _ClassVar[BreakerMode]
    FORCE_CLOSED: _ClassVar[BreakerMode]

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    CLOSED: _ClassVar[BreakerState]
    OPEN: _ClassVar[BreakerState]
    HALF_OPEN: _ClassVar[BreakerState]
BREAKER_MODE_UNSPECIFIED: BreakerMode
AUTOMATIC: BreakerMode
FORCE_OPEN: BreakerMode
FORCE_CLOSED: BreakerMode
BREAKER_STATE_UNSPECIFIED: BreakerState
CLOSED: BreakerState
OPEN: BreakerState
HALF_OPEN: BreakerState

class ListBreakersRequest(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ListBreakersResponse(_message.Message):
    __slots__ = ("breakers", "silent_processes")
    BREAKERS_FIELD_NUMBER: _ClassVar[int]
    SILENT_PROCESSES_FIELD_NUMBER: _ClassVar[int]
    breakers: _containers.RepeatedCompositeFieldContainer[Breaker]
    silent_processes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, breakers: _Optional[_Iterable[_Union[Breaker, _Mapping]]] = ..., silent_processes: _Optional[_Iterable[int]] = ...) -> None: ...

class Breaker(_message.Message):
    __slots__ = ("model", "version", "instance", "mode", "processes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    instance: str
    mode: BreakerMode
    processes: _containers.RepeatedCompositeFieldContainer[ProcessBreaker]
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., instance: _Optional[str] = ..., mode: _Optional[_Union[BreakerMode, str]] = ..., processes: _Optional[_Iterable[_Union[ProcessBreaker, _Mapping]]] = ...) -> None: ...

class ProcessBreaker(_message.Message):
    __slots__ = ("process", "state", "consecutive_failures", "window_batches", "window_failures", "retry_in_s", "opened", "last_error")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BATCHES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FAILURES_FIELD_NUMBER: _ClassVar[int]
    RETRY_IN_S_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    process: int
    state: BreakerState
    consecutive_failures: int
    window_batches: int
    window_failures: int
    retry_in_s: float
    opened: int
    last_error: str
    def __init__(self, process: _Optional[int] = ..., state: _Optional[_Union[BreakerState, str]] = ..., consecutive_failures: _Optional[int] = ..., window_batches: _Optional[int] = ..., window_failures: _Optional[int] = ..., retry_in_s: _Optional[float] = ..., opened: _Optional[int] = ..., last_error: _Optional[str] = ...) -> None: ...

class SetBreakerRequest(_message.Message):
    __slots__ = ("model", "version", "instance", "mode")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    instance: str
    mode: BreakerMode
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., instance: _Optional[str] = ..., mode: _Optional[_Union[BreakerMode, str]] = ...) -> None: ...

class SetBreakerResponse(_message.Message):
    __slots__ = ("breakers", "warnings")
    BREAKERS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    breakers: _containers.RepeatedCompositeFieldContainer[BreakerName]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, breakers: _Optional[_Iterable[_Union[BreakerName, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class BreakerName(_message.Message):
    __slots__ = ("model", "version", "instance")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    instance: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., instance: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("model", "version", "state", "reason", "since", "digest", "processes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    state: str
    reason: str
    since: float
    digest: str
    processes: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., since: _Optional[float] = ..., digest: _Optional[str] = ..., processes: _Optional[int] = ...) -> None: ...

class ReloadModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadModelsResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, changed: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...
