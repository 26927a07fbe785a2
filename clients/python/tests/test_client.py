"""What both clients promise, at the real service. Each test runs with the blocking client and with the one for asyncio."""

from __future__ import annotations

import asyncio
import copy
import datetime
import inspect
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Service
from hostile import certificate

import pantler
from pantler import (
    ABSENT,
    DEFAULT,
    AsyncClient,
    AsyncLease,
    AsyncLock,
    Client,
    Entry,
    Invalid,
    KeyMissing,
    Lease,
    Lock,
    NotAllowed,
    PantlerError,
    Refused,
    SerializationError,
    Unavailable,
)

_numbers = itertools.count()


class Blocking:
    """The asyncio client with the blocking one's face, so that a test is written once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.client = AsyncClient(*args, **kwargs)
        self.loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Any:
        return self._blocking(getattr(self.client, name))

    def _blocking(self, value: Any) -> Any:
        if isinstance(value, (AsyncLease, AsyncLock)):
            face = Blocking.__new__(Blocking)
            face.loop, face.client = self.loop, value  # type: ignore[assignment]
            return face
        if not inspect.ismethod(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            if inspect.isasyncgen(result):
                return self._iterate(result)
            return self._blocking(self.loop.run_until_complete(result) if inspect.isawaitable(result) else result)

        return call

    def _iterate(self, items: Any) -> Iterator[Any]:
        while True:
            try:
                yield self.loop.run_until_complete(items.__anext__())
            except StopAsyncIteration:
                return

    def end(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@pytest.fixture(params=[Client, Blocking], ids=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def build(*args: Any, **kwargs: Any) -> Any:
        made.append(request.param(*args, **kwargs))
        return made[-1]

    yield build
    for client in made:
        client.end() if isinstance(client, Blocking) else client.close()


@pytest.fixture
def url(service: str) -> str:
    return f"{service}/v1/namespaces/client-{next(_numbers)}"


@pytest.fixture
def client(make: Callable[..., Any], url: str) -> Any:
    return make(url)


KEYS = ["a", "a b", "a/b", "a//b", "/a", "a/", ".", "..", "a/../b", "a%2Fb", "a%", "a+b", "ü", "😀", "a?b=c", "a#b", "a&b", "~", "a\nb", "'\"<>\\", "k" * 1024, "é" * 512, "a;b", "…"]


@pytest.mark.parametrize("key", KEYS, ids=ascii)
def test_every_key_is_itself(client: Any, key: str) -> None:
    assert client.get(key) is None
    version = client.set(key, {"key": key}, 60, tags=["t"])
    assert client.get(key) == {"key": key}
    assert client.has(key)
    entry = client.entry(key)
    assert (entry.key, entry.value, entry.version, entry.tags) == (key, {"key": key}, version, ("t",))
    assert client.get_many([key, "other"]) == {key: {"key": key}}
    assert list(client.iter_keys()) == [key]
    assert client.touch(key, 30) and 25 < client.ttl(key) <= 30
    assert client.compare_and_set(key, 1, client.entry(key).version) and client.incr(key) == 2
    assert client.fetch(key, lambda: 9) == 2
    assert client.lease(key).value == 2
    assert client.delete(key) and not client.delete(key)
    lease = client.lease(key)
    assert lease.prolong(5) and lease.release()
    assert client.fetch(key, lambda: 9, tags=["x, y"]) == 9
    assert client.invalidate(keys=[key]) == 1


@pytest.mark.parametrize("key", ["", "\x00", "a\x00", "k" * 1025, "é" * 513, "\ud800"], ids=lambda key: ascii(key)[:20])
def test_a_key_that_cannot_be_is_told(client: Any, key: str) -> None:
    for call in (client.get, client.delete, client.has, client.entry, client.incr, client.lease, lambda key: client.set(key, 1), lambda key: client.fetch(key, lambda: 1)):
        with pytest.raises(Invalid):
            call(key)
    for wrong in (5, None, b"a", ("a",)):
        for call in (client.get, client.delete, lambda key: client.set(key, 1), lambda key: client.get_many([key]), lambda key: client.set_many({key: 1})):
            with pytest.raises(TypeError, match="[Kk]ey"):
                call(wrong)
    with pytest.raises(TypeError, match="a sequence of str, not one"):
        client.get_many("abc")


def test_get_set_add_replace_delete(client: Any) -> None:
    assert client.get("k", 7) == 7
    assert client.replace("k", 1) is False
    assert client.add("k", 1) is True
    assert client.add("k", 2) is False
    assert client.get("k") == 1
    first = client.set("k", None)
    assert client.get("k", 7) is None
    assert client.replace("k", "x", 60, tags=["t"]) is True
    assert client.set("k", "y") > first
    assert client.delete("k") is True and client.delete("k") is False
    assert client.compare_and_set("k", 1, first) is None


def test_compare_and_set_loses_no_update(client: Any, make: Callable[..., Any], url: str) -> None:
    client.set("n", 0)

    def work() -> None:
        other = Client(url)
        for _ in range(20):
            while True:
                entry = other.entry("n")
                assert entry is not None
                if other.compare_and_set("n", entry.value + 1, entry.version) is not None:
                    break

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("n") == 80
    with pytest.raises(TypeError, match="version is the number"):
        client.compare_and_set("n", 1, "3")


@pytest.mark.parametrize(("ttl", "least", "most"), [(60, 58, 60), (0.25, 0.01, 0.25), (1.5, 1, 1.5), (0.0001, -1, 0.01), (2**40, 3e9, 3_153_600_000), (1e300, 3e9, 3_153_600_000), (3_153_600_000, 3e9, 3_153_600_000)])
def test_ttls(client: Any, ttl: float, least: float, most: float) -> None:
    for value in (1, b"x", b"x" * 5000):
        for put in (client.set, client.add, lambda *a: client.set_many({a[0]: a[1]}, a[2])):
            client.delete("k")
            put("k", value, ttl)
            if ttl < 0.01:
                continue
            left = client.ttl("k")
            assert least <= left <= most
    client.set("k", 1)
    assert client.ttl("k") is None
    assert client.touch("k", ttl)
    if ttl >= 0.01:
        assert least <= client.ttl("k") <= most
        client.set("n", 1)
        assert client.touch("n", None) and client.ttl("n") is None


def test_never_and_the_namespaces_own_ttl(client: Any, url: str) -> None:
    # The namespace has a TTL of its own.
    set_policy(url, {"default_ttl": 100, "max_ttl": None})
    for value in ({"a": 1}, b"x", b"x" * 5000, (1 << 70)):
        client.set("k", value)
        assert 90 < client.ttl("k") <= 100
        client.set("k", value, DEFAULT, tags=["t"])
        assert 90 < client.ttl("k") <= 100
        client.set("k", value, None)
        assert client.ttl("k") is None and client.entry("k").expires_at is None
        client.set_many({"l": value}, None)
        assert client.ttl("l") is None
    with pytest.raises(KeyMissing):
        client.ttl("none")


def set_policy(url: str, policy: dict[str, Any]) -> None:
    """Sets a namespace's policy, as an operator does."""
    import urllib.request

    request = urllib.request.Request(url, json.dumps(policy).encode(), {"Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def never_called() -> Any:
    raise AssertionError("the loader ran for what cannot be stored")


@pytest.mark.parametrize("ttl", [0, -1, -0.5, float("nan"), float("inf"), float("-inf"), True, "60", b"", [1], datetime.timedelta(1)], ids=repr)
def test_a_ttl_that_cannot_be_is_told(client: Any, ttl: Any) -> None:
    for call in (
        lambda: client.set("k", 1, ttl), lambda: client.set("k", b"x" * 5000, ttl), lambda: client.add("k", 1, ttl), lambda: client.set_many({"k": 1}, ttl),
        lambda: client.incr("k", initial=0, ttl=ttl), lambda: client.incr("k", ttl=ttl), lambda: client.fetch("k", never_called, ttl),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match="number of seconds.*None .never expires. and DEFAULT"):
            call()
    assert client.get("k") is None


def test_stale_entries_are_handed_out_and_told(client: Any) -> None:
    for value in (1, b"x" * 5000):
        client.set("k", value, 0.05, stale_ttl=60)
        time.sleep(0.1)
        assert client.get("k") == value
        entry = client.entry("k")
        assert entry.stale and entry.tier is None and client.ttl("k") < 0
        lease = client.lease("k")
        assert lease.stale_entry.value == value and lease.stale_entry.stale and not lease.fresh
        assert client.lease("k").stale
        assert lease.fill(value, 60)
        assert not client.entry("k").stale
    with pytest.raises(ValueError, match="stale_ttl"):
        client.set("k", 1, 60, stale_ttl=-1)
    client.set("k", 1, 60, stale_ttl=0)


@pytest.mark.parametrize("tags", [["a"], ["a", "b", "c"], ["a, b"], ["ü"], [" a "], ['"'], ["a\tb"], ["x" * 255], [f"t{i}" for i in range(64)], ("a",), {"a"}], ids=lambda tags: ascii(tags)[:20])
def test_tags(client: Any, tags: Any) -> None:
    tags = list(tags)
    for number, value in enumerate((1, b"x", b"x" * 5000)):
        client.set("k", value, 60, tags=tags)
        client.set("other", 1, 60, tags=["unrelated"])
        client.set_many({"l": value}, 60, tags=iter(tags))
        assert sorted(client.entry("k").tags) == sorted(tags)
        assert client.invalidate(tags=[tags[-1]]) == 1
        assert client.get_many(["k", "l", "other"]) == {"other": 1}


def test_tags_that_cannot_be_are_told(client: Any) -> None:
    for tags in (["", "a"], ["x" * 256], ["\x00"], [f"t{i}" for i in range(65)]):
        for value in (1, b"x" * 5000):
            with pytest.raises(Invalid):
                client.set("k", value, tags=tags)
    for wrong in ("text", b"x", [5], [None], 5):
        with pytest.raises(TypeError):
            client.set("k", 1, tags=wrong)
        with pytest.raises(TypeError):
            client.invalidate(tags=wrong)
        with pytest.raises(TypeError, match="a sequence of str|A tag is a str"):
            client.fetch("k", never_called, tags=wrong)


@pytest.mark.parametrize("tags", [["", "a"], ["x" * 256], ["\x00"], ["\ud800"], [f"t{i}" for i in range(65)]], ids=lambda tags: ascii(tags)[:20])
def test_tags_that_cannot_be_are_the_calls_fault_and_not_that_of_its_keys(client: Any, tags: list[str]) -> None:
    for call in (
        lambda: client.set("k", 1, tags=tags), lambda: client.set("k", b"x" * 5000, tags=tags), lambda: client.set_many({"k": 1}, tags=tags),
        lambda: client.fetch("k", never_called, tags=tags),
    ):  # fmt: skip
        with pytest.raises(Invalid, match="tag"):
            call()


def test_what_calls_cannot_take_is_told(client: Any) -> None:
    for ttl in (0, True, "x", DEFAULT):
        with pytest.raises((TypeError, ValueError), match="number of seconds.* Allowed too: None .never expires..$"):
            client.touch("k", ttl)
    for wrong in (5, b"x", None, True):
        with pytest.raises(TypeError, match="prefix is a str"):
            list(client.iter_keys(wrong))
    for wrong in ("1", 1.5, True, None):
        with pytest.raises(TypeError, match="by is an int"):
            client.decr("k", wrong, initial=0)
    for wrong in (True, "1", None, float("nan"), -1, datetime.timedelta(1)):
        with pytest.raises(ValueError, match="wait is a number of seconds"):
            client.lease("k", wait=wrong)
        with pytest.raises(ValueError, match="wait is a number of seconds"):
            client.fetch("k", never_called, wait=wrong)
        if wrong is not None:
            with pytest.raises(ValueError, match="wait is a number of seconds"):
                client.lock("k").acquire(wrong)
    client.set("hit", 1)
    for wrong in (5, None, "loader"):
        with pytest.raises(TypeError, match="loader is a function"):
            client.fetch("hit", wrong)
    for options in ({"stale_ttl": -1}, {"negative_ttl": -1}, {"lease_ttl": 0.01}, {"lease_ttl": "x"}, {"retry_after": 0}):
        with pytest.raises((TypeError, ValueError), match="number of seconds|0.1 to 300 seconds"):
            client.fetch("hit", never_called, **options)
        with pytest.raises((TypeError, ValueError), match="number of seconds|0.1 to 300 seconds"):
            client.cached(**options)
    for wrong in (5, None, [1], [("k", 1)]):
        with pytest.raises(TypeError, match="mapping is a dict"):
            client.set_many(wrong)
    for wrong in (5, None):
        with pytest.raises(TypeError, match="keys is a sequence"):
            client.get_many(wrong)


def test_half_a_surrogate_pair_is_in_no_key(client: Any) -> None:
    half = "a\ud800"
    for call in (
        lambda: client.get_many([half, "k"]), lambda: client.delete_many([half]), lambda: client.invalidate(keys=[half]), lambda: client.invalidate(tags=[half]),
        lambda: client.invalidate(prefix=half), lambda: list(client.iter_keys(half)),
    ):  # fmt: skip
        with pytest.raises(Invalid, match="surrogate"):
            call()
    assert client.set_many({half: 1, "k": 2, "a\0": 3}) == [half, "a\0"] and client.get("k") == 2


def test_tags_that_come_once_serve_a_decorated_function_again_and_again(url: str) -> None:
    client = Client(url)

    @client.cached(60, tags=(tag for tag in ["a"]), key="k")
    def load() -> int:
        return next(_numbers)

    for _ in range(2):
        load()
        entry = client.entry("k")
        assert entry is not None and entry.tags == ("a",)
        client.delete("k")


def test_counters(client: Any) -> None:
    with pytest.raises(KeyMissing):
        client.incr("n")
    with pytest.raises(KeyError):
        client.decr("n")
    assert client.incr("n", initial=10, ttl=60) == 11
    assert client.incr("n", 5, initial=100) == 16
    assert client.decr("n", 20) == -4
    assert 50 < client.ttl("n") <= 60
    assert client.get("n") == -4
    client.set("n", 41)
    assert client.incr("n", 1) == 42
    client.set("n", 2**53 - 1)
    with pytest.raises(Invalid, match="counter_overflow"):
        client.incr("n")
    client.set("n", "text")
    with pytest.raises(Invalid, match="not_an_integer"):
        client.incr("n")
    for wrong in (1.5, "1", True, None):
        with pytest.raises(TypeError, match="by is an int"):
            client.incr("n", wrong)


def test_negative_entries(client: Any) -> None:
    client.set("k", ABSENT, 30)
    assert client.get("k") is None and client.get("k", 7) == 7 and not client.has("k") and client.get_many(["k"]) == {}
    entry = client.entry("k")
    assert entry.value is ABSENT and not entry.value and entry.version > 0
    assert entry.expires_at is not None and 20 < (entry.expires_at - datetime.datetime.now(datetime.timezone.utc)).total_seconds() <= 31
    assert client.lease("k").value is ABSENT
    assert list(client.iter_keys()) == []
    assert client.set_many({"l": ABSENT, "m": 1}, 30, stale_ttl=5) == []
    assert client.lease("l").value is ABSENT
    assert client.add("k", 1) is True and client.get("k") == 1
    with pytest.raises(KeyMissing):
        client.ttl("l")


def test_leases(client: Any) -> None:
    lease = client.lease("k", ttl=5)
    assert lease.key == "k" and lease.stale_entry is None
    assert client.lease("k") is None
    begun = time.monotonic()
    assert client.lease("k", wait=0.2) is None
    assert 0.15 < time.monotonic() - begun < 5
    assert lease.prolong(20) is True
    assert lease.fill({"a": 1}, 60, tags=["t"]) is True
    found = client.lease("k")
    assert isinstance(found, Entry) and found.value == {"a": 1} and found.tags == ("t",)
    assert lease.fill(2) is False and lease.prolong() is False and lease.release() is False
    lease = client.lease("l")
    assert client.set("l", 5, lease=lease.token) > 0
    with pytest.raises(Refused, match="lease_lost"):
        client.set("l", 6, lease=lease.token)
    lease = client.lease("m")
    client.invalidate(keys=["m"])
    assert lease.fill(1) is False and client.get("m") is None
    lease = client.lease("n")
    assert lease.release(retry_after=20) is True
    assert client.lease("n", wait=5) is None
    for arguments in ({"ttl": 0}, {"ttl": 301}, {"wait": -1}, {"wait": "x"}):
        with pytest.raises((ValueError, TypeError)):
            client.lease("o", **arguments)
    for token in ("x\r\ny", "", 5, "ü"):
        with pytest.raises(ValueError, match="lease is the token"):
            client.set("k", 1, lease=token)


def test_a_lease_is_waited_for_longer_than_one_call_waits(client: Any, url: str) -> None:
    Client(url).set("k", 1)
    assert client.lease("k", wait=100).value == 1


def test_invalidate_takes_one_kind_of_thing(client: Any) -> None:
    client.set_many({"a1": 1, "a2": 2, "b": 3})
    assert client.invalidate(prefix="a") == 2
    assert client.invalidate(keys=["b", "none"]) == 1
    assert client.invalidate() == 0
    assert client.invalidate(tags=[], keys=[]) == 0
    for wrong in ({"tags": ["a"], "prefix": "b"}, {"prefix": "b", "keys": ["c"]}, {"prefix": ""}):
        with pytest.raises(ValueError):
            client.invalidate(**wrong)
    client.set("k", 1, 60, stale_ttl=60, tags=["t"])
    assert client.invalidate(tags=["t"], stale=True) == 1
    assert client.get("k") == 1 and client.entry("k").stale
    client.set("k", 1, 60, stale_ttl=60)
    client.flush(stale=True)
    assert client.entry("k").stale
    client.flush()
    assert client.get("k") is None


def test_a_namespace_that_nobody_wrote_to_is_empty(client: Any) -> None:
    assert client.get("k") is None and client.entry("k") is None and not client.has("k")
    assert client.get_many(["k"]) == {} and list(client.iter_keys()) == [] and client.delete_many(["k"]) == 0
    assert client.invalidate(tags=["t"]) == 0 and client.invalidate(prefix="p") == 0
    client.flush()
    assert client.touch("k", 5) is False and client.delete("k") is False


def test_statistics(client: Any) -> None:
    client.set("k", 1)
    client.get("k")
    client.get("none")
    assert isinstance(client.stats(), dict) and client.stats()


def test_with_serializer_shares_the_connections(make: Callable[..., Any], url: str) -> None:
    client = make(url)
    with pytest.raises(SerializationError):
        client.set("k", (1, 2))
    other = client.with_serializer("pickle")
    if isinstance(client, Blocking):
        client.loop.run_until_complete(other.set("k", (1, 2)))
    else:
        other.set("k", (1, 2))
    with pytest.raises(SerializationError, match="It is a pickle"):
        client.get("k")
    with pytest.raises(SerializationError, match="It is a pickle"):
        client.get_many(["k"])
    with pytest.raises(SerializationError, match="It is a pickle"):
        client.entry("k")
    with pytest.raises(SerializationError, match="It is a pickle"):
        client.lease("k")
    assert client.fetch("k", lambda: 5) == 5
    assert client.get("k") == 5, "what cannot be read was not replaced"


# --- batches


def test_batches_of_any_size(client: Any) -> None:
    values = {f"k{number}": number for number in range(2500)}
    assert client.set_many(values, 60) == []
    assert client.get_many([*values, "none", *list(values)[:10]]) == values
    assert sorted(client.iter_keys("k1")) == sorted(key for key in values if key.startswith("k1"))
    assert list(client.iter_keys()) == sorted(values)
    assert client.delete_many([*list(values)[:1500], "none"]) == 1500
    assert client.invalidate(keys=values) == 1000
    assert client.get_many([]) == {} and client.set_many({}) == [] and client.delete_many([]) == 0
    assert client.invalidate(tags=[f"t{number}" for number in range(100)]) == 100


def test_a_batch_tells_what_it_refused_and_stores_the_rest(client: Any) -> None:
    large = "x" * (9 << 20)
    assert sorted(client.set_many({"a": 1, "k" * 2000: 2, "b": large, "c": b"\x00"}, 60)) == ["b", "k" * 2000]
    assert client.get_many(["a", "b", "c"]) == {"a": 1, "c": b"\x00"}
    with pytest.raises(SerializationError):
        client.set_many({"d": 1, "e": object()})
    assert client.get("d") is None, "half of it was stored"


def test_bytes_and_json_that_looks_like_them_are_told_apart(client: Any) -> None:
    values = {
        "bytes": b"\x00\xff", "empty": b"", "large": os.urandom(300_000), "json": {"a": 1}, "like": {"value_base64": "AAAA", "content_type": "image/png"}, "like bytes": {"value_base64": 5, "content_type": None},
        "half": {"value_base64": "AAAA"}, "null": None, "ü\r\n": b"\r\n12\n{}",
    }  # fmt: skip
    client.set_many(values, 60)
    assert client.get_many(values) == values
    for key, value in values.items():
        client.set(key, value, 60)
        assert client.get(key) == value and client.entry(key).value == value
    assert client.get_many(values) == values
    assert client.get_many(["like"]) == {"like": values["like"]}


def test_more_than_the_service_takes_or_answers_at_once(make: Callable[..., Any], tmp_path: Path) -> None:
    configuration = tmp_path / "pantler.yaml"
    configuration.write_text("limits: {body_size: 1MiB, answer_size: 1MiB, bytes_in_flight: 8MiB}\n")
    service = Service(tmp_path / "service", "--config", str(configuration))
    service.start()
    try:
        client = make(service.url, serializer="auto", timeout=20)
        values: dict[str, Any] = {f"k{number}": ("x" * 50_000, number) if number % 2 else "y" * 50_000 for number in range(100)}
        values["alone"] = "z" * 900_000
        assert client.set_many(values, 60) == []
        assert client.get_many(values) == values
        assert client.set_many({"a": 1, "too large": "x" * 2_000_000, "b": 2}) == ["too large"]
        assert client.get_many(["a", "too large", "b"]) == {"a": 1, "b": 2}
    finally:
        service.kill()


# --- how a client is made


def test_the_environment_names_the_service(make: Callable[..., Any], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANTLER_URL", url)
    client = make()
    client.set("k", 1)
    assert Client(url).get("k") == 1
    assert client.namespace == url.rpartition("/")[2]
    monkeypatch.delenv("PANTLER_URL")
    assert make().namespace == "default"
    assert make("http://127.0.0.1:1", namespace="shop").namespace == "shop"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "ftp://x"}, "Allowed is"), ({"url": []}, "no URL"), ({"namespace": "A"}, "out of form"), ({"namespace": ""}, "out of form"), ({"namespace": "a/b"}, "out of form"), ({"namespace": "x" * 64}, "out of form"),
        ({"url": "http://h/v1/namespaces/a", "namespace": "b"}, "give one of them"), ({"url": "http://h/v1/namespaces/A"}, "out of form"), ({"timeout": 0}, "timeout is a number"), ({"timeout": None}, "timeout is a number"),
        ({"connect_timeout": -1}, "connect_timeout is a number"), ({"max_idle": -1}, "max_idle"), ({"max_idle": 1.5}, "max_idle"), ({"serializer": "yaml"}, "no serializer 'yaml'"), ({"token": "a b"}, "token is out of form"),
        ({"token": 5}, "token is out of form"), ({"token": b"a"}, "token is out of form"), ({"url": 5}, "is a string"), ({"url": b"http://h"}, "is a string"), ({"token": "a\r\nX: y"}, "token is out of form"), ({"ca_file": "x.pem"}, "https"), ({"client_certificate": "x.pem"}, "https"),
    ],
)  # fmt: skip
def test_what_a_client_cannot_be_made_of_is_told(make: Callable[..., Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("content", [None, "nothing of a certificate"])
@pytest.mark.parametrize("name", ["ca_file", "client_certificate"])
def test_a_file_that_cannot_be_used_is_named(make: Callable[..., Any], tmp_path: Path, name: str, content: str | None) -> None:
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OSError, match=f"{name} cannot be used: .*some.pem"):
        make("https://h", **{name: path})
    with pytest.raises(TypeError, match=f"{name} is the path"):
        make("https://h", **{name: 5})


def test_an_encrypted_key_asks_nobody_for_its_password(make: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "encrypted.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:secret", "-keyout", tmp_path / "key", "-out", path, "-subj", "/CN=x"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (tmp_path / "key").read_text())
    with pytest.raises(ValueError, match="encrypted"):
        make("https://h", client_certificate=path)


@pytest.mark.parametrize("again", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_clients_go_into_pickles_and_are_copied(url: str, kind: Any, again: Callable[[Any], Any]) -> None:
    """As multiprocessing does with arguments of a process that it does not fork, and Flask with its configuration."""
    client = kind(url, token="pt_x", serializer="auto", timeout=5)

    async def main() -> None:
        for one in (client, again(client), client):
            value = one.get("k") if kind is Client else await one.get("k")
            assert value is None and type(one) is kind and repr(one) == repr(client) and one.serializer.name == "auto"
            assert one._settings._replace(serializer=client.serializer) == client._settings
            if kind is AsyncClient:
                await one.close()
            else:
                one.close()

    asyncio.run(main())


def test_a_client_with_tls_makes_its_own_of_the_files_it_was_made_of(tmp_path: Path) -> None:
    path = certificate(tmp_path)
    client = Client("https://127.0.0.1:1", ca_file=path, client_certificate=path)
    other = pickle.loads(pickle.dumps(client))
    assert other._settings.tls.get_ca_certs() == client._settings.tls.get_ca_certs() != []


def test_a_token_is_sent_and_never_shown(make: Callable[..., Any], tmp_path: Path) -> None:
    token = "pt_abcdefgh_" + "A" * 43
    configuration = tmp_path / "pantler.yaml"
    configuration.write_text("server: {tokens: true}\n")
    service = Service(tmp_path / "service", "--config", str(configuration))
    service.start()
    try:
        for client in (make(service.url), make(service.url, token=token)):
            with pytest.raises(NotAllowed):
                client.get("k")
            assert client.fetch("k", lambda: 5) == 5
            inner = vars(client).get("client", client)
            assert token not in repr(inner) and token not in repr(vars(inner))
    finally:
        service.kill()


def test_unix_sockets_and_several_addresses(make: Callable[..., Any], service: str, service_socket: str) -> None:
    name = f"client-{next(_numbers)}"
    for where in (f"unix:{service_socket}", f"http://127.0.0.1:1, {service}", ["http://127.0.0.1:1", f"unix:{service_socket}"]):
        client = make(where, namespace=name)
        client.set("k", 1)
        assert client.get("k") == 1
        assert name in repr(vars(client).get("client", client))


def test_it_is_closed_by_with(url: str) -> None:
    with Client(url) as client:
        client.set("k", 1)
        assert "k" in client and "l" not in client

    async def main() -> None:
        async with AsyncClient(url) as other:
            assert await other.get("k") == 1

    asyncio.run(main())


def test_observers_are_told_of_each_exchange(make: Callable[..., Any], url: str) -> None:
    client = make(url)
    seen: list[pantler.Observation] = []
    target = client.client if isinstance(client, Blocking) else client
    target.observers = [seen.append]
    assert target.observers == (seen.append,)
    client.set("k", 1)
    client.get("k")
    client.get("none")
    assert [(one.method, one.status) for one in seen] == [("PUT", 201), ("GET", 200), ("GET", 404)]
    assert seen[1].cache_status is not None and seen[1].cache_status.startswith(b"pantler; hit")


def test_the_service_away_is_told(make: Callable[..., Any]) -> None:
    client = make("http://127.0.0.1:1")
    for call in (lambda: client.get("k"), lambda: client.set("k", 1), lambda: client.get_many(["k"]), lambda: client.incr("k"), lambda: client.lease("k"), lambda: list(client.iter_keys())):
        with pytest.raises(Unavailable):
            call()


def test_both_clients_have_the_same_face() -> None:
    for one, other in ((Client, AsyncClient), (Lease, AsyncLease), (Lock, AsyncLock)):
        faces = []
        for kind in (one, other):
            face: dict[str, Any] = {}
            for name, member in vars(kind).items():
                if name.startswith("_") and name != "__init__":
                    continue
                if inspect.isfunction(member):
                    signature = inspect.signature(member)
                    text = str(signature).replace("Async", "")
                    for word in ("Iterator", "Awaitable"):
                        text = text.replace(f"Async{word}", word)
                    face[name] = text
                    assert member.__doc__ or name == "__init__", f"{kind.__name__}.{name} says nothing of itself"
                else:
                    face[name] = type(member).__name__
            faces.append(face)
        assert faces[0] == faces[1]


def test_what_is_public_says_what_it_is() -> None:
    for name in pantler.__all__:
        member = getattr(pantler, name)
        if inspect.isclass(member):
            assert member.__doc__ and not member.__doc__.startswith(f"{name}("), name


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    program = """
import os, sys, pantler
client = pantler.Client(sys.argv[1])
client.set("k", "parent")
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        for _ in range(200):
            client.set(f"c{number}", number)
            assert client.get(f"c{number}") == number
            assert client.get("k") == "parent"
            assert client.fetch(f"f{number}", lambda: number) == number
        os._exit(0)
    children.append(child)
for _ in range(200):
    assert client.get("k") == "parent"
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
print("well")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, url], capture_output=True, text=True, timeout=60)
    assert done.stdout == "well\n", done.stderr


def test_errors_say_what_is_wrong_in_the_services_words(client: Any) -> None:
    with pytest.raises(Refused) as raised:
        client.set("k", "x" * (9 << 20))
    assert (raised.value.status, raised.value.code) == (413, "value_too_large")
    assert "this namespace takes at most" in str(raised.value)
    assert isinstance(raised.value, PantlerError) and isinstance(raised.value, ValueError)
