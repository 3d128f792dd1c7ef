"""A main process on a folder of text files for models, with stand-ins as serving processes.

A file is a model and its lines are versions: `1 ok`, `2 fail`, `3 crash`, `4 slow`, `5
unplannable`, `6 while FILE`; with `7 unserved` the model is of a kind that is not served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from pathlib import Path

import msgspec

from gateway.config.control import (
    ControlOptions,
    ListenOptions,
    ModelControlMode,
    ModelControlOptions,
    RestartOptions,
    StopOptions,
)
from gateway.config.telemetry_options import TelemetrySettings
from gateway.config.trace_settings import trace_settings_of
from gateway.control.models.sources.source import CannotPlan, SourceModel
from gateway.control.processes.main_process import MainProcess
from gateway.control.processes.spawning import Spawner
from gateway.core.plan import VersionPlan
from gateway.records.sampling import SamplingPlan


class TextSource:
    def __init__(self, root: Path) -> None:
        self.root = root

    async def scan(self):
        found = {file.name: self.versions(file) for file in self.root.iterdir()}
        return tuple(self.model(name, versions) for name, versions in found.items())

    def model(self, name, versions):
        if "unserved" in versions.values():
            return SourceModel(name, skipped="backend 'python' is not served")
        return SourceModel(name, tuple(versions), "" if versions else "no version is there")

    def versions(self, file):
        return {
            int(number): " ".join(how)
            for number, *how in map(str.split, file.read_text().splitlines())
        }

    async def reconfigured(self, model, configuration):
        try:
            details = {int(number): how for number, how in json.loads(configuration).items()}
        except ValueError as error:
            raise CannotPlan(f"{configuration!r} is not JSON") from error
        return msgspec.structs.replace(model, versions=tuple(details), details=details)

    async def fingerprint(self, model):
        return repr(model.details) if model.details else (self.root / model.name).read_text()

    async def plan(self, model, version):
        how = (model.details or self.versions(self.root / model.name))[version]
        if how == "unplannable":
            raise CannotPlan("its graph makes no sense")
        return VersionPlan(
            model=model.name, version=version, path=how, fingerprint=how, inputs=(), outputs=()
        )


def main() -> int:
    root = Path(sys.argv[1])
    options = json.loads(sys.argv[2])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    control = ControlOptions(
        listen=ListenOptions(port=options.get("port", 0), http_port=options.get("http_port")),
        processes=options.get("processes", 2),
        model_control=ModelControlOptions(
            **{
                "progress_interval_s": 0.1,
                **options.get("model_control", {}),
                "mode": ModelControlMode(options.get("mode", "open")),
            }
        ),
        restart=RestartOptions(
            **{"first_delay_s": 0.02, "longest_delay_s": 0.1, **options.get("restart", {})}
        ),
        stop=StopOptions(
            **{"drain_delay_s": 0.3, "grace_s": 5.0, "kill_after_s": 2.0, **options.get("stop", {})}
        ),
    )

    @contextlib.asynccontextmanager
    async def source():
        yield TextSource(root)

    def announce(started):
        print(msgspec.json.encode(started).decode(), flush=True)

    with Spawner("tests.support.serving_stand_in:run") as spawner:
        process = MainProcess(
            control,
            options.get("settings", {}),
            source,
            spawner,
            telemetry_settings=TelemetrySettings(),
            announce=announce,
            trace_settings=trace_settings_of(SamplingPlan(traces=True, ratio=0.3)),
            log_settings={"log_verbose_level": 0},
        )
        status = asyncio.run(process.run())
    heavy = sorted({"grpc", "numpy", "onnxruntime"} & sys.modules.keys())
    if heavy:
        print(f"imported {heavy}", file=sys.stderr)
        return 99
    return status


if __name__ == "__main__":
    sys.exit(main())
