"""The example site against the real service, and with the other caches that it runs with."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import free_port
from test_migrating import servers  # noqa: F401 (a fixture)

EXAMPLE = Path(__file__).resolve().parents[1] / "example"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded once, and copied for each site."""
    path = tmp_path_factory.mktemp("example") / "seeded.sqlite3"
    environment = {**os.environ, "EXAMPLE_DATABASE": str(path), "CACHE": "dummy"}
    for command in (["migrate", "--verbosity=0"], ["seed", "--scale=0.02"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=EXAMPLE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
    # Again it does nothing.
    done = subprocess.run(
        [sys.executable, "manage.py", "seed"], cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "already" in done.stdout
    subprocess.run(
        [
            sys.executable,
            "-c",
            (
                f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('PRAGMA wal_checkpoint(TRUNCATE)');"
                " c.close()"
            ),
        ],
        check=True,
    )
    return path


class Site:
    """The site under gunicorn, as its README starts it."""

    def __init__(self, folder: Path, database: Path, cache: str, workers: int = 2, **environment: str) -> None:
        self.port = free_port()
        copy = folder / "example.sqlite3"
        copy.write_bytes(database.read_bytes())
        self.environment = {
            **os.environ,
            "CACHE": cache,
            "EXAMPLE_DATABASE": str(copy),
            "EXAMPLE_METER": str(folder / "meter"),
            "EXAMPLE_CACHE_FOLDER": str(folder / "cache"),
            **environment,
        }
        if cache == "database":
            subprocess.run(
                [sys.executable, "manage.py", "createcachetable"], cwd=EXAMPLE, env=self.environment, check=True
            )
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "--workers",
                str(workers),
                "--bind",
                f"127.0.0.1:{self.port}",
                "--preload",
                "--no-control-socket",
                "mysite.wsgi",
            ],
            cwd=EXAMPLE,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                assert self.process.stderr is not None
                assert self.process.poll() is None, self.process.stderr.read().decode()[-3000:]
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def get(self, path: str, **form: Any) -> tuple[str, int, dict[str, str]]:
        """The page, its queries, and hits/asked by level."""
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=60) as answer:
            levels = dict(part.split("=") for part in answer.headers["X-Levels"].split(", ") if part)
            return answer.read().decode(), int(answer.headers["X-Queries"]), levels

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()  # type: ignore[union-attr]


@pytest.fixture
def started(tmp_path: Path, database: Path) -> Iterator[Any]:
    sites: list[Site] = []

    def start(cache: str, **options: Any) -> Site:
        sites.append(Site(tmp_path, database, cache, **options))
        return sites[-1]

    yield start
    for site in sites:
        site.stop()


def test_a_run_counts_from_nothing(tmp_path: Path) -> None:
    counts, told, python = tmp_path / "counts", tmp_path / "told", tmp_path / "python"
    counts.mkdir()
    (counts / "1.counts").write_bytes(b"of a run with another cache")
    # In the place of an interpreter: takes down what it is called with, and the counters' folder.
    python.write_text(f'#!/bin/sh\necho "$EXAMPLE_METER $*" >> {told}\n')
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("EXAMPLE_METER", "CACHE")}
    environment |= {"PYTHON": str(python), "PORT": "8123"}
    subprocess.run([EXAMPLE / "run"], env={**environment, "EXAMPLE_METER": str(counts)}, check=True, timeout=60)
    assert list(counts.iterdir()) == []
    assert f"{counts} -m gunicorn --bind 127.0.0.1:8123" in told.read_text()
    subprocess.run([EXAMPLE / "run"], env=environment, check=True, timeout=60)
    assert f"{EXAMPLE}/counts/8123 -m gunicorn" in told.read_text()


PAGES = ("/", "/products/", "/products/?category=3", "/products/5/", "/blog/", "/blog/7/", "/leaderboard/")


def test_every_level_hits_and_a_change_is_seen_at_once_by_every_worker(started: Any, service: str) -> None:
    site = started("pantler", PANTLER_URL=f"{service}/v1/namespaces/example-{os.getpid()}")
    for path in PAGES:
        assert site.get(path)[1] > 0, path
    for _ in range(4):
        # Both workers.
        found = {path: site.get(path) for path in PAGES}
        assert {path: queries for path, (_, queries, _) in found.items()} == {
            **dict.fromkeys(PAGES, 0),
            "/products/5/": 1,
        }
    assert found["/"][2] == {"page": "1/1"} and found["/blog/"][2] == {"page": "1/1"}
    assert found["/products/"][2] == {"value": "1/1", "queryset": "1/1", "fragment": "1/1"}
    assert found["/products/5/"][2] == {"queryset": "1/1", "fragment": "1/1"} and found["/leaderboard/"][2] == {
        "value": "1/1"
    }

    # A score: the leaderboard's tag.
    assert ">1000000<" not in site.get("/leaderboard/")[0]
    site.get("/leaderboard/play/", player=7, points=1_000_000)
    for _ in range(4):
        assert ">1000000<" in site.get("/leaderboard/")[0]
    # A price: rows of products, and the product's fragment.
    site.get("/products/5/price/", price="1234.56")
    for _ in range(4):
        assert "1234.56" in site.get("/products/5/")[0]
    assert site.get("/products/")[2]["queryset"] == "0/1" and site.get("/products/")[2]["queryset"] == "1/1"
    # A comment: rows that were prefetched.
    site.get("/blog/7/comment/", text="well said")
    for _ in range(4):
        assert "well said" in site.get("/blog/7/")[0]


def test_the_page_about_caching_adds_up_all_workers(started: Any, service: str) -> None:
    site = started("pantler", PANTLER_URL=f"{service}/v1/namespaces/example-caching-{os.getpid()}")

    def shown() -> dict[str, tuple[int, int]]:
        text = site.get("/caching/")[0]
        rows = re.findall(r"<code>([^<]+)</code></td><td[^>]*>(\d+)</td><td[^>]*>(\d+)<", text)
        return {name: (int(hits), int(misses)) for name, hits, misses in rows}

    for _ in range(10):
        for path in PAGES:
            site.get(path)
    assert shown() == {
        "@cache_page": (18, 2),
        "{% cache %}": (38, 3),
        "cache.get, cache.set": (27, 3),
        "cached_queryset": (36, 8),
    }
    text = site.get("/caching/")[0]
    assert "70 requests" in text and "queries</strong>" in text and "pantler.django.PantlerCache" in text
    site.get("/caching/forget/", really="yes")
    assert set(shown().values()) == {(0, 0)}


@pytest.mark.parametrize("cache", ["dummy", "locmem", "database", "file", "memcached", "redis", "django-redis"])
def test_it_runs_with_the_other_caches(started: Any, cache: str, servers: dict[str, int]) -> None:  # noqa: F811
    environment = {}
    if cache == "memcached":
        if "memcached" not in servers:
            pytest.skip("memcached is not installed")
        environment["MEMCACHED"] = f"127.0.0.1:{servers['memcached']}"
    if "redis" in cache:
        if "redis-server" not in servers:
            pytest.skip("redis-server is not installed")
        if cache == "django-redis":
            pytest.importorskip("django_redis")
        environment["REDIS_URL"] = f"redis://127.0.0.1:{servers['redis-server']}/{2 if cache == 'redis' else 3}"
    # LocMem is each worker's own.
    site = started(cache, workers=1, **environment)
    for path in PAGES:
        assert site.get(path)[1] > 0, path
    for path in PAGES:
        queries = site.get(path)[1]
        if cache == "dummy":
            assert queries > 0
        elif cache == "database":
            # Each of which is a query of its own.
            assert queries > 0
        else:
            assert queries == (1 if path == "/products/5/" else 0), path
    site.get("/leaderboard/play/", player=7, points=1_000_000)
    assert ">1000000<" in site.get("/leaderboard/")[0]
    site.get("/products/5/price/", price="1234.56")
    assert "1234.56" in site.get("/products/5/")[0]
    site.get("/blog/7/comment/", text="well said")
    assert "well said" in site.get("/blog/7/")[0]


def test_wrong_input_is_refused(started: Any) -> None:
    site = started("dummy")
    for path, form in (
        ("/products/?page=x", {}),
        ("/products/?category=x", {}),
        ("/products/5/price/", {"price": "much"}),
        ("/products/5/price/", {"price": "NaN"}),
        ("/products/5/price/", {"price": "-1"}),
        ("/products/5/price/", {"price": "1e30"}),
        ("/leaderboard/play/", {"player": "1", "points": "-5"}),
        ("/leaderboard/play/", {"player": "x", "points": "5"}),
        ("/blog/7/comment/", {"text": " "}),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            site.get(path, **form)
        assert refused.value.code == 400, (path, form)
        refused.value.close()
    for path, form in (
        ("/blog/99999/", {}),
        ("/products/99999/", {}),
        ("/leaderboard/play/", {"player": "99999", "points": "5"}),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            site.get(path, **form)
        assert refused.value.code == 404, (path, form)
        refused.value.close()


def test_it_goes_on_without_its_cache(started: Any) -> None:
    site = started("pantler", PANTLER_URL="http://127.0.0.1:9/v1/namespaces/example")
    for _ in range(2):
        for path in PAGES:
            assert site.get(path)[1] > 0
    site.get("/leaderboard/play/", player=7, points=1_000_000)
    assert ">1000000<" in site.get("/leaderboard/")[0]


def test_its_settings_are_good(service: str, database: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pantler.django", "check", "--settings", "mysite.settings", "--output", "json"],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "CACHE": "pantler",
            "EXAMPLE_DATABASE": str(database),
            "PANTLER_URL": f"{service}/v1/namespaces/example-check",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["findings"] == []


def test_an_unknown_cache_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=EXAMPLE,
        env={**os.environ, "CACHE": "valkey"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "CACHE is one of pantler, locmem" in done.stderr
