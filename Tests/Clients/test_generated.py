"""Clients that generators make from the document compile, and do what a cache is for."""

import shutil
import sys
from pathlib import Path

import pytest
from running import check_odd_keys, need, run

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "openapi/openapi.yaml"
BIN = Path(sys.executable).parent


def generate(generator, folder, *properties):
    """Has openapi-generator, which is Java, make a client; the document is valid in its eyes as well."""
    need("java")
    run(BIN / "openapi-generator-cli", "generate", "-i", DOCUMENT, "-g", generator, "-o", folder, *properties, folder=folder.parent)


def import_all(package, folder):
    """Imports every module of a package of Python: nothing that was generated is left out because no program calls it."""
    modules = [".".join(path.relative_to(folder).with_suffix("").parts) for path in (folder / package).rglob("*.py")]
    assert len(modules) > 20
    run(sys.executable, "-c", f"import importlib; [importlib.import_module(name) for name in {sorted(modules)}]", folder=folder)


def test_python(service, tmp_path):
    generate("python", tmp_path / "client")
    program = HERE / "generated/openapi_python.py"
    import_all("openapi_client", tmp_path / "client")
    run(sys.executable, program, service=service, folder=tmp_path, PYTHONPATH=str(tmp_path / "client"))
    check_odd_keys(service, "openapi_python")


def test_typescript_fetch(service, tmp_path):
    need("node", "tsc")
    generate("typescript-fetch", tmp_path / "client")
    shutil.copy(HERE / "generated/typescript_fetch.ts", tmp_path / "program.ts")
    options = ["--target", "es2017", "--lib", "es2020,dom", "--module", "commonjs", "--moduleResolution", "node"]
    run("tsc", *options, "--typeRoots", "types", "--outDir", "built", "program.ts", folder=tmp_path)
    run("node", "built/program.js", service=service, folder=tmp_path)
    check_odd_keys(service, "typescript_fetch")


def test_go(service, tmp_path):
    need("go")
    # It is one package of the program's module: a module of its own would name a Go that Debian does not have yet.
    generate("go", tmp_path / "client", "--package-name", "client", "--additional-properties", "withGoMod=false")
    shutil.copy(HERE / "generated/go.go", tmp_path / "main.go")
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.18\n")
    shutil.rmtree(tmp_path / "client/test")  # stubs of tests that need a package from elsewhere
    environment = {"GOCACHE": str(tmp_path / "cache"), "CGO_ENABLED": "0"}
    run("go", "vet", "./...", folder=tmp_path, **environment)
    run("go", "run", ".", service=service, folder=tmp_path, **environment)
    check_odd_keys(service, "openapi_go")


def test_openapi_python_client(service, tmp_path):
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")
    generator = BIN / "openapi-python-client"
    places = ["--path", DOCUMENT, "--config", "config.yaml", "--output-path", "pantler_client"]
    run(generator, "generate", "--meta", "none", *places, folder=tmp_path)
    import_all("pantler_client", tmp_path)
    program = HERE / "generated/openapi_python_client.py"
    run(sys.executable, program, service=service, folder=tmp_path, PYTHONPATH=str(tmp_path))
    check_odd_keys(service, "openapi_python_client")
