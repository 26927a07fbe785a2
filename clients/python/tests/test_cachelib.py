"""The backend for cachelib: its own tests, and what they do not ask."""

from __future__ import annotations

import datetime
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
from third_party import run, sources

from pantler import Client, Invalid
from pantler.cachelib import PantlerCache

HERE = Path(__file__).resolve().parent
_numbers = itertools.count()


@pytest.fixture
def url(service: str) -> str:
    return f"{service}/v1/namespaces/cachelib-{next(_numbers)}"


@pytest.fixture
def cache(url: str) -> PantlerCache:
    return PantlerCache(url)


def test_cachelibs_own_tests_pass(service: str, tmp_path: Path) -> None:
    # Two classes, one with a serializer of its own; the oldest release that is supported has nine tests for each.
    assert run(sources("cachelib") / "tests", HERE / "third_party/of_cachelib.py", tmp_path / "tests", service) >= 18


@pytest.mark.parametrize("timeout", [1, 0.3, datetime.timedelta(milliseconds=300)])
def test_a_timeout_counts_in_seconds(cache: PantlerCache, timeout: Any) -> None:
    assert cache.set("k", 1, timeout) is True
    left = cache.client.ttl("k")
    assert left is not None and 0 < left <= 1


def test_no_timeout_is_the_default_and_nought_is_never(url: str) -> None:
    cache = PantlerCache(url, default_timeout=30)
    cache.set("a", 1)
    cache.set("b", 1, 0)
    cache.add("c", 1)
    cache.inc("d")
    cache.set_many({"e": 1})
    for key in "acde":
        left = cache.client.ttl(key)
        assert left is not None and 25 < left <= 30, key
    assert cache.client.ttl("b") is None
    for default in (0, datetime.timedelta()):
        cache = PantlerCache(url, default)
        cache.set("f", 1)
        cache.inc("g")
        assert cache.client.ttl("f") is None and cache.client.ttl("g") is None
    with pytest.raises(TypeError, match="a number of seconds or a timedelta"):
        cache.set("f", 1, "10")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a number of seconds or a timedelta"):
        PantlerCache(url, None)  # type: ignore[arg-type]


def test_a_negative_timeout_is_over_at_once(cache: PantlerCache) -> None:
    cache.set("k", 1)
    assert cache.set("k", 2, -1)
    assert cache.get("k") is None
    assert cache.add("k", 2, -1) is True and not cache.has("k")
    cache.set("k", 1)
    assert cache.add("k", 2, -1) is False and cache.get("k") == 1
    assert cache.set_many({"k": 1, "l": 2}, -1) == ["k", "l"]
    assert cache.get_many("k", "l") == [None, None]


def test_clear_drops_what_has_the_prefix_alone(url: str) -> None:
    one, other, all_of_it = PantlerCache(url, key_prefix="one:"), PantlerCache(url, key_prefix=lambda: "other:"), PantlerCache(url)
    one.set("k", 1)
    other.set("k", 2)
    assert all_of_it.get_dict("one:k", "other:k") == {"one:k": 1, "other:k": 2}
    assert one.clear() is True
    assert (one.get("k"), other.get("k")) == (None, 2)
    assert all_of_it.clear() is True
    assert other.get("k") is None


def test_a_counter_is_atomic_and_no_other_value_is_one(cache: PantlerCache) -> None:
    assert [cache.inc("n"), cache.inc("n", 4), cache.dec("n", 10)] == [1, 5, -5]
    cache.set("text", "x")
    with pytest.raises(Invalid):
        cache.inc("text")


def test_what_cannot_be_pickled_is_an_error_of_pickles(cache: PantlerCache) -> None:
    for write in (cache.set, cache.add, lambda key, value: cache.set_many({key: value})):
        with pytest.raises(pickle.PickleError):
            write("k", lambda: None)
    assert not cache.has("k")


def test_what_cannot_be_read_is_a_miss_and_hides_no_other(cache: PantlerCache) -> None:
    class Image:
        def dumps(self, value: Any) -> tuple[bytes, str]:
            return value, "image/png"

        def loads(self, data: bytes, media_type: str) -> Any:
            raise AssertionError

    cache.client.with_serializer(Image()).set("logo", b"\x89PNG")
    cache.set("k", 1)
    assert cache.get("logo") is None
    assert cache.get_many("logo", "k", "none") == [None, 1, None]


def test_other_languages_read_what_json_has(cache: PantlerCache, url: str) -> None:
    cache.set("plain", {"a": [1, None]})
    cache.set("tuple", (1, 2))
    assert Client(url, serializer="json").get("plain") == {"a": [1, None]}
    assert cache.get("tuple") == (1, 2)


def test_long_keys_are_shortened_and_not_confused(cache: PantlerCache) -> None:
    one, other = "é" * 2000 + "a", "é" * 2000 + "b"
    cache.set(one, 1)
    cache.set_many({other: 2, "short": 3})
    assert cache.get_many(one, other, "short") == [1, 2, 3]
    assert cache.delete_many(one, other) == [one, other]
    assert cache.get_many(one, other) == [None, None]


def test_a_service_that_is_away_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    cache = PantlerCache("http://127.0.0.1:1")
    assert cache.get("k") is None
    assert cache.get_many("k", "l") == [None, None]
    assert cache.get_dict("k") == {"k": None}
    assert cache.set("k", 1) is False
    assert cache.add("k", 1) is False
    assert cache.set_many({"k": 1}) == []
    assert cache.delete("k") is False
    assert cache.delete_many("k") == []
    assert cache.has("k") is False
    assert cache.inc("k") is None
    assert cache.dec("k") is None
    assert cache.clear() is False
    assert len(caplog.records) == 1
    with pytest.raises(RuntimeError, match="Failed to delete keys"):
        PantlerCache("http://127.0.0.1:1", ignore_delete_many_errors=False).delete_many("k")


def test_a_client_of_ones_own_is_taken(url: str) -> None:
    client = Client(url, serializer="json")
    cache = PantlerCache(client)
    assert cache.client is client
    cache.set("k", [1])
    assert client.get("k") == [1]
    with pytest.raises(TypeError, match="no room for timeout"):
        PantlerCache(client, timeout=5)
    with pytest.raises(TypeError, match="nonsense"):
        PantlerCache(url, nonsense=5)


def test_a_value_that_is_too_large_is_not_stored(cache: PantlerCache) -> None:
    large = "x" * (9 << 20)
    assert cache.set("k", large) is False
    assert cache.set_many({"k": large, "l": 1}) == ["l"]
    assert cache.get_many("k", "l") == [None, 1]


def test_a_key_that_cannot_be_is_no_miss(cache: PantlerCache, url: str) -> None:
    for call in (lambda: cache.get("\0"), lambda: cache.get_many("k", "\0"), lambda: cache.has("\0"), lambda: cache.delete_many("\0"), PantlerCache(url, key_prefix="\0").clear):
        with pytest.raises(Invalid, match="NUL"):
            call()


def test_a_prefix_may_be_none(url: str) -> None:
    cache = PantlerCache(url, key_prefix=lambda: None)  # type: ignore[arg-type, return-value]
    cache.set("k", 1)
    assert cache.client.get("k") == 1
