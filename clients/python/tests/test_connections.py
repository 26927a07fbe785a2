"""Pools against servers that do not do what they should: blocking and asynchronous, over TCP, TLS and Unix sockets."""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile import KINDS, Caller, Peer, Request, Server, calling, certificate, serving

from pantler import _async_pool, _pool
from pantler._address import Address
from pantler._observation import Observation
from pantler.errors import BadAnswer, ConnectionLost, PantlerError, TimedOut, Unavailable

Start = Callable[..., tuple[Server, Caller]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")


@pytest.fixture(params=[f"{kind}-{transport}" for kind in KINDS for transport in ("tcp", "tls", "unix")])
def start(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a server with a script, and a pool of each kind for it."""
    kind, transport = request.param.split("-")
    with contextlib.ExitStack() as stack:

        def begin(script: Callable[[Peer], None], **options: object) -> tuple[Server, Caller]:
            server = stack.enter_context(Server(script, transport, folder if transport == "tls" else tmp_path))
            return server, stack.enter_context(calling(kind, server.address, folder=folder, **options))

        yield begin


def good(peer: Peer, request: Request) -> None:
    peer.send(request.answer())


def test_one_connection_serves_one_request_after_the_other(start: Start) -> None:
    server, caller = start(serving(good))
    for number in range(20):
        assert caller.get(f"/{number}") == (200, b"/%d" % number)
    assert len(server.peers) == 1 and caller.kept == 1


def test_each_request_has_its_own_id_and_the_fields_of_its_connection(start: Start) -> None:
    heads: list[bytes] = []

    def answer(peer: Peer, request: Request) -> None:
        heads.append(request.head)
        good(peer, request)

    server, caller = start(serving(answer), token="pt_abc")
    for _ in range(3):
        caller.get()
    assert len({head.partition(b"x-request-id")[2] for head in heads}) == 3
    for head in heads:
        assert head.startswith(b"GET /a HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer pt_abc\r\n" % server.address.host_field)


def test_an_answer_that_comes_in_drops_is_whole(start: Start) -> None:
    def answer(peer: Peer, request: Request) -> None:
        for byte in request.answer(b"x" * 100):
            peer.send(bytes([byte]))

    _, caller = start(serving(answer))
    for _ in range(3):
        assert caller.get() == (200, b"x" * 100)
    assert caller.kept == 1


def test_large_bodies_go_both_ways(start: Start) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.send(request.answer(request.body[::-1]))

    server, caller = start(serving(answer))
    for size in (1, 65_000, 70_000, 5_000_000):
        body = bytes(range(251)) * (size // 251 + 1)
        assert caller.put(body, timeout=20) == (200, body[::-1])
    assert len(server.peers) == 1 and caller.kept == 1


@pytest.mark.parametrize("status", [b"413 Content Too Large", b"401 Unauthorized"])
def test_a_refusal_before_the_body_went_out_is_the_answer(start: Start, status: bytes) -> None:
    def script(peer: Peer) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.sock.recv(1024)
        peer.send(Request(head, b"").answer(b"no", status, b"connection: close\r\n"))
        # As the service does it: a little is passed over, then the connection ends with the rest unread.
        passed = 0
        while passed < 65536 and (data := peer.sock.recv(4096)):
            passed += len(data)

    server, caller = start(script)
    assert caller.put(b"x" * 30_000_000, timeout=20) == (int(status[:3]), b"no")
    assert caller.kept == 0


def test_a_refusal_is_the_answer_although_nobody_takes_the_body(start: Start) -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.sock.recv(1024)
        peer.send(Request(head, b"").answer(b"no", b"413 Content Too Large"))
        done.wait(20)

    _, caller = start(script)
    began = time.monotonic()
    assert caller.put(b"x" * 30_000_000, timeout=1) == (413, b"no")
    assert time.monotonic() - began < 5
    assert caller.kept == 0
    done.set()


# What is no whole good answer, in how many pieces, and the error that comes of it.


@pytest.mark.parametrize(
    "data",
    [b"garbage", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000],
)  # fmt: skip
def test_garbage_is_no_answer(start: Start, data: bytes) -> None:
    server, caller = start(serving(lambda peer, request: peer.send(data)))
    with pytest.raises(BadAnswer):
        caller.put()
    assert caller.kept == 0 and len(server.peers) == 1


@pytest.mark.parametrize("cut", [1, 12, 60, -1])
def test_an_answer_that_is_cut_short_is_a_lost_connection(start: Start, cut: int) -> None:
    _, caller = start(lambda peer: peer.send((peer.request() or pytest.fail()).answer(b"hello")[:cut]))
    for safe in (True, False):
        with pytest.raises(ConnectionLost):
            caller.get() if safe else caller.put()
        assert caller.kept == 0


def test_a_reset_within_the_answer_is_a_lost_connection(start: Start) -> None:
    def script(peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        peer.send(request.answer(b"hello")[:30])
        peer.reset()

    _, caller = start(script)
    with pytest.raises(ConnectionLost):
        caller.get()
    assert caller.kept == 0


def test_an_answer_that_does_not_come_is_a_timeout(start: Start) -> None:
    server, caller = start(lambda peer: peer.wait_for_end())
    for safe in (True, False):
        began = time.monotonic()
        with pytest.raises(TimedOut):
            caller.get(timeout=0.15) if safe else caller.put(timeout=0.15)
        assert 0.14 < time.monotonic() - began < 1
    assert caller.kept == 0 and len(server.peers) == 2, "what timed out is not asked again"


def test_a_body_that_nobody_takes_is_a_timeout(start: Start) -> None:
    done = threading.Event()
    _, caller = start(lambda peer: done.wait(20) and None)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        caller.put(b"x" * 30_000_000, timeout=0.3)
    assert time.monotonic() - began < 1.5
    done.set()


def test_the_timeout_bounds_the_whole_exchange(start: Start) -> None:
    def script(peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        for byte in request.answer(b"x" * 10_000):
            peer.send(bytes([byte]))
            time.sleep(0.02)

    _, caller = start(script)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        caller.get(timeout=0.3)
    assert 0.29 < time.monotonic() - began < 1
    assert caller.kept == 0


def test_a_short_timeout_leaves_the_next_call_its_own(start: Start) -> None:
    def answer(peer: Peer, request: Request) -> None:
        time.sleep(0.15)
        good(peer, request)

    server, caller = start(serving(answer), timeout=5)
    assert caller.get("/1", timeout=1) == (200, b"/1")
    with pytest.raises(TimedOut):
        caller.get("/2", timeout=0.05)
    assert caller.get("/3") == (200, b"/3")
    assert caller.get("/4", timeout=1) == (200, b"/4")
    assert len(server.peers) == 2


# Late and double answers: none may be taken for that of a later request.


@pytest.mark.parametrize("used", [True, False])
def test_a_late_answer_is_nobodys(start: Start, used: bool) -> None:
    late = threading.Event()

    def answer(peer: Peer, request: Request) -> None:
        if request.target == b"/late":
            late.wait(10)
        good(peer, request)

    server, caller = start(serving(answer))
    if used:
        assert caller.get() == (200, b"/a")
    with pytest.raises(TimedOut):
        caller.get("/late", timeout=0.1)
    assert caller.kept == 0
    late.set()
    for number in range(5):
        assert caller.get(f"/{number}") == (200, b"/%d" % number)


@pytest.mark.parametrize("echo", [True, False])
def test_the_second_of_two_answers_in_one_packet_is_nobodys(start: Start, echo: bool) -> None:
    _, caller = start(serving(lambda peer, request: peer.send(request.answer(echo=echo) * 2)))
    for number in range(10):
        assert caller.get(f"/{number}") == (200, b"/%d" % number)
        assert caller.kept == 0


@pytest.mark.parametrize("delay", [0.0, 0.00005, 0.0005, 0.005])
def test_a_second_answer_soon_after_is_nobodys(start: Start, delay: float) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.send(request.answer())
        until = time.perf_counter() + delay
        while time.perf_counter() < until:
            pass
        peer.send(request.answer())

    _, caller = start(serving(answer))
    for number in range(30):
        assert caller.get(f"/{number}") == (200, b"/%d" % number)


def test_a_second_answer_after_the_next_request_is_nobodys(start: Start) -> None:
    before: list[Request] = []

    def answer(peer: Peer, request: Request) -> None:
        # The answer to the request before this one comes once more, now that another is waited for.
        if before and peer.number == 0:
            peer.send(before[-1].answer())
        before.append(request)
        good(peer, request)

    server, caller = start(serving(answer))
    assert caller.get("/1") == (200, b"/1")
    assert caller.get("/2") == (200, b"/2"), "what is safe is asked once more"
    assert len(server.peers) == 2


def test_another_requests_answer_to_a_change_is_an_error(start: Start) -> None:
    changes: list[bytes] = []

    def answer(peer: Peer, request: Request) -> None:
        changes.append(request.head)
        peer.send(request.answer().replace(request.id, request.id.replace(b"-", b"-1")[:-1]))

    server, caller = start(serving(answer))
    with pytest.raises(BadAnswer, match="another request"):
        caller.put()
    assert len(changes) == 1 and caller.kept == 0
    with pytest.raises(BadAnswer, match="another request"):
        caller.get()
    assert len(changes) == 3, "what is safe is asked once more, and no more"


def test_an_answer_without_an_id_is_taken(start: Start) -> None:
    _, caller = start(serving(lambda peer, request: peer.send(request.answer(echo=False))))
    for number in range(3):
        assert caller.get(f"/{number}") == (200, b"/%d" % number)
    assert caller.kept == 1


@pytest.mark.parametrize("more", [b"connection: close\r\n", b"Connection: Keep-Alive, CLOSE\r\n"])
def test_a_connection_that_is_to_end_is_not_kept(start: Start, more: bytes) -> None:
    server, caller = start(serving(lambda peer, request: peer.send(request.answer(more=more))))
    for number in range(3):
        assert caller.get(f"/{number}") == (200, b"/%d" % number)
        assert caller.kept == 0
    assert len(server.peers) == 3


def test_http_1_0_is_understood_and_not_kept(start: Start) -> None:
    _, caller = start(lambda peer: peer.send(b"HTTP/1.0 200 OK\r\n\r\nall of it") if peer.request() else None)
    assert caller.get() == (200, b"all of it") and caller.kept == 0


def test_interim_answers_and_chunks_are_understood(start: Start) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        peer.send(b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n")

    server, caller = start(serving(answer))
    for _ in range(3):
        assert caller.get() == (200, b"abc")
    assert len(server.peers) == 1


def test_a_head_request_has_no_body(start: Start) -> None:
    def answer(peer: Peer, request: Request) -> None:
        whole = request.answer(b"hello")
        peer.send(whole[:-5] if request.head.startswith(b"HEAD") else whole)

    server, caller = start(serving(answer))
    for _ in range(2):
        assert caller.ask(b"HEAD /a HTTP/1.1\r\n")[2] == b""
        assert caller.get() == (200, b"hello")
    assert len(server.peers) == 1


@pytest.mark.parametrize("kind", ["async", "uvloop"])
@pytest.mark.parametrize("used", [True, False])
def test_a_cancelled_call_closes_its_connection(kind: str, used: bool) -> None:
    import asyncio

    asked, ended = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if request.target == b"/silent":
                asked.set()
                peer.wait_for_end()
                ended.set()
                return
            peer.send(request.answer(echo=False))

    with Server(script) as server, calling(kind, server.address) as caller:
        if used:
            caller.get()
        pool, loop = caller.pool, caller.loop
        assert isinstance(pool, _async_pool.AsyncPool) and loop is not None

        async def cancelled() -> None:
            task = asyncio.ensure_future(pool.exchange(b"GET /silent HTTP/1.1\r\n", b"\r\n", safe=True))
            while not asked.is_set():
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        loop.run_until_complete(cancelled())
        assert ended.wait(5), "the service is told at once that nobody waits any more"
        assert caller.kept == 0
        assert caller.get("/next") == (200, b"/next")
        assert len(server.peers) == 2


# Connections that end between requests.


def end_after(requests: int, how: Callable[[Peer], None] | None = None) -> tuple[Callable[[Peer], None], dict[int, threading.Event]]:
    ended: dict[int, threading.Event] = collections.defaultdict(threading.Event)

    def script(peer: Peer) -> None:
        for _ in range(requests):
            request = peer.request()
            if request is None:
                return
            good(peer, request)
        if how is not None:
            how(peer)
        peer.sock.close()
        ended[peer.number].set()

    return script, ended


@pytest.mark.parametrize("how", [None, lambda peer: peer.send(b"x"), Peer.reset], ids=["end", "bytes", "reset"])
def test_a_connection_that_ended_while_idle_is_not_used(start: Start, how: Callable[[Peer], None] | None) -> None:
    script, ended = end_after(1, how)
    server, caller = start(script)
    for number in range(4):
        assert caller.put(target=f"/{number}")[1] == b"/%d" % number
        assert ended[number].wait(5)
        time.sleep(0.01)
    assert len(server.peers) == 4


def test_many_connections_that_ended_while_idle_are_all_passed_over(start: Start) -> None:
    script, ended = end_after(1)
    server, caller = start(script)
    if caller.loop is not None:
        import asyncio

        async def many() -> None:
            pool = caller.pool
            assert isinstance(pool, _async_pool.AsyncPool)
            await asyncio.gather(*(pool.exchange(b"GET /a HTTP/1.1\r\n", b"\r\n", safe=True) for _ in range(20)))

        caller.loop.run_until_complete(many())
    else:
        threads = [threading.Thread(target=caller.get) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(len(server.peers)):
        assert ended[number].wait(5)
    time.sleep(0.02)
    assert caller.put() == (200, b"/a")


def test_a_connection_that_ends_under_a_request_is_asked_again_only_if_that_is_safe(start: Start) -> None:
    asked: list[bytes] = []

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            asked.append(request.head.split(b" ")[0])
            if len(asked) % 2 == 0:
                return
            good(peer, request)

    server, caller = start(script)
    caller.get()
    assert caller.get() == (200, b"/a"), "asked again on a new connection"
    assert asked == [b"GET"] * 3
    asked.clear()
    caller.pool.close()
    caller.pool._max_idle = 64
    caller.put()
    with pytest.raises(ConnectionLost):
        caller.put()
    assert asked == [b"PUT"] * 2, "a change that may have been applied is not tried again"


def test_a_new_connection_that_ends_at_once_is_not_asked_again(start: Start) -> None:
    server, caller = start(lambda peer: None if peer.request() else None)
    for call in (caller.get, caller.put):
        with pytest.raises(ConnectionLost):
            call()
    assert len(server.peers) == 2


def test_a_connection_is_closed_when_it_was_idle_for_long(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server, caller = start(serving(good))
    caller.get()
    for module in (_pool, _async_pool):
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    caller.get()
    assert len(server.peers) == 2


def test_idle_connections_are_swept_although_nobody_takes_them(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(5)

    def answer(peer: Peer, request: Request) -> None:
        if request.target == b"/together":
            barrier.wait(5)
        good(peer, request)

    server, caller = start(serving(answer))
    threads = 5
    if caller.loop is not None:
        import asyncio

        async def many() -> None:
            pool = caller.pool
            assert isinstance(pool, _async_pool.AsyncPool)
            await asyncio.gather(*(pool.exchange(b"GET /together HTTP/1.1\r\n", b"\r\n", safe=True) for _ in range(threads)))

        caller.loop.run_until_complete(many())
    else:
        running = [threading.Thread(target=caller.get, args=("/together",)) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    assert caller.kept == 5
    clock = time.monotonic()
    for module in (_pool, _async_pool):
        monkeypatch.setattr(module, "monotonic", lambda: clock + 31)
    assert caller.get() == (200, b"/a")
    assert caller.kept == 1


def test_no_more_are_kept_than_may_be(start: Start) -> None:
    server, caller = start(serving(good), max_idle=0)
    for _ in range(3):
        assert caller.get() == (200, b"/a") and caller.kept == 0
    assert len(server.peers) == 3


def test_a_closed_pool_answers_and_keeps_nothing(start: Start) -> None:
    server, caller = start(serving(good))
    caller.get()
    caller.pool.close()
    assert caller.kept == 0
    assert caller.get() == (200, b"/a") and caller.kept == 0
    caller.pool.close()


def test_observers_are_told_of_each_exchange(start: Start) -> None:
    def answer(peer: Peer, request: Request) -> None:
        if request.target == b"/bad":
            peer.send(b"bad")
        peer.send(request.answer(more=b"cache-status: pantler; hit; detail=memory\r\n"))

    seen: list[Observation] = []
    server, caller = start(serving(answer))
    caller.pool.observers = (seen.append,)
    caller.get("/good")
    with pytest.raises(BadAnswer) as raised:
        caller.put(target="/bad")
    assert seen[0][:4] == ("GET", "/good", 200, b"pantler; hit; detail=memory") and seen[0].error is None
    assert seen[1][:4] == ("PUT", "/bad", 0, None) and seen[1].error is raised.value
    assert all(0 < observation.seconds < 5 for observation in seen)


# Addresses that cannot be reached.


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def nobody() -> Address:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    return Address("127.0.0.1", port, None, False, b"127.0.0.1:%d" % port)


def test_nobody_there_is_unavailable_at_once_for_a_second(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    connect = socket.socket.connect

    def counting(*arguments: object) -> None:
        nonlocal tried
        tried += 1
        connect(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", counting)
    with calling(kind, nobody(), nobody()) as caller:
        for call in (caller.get, caller.put) * 10:
            with pytest.raises(Unavailable, match="cannot be reached.*Connection refused.*Connection refused"):
                call()
        assert tried == 2
        time.sleep(1.01)
        with pytest.raises(Unavailable):
            caller.get()
        assert tried == 4


def test_the_next_address_is_asked_while_the_first_is_down_and_the_first_again_then(kind: str) -> None:
    first = nobody()
    with Server(serving(good)) as second, calling(kind, first, second.address) as caller:
        for number in range(5):
            assert caller.put(target=f"/{number}") == (200, b"/%d" % number)
        assert len(second.peers) == 1
        with Server(serving(lambda peer, request: peer.send(request.answer(b"first")))) as server:
            places = caller.pool._standings if isinstance(caller.pool, _async_pool.AsyncPool) else caller.pool._places
            places[0].address = server.address
            deadline = time.monotonic() + 3
            while caller.get() != (200, b"first"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert len(second.peers) == 1, "while the first one is tried, the connection to the second is kept"
            assert caller.put() == (200, b"first")


def test_an_address_that_dies_under_calls_is_left(kind: str) -> None:
    with Server(serving(lambda peer, request: peer.send(request.answer(b"2")))) as second:
        with Server(serving(lambda peer, request: peer.send(request.answer(b"1")))) as first:
            with calling(kind, first.address, second.address) as caller:
                assert caller.put() == (200, b"1")
                first.__exit__(None, None, None)
                time.sleep(0.01)
                assert caller.put() == (200, b"2")
                assert caller.get() == (200, b"2")


@pytest.mark.parametrize("end", [lambda peer: None, lambda peer: peer.request() and None, Peer.reset], ids=["at once", "behind the request", "by a reset"])
def test_an_address_that_takes_connections_and_ends_them_is_down(kind: str, end: Callable[[Peer], None]) -> None:
    """As tunnels and proxies do that have nobody behind them."""
    with Server(serving(good)) as second, Server(end) as first, calling(kind, first.address, second.address) as caller:
        assert caller.get(target="/1") == (200, b"/1") and len(first.peers) == 1
        assert caller.put(target="/2") == (200, b"/2") and caller.get(target="/3") == (200, b"/3")
        assert len(first.peers) == 1, "it is passed over"
    with Server(serving(good)) as second, Server(end) as first, calling(kind, first.address, second.address) as caller:
        with contextlib.suppress(ConnectionLost):
            # What may have been applied is not asked a second time, but the next one is asked elsewhere.
            caller.put(target="/1")
        assert caller.put(target="/2") == (200, b"/2") and len(first.peers) == 1
    with Server(end) as first, Server(end) as second, calling(kind, first.address, second.address) as caller:
        with pytest.raises(Unavailable):
            caller.get()


def test_an_address_that_takes_connections_and_answers_nothing_is_passed_over(kind: str) -> None:
    answering = threading.Event()

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if answering.is_set():
                peer.send(request.answer(b"1"))

    with Server(serving(lambda peer, request: peer.send(request.answer(b"2")))) as second, Server(script) as first:
        with calling(kind, first.address, second.address, timeout=0.1) as caller:
            for _ in range(3):
                with pytest.raises(TimedOut):
                    caller.get()
            assert caller.get() == (200, b"2") and caller.put() == (200, b"2")
            places = caller.pool._standings if isinstance(caller.pool, _async_pool.AsyncPool) else caller.pool._places
            places[0].down_until = time.monotonic()
            caller.pool._choose(time.monotonic())
            answering.set()
            assert caller.get() == (200, b"1")
        with calling(kind, first.address, second.address, timeout=0.1) as caller:
            # One that answers in between is slow, and no more.
            for _ in range(4):
                assert caller.get() == (200, b"1")
                answering.clear()
                with pytest.raises(TimedOut):
                    caller.get()
                answering.set()


def test_an_address_that_does_not_answer_a_connect_costs_its_time_once(kind: str) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        silent = Address("127.0.0.1", port, None, False, b"x")
        try:
            with calling(kind, silent, connect_timeout=0.2) as caller:
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    caller.get()
                assert 0.19 < time.monotonic() - began < 0.6
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    caller.get()
                assert time.monotonic() - began < 0.1
        finally:
            for filler in fillers:
                filler.close()


def test_a_name_that_is_none_is_unavailable(kind: str) -> None:
    with calling(kind, Address("no.such.name.invalid", 1, None, False, b"x")) as caller:
        with pytest.raises(Unavailable):
            caller.get()
    with calling(kind, Address("x" * 70 + ".invalid", 1, None, False, b"x")) as caller:
        with pytest.raises(Unavailable):
            caller.get()


def test_a_socket_that_is_none_is_unavailable(kind: str, tmp_path: Path) -> None:
    for path in (str(tmp_path / "none"), str(tmp_path), "/" + "x" * 200):
        with calling(kind, Address(None, None, path, False, b"localhost")) as caller:
            with pytest.raises(Unavailable):
                caller.get()


def test_an_untrusted_certificate_is_unavailable(kind: str, folder: Path) -> None:
    import ssl

    certificate(folder)
    with Server(serving(good), "tls", folder) as server:
        with calling(kind, server.address, tls=ssl.create_default_context()) as caller:
            with pytest.raises(Unavailable, match="(?i)certificate"):
                caller.get()
        wrong = server.address._replace(host="127.0.0.2")
        with calling(kind, wrong, folder=folder) as caller:
            with pytest.raises(Unavailable):
                caller.get()


def test_tls_where_none_is_spoken_and_the_other_way_round(kind: str, folder: Path) -> None:
    with Server(serving(good)) as server:
        with calling(kind, server.address._replace(tls=True), folder=folder) as caller:
            with pytest.raises(Unavailable):
                caller.get()
    with Server(serving(good), "tls", folder) as server:
        with calling(kind, server.address._replace(tls=False)) as caller:
            with pytest.raises((BadAnswer, ConnectionLost)):
                caller.get()


def test_a_client_certificate_is_shown(kind: str, folder: Path) -> None:
    import ssl

    with Server(serving(good), "tls", folder) as server:
        assert server._tls is not None
        server._tls.verify_mode = ssl.CERT_REQUIRED
        server._tls.load_verify_locations(certificate(folder))
        context = ssl.create_default_context(cafile=certificate(folder))
        with calling(kind, server.address, tls=context) as caller:
            with pytest.raises((Unavailable, ConnectionLost)):
                caller.get()
        context.load_cert_chain(certificate(folder))
        with calling(kind, server.address, tls=context) as caller:
            for _ in range(2):
                assert caller.get() == (200, b"/a")
            assert len([peer for peer in server.peers]) == 2


@pytest.mark.parametrize("token", ["a b", "a\r\nb", "ä", "", " "])
def test_a_token_goes_into_no_second_line(kind: str, token: str) -> None:
    if token == "":
        with calling(kind, nobody(), token=token):
            return
    with pytest.raises(ValueError, match="visible ASCII"):
        with calling(kind, nobody(), token=token):
            pass


def test_all_errors_are_of_this_package(kind: str) -> None:
    for error in (Unavailable, ConnectionLost, TimedOut, BadAnswer):
        assert issubclass(error, PantlerError)


@pytest.mark.parametrize("kind", ["async", "uvloop"])
def test_a_connection_has_one_timer_for_all_its_requests(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(peer: Peer, request: Request) -> None:
        if request.target != b"/silent":
            good(peer, request)

    with Server(serving(answer)) as server, calling(kind, server.address) as caller:
        timers = 0

        def asks(count: int, timeout: float) -> None:
            nonlocal timers
            wake = _async_pool.AsyncConnection._wake

            def counting(self: _async_pool.AsyncConnection, loop: object) -> None:
                nonlocal timers
                timers += 1
                wake(self, loop)  # type: ignore[arg-type]

            with monkeypatch.context() as patch:
                patch.setattr(_async_pool.AsyncConnection, "_wake", counting)
                for _ in range(count):
                    assert caller.get(timeout=timeout) == (200, b"/a")

        asks(200, 5)
        asks(200, 7)
        assert timers == 1
        # An earlier deadline than the timer's, and one that is later than the timer that it left behind.
        for timeout in (0.1, 0.3):
            asks(1, 5)
            asks(3, 1)
            began = time.monotonic()
            with pytest.raises(TimedOut):
                caller.get("/silent", timeout=timeout)
            assert timeout - 0.01 < time.monotonic() - began < timeout + 0.5
        timers = 0
        asks(1, 0.3)
        for _ in range(3):
            time.sleep(0.35)
            asks(20, 0.3)
        assert timers < 10


def test_a_loop_that_cannot_watch_sockets_is_told_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object) -> None:
        raise NotImplementedError

    with Server(serving(good)) as server, calling("async", server.address) as caller:
        assert caller.loop is not None
        monkeypatch.setattr(caller.loop, "add_reader", missing)
        monkeypatch.setattr(caller.loop, "add_writer", missing)
        with pytest.raises(RuntimeError, match="asyncio.SelectorEventLoop"):
            caller.get()
        monkeypatch.undo()
        assert caller.get() == (200, b"/a")


@pytest.mark.parametrize("timeout", [float("inf"), 1e12, 86400 * 365])
def test_timeouts_may_be_as_long_as_anybody_likes(start: Start, timeout: float) -> None:
    _, caller = start(serving(good), timeout=timeout, connect_timeout=timeout)
    assert caller.get() == caller.get() == (200, b"/a")
    assert caller.put(b"x" * 200_000) == (200, b"/a")
