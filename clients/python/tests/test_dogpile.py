"""The backend for dogpile.cache: dogpile's own suites for backends, and what they do not ask."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.testing.fixtures import _GenericBackendFixture, _GenericBackendTestSuite, _GenericMutexTestSuite, _GenericSerializerTestSuite

from pantler import Client, PantlerError
from pantler.dogpile import PantlerBackend

_numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def _configured(service: str) -> None:
    url = f"{service}/v1/namespaces/dogpile"
    TestBackend.config_args = {"arguments": {"url": url, "foo": "barf"}}
    TestBackendWithLocksOfThreads.config_args = {"arguments": {"url": url, "distributed_lock": False}}
    TestSerializer.config_args = {"arguments": {"url": url}}
    TestMutex.config_args = {"arguments": {"url": url}}


@pytest.fixture
def url(service: str) -> str:
    return f"{service}/v1/namespaces/dogpile-{next(_numbers)}"


class TestBackend(_GenericBackendTestSuite):
    backend = "dogpile.cache.pantler"


class TestBackendWithLocksOfThreads(_GenericBackendTestSuite):
    backend = "dogpile.cache.pantler"
    # It sleeps for ten seconds, and asks nothing that the others do not.
    test_threaded_get_multi = None


class TestSerializer(_GenericSerializerTestSuite, _GenericBackendFixture):
    backend = "dogpile.cache.pantler"


class TestMutex(_GenericMutexTestSuite):
    backend = "dogpile.cache.pantler"


def region(url: str, expiration_time: float | None = None, **arguments: Any) -> Any:
    return make_region().configure("dogpile.cache.pantler", expiration_time=expiration_time, arguments={"url": url, **arguments})


def test_values_are_bytes_of_the_regions_making(url: str) -> None:
    one = region(url)
    one.set("k", ("a", {1: 2}))
    assert one.get("k") == ("a", {1: 2})
    assert isinstance(Client(url).get("k"), bytes)
    # What somebody else put there is none of dogpile's.
    Client(url).set("k", {"a": 1})
    assert one.get("k") is NO_VALUE
    assert one.get_multi(["k", "l"]) == [NO_VALUE, NO_VALUE]


def test_one_creator_runs_among_all_threads(url: str) -> None:
    created: list[int] = []

    def create() -> int:
        created.append(1)
        time.sleep(0.3)
        return 5

    results: list[int] = []
    # A region for each, as in processes of their own: nothing of this process tells them of each other.
    threads = [threading.Thread(target=lambda: results.append(region(url).get_or_create("k", create))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [5] * 20
    assert len(created) == 1


def test_one_creator_runs_among_all_processes(url: str) -> None:
    program = """
import sys, time
from dogpile.cache import make_region
region = make_region().configure("dogpile.cache.pantler", arguments={"url": sys.argv[1]})
sys.stdin.readline()
def create():
    print("created", flush=True)
    time.sleep(1)
    return 5
assert region.get_or_create("k", create) == 5
"""
    processes = [subprocess.Popen([sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert "".join(process.communicate(timeout=60)[0] for process in processes) == "created\n"
    assert [process.returncode for process in processes] == [0] * 4


def test_a_creator_may_take_longer_than_the_lock_lasts(url: str) -> None:
    created: list[int] = []

    def create() -> int:
        created.append(1)
        time.sleep(1)
        return 5

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(region(url, lock_timeout=0.3).get_or_create("k", create))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [5] * 3 and len(created) == 1


def test_the_old_value_is_served_while_one_creates(url: str) -> None:
    one = region(url, 0.05)
    one.set("k", "old")
    time.sleep(0.1)
    creating, finish = threading.Event(), threading.Event()

    def create() -> str:
        creating.set()
        finish.wait(10)
        return "new"

    thread = threading.Thread(target=lambda: one.get_or_create("k", create))
    thread.start()
    assert creating.wait(10)
    assert region(url, 0.05).get_or_create("k", lambda: pytest.fail("created")) == "old"
    finish.set()
    thread.join()


def test_entries_expire_and_are_tagged_as_asked(url: str) -> None:
    one = region(url, pantler_expiration_time=50, tags=["pages"])
    one.set("k", 1)
    one.set_multi({"l": 2})
    client = Client(url)
    for key in "kl":
        left = client.ttl(key)
        assert left is not None and 40 < left <= 50
    client.invalidate(tags=["pages"])
    assert one.get_multi(["k", "l"]) == [NO_VALUE, NO_VALUE]


def test_long_keys_are_shortened_and_not_confused(url: str) -> None:
    one = region(url)
    one.set_multi({"k" * 3000 + "a": 1, "k" * 3000 + "b": 2})
    assert one.get_multi(["k" * 3000 + "a", "k" * 3000 + "b"]) == [1, 2]
    assert one.get_or_create("k" * 3000 + "c", lambda: 3) == 3


def test_a_client_of_ones_own_is_taken(url: str) -> None:
    client = Client(url, serializer="pickle")
    backend = PantlerBackend({"client": client})
    backend.set_serialized("k", b"\x00|")
    assert backend.get_serialized("k") == b"\x00|"
    with pytest.raises(TypeError, match="pantler.Client"):
        PantlerBackend({"client": "x"})


def test_a_service_that_is_away_and_a_value_too_large_are_told(url: str) -> None:
    with pytest.raises(PantlerError):
        region("http://127.0.0.1:1").get("k")
    with pytest.raises(PantlerError):
        region(url).set("k", "x" * (9 << 20))
    with pytest.raises(PantlerError, match="refused 1 of 2 values, 'k'"):
        region(url).set_multi({"k": "x" * (9 << 20), "l": 1})


def test_a_mutex_waits_as_long_as_it_is_told_to(url: str) -> None:
    one, other = (PantlerBackend({"url": url, "lock_blocking_timeout": 0.2}).get_mutex("k") for _ in range(2))
    assert one is not None and other is not None
    assert one.acquire()
    begun = time.monotonic()
    assert other.acquire() is False
    assert 0.15 < time.monotonic() - begun < 5
    assert other.locked() and one.locked()
    # Another thread may give it back, as an async creator does.
    thread = threading.Thread(target=one.release)
    thread.start()
    thread.join()
    assert not one.locked() and other.acquire(False)
    other.release()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pantler_expiration_time": -1}, "pantler_expiration_time is a"), ({"pantler_expiration_time": "60"}, "pantler_expiration_time is a"),
        ({"lock_timeout": 1000}, "lock_timeout of a lease"), ({"lock_blocking_timeout": "3"}, "lock_blocking_timeout is a"), ({"tags": [5]}, "A tag is"),
        ({"tags": "a," * 70}, "tag"),
    ],
)  # fmt: skip
def test_what_a_region_cannot_have_is_told_when_it_is_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        PantlerBackend(arguments)


def test_an_unknown_argument_is_told(caplog: pytest.LogCaptureFixture) -> None:
    PantlerBackend({"urll": "http://127.0.0.1:1"})
    assert "'urll'" in caplog.text and "lock_timeout" in caplog.text
