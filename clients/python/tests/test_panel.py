"""django-debug-toolbar: its own cache panel shows our calls, and ours what became of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("debug_toolbar")

#: The site runs in a process of its own: the toolbar changes Django for good.
SITE = """
import os, sys
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path

settings.configure(
    DEBUG=True, SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, INTERNAL_IPS=["127.0.0.1"],
    STATIC_URL="static/",
    INSTALLED_APPS=["django.contrib.staticfiles", "debug_toolbar", "pantler.django"],
    MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    CACHES={"default": {
        "BACKEND": "pantler.django.PantlerCache", "LOCATION": sys.argv[1], "OPTIONS": {"IGNORE_EXCEPTIONS": True},
    }},
    DEBUG_TOOLBAR_PANELS=["debug_toolbar.panels.cache.CachePanel", "pantler.django.panel.PantlerPanel"],
    DEBUG_TOOLBAR_CONFIG={"SHOW_TOOLBAR_CALLBACK": lambda request: True, "IS_RUNNING_TESTS": False},
)
django.setup()
import warnings
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.test import AsyncClient, Client
from django.views.decorators.cache import cache_page
from debug_toolbar.toolbar import DebugToolbar

caught = []
made = DebugToolbar.__init__
def remember(self, *arguments, **named):
    made(self, *arguments, **named)
    caught.append(self)
DebugToolbar.__init__ = remember

def page(text):
    return HttpResponse(f"<html><body>{text}</body></html>")

def plain(request):
    cache.get("missing")
    cache.set("there", 1, 60)
    cache.get("there")
    cache.get("there")
    cache.get_many(["there", "missing"])
    return page("plain")

def leased(request):
    return page(cache.get_or_set("loaded", lambda: 5, 60))

@cache_page(60)
def kept(request):
    return page("kept")

async def coroutine(request):
    await cache.aset("there", 1, 60)
    await cache.aget("there")
    await sync_to_async(cache.get)("there")
    return page("coroutine")

urlpatterns = [
    path("plain", plain), path("leased", leased), path("kept", kept), path("coroutine", coroutine),
    path("__debug__/", include("debug_toolbar.urls")),
]

def stats(toolbar, name):
    return next(panel for panel in toolbar.panels if panel.panel_id == name)
"""


def run(service: str, code: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SITE + textwrap.dedent(code),
            f"{service}/v1/namespaces/panel-{os.getpid()}-{os.urandom(4).hex()}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_its_own_cache_panel_shows_our_calls(service: str) -> None:
    found = json.loads(
        run(
            service,
            """
        import json
        Client().get("/plain")
        given = stats(caught[-1], "CachePanel").get_stats()
        print(json.dumps({
            "names": [call["name"] for call in given["calls"]], "hits": given["hits"], "misses": given["misses"],
            "backend": given["calls"][0]["backend"],
        }))
    """,
        )
    )
    assert found == {
        "names": ["get", "set", "get", "get", "get_many"],
        "hits": 3,
        "misses": 2,
        "backend": "default (PantlerCache)",
    }


def test_ours_shows_hits_tiers_reasons_and_times(service: str) -> None:
    lines = run(
        service,
        """
        import json
        Client().get("/plain")
        panel = stats(caught[-1], "PantlerPanel")
        print(json.dumps(panel.get_stats()))
        print(panel.nav_subtitle)
        print(panel.content.replace(chr(10), " "))
        print(json.dumps(panel.get_server_timing_stats()))
    """,
    ).splitlines()
    found = json.loads(lines[0])
    assert (found["calls"], found["hits"], found["misses"], found["batches"], found["failed"]) == (5, 2, 1, 1, 0)
    assert found["tiers"] == [["memory", 2]] and found["reasons"] == [["absent", "never seen", 1]]
    assert round(found["hit_ratio"], 1) == 66.7 and 0 < found["spent_ms"] < 1000
    # Nothing was loaded by lease yet, so nobody knows what a load takes.
    assert found["saved_ms"] is None
    assert [call["key"] for call in found["shown"]][:2] == [":1:missing", ":1:there"]
    assert lines[1].startswith("5 calls in ") and lines[1].endswith("67 % hits")
    assert (
        "miss: never seen" in lines[2] and ":1:there" in lines[2] and "unknown" in lines[2] and "1 batch," in lines[2]
    )
    assert "pantler" in json.loads(lines[3])


def test_the_time_saved_is_that_of_the_loads_which_the_service_has_measured(service: str) -> None:
    found = [
        json.loads(line)
        for line in run(
            service,
            """
        import json
        for url in ("/leased", "/leased", "/kept", "/kept"):
            Client().get(url)
            print(json.dumps(stats(caught[-1], "PantlerPanel").get_stats()))
    """,
        ).splitlines()
    ]
    first, second, page, again = found
    assert (first["hits"], first["misses"]) == (0, 1), first["shown"]
    assert first["saved_ms"] == 0
    assert (
        (second["hits"], second["misses"]) == (1, 0) and second["saved_ms"] is not None and second["hit_ratio"] == 100
    )
    # Django's own decorator: the list of headers and the page, each a miss and then each a hit.
    assert page["misses"] >= 1 and page["hits"] == 0
    assert again["hits"] == 2 and again["misses"] == 0
    assert {call["view"] for call in page["shown"]} >= {"value", "lease"}


def test_coroutines_are_seen_and_other_requests_are_not(service: str) -> None:
    found = [
        json.loads(line)
        for line in run(
            service,
            """
        import asyncio, json
        async def ask():
            await asyncio.gather(AsyncClient().get("/coroutine"), AsyncClient().get("/coroutine"))
            await cache.async_client.close() if asyncio.iscoroutinefunction(cache.async_client.close) else None
        asyncio.run(ask())
        for toolbar in caught:
            print(json.dumps(stats(toolbar, "PantlerPanel").get_stats()))
        before = len(caught)
        cache.get("outside of any request")
        print(json.dumps(len(caught) - before))
    """,
        ).splitlines()
    ]
    assert [(each["calls"], each["hits"]) for each in found[:2]] == [(3, 2), (3, 2)]
    assert found[2] == 0


def test_a_service_that_is_away_is_shown_and_breaks_nothing() -> None:
    lines = run(
        "http://127.0.0.1:9",
        """
        import json
        print(Client().get("/plain").status_code)
        panel = stats(caught[-1], "PantlerPanel")
        print(json.dumps(panel.get_stats()))
        print(panel.content.replace(chr(10), " "))
    """,
    ).splitlines()
    assert lines[0] == "200"
    found = json.loads(lines[1])
    assert found["failed"] == found["calls"] > 0 and found["hit_ratio"] is None
    assert "failed" in lines[2]


def test_a_look_that_counts_nowhere_is_neither_hit_nor_miss(service: str) -> None:
    said = json.loads(
        run(
            service,
            """
        import json
        from pantler import Observation
        from pantler.django.panel import summary
        def asked(method, target, said):
            return Observation(method, "/v1/namespaces/a/" + target, 200, said and said.encode(), 0.001, None)
        print(json.dumps(summary([
            asked("GET", "entries/k?peek", "pantler; hit; detail=memory"),
            asked("GET", "values/k", "pantler; fwd=uri-miss; detail=evicted"),
            asked("POST", "leases/k?peek", "pantler; fwd=uri-miss; detail=evicted"),
            asked("GET", "value?key=b%20b", "pantler; fwd=stale; detail=expired"),
            asked("POST", "lease?key=b%20b&peek", "pantler; hit; ttl=5; detail=memory"),
            asked("GET", "values/c", "pantler; hit; ttl=-4; detail=stale"),
            asked("GET", "values/d", "pantler; hit; ttl=4; detail=absent"),
            asked("POST", "batch/get", None),
            asked("PUT", "values/k", None),
        ], {"a": 0.5})))
    """,
        )
    )
    assert (said["hits"], said["misses"], said["waited"], said["stale"], said["absent"], said["batches"]) == (
        1,
        2,
        1,
        1,
        1,
        1,
    )
    assert said["reasons"] == [["evicted", "made room for others", 1], ["expired", "its time was over", 1]] and said[
        "tiers"
    ] == [["stale", 1]]
    assert said["saved_ms"] == 500 and said["shown"][3]["key"] == "b b"


def test_what_a_key_says_is_shown_as_text(service: str) -> None:
    content = run(
        service,
        """
        from pantler.django.panel import PantlerPanel, summary, _template
        from pantler import Observation
        from django.template import Context
        target = "/v1/namespaces/a/value?key=%3Cscript%3E"
        asked = Observation("GET", target, 200, b"pantler; hit; detail=memory", 0.001, None)
        print(_template().render(Context(summary([asked], {"a": 0.5}))))
    """,
    )
    assert "<script>" not in content and "&lt;script&gt;" in content and "500.0 ms" in content
