"""FastAPI in ten lines, as the README shows it."""

from __future__ import annotations

import asyncio
import itertools

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from pantler import AsyncClient

_numbers = itertools.count()


def test_an_application_of_ten_lines(service: str) -> None:
    loads: list[int] = []

    async def load_product(number: int) -> dict[str, object] | None:
        loads.append(number)
        await asyncio.sleep(0.1)
        return {"number": number, "name": "Quince jelly"} if number == 42 else None

    url = f"{service}/v1/namespaces/fastapi-{next(_numbers)}"
    # The README's lines begin here.
    cache = AsyncClient(url)
    app = FastAPI()

    @cache.cached(ttl=60, key="product-{number}", tags=["products"])
    async def product(number: int) -> dict[str, object] | None:
        return await load_product(number)

    @app.get("/products/{number}")
    async def show(number: int) -> dict[str, object]:
        return await product(number) or not_found()

    # And end here.
    def not_found() -> dict[str, object]:
        raise HTTPException(404)

    @app.post("/products")
    async def change() -> int:
        return await cache.invalidate(tags=["products"])

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")

    async def one_after_the_other() -> None:
        async with client() as http:
            for _ in range(2):
                assert (await http.get("/products/42")).json() == {"number": 42, "name": "Quince jelly"}
                assert (await http.get("/products/43")).status_code == 404
            assert loads == [42, 43]
            await http.post("/products")
            await http.get("/products/42")
            assert loads == [42, 43, 42]
            await cache.delete("product-42")

    async def at_once() -> None:
        async with client() as http:
            answers = await asyncio.gather(*(http.get("/products/42") for _ in range(50)))
            assert {answer.status_code for answer in answers} == {200}

    # Each in an event loop of its own, in which the same client has connections of its own.
    asyncio.run(one_after_the_other())
    asyncio.run(at_once())
    assert loads == [42, 43, 42, 42]


def test_a_route_itself_may_be_kept(service: str) -> None:
    cache = AsyncClient(f"{service}/v1/namespaces/fastapi-{next(_numbers)}")
    app = FastAPI()
    loads: list[int] = []

    @app.get("/products/{number}")
    @cache.cached(ttl=300, tags=["products"])
    async def product(number: int, size: str = "m") -> dict[str, object]:
        loads.append(number)
        return {"number": number, "size": size}

    @app.get("/plain/{number}")
    @cache.cached(ttl=300)
    def plain(number: int) -> dict[str, object]:
        loads.append(number)
        return {"number": number}

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
            for _ in range(2):
                assert (await http.get("/products/42?size=l")).json() == {"number": 42, "size": "l"}
                assert (await http.get("/plain/7")).json() == {"number": 7}
            assert (await http.get("/products/x")).status_code == 422
        await cache.close()

    asyncio.run(main())
    assert loads == [42, 7]


@pytest.mark.parametrize("times", [20])
def test_requests_that_are_given_up_leave_no_lease_and_no_connection_behind(service: str, times: int) -> None:
    cache = AsyncClient(f"{service}/v1/namespaces/fastapi-{next(_numbers)}")

    async def main() -> None:
        async def load() -> int:
            await asyncio.sleep(0.05)
            return 1

        for number in range(times):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(cache.fetch("k", load, 60), 0.001 * (number % 10 + 1))
        assert await asyncio.wait_for(cache.fetch("k", load, 60), 5) == 1
        await cache.close()

    asyncio.run(main())
