"""Moving in: a cache that reads through to the one the site had before, and fills on the way.

    CACHES = {
        "old": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:6379/0"},
        "default": {
            "BACKEND": "pantler.django.MigratingCache", "LOCATION": "http://127.0.0.1:8080/v1/namespaces/site",
            "OPTIONS": {"OLD": "old"},
        },
    }

For as long as both are asked, every write and delete reaches the old cache first and Pantler then. A fill is done by
lease: it reads the old cache while it holds one, which the delete or write of Pantler's ends, so that nothing comes
back that was deleted or replaced.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured

from .._answers import Entry, Grant, Held, Unreadable
from .._arguments import ABSENT
from .._calls import Request
from .._http import Answer, field
from ..errors import KeyMissing, PantlerError, Refused, SerializationError
from . import _leases, _steps
from ._backend import PantlerCache

__all__ = ["MigratingCache"]

logger = logging.getLogger("pantler.django")

T = TypeVar("T")

#: OPTIONS beside PantlerCache's.
OWN_OPTIONS = ("OLD", "FILL_TIMEOUT", "WRITE_OLD")

#: Seconds for which an entry is kept that comes from an old cache which cannot tell how long it has left: memcached.
FILL_TIMEOUT = 60.0

#: Seconds that a fill may take: reading from the old cache once more, and putting.
FILL_LEASE = 5.0

_MISSING: Any = object()
_UNKNOWN: Any = object()


class _Old(NamedTuple):
    """A call of the old cache."""

    method: str
    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] = {}


class _OldLeft(NamedTuple):
    """How long an entry of the old cache has left."""

    key: Any
    version: int | None


class _OldFailed(Exception):
    """The old cache has failed. Never leaves this module."""

    def __init__(self, error: Exception) -> None:
        self.error = error


Steps: TypeAlias = Generator["Request | _Old | _OldLeft", Any, T]


class _Counts:
    """What a process has seen of an overlap. Safe for threads and forks."""

    #: Asked of Pantler and found there; found in the old cache alone; found in neither; fills that landed; fills that a
    #: change had overtaken; calls of the old cache that failed.
    NAMES = ("hits", "old_hits", "misses", "fills", "overtaken", "old_errors")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values = dict.fromkeys(self.NAMES, 0)
        #: What of them the service has been told.
        self.told = dict.fromkeys(self.NAMES, 0)
        self.tell_at = time.monotonic() + SECONDS_BETWEEN_TELLING
        #: Keys whose write or delete the old cache has missed: what it has under them is not to be believed.
        self.missed: set[tuple[Any, int | None]] = set()

    def add(self, name: str, number: int = 1) -> None:
        with self.lock:
            self.values[name] += number

    def untold(self) -> dict[str, int]:
        """What the service is to be told now; empty where it is not time yet."""
        if time.monotonic() < self.tell_at:
            return {}
        with self.lock:
            if time.monotonic() < self.tell_at:
                return {}
            self.tell_at = time.monotonic() + SECONDS_BETWEEN_TELLING
            more = {name: count - self.told[name] for name, count in self.values.items() if count > self.told[name]}
            self.told = dict(self.values)
            return more


#: How often a process adds its counts to those of all, which `python -m pantler.django check` shows.
SECONDS_BETWEEN_TELLING = 5.0
# Those are for as long as a move takes.
_TOTALS_TTL = 90 * 86400

#: More keys than that, and the old cache is believed nothing any more.
MOST_MISSED = 10_000

_counts: dict[tuple[int, str], _Counts] = {}
_counts_lock = threading.Lock()


def _forget_the_parent() -> None:
    """A child counts what it sees itself; its parent's locks may have been held by threads that it has not."""
    global _counts_lock
    _counts_lock = threading.Lock()
    for counts in _counts.values():
        counts.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parent)


class _Counting(PantlerCache):
    """What both the cache of a running move and that of one that is over can tell."""

    _stats: _Counts | None = None

    def migration_stats(self) -> dict[str, int]:
        """
        What this process has seen of the overlap: ``hits`` (found here), ``old_hits`` (found in the old cache alone),
        ``misses`` (found in neither), ``fills`` (brought here), ``overtaken`` (not brought, since the key changed
        meanwhile), ``old_errors``. All zero where OLD is out.
        """
        return dict(self._stats.values) if self._stats is not None else dict.fromkeys(_Counts.NAMES, 0)


class MovedCache(_Counting):
    """A MigratingCache without OLD: Pantler and nothing else."""


class MigratingCache(_Counting):
    """
    A `PantlerCache` that asks the cache which the site had before for what it does not find, and keeps what it gets
    there.

    ``OPTIONS``, beside PantlerCache's: ``OLD``, the alias of the old cache in ``CACHES``; None, or without it, the move
    is over, and this is PantlerCache. ``FILL_TIMEOUT``: seconds for which an entry is kept whose time the old cache
    cannot tell (memcached; 60); with others it keeps what it has left. ``WRITE_OLD``: whether writes go to the old
    cache too (True), so that one can go back to it, or only delete there (False).

    Keys are made by each cache as its own ``KEY_PREFIX``, ``VERSION`` and ``KEY_FUNCTION`` say. What is written with
    tags is only deleted in the old cache, which could not drop it when its tags are invalidated. Faults of the old
    cache are raised, unless ``IGNORE_EXCEPTIONS``: then they are logged and counted, and a key whose write or delete it
    has missed is not read from it again by this process. Calls by ``cache.client``, locks, and ``keys`` see Pantler
    alone.
    """

    def __new__(cls, server: Any, params: dict[str, Any]) -> Any:
        if not (params.get("OPTIONS") or {}).get("OLD"):
            return MovedCache(server, _stripped(params))
        return super().__new__(cls)

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, _stripped(params))
        options = params["OPTIONS"]
        self._old_alias: str = options["OLD"]
        if self._old_alias not in settings.CACHES:
            raise ImproperlyConfigured(
                f"OLD is the alias of the cache that is moved from, one of {', '.join(settings.CACHES)}; this is"
                f" {self._old_alias!r}."
            )
        named = settings.CACHES[self._old_alias]
        if named.get("LOCATION") == server and (named.get("OPTIONS") or {}).get("OLD"):
            raise ImproperlyConfigured(
                f"OLD names {self._old_alias!r}, which is this cache: it is the cache that is moved from."
            )
        self._fill_timeout = options.get("FILL_TIMEOUT", FILL_TIMEOUT)
        if (
            isinstance(self._fill_timeout, bool)
            or not isinstance(self._fill_timeout, (int, float))
            or not 0 < self._fill_timeout < math.inf
        ):
            raise ImproperlyConfigured(f"FILL_TIMEOUT is a number of seconds above 0; this is {self._fill_timeout!r}.")
        self._write_old = options.get("WRITE_OLD", True)
        if not isinstance(self._write_old, bool):
            raise ImproperlyConfigured(f"WRITE_OLD is True or False; this is {self._write_old!r}.")
        with _counts_lock:
            self._stats: _Counts = _counts.setdefault((self._service.number, self._old_alias), _Counts())

    @property
    def old(self) -> BaseCache:
        """The cache that is moved from."""
        return caches[self._old_alias]

    # How calls are made

    def _drive(self, call: str, steps: Steps[T], otherwise: T) -> T:
        try:
            command = next(steps)
            while True:
                try:
                    result = self._client._send(command) if isinstance(command, Request) else self._ask_old(command)
                except Exception as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value
        except PantlerError as error:
            if not self._ignores(call, error):
                raise
            return otherwise
        except _OldFailed as failed:
            raise failed.error from failed.error.__cause__

    async def _adrive(self, call: str, steps: Steps[T], otherwise: T) -> T:
        client = self._service.async_client
        try:
            command = next(steps)
            while True:
                try:
                    result = (
                        await client._send(command) if isinstance(command, Request) else await self._aask_old(command)
                    )
                except Exception as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value
        except PantlerError as error:
            if not self._ignores(call, error):
                raise
            return otherwise
        except _OldFailed as failed:
            raise failed.error from failed.error.__cause__

    def _ask_old(self, command: _Old | _OldLeft) -> Any:
        try:
            if isinstance(command, _OldLeft):
                return _left(self.old, command.key, command.version)
            return getattr(self.old, command.method)(*command.arguments, **command.named)
        except (ValueError, TypeError, NotImplementedError):
            # A key that is not there, or a value that cannot be added to: an answer, not a fault.
            raise
        except Exception as error:
            raise _OldFailed(error) from error

    async def _aask_old(self, command: _Old | _OldLeft) -> Any:
        try:
            if isinstance(command, _OldLeft):
                return await sync_to_async(_left)(self.old, command.key, command.version)
            return await getattr(self.old, f"a{command.method}")(*command.arguments, **command.named)
        except (ValueError, TypeError, NotImplementedError):
            raise
        except Exception as error:
            raise _OldFailed(error) from error

    def _old_fault(self, call: str, error: Exception) -> None:
        """Raises the fault of the old cache again, unless the site ignores such."""
        self._stats.add("old_errors")
        if not self._service.options.ignore_exceptions:
            raise error
        self._service.faults.ignored(f"{call} of the old cache", error)  # type: ignore[arg-type]

    def _of_old(
        self, call: str, command: _Old, otherwise: Any, keys: Iterable[Any] = (), version: int | None = None
    ) -> Steps[Any]:
        """
        Asks the old cache. keys: those that it is not to be believed about from now on, where it misses this change of
        theirs.
        """
        try:
            answer = yield command
        except _OldFailed as failed:
            for key in keys:
                if len(self._stats.missed) <= MOST_MISSED:
                    self._stats.missed.add((key, version))
            self._old_fault(call, failed.error)
            return otherwise
        if self._stats.missed:
            for key in keys:
                self._stats.missed.discard((key, version))
        return answer

    def _is_believed(self, key: Any, version: int | None) -> bool:
        missed = self._stats.missed
        return not missed or (len(missed) <= MOST_MISSED and (key, version) not in missed)

    # Reading through

    def _found(self, key: Any, name: str, version: int | None, wait: float = 0.0) -> Steps[Any]:
        """
        The value of the old cache, which is brought here on the way; `_MISSING` where it has none. For a key that was
        not found here. `wait`: how long for somebody else who is bringing it, where it has to be here.
        """
        if not self._is_believed(key, version):
            return _MISSING
        value = yield from self._of_old("get", _Old("get", (key, _MISSING), {"version": version}), _MISSING)
        if value is _MISSING:
            return _MISSING
        reasons: list[bytes] = []
        try:
            outcome = yield from _watched(self._service.lease_calls.lease(name, FILL_LEASE, wait), reasons)
        except Refused:
            # A token that may only read, or a service that gives no lease now: the value is as good without.
            return value
        if isinstance(outcome, Entry):
            # Somebody else has brought or written it meanwhile; or it is known that there is nothing.
            return _MISSING if outcome.value is ABSENT else outcome.value
        if isinstance(outcome, (Held, Unreadable)):
            return value
        if reasons and b"detail=invalidated" in reasons[0]:
            # By a tag or a prefix, of which the old cache knows nothing.
            yield from self._calls.release(outcome, None)
            return _MISSING
        return (yield from self._brought(key, version, outcome))

    def _brought(self, key: Any, version: int | None, grant: Grant) -> Steps[Any]:
        """
        Reads the old cache while it has the lease, and fills. What was deleted before is not found now, and what is
        deleted from now on ends the lease.
        """
        try:
            value = yield from self._of_old("get", _Old("get", (key, _MISSING), {"version": version}), _MISSING)
            left = _UNKNOWN if value is _MISSING else (yield _OldLeft(key, version))
        except Exception:
            yield from self._calls.release(grant, None)
            raise
        ttl = self._fill_timeout if left is _UNKNOWN else left
        if value is _MISSING or (ttl is not None and ttl <= 0.001):
            yield from self._calls.release(grant, None)
            return value
        ttl = self.get_backend_timeout(ttl)
        try:
            is_filled = yield from self._calls.fill(grant, value, ttl, self._stale(None, ttl), self._tags)
        except (Refused, SerializationError) as error:
            # Too large, or of a type that the serializer does not take: it stays in the old cache.
            logger.warning("%r stays in the old cache %r: %s", key, self._old_alias, error)
            yield from self._calls.release(grant, None)
            return value
        self._stats.add("fills" if is_filled else "overtaken")
        return value

    def _ensured(self, key: Any, name: str, version: int | None) -> Steps[bool]:
        """Whether there is a value; one that the old cache alone has is brought here first."""
        yield from self._settled((name,))
        answer = yield Request(self._calls.target("HEAD", "values", name, "peek"), b"\r\n", True)
        if answer[0] == 200:
            return True
        if answer[0] != 404:
            raise _refusal(answer)
        if b"detail=absent" in (field(answer[1], b"cache-status") or b"") and b"; hit" in (
            field(answer[1], b"cache-status") or b""
        ):
            return False
        return (yield from self._found(key, name, version, FILL_LEASE)) is not _MISSING

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value, from here or the old cache; `default` where neither has one."""
        name = self.make_and_validate_key(key, version=version)
        return self._drive("get", self._get(key, name, version, default, self._wait(name)), default)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """As `get`."""
        name = self.make_and_validate_key(key, version=version)
        return await self._adrive(
            "aget", self._get(key, name, version, default, self._service.options.lease_wait), default
        )

    def _get(self, key: Any, name: str, version: int | None, default: Any, wait: float) -> Steps[Any]:
        calls = self._calls
        answer = yield Request(calls.get_start(name), b"\r\n", True)
        said = field(answer[1], b"cache-status") or b""
        if answer[0] == 200 and b"detail=stale" not in said:
            yield from self._leave_to_get(key, name)
            yield from self._told(hits=1)
            return calls.got(answer, default)
        value = calls.got(answer, _MISSING)
        if answer[0] == 200 or self._is_leased(key):
            # As a PantlerCache alone: this caller is given the lease, waits for who has it, or gets what is stale.
            value = yield from self._not_found(key, name, answer, _MISSING, wait)
            if value is not _MISSING:
                yield from self._told(hits=1)
                return value
        if b"; hit" in said or b"detail=invalidated" in said:
            # A negative entry, or one that tags have dropped, which the old cache does not know: it would come back.
            yield from self._told(misses=1)
            return default
        held = _leases.of_context().get((self._service.number, name))
        if held is None or not held.is_open or held.kept is not None:
            value = yield from self._found(key, name, version)
        elif self._is_believed(key, version):
            value = yield from self._of_old("get", _Old("get", (key, _MISSING), {"version": version}), _MISSING)
            if value is not _MISSING:
                left = yield _OldLeft(key, version)
                ttl = self._fill_timeout if left is _UNKNOWN else left
                if ttl is None or ttl > 0.001:
                    # It ends the lease; a list of headers waits for its page, as always.
                    is_filled = yield from self._set(
                        key, name, value, self.get_backend_timeout(ttl), False, False, None, None
                    )
                    self._stats.add("fills" if is_filled else "overtaken")
        if value is _MISSING:
            yield from self._told(misses=1)
            return default
        yield from self._told(old_hits=1)
        return value

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """The values that are there, from here or the old cache, by their keys."""
        return self._drive("get_many", self._get_all(list(keys), version), {})

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """As `get_many`."""
        return await self._adrive("aget_many", self._get_all(list(keys), version), {})

    def _get_all(self, keys: list[Any], version: int | None) -> Steps[dict[Any, Any]]:
        names = self._names(keys, version)
        here = yield from self._get_many(names)
        found = {key: here[name] for key, name in names.items() if name in here}
        missing = [key for key in names if key not in found and self._is_believed(key, version)]
        old: dict[Any, Any] = {}
        if missing:
            old = yield from self._of_old("get_many", _Old("get_many", (missing,), {"version": version}), {})
        brought = 0
        for key in old:
            value = yield from self._found(key, names[key], version)
            if value is not _MISSING:
                found[key] = value
                brought += 1
        yield from self._told(hits=len(found) - brought, old_hits=brought, misses=len(names) - len(found))
        return found

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Whether there is a value under the key, here or in the old cache, from where it is brought."""
        name = self.make_and_validate_key(key, version=version)
        return self._drive("has_key", self._ensured(key, name, version), False)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """As `has_key`."""
        name = self.make_and_validate_key(key, version=version)
        return await self._adrive("ahas_key", self._ensured(key, name, version), False)

    # Writing to both

    def _for_old(self, ttl: float | None) -> Any:
        """A timeout as every backend takes it."""
        return int(ttl) if ttl is not None and ttl == int(ttl) else ttl

    def _goes_to_old(self, tags: Any) -> bool:
        return self._write_old and not self._tags and not callable(tags) and not tags

    def _write(self, key: Any, value: Any, ttl: float | None, version: int | None, tags: Any) -> Steps[None]:
        """
        The old cache's part of a set, which comes before Pantler's: who fills from it has a lease that Pantler's part
        ends.
        """
        if self._goes_to_old(tags) and ttl != 0:
            command = _Old("set", (key, value), {"timeout": self._for_old(ttl), "version": version})
        else:
            command = _Old("delete", (key,), {"version": version})
        yield from self._of_old("set", command, None, (key,), version)

    def _write_after(
        self, key: Any, name: str, value: Any, ttl: float | None, version: int | None, tags: Any
    ) -> Steps[None]:
        """
        The old cache's part where Pantler decides whether there is one. A delete that came in between is made good.
        """
        if not self._goes_to_old(tags):
            return
        yield from self._write(key, value, ttl, version, tags)
        answer = yield Request(self._calls.target("HEAD", "values", name, "peek"), b"\r\n", True)
        if answer[0] == 404:
            yield from self._of_old("delete", _Old("delete", (key,), {"version": version}), None, (key,), version)

    def set(  # type: ignore[override]
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
        tags: Iterable[str] | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """As `PantlerCache.set`, in both caches."""
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        return self._drive("set", self._set_both(key, name, value, ttl, version, nx, xx, tags, stale_ttl), False)

    async def aset(  # type: ignore[override]
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
        tags: Iterable[str] | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """As `set`."""
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        return await self._adrive(
            "aset", self._set_both(key, name, value, ttl, version, nx, xx, tags, stale_ttl), False
        )

    def add(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Iterable[str] | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """
        Puts the value where neither cache has one; whether it was put. Pantler decides between two who add at once.
        """
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        return self._drive("add", self._set_both(key, name, value, ttl, version, True, False, tags, stale_ttl), False)

    async def aadd(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Iterable[str] | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """As `add`."""
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        return await self._adrive(
            "aadd", self._set_both(key, name, value, ttl, version, True, False, tags, stale_ttl), False
        )

    def _set_both(
        self,
        key: Any,
        name: str,
        value: Any,
        ttl: float | None,
        version: int | None,
        nx: bool,
        xx: bool,
        tags: Any,
        stale_ttl: float | None,
    ) -> Steps[bool]:
        if not (nx or xx):
            yield from self._write(key, value, ttl, version, tags)
            return (yield from self._set(key, name, value, ttl, False, False, tags, stale_ttl))
        # What the old cache alone has counts.
        is_there = yield from self._ensured(key, name, version)
        if nx and is_there and (yield from _steps.stale_version(self._calls, name)) is None:
            return False
        is_set = yield from self._set(key, name, value, ttl, nx, xx, tags, stale_ttl)
        if is_set:
            yield from self._write_after(key, name, value, ttl, version, tags)
        return is_set

    def set_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Iterable[str] | None = None,
        stale_ttl: float | None = None,
    ) -> list[Any]:
        """Puts all of them in both caches; the keys of those that were not put here."""
        return self._drive("set_many", self._set_all(data, timeout, version, tags, stale_ttl), list(data))

    async def aset_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Iterable[str] | None = None,
        stale_ttl: float | None = None,
    ) -> list[Any]:
        """As `set_many`."""
        return await self._adrive("aset_many", self._set_all(data, timeout, version, tags, stale_ttl), list(data))

    def _set_all(
        self, data: Mapping[Any, Any], timeout: Any, version: int | None, tags: Any, stale_ttl: float | None
    ) -> Steps[list[Any]]:
        names, ttl = self._names(data, version), self.get_backend_timeout(timeout)
        if not names:
            return []
        if self._goes_to_old(tags) and ttl != 0:
            command = _Old("set_many", (dict(data),), {"timeout": self._for_old(ttl), "version": version})
        else:
            command = _Old("delete_many", (list(data),), {"version": version})
        failed = yield from self._of_old("set_many", command, None, names, version)
        for key in failed or ():
            # What the old cache has under them now is older than what is put here.
            self._stats.missed.add((key, version))
        return (yield from self._set_many(names, data, ttl, tags, stale_ttl))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """The value expires that many seconds from now, in both caches; whether there is one."""
        return self._drive("touch", self._touch_both(key, timeout, version), False)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """As `touch`."""
        return await self._adrive("atouch", self._touch_both(key, timeout, version), False)

    def _touch_both(self, key: Any, timeout: Any, version: int | None) -> Steps[bool]:
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        if ttl == 0:
            return (yield from self._delete_both(key, version))
        yield from self._ensured(key, name, version)
        yield from self._of_old(
            "touch", _Old("touch", (key,), {"timeout": self._for_old(ttl), "version": version}), False, (key,), version
        )
        return (yield from self._touch(name, ttl))

    def incr(self, key: Any, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False) -> Any:
        """
        Adds to the value, in both caches; the sum here. What the old cache alone has is brought first, so that it
        counts on.
        """
        return self._drive("incr", self._incr_both(key, delta, version, ignore_key_check), None)

    async def aincr(
        self, key: Any, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False
    ) -> Any:
        """As `incr`."""
        return await self._adrive("aincr", self._incr_both(key, delta, version, ignore_key_check), None)

    def _incr_both(self, key: Any, delta: Any, version: int | None, ignore_key_check: bool) -> Steps[Any]:
        name = self.make_and_validate_key(key, version=version)
        yield from self._ensured(key, name, version)
        total = yield from self._incr(key, name, delta, ignore_key_check)
        try:
            if self._write_old:
                yield from self._of_old("incr", _Old("incr", (key, delta), {"version": version}), None, (key,), version)
            else:
                yield from self._of_old("incr", _Old("delete", (key,), {"version": version}), None, (key,), version)
        except (ValueError, TypeError):
            # It is not there, or no number there: then it is not to come back either.
            yield from self._of_old("incr", _Old("delete", (key,), {"version": version}), None, (key,), version)
        return total

    def incr_version(  # type: ignore[override]
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int | None:
        """Moves the value to another version of the key, in both caches; the new version."""
        return self._drive("incr_version", self._incr_version_both(key, delta, version), None)

    async def aincr_version(  # type: ignore[override]
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int | None:
        """As `incr_version`."""
        return await self._adrive("aincr_version", self._incr_version_both(key, delta, version), None)

    def _incr_version_both(self, key: Any, delta: int, version: int | None) -> Steps[int | None]:
        name = self.make_and_validate_key(key, version=version)
        yield from self._ensured(key, name, version)
        both = [(key, version)]
        try:
            yield from self._of_old(
                "incr_version",
                _Old("incr_version", (key,), {"delta": delta, "version": version}),
                None,
                (key,),
                version,
            )
        except ValueError:
            # The old cache has none of this version. One that it has of the next is replaced all the same.
            both.append((key, (self.version if version is None else version) + delta))
            for each, which in both[1:]:
                yield from self._of_old("delete", _Old("delete", (each,), {"version": which}), None, (each,), which)
        return (yield from self._incr_version(key, delta, version))

    # Deleting from both

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Deletes the key in both caches; whether either had it."""
        return self._drive("delete", self._delete_both(key, version), False)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """As `delete`."""
        return await self._adrive("adelete", self._delete_both(key, version), False)

    def _delete_both(self, key: Any, version: int | None) -> Steps[bool]:
        name = self.make_and_validate_key(key, version=version)
        was_there = yield from self._of_old(
            "delete", _Old("delete", (key,), {"version": version}), False, (key,), version
        )
        was_here = yield from self._delete(name)
        if not self._is_believed(key, version):
            yield from self._noted(name)
        return bool(was_here or was_there)

    def _noted(self, name: str) -> Steps[None]:
        """
        Tells other processes, for the namespace's `negative_ttl`, that the key is gone, whatever the old cache says.
        """
        answer = yield self._calls.put_request(name, ABSENT, self._fill_timeout)
        if answer[0] not in (200, 201):
            raise _refusal(answer)

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Deletes all of them in both caches."""
        self._drive("delete_many", self._delete_all(list(keys), version), None)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """As `delete_many`."""
        await self._adrive("adelete_many", self._delete_all(list(keys), version), None)

    def _delete_all(self, keys: list[Any], version: int | None) -> Steps[None]:
        names = self._names(keys, version)
        yield from self._of_old("delete_many", _Old("delete_many", (keys,), {"version": version}), None, keys, version)
        yield from self._delete_many(names.values())
        for key, name in names.items():
            if not self._is_believed(key, version):
                yield from self._noted(name)

    def clear(self) -> None:
        """Deletes everything in both caches."""
        self._drive("clear", self._clear_both(), None)

    async def aclear(self) -> None:
        """As `clear`."""
        await self._adrive("aclear", self._clear_both(), None)

    def _clear_both(self) -> Steps[None]:
        try:
            yield _Old("clear")
        except _OldFailed as failed:
            # Nothing of it is to be believed any more.
            self._stats.missed.update((number, None) for number in range(MOST_MISSED + 1))
            self._old_fault("clear", failed.error)
        else:
            self._stats.missed.clear()
        yield from self._clear()

    def delete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """
        As `PantlerCache.delete_pattern`, in both caches. Raises NotImplementedError where the old one cannot: only
        django-redis's can.
        """
        self._needs("delete_pattern")
        return self._drive("delete_pattern", self._delete_pattern_both(pattern, version, prefix), 0)

    async def adelete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """As `delete_pattern`."""
        self._needs("delete_pattern")
        self._needs("adelete_pattern")
        return await self._adrive("adelete_pattern", self._delete_pattern_both(pattern, version, prefix), 0)

    def _needs(self, method: str) -> None:
        if not hasattr(self.old, method):
            raise NotImplementedError(
                f"{type(self.old).__name__} of {self._old_alias!r} has no {method}: what it has would come back. Delete"
                " keys one by one, or end the move."
            )

    def _delete_pattern_both(self, pattern: str, version: int | None, prefix: str | None) -> Steps[int]:
        named = {"version": version, **({} if prefix is None else {"prefix": prefix})}
        there = yield from self._of_old("delete_pattern", _Old("delete_pattern", (pattern,), named), 0)
        here = yield from self._delete_pattern(self._pattern(pattern, version, prefix)[0])
        return max(int(there or 0), here)

    # Get or set

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Any = None,
        stale_ttl: float | None = None,
    ) -> Any:
        """As `PantlerCache.get_or_set`; what the old cache has is taken before anything is loaded."""
        found = self.get(key, _MISSING, version=version) if self._may_be_old(tags) else _MISSING
        if found is not _MISSING:
            return found
        loads = _Loads(default)
        value = super().get_or_set(key, loads.load, timeout, version, tags=tags, stale_ttl=stale_ttl)
        if loads.has_loaded:
            name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
            self._drive("get_or_set", self._write_after(key, name, value, ttl, version, tags), None)
        return value

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Any = None,
        stale_ttl: float | None = None,
    ) -> Any:
        """As `get_or_set`."""
        found = await self.aget(key, _MISSING, version=version) if self._may_be_old(tags) else _MISSING
        if found is not _MISSING:
            return found
        loads = _Loads(default)
        value = await super().aget_or_set(key, loads.load, timeout, version, tags=tags, stale_ttl=stale_ttl)
        if loads.has_loaded:
            name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
            await self._adrive("aget_or_set", self._write_after(key, name, value, ttl, version, tags), None)
        return value

    def _may_be_old(self, tags: Any) -> bool:
        # What has tags was never put into the old cache by this one, but by the site before it moved: such keys had
        # none.
        return not callable(tags)

    # What django-redis adds

    def _left_both(self, key: Any, version: int | None) -> Steps[float | None]:
        name = self.make_and_validate_key(key, version=version)
        yield from self._ensured(key, name, version)
        return (yield from self._left(name))

    def ttl(self, key: Any, version: int | None = None) -> int | None:
        """Seconds until the value expires; None where it never does, 0 where neither cache has one."""
        left = self._drive("ttl", self._left_both(key, version), 0.0)
        return None if left is None else int(left + 0.5)

    async def attl(self, key: Any, version: int | None = None) -> int | None:
        """As `ttl`."""
        left = await self._adrive("attl", self._left_both(key, version), 0.0)
        return None if left is None else int(left + 0.5)

    def pttl(self, key: Any, version: int | None = None) -> int | None:
        """Milliseconds until the value expires; see `ttl`."""
        left = self._drive("pttl", self._left_both(key, version), 0.0)
        return None if left is None else int(left * 1000 + 0.5)

    async def apttl(self, key: Any, version: int | None = None) -> int | None:
        """As `pttl`."""
        left = await self._adrive("apttl", self._left_both(key, version), 0.0)
        return None if left is None else int(left * 1000 + 0.5)

    def persist(self, key: Any, version: int | None = None) -> bool:
        """The value never expires, in either cache."""
        return self._drive("persist", self._persist_both(key, version), False)

    async def apersist(self, key: Any, version: int | None = None) -> bool:
        """As `persist`."""
        return await self._adrive("apersist", self._persist_both(key, version), False)

    def _persist_both(self, key: Any, version: int | None) -> Steps[bool]:
        name = self.make_and_validate_key(key, version=version)
        yield from self._ensured(key, name, version)
        yield from self._of_old(
            "persist", _Old("touch", (key,), {"timeout": None, "version": version}), False, (key,), version
        )
        return (yield from self._persist(name))

    def expire_at(self, key: Any, when: Any, version: int | None = None) -> bool:
        """The value expires at that moment, in both caches."""
        return self.touch(key, _until(when, 1), version=version)

    async def aexpire_at(self, key: Any, when: Any, version: int | None = None) -> bool:
        """As `expire_at`."""
        return await self.atouch(key, _until(when, 1), version=version)

    def pexpire_at(self, key: Any, when: Any, version: int | None = None) -> bool:
        """As `expire_at`, with Unix time in milliseconds."""
        return self.touch(key, _until(when, 1000), version=version)

    async def apexpire_at(self, key: Any, when: Any, version: int | None = None) -> bool:
        """As `pexpire_at`."""
        return await self.atouch(key, _until(when, 1000), version=version)

    # Figures

    def _total_key(self, count: str) -> str:
        return f"pantler.django:migration:{self.key_prefix}:{self._old_alias}:{count}"

    def _told(self, **counts: int) -> Steps[None]:
        for name, number in counts.items():
            if number:
                self._stats.add(name, number)
        for name, number in self._stats.untold().items():
            try:
                yield from self._calls.incr(self._total_key(name), number, 0, _TOTALS_TTL)
            except (PantlerError, KeyMissing):
                # Figures are no reason for a fault.
                return

    def migration_totals(self) -> dict[str, int]:
        """
        As `migration_stats`, of all processes that have moved from this cache: each adds to it every five seconds or
        so.
        """
        found = self._client.get_many([self._total_key(name) for name in _Counts.NAMES])
        return {name: int(found.get(self._total_key(name), 0)) for name in _Counts.NAMES}


class _Loads:
    """A default, and whether it was asked for its value."""

    def __init__(self, default: Any) -> None:
        self.default = default
        self.has_loaded = False

    def load(self) -> Any:
        value = self.default() if callable(self.default) else self.default
        self.has_loaded = True
        return value


def _stripped(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a PantlerCache."""
    return {
        **params,
        "OPTIONS": {name: value for name, value in (params.get("OPTIONS") or {}).items() if name not in OWN_OPTIONS},
    }


def _watched(steps: Generator[Request, Answer, T], said: list[bytes]) -> Generator[Request, Answer, T]:
    """The same steps; what the service says of hit and miss is taken down."""
    try:
        request = next(steps)
        while True:
            answer = yield request
            said.append(field(answer[1], b"cache-status") or b"")
            request = steps.send(answer)
    except StopIteration as done:
        value: T = done.value
        return value


def _refusal(answer: Answer) -> Refused:
    from .._answers import refusal

    return refusal(*answer)


def _until(when: Any, scale: int) -> Any:
    from ._backend import _unix_time

    return _unix_time(when, scale) - time.time()


def _left(old: BaseCache, key: Any, version: int | None) -> Any:
    """
    Seconds that an entry of another cache has left: None for ever, 0 where it is gone, `_UNKNOWN` where that cache
    cannot tell.
    """
    try:
        for kind, ask in _TELLING:
            if isinstance(old, kind):
                return ask(old, key, version)
        if hasattr(old, "pttl"):
            left = old.pttl(key, version=version)
            return None if left is None else left / 1000
        if hasattr(old, "ttl"):
            return old.ttl(key, version=version)
        from django.core.cache.backends.redis import RedisCache

        if isinstance(old, RedisCache):
            return _left_in_redis(old, key, version)
    except Exception as error:
        logger.warning("%s cannot tell how long %r has left: %s", type(old).__name__, key, error)
    return _UNKNOWN


def _left_in_memory(old: Any, key: Any, version: int | None) -> Any:
    expires = old._expire_info.get(old.make_and_validate_key(key, version=version), 0)
    return None if expires is None else max(expires - time.time(), 0)


def _left_in_file(old: Any, key: Any, version: int | None) -> Any:
    try:
        with open(old._key_to_file(key, version), "rb") as file:
            expires = pickle.load(file)
    except FileNotFoundError:
        return 0
    return None if expires is None else max(expires - time.time(), 0)


def _left_in_database(old: Any, key: Any, version: int | None) -> Any:
    from django.db import connections, models, router
    from django.utils import timezone

    connection = connections[router.db_for_read(old.cache_model_class)]
    table = connection.ops.quote_name(old._table)
    column = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {column('expires')} FROM {table} WHERE {column('cache_key')} = %s",
            [old.make_and_validate_key(key, version=version)],
        )
        row = cursor.fetchone()
    if row is None:
        return 0
    expires = row[0]
    expression = models.Expression(output_field=models.DateTimeField())
    for convert in connection.ops.get_db_converters(expression) + expression.get_db_converters(connection):
        expires = convert(expires, expression, connection)
    # Django keeps what never expires until the last year there is.
    return None if expires.year >= 9999 else max((expires - timezone.now()) / timedelta(seconds=1), 0)


def _left_in_redis(old: Any, key: Any, version: int | None) -> Any:
    name = old.make_and_validate_key(key, version=version)
    left = old._cache.get_client(name).pttl(name)
    return None if left == -1 else max(left, 0) / 1000


_TELLING: tuple[tuple[type[BaseCache], Callable[[Any, Any, int | None], Any]], ...] = (
    (LocMemCache, _left_in_memory),
    (FileBasedCache, _left_in_file),
    (DatabaseCache, _left_in_database),
)
