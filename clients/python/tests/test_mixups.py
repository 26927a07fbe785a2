"""No answer ever belongs to another key: not behind a proxy that doubles, delays and cuts what it carries, not when calls
are cancelled or processes forked in the middle of them, not when the service is killed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import random
import re
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from conftest import Service

from pantler._address import Address, parse_addresses
from pantler._async_pool import AsyncPool
from pantler._pool import Pool
from pantler.errors import BadAnswer, ConnectionLost, PantlerError, TimedOut, Unavailable

KEYS = 64


def target(key: int) -> bytes:
    return b"/v1/namespaces/default/values/mixup-%d" % key


def value(key: int) -> bytes:
    # Of one length where keys differ by one, so that a body of another one could fit in; some take several packets.
    return b"%08d:" % key * (1 if key % 8 else 20_000)


def fill(address: Address) -> None:
    pool = Pool([address])
    for key in range(KEYS):
        body = value(key)
        rest = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        assert pool.exchange(b"PUT %s HTTP/1.1\r\n" % target(key), rest, safe=False)[0] in (200, 201)
    pool.close()


def ask(pool: Pool, key: int, timeout: float = 5.0) -> None:
    """Asks for a key; it may fail, but what comes is its value."""
    status, _, body = pool.exchange(b"GET %s HTTP/1.1\r\n" % target(key), b"\r\n", safe=True, timeout=timeout)
    assert status == 200 and body == value(key), (key, status, body[:30])


async def ask_async(pool: AsyncPool, key: int, timeout: float = 5.0) -> None:
    status, _, body = await pool.exchange(b"GET %s HTTP/1.1\r\n" % target(key), b"\r\n", safe=True, timeout=timeout)
    assert status == 200 and body == value(key), (key, status, body[:30])


@pytest.fixture(scope="module")
def own_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that no other test of this process has connections to: some keep theirs."""
    service = Service(tmp_path_factory.mktemp("mixups"))
    try:
        service.start()
        yield service.url
        service.stop()
    finally:
        service.kill()


@pytest.fixture
def address(own_service: str) -> Iterator[Address]:
    """That of the service, to which no connection may be open when a test is over."""
    addresses, _ = parse_addresses(own_service)
    fill(addresses[0])
    yield addresses[0]
    gc.collect()
    assert open_sockets(addresses[0]) == 0


class Tamperer:
    """A proxy that carries requests and answers as they are, mostly. What it does else to answers comes from a seed."""

    def __init__(self, to: Address, seed: int) -> None:
        self._to = to
        self._random = random.Random(seed)
        self.tampered = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        port = self._listener.getsockname()[1]
        # The service looks at the name in Host: it is told the one that it knows.
        self.address = Address("127.0.0.1", port, None, False, to.host_field)
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in [self._listener, *self._sockets]:
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._to.host, self._to.port))
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += (client, server)
                for carry, ends in ((self._carry, (client, server)), (self._tamper, (server, client))):
                    thread = threading.Thread(target=carry, args=ends, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _tamper(self, source: socket.socket, sink: socket.socket) -> None:
        before = b""
        with contextlib.suppress(OSError), source.makefile("rb") as stream:
            while data := self._answer(stream):
                what = self._random.random()
                self.tampered += what < 0.30
                if what < 0.05:
                    sink.sendall(data * 2)
                elif what < 0.10:
                    sink.sendall(data)
                    time.sleep(self._random.choice((0.0, 0.0001, 0.001, 0.005)))
                    sink.sendall(data)
                elif what < 0.15:
                    # The answer before this one comes once more. Only the id tells it from the one that is waited for.
                    sink.sendall(before + data)
                elif what < 0.20:
                    sink.sendall(data[: self._random.randrange(len(data))])
                    break
                elif what < 0.24:
                    cut = self._random.randrange(len(data))
                    sink.sendall(data[:cut])
                    time.sleep(self._random.choice((0.0001, 0.002, 0.02)))
                    sink.sendall(data[cut:])
                elif what < 0.27:
                    time.sleep(self._random.choice((0.001, 0.02, 0.08)))
                    sink.sendall(data)
                elif what < 0.28:
                    sink.sendall(b"garbage" + data)
                elif what < 0.30:
                    # Nothing comes any more, and nothing ends.
                    while source.recv(65536):
                        pass
                    break
                else:
                    sink.sendall(data)
                before = data
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _answer(stream: BinaryIO) -> bytes:
        """The next one, whole."""
        lines: list[bytes] = []
        while not lines or lines[-1] not in (b"\r\n", b""):
            lines.append(stream.readline())
        head = b"".join(lines)
        assert not head or b"x-request-id: " in head, "the service says in an answer which request it is to"
        found = re.search(rb"content-length: (\d+)", head)
        return head + stream.read(int(found[1])) if found else b""


@pytest.fixture(params=[1, 2])
def tamperer(address: Address, request: pytest.FixtureRequest) -> Iterator[Tamperer]:
    tamperer = Tamperer(address, request.param)
    try:
        yield tamperer
    finally:
        tamperer.close()


class Crowd:
    """Threads that all have to end without a failure."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self.failures: list[str] = []

    def add(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException:
                self.failures.append(traceback.format_exc())

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert not self.failures, self.failures[0]


def test_threads_behind_a_tampering_proxy_get_their_own_values(tamperer: Tamperer) -> None:
    pool = Pool([tamperer.address], max_idle=8)
    good = [0] * 16

    def work(number: int) -> None:
        dice = random.Random(number)
        for _ in range(100):
            try:
                ask(pool, dice.randrange(KEYS), timeout=dice.choice((0.03, 0.15)))
                good[number] += 1
            except (ConnectionLost, TimedOut, BadAnswer):
                pass

    crowd = Crowd()
    for number in range(16):
        crowd.add(lambda number=number: work(number))  # type: ignore[misc]
    crowd.join()
    pool.close()
    assert sum(good) > 200 and tamperer.tampered > 100


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_cancelled_tasks_behind_a_tampering_proxy_leave_others_their_own_values(tamperer: Tamperer, uvloop: bool) -> None:
    dice = random.Random(4)
    good = cancelled = 0

    async def one(pool: AsyncPool) -> None:
        nonlocal good
        with contextlib.suppress(ConnectionLost, TimedOut, BadAnswer):
            await ask_async(pool, dice.randrange(KEYS), timeout=dice.choice((0.03, 0.15)))
            good += 1

    async def main() -> None:
        nonlocal cancelled
        pool = AsyncPool([tamperer.address], max_idle=8)
        for _ in range(40):
            tasks = [asyncio.ensure_future(one(pool)) for _ in range(32)]
            for _ in range(dice.randrange(6)):
                await asyncio.sleep(0)
            cancelled += sum(task.cancel() for task in tasks[::2])
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError), result
        pool.close()

    run(main, uvloop)
    assert good > 100 and cancelled > 50


def run(main: Callable[[], object], uvloop: bool = False) -> None:
    if uvloop:
        loop = pytest.importorskip("uvloop").new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_a_thousand_cancelled_requests(address: Address, uvloop: bool) -> None:
    dice = random.Random(5)

    async def main() -> None:
        pool = AsyncPool([address])
        cancelled = 0
        while cancelled < 1000:
            tasks = [asyncio.ensure_future(ask_async(pool, dice.randrange(KEYS))) for _ in range(20)]
            # At any point: while connecting, before and after the request went out, with the answer half read.
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
            cancelled += sum(task.cancel() for task in tasks[:15])
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError), result
        for key in range(KEYS):
            await ask_async(pool, key)
        pool.close()

    run(main, uvloop)


def test_a_timeout_by_asyncio_is_a_cancellation_like_others(address: Address) -> None:
    async def main() -> None:
        pool = AsyncPool([address])
        for number in range(300):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ask_async(pool, number % KEYS), timeout=0.0003 * (number % 5))
            await ask_async(pool, (number + 1) % KEYS)
        pool.close()

    run(main)


def test_fifty_threads_have_one_pool(address: Address) -> None:
    pool = Pool([address])

    def work(number: int) -> None:
        for step in range(60):
            ask(pool, (number * 7 + step) % KEYS)

    crowd = Crowd()
    for number in range(50):
        crowd.add(lambda number=number: work(number))  # type: ignore[misc]
    crowd.join()
    assert len(pool._places[0].idle) <= 50
    pool.close()


def test_loops_in_threads_have_one_pool(address: Address) -> None:
    pool = AsyncPool([address])

    async def main(number: int) -> None:
        for step in range(20):
            await asyncio.gather(*(ask_async(pool, (number + step + other) % KEYS) for other in range(5)))

    crowd = Crowd()
    for number in range(8):
        crowd.add(lambda number=number: asyncio.run(main(number)))  # type: ignore[misc]
    crowd.join()
    pool.close()


TIMERS = [(signal.ITIMER_REAL, signal.SIGALRM), (signal.ITIMER_PROF, signal.SIGPROF)]
"""The first one makes a pool leave its timeouts to Python, the second one does not."""


@pytest.mark.parametrize(("timer", "alarm"), TIMERS)
def test_an_exception_in_the_middle_of_a_call_leaves_the_next_one_its_own_value(
    address: Address, timer: int, alarm: int
) -> None:
    pool = Pool([address])

    class Interrupt(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupt

    before = signal.signal(alarm, interrupt)
    interrupted = 0
    try:
        for number in range(100):
            try:
                signal.setitimer(timer, 0.00005 * (number % 20) + 0.00001)
                # One that counts the processor's time comes a few milliseconds later.
                for _ in range(20 if timer == signal.ITIMER_REAL else 500):
                    ask(pool, (number + 1) % KEYS)
                signal.setitimer(timer, 0)
            except Interrupt:
                interrupted += 1
            ask(pool, number % KEYS)
    finally:
        signal.setitimer(timer, 0)
        signal.signal(alarm, before)
    assert interrupted > 10
    pool.close()


@pytest.mark.parametrize(("timer", "alarm"), TIMERS)
def test_signals_that_are_handled_disturb_nothing(address: Address, timer: int, alarm: int) -> None:
    pool = Pool([address])
    seen = 0

    def count(number: int, frame: object) -> None:
        nonlocal seen
        seen += 1

    before = signal.signal(alarm, count)
    try:
        signal.setitimer(timer, 0.0005, 0.0005)
        number = 0
        while seen < 50 or number < 500:
            ask(pool, number % KEYS)
            number += 1
    finally:
        signal.setitimer(timer, 0)
        signal.signal(alarm, before)
    pool.close()


def test_a_timer_does_not_stretch_timeouts(address: Address) -> None:
    pool = Pool([address])
    ask(pool, 1)
    pool._chores_at = pool._sweep_at = 0.0
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            slow = Pool([Address("127.0.0.1", port, None, False, b"x")])
            for asked in (slow, slow):
                began = time.monotonic()
                with pytest.raises(TimedOut):
                    ask(asked, 1, timeout=0.3)
                assert 0.29 < time.monotonic() - began < 1
        ask(pool, 1)
        assert not pool._places[0].idle[0].poll, "a pool that is in use already notices"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pool.close()


# Forks.


def in_child(work: Callable[[], None]) -> int:
    """Runs it in a forked process, whose pid this is."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for(*pids: int) -> None:
    for pid in pids:
        deadline = time.monotonic() + 30
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        assert os.waitstatus_to_exitcode(status) == 0


def sockets_of(pid: int, address: Address) -> int:
    """How many connections to an address a process has open."""
    port = f":{address.port:04X}"
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2].endswith(port):
            inodes.add(f"socket:[{fields[9]}]")
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/{pid}/fd/{name}") in inodes
    return count


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_while_other_threads_are_in_mid_call(address: Address) -> None:
    pool = Pool([address])
    stop = threading.Event()

    def work(number: int) -> None:
        dice = random.Random(number)
        while not stop.is_set():
            ask(pool, dice.randrange(KEYS))

    def child() -> None:
        assert sockets_of(os.getpid(), address) == 0, "the parent's connections are closed in the child"
        for key in range(KEYS):
            ask(pool, key)
        asyncio.run(both())

    async def both() -> None:
        for key in range(KEYS):
            await ask_async(other, key)

    other = AsyncPool([address])
    crowd = Crowd()
    for number in range(6):
        crowd.add(lambda number=number: work(number))  # type: ignore[misc]
    for turn in range(12):
        ask(pool, turn)
        pids = [in_child(child) for _ in range(2)]
        for key in range(KEYS):
            ask(pool, key)
        wait_for(*pids)
    stop.set()
    crowd.join()
    pool.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_the_parents_connections_live_on_when_a_child_ends(address: Address) -> None:
    pool = Pool([address])
    ask(pool, 1)
    connection = pool._places[0].idle[0]
    wait_for(in_child(lambda: ask(pool, 2)))
    wait_for(in_child(lambda: pool.close()))
    ask(pool, 3)
    assert pool._places[0].idle == [connection]
    pool.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_a_fork_out_of_a_running_loop(address: Address, uvloop: bool) -> None:
    async def main() -> None:
        pool = AsyncPool([address])
        await asyncio.gather(*(ask_async(pool, key) for key in range(8)))

        def child() -> None:
            assert sockets_of(os.getpid(), address) == 0
            asyncio._set_running_loop(None)

            async def again() -> None:
                for key in range(KEYS):
                    await ask_async(pool, key)

            asyncio.run(again())

        tasks = [asyncio.ensure_future(ask_async(pool, key)) for key in range(8)]
        await asyncio.sleep(0)
        pid = in_child(child)
        await asyncio.gather(*tasks)
        for key in range(KEYS):
            await ask_async(pool, key)
        await asyncio.get_running_loop().run_in_executor(None, wait_for, pid)
        await asyncio.gather(*(ask_async(pool, key) for key in range(8)))
        pool.close()

    run(main, uvloop)


def ask_all(pool: Pool) -> None:
    for key in range(KEYS):
        ask(pool, key)


_inherited: Pool | None = None


def use_inherited() -> None:
    assert _inherited is not None
    ask_all(_inherited)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_processes_of_multiprocessing(address: Address) -> None:
    global _inherited
    _inherited = pool = Pool([address])
    ask(pool, 0)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=use_inherited) for _ in range(4)]
    for process in processes:
        process.start()
    ask_all(pool)
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
        process.close()
    ask_all(pool)
    pool.close()
    _inherited = None


# The service is killed.


def test_the_service_killed_and_started_again_under_calls(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.start()
    address = parse_addresses(service.url)[0][0]
    pool, other = Pool([address], timeout=5), AsyncPool([address], timeout=5)
    stop = threading.Event()
    kinds: set[type[BaseException]] = set()
    hits = [0] * 9

    def one(key: int) -> None:
        status, _, body = pool.exchange(b"GET %s HTTP/1.1\r\n" % target(key), b"\r\n", safe=True)
        assert status == 404 or body == value(key)
        hits[key % 8] += status == 200

    def work(number: int) -> None:
        dice = random.Random(number)
        while not stop.is_set():
            try:
                one(dice.randrange(KEYS) // 8 * 8 + number)
            except PantlerError as error:
                kinds.add(type(error))
                time.sleep(0.002)

    async def main() -> None:
        dice = random.Random(9)
        while not stop.is_set():
            try:
                await ask_async(other, dice.randrange(KEYS))
                hits[8] += 1
            except PantlerError as error:
                kinds.add(type(error))
                await asyncio.sleep(0.002)
            except AssertionError as error:
                assert error.args[0][1] == 404, error

    try:
        fill(address)
        crowd = Crowd()
        for number in range(8):
            crowd.add(lambda number=number: work(number))  # type: ignore[misc]
        crowd.add(lambda: asyncio.run(main()))
        for _ in range(3):
            time.sleep(0.3)
            service.kill()
            time.sleep(0.2)
            service.start()
            deadline = time.monotonic() + 5
            while True:
                try:
                    fill(address)
                    break
                except Unavailable:
                    assert time.monotonic() < deadline
            before = list(hits)
            while any(now <= then for now, then in zip(hits, before)):
                assert time.monotonic() < deadline + 5, "hits come back by themselves"
                time.sleep(0.01)
        stop.set()
        crowd.join()
        assert kinds <= {Unavailable, ConnectionLost} and Unavailable in kinds, kinds
        service.stop()
    finally:
        stop.set()
        pool.close()
        other.close()
        service.kill()


# Loops that end, pools that are forgotten.


def open_sockets(address: Address) -> int:
    return sockets_of(os.getpid(), address)


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_loops_that_die_with_connections_open_leave_nothing(address: Address, uvloop: bool) -> None:
    new_loop = pytest.importorskip("uvloop").new_event_loop if uvloop else asyncio.new_event_loop
    pool = AsyncPool([address])

    async def some() -> None:
        await asyncio.gather(*(ask_async(pool, key) for key in range(5)))

    for _ in range(10):
        loop = new_loop()
        loop.run_until_complete(some())
        loop.close()
        assert open_sockets(address) <= 5
    del loop
    gc.collect()
    assert open_sockets(address) == 0 and len(pool._homes) == 0
    # Those that somebody still has are closed when another one comes.
    dead = []
    for _ in range(3):
        dead.append(new_loop())
        dead[-1].run_until_complete(some())
        dead[-1].close()
        assert open_sockets(address) == 5
    dead.clear()
    # One that ends in the middle of calls.
    loop = new_loop()
    tasks = [loop.create_task(ask_async(pool, key)) for key in range(5)]
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    with contextlib.suppress(RuntimeError):
        loop.close()
    for task in tasks:
        # Its owner says that he knows: asyncio complains of tasks that are left.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    del tasks, task, loop
    gc.collect()
    asyncio.run(some())
    gc.collect()
    assert open_sockets(address) == 0
    pool.close()


def test_a_forgotten_pool_closes_its_connections(address: Address) -> None:
    pool = Pool([address])
    ask(pool, 1)
    assert open_sockets(address) == 1
    circle: list[object] = [pool]
    circle.append(circle)
    del pool, circle
    gc.collect()
    assert open_sockets(address) == 0

    async def main() -> None:
        other = AsyncPool([address])
        await asyncio.gather(*(ask_async(other, key) for key in range(5)))
        assert open_sockets(address) == 5
        circle: list[object] = [other]
        circle.append(circle)
        del other, circle
        gc.collect()
        await asyncio.sleep(0)
        assert open_sockets(address) == 0

    asyncio.run(main())


def test_an_asynchronous_pool_is_closed_from_anywhere(address: Address) -> None:
    pool = AsyncPool([address])
    ready, closed = threading.Event(), threading.Event()

    async def main() -> None:
        await asyncio.gather(*(ask_async(pool, key) for key in range(5)))
        ready.set()
        while not closed.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        assert open_sockets(address) == 0

    crowd = Crowd()
    crowd.add(lambda: asyncio.run(main()))
    assert ready.wait(10)
    pool.close()
    closed.set()
    crowd.join()
