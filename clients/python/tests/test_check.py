"""
`python -m pantler.django check` and the system checks: each fault of a site's settings is found, and a good site has
none.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shelf
from conftest import Service, free_port
from pantler import Client


class Site:
    """A settings module in a folder, and what the command says of it."""

    def __init__(self, folder: Path, service: str) -> None:
        self.folder = folder
        self.namespace = f"check-{os.getpid()}-{secrets.token_hex(4)}"
        self.location = f"{service}/v1/namespaces/{self.namespace}"
        self.cache: dict[str, Any] = {
            "BACKEND": "pantler.django.PantlerCache",
            "LOCATION": self.location,
            "KEY_PREFIX": "site",
            "OPTIONS": {"IGNORE_EXCEPTIONS": True},
        }

    def write(self, caches: dict[str, Any], more: str = "", name: str = "site_settings") -> None:
        (self.folder / f"{name}.py").write_text(
            "DEBUG = False\nSECRET_KEY = 'of one site'\nINSTALLED_APPS = ['pantler.django']\nALLOWED_HOSTS = ['*']\n"
            f"CACHES = {caches!r}\n{more}\n"
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PANTLER_", "DJANGO_", "WEB_CONCURRENCY"))
        }
        return subprocess.run(
            [sys.executable, "-m", "pantler.django", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env={**clean, **environment},
        )

    def findings(
        self, caches: dict[str, Any] | None = None, more: str = "", *arguments: str, **environment: str
    ) -> dict[str, dict[str, Any]]:
        """By their ids; what only informs too."""
        self.write(caches if caches is not None else {"default": self.cache}, more)
        done = self.run("check", "--settings", "site_settings", "--output", "json", *arguments, **environment)
        assert done.returncode in (0, 1), done.stderr
        said = json.loads(done.stdout)
        found = {each["id"].removeprefix("pantler."): each for each in said["findings"]}
        assert said["ok"] == (done.returncode == 0) == (not any(each["level"] != "info" for each in said["findings"]))
        assert all(each["message"] and each["hint"] for each in said["findings"])
        return found

    def with_options(self, **options: Any) -> dict[str, Any]:
        return {"default": {**self.cache, "OPTIONS": {**self.cache["OPTIONS"], **options}}}

    def with_settings(self, **changes: Any) -> dict[str, Any]:
        return {"default": {**self.cache, **changes}}


@pytest.fixture
def site(tmp_path: Path, service: str) -> Site:
    return Site(tmp_path, service)


def static(site: Site, caches: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """What the settings alone show, found in this process: a process for each of a hundred settings takes minutes."""
    from django.test import override_settings

    from pantler.django.checks import static_findings

    given = {"DEBUG": False, "INSTALLED_APPS": ["pantler.django"], "MIDDLEWARE": [], **settings}
    with override_settings(CACHES=caches if caches is not None else {"default": site.cache}, **given):
        found = static_findings()
    assert all(each.message and each.hint for each in found)
    return {each.id.removeprefix("pantler."): each for each in found}


@pytest.fixture(autouse=True)
def django(service: str) -> None:
    shelf.ready(service)


def test_a_good_site_has_nothing_wrong(site: Site) -> None:
    assert site.findings() == {}
    done = site.run("check", DJANGO_SETTINGS_MODULE="site_settings")
    assert (
        done.returncode == 0
        and "Nothing is wrong." in done.stdout
        and site.namespace in done.stdout
        and "round trip ms" in done.stdout
    )
    # The note that it left is no other site's.
    assert site.findings() == {}


def test_arguments(site: Site, tmp_path: Path) -> None:
    assert site.run("check").returncode == 2
    assert "DJANGO_SETTINGS_MODULE" in site.run("check").stderr
    assert site.run().returncode == 2
    done = site.run("check", "--settings", "nowhere.settings")
    assert done.returncode == 1 and "nowhere" in done.stdout
    assert json.loads(site.run("check", "--settings", "nowhere.settings", "--output", "json").stdout)["ok"] is False
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    there = Site(elsewhere, "http://127.0.0.1:9")
    there.write({"default": there.cache}, name="other_settings")
    assert (
        site.run("check", "--settings", "other_settings", "--pythonpath", "elsewhere", "--no-network").returncode == 0
    )


# What the settings alone show


@pytest.mark.parametrize(
    ("change", "finding", "says"),
    [
        ({"OPTIONS": {"IGNORE_EXCEPTION": True}}, "E001", "IGNORE_EXCEPTIONS"),
        ({"LOCATION": "ftp://127.0.0.1/x"}, "E001", ""),
        ({"LOCATION": ["http://127.0.0.1:1/v1/namespaces/a", "http://127.0.0.1:2/v1/namespaces/b"]}, "E001", ""),
        ({"BACKEND": "pantler.django.PantlerCash"}, "E001", "PantlerCash"),
        ({"TIMEOUT": "five"}, "E002", "five"),
        ({"TIMEOUT": 0}, "W001", "nothing is kept"),
        ({"TIMEOUT": -1}, "W001", "nothing is kept"),
        ({"OPTIONS": {}}, "W002", "500"),
        ({"OPTIONS": {"SERIALIZER": "pickle", "IGNORE_EXCEPTIONS": True}}, "W003", "pickle"),
        ({"OPTIONS": {"LEASES": [], "IGNORE_EXCEPTIONS": True}}, "I003", "every request renders"),
        (
            {
                "LOCATION": "http://192.0.2.7:8080/v1/namespaces/a",
                "OPTIONS": {"IGNORE_EXCEPTIONS": True, "TOKEN": "pt_abcdefgh_" + "A" * 43},
            },
            "W004",
            "192.0.2.7",
        ),
        (
            {
                "LOCATION": "http://cache.example/v1/namespaces/a",
                "OPTIONS": {"IGNORE_EXCEPTIONS": True, "TOKEN": "pt_abcdefgh_" + "A" * 43},
            },
            "W004",
            "cache.example",
        ),
        ({"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {}}, "W005", "a cache of its own"),
        ({"BACKEND": "django.core.cache.backends.dummy.DummyCache", "OPTIONS": {}}, "W005", "nothing is cached"),
        ({"BACKEND": "pantler.django.MigratingCache"}, "I004", "over"),
        ({"BACKEND": "pantler.django.MigratingCache", "OPTIONS": {"OLD": "nowhere"}}, "E001", "nowhere"),
    ],
)
def test_settings(site: Site, change: dict[str, Any], finding: str, says: str) -> None:
    found = static(site, site.with_settings(**change))
    assert finding in found, found
    assert says in found[finding].message and found[finding].alias == "default"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/v1/namespaces/a",
        "http://[::1]:1/v1/namespaces/a",
        "http://localhost:1/v1/namespaces/a",
        "unix:/run/pantler.sock:/v1/namespaces/a",
        "https://cache.example/v1/namespaces/a",
    ],
)
def test_a_token_that_nobody_can_overhear_is_nothing_wrong(site: Site, location: str) -> None:
    token = {"IGNORE_EXCEPTIONS": True, "TOKEN": "pt_abcdefgh_" + "A" * 43}
    assert static(site, site.with_settings(LOCATION=location, OPTIONS=token)) == {}


def test_a_token_of_the_environment_is_one_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANTLER_TOKEN", "pt_abcdefgh_" + "A" * 43)
    assert "W004" in static(site, site.with_settings(LOCATION=f"http://{secrets.token_hex(4)}.example/v1/namespaces/a"))


def test_the_number_of_workers_is_said_where_it_is_known(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert "each worker of 4" in static(site, memory)["W005"].message
    monkeypatch.delenv("WEB_CONCURRENCY")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--bind :1 --workers=3")
    assert "each worker of 3" in static(site, memory)["W005"].message
    assert list(static(site, memory, DEBUG=True)) == ["I002"]


@pytest.mark.parametrize(
    ("function", "finding", "says"),
    [
        ("f'{prefix}{version}{key}'", "E005", "one key of two"),
        ("f'{prefix}:{key}'", "E005", "versions 1 and 2"),
        ("f'{version}:{key}'", "E005", "prefixes 'site' and 'sitezz'"),
        ("f'{prefix}:{version}:{key.lower()}'", "E005", "'a' and 'A'"),
        ("f'{prefix}:{version}:{key.strip()}'", "E005", "'a' and ' a'"),
        ("f'{prefix}:{version}:{key[:250]}'", "E005", "one key of two"),
        ("f'{prefix}:{version}:' + ''.join(c for c in key if c.isalnum())", "E005", "one key of two"),
        ('f\'{prefix}:{version}:{key.replace("/", ":")}\'', "E005", "one key of two"),
        ("f'{prefix}_{key}_{version}'", None, ""),
        ("f'{prefix}:{version}:' + __import__('unicodedata').normalize('NFC', key)", "E005", "one key of two"),
        ("f'{prefix}:{version}:' + __import__('hashlib').sha256(key.encode()).hexdigest()", None, ""),
        ("f'{prefix}:{version}:' + __import__('hashlib').md5(key.encode()).hexdigest()[:6]", "E005", "too little"),
        ("f'{prefix}:{version}:%08x' % __import__('zlib').crc32(key.encode())", "E005", "too little"),
        ("f'{prefix}:{version}:{hash(key)}'", "E014", "another key in each process"),
        ("f'{prefix}:{version}:{key}:{__import__(\"time\").perf_counter_ns()}'", "E004", "each time"),
        ("f'{prefix}:{version}:{key}'.encode()", "E003", "bytes"),
        ("f'{prefix}:{version}:' + key.encode('ascii').decode()", "E003", "raises"),
        ("'%s:%s:%s' % (prefix, version, key)", None, ""),
        ("f'{key}|{version}|{prefix}'", None, ""),
    ],
)
def test_key_functions_that_collide(
    site: Site, function: str, finding: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.test import override_settings

    from pantler.django.checks import key_function_findings

    name = f"keys_{secrets.token_hex(4)}"
    (site.folder / f"{name}.py").write_text(f"def make(key, prefix, version):\n    return {function}\n")
    monkeypatch.syspath_prepend(site.folder)
    caches = site.with_settings(KEY_FUNCTION=f"{name}.make")
    found = static(site, caches)
    if not found:
        # What takes longer.
        site.write(caches)
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "site_settings")
        monkeypatch.setenv("PYTHONPATH", str(site.folder))
        with override_settings(CACHES=caches):
            from django.core.cache import caches as made

            command = [sys.executable, "-m", "pantler.django"]
            found = {
                each.id.removeprefix("pantler."): each
                for each in key_function_findings("default", made["default"], command)
            }
    if finding is None:
        assert found == {}
    else:
        assert finding in found and says in found[finding].message and f"{name}.make" in found[finding].message, found


def test_two_caches_in_one_place(site: Site) -> None:
    both = {"default": site.cache, "other": {**site.cache, "TIMEOUT": 60}}
    assert "same keys" in static(site, both)["W007"].message
    assert static(site, {**both, "other": {**site.cache, "KEY_PREFIX": "second"}}) == {}
    assert static(site, {**both, "other": {**site.cache, "LOCATION": site.location + "2"}}) == {}
    # Prefixes of which one goes on where the other's separator is.
    clash = {"default": {**site.cache, "KEY_PREFIX": "a"}, "other": {**site.cache, "KEY_PREFIX": "a:1"}}
    assert "are one key" in static(site, clash)["W007"].message
    # Another version is another key, until somebody asks for that version.
    assert "W007" in static(site, {"default": site.cache, "other": {**site.cache, "VERSION": 2}})


UPDATE, FETCH = "django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"


CACHE_SESSIONS = {
    "INSTALLED_APPS": ["pantler.django", "django.contrib.sessions"],
    "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
}


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"MIDDLEWARE": [UPDATE, FETCH]}, None),
        ({"MIDDLEWARE": [UPDATE, SESSION, FETCH]}, None),
        ({"MIDDLEWARE": [UPDATE]}, "W009"),
        ({"MIDDLEWARE": [FETCH]}, "W009"),
        ({"MIDDLEWARE": [FETCH, UPDATE]}, "E009"),
        ({"MIDDLEWARE": [SESSION, UPDATE, FETCH]}, "W011"),
        ({"MIDDLEWARE": [UPDATE, FETCH, SESSION]}, "W011"),
        ({"MIDDLEWARE": [UPDATE, FETCH], "CACHE_MIDDLEWARE_SECONDS": 0}, "W010"),
        ({"MIDDLEWARE": [UPDATE, FETCH], "CACHE_MIDDLEWARE_SECONDS": "600"}, "E008"),
        ({"CACHE_MIDDLEWARE_ALIAS": "pages"}, "E007"),
        (CACHE_SESSIONS, "I005"),
        ({**CACHE_SESSIONS, "SESSION_CACHE_ALIAS": "sessions"}, "E006"),
        ({**CACHE_SESSIONS, "SESSION_ENGINE": "django.contrib.sessions.backends.cached_db"}, None),
        ({"INSTALLED_APPS": []}, "I001"),
    ],
)
def test_middleware_and_sessions(site: Site, settings: dict[str, Any], finding: str | None) -> None:
    assert list(static(site, **settings)) == ([finding] if finding else [])


# What the service says


def test_nobody_answers(site: Site) -> None:
    port = free_port()
    found = site.findings(site.with_settings(LOCATION=f"http://127.0.0.1:{port}/v1/namespaces/a"))
    assert str(port) in found["E010"]["message"] and "pantler serve" in found["E010"]["hint"]
    # One of two is away: the other goes on.
    both = f"http://127.0.0.1:{port}/v1/namespaces/{site.namespace},{site.location}"
    assert list(site.findings(site.with_settings(LOCATION=both))) == ["E010"]


def test_another_program_answers(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        threading.Thread(target=answer, daemon=True).start()
        found = site.findings(
            site.with_settings(LOCATION=f"http://127.0.0.1:{server.getsockname()[1]}/v1/namespaces/a")
        )
        assert "not Pantler" in found["E011"]["message"]
        server.shutdown(socket.SHUT_RDWR)


def _set_policy(site: Site, policy: dict[str, Any]) -> None:
    import urllib.request

    request = urllib.request.Request(
        site.location,
        json.dumps(policy).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request).close()


def test_what_never_expires_needs_a_bound(site: Site) -> None:
    assert "W013" in site.findings(site.with_settings(TIMEOUT=None))
    for policy in ({"max_ttl": 86400}, {"max_memory": 1_000_000}, {"max_entries": 1000}):
        _set_policy(site, policy)
        assert "W013" not in site.findings(site.with_settings(TIMEOUT=None)), policy
    _set_policy(site, {"max_ttl": 60})
    assert "I006" in site.findings(site.with_settings(TIMEOUT=300))


def test_sessions_in_a_namespace_of_durability_memory(site: Site) -> None:
    sessions = "INSTALLED_APPS += ['django.contrib.sessions']\nSESSION_ENGINE = 'django.contrib.sessions.backends.{}'"
    _set_policy(site, {"durability": "memory"})
    assert "logged out" in site.findings(None, sessions.format("cache"))["W014"]["message"]
    found = site.findings(None, sessions.format("cached_db"))
    assert "I007" in found and "W014" not in found
    _set_policy(site, {"durability": "behind", "max_ttl": 3600})
    assert list(site.findings(None, sessions.format("cache"))) == ["W015", "I005"]


def test_pickles_in_a_namespace_that_others_use(site: Site) -> None:
    code = (
        "from django.core.cache import cache; import datetime; cache.set('a', datetime.date(2026, 1, 1));"
        " cache.set('b', 1)"
    )
    site.write({"default": site.cache})
    subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {code}"],
        cwd=site.folder,
        check=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "site_settings"},
    )
    # A site alone may pickle.
    assert site.findings() == {}
    Client(site.location).set("orders/42", {"by": "a program in Go"})
    found = site.findings()
    assert list(found) == ["W016"] and "orders/42" in found["W016"]["message"] and "json" in found["W016"]["hint"]
    assert "W017" in site.findings(site.with_settings(KEY_PREFIX=""))


def test_another_site_in_the_same_place(site: Site) -> None:
    assert site.findings() == {}
    # The same site from other settings, a worker's say, is no other site.
    assert site.findings(None, "# of the workers") == {}
    found = site.findings(None, "SECRET_KEY = 'of another site'")
    assert list(found) == ["W018"] and "site_settings" in found["W018"]["message"]
    assert site.findings(site.with_settings(KEY_PREFIX="second"), "SECRET_KEY = 'of another site'") == {}


def test_a_move_is_shown_with_its_figures(site: Site) -> None:
    moving = {"BACKEND": "pantler.django.MigratingCache", "OPTIONS": {"OLD": "old", "IGNORE_EXCEPTIONS": True}}
    old = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(site.folder / "old")}
    caches = {**site.with_settings(**moving), "old": old}
    assert site.findings(caches) == {}
    totals = Client(site.location)
    for name, count in (("hits", 5000), ("old_hits", 2), ("misses", 100)):
        totals.incr(f"pantler.django:migration:site:old:{name}", count, initial=0)
    assert "2 were found in the old cache" in site.findings(caches)["I008"]["message"]
    assert "old hits 2" in site.run("check", "--settings", "site_settings").stdout
    memory = {**caches, "old": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert "nothing to move" in static(site, memory)["W006"].message


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service that asks for tokens, and one of each kind."""
    service = Service(tmp_path_factory.mktemp("guarded"))
    # The first tokens are made while it still asks for none.
    service.start()
    admin = Client(service.url)
    tokens: dict[str, str] = {}
    try:
        for name, wanted in {
            "write": {"role": "write", "namespaces": ["site"]},
            "read": {"role": "read", "namespaces": ["site"]},
            "elsewhere": {"role": "write", "namespaces": ["other-*"]},
            "all": {"role": "write", "namespaces": ["*"]},
        }.items():
            status, _, body = admin._pool.exchange(
                b"POST /v1/tokens HTTP/1.1\r\n",
                _json(wanted),
                safe=False,
            )
            assert status == 201, body
            tokens[name] = json.loads(body)["token"]
        service.stop()
        (service.folder / "pantler.yaml").write_text("server:\n  tokens: true\n")
        service._arguments = ("--config", str(service.folder / "pantler.yaml"))
        service.start()
        yield service, tokens
        service.stop()
    finally:
        service.kill()


def _json(value: Any) -> bytes:
    body = json.dumps(value).encode()
    return b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    ("token", "finding", "says"),
    [
        ("write", None, ""),
        ("all", None, ""),
        ("read", "E013", "may read"),
        ("elsewhere", "E013", "other-*"),
        ("wrong", "E012", "refuses the token"),
        (None, "E012", "there is none"),
    ],
)
def test_tokens(
    guarded: tuple[Service, dict[str, str]], tmp_path: Path, token: str | None, finding: str | None, says: str
) -> None:
    service, tokens = guarded
    site = Site(tmp_path, service.url)
    options = {"IGNORE_EXCEPTIONS": True}
    if token is not None:
        options["TOKEN"] = tokens.get(token, "pt_abcdefgh_" + "A" * 43)
    found = site.findings(site.with_settings(LOCATION=f"{service.url}/v1/namespaces/site", OPTIONS=options))
    assert list(found) == ([finding] if finding else []), found
    if finding:
        assert says in found[finding]["message"]
    # A secret is nobody's to read who reads a report.
    assert options.get("TOKEN", "pt_")[12:] not in json.dumps(found) or token is None


def test_the_system_checks_are_the_same_findings_without_network(site: Site) -> None:
    def system_check(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "django", "check", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=site.folder,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "site_settings"},
        )
        return done.stdout + done.stderr

    site.write(site.with_settings(TIMEOUT=0, LOCATION="http://127.0.0.1:9/v1/namespaces/a", OPTIONS={}))
    said = system_check()
    assert "pantler.W001" in said and "HINT" in said and "pantler.W002" not in said and "pantler.E010" not in said
    assert "pantler.W002" in system_check("--deploy")
    site.write({"default": site.cache})
    assert "no issues" in system_check()


def test_the_settings_of_the_folders_manage_py_need_no_name(site: Site) -> None:
    site.write(site.with_settings())
    assert site.run("check").returncode == 2
    for line in (
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")',
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'site_settings'",
    ):
        (site.folder / "manage.py").write_text(f"raise SystemExit('not to be run')\n{line}\n")
        done = site.run("check")
        assert done.returncode == 0, done.stdout + done.stderr
    # What is said is before what is found.
    assert "nowhere" in site.run("check", "--settings", "nowhere").stdout
    assert "nowhere" in site.run("check", DJANGO_SETTINGS_MODULE="nowhere").stdout


def test_what_is_for_the_check_alone_is_not_offered(site: Site) -> None:
    said = site.run("--help").stdout
    assert "check" in said and "key-of-another-process" not in said
