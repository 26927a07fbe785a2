"""
`PantlerCache` beyond what Django's own tests ask: values, timeouts, keys, what django-redis adds, tags; blocking and as
coroutines.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import fractions
import inspect
import json
import os
import pickle
import string
import threading
import time
import urllib.request
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import shelf


@pytest.fixture(scope="module", autouse=True)
def site(service: str) -> None:
    shelf.ready(service)


@pytest.fixture
def make(site: None, service: str) -> Iterator[Callable[..., Any]]:
    """`make(OPTIONS={…}, KEY_PREFIX=…)` is a cache object of a namespace that is empty."""
    location = f"{service}/v1/namespaces/cache-{os.getpid()}"

    def made(**params: Any) -> Any:
        from pantler.django import PantlerCache

        return PantlerCache(params.pop("LOCATION", location), params)

    made().clear()
    yield made
    made().clear()


class ByTwins:
    """The cache with each call made by its `a…` twin."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Any:
        twin = getattr(self.cache, "a" + name, None)
        if inspect.iscoroutinefunction(twin):
            return lambda *args, **kwargs: asyncio.run(twin(*args, **kwargs))
        if inspect.isasyncgenfunction(twin):

            async def collected(*args: Any, **kwargs: Any) -> list[Any]:
                return [one async for one in twin(*args, **kwargs)]

            return lambda *args, **kwargs: asyncio.run(collected(*args, **kwargs))
        return getattr(self.cache, name)


@pytest.fixture(params=["blocking", "coroutines"])
def cached(request: pytest.FixtureRequest, make: Any) -> Callable[..., Any]:
    if request.param == "blocking":
        return make
    return lambda **params: ByTwins(make(**params))


@pytest.fixture
def cache(cached: Any) -> Any:
    return cached()


def raw(service: str, path: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(f"{service}/v1/namespaces/cache-{os.getpid()}/{path}", timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read()


# Values


class Colour(str):
    pass


VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**53,
    2**80,
    -(2**80),
    0.1,
    1e300,
    -0.0,
    float("inf"),
    "",
    "text",
    "a\0b\u2028\U0001f600",
    "\ud800",
    b"",
    b"bytes\xff",
    [],
    {},
    (),
    [1, [2, [3]]],
    {"a": {"b": [None]}},
    (1, (2,)),
    {1: "int key"},
    {(1, 2): 3},
    {None: 1},
    {1, 2},
    frozenset({1}),
    bytearray(b"x"),
    1 + 2j,
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=1),
    OrderedDict(a=1),
    Colour("red"),
    [True, 1, 1.0],
    {"nested": (1,)},
    "x" * 100_000,
    b"\0" * 100_000,
    string.Template("$a").template,
]


@pytest.mark.parametrize("serializer", ["auto", "pickle"])
def test_what_is_set_comes_back_with_its_type(cached: Any, serializer: str) -> None:
    cache = cached(OPTIONS={"SERIALIZER": serializer})
    for number, value in enumerate(VALUES):
        assert cache.set(f"k{number}", value) is True
        found = cache.get(f"k{number}", "missing")
        assert found == value and type(found) is type(value), value
    assert cache.get_many([f"k{number}" for number in range(len(VALUES))]) == {
        f"k{number}": value for number, value in enumerate(VALUES)
    }
    assert cache.set_many({f"m{number}": value for number, value in enumerate(VALUES)}) == []
    for number, value in enumerate(VALUES):
        found = cache.get(f"m{number}", "missing")
        assert found == value and type(found) is type(value), value


def test_djangos_own_values_come_back(cache: Any) -> None:
    from django.http import HttpResponse
    from django.utils.safestring import SafeString, mark_safe
    from django.utils.translation import gettext_lazy

    cache.set("safe", mark_safe("<b>"))
    assert type(cache.get("safe")) is SafeString
    response = HttpResponse(b"body", status=201, headers={"X-A": "b"})
    response.set_cookie("c", "d")
    cache.set("response", response)
    found = cache.get("response")
    assert (found.status_code, found.content, found["X-A"], found.cookies["c"].value) == (201, b"body", "b", "d")
    cache.set("lazy", gettext_lazy("Yes"))
    assert str(cache.get("lazy")) == "Yes"


def test_models_and_querysets_come_back(cache: Any) -> None:
    from django.db import connections

    from shelf.models import Author

    Author.objects.all().delete()
    author = Author.objects.create(name="Ann")
    try:
        cache.set("author", author)
        assert cache.get("author") == author
        # Read while it is pickled: not in the event loop.
        cache.set("authors", Author.objects.all())
        assert list(cache.get("authors")) == [author]
        cache.set_many({"many": Author.objects.all()})
        assert list(cache.get("many")) == [author]
        assert cache.add("added", Author.objects.all())
        assert list(cache.get("added")) == [author]
        assert list(cache.get_or_set("gotten", lambda: Author.objects.all())) == [author]
        assert list(cache.get("gotten")) == [author]
    finally:
        Author.objects.all().delete()
        connections.close_all()


def test_json_is_for_exactly_the_types_that_come_back_the_same(make: Any, service: str) -> None:
    cache = make()
    for value in ({"a": [1, None, "x"]}, "text", 5, True, None, 1.5):
        cache.set("k", value)
        kind, body = raw(service, "values/:1:k")
        assert (kind, json.loads(body)) == ("application/json", value)
    for value in ((1,), {1: 2}, Colour("red"), {"a": (1,)}):
        cache.set("k", value)
        assert raw(service, "values/:1:k")[0] == "application/x-python-pickle"
    cache = make(OPTIONS={"SERIALIZER": "pickle"})
    cache.set("k", 5)
    assert raw(service, "values/:1:k") == ("application/json", b"5")


def test_what_others_have_put_is_read(make: Any, service: str) -> None:
    request = urllib.request.Request(
        f"{service}/v1/namespaces/cache-{os.getpid()}/entries/:1:k",
        b'{"value":{"a":[1.5]}}',
        {"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=10).close()
    assert make().get("k") == {"a": [1.5]}


class Cannot:
    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not this one")


def test_what_cannot_be_pickled_raises_what_pickle_raises_and_changes_nothing(cached: Any) -> None:
    for options in ({}, {"IGNORE_EXCEPTIONS": True}, {"SERIALIZER": "pickle"}):
        cache = cached(OPTIONS=options)
        cache.set("k", "old")
        for call in (
            lambda: cache.set("k", Cannot()),
            lambda: cache.add("new", Cannot()),
            lambda: cache.set_many({"k": 1, "l": Cannot()}),
            lambda: cache.get_or_set("new", Cannot),
            lambda: cache.set("k", [Cannot()], nx=True),
            lambda: cache.set("k", Cannot(), 0),
        ):
            with pytest.raises(pickle.PicklingError):
                call()
        assert cache.get("k") == "old" and cache.get("new") is None and cache.get("l") is None


class Shout:
    """A serializer of a site's own."""

    def dumps(self, value: Any) -> tuple[bytes, str]:
        return repr(value).upper().encode(), "text/x-shout"

    def loads(self, data: bytes, media_type: str) -> Any:
        return f"{data.decode()}!"


@pytest.mark.parametrize("given", [Shout, Shout(), f"{__name__}.Shout"])
def test_a_serializer_of_ones_own(cached: Any, given: Any) -> None:
    cache = cached(OPTIONS={"SERIALIZER": given})
    cache.set("k", "a")
    assert cache.get("k") == "'A'!"
    cache.set("n", 5)
    assert cache.incr("n") == 6
    assert cache.get_or_set("none", None) is None
    assert cache.get("none", "missing") == "NONE!"


def test_a_value_that_is_too_large_is_an_error_and_leaves_no_old_one(cached: Any, service: str) -> None:
    namespace = f"small-{os.getpid()}"
    request = urllib.request.Request(
        f"{service}/v1/namespaces/{namespace}",
        b'{"max_value_size":1000}',
        {"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=10).close()
    from pantler import Refused

    location = f"{service}/v1/namespaces/{namespace}"
    cache = cached(LOCATION=location)
    for put in (lambda: cache.set("k", "x" * 2000), lambda: cache.set("k", b"x" * 20000)):
        cache.set("k", "small")
        with pytest.raises(Refused):
            put()
        assert cache.get("k") is None
    assert cache.set_many({"a": "x" * 2000, "b": "y", 3: b"z" * 2000}) == ["a", 3]
    assert cache.get_many(["a", "b"]) == {"b": "y"}
    assert cache.get_or_set("k", "x" * 2000) == "x" * 2000
    cache = cached(LOCATION=location, OPTIONS={"IGNORE_EXCEPTIONS": True})
    cache.set("k", "small")
    assert cache.set("k", "x" * 2000) is False
    assert cache.get("k") is None


# Timeouts


@pytest.mark.parametrize(
    ("timeout", "left"),
    [
        (None, None),
        (300, 300),
        (0.5, 0.5),
        (100.25, 100.25),
        (datetime.timedelta(minutes=2), 120),
        (decimal.Decimal("2.5"), 2.5),
        (True, 1),
        (3_153_600_000, 3_153_600_000),
        (3_153_600_001, None),
        (10**12, None),
        (float("inf"), None),
        (1e300, None),
        (2**70, None),
    ],
)
def test_timeouts(cached: Any, timeout: Any, left: float | None) -> None:
    cache = cached()

    def check(key: str) -> None:
        found = cache.pttl(key)
        assert found is None if left is None else left * 1000 - 2000 < found <= left * 1000

    cache.set("set", 1, timeout)
    assert cache.add("add", 1, timeout)
    cache.set_many({"many": 1}, timeout)
    cache.get_or_set("gotten", 1, timeout)
    cache.set("touched", 1, 5)
    assert cache.touch("touched", timeout)
    for key in ("set", "add", "many", "gotten", "touched"):
        check(key)
    by_default = cached(TIMEOUT=timeout if isinstance(timeout, int) else 300)
    by_default.set("default", 1)
    if isinstance(timeout, int):
        check("default")


@pytest.mark.parametrize(
    "timeout", [0, -1, -0.5, 0.0, datetime.timedelta(0), datetime.timedelta(seconds=-1), float("-inf")]
)
def test_a_timeout_that_is_over_deletes(cached: Any, timeout: Any) -> None:
    cache = cached()
    for call in (
        lambda: cache.set("k", 2, timeout),
        lambda: cache.set_many({"k": 2}, timeout),
        lambda: cache.touch("k", timeout),
        lambda: cache.expire("k", timeout),
        lambda: cache.set("k", 2, timeout, xx=True),
    ):
        cache.set("k", 1)
        call()
        assert cache.get("k") is None
    assert cache.add("k", 1, timeout) is True and cache.get("k") is None
    assert cache.get_or_set("k", lambda: 5, timeout) == 5 and cache.get("k") is None
    assert cache.touch("k", timeout) is False
    cache.set("k", 1)
    assert cache.add("k", 2, timeout) is False and cache.get("k") == 1


def test_a_tiny_timeout_is_one_and_not_none(cache: Any) -> None:
    assert cache.set("k", 1, 1e-9)
    time.sleep(0.05)
    assert cache.get("k") is None


@pytest.mark.parametrize("timeout", ["60", float("nan"), [], object(), datetime.datetime(2026, 1, 1), 1j])
def test_what_is_no_timeout_is_refused(cached: Any, timeout: Any) -> None:
    cache = cached()
    for call in (
        lambda: cache.set("k", 1, timeout),
        lambda: cache.add("k", 1, timeout),
        lambda: cache.touch("k", timeout),
    ):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            call()


# Keys


@pytest.mark.parametrize(
    "key",
    [
        "a/b",
        "..",
        ".",
        "../x",
        "//",
        "/",
        "a//b",
        "+",
        "%",
        "%2F",
        "%00",
        "?",
        "#",
        "a b",
        "ä",
        "\U0001f600",
        "a\nb",
        "a\0b",
        "\ud800",
        "x" * 250,
        "x" * 1024,
        "x" * 1025,
        "ä" * 600,
        "x" * 100_000,
        "a;b",
        "a,b",
        "&key=",
        "=",
        "\x7f",
        "\r\n",
        "",
        " ",
        "~sha256~",
        5,
        None,
        ("a", 1),
        1.5,
    ],
)
def test_any_key(cached: Any, key: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cache = cached()
        other = f"{key}x"
        assert cache.set(key, "value")
        assert cache.get(key) == "value" and cache.get(other) is None
        assert cache.get_many([key, other]) == {key: "value"}
        assert cache.has_key(key) and not cache.has_key(other)
        assert cache.touch(key, 50) and cache.ttl(key) == 50
        assert cache.set_many({key: 7, other: 8}) == []
        assert cache.incr(key) == 8 and cache.get(other) == 8
        assert cache.incr_version(key) == 2 and cache.get(key, version=2) == 8 and cache.get(key) is None
        assert cache.delete(key, version=2)
        assert cache.get_or_set(key, lambda: "loaded") == "loaded"
        cache.delete_many([key, other])
        assert cache.get(key) is None and cache.get(other) is None


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_keys_that_are_hashed_do_not_meet_others(make: Any) -> None:
    cache = make()
    long = "x" * 2000
    cache.set(long, "long")
    (name,) = cache.client.iter_keys()
    assert name.startswith(":1:xxx") and len(name) < 300
    # Who writes the digest as a key of his own does not get there.
    forged = name.removeprefix(":1:")
    assert cache.get(forged) is None
    cache.set(forged, "forged")
    assert cache.get(long) == "long"
    assert cache.delete_pattern("xx*") == 2


def test_warnings_as_django_has_them(make: Any) -> None:
    from django.core.cache import CacheKeyWarning
    from django.core.cache.backends.base import memcache_key_warnings

    cache = make()
    for key in ("plain", "a b", "x" * 247, "x" * 248, "ä", "ä b", "\x7f", "a\x01", "\x85", "\u2028", ""):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cache.get(key)
        expected = list(memcache_key_warnings(f":1:{key}"))
        assert [str(one.message) for one in caught] == expected
        assert all(one.category is CacheKeyWarning for one in caught)


def test_prefix_version_and_key_function(cached: Any) -> None:
    def reversed_key(key: str, prefix: str, version: int) -> str:
        return f"{version}|{key[::-1]}|{prefix}"

    one, two = cached(KEY_PREFIX="one", VERSION=3), cached(KEY_PREFIX="two")
    one.set("k", 1)
    assert two.get("k") is None and one.get("k", version=1) is None and one.get("k", version=3) == 1
    assert one.keys("*") == ["k"] and two.keys("*") == []
    own = cached(KEY_FUNCTION=reversed_key, KEY_PREFIX="p")
    own.set("abc", 1)
    assert own.get("abc") == 1
    assert own.make_key("abc") == "1|cba|p"
    middle = cached(KEY_FUNCTION=lambda key, prefix, version: f"{prefix}<{key}>{version}", KEY_PREFIX="p")
    middle.set_many({"aa": 1, "ab": 2, "b": 3})
    assert sorted(middle.keys("a*")) == ["aa", "ab"]
    assert middle.delete_pattern("a*") == 2 and middle.keys("*") == ["b"]
    reverse = cached(KEY_PREFIX="p", REVERSE_KEY_FUNCTION=lambda name: name.upper())
    reverse.set("k", 1)
    assert reverse.keys("*") == ["P:1:K"]


# Counting


def test_counting_integers(cache: Any) -> None:
    cache.set("n", 5, 100)
    assert (
        cache.incr("n"),
        cache.incr("n", 10),
        cache.incr("n", -20),
        cache.decr("n", 4),
        cache.decr("n", -1),
        cache.incr("n", 0),
    ) == (6, 16, -4, -8, -7, -7)
    assert 98 <= cache.ttl("n") <= 100
    for missing in (
        lambda: cache.incr("none"),
        lambda: cache.decr("none"),
        lambda: cache.incr("none", 1.5),
        lambda: cache.incr_version("none"),
    ):
        with pytest.raises(ValueError, match="none"):
            missing()
    assert cache.incr("new", 3, ignore_key_check=True) == 3 and cache.ttl("new") == 300
    assert cache.incr("new", 3, ignore_key_check=True) == 6


@pytest.mark.parametrize(
    ("value", "delta", "total"),
    [
        (2**53 - 1, 1, 2**53),
        (2**80, 1, 2**80 + 1),
        (5, 2**60, 5 + 2**60),
        (-(2**53) + 1, -1, -(2**53)),
        (1.5, 1, 2.5),
        (1, 0.5, 1.5),
        (True, 1, 2),
        (decimal.Decimal("1.1"), 1, decimal.Decimal("2.1")),
        (datetime.date(2026, 1, 1), datetime.timedelta(1), datetime.date(2026, 1, 2)),
        (1, True, 2),
        ("a", "b", "ab"),
        ([1], [2], [1, 2]),
    ],
)
def test_counting_what_is_no_small_integer(cache: Any, value: Any, delta: Any, total: Any) -> None:
    for timeout in (100, None):
        cache.set("n", value, timeout, tags=["t"])
        assert cache.incr("n", delta) == total
        found = cache.get("n")
        assert found == total and type(found) is type(total)
        assert cache.ttl("n") in ((99, 100) if timeout else (None,))
    cache.client.invalidate(tags=["t"])
    assert cache.get("n") is None


@pytest.mark.parametrize("value", [None, "text", [1], {}, b"x"])
def test_counting_what_cannot_be_counted_is_a_type_error_as_locmems(cache: Any, value: Any) -> None:
    cache.set("n", value)
    with pytest.raises(TypeError):
        cache.incr("n")
    with pytest.raises(TypeError):
        cache.decr("n")
    assert cache.get("n") == value


def test_counting_by_many_threads_loses_nothing(make: Any) -> None:
    cache = make()
    for start in (0, 2**60, 0.5):
        cache.set("n", start)
        with ThreadPoolExecutor(8) as threads:
            for _ in threads.map(lambda _: cache.incr("n"), range(80)):
                pass
        assert cache.get("n") == start + 80


def test_another_version_keeps_timeout_tags_and_bytes(cache: Any) -> None:
    for value, timeout in ((5, 100), ((1, 2), 50.5), (None, None), ("text", 3000)):
        cache.set("k", value, timeout, tags=["t"])
        assert cache.incr_version("k", 4) == 5
        assert cache.get("k", "missing") == "missing"
        assert cache.get("k", "missing", version=5) == value
        left = cache.pttl("k", version=5)
        assert left is None if timeout is None else timeout * 1000 - 2000 < left <= timeout * 1000
        assert cache.decr_version("k", 4, version=5) == 1 and cache.get("k", "missing") == value
        cache.client.invalidate(tags=["t"])
        assert cache.get("k", "missing") == "missing"


def test_keys_that_cannot_stand_in_a_dict(cache: Any) -> None:
    # As with Django's own backends, which make a text of each.
    cache.set(["a"], 1)
    cache.set("b", 1)
    assert cache.get(["a"]) == 1
    cache.delete_many(key for key in (["a"], "b"))
    assert cache.get(["a"]) is None and cache.get("b") is None
    cache.set(["a"], 1)
    asyncio.run(cache.adelete_many([["a"]]))
    assert cache.get(["a"]) is None


# What django-redis adds


def test_time_to_live(cache: Any) -> None:
    cache.set("k", 1, 100)
    assert cache.ttl("k") == 100 and 99_000 < cache.pttl("k") <= 100_000
    assert cache.persist("k") is True and cache.ttl("k") is None and cache.pttl("k") is None
    assert cache.persist("k") is False
    assert cache.expire("k", 20) is True and cache.ttl("k") == 20
    assert cache.pexpire("k", 1500) is True and 500 < cache.pttl("k") <= 1500
    assert cache.pexpire("k", datetime.timedelta(seconds=30)) is True and cache.ttl("k") == 30
    soon = datetime.datetime.now() + datetime.timedelta(seconds=40)
    assert cache.expire_at("k", soon) is True and cache.ttl("k") in (39, 40)
    aware = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=5))) + datetime.timedelta(seconds=50)
    assert cache.expire_at("k", aware) is True and cache.ttl("k") in (49, 50)
    assert cache.expire_at("k", int(time.time()) + 60) is True and cache.ttl("k") in (59, 60)
    assert cache.pexpire_at("k", int(time.time() * 1000) + 70_000) is True and cache.ttl("k") in (69, 70)
    assert cache.expire_at("k", datetime.datetime(9999, 1, 1)) is True and cache.ttl("k") is None
    assert cache.expire_at("k", datetime.datetime.max) is True and cache.ttl("k") is None
    for forever in (10**400, float("inf")):
        assert cache.pexpire_at("k", forever) is True and cache.ttl("k") is None
    with pytest.raises(ValueError, match="NaN"):
        cache.expire_at("k", float("nan"))
    assert cache.get("k") is not None
    for past in (datetime.datetime.min, -(10**400), float("-inf")):
        cache.set("k", "v")
        assert cache.expire_at("k", past) is True and cache.get("k") is None
    cache.set("k", "v")
    assert cache.expire_at("k", datetime.datetime(2020, 1, 1)) is True and cache.get("k") is None
    assert cache.ttl("k") == 0 and cache.pttl("k") == 0
    for call in (
        lambda: cache.persist("k"),
        lambda: cache.expire("k", 5),
        lambda: cache.pexpire("k", 5),
        lambda: cache.expire_at("k", soon),
        lambda: cache.expire_at("k", 0),
        lambda: cache.pexpire_at("k", soon),
    ):
        assert call() is False
    cache.set("k", 1)
    with pytest.raises(TypeError):
        cache.expire_at("k", "tomorrow")


def test_set_where_there_is_none_or_one(cache: Any) -> None:
    assert cache.set("k", 1, xx=True) is False and cache.get("k") is None
    assert cache.set("k", 1, nx=True) is True
    assert cache.set("k", 2, nx=True) is False and cache.get("k") == 1
    assert cache.set("k", 3, 50, xx=True) is True and cache.get("k") == 3 and cache.ttl("k") == 50


def test_keys_by_pattern(cache: Any) -> None:
    names = ["a", "ab", "abc", "b", "a*c", "a[c", "a\\c", "ä", "A"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cache.set_many({name: 1 for name in names})
        cache.set("a", 1, version=2)
        for pattern, found in {
            "*": names,
            "a*": ["a", "ab", "abc", "a*c", "a[c", "a\\c"],
            "a": ["a"],
            "?": ["a", "b", "ä", "A"],
            "a?c": ["abc", "a*c", "a[c", "a\\c"],
            "a[bx]c": ["abc"],
            "a[^b]c": ["a*c", "a[c", "a\\c"],
            "a[a-c]c": ["abc"],
            "a\\*c": ["a*c"],
            "a\\\\c": ["a\\c"],
            "*c": ["abc", "a*c", "a[c", "a\\c"],
            "": [],
            "[": [],
            "a[": [],
            "**a**": ["a", "ab", "abc", "a*c", "a[c", "a\\c"],
        }.items():
            assert sorted(cache.keys(pattern)) == sorted(found), pattern
            assert sorted(cache.iter_keys(pattern, itersize=5)) == sorted(found), pattern
        assert cache.keys("*", version=2) == ["a"]
        assert cache.delete_pattern("a?c") == 4
        assert cache.delete_pattern("a*") == 2
        assert cache.delete_pattern("nothing*") == 0
        assert sorted(cache.keys("*")) == ["A", "b", "ä"]
        assert cache.delete_pattern("*", version=2) == 1
        assert cache.delete_pattern("*", prefix="other") == 0


def test_a_pattern_that_a_stranger_wrote_ends_in_time(make: Any) -> None:
    cache = make()
    cache.set("a" * 200, 1)
    began = time.monotonic()
    assert cache.keys("*a" * 30 + "b") == []
    assert cache.keys("a*" * 30 + "b") == []
    assert time.monotonic() - began < 5


def test_many_keys(cache: Any) -> None:
    data = {f"k{number}": number for number in range(2500)}
    assert cache.set_many(data) == []
    assert cache.get_many(data) == data
    assert len(cache.keys("*")) == 2500
    assert cache.delete_pattern("*9") == 250
    cache.delete_many(iter(data))
    assert cache.get_many(data) == {}


@pytest.mark.parametrize("timeout", [3600, 301, 1e9, float("inf")])
def test_a_lock_may_be_given_the_hours_that_other_locks_need(make: Any, timeout: float) -> None:
    cache = make()
    with cache.lock("hours", timeout=timeout) as lock:
        assert lock.owned() and cache.lock("hours").acquire(blocking=False) is False

    async def others() -> None:
        async with cache.alock("hours", timeout=timeout) as lock:
            assert lock.owned()

    asyncio.run(others())


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_lock(make: Any) -> None:
    from pantler import LockHeld

    cache = make()
    assert cache.set("k", "value")
    with cache.lock("k", timeout=5) as lock:
        assert lock.owned()
        # The lock is no entry.
        assert cache.get("k") == "value" and cache.keys("*") == ["k"]
        assert cache.lock("k").acquire(blocking=False) is False
        assert cache.lock("k").acquire(blocking_timeout=0.1) is False
        assert cache.lock("k", blocking=False).acquire() is False
        assert cache.lock("k", version=2).acquire(blocking=False) is True
        with pytest.raises(LockHeld):
            with cache.lock("k", blocking_timeout=0.1):
                pass
    assert not lock.owned()
    again = cache.lock("k")
    assert again.acquire(blocking=False) is True
    again.release()
    with cache.lock("x" * 2000), pytest.raises(LockHeld), cache.lock("x" * 2000, blocking=False):
        pass


def test_a_lock_of_coroutines(make: Any) -> None:
    cache = make()

    async def run() -> None:
        async with cache.alock("k") as lock:
            assert lock.owned()
            assert await cache.alock("k").acquire(blocking=False) is False
        other = cache.alock("k")
        assert await other.acquire() is True
        await other.release()

    asyncio.run(run())


# Tags


def test_tags(cached: Any) -> None:
    cache = cached(OPTIONS={"TAGS": ["site"]})
    cache.set("a", 1, tags=["x"])
    cache.add("b", 1, tags=("x", "y"))
    cache.set_many({"c": 1}, tags={"y"})
    cache.get_or_set("d", lambda: 7, tags=lambda value: [f"value-{value}"])
    cache.get_or_set("e", None, tags=lambda value: [f"value-{value}"])
    cache.set("f", (1,), tags=["with, comma", "ä"])
    cache.client.invalidate(tags=["x"])
    assert sorted(cache.keys("*")) == ["c", "d", "e", "f"]
    cache.client.invalidate(tags=["value-7", "value-None", "with, comma"])
    assert cache.keys("*") == ["c"]
    cache.client.invalidate(tags=["site"])
    assert cache.keys("*") == []
    with pytest.raises(TypeError):
        cache.set("a", 1, tags="x")


# Get or set


def test_get_or_set_runs_once_among_threads(make: Any) -> None:
    cache = make()
    calls = []

    def load() -> Any:
        calls.append(1)
        time.sleep(0.3)
        return {"made": len(calls)}

    with ThreadPoolExecutor(50) as threads:
        found = [one.result() for one in [threads.submit(cache.get_or_set, "k", load, 60) for _ in range(50)]]
    assert calls == [1] and all(one == {"made": 1} for one in found)


def test_get_or_set_that_raises_lets_the_next_one_try(cached: Any) -> None:
    cache = cached()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("k", lambda: 1 / 0)
    assert cache.get_or_set("k", lambda: 5) == 5


def test_get_or_set_under_a_lease_of_ones_own_does_not_wait(cached: Any) -> None:
    cache = cached()

    def run(cache: Any) -> None:
        assert cache.get("template.cache.k") is None
        began = time.monotonic()
        assert cache.get_or_set("template.cache.k", lambda: 5) == 5
        assert time.monotonic() - began < 1
        assert cache.get("template.cache.k") == 5

    async def arun(cache: Any) -> None:
        assert await cache.aget("template.cache.k") is None
        began = time.monotonic()
        assert await cache.aget_or_set("template.cache.k", lambda: 5) == 5
        assert time.monotonic() - began < 1
        assert await cache.aget("template.cache.k") == 5

    if isinstance(cache, ByTwins):
        asyncio.run(arun(cache.cache))
    else:
        run(cache)


def test_get_or_set_takes_coroutine_functions(make: Any) -> None:
    cache = make()

    async def load() -> int:
        await asyncio.sleep(0)
        return 5

    async def run() -> None:
        assert await cache.aget_or_set("k", load) == 5
        assert await cache.aget("k") == 5

    asyncio.run(run())


# Stale values


def test_stale_values_are_served_while_one_caller_refreshes(cached: Any) -> None:
    cache = cached(OPTIONS={"STALE_TTL": 60})
    cache.set("k", "old", 0.05)
    time.sleep(0.1)
    if isinstance(cache, ByTwins):

        async def both() -> None:
            assert await cache.cache.aget("k") is None
            assert await asyncio.create_task(_other(cache.cache)) == "old"
            await cache.cache.aset("k", "new")
            assert await cache.cache.aget("k") == "new"

        async def _other(other: Any) -> Any:
            import contextvars

            return await asyncio.get_running_loop().create_task(
                other.aget("k"), **({"context": contextvars.Context()} if _HAS_CONTEXT else {})
            )

        if not _HAS_CONTEXT:
            pytest.skip("tasks take no context before Python 3.11")
        asyncio.run(both())
    else:
        assert cache.get("k") is None
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(cache.get, "k").result() == "old"
        cache.set("k", "new")
        assert cache.get("k") == "new"


_HAS_CONTEXT = "context" in inspect.signature(asyncio.BaseEventLoop.create_task).parameters


def test_a_stale_value_that_another_wrote_since_is_replaced_by_a_set(make: Any) -> None:
    cache = make(OPTIONS={"STALE_TTL": 60})
    cache.set("k", "old", 0.05)
    time.sleep(0.1)
    assert cache.get("k") is None
    with ThreadPoolExecutor(1) as thread:
        thread.submit(cache.set, "k", "another's").result()
    # It is no page, so the last one who sets wins, as in any cache.
    cache.set("k", "new")
    assert cache.get("k") == "new"


def test_to_who_adds_or_counts_what_is_stale_is_gone(cached: Any) -> None:
    cache = cached(OPTIONS={"STALE_TTL": 60})

    def expired(value: Any = 1) -> None:
        cache.set("k", value, 0.03)
        time.sleep(0.05)

    # A lock or a limit that lasted STALE_TTL longer than it says would be none.
    for add in (lambda: cache.add("k", 5, 100), lambda: cache.set("k", 5, 100, nx=True)):
        expired()
        assert add() is True and cache.get("k") == 5 and cache.ttl("k") == 100
        assert add() is False and cache.get("k") == 5
    expired()
    with pytest.raises(ValueError, match="not found"):
        cache.incr("k")
    assert cache.incr("k", 2, ignore_key_check=True) == 2 and cache.get("k") == 2
    assert cache.incr("k") == 3
    expired("text")
    assert cache.incr("k", ignore_key_check=True) == 1


def test_of_ten_who_add_over_what_is_stale_one_does(make: Any) -> None:
    cache = make(OPTIONS={"STALE_TTL": 60})
    for _ in range(5):
        cache.set("k", "old", 0.03)
        time.sleep(0.05)
        with ThreadPoolExecutor(10) as threads:
            added = list(threads.map(lambda number: cache.add("k", number, 100), range(10)))
        assert added.count(True) == 1 and cache.get("k") == added.index(True)


# Settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"TIMOUT": 1}, "did you mean TIMEOUT"),
        ({"CLIENT_CLASS": "django_redis.client.DefaultClient"}, "no option 'CLIENT_CLASS'"),
        ({"TIMEOUT": 0}, "TIMEOUT"),
        ({"TIMEOUT": "2"}, "TIMEOUT"),
        ({"SERIALIZER": "yaml"}, "msgpack"),
        ({"SERIALIZER": "no.such.Thing"}, "SERIALIZER"),
        ({"SERIALIZER": 5}, "SERIALIZER"),
        ({"TAGS": "x"}, "TAGS"),
        ({"LEASES": "template."}, "LEASES"),
        ({"LEASES": [""]}, "LEASES"),
        ({"LEASE_TTL": 1000}, "LEASE_TTL"),
        ({"LEASE_WAIT": 60}, "LEASE_WAIT"),
        ({"MAX_IDLE": -1}, "MAX_IDLE"),
        ({"IGNORE_EXCEPTIONS": "yes"}, "IGNORE_EXCEPTIONS"),
        ({"NAMESPACE": "other"}, "namespace"),
        ({"CA_FILE": "/x.pem"}, "ca_file"),
        ({"STALE_TTL": -1}, "stale_ttl|STALE_TTL"),
        ({"TOKEN": "a b"}, "token"),
        ({"TOKEN": 5}, "TOKEN"),
    ],
)
def test_settings_that_cannot_be(make: Any, options: dict[str, Any], message: str) -> None:
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match=message):
        make(OPTIONS=options)


@pytest.mark.parametrize(
    "location",
    ["localhost:8080", "redis://localhost", "http://", 5, ["http://a/v1/namespaces/x", "http://b/v1/namespaces/y"]],
)
def test_locations_that_cannot_be(make: Any, location: Any) -> None:
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match="LOCATION"):
        make(LOCATION=location)


def test_settings_of_locmem_may_stay(make: Any) -> None:
    assert make(OPTIONS={"MAX_ENTRIES": 30, "CULL_FREQUENCY": 2}).set("k", 1)


def test_cache_objects_of_one_place_share_connections(make: Any) -> None:
    assert make()._service is make(KEY_PREFIX="x")._service
    assert make()._service is not make(OPTIONS={"TIMEOUT": 3})._service


def test_over_a_unix_socket(cached: Any, service_socket: str) -> None:
    cache = cached(LOCATION=f"unix:{service_socket}:/v1/namespaces/cache-{os.getpid()}")
    assert cache.set("k", 1) and cache.get("k") == 1


# What others lay around it


def test_wrappers_on_the_object_see_the_calls(make: Any) -> None:
    """django-debug-toolbar sets its wrappers as attributes of the cache object."""
    cache = make()
    seen = []
    for name in (
        "add",
        "get",
        "set",
        "get_or_set",
        "touch",
        "delete",
        "clear",
        "get_many",
        "set_many",
        "delete_many",
        "has_key",
        "incr",
        "decr",
        "incr_version",
        "decr_version",
    ):
        original = getattr(cache, name)

        def wrapper(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            seen.append(_name)
            return _original(*args, **kwargs)

        setattr(cache, name, wrapper)
    cache.set("n", 1)
    cache.decr("n")
    assert "n" in cache
    cache.decr_version("n", -1)
    cache.expire("n", 5)
    assert seen == ["set", "decr", "incr", "has_key", "decr_version", "incr_version", "touch"]
    assert not hasattr(cache, "__slots__")


def test_threads_share_a_cache_object(make: Any) -> None:
    cache = make()
    errors = []

    def work(number: int) -> None:
        for turn in range(50):
            cache.set(f"k{number}", (number, turn))
            if cache.get(f"k{number}") != (number, turn):
                errors.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
