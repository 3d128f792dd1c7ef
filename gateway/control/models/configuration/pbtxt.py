"""The configuration file of an existing Triton repository, `NAME/config.pbtxt`.

Read in the main process, which also finds here why a model is of a kind that is not served.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import text_format

from gateway.control.models.configuration.configuration import Reading
from gateway.control.models.configuration.triton_config import translate
from gateway.protocol.generated.model_config_pb2 import ModelConfig

FILE_NAME = "config.pbtxt"

_STRING_OR_COMMENT = r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#[^\n]*)"""
_QUOTED = re.compile(_STRING_OR_COMMENT)
_FIELD = re.compile(_STRING_OR_COMMENT + r"|([A-Za-z_]\w*)\s*[:{<\[]")
_UNDECODED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes that are no UTF-8
_NO_FIELD = re.compile(r"(\d+):\d+ : Message type \"[\w.]+\" has no field named \"([^\"]+)\"")


def read_pbtxt_file(
    path: Path, available_providers: Sequence[str] = (), name: str | None = None
) -> Reading:
    """What the file says; whatever is wrong with it stands in the reading's faults.

    `available_providers`: execution providers of the installed ONNX Runtime (KIND_GPU runs on CPU
    without CUDAExecutionProvider).
    `name`: what the model is called, which the file must not contradict; None: it may have any.
    """
    try:
        text = _read_text(path)
    except (OSError, ValueError) as error:
        return Reading(faults=(f"{path.name}: cannot be read: {error}",))
    config = ModelConfig()
    try:
        text_format.Parse(text, config, allow_unknown_field=True)
    except (text_format.ParseError, RecursionError) as error:
        return Reading(faults=(f"{path.name}: {_syntax_fault(error)}",))
    unknown = tuple(
        f"{path.name}: the field '{name}' is not known here and ignored"
        for name in _unknown_fields(text)
    )
    reading = read_model_config(config, available_providers, source=path.name)
    faults = reading.faults
    if name is not None and config.name not in ("", name):
        misnamed = (
            f"{path.name}: the name '{config.name}' is not the folder's, '{name}': a "
            "model is called as its folder"
        )
        faults = (misnamed, *faults)
    return msgspec.structs.replace(reading, warnings=unknown + reading.warnings, faults=faults)


def _read_text(path: Path) -> str:
    """The file's text; a byte in a comment that is no UTF-8 becomes U+FFFD, as nothing reads it.

    Raises OSError, and ValueError where such a byte stands anywhere else.
    """
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    if _UNDECODED.search(text) is None:
        return text
    text = _QUOTED.sub(_readable_comment, text)
    if (found := _UNDECODED.search(text)) is None:
        return text
    before = text[: found.start()]
    raise ValueError(
        f"line {before.count(chr(10)) + 1}, column {found.start() - before.rfind(chr(10))}: the "
        f"byte 0x{ord(found[0]) - 0xDC00:02x} is no UTF-8, which only comments may hold: save "
        "the file as UTF-8"
    )


def _readable_comment(match: re.Match[str]) -> str:
    part = match[1]
    return _UNDECODED.sub("\ufffd", part) if part.startswith("#") else part


def read_model_config(
    config: Any, available_providers: Sequence[str] = (), source: str = "the configuration"
) -> Reading:
    """What an `inference.ModelConfig` says, in our own words.

    `source` names it in warnings and faults.
    """
    if reason := skip_reason(config):
        return Reading(skipped=f"{source}: {reason}")
    return translate(config, available_providers, source)


def skip_reason(config: Any) -> str:
    """Why a model with this configuration is of a kind that is not served; empty where it is."""
    return next(_skip_reasons(config), "")


def _skip_reasons(config: Any) -> Iterator[str]:
    if config.platform == "ensemble" or config.HasField("ensemble_scheduling"):
        yield "an ensemble; graphs of models are not served"
    if config.backend not in ("", "onnxruntime"):
        yield f"backend '{config.backend}' is not served, only onnxruntime is"
    if config.platform not in ("", "onnxruntime_onnx"):
        yield f"platform '{config.platform}' is not served, only onnxruntime_onnx is"
    if (
        not (config.backend or config.platform)
        and Path(config.default_model_filename or "model.onnx").suffix != ".onnx"
    ):
        yield f"its model file is '{config.default_model_filename}'; only ONNX models are served"
    if config.HasField("sequence_batching"):
        yield "sequence_batching; sequences are not served"
    if config.model_transaction_policy.decoupled:
        yield "a decoupled transaction policy; only one answer a request is served"
    if config.batch_input or config.batch_output:
        yield "batch_input or batch_output; tensors computed from a batch are not served"
    if config.model_operations.op_library_filename:
        yield "model_operations; libraries of custom operators are not loaded"
    if config.model_repository_agents.agents:
        yield "model_repository_agents; repository agents are not run"


def _syntax_fault(error: Exception) -> str:
    if isinstance(error, text_format.ParseError) and error.GetLine():
        what = re.sub(r"^\d+:\d+ : ", "", str(error))
        return f"line {error.GetLine()}, column {error.GetColumn()}: {' '.join(what.split())}"
    return " ".join(str(error).split())


def _unknown_fields(text: str) -> list[str]:
    """Names in field position that are no field of any message in a ModelConfig, once each.

    Before them stands the first that is no field of the message that it is written in.
    """
    names = [
        match[2] for match in _FIELD.finditer(text) if match[2] and match[2] not in _field_names()
    ]
    try:
        text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        if match := _NO_FIELD.match(str(error)):
            names.insert(0, match[2])
    return list(dict.fromkeys(names))


@functools.cache
def _field_names() -> frozenset[str]:
    names: set[str] = set()
    seen: set[str] = set()

    def visit(descriptor: Any) -> None:
        if descriptor.full_name not in seen:
            seen.add(descriptor.full_name)
            for field in descriptor.fields:
                names.add(field.name)
                if field.message_type is not None:
                    visit(field.message_type)

    visit(ModelConfig.DESCRIPTOR)
    return frozenset(names)
