"""`cache.lock`: the client's lock with the arguments that redis-py's has, which is what django-redis gives."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from .._async_client import AsyncClient
from .._client import Client
from .._locks import PREFIX, AsyncLock, Lock
from ._names import name_of

#: Seconds: the longest lease that the service gives.
_LONGEST = 300.0


class CacheLock:
    """
    A lock among all processes. One object is for one holder at a time, and is not reentrant. In ``with`` it raises
    `pantler.LockHeld` where the time to wait is over, and `pantler.LockLost` at the end where it ended meanwhile. Calls
    raise PantlerError where the service is away, whatever IGNORE_EXCEPTIONS says: there is no lock without it.
    """

    def __init__(self, client: Client, name: str, timeout: float | None, blocking: bool, blocking_timeout: float | None) -> None:
        self._wait = _wait(blocking, blocking_timeout)
        self._lock: Lock = client.lock(_key(name), _ttl(timeout), self._wait)

    def acquire(self, blocking: bool | None = None, blocking_timeout: float | None = None, **ignored: Any) -> bool:
        """
        Takes the lock; False where somebody else has it still after so many seconds. Without arguments it waits as
        `cache.lock` was told.
        """
        return self._lock.acquire(_wait_now(self._wait, blocking, blocking_timeout))

    def release(self) -> None:
        """Gives it up. Raises `pantler.LockLost` where it ended before, RuntimeError where it was not acquired."""
        self._lock.release()

    def owned(self) -> bool:
        """Whether this object holds it, as far as this process knows."""
        return self._lock.held

    def __enter__(self) -> CacheLock:
        self._lock.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return repr(self._lock)


class AsyncCacheLock:
    """As CacheLock, for ``async with``."""

    def __init__(
        self, client: AsyncClient, name: str, timeout: float | None, blocking: bool, blocking_timeout: float | None
    ) -> None:
        self._wait = _wait(blocking, blocking_timeout)
        self._lock: AsyncLock = client.lock(_key(name), _ttl(timeout), self._wait)

    async def acquire(
        self, blocking: bool | None = None, blocking_timeout: float | None = None, **ignored: Any
    ) -> bool:
        """As CacheLock's."""
        return await self._lock.acquire(_wait_now(self._wait, blocking, blocking_timeout))

    async def release(self) -> None:
        """As CacheLock's."""
        await self._lock.release()

    def owned(self) -> bool:
        """As CacheLock's."""
        return self._lock.held

    async def __aenter__(self) -> AsyncCacheLock:
        await self._lock.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lock.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        return repr(self._lock)


def _key(name: str) -> str:
    return name_of(name, len(PREFIX))


def _ttl(timeout: float | None) -> float:
    """
    Redis's locks are not prolonged, so programs that come from there give them an hour and more. Here that is only for
    how long a dead holder's lock stays: the service's bound is plenty.
    """
    if timeout is None:
        return 10.0
    return _LONGEST if isinstance(timeout, (int, float)) and timeout > _LONGEST else timeout


def _wait(blocking: bool, blocking_timeout: float | None) -> float | None:
    return blocking_timeout if blocking else 0.0


def _wait_now(as_told: float | None, blocking: bool | None, blocking_timeout: float | None) -> float | None:
    if blocking is None:
        return as_told if blocking_timeout is None else blocking_timeout
    return _wait(blocking, blocking_timeout)
