"""Locks among processes, by leases that nobody fills."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Service

from pantler import AsyncClient, Client, LockHeld, LockLost, PantlerError, Unavailable, _keeper
from pantler._keeper import Keeper, keep

_numbers = itertools.count()


@pytest.fixture
def url(service: str) -> str:
    return f"{service}/v1/namespaces/locks-{next(_numbers)}"


@pytest.fixture
def client(url: str) -> Client:
    return Client(url)


def test_one_of_many_threads_has_it(client: Client) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with client.lock("report"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 40 and max(most) == 1


def test_who_waits_too_long_is_told(client: Client) -> None:
    with client.lock("report") as lock:
        assert lock.held and not lock.lost and lock.locked()
        assert client.lock("report").acquire(0) is False
        begun = time.monotonic()
        with pytest.raises(LockHeld, match="Somebody else has the lock 'report', and 0.2 seconds are over"), client.lock("report", wait=0.2):
            pytest.fail("entered")
        assert 0.15 < time.monotonic() - begun < 5
        with client.lock("other", wait=0):
            pass
        with pytest.raises(RuntimeError, match="not reentrant"):
            lock.acquire()
    assert not lock.held and not lock.locked()
    with pytest.raises(RuntimeError, match="not held"):
        lock.release()
    assert lock.acquire(0)
    lock.release()


def test_it_is_prolonged_while_its_holder_lives(client: Client) -> None:
    with client.lock("report", ttl=0.3) as lock:
        time.sleep(1)
        assert lock.held
        assert not client.lock("report").acquire(0)


def test_it_ends_with_its_holder(url: str, client: Client) -> None:
    program = "import pantler, sys, time; pantler.Client(sys.argv[1]).lock('report', ttl=1).acquire(); print('has it', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"has it\n"
    assert not client.lock("report").acquire(0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    begun = time.monotonic()
    assert client.lock("report").acquire(5)
    assert time.monotonic() - begun < 4


def test_a_lost_lock_is_told_at_the_end(client: Client) -> None:
    with pytest.raises(LockLost), client.lock("report", ttl=0.3) as lock:
        client.flush()
        deadline = time.monotonic() + 5
        while not lock.lost and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lock.lost and not lock.held
    # What went wrong inside matters more.
    with pytest.raises(LookupError), client.lock("report"):
        client.flush()
        raise LookupError
    with pytest.raises(LockLost), client.lock("report"):
        client.delete("lock:report")


def test_a_lock_is_lost_when_the_service_is(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.start()
    client = Client(service.url)
    with pytest.raises(PantlerError), client.lock("report", ttl=0.5) as lock:
        service.kill()
        deadline = time.monotonic() + 5
        while not lock.lost and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lock.lost
    with pytest.raises(Unavailable):
        client.lock("report").acquire(0)
    assert not client.lock("report").held


def test_an_entry_in_a_locks_place_is_told(client: Client) -> None:
    client.set("lock:report", 1)
    with pytest.raises(PantlerError, match="There is an entry under the key 'lock:report'"):
        client.lock("report").acquire(0)


@pytest.mark.parametrize(("arguments", "message"), [({"name": ""}, "name"), ({"name": "a", "ttl": 0}, "greater than 0"), ({"name": "a", "ttl": 301}, "0.1 to 300"), ({"name": "a", "wait": -1}, "wait")])
def test_what_a_lock_cannot_be_is_told(client: Client, arguments: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        client.lock(**arguments)


def test_names_of_any_length(client: Client) -> None:
    with client.lock("é" * 2000):
        assert not client.lock("é" * 2000).acquire(0)
        with client.lock("é" * 2000 + "a", wait=0):
            pass


def test_the_lock_of_tasks(url: str) -> None:
    async def main() -> None:
        async with AsyncClient(url) as client:
            inside: list[int] = []

            async def work() -> None:
                async with client.lock("report", ttl=0.3, wait=20) as lock:
                    inside.append(1)
                    assert len(inside) == 1 and lock.held and await lock.locked()
                    await asyncio.sleep(0.01)
                    inside.pop()

            await asyncio.gather(*(work() for _ in range(20)))
            async with client.lock("report", ttl=0.3):
                await asyncio.sleep(1)
                assert not await client.lock("report").acquire(0)
                with pytest.raises(LockHeld):
                    async with client.lock("report", wait=0.05):
                        pytest.fail("entered")
            with pytest.raises(LockLost):
                async with client.lock("report", ttl=0.3) as lost:
                    await client.flush()
                    while not lost.lost:
                        await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_cancelled_task_gives_its_lock_back(url: str) -> None:
    async def main() -> None:
        async with AsyncClient(url) as client:
            entered = asyncio.Event()

            async def work() -> None:
                async with client.lock("report"):
                    entered.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(work())
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await client.lock("report").acquire(1)

    asyncio.run(asyncio.wait_for(main(), 30))


# --- the thread that prolongs


def test_a_prolonging_that_fails_is_tried_again_until_the_lease_has_ended() -> None:
    keeper = Keeper()
    tries: list[float] = []

    def prolong() -> bool:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise Unavailable("away")
        return True

    kept = keeper.keep(prolong, 0.6)
    deadline = time.monotonic() + 5
    while len(tries) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    kept.drop()
    assert len(tries) >= 4 and not kept.lost
    lost = keeper.keep(lambda: (_ for _ in ()).throw(Unavailable("away")), 0.3)
    refused = keeper.keep(lambda: False, 0.3)
    deadline = time.monotonic() + 5
    while not (lost.lost and refused.lost) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lost.lost and refused.lost
    # One that raises what nobody thought of ends nothing but itself.
    keeper.keep(lambda: 1 // 0 > 0, 0.3)
    again: list[int] = []
    other = keeper.keep(lambda: bool(again.append(1)) or True, 0.3)
    time.sleep(0.5)
    assert again
    other.drop()


def test_a_service_that_does_not_answer_holds_up_no_other_ones_leases() -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def hang() -> bool:
        asked.set()
        return may_answer.wait(10)

    prolonged = threading.Event()
    hanging = keep(hang, 0.15, "the one")
    assert asked.wait(10)
    other = keep(lambda: prolonged.set() or True, 0.15, "the other")  # type: ignore[func-returns-value]
    assert prolonged.wait(5)
    for kept in (hanging, other):
        kept.drop()
    may_answer.set()


def test_a_thread_without_leases_ends_and_the_next_lease_has_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "IDLE", 0.05)
    keeper = Keeper()
    for _ in range(2):
        prolonged = threading.Event()
        keeper.keep(lambda: prolonged.set() or True, 0.15).drop()  # type: ignore[func-returns-value]
        kept = keeper.keep(lambda: prolonged.set() or True, 0.15)  # type: ignore[func-returns-value]
        assert prolonged.wait(5)
        thread = keeper._thread
        assert thread is not None
        kept.drop()
        thread.join(5)
        assert not thread.is_alive() and keeper._thread is None


def test_a_lease_may_be_taken_in_the_midst_of_taking_one() -> None:
    """As a finalizer does that the collection of garbage calls, whenever that may be."""
    keeper = Keeper()
    taken = threading.Event()

    def take() -> None:
        with keeper._changed:
            keeper.keep(lambda: True, 10).drop()
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    assert taken.wait(5), "it waits for itself"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_locks_are_neither_hits_nor_misses(url: str, kind: Any) -> None:
    client = Client(url)
    client.set("k", 1)

    async def main() -> None:
        other = AsyncClient(url)
        async with other.lock("report"):
            assert not await other.lock("report").acquire(0)
        await other.close()

    if kind is AsyncClient:
        asyncio.run(main())
    else:
        with client.lock("report"):
            assert not client.lock("report").acquire(0)
    stats = client.stats()
    assert stats["misses"]["total"] == stats["hits"]["total"] == 0


def test_a_dropped_lease_is_prolonged_no_more() -> None:
    keeper = Keeper()
    asked: list[int] = []
    keeper.keep(lambda: bool(asked.append(1)), 0.15).drop()
    time.sleep(0.3)
    assert not asked


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_prolongs_its_own_and_not_its_parents(url: str) -> None:
    program = """
import os, sys, time, pantler
client = pantler.Client(sys.argv[1])
with client.lock("parents", ttl=0.5):
    child = os.fork()
    if child == 0:
        with client.lock("childs", ttl=0.5) as lock:
            time.sleep(1.2)
            assert lock.held
        os._exit(0)
    time.sleep(1.2)
    assert os.waitpid(child, 0)[1] == 0
print("well")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, url], capture_output=True, text=True, timeout=60)
    assert done.stdout == "well\n", done.stderr
