"""
`MigratingCache`: what is found in the cache that a site had, how it is brought, and that nothing comes back from there
that has gone.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import shelf
from conftest import ROOT, free_port


@pytest.fixture(scope="module", autouse=True)
def site(service: str) -> None:
    shelf.ready(service)


def program(name: str) -> str | None:
    tools = ROOT / ".build/tools"
    return shutil.which(
        name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", str(tools / "usr/bin"), str(tools / "usr/sbin")])
    )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Redis and memcached, where they are installed."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    ports: dict[str, int] = {}
    tools = ROOT / ".build/tools"
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, tools.glob("usr/lib/*")))}
    folder = tmp_path_factory.mktemp("servers")
    for name in ("redis-server", "memcached"):
        found = program(name)
        if found is None:
            continue
        ports[name] = free_port()
        arguments = (
            ["--port", str(ports[name]), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
            if name == "redis-server"
            else ["-p", str(ports[name]), "-l", "127.0.0.1", "-u", "nobody"]
        )
        started[name] = subprocess.Popen(
            [found, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[name]), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{name} does not answer"
                time.sleep(0.02)
    yield ports
    for process in started.values():
        process.terminate()
        process.wait()


KINDS = ("locmem", "file", "database", "redis", "django-redis", "memcached")


def old_config(kind: str, folder: Path, servers: dict[str, int]) -> dict[str, Any]:
    if kind == "locmem":
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": f"old-{folder}"}
    if kind == "file":
        return {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(folder / "old")}
    if kind == "database":
        return {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "old_cache"}
    needed = "memcached" if kind == "memcached" else "redis-server"
    if needed not in servers:
        pytest.skip(f"{needed} is not installed")
    if kind == "memcached":
        return {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": f"127.0.0.1:{servers[needed]}",
        }
    if kind == "django-redis":
        pytest.importorskip("django_redis")
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{servers[needed]}/1"}
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{servers[needed]}/0",
    }


class Site:
    """The caches of a site in overlap. `new` is what it uses."""

    def __init__(self, kind: str, service: str, folder: Path, servers: dict[str, int], **options: Any) -> None:
        self.kind = kind
        namespace = f"moving-{os.getpid()}-{time.monotonic_ns()}"
        place = {"LOCATION": f"{service}/v1/namespaces/{namespace}", "KEY_PREFIX": "site"}
        self.config = {
            "default": {"BACKEND": "pantler.django.MigratingCache", **place, "OPTIONS": {"OLD": "old", **options}},
            "old": old_config(kind, folder, servers),
            # Pantler alone, under the same keys.
            "here": {"BACKEND": "pantler.django.PantlerCache", **place},
        }

    def __enter__(self) -> Site:
        from django.core.cache import caches
        from django.core.management import call_command
        from django.test import override_settings

        self.override = override_settings(CACHES=self.config)
        self.override.enable()
        try:
            if self.kind == "database":
                call_command("createcachetable", verbosity=0)
            self.new, self.old, self.here = caches["default"], caches["old"], caches["here"]
            self.old.clear()
        except BaseException:
            self.override.disable()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.old.clear()
        self.override.disable()


@pytest.fixture(params=KINDS)
def moving(request: pytest.FixtureRequest, service: str, tmp_path: Path, servers: dict[str, int]) -> Iterator[Site]:
    with Site(request.param, service, tmp_path, servers) as one:
        yield one


@pytest.fixture
def in_memory(service: str, tmp_path: Path) -> Iterator[Site]:
    with Site("locmem", service, tmp_path, {}) as one:
        yield one


def test_to_who_adds_what_is_stale_is_gone_from_both(in_memory: Site) -> None:
    new = in_memory.new
    new.set("lock", "first", 0.05, stale_ttl=60)
    time.sleep(0.1)
    assert new.add("lock", "second", 100) is True
    assert in_memory.here.get("lock") == in_memory.old.get("lock") == "second"
    assert new.add("lock", "third", 100) is False


def test_what_the_old_cache_has_is_found_and_brought_with_the_time_that_it_has_left(moving: Site) -> None:
    moving.old.set("a", {"x": (1, 2)}, 100)
    moving.old.set("ever", None, None)
    moving.old.set("number", 7, 100)
    assert moving.here.get("a") is None
    assert moving.new.get("a") == {"x": (1, 2)}
    assert moving.here.get("a") == {"x": (1, 2)}
    missing = object()
    assert moving.new.get("ever", missing) is None and moving.here.get("ever", missing) is None
    assert moving.new.get("nothing", missing) is missing
    if moving.kind == "memcached":
        # It cannot tell.
        assert 55 <= moving.here.ttl("a") <= 60 and 55 <= moving.here.ttl("ever") <= 60
    else:
        assert 97 <= moving.here.ttl("a") <= 100 and moving.here.ttl("ever") is None
    moving.old.delete("a")
    assert moving.new.get("a") == {"x": (1, 2)}
    assert moving.new.migration_stats() == {
        "hits": 1,
        "old_hits": 2,
        "misses": 1,
        "fills": 2,
        "overtaken": 0,
        "old_errors": 0,
    }


def test_many_at_once_are_found_in_both(moving: Site) -> None:
    moving.old.set_many({"a": 1, "b": 2, "both": "old"}, 100)
    moving.here.set_many({"c": 3, "both": "here"}, 100)
    assert moving.new.get_many(["a", "b", "c", "both", "nothing"]) == {"a": 1, "b": 2, "c": 3, "both": "here"}
    assert moving.here.get_many(["a", "b"]) == {"a": 1, "b": 2}
    stats = moving.new.migration_stats()
    assert (stats["hits"], stats["old_hits"], stats["misses"]) == (2, 2, 1)


def test_writes_and_deletes_reach_both(moving: Site) -> None:
    new, old, here = moving.new, moving.old, moving.here
    new.set("a", 1, 100)
    assert old.get("a") == here.get("a") == 1
    new.set_many({"b": 2, "c": 3}, 100)
    assert old.get_many(["b", "c"]) == here.get_many(["b", "c"]) == {"b": 2, "c": 3}
    assert new.delete("a") is True and old.get("a") is None and here.get("a") is None and new.get("a") is None
    assert new.delete("a") is False
    new.delete_many(["b", "c"])
    assert old.get_many(["b", "c"]) == {} and new.get_many(["b", "c"]) == {}
    new.set("d", 4, 100)
    new.set("d", 4, 0)
    assert old.get("d") is None and new.get("d") is None
    new.set("e", 5, 100)
    new.clear()
    assert old.get("e") is None and here.get("e") is None and new.get("e") is None
    assert new.get_or_set("f", lambda: 6, 100) == 6
    assert old.get("f") == here.get("f") == 6


def test_what_is_deleted_before_it_was_brought_does_not_come_back(moving: Site) -> None:
    moving.old.set_many({"a": 1, "b": 2, "c": 3, "d": 4}, 100)
    assert moving.new.delete("a") is True
    moving.new.delete_many(["b"])
    moving.new.set("c", 3, -1)
    moving.new.touch("d", 0)
    assert moving.new.get_many(["a", "b", "c", "d"]) == {}


def test_counting_adding_touching_and_asking_go_on_where_the_old_cache_was(moving: Site) -> None:
    new, old, here = moving.new, moving.old, moving.here
    old.set_many({"count": 41, "there": "old", "touched": "old"}, 100)
    assert new.incr("count") == 42 and here.get("count") == 42 and int(old.get("count")) == 42
    assert new.decr("count", 2) == 40 and int(old.get("count")) == 40
    with pytest.raises(ValueError):
        new.incr("nothing")
    assert new.add("there", "new") is False and new.get("there") == "old"
    assert new.add("fresh", "new", 100) is True and old.get("fresh") == "new"
    assert new.add("fresh", "newer") is False
    assert new.has_key("there") and "touched" in new and not new.has_key("nothing")
    assert new.touch("touched", 1000) is True and 990 <= here.ttl("touched") <= 1000
    assert new.touch("nothing", 1000) is False
    assert new.set("fresh", "third", 100, nx=True) is False and new.set("fresh", "third", 100, xx=True) is True
    assert old.get("fresh") == "third" and new.set("none", 1, 100, xx=True) is False and old.get("none") is None
    old.set("moved", "v", 100, version=1)
    assert new.incr_version("moved", version=1) == 2
    assert (
        new.get("moved", version=2) == "v"
        and new.get("moved", version=1) is None
        and old.get("moved", version=1) is None
    )


def test_the_times_of_djangos_own_calls_are_right_in_overlap(in_memory: Site) -> None:
    new, old = in_memory.new, in_memory.old
    old.set("a", 1, 100)
    assert 98 <= new.ttl("a") <= 100 and 98_000 <= new.pttl("a") <= 100_000 and new.ttl("nothing") == 0
    assert new.persist("a") is True and new.ttl("a") is None
    assert new.expire("a", 50) is True and 48 <= new.ttl("a") <= 50
    assert new.expire_at("a", time.time() + 200) is True and 198 <= new.ttl("a") <= 200
    assert 198 <= old._expire_info[old.make_key("a")] - time.time() <= 201


def test_an_entry_with_tags_does_not_come_back_when_they_are_invalidated(in_memory: Site) -> None:
    new, old = in_memory.new, in_memory.old
    old.set("a", "before the move", 100)
    new.set("a", "tagged", 100, tags=["t"])
    new.client.invalidate(tags=["t"])
    assert new.get("a") is None and old.get("a") is None
    # One that was brought before: the old cache has it still, and knows nothing of prefixes.
    old.set("b", "old", 100)
    assert new.get("b") == "old"
    new.client.invalidate(prefix=new.make_key("b"))
    assert new.get("b") is None and new.get_many(["b"]) == {} and not new.has_key("b")


def test_a_pattern_is_deleted_in_both_or_refused(service: str, tmp_path: Path, servers: dict[str, int]) -> None:
    with Site("locmem", service, tmp_path, servers) as one:
        with pytest.raises(NotImplementedError, match="delete_pattern"):
            one.new.delete_pattern("a*")
    with Site("django-redis", service, tmp_path, servers) as one:
        one.old.set_many({"a1": 1, "a2": 2, "b": 3}, 100)
        one.new.set("a3", 3)
        assert one.new.delete_pattern("a*") == 3
        assert one.new.get_many(["a1", "a2", "a3", "b"]) == {"b": 3}


class Slow:
    """Stops a thread in the midst of a read of the old cache, when it has the value already."""

    def __init__(self, old: Any, after: int) -> None:
        self.has_read, self.may_go_on = threading.Event(), threading.Event()
        self.count = 0
        get = old.get

        def slow(*arguments: Any, **named: Any) -> Any:
            value = get(*arguments, **named)
            self.count += 1
            if self.count == after:
                self.has_read.set()
                assert self.may_go_on.wait(20)
            return value

        old.get = slow


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("change", ["delete", "set", "delete_many", "clear", "expire"])
def test_a_fill_that_a_change_has_overtaken_does_not_land(in_memory: Site, after: int, change: str) -> None:
    """A reader has the old value in its hands, before or after it took the lease, while the key changes."""
    from django.core.cache import caches

    in_memory.old.set("a", "old", 100)

    def read() -> Any:
        slow = slows.setdefault("slow", Slow(caches["old"], after))
        started.set()
        assert slow.count == 0
        return caches["default"].get("a")

    slows: dict[str, Slow] = {}
    started = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(read)
        assert started.wait(20)
        slow = slows["slow"]
        assert slow.has_read.wait(20)
        {
            "delete": lambda: in_memory.new.delete("a"),
            "set": lambda: in_memory.new.set("a", "new", 100),
            "delete_many": lambda: in_memory.new.delete_many(["a"]),
            "clear": lambda: in_memory.new.clear(),
            "expire": lambda: in_memory.new.touch("a", 0),
        }[change]()
        slow.may_go_on.set()
        reader.result(20)
    assert in_memory.here.get("a") == ("new" if change == "set" else None)
    assert in_memory.new.get("a") == ("new" if change == "set" else None)


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("delete", lambda new: new.delete("a")),
        ("delete_many", lambda new: new.delete_many(["a"])),
        ("clear", lambda new: new.clear()),
        ("set", lambda new: new.set("a", "new", 100)),
        ("set_many", lambda new: new.set_many({"a": "new"}, 100)),
        ("delete", lambda new: new.touch("a", 0)),
        ("delete", lambda new: new.set("a", "new", 0)),
        ("delete", lambda new: new.set("a", "new", 100, tags=["t"])),
    ],
)
def test_a_reader_between_the_two_halves_of_a_change_brings_nothing_back(
    in_memory: Site, method: str, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.cache import caches

    in_memory.old.set("a", "old", 100)
    original = getattr(in_memory.old, method)

    def in_between(*arguments: Any, **named: Any) -> Any:
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(lambda: caches["default"].get("a")).result(20) == "old"
        return original(*arguments, **named)

    monkeypatch.setattr(in_memory.old, method, in_between)
    change(in_memory.new)
    monkeypatch.undo()
    assert in_memory.new.get("a") in (None, "new") and in_memory.here.get("a") in (None, "new")


def test_who_counts_waits_for_the_number_that_another_brings(in_memory: Site) -> None:
    from django.core.cache import caches

    in_memory.old.set("count", 100, 100)
    slows: list[Slow] = []
    started = threading.Event()

    def read() -> Any:
        slows.append(Slow(caches["old"], 2))
        started.set()
        return caches["default"].get("count")

    with ThreadPoolExecutor(2) as threads:
        reader = threads.submit(read)
        assert started.wait(20) and slows[0].has_read.wait(20)
        counter = threads.submit(lambda: caches["default"].incr("count"))
        # It asks, and is not answered while the other has the lease.
        time.sleep(0.2)
        assert not counter.done()
        slows[0].may_go_on.set()
        assert reader.result(20) == 100 and counter.result(20) == 101


def test_what_cannot_be_kept_here_counts_all_the_same(
    service: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Site("locmem", service, tmp_path, {}, SERIALIZER="json") as site:
        site.old.set("a", {1, 2}, 100)
        assert site.new.get("a") == {1, 2} and "stays in the old cache" in caplog.text
        assert site.new.has_key("a") and site.new.add("a", "new") is False and site.here.get("a") is None


def test_two_who_add_at_once_do_not_both_succeed(in_memory: Site) -> None:
    from django.core.cache import caches

    for number in range(30):
        together = threading.Barrier(4)

        def add(who: int, number: int = number, together: threading.Barrier = together) -> bool:
            cache = caches["default"]
            together.wait(20)
            return bool(cache.add(f"key-{number}", who, 100))

        with ThreadPoolExecutor(4) as threads:
            won = list(threads.map(add, range(4)))
        assert won.count(True) == 1
        assert in_memory.new.get(f"key-{number}") == in_memory.old.get(f"key-{number}") == won.index(True)


def test_counters_of_many_lose_nothing(in_memory: Site) -> None:
    from django.core.cache import caches

    in_memory.old.set("count", 100, None)
    together = threading.Barrier(8)

    def count(_: int) -> None:
        cache = caches["default"]
        together.wait(20)
        for _ in range(10):
            cache.incr("count")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))
    assert in_memory.new.get("count") == in_memory.old.get("count") == 180


def test_pages_and_fragments_come_from_the_old_cache_and_are_rendered_once(in_memory: Site) -> None:
    """Keys that are got by lease: the lease is taken for the old cache's value, or for the view."""
    from django.http import HttpRequest, HttpResponse
    from django.test import RequestFactory
    from django.views.decorators.cache import cache_page

    rendered: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        rendered.append(request.path)
        return HttpResponse(f"page {len(rendered)}")

    ask = RequestFactory().get("/a")
    assert cache_page(100, cache="old")(view)(ask).content == b"page 1"
    page = cache_page(100)(view)
    assert page(ask).content == b"page 1" and page(ask).content == b"page 1"
    in_memory.old.clear()
    assert page(ask).content == b"page 1"
    assert page(RequestFactory().get("/b")).content == b"page 2"
    assert page(RequestFactory().get("/b")).content == b"page 2"
    in_memory.new.close()
    assert rendered == ["/a", "/b"]


class Broken:
    """The old cache's server, gone."""

    def __init__(self, patch: pytest.MonkeyPatch, old: Any) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise ConnectionError("the old server is away")

        for method in ("get", "get_many", "set", "set_many", "delete", "delete_many", "touch", "incr", "clear", "add"):
            patch.setattr(old, method, fail)


def test_an_old_cache_that_is_away_raises_unless_that_is_ignored(
    service: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Site("locmem", service, tmp_path, {}) as strict, pytest.MonkeyPatch.context() as patch:
        Broken(patch, strict.old)
        for call in (
            lambda: strict.new.get("a"),
            lambda: strict.new.set("a", 1),
            lambda: strict.new.delete("a"),
            lambda: strict.new.get_many(["b"]),
        ):
            with pytest.raises(ConnectionError, match="old server"):
                call()
    with Site("locmem", service, tmp_path, {}, IGNORE_EXCEPTIONS=True) as site:
        site.old.set_many({"a": "old", "b": "old", "c": "old"}, 100)
        with pytest.MonkeyPatch.context() as patch:
            Broken(patch, site.old)
            assert site.new.get("nothing", 1) == 1
            assert site.new.delete("a") is False
            assert site.new.set("b", "new", 100) is True and site.new.get("b") == "new"
            site.new.delete_many(["c"])
        assert "old server is away" in caplog.text
        # It is back, with what it was not told of.
        assert site.new.get_many(["a", "b", "c"]) == {"b": "new"}
        site.here.delete("b")
        assert site.new.get("b") is None
        assert site.new.migration_stats()["old_errors"] >= 4
        # Another process asks the service, which was told.
        from pantler.django import migrating

        site.new._stats.missed.clear()
        assert site.new.get("a") is None
        assert migrating.MOST_MISSED


def test_a_clear_that_the_old_cache_has_missed_ends_the_belief_in_it(service: str, tmp_path: Path) -> None:
    with Site("locmem", service, tmp_path, {}, IGNORE_EXCEPTIONS=True) as site:
        site.old.set("a", "old", 100)
        with pytest.MonkeyPatch.context() as patch:
            Broken(patch, site.old)
            site.new.clear()
        assert site.new.get("a") is None
        site.new.clear()
        site.old.set("a", "by a process of the site as it was", 100)
        assert site.new.get("a") == "by a process of the site as it was"


def test_coroutines_see_the_same(moving: Site) -> None:
    moving.old.set_many({"a": 1, "b": 2, "count": 5, "gone": 1}, 100)

    async def go() -> None:
        from django.core.cache import caches

        new = caches["default"]
        assert await new.aget("a") == 1
        assert await new.aget_many(["a", "b", "nothing"]) == {"a": 1, "b": 2}
        assert await new.aincr("count") == 6
        assert await new.aadd("b", 3) is False
        assert await new.ahas_key("b") is True
        assert await new.adelete("gone") is True and await new.aget("gone") is None
        assert await new.aset("c", 3, 100) is True
        assert await new.aset_many({"d": 4}, 100) == []
        assert await new.atouch("d", 50) is True
        assert await new.aget_or_set("e", 5, 100) == 5
        assert 45 <= await new.attl("d") <= 50
        await new.adelete_many(["d"])
        assert await new.aget("d") is None
        await new.async_client.aclose() if hasattr(new.async_client, "aclose") else await new.async_client.close()

    asyncio.run(go())
    assert moving.old.get("c") == 3 and moving.old.get("e") == 5 and moving.here.get("c") == 3


def test_it_is_taken_out_by_one_setting(service: str, tmp_path: Path) -> None:
    from django.core.cache import caches
    from django.test import override_settings

    from pantler.django import PantlerCache

    with Site("locmem", service, tmp_path, {}) as site:
        site.old.set("a", 1, 100)
        config = {**site.config, "default": {**site.config["default"], "OPTIONS": {"OLD": None, "FILL_TIMEOUT": 5}}}
        with override_settings(CACHES=config):
            cache = caches["default"]
            assert isinstance(cache, PantlerCache) and cache.get("a") is None
            cache.set("a", 2)
            assert caches["old"].get("a") is None or site.old.get("a") == 1
            assert set(cache.migration_stats().values()) == {0}
        # Or by the backend's name, whatever the options are still.
        config["default"] = {**site.config["default"], "BACKEND": "pantler.django.PantlerCache"}
        with override_settings(CACHES=config):
            assert caches["default"].get("a") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"OLD": "nowhere"}, "one of default, old, here"),
        ({"FILL_TIMEOUT": 0}, "above 0"),
        ({"FILL_TIMEOUT": "5"}, "above 0"),
        ({"WRITE_OLD": "yes"}, "True or False"),
        ({"OLD": "default"}, "is this cache"),
        ({"OLDER": "old"}, "OLDER"),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(
    service: str, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match=message):
        with Site("locmem", service, tmp_path, {}, **options):
            pass


def test_without_write_old_the_old_cache_only_loses(service: str, tmp_path: Path) -> None:
    with Site("locmem", service, tmp_path, {}, WRITE_OLD=False) as site:
        site.old.set_many({"a": "old", "count": 5}, 100)
        assert site.new.get("a") == "old"
        site.new.set("a", "new", 100)
        assert site.old.get("a") is None
        assert site.new.incr("count") == 6 and site.old.get("count") is None
        site.new.set_many({"b": 1}, 100)
        assert site.old.get("b") is None and site.new.add("c", 1) is True and site.old.get("c") is None


def test_the_figures_of_all_processes_are_added_up(in_memory: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory.old.set("a", 1, 100)
    in_memory.new.get("a")
    in_memory.new.get("nothing")
    in_memory.new._stats.tell_at = 0
    in_memory.new.get("a")
    assert in_memory.new.migration_totals() == {
        "hits": 1,
        "old_hits": 1,
        "misses": 1,
        "fills": 1,
        "overtaken": 0,
        "old_errors": 0,
    }
    # Until it is time again, they stay here.
    in_memory.new.get("a")
    assert in_memory.new.migration_totals()["hits"] == 1
