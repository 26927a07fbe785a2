"""The client for asyncio: it carries out what _calls and _fetch say, as the blocking one does."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import _fetch
from ._async_pool import AsyncPool
from ._answers import Entry, Grant, Held, Unreadable
from ._arguments import DEFAULT, LONGEST_WAIT, TTL, wait_seconds
from ._calls import Calls, Request, giving_up
from ._client import Certificate, Client, Settings, filling, remade, settings_of
from ._decorator import Decorator
from ._fetch import Drop, Failed, Keep, Load, Options, Pause, Release, Tags
from ._http import Answer
from ._observation import Observer
from ._values import Serializer, serializer_of
from .errors import PantlerError

if TYPE_CHECKING:
    from ._locks import AsyncLock

T = TypeVar("T")

_NO_BODY = b"\r\n"

# A loop holds its tasks weakly. These go on when whoever began them is cancelled.
_tasks: set[asyncio.Task[Any]] = set()


def _begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


class KeptByTask:
    """A lease that is prolonged by tasks of the running loop until it is dropped. No task runs before that is due."""

    __slots__ = ("prolong", "ttl", "ends", "dropped", "lost", "_timer", "_loop")

    def __init__(self, prolong: Callable[[], Awaitable[bool]], ttl: float) -> None:
        self.prolong = prolong
        self.ttl = ttl
        self.ends = time.monotonic() + ttl
        self.dropped = False
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(ttl / 3, self._due)

    def drop(self) -> None:
        self.dropped = True
        self._timer.cancel()

    def _due(self) -> None:
        if not self.dropped:
            _begin(self._prolong())

    async def _prolong(self) -> None:
        now = time.monotonic()
        delay = self.ttl / 3
        try:
            held = await self.prolong()
        except PantlerError:
            now = time.monotonic()
            held = now < self.ends
            delay = min(self.ttl / 10, self.ends - now)
        else:
            if held:
                self.ends = now + self.ttl
        if not held:
            self.lost = True
        elif not self.dropped:
            self._timer = self._loop.call_later(delay, self._due)


class AsyncLease:
    """The right to fill a key, as :meth:`AsyncClient.lease` gives it. For one task at a time. See :class:`Lease`."""

    def __init__(self, client: AsyncClient, grant: Grant) -> None:
        self._client = client
        self._grant = grant
        self.key = grant.key
        #: Who knows it, has the lease.
        self.token = grant.token
        #: What may be handed out meanwhile, or None.
        self.stale_entry = grant.stale_entry
        #: Whether stale_entry is fresh still, and is only refreshed early.
        self.fresh = grant.fresh

    async def fill(self, value: Any, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()) -> bool:
        """Stores the value and ends the lease; False, and nothing is changed, where it is lost. Otherwise as :meth:`AsyncClient.set`."""
        return await self._client._run(self._client._calls.fill(self._grant, value, ttl, stale_ttl, tags))

    async def prolong(self, ttl: float = 10.0) -> bool:
        """The lease ends ``ttl`` seconds (0.1 to 300) from now; False where it is lost."""
        return await self._client._run(self._client._calls.prolong(self._grant, ttl))

    async def release(self, retry_after: float | None = None) -> bool:
        """Gives the lease up: the next who waits gets it. ``retry_after``: as in :meth:`Lease.release`. False where it was lost already."""
        return await self._client._run(self._client._calls.release(self._grant, retry_after))

    def __repr__(self) -> str:
        return f"<pantler.AsyncLease of {self.key!r}>"


class AsyncClient:
    """A namespace of a Pantler service, for asyncio.

    It has the methods of :class:`Client`, as coroutines, which say the rest; times are in seconds. A client may be shared by tasks, and
    used under several event loops, one after the other or in threads of their own: each has connections of its own. A call that is
    cancelled closes its connection; a change that it was to make may have been applied or not, and a lease that it was to get is given up.
    """

    def __init__(
        self,
        url: str | Iterable[str] | None = None,
        *,
        namespace: str | None = None,
        token: str | None = None,
        timeout: float = 2.0,
        connect_timeout: float = 0.5,
        max_idle: int = 64,
        ca_file: str | os.PathLike[str] | None = None,
        client_certificate: Certificate | None = None,
        serializer: str | Serializer = "json",
    ) -> None:
        """As :class:`Client`. Nothing is sent before the first call, and no event loop has to run yet."""
        self._set_up(
            settings_of(url, namespace, token, timeout, connect_timeout, max_idle, ca_file, client_certificate, serializer)
        )

    def _set_up(self, settings: Settings, pool: AsyncPool | None = None) -> None:
        self._settings = settings
        self._calls = Calls(settings.namespace, settings.serializer)
        self._pool = pool or AsyncPool(
            settings.addresses,
            token=settings.token,
            timeout=settings.timeout,
            connect_timeout=settings.connect_timeout,
            max_idle=settings.max_idle,
            tls=settings.tls,
        )
        self._exchange = self._pool.exchange
        self._where = settings.where
        self._other: Client | None = None

    @property
    def namespace(self) -> str:
        """The namespace's name."""
        return self._settings.namespace

    @property
    def serializer(self) -> Serializer:
        """What turns values into bytes and back."""
        return self._settings.serializer

    def with_serializer(self, serializer: str | Serializer) -> AsyncClient:
        """A client of the same namespace with another serializer, over the same connections."""
        other = type(self).__new__(type(self))
        other._set_up(self._settings._replace(serializer=serializer_of(serializer)), self._pool)
        return other

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Functions that are told of each exchange, in the task that made it. Assign a tuple to change them."""
        return self._pool.observers

    @observers.setter
    def observers(self, observers: Iterable[Observer]) -> None:
        self._pool.observers = tuple(observers)

    async def _send(self, request: Request) -> Answer:
        start, rest, safe, wait, gives_lease = request
        limit = self._settings.timeout + wait if wait else None
        if not gives_lease:
            return await self._exchange(start, rest, safe=safe, timeout=limit)

        def gone(answer: Answer) -> None:
            # All others would wait for somebody who has gone until the lease ends.
            release = giving_up(request, answer)
            if release is not None:
                _begin(self._give_up(release))

        return await self._exchange(start, rest, safe=safe, timeout=limit, orphan=gone)

    async def _give_up(self, release: Request) -> None:
        try:
            await self._send(release)
        except PantlerError:
            # It ends by itself.
            pass

    async def _run(self, steps: Generator[Request, Answer, T]) -> T:
        try:
            request = next(steps)
            while True:
                request = steps.send(await self._send(request))
        except StopIteration as done:
            result: T = done.value
            return result

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """What it returns; it goes on where the caller is cancelled."""
        # In a task of its own: structured concurrency (anyio) cancels each further await of a cancelled task at once.
        return await asyncio.shield(_begin(work))

    async def _release(self, request: Request) -> bool:
        """Sends it, also while the caller is being cancelled; whether it was done. Raises nothing of the service's."""
        try:
            answer = await self._to_the_end(self._send(request))
        except PantlerError:
            return False
        return answer[0] == 204

    # --- one entry

    async def get(self, key: str, default: Any = None) -> Any:
        """The value under the key, stale ones too, or ``default`` where there is none, or a negative entry."""
        calls = self._calls
        return calls.got(await self._exchange(calls.get_start(key), _NO_BODY, safe=True), default)

    async def entry(self, key: str, peek: bool = False) -> Entry | None:
        """The entry, or None; see :meth:`Client.entry`."""
        return await self._run(self._calls.entry(key, peek))

    async def has(self, key: str) -> bool:
        """Whether there is a value under the key. It counts as a get."""
        return await self._run(self._calls.has(key))

    async def ttl(self, key: str) -> float | None:
        """Seconds until the entry expires; see :meth:`Client.ttl`."""
        return await self._run(self._calls.ttl(key))

    async def set(
        self,
        key: str,
        value: Any,
        ttl: TTL = DEFAULT,
        *,
        stale_ttl: float | None = None,
        tags: Iterable[str] = (),
        lease: str | None = None,
    ) -> int:
        """Puts the value under the key, and returns its version; see :meth:`Client.set`."""
        start, rest, *_ = self._calls.put_request(key, value, ttl, stale_ttl, tags, lease)
        return self._calls.was_set(await self._exchange(start, rest, safe=False))

    async def add(
        self, key: str, value: Any, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """Like :meth:`set` where there is no value under the key; else False, and nothing is changed. Atomic."""
        return await self._run(self._calls.set_if(Calls.ADD, key, value, ttl, stale_ttl, tags)) is not None

    async def replace(
        self, key: str, value: Any, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """Like :meth:`set` where there is a value under the key; else False, and nothing is changed. Atomic."""
        return await self._run(self._calls.set_if(Calls.REPLACE, key, value, ttl, stale_ttl, tags)) is not None

    async def compare_and_set(
        self, key: str, value: Any, version: int, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> int | None:
        """Like :meth:`set` where the entry has this version still; else None. Atomic. See :meth:`Client.compare_and_set`."""
        return await self._run(self._calls.set_if(Calls.of_version(version), key, value, ttl, stale_ttl, tags))

    async def delete(self, key: str) -> bool:
        """Deletes the entry, and ends the key's lease; whether there was one."""
        return await self._run(self._calls.delete(key))

    async def touch(self, key: str, ttl: float | None) -> bool:
        """The entry expires ``ttl`` seconds from now, or never with None; whether there is one. It gets a new version."""
        return await self._run(self._calls.touch(key, ttl))

    async def incr(self, key: str, by: int = 1, *, initial: int | None = None, ttl: TTL = DEFAULT) -> int:
        """Adds to an integer, and returns the sum. Atomic; keeps the entry's TTL. See :meth:`Client.incr`."""
        return await self._run(self._calls.incr(key, by, initial, ttl))

    async def decr(self, key: str, by: int = 1, *, initial: int | None = None, ttl: TTL = DEFAULT) -> int:
        """Subtracts from an integer; see :meth:`Client.incr`."""
        return await self._run(self._calls.decr(key, by, initial, ttl))

    # --- many entries

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values that are there, by their keys. More than 1,000 keys, or 64 MiB, come in several round trips."""
        return await self._run(self._calls.get_many(keys))

    async def set_many(
        self, mapping: Mapping[str, Any], ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> list[str]:
        """Puts all of them, and returns the keys that the service refused; see :meth:`Client.set_many`."""
        return await self._run(self._calls.set_many(mapping, ttl, stale_ttl, tags))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Deletes all of them, 1,000 a round trip; how many there were."""
        return await self._run(self._calls.delete_many(keys))

    async def invalidate(
        self, *, tags: Iterable[str] = (), prefix: str | None = None, keys: Iterable[str] = (), stale: bool = False
    ) -> int:
        """Drops entries by tags, by prefix or by keys; see :meth:`Client.invalidate`."""
        return await self._run(self._calls.invalidate(tags, prefix, keys, stale))

    async def flush(self, *, stale: bool = False) -> None:
        """Drops all entries of the namespace, in constant time; with ``stale`` they become stale instead."""
        await self._run(self._calls.flush(stale))

    async def iter_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """The keys that begin with ``prefix``, in the order of their bytes; see :meth:`Client.iter_keys`."""
        cursor: str | None = None
        while True:
            keys, cursor = await self._run(self._calls.page_of_keys(prefix, cursor))
            for key in keys:
                yield key
            if cursor is None:
                return

    # --- leases

    async def lease(self, key: str, ttl: float = 10.0, wait: float = 0.0) -> Entry | AsyncLease | None:
        """The entry, or the lease to fill the key, or None where somebody else has that; see :meth:`Client.lease`."""
        outcome = await self._lease(key, ttl, wait)
        return AsyncLease(self, outcome) if isinstance(outcome, Grant) else outcome

    async def _lease(self, key: str, ttl: float, wait: float, peek: bool = False) -> Entry | Grant | None:
        deadline = time.monotonic() + wait_seconds(wait)
        while True:
            asked = time.monotonic()
            outcome = await self._run(self._calls.lease(key, ttl, min(wait, LONGEST_WAIT), peek=peek))
            if isinstance(outcome, Unreadable):
                raise outcome.error
            if not isinstance(outcome, Held):
                return outcome
            wait = deadline - time.monotonic()
            if wait <= 0.001 or outcome.reason != "filling":
                return None
            if time.monotonic() - asked < 0.05:
                # Whoever answers at once did not wait, as the service does: it is not to be asked without end.
                await asyncio.sleep(min(wait, 0.05))

    def lock(self, name: str, ttl: float = 10.0, wait: float | None = None) -> AsyncLock:
        """A lock among all processes that call it by this name, to be used in ``async with``; see :meth:`Client.lock`."""
        from ._locks import AsyncLock

        return AsyncLock(self, name, ttl, wait)

    def _keep(self, grant: Grant, ttl: float) -> KeptByTask:
        calls = self._calls
        return KeptByTask(lambda: self._run(calls.prolong(grant, ttl)), ttl)

    async def fetch(
        self,
        key: str,
        loader: Callable[[], Any],
        ttl: TTL = DEFAULT,
        *,
        stale_ttl: float | None = None,
        tags: Tags = (),
        negative_ttl: TTL | Literal[0] = DEFAULT,
        wait: float = 10.0,
        lease_ttl: float = 10.0,
        stale_if_error: bool = False,
        retry_after: float | None = None,
    ) -> Any:
        """The value under the key; where there is none, the loader's, which is stored. One loader runs among all processes.

        As :meth:`Client.fetch`; the loader is a coroutine function, or a function, which must not block. It runs in the caller's task: where
        that is cancelled, so is the loader, and the lease is given up to the next who waits.
        """
        options = Options(ttl, stale_ttl, tags, negative_ttl, wait, lease_ttl, stale_if_error, retry_after)
        if not callable(loader):
            raise TypeError(f"loader is a function without arguments, to be called here; this is {loader!r}.")
        mine = (self._where, key)
        steps = _fetch.fetch(self._calls, key, options, mine in filling.get())
        kept: KeptByTask | None = None
        try:
            command = next(steps)
            while True:
                result: Any = None
                try:
                    if type(command) is Request:
                        result = await self._send(command)
                    elif type(command) is Load:
                        result = await _load(loader, mine if command.filling else None)
                    elif type(command) is Keep:
                        kept = self._keep(command.grant, lease_ttl)
                    elif type(command) is Drop:
                        if kept is not None:
                            kept.drop()
                    elif type(command) is Release:
                        await self._release(command.request)
                    elif type(command) is Pause:
                        await asyncio.sleep(command.seconds)
                except BaseException as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(result)
        except StopIteration as done:
            value = done.value
        finally:
            if kept is not None:
                kept.drop()
        if type(value) is Failed:
            raise value.error
        return value

    def cached(
        self,
        ttl: TTL = DEFAULT,
        *,
        key: str | Callable[..., str] | None = None,
        stale_ttl: float | None = None,
        tags: Tags = (),
        negative_ttl: TTL | Literal[0] = DEFAULT,
        wait: float = 10.0,
        lease_ttl: float = 10.0,
        stale_if_error: bool = False,
        retry_after: float | None = None,
    ) -> Decorator:
        """Keeps what a coroutine function (or a function, by a :class:`Client`) returns; see :meth:`Client.cached`. Its ``invalidate`` is a
        coroutine function too."""
        options = Options(ttl, stale_ttl, tags, negative_ttl, wait, lease_ttl, stale_if_error, retry_after)
        return Decorator(self._twin, lambda: self, key, options)

    # --- the rest

    async def stats(self) -> dict[str, Any]:
        """The service's statistics of the namespace: hits by tier, misses by reason, windows, sizes."""
        return await self._run(self._calls.stats())

    def _twin(self) -> Client:
        """The client for functions that are no coroutine functions, made when one is decorated."""
        if self._other is None:
            self._other = Client.__new__(Client)
            self._other._set_up(self._settings)
        return self._other

    async def close(self) -> None:
        """Closes the connections that nobody uses. The client still answers, on connections that it does not keep."""
        self._pool.close()
        if self._other is not None:
            self._other._pool.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __copy__(self) -> AsyncClient:
        """Another client over the same connections."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncClient:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle has the settings, the token among them; the client that comes out of it makes connections of its own."""
        return remade, (type(self), self._settings._replace(tls=None))

    def __repr__(self) -> str:
        where = ", ".join(str(address) for address in self._settings.addresses)
        return f"<pantler.{type(self).__name__} of {self.namespace!r} at {where}>"


async def _load(loader: Callable[[], Any], mine: tuple[object, str] | None) -> Any:
    token = None if mine is None else filling.set(filling.get() | {mine})
    try:
        value = loader()
        if inspect.isawaitable(value):
            value = await value
        return value
    except GeneratorExit:
        # The coroutine itself is closed, by a loop that ends: it must not await anything any more.
        raise
    except BaseException as error:
        return Failed(error)
    finally:
        if token is not None:
            filling.reset(token)
