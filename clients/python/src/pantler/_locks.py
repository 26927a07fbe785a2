"""Locks among processes: a lease that is never filled, prolonged while it is held."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._answers import Entry, Grant
from ._arguments import LONGEST_WAIT, lease_seconds, short_key
from .errors import PantlerError

if TYPE_CHECKING:
    from ._async_client import AsyncClient, KeptByTask
    from ._client import Client
    from ._keeper import Kept

#: What the key of a lock's lease begins with. No entry is ever stored under it.
PREFIX = "lock:"


class LockHeld(PantlerError, TimeoutError):
    """Somebody else has the lock, and the time to wait for it is over. Nothing was changed."""


class LockLost(PantlerError):
    """The lock ended while it was held: the service was away for longer than its TTL, or was flushed, or somebody wrote or deleted
    its key. Somebody else may have had it since, so what was done under it may have been done twice."""


class _Lock:
    """What both locks have in common."""

    def __init__(self, name: str, ttl: float, wait: float | None) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"A lock's name is a str that is not empty; this is {name!r}.")
        _check_wait(wait)
        self.name = name
        self._key = short_key(PREFIX + name)
        self._ttl = lease_seconds(ttl)
        self._wait = wait
        self._grant: Grant | None = None
        self._kept: Kept | KeptByTask | None = None

    @property
    def held(self) -> bool:
        """Whether it was acquired, is not released, and is not known to be lost."""
        return self._grant is not None and not self.lost

    @property
    def lost(self) -> bool:
        """Whether it ended while it was held. As far as this process knows: it asks every third of the TTL."""
        kept = self._kept
        return kept is not None and (kept.lost or time.monotonic() >= kept.ends)

    def _begin(self, wait: float | None) -> float:
        _check_wait(wait)
        if self._grant is not None:
            raise RuntimeError(f"The lock {self.name!r} is held by this very object, and is not reentrant.")
        return float("inf") if wait is None else time.monotonic() + wait

    def _taken(self, outcome: Entry | Grant | None) -> bool:
        if isinstance(outcome, Entry):
            raise PantlerError(f"There is an entry under the key {self._key!r}, which stands for a lock: delete it.")
        return outcome is not None

    def _end(self) -> tuple[Grant, bool]:
        grant, kept = self._grant, self._kept
        if grant is None:
            raise RuntimeError(f"The lock {self.name!r} is not held.")
        lost = self.lost
        self._grant = self._kept = None
        if kept is not None:
            kept.drop()
        return grant, lost

    def _held_elsewhere(self) -> LockHeld:
        return LockHeld(f"Somebody else has the lock {self.name!r}, and {self._wait} seconds are over.")

    def _lost_error(self) -> LockLost:
        return LockLost(f"The lock {self.name!r} was lost while it was held.")

    def __repr__(self) -> str:
        state = "lost" if self.lost else "held" if self._grant is not None else "not held"
        return f"<pantler.{type(self).__name__} {self.name!r}, {state}>"


def _check_wait(wait: Any) -> None:
    if wait is not None and (isinstance(wait, bool) or not isinstance(wait, (int, float)) or not wait >= 0):
        raise ValueError(f"wait is a number of seconds, 0 or more, or None; this is {wait!r}.")


class Lock(_Lock):
    """A lock among processes, as :meth:`Client.lock` gives it. One object is for one holder at a time, and is not reentrant.

    In ``with`` it raises LockHeld where ``wait`` seconds are over, and LockLost at the end where it ended meanwhile (and nothing else is
    raised): ``lost`` tells that earlier. Calls raise PantlerError where the service is away: there is no lock without it. A daemon thread
    prolongs it while the process lives, so that a task may take longer than the TTL.
    """

    def __init__(self, client: Client, name: str, ttl: float, wait: float | None) -> None:
        super().__init__(name, ttl, wait)
        self._client = client

    def acquire(self, wait: float | None = None) -> bool:
        """Takes the lock; False where somebody else has it still after ``wait`` seconds. None waits for ever, 0 not at all."""
        deadline = self._begin(wait)
        while True:
            left = max(0.0, min(deadline - time.monotonic(), LONGEST_WAIT))
            outcome = self._client._lease(self._key, self._ttl, left, peek=True)
            if self._taken(outcome):
                assert isinstance(outcome, Grant)
                self._grant = outcome
                self._kept = self._client._keep(outcome, self._ttl)
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if not left < LONGEST_WAIT:
                continue
            # The service had no room to let us wait; or nearly all of it is over.
            time.sleep(min(left, 0.05))

    def locked(self) -> bool:
        """Whether anybody has the lock, here or elsewhere, as the service says."""
        return self._client._run(self._client._calls.is_leased(self._key))

    def release(self) -> None:
        """Gives the lock up. Raises LockLost where it ended before, RuntimeError where it was not acquired."""
        grant, lost = self._end()
        if not self._client._run(self._client._calls.release(grant, None)) or lost:
            raise self._lost_error()

    def __enter__(self) -> Lock:
        if not self.acquire(self._wait):
            raise self._held_elsewhere()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.release()
        except PantlerError:
            # What went wrong inside matters more.
            if error is None:
                raise


class AsyncLock(_Lock):
    """The lock of :class:`AsyncClient`: as :class:`Lock`, in ``async with``, prolonged by a task of the running loop."""

    def __init__(self, client: AsyncClient, name: str, ttl: float, wait: float | None) -> None:
        super().__init__(name, ttl, wait)
        self._client = client

    async def acquire(self, wait: float | None = None) -> bool:
        """Takes the lock; False where somebody else has it still after ``wait`` seconds. None waits for ever, 0 not at all."""
        deadline = self._begin(wait)
        while True:
            left = max(0.0, min(deadline - time.monotonic(), LONGEST_WAIT))
            outcome = await self._client._lease(self._key, self._ttl, left, peek=True)
            if self._taken(outcome):
                assert isinstance(outcome, Grant)
                self._grant = outcome
                self._kept = self._client._keep(outcome, self._ttl)
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if not left < LONGEST_WAIT:
                continue
            await asyncio.sleep(min(left, 0.05))

    async def locked(self) -> bool:
        """Whether anybody has the lock, here or elsewhere, as the service says."""
        return await self._client._run(self._client._calls.is_leased(self._key))

    async def release(self) -> None:
        """Gives the lock up, also where the caller is cancelled meanwhile. Raises LockLost where it ended before, RuntimeError where it
        was not acquired."""
        grant, lost = self._end()
        if not await self._client._to_the_end(self._client._run(self._client._calls.release(grant, None))) or lost:
            raise self._lost_error()

    async def __aenter__(self) -> AsyncLock:
        if not await self.acquire(self._wait):
            raise self._held_elsewhere()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        grant, lost = self._end()
        # Not held up by the cancellation that may be what ends the block.
        released = await self._client._release(self._client._calls.release_request(grant, None))
        if error is None and (lost or not released):
            raise self._lost_error()
