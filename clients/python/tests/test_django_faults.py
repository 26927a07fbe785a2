"""
A site whose cache goes away: what is ignored, what is logged, and that it comes back by itself. With forks, and with
coroutines that are cancelled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shelf
from conftest import Service, free_port
from test_django_pages import Server, runs, urls


@pytest.fixture(scope="module", autouse=True)
def site(service: str) -> None:
    shelf.ready(service)


def cache_at(location: str, **options: Any) -> Any:
    from pantler.django import PantlerCache

    return PantlerCache(location, {"OPTIONS": options})


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    """The first line of each test is written at once."""
    from pantler.django import _service

    for one in _service._services.values():
        one.faults._next_line = 0.0


@pytest.fixture
def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}/v1/namespaces/away"


class Mute:
    """A server that takes connections and never says a word."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.location = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1/namespaces/mute"
        self.taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join()
        for one in self.taken:
            one.close()


@pytest.fixture
def mute() -> Iterator[Mute]:
    server = Mute()
    yield server
    server.close()


# Each call, and what it answers where the service is away and that is ignored: what an empty cache says that keeps
# nothing.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("get", ("k",), {}, None),
    ("get", ("k", "default"), {}, "default"),
    ("set", ("k", 1), {}, False),
    ("set", ("k", 1), {"nx": True}, False),
    ("add", ("k", 1), {}, False),
    ("touch", ("k",), {}, False),
    ("delete", ("k",), {}, False),
    ("get_many", (["k"],), {}, {}),
    ("set_many", ({"k": 1, 2: 3},), {}, ["k", 2]),
    ("delete_many", (["k"],), {}, None),
    ("has_key", ("k",), {}, False),
    ("clear", (), {}, None),
    ("incr", ("k",), {}, None),
    ("decr", ("k",), {}, None),
    ("incr_version", ("k",), {}, None),
    ("decr_version", ("k",), {"version": 2}, None),
    ("get_or_set", ("k", lambda: 5), {}, 5),
    ("get_or_set", ("k", 5), {}, 5),
    ("ttl", ("k",), {}, 0),
    ("pttl", ("k",), {}, 0),
    ("expire", ("k", 5), {}, False),
    ("pexpire", ("k", 5), {}, False),
    ("expire_at", ("k", 2_000_000_000), {}, False),
    ("pexpire_at", ("k", 2_000_000_000_000), {}, False),
    ("persist", ("k",), {}, False),
    ("keys", ("*",), {}, []),
    ("delete_pattern", ("*",), {}, 0),
    ("delete_pattern", ("*a",), {}, 0),
    ("close", (), {}, None),
]


@pytest.mark.parametrize(("name", "arguments", "more", "answer"), CALLS)
def test_a_service_that_is_away_is_an_empty_cache(
    nowhere: str, name: str, arguments: Any, more: Any, answer: Any
) -> None:
    cache = cache_at(nowhere, IGNORE_EXCEPTIONS=True)
    assert getattr(cache, name)(*arguments, **more) == answer
    assert asyncio.run(getattr(cache, "a" + name)(*arguments, **more)) == answer


def test_iterators_and_membership_too(nowhere: str) -> None:
    cache = cache_at(nowhere, IGNORE_EXCEPTIONS=True)
    assert list(cache.iter_keys("*")) == []
    assert "k" not in cache

    async def collected() -> list[str]:
        return [key async for key in cache.aiter_keys("*")]

    assert asyncio.run(collected()) == []


@pytest.mark.parametrize(("name", "arguments", "more", "answer"), CALLS)
def test_without_the_option_it_raises(nowhere: str, name: str, arguments: Any, more: Any, answer: Any) -> None:
    from pantler import PantlerError

    cache = cache_at(nowhere)
    if name in ("close", "get_or_set"):
        # What can be answered without the service is.
        assert getattr(cache, name)(*arguments, **more) == answer
        assert asyncio.run(getattr(cache, "a" + name)(*arguments, **more)) == answer
        return
    with pytest.raises(PantlerError):
        getattr(cache, name)(*arguments, **more)
    with pytest.raises(PantlerError):
        asyncio.run(getattr(cache, "a" + name)(*arguments, **more))


def test_mistakes_of_the_program_are_not_ignored(service: str) -> None:
    cache = cache_at(f"{service}/v1/namespaces/mistakes-{os.getpid()}", IGNORE_EXCEPTIONS=True)
    with pytest.raises(ValueError, match="none"):
        cache.incr("none")
    cache.set("text", "x")
    with pytest.raises(TypeError):
        cache.incr("text")
    cache.clear()


class Moved:
    pass


def test_a_pickle_that_can_no_longer_be_read_is_a_miss_where_errors_are_ignored(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pantler import SerializationError

    location = f"{service}/v1/namespaces/moved-{os.getpid()}"
    cache = cache_at(location, IGNORE_EXCEPTIONS=True)
    cache.set_many({"k": Moved(), "template.cache.k": Moved()})
    monkeypatch.delattr(sys.modules[__name__], "Moved")
    for key in ("k", "template.cache.k"):
        assert cache.get(key, "default") == "default"
        assert asyncio.run(cache.aget(key, "default")) == "default"
        with pytest.raises(SerializationError):
            cache_at(location).get(key)
    assert cache.get_many(["k"]) == {}
    assert cache_at(location).get_or_set("k", lambda: "new") == "new"
    assert cache.get("k") == "new"
    cache.clear()


def test_the_log_has_the_first_and_then_a_line_a_second(
    nowhere: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pantler.django import _faults

    now = 1000.0
    monkeypatch.setattr(_faults.time, "monotonic", lambda: now)
    cache = cache_at(nowhere, IGNORE_EXCEPTIONS=True, TIMEOUT=1.25)
    with caplog.at_level(logging.DEBUG, "pantler.django"):
        for _ in range(500):
            cache.get("k")
        assert len(caplog.records) == 1
        assert caplog.records[0].levelno == logging.ERROR and caplog.records[0].exc_info is not None
        assert "get" in caplog.text and nowhere.split("/")[2] in caplog.text
        now += 1.01
        for _ in range(3):
            cache.set("k", 1)
        assert len(caplog.records) == 2
        assert "499 more" in caplog.records[1].getMessage()
        now += 1.01
        cache.get("k")
        assert "2 more" in caplog.records[2].getMessage()


def test_nothing_is_logged_or_ignored_without_the_option(nowhere: str, caplog: pytest.LogCaptureFixture) -> None:
    from pantler import Unavailable

    with caplog.at_level(logging.DEBUG, "pantler.django"), pytest.raises(Unavailable):
        cache_at(nowhere).get("k")
    assert caplog.records == []


def test_a_mute_server_costs_a_page_little_more_than_its_timeout(mute: Mute) -> None:
    cache = cache_at(mute.location, IGNORE_EXCEPTIONS=True, TIMEOUT=0.2)
    began = time.monotonic()
    for _ in range(50):
        assert cache.get("k", "default") == "default"
    # Fifty timeouts would be ten seconds.
    assert time.monotonic() - began < 3

    async def page() -> None:
        for _ in range(50):
            assert await cache.aget("k", "default") == "default"

    began = time.monotonic()
    asyncio.run(page())
    assert time.monotonic() - began < 3


def test_the_service_killed_and_started_again_under_a_running_site(tmp_path: Path) -> None:
    from django.test import override_settings

    own = Service(tmp_path)
    own.start()
    runs.clear()
    settings: dict[str, Any] = {
        "CACHES": {
            "default": {
                "BACKEND": "pantler.django.PantlerCache",
                "LOCATION": f"{own.url}/v1/namespaces/site",
                "OPTIONS": {"IGNORE_EXCEPTIONS": True, "TIMEOUT": 1, "CONNECT_TIMEOUT": 0.3},
            }
        },
        "ROOT_URLCONF": urls,
        "MIDDLEWARE": [],
        "ALLOWED_HOSTS": ["*"],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"builtins": ["django.templatetags.cache"]},
            }
        ],
    }
    try:
        with override_settings(**settings):
            server = Server()
            stop = threading.Event()
            seen: list[tuple[int, bytes]] = []

            def visitor() -> None:
                while not stop.is_set():
                    seen.append(server.get("/rendered_later/"))

            visitors = [threading.Thread(target=visitor) for _ in range(4)]
            for one in visitors:
                one.start()

            def wait_for_hits() -> None:
                """Until twenty pages in a row were none of the view's."""
                deadline = time.monotonic() + 20
                while True:
                    before, made = len(seen), runs["rendered_later"]
                    while len(seen) < before + 20:
                        assert time.monotonic() < deadline
                        time.sleep(0.01)
                    if runs["rendered_later"] == made:
                        return

            try:
                wait_for_hits()
                for _ in range(3):
                    own.kill()
                    made = runs["rendered_later"]
                    while runs["rendered_later"] < made + 20:
                        time.sleep(0.01)
                    own.start()
                    wait_for_hits()
            finally:
                stop.set()
                for one in visitors:
                    one.join()
                server.close()
            assert {status for status, _ in seen} == {200}
    finally:
        own.kill()


def test_the_service_killed_under_coroutines(tmp_path: Path) -> None:
    own = Service(tmp_path)
    own.start()
    cache = cache_at(f"{own.url}/v1/namespaces/site", IGNORE_EXCEPTIONS=True, TIMEOUT=1)

    async def run() -> None:
        assert await cache.aset("k", "value")
        asked = 0
        stop = False

        async def ask() -> None:
            nonlocal asked
            while not stop:
                assert await cache.aget("k", "default") in ("value", "default")
                asked += 1
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(ask()) for _ in range(10)]
        while asked < 100:
            await asyncio.sleep(0.01)
        own.kill()
        before = asked
        while asked < before + 100:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(own.start)
        while not await cache.aset("k", "value"):
            await asyncio.sleep(0.05)
        assert await cache.aget("k") == "value"
        stop = True
        await asyncio.gather(*tasks)

    try:
        asyncio.run(run())
    finally:
        own.kill()


def test_a_thousand_cancelled_requests_and_no_answer_of_another_key(service: str) -> None:
    cache = cache_at(f"{service}/v1/namespaces/cancelled-{os.getpid()}")
    keys = [f"k{number}" for number in range(50)]

    async def run() -> int:
        await cache.aset_many({key: f"value of {key}" * 20 for key in keys})
        luck = random.Random(17)
        cancelled = 0
        wrong: list[Any] = []

        async def ask() -> None:
            key = luck.choice(keys)
            try:
                value = await cache.aget(key)
                if value != f"value of {key}" * 20:
                    wrong.append((key, value))
                some = luck.sample(keys, 3)
                if await cache.aget_many(some) != {key: f"value of {key}" * 20 for key in some}:
                    wrong.append(some)
                await cache.aget("template.cache." + key)
                await cache.aget_or_set("made" + key, "x", 60)
            finally:
                # As Django does at the end of a request.
                await cache.aclose()

        while cancelled < 1000:
            tasks = [asyncio.ensure_future(ask()) for _ in range(50)]
            for _ in range(luck.randrange(12)):
                await asyncio.sleep(0)
            await asyncio.sleep(luck.random() / 200)
            for task in tasks:
                if luck.random() < 0.8:
                    task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled += sum(isinstance(one, asyncio.CancelledError) for one in done)
            assert [one for one in done if one is not None and not isinstance(one, asyncio.CancelledError)] == []
        assert wrong == []
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=20)
        return cancelled

    assert asyncio.run(run()) >= 1000
    deadline = time.monotonic() + 5
    while True:
        with urllib.request.urlopen(f"{service}/v1/namespaces/cancelled-{os.getpid()}/leases", timeout=10) as answer:
            out = json.load(answer)["leases"]
        if not out:
            break
        assert time.monotonic() < deadline, out
        time.sleep(0.05)
    cache.clear()


APPLICATION = """
import os
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[],
    CACHES={"default": {"BACKEND": "pantler.django.PantlerCache", "LOCATION": os.environ["LOCATION"]}},
)
django.setup()

from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_page

# Before the fork: connections, and a lease, that are the parent's.
cache.set("of the parent".replace(" ", "-"), os.getpid())
assert cache.get("of-the-parent") == os.getpid()
cache.get("template.cache.of-the-parent")


def echo(request, key):
    cache.set(key, f"value of {key}")
    found = cache.get(key), cache.get_many([key, "of-the-parent"])
    right = found[0] == f"value of {key}" and found[1][key] == found[0] and found[1]["of-the-parent"] == os.getppid()
    return HttpResponse(f"{os.getpid()} {right}")


@cache_page(60)
def page(request):
    import time

    time.sleep(0.5)
    return HttpResponse(f"made by {os.getpid()} at {time.time_ns()}")


urlpatterns = [path("echo/<str:key>/", echo), path("page/", page)]
application = WSGIHandler()
"""


def test_gunicorn_with_preload_and_several_workers(service: str, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    import pantler

    (tmp_path / "forked_site.py").write_text(APPLICATION)
    port = free_port()
    environment = {
        **os.environ,
        "LOCATION": f"{service}/v1/namespaces/forked-{os.getpid()}",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(pantler.__file__).parents[1])]),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "--preload",
                "--workers",
                "3",
                "--threads",
                "4",
                "--bind",
                f"127.0.0.1:{port}",
                "forked_site:application",
            ],
            env=environment,
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/echo/first/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)

        def get(path: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
                return str(answer.read().decode())

        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda number: get(f"echo/k{number}/"), range(300)))
            pages = {one for one in threads.map(lambda _: get("page/"), range(12))}
        assert {answer.split()[1] for answer in answers} == {"True"}, log.read_text()
        assert len({answer.split()[0] for answer in answers}) == 3
        assert len(pages) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()
