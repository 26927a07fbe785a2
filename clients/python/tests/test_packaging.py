"""What is shipped: the wheel, the sdist, what they need, and their types."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[1]
SOURCE = CLIENT / "src/pantler"
# Which modules need what of others; all other modules need the standard library alone. asgiref is a part of Django's.
NEEDS = {"pantler.django": "django/asgiref", "pantler.cachelib": "cachelib", "pantler.dogpile": "dogpile"}


def run(*command: object, cwd: Path, **variables: str) -> str:
    """A command's output; it has to end well, and without a warning of Python's."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PANTLER_", "PYTHON", "DJANGO_"))
    }
    # The package is small, and pip's cache may belong to somebody else.
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", **variables}
    told = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert told.returncode == 0, f"{command}\n{told.stdout[-6000:]}\n{told.stderr[-6000:]}"
    return told.stdout


def modules() -> list[str]:
    """All modules of the package, by what they are imported as."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ["pantler", *path.relative_to(SOURCE).with_suffix("").parts]
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def shipped_files() -> set[str]:
    """What belongs into the wheel, by its path there."""
    return {
        f"pantler/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, CLIENT, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def python_of(home: Path) -> Path:
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def oldest_python() -> str:
    """The oldest supported Python that is here; it has no packages."""
    for minor in range(10, sys.version_info.minor):
        pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"))
        for candidate in [shutil.which(f"python3.{minor}"), *pyenv]:
            if (
                candidate
                and not subprocess.run([candidate, "-c", "import ensurepip, venv"], capture_output=True).returncode
            ):
                return str(candidate)
    return sys.executable


# What is in the wheel and the sdist


def test_the_wheel_from_the_sdist_has_every_file_of_the_package(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert files == shipped_files()
    assert "pantler/py.typed" in files


def test_the_wheel_from_the_source_is_the_one_from_the_sdist(built: tuple[Path, Path], tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, CLIENT, cwd=tmp_path)
    (direct,) = tmp_path.glob("*.whl")
    assert direct.name == built[1].name
    with zipfile.ZipFile(direct) as one, zipfile.ZipFile(built[1]) as other:
        assert {item.filename: item.CRC for item in one.infolist()} == {
            item.filename: item.CRC for item in other.infolist()
        }


def test_the_sdist_holds_the_tests_the_example_and_the_benchmarks(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        files = {name.partition("/")[2] for name in sdist.getnames()}
    for folder in ("src", "tests", "example", "benchmarks"):
        expected = {
            path.relative_to(CLIENT).as_posix()
            for path in (CLIENT / folder).rglob("*")
            if path.suffix in (".py", ".html", ".txt", ".typed") and "__pycache__" not in path.parts
        }
        assert expected, f"there is nothing in {folder}"
        assert expected <= files, f"not in the sdist: {sorted(expected - files)}"
    assert {"pyproject.toml", "README.md", "PKG-INFO"} <= files
    assert not [name for name in files if "__pycache__" in name or name.endswith((".pyc", ".sqlite3", ".log"))]


def test_nothing_is_needed_but_what_an_extra_names(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        text = wheel.read(name).decode()
    needed = re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)
    assert needed
    assert not [line for line in needed if "extra ==" not in line]
    assert re.search(r"^Requires-Python: >=3\.10$", text, re.MULTILINE)
    assert {"django", "msgpack", "cachelib", "dogpile", "debug-toolbar", "test"} == set(
        re.findall(r"^Provides-Extra: (.*)$", text, re.MULTILINE)
    )


def test_the_version_is_the_services(built: tuple[Path, Path]) -> None:
    service = CLIENT.parents[1] / "Sources/pantler/Pantler.swift"
    if not service.exists():
        pytest.skip("the service's source is not beside this")
    (version,) = re.findall(r'static let version = "(.+)"', service.read_text())
    assert built[1].name == f"pantler-{version}-py3-none-any.whl"
    (pinned,) = re.findall(r'^version = "(.+)"', (CLIENT / "pyproject.toml").read_text(), re.MULTILINE)
    assert pinned == version


def test_dogpile_finds_the_backend_by_its_entry_point() -> None:
    found = {point.name: point.value for point in metadata.entry_points(group="dogpile.cache")}
    for name in ("pantler", "dogpile.cache.pantler"):
        assert found[name] == "pantler.dogpile:PantlerBackend"
        region = pytest.importorskip("dogpile.cache").make_region().configure(name)
        assert type(region.backend).__module__ == "pantler.dogpile"


# What can be imported where


def test_pip_installs_the_source_into_a_fresh_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = python_of(tmp_path / "venv")
    # As a user does: pip brings the build's own requirements.
    run(python, "-m", "pip", "install", "--quiet", CLIENT, cwd=tmp_path)
    listed = run(python, "-m", "pip", "list", "--format", "freeze", cwd=tmp_path).split()
    assert {line.partition("==")[0] for line in listed} - {"pip", "setuptools", "wheel"} == {"pantler"}
    assert run(python, "-W", "error", "-c", "import pantler; print(pantler.__name__)", cwd=tmp_path) == "pantler\n"


IMPORT_ALL = """
import importlib, sys
needs = dict(pair.split("=") for pair in sys.argv[1].split(","))
for name in sys.argv[2:]:
    wanted = next((other for module, other in needs.items() if name == module or name.startswith(module + ".")), None)
    try:
        importlib.import_module(name)
    except ImportError as error:
        if wanted is None or (error.name or "").partition(".")[0] not in wanted.split("/"):
            raise
        print("needs", wanted, name)
    else:
        print("imported", name)
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"django", "cachelib", "dogpile", "msgpack", "asgiref", "flask"}, loaded
"""


def test_the_wheel_alone_imports_with_the_oldest_python(built: tuple[Path, Path], tmp_path: Path) -> None:
    run(oldest_python(), "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = python_of(tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", "--no-index", built[1], cwd=tmp_path)
    needs = ",".join(f"{module}={other}" for module, other in NEEDS.items())
    names = [name for name in modules() if not name.endswith("__main__")]
    told = run(python, "-W", "error", "-c", IMPORT_ALL, needs, *names, cwd=tmp_path).splitlines()
    imported = {line.split()[1] for line in told if line.startswith("imported ")}
    expected = {name for name in names if not name.startswith(tuple(NEEDS))}
    assert expected <= imported
    # The other way round: nothing says that it needs a package and does without it.
    assert {line.split()[2] for line in told if line.startswith("needs ")} >= set(NEEDS)


def test_with_django_alone_everything_of_django_imports_but_the_toolbars_panel(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("django")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = python_of(tmp_path / "venv")
    place = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(place)
    for name in ("django", "asgiref", "sqlparse", "typing_extensions"):
        spec = metadata.distribution(name).locate_file("")
        for found in (Path(str(spec), name), Path(str(spec), f"{name}.py")):
            if found.exists():
                (place / found.name).symlink_to(found)
    (tmp_path / "settings.py").write_text(
        "SECRET_KEY = 'a test'\n"
        "CACHES = {'default': {'BACKEND': 'pantler.django.PantlerCache', 'LOCATION': 'http://127.0.0.1:1'}}\n"
    )
    names = [
        name for name in modules() if name.startswith("pantler.django") and not name.endswith(("__main__", ".panel"))
    ]
    code = (
        "import django; django.setup()\nimport importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    )
    run(python, "-W", "error", "-c", code, *names, cwd=tmp_path, DJANGO_SETTINGS_MODULE="settings")


# Types and docstrings


def need_mypy() -> None:
    pytest.importorskip("mypy", reason="types are checked in the newest environment")
    if not any(dist.name == "django-stubs" for dist in metadata.distributions()):
        pytest.skip("types are checked where django-stubs are")


def test_the_types_hold_strictly(tmp_path: Path) -> None:
    need_mypy()
    run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", cwd=CLIENT)


USE = """
from __future__ import annotations

import asyncio

from pantler import ABSENT, DEFAULT, AsyncClient, Client


def load() -> dict[str, int]:
    return {"a": 1}


def use(client: Client) -> int:
    version: int = client.set("a", 1, ttl=60, tags=["t"])
    loaded = client.fetch("b", load, ttl=60)
    client.set("c", 1, ttl=None)
    client.set("c", 1, ttl=DEFAULT)
    several: dict[str, object] = dict(client.get_many(["a", "b"]))

    @client.cached(ttl=60)
    def square(number: int) -> int:
        return number * number

    return square(version) + len(several) + len(loaded or {})


async def use_async(client: AsyncClient) -> int:
    version: int = await client.set("a", 1)

    @client.cached(ttl=60)
    async def square(number: int) -> int:
        return number * number

    return await square(version)


with Client() as client:
    use(client)
"""


def test_a_user_of_the_package_sees_its_types(tmp_path: Path) -> None:
    need_mypy()
    (tmp_path / "use.py").write_text(USE)
    run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "use.py", cwd=tmp_path)
    # And mypy reads them: a wrong use is an error.
    (tmp_path / "wrong.py").write_text(USE + "\nclient.set(1, ttl='long')\n")
    with pytest.raises(AssertionError, match="error"):
        run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "wrong.py", cwd=tmp_path)


def public_without_a_docstring(path: Path) -> list[str]:
    """Public classes, functions and methods of a module that say nothing; overloads and nested functions aside."""
    found = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                if child.name.startswith("_") or any("overload" in ast.unparse(each) for each in child.decorator_list):
                    continue
                if not ast.get_docstring(child):
                    found.append(f"{path.relative_to(SOURCE)}: {prefix}{child.name}")
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, (ast.If, ast.Try)):
                visit(child, prefix)

    visit(ast.parse(path.read_text()), "")
    return found


def test_everything_public_has_a_docstring() -> None:
    import pantler

    undocumented = []
    for name in pantler.__all__:
        value = getattr(pantler, name)
        if isinstance(value, type):
            if not value.__doc__:
                undocumented.append(name)
            for member in dir(value):
                attribute = getattr(value, member, None)
                if not member.startswith("_") and callable(attribute) and not getattr(attribute, "__doc__", None):
                    undocumented.append(f"{name}.{member}")
    assert not undocumented


def test_public_modules_are_documented() -> None:
    public = [path for path in SOURCE.rglob("*.py") if not path.name.startswith("_") or path.name == "__init__.py"]
    assert public
    silent = [str(path.relative_to(SOURCE)) for path in public if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent
    # Methods that Django, cachelib or dogpile have documented say so by their class alone.
    own = [path for path in public if path.name not in ("cachelib.py", "dogpile.py", "panel.py", "apps.py")]
    undocumented = [line for path in own for line in public_without_a_docstring(path)]
    assert not undocumented
