"""Flask-Caching and Flask-Session on the backend for cachelib."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from flask_caching import Cache
from flask_session import Session
from third_party import run, sources

from pantler.cachelib import PantlerCache

HERE = Path(__file__).resolve().parent
_numbers = itertools.count()


@pytest.fixture
def url(service: str) -> str:
    return f"{service}/v1/namespaces/flask-{next(_numbers)}"


def caching(url: str, **config: Any) -> tuple[Flask, Cache]:
    app = Flask(__name__)
    app.config.update(CACHE_TYPE="pantler.cachelib.PantlerCache", CACHE_ARGS=[url], CACHE_DEFAULT_TIMEOUT=60, **config)
    return app, Cache(app)


def test_flask_caching_takes_it_by_its_dotted_path(url: str) -> None:
    app, cache = caching(url, CACHE_OPTIONS={"key_prefix": "site:", "serializer": "json", "timeout": 5})
    assert isinstance(cache.cache, PantlerCache)
    cache.set("k", {"a": 1})
    assert cache.get("k") == {"a": 1}
    left = cache.cache.client.ttl("site:k")
    assert left is not None and 50 < left <= 60


def test_a_cached_view_is_called_once(url: str) -> None:
    app, cache = caching(url)
    calls: list[str] = []

    @app.route("/<name>")
    @cache.cached(timeout=30, query_string=True)
    def view(name: str) -> str:
        calls.append(name)
        return f"Hello {name} {len(calls)}"

    client = app.test_client()
    first = client.get("/a?x=1").data
    assert client.get("/a?x=1").data == first
    assert client.get("/a?x=2").data != first
    assert calls == ["a", "a"]
    cache.clear()
    assert client.get("/a?x=1").data != first


def test_memoize_keeps_and_forgets(url: str) -> None:
    app, cache = caching(url)
    calls: list[Any] = []

    @cache.memoize(30)
    def add(a: int, b: int = 2) -> tuple[int, int]:
        calls.append((a, b))
        return a + b, len(calls)

    with app.test_request_context():
        assert add(1) == add(1, 2) == add(1, b=2) == (3, 1)
        assert add(2) == (4, 2)
        cache.delete_memoized(add, 1)
        assert add(1) == (3, 3)
        assert add(2) == (4, 2)
        cache.delete_memoized(add)
        assert add(2) == (4, 4)


def test_the_factory_of_its_own_backends_works_too(url: str) -> None:
    made = PantlerCache.factory(None, {"CACHE_PANTLER_URL": url, "CACHE_KEY_PREFIX": "p:"}, [], {"default_timeout": 7})
    made.set("k", 1)
    left = made.client.ttl("p:k")
    assert left is not None and 5 < left <= 7


def test_flask_session_keeps_sessions_in_it(url: str) -> None:
    app = Flask(__name__)
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=PantlerCache(url), SESSION_PERMANENT=True, PERMANENT_SESSION_LIFETIME=100)
    Session(app)

    @app.route("/add/<item>")
    def add(item: str) -> str:
        session["items"] = session.get("items", ()) + (item,)
        return ""

    @app.route("/show")
    def show(name: str = "") -> Any:
        return {"items": session.get("items"), "kind": type(session.get("items")).__name__}

    @app.route("/leave")
    def leave() -> str:
        session.clear()
        return ""

    one, other = app.test_client(), app.test_client()
    one.get("/add/a")
    one.get("/add/b")
    other.get("/add/c")
    assert one.get("/show").json == {"items": ["a", "b"], "kind": "tuple"}
    assert other.get("/show").json == {"items": ["c"], "kind": "tuple"}
    store = PantlerCache(url).client
    keys = list(store.iter_keys("session:"))
    assert len(keys) == 2
    left = store.ttl(keys[0])
    assert left is not None and 90 < left <= 100
    one.get("/leave")
    assert one.get("/show").json == {"items": None, "kind": "NoneType"}


def test_flask_cachings_own_tests_pass(service: str, tmp_path: Path) -> None:
    tests = sources("Flask-Caching") / "tests"
    assert run(tests, HERE / "third_party/of_flask_caching.py", tmp_path / "tests", service, "-p", "test_pantler", *OF_FLASK_CACHING) >= 50


# Those that ask what a cache does, not which one it is.
OF_FLASK_CACHING = ["test_view.py", "test_memoize.py", "test_templates.py", "test_cache.py"]
