"""Every code block of README.md, and those of the project's README for Python and Django, do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pantler import Client

CLIENT = Path(__file__).resolve().parents[1]
PROJECT = CLIENT.parents[1]
ADDRESS = "http://127.0.0.1:8080"
# Those that the blocks use.
NAMESPACES = ("default", "shop", "site", "sessions")


class Block(NamedTuple):
    language: str
    text: str


def sections(path: Path) -> dict[str, list[Block]]:
    """The code blocks of a Markdown file, by the heading that they stand under."""
    found: dict[str, list[Block]] = {}
    heading, language, lines = "", None, []
    for line in path.read_text().splitlines():
        if line.startswith("```"):
            if language is None:
                language, lines = line[3:].strip(), []
            else:
                found.setdefault(heading, []).append(Block(language, "\n".join(lines) + "\n"))
                language = None
        elif language is not None:
            lines.append(line)
        elif match := re.match(r"#+ (.*)", line):
            heading = match[1]
    return found


README = sections(CLIENT / "README.md")


class Place:
    """A folder in which blocks are run against a service of their own namespace names."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        for namespace in NAMESPACES:
            with Client(url, namespace=namespace) as client:
                client.set("here", 1)
                client.flush()

    def here(self, text: str) -> str:
        return text.replace(ADDRESS, self.url)

    def run(self, *command: object, **variables: str) -> str:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PANTLER_", "DJANGO_"))
        }
        environment |= {"PANTLER_URL": self.url, "PYTHONDONTWRITEBYTECODE": "1", **variables}
        told = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert told.returncode == 0, f"{command}\n{told.stdout[-4000:]}\n{told.stderr[-4000:]}"
        return told.stdout

    def python(self, text: str, behind: str = "") -> str:
        """Runs a block as the script that it is, and behind it what its text promises."""
        path = self.folder / "block.py"
        path.write_text(self.here(text) + "\n" + textwrap.dedent(behind))
        return self.run(sys.executable, "-W", "error", path)


@pytest.fixture
def place(tmp_path: Path, service: str) -> Place:
    return Place(tmp_path, service)


# A section's blocks that are complete scripts, each with what has to hold behind it.
SCRIPTS: dict[str, list[str]] = {
    "Plain Python": [
        """
        assert product(42) == {"number": 42, "name": "Tea", "price": 4.2} == cache.get("product-42")
        assert cache.entry("product-42").tags == ("products",) or list(cache.entry("product-42").tags) == ["products"]
        load_product = None
        assert product(42)["name"] == "Tea"
        """,
        "assert list(cache.iter_keys()) == []",
    ],
    "Functions": [
        """
        import builtins
        assert report(2026)["year"] == 2026
        assert len(list(cache.iter_keys())) == 1
        report.invalidate(2026)
        assert list(cache.iter_keys()) == []
        """
    ],
    "Locks": [""],
    "Async": [""],
    "FastAPI": [
        """
        import warnings
        with warnings.catch_warnings():
            # Starlette's own, of what it stands on.
            warnings.simplefilter("ignore")
            from fastapi.testclient import TestClient
        with TestClient(app) as browser:
            for _ in range(2):
                assert browser.get("/products/42").json() == {"number": 42, "name": "Tea"}
            assert browser.get("/products/tea").status_code == 422
        from pantler import Client
        assert len(list(Client(namespace="shop").iter_keys())) == 1
        """
    ],
    "Flask": [
        """
        browser = app.test_client()
        assert [browser.get("/visits").json["visits"] for _ in range(3)] == [1, 2, 3]
        assert browser.get("/products").json == browser.get("/products").json == {"products": ["Tea"]}
        from pantler import Client
        assert len(list(Client(app.config["CACHE_ARGS"][0]).iter_keys())) == 1
        """
    ],
    "dogpile.cache": [
        """
        from pantler import Client
        assert product(42) == {"number": 42, "name": "Tea"}
        assert len(list(Client(namespace="shop").iter_keys())) == 1
        """
    ],
    "Errors": [""],
}
# What other tests here run.
ELSEWHERE = {
    "Install",
    "Django",
    "The four levels",
    "What else the cache has",
    "Moving in",
    "What is wrong with my settings?",
    "Measured",
}


def test_every_code_block_is_run() -> None:
    assert set(README) == set(SCRIPTS) | ELSEWHERE
    for heading, checks in SCRIPTS.items():
        assert [block.language for block in README[heading]] == ["python"] * len(checks), heading


@pytest.mark.parametrize(
    ("heading", "number"), [(heading, n) for heading, checks in SCRIPTS.items() for n in range(len(checks))]
)
def test_a_script_does_what_it_says(heading: str, number: int, place: Place) -> None:
    place.python(README[heading][number].text, SCRIPTS[heading][number])


def test_the_decorated_function_and_the_loaders_run_once(place: Place) -> None:
    functions = README["Functions"][0].text.replace(
        '    return {"year"', '    print("computed", year)\n    return {"year"'
    )
    told = place.python(functions)
    assert told.splitlines() == ["computed 2026"]
    plain = README["Plain Python"][0].text.replace("    return {", '    print("loaded", number)\n    return {')
    told = place.python(plain.replace("cache.delete(", "product(42)\ncache.delete("))
    assert told.splitlines() == ["loaded 42"]


def test_the_commands_of_the_installation_install(tmp_path: Path) -> None:
    if not (PROJECT / "clients/python/pyproject.toml").exists():
        pytest.skip("this is not in a clone of the repository")
    (block,) = README["Install"]
    commands = [line.partition("#")[0].split() for line in block.text.splitlines()]
    assert len(commands) == 2
    venv.create(tmp_path / "venv", with_pip=True)
    pip = tmp_path / "venv/bin/pip"
    for command in commands:
        assert command[:2] == ["pip", "install"]
        told = subprocess.run(
            [str(pip), "--quiet", "install", *(part.strip('"') for part in command[2:])],
            cwd=PROJECT, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr[-4000:]
    told = subprocess.run(
        [str(tmp_path / "venv/bin/python"), "-c", "import django, msgpack, pantler.django"],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr[-4000:]


# Django


SETTINGS = """
SECRET_KEY = "a test"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["templates"], "APP_DIRS": True}]
"""
URLS = """
from django.urls import path
from shop import views
urlpatterns = [path("", views.index), path("count", views.count), path("hits", views.hits)]
"""


def file_name(block: Block) -> str:
    """The file that a block of the Django sections is, as its first line says."""
    match = re.match(r"(?:#|<!--) (\S+)", block.text)
    assert match, f"the block does not say which file it is:\n{block.text}"
    return match[1]


@pytest.fixture
def site(place: Place) -> Place:
    """A site with the settings, models, views and templates of the README."""
    files = {"settings.py": SETTINGS, "urls.py": URLS, "shop/__init__.py": ""}
    for block in README["Django"] + README["The four levels"] + README["What else the cache has"]:
        name = file_name(block)
        name = name if name.startswith(("settings", "templates")) else f"shop/{name}"
        files[name] = files.get(name, "") + place.here(block.text)
    for name, text in files.items():
        (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / name).write_text(text)
    return place


def in_site(site: Place, text: str) -> str:
    start = """
import os, sys
sys.path.insert(0, os.getcwd())
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from django.test import Client as Browser
from shop.models import Product
browser = Browser()
"""
    path = site.folder / "script.py"
    path.write_text(start + textwrap.dedent(text))
    return site.run(sys.executable, "-W", "error", path)


def test_the_four_levels(site: Place) -> None:
    in_site(
        site,
        """
        from decimal import Decimal
        from django.db import connection
        from django.test.utils import CaptureQueriesContext
        tea = Product.objects.create(name="Tea", price=Decimal("4.20"))
        Product.objects.create(name="Cup", price=3)

        def asked(path):
            with CaptureQueriesContext(connection) as queries:
                answer = browser.get(path)
            assert answer.status_code == 200, answer.content
            return answer.content.decode(), len(queries)

        page, queries = asked("/")
        assert "Cup: 3" in page and "Tea: 4.2" in page and queries == 1, (page, queries)
        assert asked("/") == (page, 0)
        assert asked("/count") == ('{"count": 2}', 1)
        assert asked("/count") == ('{"count": 2}', 0)
        # A change drops rows and number.
        from shop import views
        tea.price = 5
        tea.save()
        assert asked("/count")[1] == 1
        assert [row.price for row in views.products()] == [3, 5]
        assert [asked("/hits")[0] for _ in range(2)] == ["1", "2"]
        """,
    )


def test_what_else_the_cache_has(site: Place) -> None:
    in_site(site, "from shop import levels\nlevels.use()\n")


def test_the_check_of_the_readmes_settings(site: Place) -> None:
    (block,) = README["What is wrong with my settings?"]
    command = block.text.split()
    assert command[:2] == ["python", "-m"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(site.folder)}
    told = subprocess.run(
        [sys.executable, *command[1:], "--output", "json"],
        cwd=site.folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    findings = {finding["id"] for finding in json.loads(told.stdout)["findings"] if finding["level"] != "info"}
    # A machine that is busy with other tests is slow, and the check says so.
    assert not findings - {"pantler.W019"}, told.stdout
    assert told.returncode == (1 if findings else 0)


def test_a_site_that_moves_in_finds_what_the_old_cache_has(site: Place) -> None:
    (block,) = README["Moving in"]
    with (site.folder / "settings.py").open("a") as settings:
        # Its own line but for the old cache, which is to be there wherever the tests run.
        in_memory = '"old": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},'
        text = re.sub(r'"old": \{.*\},', in_memory, block.text)
        assert "redis" not in text
        settings.write(site.here(text))
    in_site(
        site,
        """
        from django.core.cache import cache, caches
        caches["old"].set("old", "value")
        assert cache.get("old") == "value"
        caches["old"].clear()
        assert cache.get("old") == "value"
        assert cache.migration_stats()["old_hits"] == 1
        """,
    )


def test_the_table_of_options_is_whole() -> None:
    pytest.importorskip("django")
    from dataclasses import fields

    from pantler.django._options import Options

    text = (CLIENT / "README.md").read_text()
    first, moving = text.split("| `OPTIONS` of `MigratingCache`")
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", first.partition("| `OPTIONS` |")[2], re.MULTILINE))
    assert set(listed) == {one.name.upper() for one in fields(Options)}
    for one in fields(Options):
        told = listed[one.name.upper()]
        if isinstance(one.default, (bool, int, float)):
            assert told == f"`{one.default!r}`"
        elif one.name == "leases":
            assert re.findall(r'"([^"]+)"', told) == list(one.default)
    from pantler.django.migrating import OWN_OPTIONS

    assert re.findall(r"^\| `([A-Z_]+)` \|", moving.partition("###")[0], re.MULTILINE) == list(OWN_OPTIONS)


def test_the_errors_of_the_table_are_all_there_are() -> None:
    import pantler

    text = (CLIENT / "README.md").read_text()
    table = text[text.index("## Errors") :].partition("```")[0]
    for name in pantler.__all__:
        value = getattr(pantler, name)
        if isinstance(value, type) and issubclass(value, pantler.PantlerError) and value is not pantler.PantlerError:
            assert f"`{name}`" in table, f"{name} is not in the README's table of errors"


# The project's README


def top(heading: str) -> list[Block]:
    path = PROJECT / "README.md"
    if not (PROJECT / "Sources").exists():
        pytest.skip("the project's README is not beside this")
    return sections(path)[heading]


def test_the_projects_readme_shows_both_in_its_first_two_screens() -> None:
    if not (PROJECT / "Sources").exists():
        pytest.skip("the project's README is not beside this")
    lines = (PROJECT / "README.md").read_text().splitlines()
    assert max(lines.index("## Django"), lines.index("## Python")) < 80


def test_the_projects_python_section(place: Place) -> None:
    *blocks, python = top("Python")
    assert all(block.language == "sh" for block in blocks)
    prelude = "def load_product(number):\n    print('loaded', number)\n    return {'number': number}\n"
    told = place.python(
        prelude + python.text,
        """
        assert product(42) == product(42) == {"number": 42}
        product_changed(42)
        assert product(42) == {"number": 42}
        """,
    )
    assert told.splitlines() == ["loaded 42"] * 2


def test_the_projects_django_section(place: Place) -> None:
    *others, settings = [block for block in top("Django") if block.language == "python"]
    (place.folder / "settings.py").write_text(SETTINGS.replace('"shop"', "") + place.here(settings.text))
    place.run(
        sys.executable,
        "-W",
        "error",
        "-c",
        "from django.core.cache import cache; cache.set('a', 1); assert cache.incr('a') == 2",
        DJANGO_SETTINGS_MODULE="settings",
        PYTHONPATH=str(place.folder),
    )
