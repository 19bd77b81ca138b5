"""Generate the Python modules and stubs of the .proto files, or check that they are fresh.

The output is committed beside its source, so that nobody who installs or reads payswitch needs a
protobuf compiler. It is made by grpcio-tools 1.78, whose output imports under protobuf 6.31 to 7
and grpcio 1.78 or newer; a newer compiler would shut out integrators who cannot upgrade yet.

Everything below `payswitch/` that is not a .proto file is made here and only here.

    generate.py          write
    generate.py --check  exit 1 and name each file that is stale, missing or left over
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCE_ROOT = Path(__file__).resolve().parent
PACKAGE = "payswitch"
MYPY_OPTIONS = "quiet,readable_stubs"


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the .proto files.")
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check = parser.parse_args().check

    with tempfile.TemporaryDirectory() as scratch:
        fresh_root = Path(scratch)
        generate(fresh_root)
        fresh = read_generated(fresh_root)
    committed = read_generated(SOURCE_ROOT)

    differing = sorted(
        path for path in fresh.keys() | committed.keys() if fresh.get(path) != committed.get(path)
    )
    for path in differing:
        if check:
            print(f"not fresh: protos/{path}", file=sys.stderr)
        elif path in fresh:
            (SOURCE_ROOT / path).write_bytes(fresh[path])
            print(f"wrote protos/{path}")
        else:
            (SOURCE_ROOT / path).unlink()
            print(f"removed protos/{path}")
    if check and differing:
        print("generated code is not fresh: run `make protos`", file=sys.stderr)
        return 1
    return 0


def generate(target_root: Path) -> None:
    """Compile every .proto file into `target_root`, with the package files around the modules."""
    sources = sorted((SOURCE_ROOT / PACKAGE).rglob("*.proto"))
    run_compiler(sources, f"--python_out={target_root}", f"--mypy_out={MYPY_OPTIONS}:{target_root}")
    run_compiler(
        [source for source in sources if declares_service(source)],
        f"--grpc_python_out={target_root}",
        f"--mypy_grpc_out={MYPY_OPTIONS}:{target_root}",
    )
    write_package_files(target_root / PACKAGE)


def run_compiler(sources: list[Path], *outputs: str) -> None:
    """Run protoc on `sources`, with the stub plugins of the interpreter's own environment."""
    if not sources:
        return
    scripts = Path(sys.executable).parent
    plugins = [
        f"--plugin={name}={shutil.which(name, path=str(scripts))}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    compiler = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={SOURCE_ROOT}"]
    subprocess.run([*compiler, *plugins, *outputs, *map(str, sources)], check=True)


def declares_service(source: Path) -> bool:
    """Tell whether a .proto file has a service, and so needs gRPC code."""
    return re.search(r"^service ", source.read_text(encoding="utf-8"), re.MULTILINE) is not None


def write_package_files(package: Path) -> None:
    """Make `package` and the folders below it regular, typed Python packages."""
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        name = ".".join(folder.relative_to(package.parent).parts)
        head = f'"""Generated code of the protobuf package {name}."""\n'
        (folder / "__init__.py").write_text(head, encoding="utf-8")
    (package / "py.typed").touch()


def read_generated(root: Path) -> dict[str, bytes]:
    """Read what is generated below `root`, by its path relative to `root`."""
    return {str(path.relative_to(root)): path.read_bytes() for path in generated_files(root)}


def generated_files(root: Path) -> Iterator[Path]:
    """List the files below `root` that this script owns."""
    for path in (root / PACKAGE).rglob("*"):
        if path.is_file() and path.suffix != ".proto" and "__pycache__" not in path.parts:
            yield path


if __name__ == "__main__":
    sys.exit(main())
