"""Makes the Python stubs in gateway/protocol/generated/ from the .proto files beside this script.

    python protos/generate.py           write the stubs
    python protos/generate.py --check   write nothing; exit 1 if the committed stubs are not what
                                        would be written

The compiler is pinned and lives in a virtual environment of its own (.tools/, made at the first
run, needs a package index once), because the stubs must come from protobuf-6 tools while the
project itself runs on protobuf 6 and 7: code may be older than the protobuf library it meets, never
newer.
"""

# ruff: noqa: INP001, T201 - a script, not a package

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent
GENERATED = ROOT / "gateway" / "protocol" / "generated"
PACKAGE = "gateway.protocol.generated"

COMPILER = "grpcio-tools==1.76.0"
# Clients get stubs of our own services; health and reflection have theirs in every gRPC tool.
WITH_CLIENT_STUB = ("inference.proto", "gateway_control.proto")


def compiler_python() -> Path:
    """Return the interpreter that has the pinned compiler.

    After making its environment if it is not there.
    """
    home = ROOT / ".tools" / COMPILER.replace("==", "-")
    python = home / "bin" / "python"
    complete = home / "complete"  # written last: an interrupted installation is done again
    if not complete.exists():
        print(f"installing {COMPILER} into {home.relative_to(ROOT)}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        # fixed words
        subprocess.run([python, "-m", "pip", "install", "--quiet", COMPILER], check=True)  # noqa: S603
        complete.touch()
    return python


def compile_protos(target: Path) -> None:
    """Run the compiler on every .proto file, writing what it makes into target."""
    names = sorted(path.name for path in PROTOS.glob("*.proto"))
    protoc = [str(compiler_python()), "-m", "grpc_tools.protoc", f"-I{PROTOS}"]
    # our files
    subprocess.run([*protoc, f"--python_out={target}", f"--pyi_out={target}", *names], check=True)  # noqa: S603
    # our files
    subprocess.run([*protoc, f"--grpc_python_out={target}", *WITH_CLIENT_STUB], check=True)  # noqa: S603


def finished(text: str, *, source: str, modules: frozenset[str]) -> str:
    """Return one compiled file with its header, and importing its neighbours from the package.

    The compiler takes the folder of the .proto files for the root of the imports
    and has no option for another.
    """
    any_module = "|".join(sorted(modules, key=len, reverse=True))
    text = re.sub(
        rf"^import ({any_module})(?= as |$)", rf"from {PACKAGE} import \1", text, flags=re.MULTILINE
    )
    text = re.sub(
        rf"^from ({any_module}) import ", rf"from {PACKAGE}.\1 import ", text, flags=re.MULTILINE
    )
    return (
        f"# Made by protos/generate.py from protos/{source}: change that "
        f"file and run the script.\n{text}"
    )


def generate(scratch: Path) -> dict[str, str]:
    """Return the content of every generated file by its name.

    Compiled in the empty folder scratch.
    """
    compile_protos(scratch)
    modules = frozenset(path.stem for path in scratch.glob("*.py"))
    files = {}
    for path in sorted(scratch.iterdir()):
        source = path.name.split("_pb2")[0] + ".proto"
        files[path.name] = finished(
            path.read_text(encoding="utf-8"), source=source, modules=modules
        )
    return files


def present(folder: Path) -> dict[str, str]:
    """Return the content of every stub file in the folder by its name."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in folder.iterdir()
        if "_pb2" in path.name and path.is_file()
    }


def stale(folder: Path, files: dict[str, str]) -> list[str]:
    """Return the names of the stub files that are missing from the folder.

    Differ from files or are left over.
    """
    found = present(folder)
    return sorted(
        name for name in files.keys() | found.keys() if files.get(name) != found.get(name)
    )


def write(folder: Path, files: dict[str, str]) -> None:
    """Make the folder hold exactly these stub files; whatever is no stub stays."""
    for name in present(folder).keys() - files.keys():
        (folder / name).unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write or check the stubs; return the exit code."""
    parser = argparse.ArgumentParser(description="Make the Python stubs from the .proto files.")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit 1 if the committed stubs are out of date",
    )
    check = parser.parse_args(arguments).check
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(Path(scratch))
    if not check:
        write(GENERATED, files)
        return 0
    wrong = stale(GENERATED, files)
    for name in wrong:
        print(
            f"{GENERATED.relative_to(ROOT)}/{name} is not what the .proto files give; "
            "run: python protos/generate.py",
            file=sys.stderr,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
