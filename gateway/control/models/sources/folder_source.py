"""Models from a folder: scanned and planned in the control process, inspected in others.

It is imported late, because it brings protobuf and the types of the configuration; the serving
processes are started before.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from google.protobuf import json_format
from msgspec.structs import replace

from gateway.config.control import ModelPath, SourceOptions
from gateway.config.serving_options import ModelDefaults
from gateway.control.inspection.cache import FindingsCache, default_cache_dir
from gateway.control.inspection.inspector import Inspector
from gateway.control.inspection.job import InspectionJob
from gateway.control.models.configuration.warmup import trial_inputs
from gateway.control.models.planning.version_plan import PlanDefaults, plan_session, plan_version
from gateway.control.models.sources.fingerprint import fingerprint
from gateway.control.models.sources.found import FoundModel, FoundVersion, Repository
from gateway.control.models.sources.model_folder import reconfigured
from gateway.control.models.sources.model_paths import merged, scan_paths
from gateway.control.models.sources.source import CannotPlan, SourceModel
from gateway.core.plan import QueuePlan, VersionPlan
from gateway.onnx.file import FileHashes
from gateway.onnx.model_faults import RepositoryFault
from gateway.protocol.generated import model_config_pb2

log = logging.getLogger(__name__)

PROVIDER_LIBRARIES = {
    "cann": "CANNExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "vitisai": "VitisAIExecutionProvider",
}


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a version is made of, before it is inspected."""

    fingerprint: str
    job: InspectionJob


class FolderSource:
    """The models of one folder (`gateway.control.models.sources.source.Source`).

    `async with` bounds the inspection processes.
    """

    def __init__(self, options: SourceOptions, defaults: ModelDefaults, cores: int = 1) -> None:
        """`cores`: those that one serving process may count on."""
        self._paths = options.paths or (ModelPath(Path(options.models), options.name),)
        queue = QueuePlan(
            max_requests=defaults.max_queue_requests, max_bytes=defaults.max_queue_bytes
        )
        self._defaults = PlanDefaults(
            cores=cores, max_batch_size=defaults.default_max_batch_size, queue=queue
        )
        cache_dir = Path(options.cache_dir) if options.cache_dir else default_cache_dir()
        self._inspector = Inspector(FindingsCache(cache_dir))
        self._hashes = FileHashes()
        self._providers = installed_providers()
        self._prepared: dict[tuple[str, int], tuple[FoundModel, _Prepared]] = {}
        self._warned: tuple[str, ...] = ()
        self._is_one_model: dict[Path, bool] = {}

    def __repr__(self) -> str:
        paths = ", ".join(str(path.path) for path in self._paths)
        return f"<FolderSource {paths}: {self._inspector!r}>"

    async def __aenter__(self) -> Self:
        await self._inspector.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._inspector.__aexit__(kind, error, traceback)

    async def scan(self) -> tuple[SourceModel, ...]:
        """All models that are there, with what is wrong with them.

        Raises OSError where the folder cannot be read, or is not of the kind that it was.
        """
        repositories = await asyncio.to_thread(scan_paths, self._paths, self._providers)
        for repository in repositories:
            unreadable = not os.access(repository.root, os.R_OK | os.X_OK)
            if repository.fault and (unreadable or self._is_one_model.get(repository.root)):
                raise OSError(repository.fault)
            self._require_same_kind(repository)
        found = merged(repositories)
        self._warn((found.fault, *found.warnings))
        self._prepared.clear()
        self._hashes.keep_only(
            {version.path for model in found.models for version in model.versions}
        )
        return tuple(map(_source_model, found.models))

    def _require_same_kind(self, found: Repository) -> None:
        """Raises OSError where a folder of models has become one model, or the other way round.

        A file put at the top by mistake would take all models away otherwise.
        """
        if not found.models:
            return
        is_one_model = found.models[0].alone
        was_one_model = self._is_one_model.setdefault(found.root, is_one_model)
        if is_one_model != was_one_model:
            was, now = (
                ("one model", "a folder of models")
                if was_one_model
                else ("a folder of models", "one model, by what stands at its top")
            )
            raise OSError(
                f"{found.root} was {was} and now looks like {now}; put it right, or "
                "start the gateway anew if it is meant so"
            )

    async def reconfigured(self, model: SourceModel, configuration: str) -> SourceModel:
        """The model under an `inference.ModelConfig` (JSON) in place of its files' configuration.

        Raises `CannotPlan` where that cannot be read.
        """
        try:
            config = json_format.Parse(configuration, model_config_pb2.ModelConfig())
        except json_format.ParseError as error:
            raise CannotPlan(
                f"the configuration sent with the request cannot be read: {error}"
            ) from error
        return _source_model(
            await asyncio.to_thread(reconfigured, _found(model), config, self._providers)
        )

    async def fingerprint(self, model: SourceModel) -> str:
        """A hash over what all live versions are made of and how they are configured."""
        return await asyncio.to_thread(self._fingerprint, _found(model))

    async def plan(self, model: SourceModel, version: int) -> VersionPlan:
        """Inspects the version, unless its findings are known, and plans it.

        Raises `CannotPlan`.
        """
        found = _found(model)
        chosen = next(one for one in found.live if one.version == version)
        try:
            # as a rule it was prepared a moment ago, for the fingerprint
            of, prepared = self._prepared.pop((found.name, version), (None, None))
            if prepared is None or of is not found:
                prepared = await asyncio.to_thread(self._prepare, found, chosen)
            findings = await self._inspector.inspect(prepared.job)
            plan = plan_version(
                found, chosen, findings, fingerprint=prepared.fingerprint, defaults=self._defaults
            )
            return replace(plan, digest=prepared.job.file_hash)
        except RepositoryFault as fault:
            raise CannotPlan(str(fault)) from fault

    def _fingerprint(self, found: FoundModel) -> str:
        facts = [found.fault, found.skipped]
        for version in found.live:
            try:
                prepared = self._prepare(found, version)
                self._prepared[found.name, version.version] = found, prepared
                facts.append(prepared.fingerprint)
            except RepositoryFault as fault:
                facts.append(str(fault))
        return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass")).hexdigest()

    def _prepare(self, found: FoundModel, version: FoundVersion) -> _Prepared:
        if version.fault:
            raise RepositoryFault(version.fault)
        file_hash = self._hashes.of(version.path)
        job = InspectionJob(
            path=str(version.path),
            file_hash=file_hash,
            session=plan_session(found.configuration, self._defaults.cores),
            reference=found.sidecars.reference,
            warmup=trial_inputs(found.configuration, found.sidecars.warmup_files),
            max_batch_size=found.configuration.batching.max_batch_size or 0,
        )
        return _Prepared(fingerprint(found, version, file_hash, self._defaults), job)

    def _warn(self, texts: Sequence[str]) -> None:
        """Logs what is wrong with the folder as a whole, once as long as nothing changes."""
        warned = tuple(filter(None, texts))
        if warned != self._warned:
            for text in warned:
                log.warning("%s", text)
        self._warned = warned


def installed_providers() -> tuple[str, ...]:
    """Execution providers of the installed ONNX Runtime, found by the libraries in its folder.

    Importing it would cost 30 MB.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return ()
    libraries = (Path(spec.origin).parent / "capi").glob("*onnxruntime_providers_*")
    names = {library.stem.rpartition("_")[2] for library in libraries}
    return (
        *(PROVIDER_LIBRARIES[name] for name in sorted(names & PROVIDER_LIBRARIES.keys())),
        "AzureExecutionProvider",
        "CPUExecutionProvider",
    )


def _source_model(found: FoundModel) -> SourceModel:
    return SourceModel(
        found.name,
        tuple(version.version for version in found.live),
        found.fault,
        # where it is served, the plans of its versions carry the warnings
        found.warnings if found.skipped or found.fault else (),
        found.skipped,
        found,
    )


def _found(model: SourceModel) -> FoundModel:
    assert isinstance(model.details, FoundModel)
    return model.details
