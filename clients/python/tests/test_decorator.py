"""``@client.cached``."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import inspect
import itertools
import subprocess
import sys
import uuid
from typing import Any

import pytest

from pantler import AsyncClient, Client

_numbers = itertools.count()


class Color(enum.Enum):
    RED = 1


class Thing:
    pass


@pytest.fixture
def client(service: str) -> Client:
    return Client(f"{service}/v1/namespaces/decorator-{next(_numbers)}", serializer="auto")


def test_a_function_is_run_once_for_its_arguments_however_they_are_passed(client: Client) -> None:
    calls: list[Any] = []

    @client.cached(ttl=60)
    def add(a: int, b: int = 2, *rest: int, c: int = 3) -> list[int]:
        """Adds."""
        calls.append((a, b, rest, c))
        return [a + b + c + sum(rest)]

    assert add(1) == add(1, 2) == add(a=1) == add(1, b=2, c=3) == add(b=2, a=1) == [6]
    assert calls == [(1, 2, (), 3)]
    assert add(1, 2, 3) == [9] and add(1, c=4) == [7]
    assert len(calls) == 3
    left = client.ttl(add.key(1))
    assert left is not None and 50 < left <= 60


def test_it_is_like_functools(client: Client) -> None:
    @client.cached(ttl=60)
    def double(number: int) -> int:
        """Doubles."""
        return 2 * number

    assert (double.__name__, double.__doc__) == ("double", "Doubles.")  # type: ignore[attr-defined]
    assert double.__wrapped__(4) == 8 and not client.has(double.key(4))
    assert inspect.signature(double) == inspect.signature(double.__wrapped__)
    assert double(4) == 8 and client.get(double.key(4)) == 8
    assert double.invalidate(number=4) is True
    assert double.invalidate(4) is False
    with pytest.raises(TypeError, match="missing a required argument: 'number'"):
        double()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword"):
        double.key(4, x=5)  # type: ignore[call-arg]


def test_a_coroutine_function_is_kept_by_either_client(client: Client) -> None:
    other = AsyncClient(f"{client._settings.addresses[0]}", namespace=client.namespace, serializer="auto")
    for number, either in enumerate((client, other)):
        calls: list[int] = []

        @either.cached(ttl=60, key=f"{number}-{{value}}")
        async def double(value: int) -> int:
            calls.append(value)
            await asyncio.sleep(0.05)
            return 2 * value

        @either.cached(ttl=60, key=f"{number}-plain-{{value}}")
        def plain(value: int) -> int:
            calls.append(value)
            return 3 * value

        assert inspect.iscoroutinefunction(double)

        async def main() -> None:
            assert await asyncio.gather(*(double(4) for _ in range(20))) == [8] * 20
            assert calls == [4]
            assert double.key(4) == f"{number}-4"
            assert await double.invalidate(4) is True
            assert await double(4) == 8
            assert calls == [4, 4]

        asyncio.run(main())
        assert plain(4) == plain(4) == 12 and len(calls) == 3
        assert plain.invalidate(4)
    client.close()


def test_methods_take_a_key(client: Client) -> None:
    class Shelf:
        def __init__(self, number: int) -> None:
            self.number = number

        @client.cached(ttl=60, key="shelf-{self.number}-{row}")
        def books(self, row: int) -> list[int]:
            return [self.number, row]

        @client.cached(ttl=60, key=lambda self, row: f"pages-{self.number}-{row}")
        def pages(self, row: int) -> list[int]:
            return [row]

        @client.cached(ttl=60)
        def unnamed(self, row: int) -> int:
            return row

        @staticmethod
        @client.cached(ttl=60)
        def static(row: int) -> int:
            return row

    one, other = Shelf(1), Shelf(2)
    assert one.books(3) == [1, 3] and other.books(3) == [2, 3]
    assert client.get("shelf-1-3") == [1, 3]
    assert Shelf.books.invalidate(one, 3) and Shelf.books.key(other, 3) == "shelf-2-3"
    assert one.pages(row=4) == [4] and client.get("pages-1-4") == [4]
    assert Shelf.static(5) == 5
    with pytest.raises(TypeError, match=r"unnamed, argument 'self': no key can be made of a .*Shelf.*Give the decorator a key"):
        one.unnamed(1)


@pytest.mark.parametrize("value", [Thing(), object(), len, lambda: 1, [Thing()], {"a": Thing()}, type("S", (str,), {})("a"), range(3), bytearray()])
def test_what_no_key_can_be_made_of_is_refused(client: Client, value: Any) -> None:
    @client.cached(ttl=60)
    def find(thing: Any) -> int:
        pytest.fail("called")

    with pytest.raises(TypeError, match="argument 'thing': no key can be made of a"):
        find(value)


def test_different_arguments_have_different_keys_and_equal_ones_the_same(client: Client) -> None:
    @client.cached()
    def find(*things: Any, **named: Any) -> int:
        return 1

    day = datetime.datetime(2026, 1, 2)
    values: list[tuple[Any, ...]] = [
        (), (None,), (0,), (False,), (0.0,), (-0.0,), ("",), (b"",), ("0",), (b"0",), ((),), ([],), ({},), (set(),), ((0,),), ([0],), ("a", "b"), ("a,b",), ("a', 'b",), (Color.RED,), (1,),
        (decimal.Decimal("1"),), (uuid.UUID(int=1),), (day,), (day.date(),), (day.time(),), (day.replace(tzinfo=datetime.timezone.utc),), (datetime.timedelta(1),), ({"a": 1},), ({"a": "1"},),
        ([["a"], "b"],), ([["a", "b"]],), (["a"], "b"), (1j,),
    ]  # fmt: skip
    keys = [find.key(*value) for value in values] + [find.key(a=1), find.key(b=1), find.key({"a": 1}, a=1)]
    assert len(set(keys)) == len(keys)
    assert find.key({"a": 1, "b": {2, 1}}) == find.key({"b": {1, 2}, "a": 1})
    long = find.key("é" * 2000)
    assert len(long.encode()) <= 1024 and long != find.key("é" * 2001)


def test_a_key_is_the_same_in_every_process() -> None:
    program = """
import pantler, enum
class Color(enum.Enum): RED = 1
@pantler.Client("http://127.0.0.1:1").cached()
def find(*things): pass
print(find.key({"x", "y", "z"}, {"b": 1, "a": frozenset("abc")}, Color.RED))
"""
    outputs = {
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True).stdout
        for seed in range(1, 4)
    }
    assert len(outputs) == 1


def test_nothing_is_remembered_for_a_while(client: Client) -> None:
    calls: list[int] = []

    @client.cached(negative_ttl=0)
    def forgetful() -> None:
        calls.append(1)

    @client.cached()
    def mindful() -> None:
        calls.append(2)

    for _ in range(3):
        assert forgetful() is None and mindful() is None
    assert calls == [1, 2, 1, 1]


def test_tags_and_the_other_arguments_are_those_of_fetch(client: Client) -> None:
    calls: list[int] = []

    @client.cached(60, tags=lambda value: [f"number-{value}"], stale_ttl=30)
    def load() -> int:
        calls.append(1)
        return 7

    assert load() == load() == 7
    client.invalidate(tags=["number-7"])
    assert load() == 7 and len(calls) == 2

    @client.cached(60, retry_after=30)
    def fail() -> int:
        raise LookupError("source")

    with pytest.raises(LookupError):
        fail()
    with pytest.raises(Exception, match="left alone"):
        fail()


def test_what_is_no_function_to_be_kept_is_told(client: Client) -> None:
    def generate() -> Any:
        yield 1

    async def agenerate() -> Any:
        yield 1

    for generator in (generate, agenerate):
        with pytest.raises(TypeError, match="generator function: what it yields cannot be kept"):
            client.cached()(generator)
    with pytest.raises(TypeError, match="It is called first"):
        client.cached()(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="below @staticmethod"):
        client.cached()(staticmethod(len))
    with pytest.raises(ValueError, match="names 'numbre', which is no parameter of"):

        @client.cached(key="product-{numbre}")
        def find(number: int) -> int:
            return number

    with pytest.raises(TypeError, match="key is a template or a function"):

        @client.cached(key=5)  # type: ignore[arg-type]
        def other(number: int) -> int:
            return number

    @client.cached(key=lambda number: number)  # type: ignore[arg-type, return-value]
    def third(number: int) -> int:
        return number

    with pytest.raises(TypeError, match="a function that returns a str; this one returned 5"):
        third(5)

    # Without its parentheses it is given the function for a TTL.
    with pytest.raises(TypeError):

        @client.cached  # type: ignore[arg-type]
        def fourth(number: int) -> int:
            return number

        fourth(5)


def test_without_the_service_the_function_runs() -> None:
    @Client("http://127.0.0.1:1").cached(ttl=60)
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
