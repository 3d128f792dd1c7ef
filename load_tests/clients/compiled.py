"""Clients in Go, JavaScript, Java and Rust: built by the toolchains of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from load_tests.clients.client import FOLDER, PROGRAMS, CannotInstallError, Client, program
from load_tests.clients.task import Task
from load_tests.go_tools import find_go

PROTOS = Path(__file__).resolve().parents[2] / "protos"
PROTOC = "grpcio-tools==1.76.0"
"""Brings protoc, which few machines have by itself."""


class Compiled(Client):
    """A program whose source stands in a folder of `programs`, copied and built."""

    tool = ""
    """The command without which there is none."""

    def __init__(self, name: str, version: str, source: str, *, quick: bool = False) -> None:
        super().__init__(name, version, quick=quick)
        self.source = PROGRAMS / source

    def install(self) -> None:
        """Copies the source and builds it."""
        if not shutil.which(self.tool):
            raise CannotInstallError(f"there is no {self.tool} on this machine")
        assert self.source is not None
        shutil.copytree(self.source, self.folder, dirs_exist_ok=True)
        self.build()

    def build(self) -> None:
        """Makes a program of the source in the folder."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        """What starts the program."""
        raise NotImplementedError

    def run(self, task: Task, address: str) -> str:
        """Starts the program."""
        return program(self.command(), task.text(address), self.folder)

    def descriptors(self) -> Path:
        """A descriptor set of the services that clients use."""
        found = self.folder / "services.pb"
        self.protoc("--include_imports", f"--descriptor_set_out={found}", "health.proto")
        return found

    def protoc(self, *words: str) -> None:
        """Compiles inference.proto, its imports, and what else the words name."""
        python = self.environment(self.folder / "protoc", PROTOC)
        command = [str(python), "-m", "grpc_tools.protoc", f"-I{PROTOS}"]
        self.call([*command, "inference.proto", "model_config.proto", *words])


class Go(Compiled):
    """grpc-go."""

    tool = "go"
    protobuf = "v1.36.12"
    stubs = "v1.6.2"
    """Of protoc-gen-go-grpc."""

    def build(self) -> None:
        """Makes stubs, a module with the versions that are wanted, and the program."""
        go = find_go()
        if go is None:
            raise CannotInstallError("there is no Go that is new enough: make tools brings one")
        environment = {"GOBIN": str(self.folder / "bin"), "GOTOOLCHAIN": "local"}
        for package in (
            f"google.golang.org/protobuf/cmd/protoc-gen-go@{self.protobuf}",
            f"google.golang.org/grpc/cmd/protoc-gen-go-grpc@{self.stubs}",
        ):
            self.call([go, "install", package], environment)
        self.protoc(*self._plugins())
        self.call([go, "mod", "init", "clients"])
        wanted = f"google.golang.org/grpc@{self.version}"
        self.call([go, "get", wanted, f"google.golang.org/protobuf@{self.protobuf}"])
        self.call([go, "build", "-o", "client", "."], environment)

    def _plugins(self) -> list[str]:
        words = []
        for name in ("go", "go-grpc"):
            words += [
                f"--plugin=protoc-gen-{name}={self.folder}/bin/protoc-gen-{name}",
                f"--{name}_out={self.folder}",
                f"--{name}_opt=module=clients",
                *(
                    f"--{name}_opt=M{file}=clients/inference"
                    for file in ("inference.proto", "model_config.proto")
                ),
            ]
        return words

    def command(self) -> list[str | Path]:
        """The program that was built."""
        return [self.folder / "client"]


class Node(Compiled):
    """@grpc/grpc-js, which reads the protos when it starts."""

    tool = "npm"
    also: tuple[str, ...] = ("@grpc/proto-loader@0.8.1",)

    def build(self) -> None:
        """Installs the packages beside the program."""
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        self.call(["npm", "install", *quiet, f"{self.name}@{self.version}", *self.also])

    def command(self) -> list[str | Path]:
        """The program, and where the protos are."""
        return ["node", "client.js", PROTOS]


class Java(Compiled):
    """grpc-java; pom.xml names its version too."""

    tool = "mvn"

    def build(self) -> None:
        """Has Maven make stubs and classes."""
        versions = f"-Dgrpc.version={self.version}"
        self.call(["mvn", "--quiet", "--batch-mode", f"-Dprotos={PROTOS}", versions, "package"])

    def command(self) -> list[str | Path]:
        """The classes, with the libraries that Maven has copied."""
        target = self.folder / "target"
        return ["java", "-cp", f"{target}/classes:{target}/lib/*", "Client"]


class Rust(Compiled):
    """triton-client on tonic; Cargo.toml names its version too."""

    tool = "cargo"

    def build(self) -> None:
        """Builds it, with a protoc that is there; else prost builds one of C++ for half an hour."""
        python = self.environment(self.folder / "protoc", PROTOC)
        protoc = self.folder / "protoc" / "protoc"
        protoc.write_text(f'#!/bin/sh\nexec {python} -m grpc_tools.protoc "$@"\n')
        protoc.chmod(0o755)
        (include,) = (self.folder / "protoc").glob("lib/*/site-packages/grpc_tools/_proto")
        variables = {"PROTOC": str(protoc), "PROTOC_INCLUDE": str(include)}
        variables["CARGO_TARGET_DIR"] = str(self.built)
        self.call(["cargo", "build", "--quiet"], variables)

    def command(self) -> list[str | Path]:
        """The program that was built."""
        return [self.built / "debug" / "client"]

    @property
    def built(self) -> Path:
        """What cargo has built, of other states of the source too: most of it is the libraries."""
        return FOLDER / "cargo"
