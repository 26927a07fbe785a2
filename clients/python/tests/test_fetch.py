"""Cache-aside by lease: each branch of the machine with answers that are made up, then both clients at the real service."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import hostile
import pytest
from hostile import Peer

from pantler import ABSENT, AsyncClient, Client, ConnectionLost, Invalid, SerializationError, SourceFailed, TimedOut, Unavailable
from pantler._address import Address
from pantler._calls import Calls, Request
from pantler._fetch import Command, Drop, Failed, Keep, Load, Options, Pause, Release, fetch
from pantler._values import serializer_of

CALLS = Calls("shop", serializer_of("json"))
_numbers = itertools.count()
TOKEN = "Ab3dEfGh5jKlMn7pQrStVw"
ENTRY = {"key": "k", "value": 17, "version": 3, "expires_at": "2099-11-24T15:49:00.123Z"}
GRANT = {"lease": {"token": TOKEN, "expires_at": "2099-11-24T15:49:00.123Z"}}


def answer(status: int, body: Any, head: bytes = b"") -> tuple[int, bytes, bytes]:
    return status, (b"HTTP/1.1 200 Whatever\r\ncontent-type: application/json\r\n" + head)[:-2], json.dumps(body).encode()


def refused(status: int, code: str, **more: Any) -> tuple[int, bytes, bytes]:
    return answer(status, {"status": status, "code": code, "detail": "so it is", **more})


WRITTEN = answer(201, {"key": "k", "version": 4, "expires_at": None}, b'etag: "4"\r\n')


class Run:
    """Drives the machine: each step says what the machine is to ask for, and what becomes of it."""

    def __init__(self, options: Options = Options(), filling: bool = False, calls: Calls = CALLS) -> None:
        self.now = 1000.0
        self.machine = fetch(calls, "k", options, filling, lambda: self.now)
        self.result: Any = None
        self.done = False
        self.command: Command | None = next(self.machine)

    def expect(self, kind: type) -> Any:
        assert not self.done, f"it returned {self.result!r}"
        assert type(self.command) is kind, self.command
        return self.command

    def reply(self, value: Any = None) -> None:
        try:
            self.command = self.machine.throw(value) if isinstance(value, BaseException) else self.machine.send(value)
        except StopIteration as done:
            self.command, self.done, self.result = None, True, done.value

    def asks(self, said: Any, wait: float | None = 10) -> None:
        request = self.expect(Request)
        assert request.start == b"POST /v1/namespaces/shop/leases/k HTTP/1.1\r\n"
        assert not request.safe
        if wait is not None:
            assert json.loads(request.rest.partition(b"\r\n\r\n")[2]).get("wait", 0) == pytest.approx(wait)
            assert request.wait == pytest.approx(wait)
        self.reply(said)

    def loads(self, value: Any, filling: bool = False) -> None:
        assert self.expect(Load).filling is filling
        self.reply(value)

    def fills(self, value: Any) -> None:
        assert self.expect(Keep).grant.token == TOKEN
        self.reply()
        self.loads(value, filling=True)
        self.expect(Drop)
        self.reply()

    def puts(self, said: Any, body: Any) -> None:
        request = self.expect(Request)
        assert request.start == b"PUT /v1/namespaces/shop/entries/k HTTP/1.1\r\n"
        assert f"Lease: {TOKEN}\r\n".encode() in request.rest
        assert json.loads(request.rest.partition(b"\r\n\r\n")[2]) == body
        self.reply(said)

    def releases(self, query: bytes = b"") -> None:
        request = self.expect(Release).request
        assert request.start == b"DELETE /v1/namespaces/shop/leases/k" + query + b" HTTP/1.1\r\n"
        assert f"Lease: {TOKEN}\r\n".encode() in request.rest
        self.reply()

    def returns(self, value: Any) -> None:
        assert self.done, self.command
        assert self.result == value and type(self.result) is type(value)


def test_a_hit_is_returned() -> None:
    run = Run()
    run.asks(answer(200, ENTRY, b"cache-status: pantler; hit; ttl=3; detail=memory\r\n"))
    run.returns(17)


def test_a_stale_entry_is_returned_while_somebody_else_refreshes_it() -> None:
    run = Run()
    run.asks(answer(200, ENTRY, b"cache-status: pantler; hit; ttl=-3; detail=stale\r\n"))
    run.returns(17)


def test_a_null_is_a_value_and_a_negative_entry_is_none() -> None:
    run = Run()
    run.asks(answer(200, {**ENTRY, "value": None}))
    run.returns(None)
    run = Run()
    run.asks(answer(200, {"key": "k", "absent": True, "version": 3, "expires_at": "2099-11-24T15:49:00.123Z"}))
    run.returns(None)


def test_who_gets_the_lease_loads_and_fills() -> None:
    run = Run(Options(ttl=60, stale_ttl=30, tags=["a", "b"]))
    run.asks(answer(201, GRANT))
    run.fills({"name": "jelly"})
    run.puts(WRITTEN, {"value": {"name": "jelly"}, "ttl": 60, "stale_ttl": 30, "tags": ["a", "b"]})
    run.returns({"name": "jelly"})


def test_tags_may_be_a_function_of_the_value() -> None:
    run = Run(Options(tags=lambda value: [f"category-{value}"]))
    run.asks(answer(201, GRANT))
    run.fills(7)
    run.puts(WRITTEN, {"value": 7, "tags": ["category-7"]})
    run.returns(7)


@pytest.mark.parametrize("nothing", [None, ABSENT])
@pytest.mark.parametrize(
    ("negative_ttl", "body"), [(Options().negative_ttl, {"absent": True}), (5, {"absent": True, "ttl": 5}), (None, {"absent": True, "ttl": None})]
)
def test_that_the_source_has_nothing_is_remembered(nothing: Any, negative_ttl: Any, body: Any) -> None:
    run = Run(Options(ttl=60, stale_ttl=30, negative_ttl=negative_ttl))
    run.asks(answer(201, GRANT))
    run.fills(nothing)
    run.puts(WRITTEN, body)
    run.returns(None)


def test_a_negative_ttl_of_nothing_remembers_nothing() -> None:
    run = Run(Options(negative_ttl=0))
    run.asks(answer(201, GRANT))
    run.fills(None)
    run.releases()
    run.returns(None)


def test_a_loader_that_raises_gives_the_lease_up() -> None:
    error = LookupError("source")
    run = Run()
    run.asks(answer(201, GRANT))
    run.fills(Failed(error))
    run.releases()
    run.returns(Failed(error))


def test_a_failed_source_is_left_alone_for_a_while() -> None:
    run = Run(Options(retry_after=5))
    run.asks(answer(201, GRANT))
    run.fills(Failed(LookupError()))
    run.releases(b"?retry_after=5")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(), GeneratorExit()])
def test_who_is_interrupted_says_nothing_about_the_source(error: BaseException) -> None:
    run = Run(Options(retry_after=5, stale_if_error=True))
    run.asks(answer(201, {**GRANT, "stale_entry": ENTRY}))
    run.fills(Failed(error))
    run.releases()
    run.returns(Failed(error))


def test_the_stale_value_comes_instead_of_an_error_where_that_is_wanted() -> None:
    error = LookupError("source")
    run = Run(Options(stale_if_error=True, retry_after=0.01))
    run.asks(answer(201, {**GRANT, "stale_entry": ENTRY}))
    run.fills(Failed(error))
    run.releases(b"?retry_after=0.1")
    run.returns(17)
    run = Run()
    run.asks(answer(201, {**GRANT, "stale_entry": ENTRY}))
    run.fills(Failed(error))
    run.releases()
    run.returns(Failed(error))
    # Nothing stale is there to come.
    run = Run(Options(stale_if_error=True))
    run.asks(answer(201, GRANT))
    run.fills(Failed(error))
    run.releases()
    run.returns(Failed(error))


def test_an_early_refresh_that_fails_hurts_nobody() -> None:
    run = Run()
    run.asks(answer(201, {**GRANT, "stale_entry": ENTRY, "fresh": True}))
    run.fills(Failed(LookupError()))
    run.releases()
    run.returns(17)


def test_a_stale_entry_that_cannot_be_read_is_no_obstacle_to_its_replacement() -> None:
    stale = {"key": "k", "value_base64": "AAAA", "content_type": "application/x-python-pickle", "version": 3, "expires_at": None}
    run = Run(Options(stale_if_error=True))
    run.asks(answer(201, {**GRANT, "stale_entry": stale}))
    run.fills(5)
    run.puts(WRITTEN, {"value": 5})
    run.returns(5)


def test_who_waits_too_long_loads_and_stores_nothing() -> None:
    run = Run(Options(wait=10))
    run.now += 9.9996
    run.asks(refused(409, "lease_held", reason="filling", retry_after=7.5))
    run.loads(5)
    run.returns(5)


def test_a_long_wait_is_asked_for_in_parts() -> None:
    run = Run(Options(wait=70))
    run.now += 30
    run.asks(refused(409, "lease_held", reason="filling", retry_after=7.5), wait=30)
    run.now += 30
    run.asks(refused(409, "lease_held", reason="filling", retry_after=7.5), wait=30)
    run.now += 10
    run.asks(refused(409, "lease_held", reason="filling", retry_after=7.5), wait=10)
    run.loads(5)
    run.returns(5)


def test_where_there_is_no_room_to_wait_the_waiting_is_done_here() -> None:
    run = Run(Options(wait=1.5))
    run.asks(refused(409, "lease_held", reason="crowded", retry_after=0), wait=1.5)
    assert run.expect(Pause).seconds == 0.05
    run.now += 1
    run.reply()
    run.asks(refused(409, "lease_held", reason="crowded", retry_after=7), wait=0.5)
    assert run.expect(Pause).seconds == pytest.approx(0.5)
    run.now += 0.5
    run.reply()
    run.asks(refused(409, "lease_held", reason="crowded", retry_after=7), wait=0)
    run.loads(5)
    run.returns(5)


def test_who_answers_at_once_that_somebody_else_loads_is_not_asked_without_end() -> None:
    run = Run(Options(wait=1.5))
    run.asks(refused(409, "lease_held", reason="filling", retry_after=0), wait=1.5)
    assert run.expect(Pause).seconds == 0.05
    run.now += 1.5
    run.reply()
    run.asks(refused(409, "lease_held", reason="filling", retry_after=0), wait=0)
    run.loads(5)
    run.returns(5)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_lease_is_not_asked_for_without_end_either(kind: Any) -> None:
    asked: list[bytes] = []

    def serve(peer: Peer, request: hostile.Request) -> None:
        asked.append(request.target)
        peer.send(request.answer(b'{"code":"lease_held","reason":"filling"}', b"409 Conflict"))

    async def main(address: Address) -> None:
        client = AsyncClient(str(address))
        assert await client.lease("k", wait=0.4) is None and not await client.lock("k").acquire(0.4)
        await client.close()

    with hostile.Server(hostile.serving(serve)) as server:
        if kind is AsyncClient:
            asyncio.run(main(server.address))
        else:
            client = Client(str(server.address))
            assert client.lease("k", wait=0.4) is None and not client.lock("k").acquire(0.4)
    assert 2 < len(asked) < 40


def test_a_source_that_has_failed_is_not_asked() -> None:
    run = Run()
    with pytest.raises(SourceFailed) as raised:
        run.asks(refused(409, "lease_held", reason="failed", retry_after=4.5))
    assert raised.value.retry_after == 4.5


@pytest.mark.parametrize(
    "trouble",
    [
        Unavailable("away"), ConnectionLost("lost"), TimedOut("slow"), refused(503, "overloaded", retry_after=1), refused(429, "rate_limited"), refused(401, "token_required"),
        refused(403, "forbidden"), refused(404, "namespace_not_found"), refused(409, "too_many_namespaces"), refused(500, "internal_error"), (502, b"", b"<html>"), (200, b"", b"<html>"),
        (200, b"", b"[]"), (200, b"", b"{}"), (201, b"", b"{}"), (201, b"", b'{"lease":{"token":5}}'), (302, b"", b""), (409, b"", b"x"), answer(200, {"key": "k", "version": "x", "absent": True}),
    ],
)  # fmt: skip
def test_without_the_service_the_loader_runs(trouble: Any) -> None:
    run = Run()
    run.asks(trouble)
    run.loads(5)
    run.returns(5)
    run = Run(Options(stale_if_error=True))
    run.asks(trouble)
    error = LookupError()
    run.loads(Failed(error))
    run.returns(Failed(error))


def test_a_request_that_is_wrong_is_the_callers_to_hear_of() -> None:
    run = Run()
    with pytest.raises(Invalid):
        run.asks(refused(400, "key_invalid"))
    with pytest.raises(ValueError, match="wait"):
        Run(Options(wait="x"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0.1 to 300"):
        Run(Options(lease_ttl=0.01))


def test_whoever_is_interrupted_while_waiting_stops() -> None:
    for error in (KeyboardInterrupt(), asyncio.CancelledError()):
        run = Run()
        with pytest.raises(type(error)):
            run.asks(error)


@pytest.mark.parametrize("trouble", [Unavailable("away"), ConnectionLost("lost"), TimedOut("slow"), refused(412, "lease_lost")])
def test_a_fill_that_does_not_come_about_costs_the_caller_nothing(trouble: Any) -> None:
    run = Run()
    run.asks(answer(201, GRANT))
    run.fills(5)
    run.puts(trouble, {"value": 5})
    run.returns(5)


@pytest.mark.parametrize("trouble", [refused(413, "value_too_large"), refused(422, "tags_invalid"), refused(507, "storage_full"), (502, b"", b"")])
def test_who_cannot_fill_lets_the_others_know(trouble: Any) -> None:
    run = Run()
    run.asks(answer(201, GRANT))
    run.fills(5)
    run.puts(trouble, {"value": 5})
    run.releases()
    run.returns(5)


def test_who_is_interrupted_while_filling_gives_the_lease_up() -> None:
    run = Run()
    run.asks(answer(201, GRANT))
    run.fills(5)
    run.puts(KeyboardInterrupt(), {"value": 5})
    with pytest.raises(KeyboardInterrupt):
        run.releases()


@pytest.mark.parametrize(
    ("options", "value", "error"),
    [
        (Options(), (1, 2), SerializationError), (Options(tags=lambda value: "text"), 1, TypeError), (Options(tags=lambda value: [value]), 1, TypeError),
        (Options(tags=lambda value: value["a"]), 1, TypeError),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_the_callers_to_hear_of(options: Options, value: Any, error: type[Exception]) -> None:
    run = Run(options)
    run.asks(answer(201, GRANT))
    run.fills(value)
    with pytest.raises(error):
        run.releases()


def test_an_entry_that_cannot_be_read_is_loaded_anew_and_replaced_if_it_is_that_one_still() -> None:
    pickled = {"key": "k", "value_base64": "AAAA", "content_type": "application/x-python-pickle", "version": 3, "expires_at": None}
    run = Run(Options(ttl=60))
    run.asks(answer(200, pickled, b'etag: "3"\r\n'))
    run.loads(5)
    request = run.expect(Request)
    assert request.start == b"PUT /v1/namespaces/shop/entries/k HTTP/1.1\r\n"
    assert b'If-Match: "3"\r\n' in request.rest and request.rest.endswith(b'{"value":5,"ttl":60}')
    run.reply(refused(412, "version_mismatch"))
    run.returns(5)


def test_who_fills_the_key_already_waits_for_nobody() -> None:
    run = Run(filling=True)
    run.loads(5)
    run.returns(5)


def test_a_machine_that_is_given_up_ends_quietly() -> None:
    for steps in range(4):
        run = Run()
        for step in range(steps):
            run.reply(answer(201, GRANT) if step == 0 else None)
        run.machine.close()


# --- at the real service


@pytest.fixture
def url(service: str) -> str:
    """That of a namespace which no other test has used."""
    return f"{service}/v1/namespaces/fetch-{next(_numbers)}"


@pytest.fixture
def client(url: str) -> Client:
    return Client(url)


def together(number: int, work: Callable[[], Any]) -> list[Any]:
    """What so many threads get, that begin at once."""
    results: list[Any] = []
    gate = threading.Barrier(number)

    def run() -> None:
        gate.wait()
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_hundred_threads_load_once(client: Client) -> None:
    loads: list[int] = []

    def load() -> dict[str, int]:
        loads.append(1)
        time.sleep(0.5)
        return {"a": 1}

    assert together(200, lambda: client.fetch("k", load, 60)) == [{"a": 1}] * 200
    assert len(loads) == 1


def test_two_hundred_tasks_load_once(url: str, client: Client) -> None:
    loads: list[int] = []

    async def load() -> dict[str, int]:
        loads.append(1)
        await asyncio.sleep(0.5)
        return {"a": 1}

    async def main() -> list[Any]:
        async with AsyncClient(url) as other:
            return await asyncio.gather(*(other.fetch("k", load, 60) for _ in range(200)))

    assert asyncio.run(main()) == [{"a": 1}] * 200
    assert len(loads) == 1


def test_many_processes_load_once(url: str, client: Client) -> None:
    program = """
import sys, time, pantler
client = pantler.Client(sys.argv[1])
def load():
    print("loaded", flush=True)
    time.sleep(1)
    return 7
sys.stdin.readline()
assert client.fetch("k", load, 60) == 7
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    outputs = []
    # All are there before the first one begins.
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        outputs.append(process.communicate(timeout=60)[0])
    assert [process.returncode for process in processes] == [0] * 6
    assert "".join(outputs) == "loaded\n"


def test_stale_is_served_while_one_refreshes_it(client: Client) -> None:
    client.set("k", "old", 0.05, stale_ttl=60)
    time.sleep(0.1)
    refreshing, finish = threading.Event(), threading.Event()

    def load() -> str:
        refreshing.set()
        finish.wait(10)
        return "new"

    got: list[Any] = []
    refresher = threading.Thread(target=lambda: got.append(client.fetch("k", load, 60)))
    refresher.start()
    assert refreshing.wait(10)
    begun = time.monotonic()
    assert together(20, lambda: client.fetch("k", lambda: pytest.fail("loaded"), 60)) == ["old"] * 20
    assert time.monotonic() - begun < 5
    finish.set()
    refresher.join()
    assert got == ["new"]
    assert client.get("k") == "new"


def test_nothing_loaded_before_a_delete_lands_after_it(client: Client) -> None:
    def load() -> str:
        client.delete("k")
        return "old"

    assert client.fetch("k", load, 60) == "old"
    assert client.get("k") is None
    client.fetch("k", lambda: client.invalidate(tags=["t"]) and "old", 60, tags=["t"])
    assert client.get("k") is None


def test_after_a_failed_load_the_next_one_loads(client: Client) -> None:
    loads: list[int] = []

    def load() -> str:
        loads.append(1)
        time.sleep(0.05)
        if len(loads) == 1:
            raise LookupError("first")
        return "value"

    results = together(10, lambda: client.fetch("k", load, 60))
    assert sorted(map(str, results)) == ["first"] + ["value"] * 9
    assert len(loads) == 2


def test_a_failed_source_is_left_alone_by_all(client: Client) -> None:
    with pytest.raises(LookupError):
        client.fetch("k", lambda: {}["x"], retry_after=30)
    with pytest.raises(SourceFailed) as raised:
        client.fetch("k", lambda: pytest.fail("loaded"))
    assert raised.value.retry_after is not None and 0 < raised.value.retry_after <= 60
    assert isinstance(raised.value, ConnectionError) is False


def test_a_loader_may_fetch_other_keys_and_its_own(client: Client) -> None:
    def load() -> list[Any]:
        return [client.fetch("other", lambda: 1, 60), client.fetch("k", lambda: 2, 60)]

    begun = time.monotonic()
    assert client.fetch("k", load, 60) == [1, 2]
    assert time.monotonic() - begun < 5
    assert client.get_many(["k", "other"]) == {"k": [1, 2], "other": 1}
    # And is no longer what fills it.
    client.delete("k")
    assert client.fetch("k", lambda: 3, 60) == 3
    assert client.get("k") == 3


def test_a_task_inside_of_a_loader_knows_that_too(url: str, client: Client) -> None:
    async def main() -> None:
        other = AsyncClient(url)

        async def load() -> int:
            inner: int = await asyncio.create_task(other.fetch("k", lambda: 2, 60))
            return inner + 1

        assert await asyncio.wait_for(other.fetch("k", load, 60), 5) == 3
        assert await other.get("k") == 3

    asyncio.run(main())


def test_a_lease_is_prolonged_while_the_loader_runs(url: str, client: Client) -> None:
    def load() -> str:
        time.sleep(1.2)
        return "slow"

    assert together(5, lambda: client.fetch("k", load, 60, lease_ttl=0.4)) == ["slow"] * 5
    assert client.get("k") == "slow"

    async def main() -> None:
        async with AsyncClient(url) as other:
            loads: list[int] = []

            async def load() -> str:
                loads.append(1)
                await asyncio.sleep(1.2)
                return "slow"

            assert await asyncio.gather(*(other.fetch("l", load, 60, lease_ttl=0.4) for _ in range(5))) == ["slow"] * 5
            assert len(loads) == 1

    asyncio.run(main())


def test_a_cancelled_loader_lets_the_next_one_load(url: str, client: Client) -> None:
    async def main() -> None:
        async with AsyncClient(url) as other:
            loading = asyncio.Event()

            async def forever() -> None:
                loading.set()
                await asyncio.Event().wait()

            first = asyncio.create_task(other.fetch("k", forever, 60))
            await loading.wait()
            second = asyncio.create_task(other.fetch("k", lambda: 2, 60))
            await asyncio.sleep(0.05)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await asyncio.wait_for(second, 5) == 2
            assert await other.get("k") == 2

    asyncio.run(main())


def test_a_task_that_is_cancelled_over_and_over_gives_its_lease_up(url: str) -> None:
    async def main() -> None:
        # Without connections to spare, giving up takes several steps, each of which may be cancelled: as structured concurrency does.
        other = AsyncClient(url, max_idle=0)
        loading = asyncio.Event()

        async def forever() -> None:
            loading.set()
            await asyncio.Event().wait()

        first = asyncio.create_task(other.fetch("k", forever, 60))
        await loading.wait()
        for _ in range(5):
            first.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await asyncio.wait_for(other.fetch("k", lambda: 2, 60), 5) == 2

    asyncio.run(main())


@pytest.mark.parametrize("key", ["k", "a/../b"])
@pytest.mark.parametrize("call", ["fetch", "lease", "lock"])
def test_a_lease_that_comes_when_its_caller_has_been_cancelled_is_given_up(call: str, key: str) -> None:
    """By a service that lets the caller wait, which is cancelled meanwhile, and gives it the lease then."""
    asked, may_answer, given_up = threading.Event(), threading.Event(), threading.Event()
    targets: list[bytes] = []

    def serve(peer: Peer, request: hostile.Request) -> None:
        targets.append(request.target)
        if request.head.startswith(b"POST "):
            asked.set()
            may_answer.wait(10)
            peer.send(request.answer(json.dumps(GRANT).encode(), b"201 Created"))
        else:
            assert request.head.startswith(b"DELETE ") and f"\r\nLease: {TOKEN}\r\n".encode() in request.head
            peer.send(b"HTTP/1.1 204 No Content\r\nx-request-id: %b\r\n\r\n" % request.id)
            given_up.set()

    async def main(address: Address) -> None:
        client = AsyncClient(str(address))
        calls = {"fetch": lambda: client.fetch(key, lambda: 1), "lease": lambda: client.lease(key, wait=5), "lock": client.lock(key).acquire}
        task = asyncio.ensure_future(calls[call]())
        assert await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_answer.set()
        assert await asyncio.to_thread(given_up.wait, 10), "the lease was left to its end"
        await client.close()

    with hostile.Server(hostile.serving(serve)) as server:
        asyncio.run(main(server.address))
    assert targets[0].replace(b"?peek", b"").replace(b"&peek", b"") == targets[1], "it is given up where it was asked for"


def test_who_was_cancelled_waits_for_nobody_else(url: str) -> None:
    """Else each visitor who leaves would have a place in the queue for as long as he was ready to wait."""
    ended = threading.Event()

    def serve(peer: Peer) -> None:
        peer.request()
        peer.wait_for_end()
        ended.set()

    async def main(address: Address) -> None:
        client = AsyncClient(str(address), timeout=0.2)
        task = asyncio.ensure_future(client.fetch("k", lambda: 1, wait=30))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 10)

    with hostile.Server(serve) as server:
        asyncio.run(main(server.address))


def test_a_loop_that_ends_while_a_task_waits_for_a_lease_leaves_nothing_behind(url: str) -> None:
    program = """
import asyncio, sys, time, pantler
client, other = pantler.Client(sys.argv[1]), pantler.AsyncClient(sys.argv[1])
held = client.lease("k", ttl=30)
async def main():
    task = asyncio.create_task(other.fetch("k", lambda: 1))
    await asyncio.sleep(0.2)
asyncio.run(main())
time.sleep(0.2)
assert held.release()
print(type(client.lease("k", wait=2)).__name__)
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program, url], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("Lease\n", "")


def test_a_fetch_that_times_out_from_outside_gives_its_lease_up(url: str, client: Client) -> None:
    async def main() -> None:
        async with AsyncClient(url) as other:
            for _ in range(20):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(other.fetch("k", lambda: asyncio.sleep(10), 60), 0.02)
            assert await asyncio.wait_for(other.fetch("k", lambda: 2, 60), 5) == 2

    asyncio.run(main())


def test_without_the_service_both_clients_load(caplog: pytest.LogCaptureFixture) -> None:
    from pantler import _fetch

    _fetch._warn_away = _fetch.Quiet()
    client = Client("http://127.0.0.1:1")
    assert [client.fetch("k", lambda: 5) for _ in range(3)] == [5] * 3
    with pytest.raises(LookupError):
        client.fetch("k", lambda: {}["x"])

    async def load() -> int:
        return 6

    assert asyncio.run(AsyncClient("http://127.0.0.1:1").fetch("k", load)) == 6
    # Said once, not once a call.
    assert len([record for record in caplog.records if record.name == "pantler"]) == 1


def test_a_value_that_is_too_large_is_returned_and_nobody_waits_for_it(client: Client) -> None:
    large = "x" * (9 << 20)
    assert client.fetch("k", lambda: large, 60) == large
    assert client.lease("k") is not None
    client.delete("k")


def test_a_coroutine_function_is_for_the_other_client(client: Client) -> None:
    async def load() -> int:
        return 5

    with pytest.raises(TypeError, match="AsyncClient.fetch"):
        client.fetch("k", load)
    assert client.fetch("k", lambda: 5, 60) == 5


def test_loaders_errors_come_as_they_are(client: Client) -> None:
    class Mine(BaseException):
        pass

    for error in (Mine("a"), KeyboardInterrupt(), StopIteration(3), Unavailable("its own"), GeneratorExit(), StopAsyncIteration()):

        def load(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            client.fetch("k", load, 60)
        assert raised.value is error
        assert client.lease("k", 0.1) is not None, "the lease was not given up"
        client.delete("k")


def test_none_is_remembered_as_nothing(client: Client) -> None:
    loads: list[int] = []
    for _ in range(3):
        assert client.fetch("k", lambda: loads.append(1)) is None
    assert len(loads) == 1
    entry = client.entry("k")
    assert entry is not None and entry.value is ABSENT
    client.set("k", 5)
    assert client.fetch("k", lambda: pytest.fail("loaded")) == 5
