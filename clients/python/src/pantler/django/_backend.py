"""The cache backend: Django's whole API, and what django-redis adds to it, each call blocking and for asyncio.

Each call is worked out once, as a generator of requests (see _calls and _steps), which the blocking method and its `a…`
twin drive in their ways. What a page asks most, `get` and `set`, is written out.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func, get_key_func
from django.core.exceptions import SynchronousOnlyOperation

from .._async_client import AsyncClient
from .._answers import Entry, Grant, Unreadable, refusal
from .._arguments import ABSENT, LONGEST_TTL
from .._calls import Calls, Request, Steps
from .._client import Client
from .._fetch import SourceFailed
from .._http import Answer
from ..errors import KeyMissing, PantlerError, SerializationError
from . import _leases, _patterns, _steps
from ._locks import AsyncCacheLock, CacheLock
from ._names import MARK, name_of
from ._serializers import Dumped, dumped
from ._service import Service, service_of

T = TypeVar("T")

Tags = Iterable[str]

_NO_BODY = b"\r\n"
_STALE = b"detail=stale"
_PAGES = "views.decorators.cache."
_PAGE_HEADERS = f"{_PAGES}cache_header."
_PAGE = f"{_PAGES}cache_page."

# Between the text before and behind it in what KEY_FUNCTION makes of it: how keys are taken apart again.
_PROBE = "\ue000pantler\ue001"

_KEY_METHODS = frozenset({"make_key", "validate_key", "make_and_validate_key"})


class PantlerCache(BaseCache):
    """
    A Django cache in a namespace of a Pantler service::

        CACHES = {
            "default": {
                "BACKEND": "pantler.django.PantlerCache",
                "LOCATION": "http://127.0.0.1:8080/v1/namespaces/site",
            }
        }

    It has Django's cache API, blocking and, without threads, as coroutines (``aget`` …), and what django-redis adds:
    ``ttl``, ``pttl``, ``expire``, ``pexpire``, ``expire_at``, ``pexpire_at``, ``persist``, ``keys``, ``iter_keys``,
    ``delete_pattern``, ``lock`` and ``set(nx=, xx=)``, with their ``a…`` twins. ``client`` and
    ``async_client`` are for what Django's API has no words for, such as ``cache.client.invalidate(tags=["products"])``.

    ``LOCATION``: where the service listens and the namespace, ``http://…``, ``https://…`` or ``unix:…``; several, as a
    list, are tried in their order. ``OPTIONS``, all of which may be left out:

    - ``TOKEN`` (else PANTLER_TOKEN of the environment), ``CA_FILE``, ``CLIENT_CERTIFICATE``; ``NAMESPACE``, where
      LOCATION names none.
    - ``TIMEOUT`` (2.0): seconds that a call may take; ``CONNECT_TIMEOUT`` (0.5) of these for a connection; ``MAX_IDLE``
      (64): connections that a process keeps.
    - ``IGNORE_EXCEPTIONS`` (False): see below.
    - ``SERIALIZER`` (``"auto"``): JSON for exactly the types that come back the same, and pickle for the rest;
      ``"json"``, ``"pickle"``, ``"msgpack"``, or a class with ``dumps`` and ``loads``. Integers are always JSON.
    - ``TAGS``: tags of every entry. ``STALE_TTL``: seconds past its timeout for which an entry is served while one
      caller makes it anew.
    - ``LEASES``: the beginnings of keys, before prefix and version, that are got by lease: where one is missing, one
      caller makes it and the others wait for it. Django's pages and fragments, unless it is said otherwise; ``[]`` for
      none. ``LEASE_WAIT`` (10): seconds that they wait before they make it too. ``LEASE_TTL`` (10): seconds after which
      a lease ends whose holder has died.

    Timeouts are seconds, with milliseconds as fractions, or a ``timedelta``; None, infinity and more than a hundred
    years never expire, 0 and less expire at once. ``tags`` (with ``set``, ``add``, ``set_many``, ``get_or_set``) are
    labels to invalidate by, beside those of the option ``TAGS``. ``stale_ttl`` is as the option ``STALE_TTL``, for one
    call. An entry that is stale is there for who reads it alone: `add`, `set(nx=True)` and `incr` find none.

    Raises `pantler.PantlerError` where the service is away, slow, or refuses; with ``IGNORE_EXCEPTIONS`` that is logged
    (logger ``pantler.django``) and taken for an empty cache. A value that cannot be serialized raises what its
    serializer raises, always. Safe for threads, tasks and forks.
    """

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._service: Service = service_of(server, params.get("OPTIONS"))
        options = self._service.options
        self._client: Client = self._service.client
        self._calls: Calls = self._service.calls
        self._leases = options.leases
        self._tags = options.tags
        self._stale_ttl = options.stale_ttl
        kind = type(self)
        # Whether no subclass makes or validates keys in a way of its own.
        self._has_djangos_keys = (
            kind.make_key is BaseCache.make_key
            and kind.validate_key is PantlerCache.validate_key
            and kind.make_and_validate_key is PantlerCache.make_and_validate_key
        )
        reverse = params.get("REVERSE_KEY_FUNCTION")
        self._reverse: Callable[[str], str] | None = None if reverse is None else get_key_func(reverse)

    @property
    def client(self) -> Client:
        """The client that the calls go by. Its keys are whole: ``make_key`` makes them."""
        return self._client

    @property
    def async_client(self) -> AsyncClient:
        """The client that the coroutines go by."""
        return self._service.async_client

    # Keys and timeouts

    def validate_key(self, key: str) -> None:
        """Warns as Django does of what memcached would not take."""
        if len(key) > 250 or not key.isascii() or not key.isprintable() or " " in key:
            super().validate_key(key)

    def make_and_validate_key(self, key: Any, version: int | None = None) -> str:
        """The service's key. What it does not take, keys longer than 1,024 bytes above all, is there by a digest."""
        name: str = self.make_key(key, version=version)
        self.validate_key(name)
        return name_of(name)

    def _names(self, keys: Iterable[Any], version: int | None) -> dict[Any, str]:
        """The service's keys by Django's."""
        if self._has_djangos_keys and self.key_func is default_key_func and _KEY_METHODS.isdisjoint(self.__dict__):
            # What make_key and validate_key would do, for all at once: a page may ask for hundreds.
            start = f"{self.key_prefix}:{self.version if version is None else version}:"
            names = {key: start + (key if type(key) is str else str(key)) for key in keys}
            text = "".join(names.values())
            if (
                text.isascii()
                and text.isprintable()
                and " " not in text
                and MARK not in text
                and max(map(len, names.values()), default=0) <= 250
            ):
                return names
            keys = names
        return {key: self.make_and_validate_key(key, version=version) for key in keys}

    def _names_alone(self, keys: Iterable[Any], version: int | None) -> Collection[str]:
        """As `_names`, where nobody asks which is whose: of keys too that cannot stand in a dict, as a list."""
        keys = list(keys)
        try:
            return self._names(keys, version).values()
        except TypeError:
            return [self.make_and_validate_key(key, version=version) for key in keys]

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> int | float | None:
        """Seconds; 0 for at once, None for never. Raises TypeError or ValueError for what is no time."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None or (type(timeout) is int and 0 < timeout <= LONGEST_TTL):
            return timeout
        if isinstance(timeout, timedelta):
            timeout = timeout.total_seconds()
        if isinstance(timeout, int):
            return None if timeout > LONGEST_TTL else max(int(timeout), 0)
        if isinstance(timeout, str):
            raise TypeError(f"A timeout is a number of seconds, a timedelta, or None; this is {timeout!r}.")
        try:
            timeout = float(timeout)
        except (TypeError, ValueError):
            raise TypeError(f"A timeout is a number of seconds, a timedelta, or None; this is {timeout!r}.") from None
        if math.isnan(timeout):
            raise ValueError("A timeout is a number of seconds, a timedelta, or None; this is not a number (NaN).")
        if timeout > LONGEST_TTL:
            return None
        # The service counts milliseconds: what was to live at all lives for one.
        return 0 if timeout <= 0 else max(round(timeout, 3), 0.001)

    def _labels(self, tags: Tags | None) -> tuple[str, ...]:
        if tags is None:
            return self._tags
        if isinstance(tags, (str, bytes)):
            raise TypeError(f"tags is a sequence of str, not one: [{tags!r}].")
        return (*self._tags, *tags)

    def _stale(self, stale_ttl: float | None, ttl: float | None) -> float | None:
        if stale_ttl is None:
            stale_ttl = self._stale_ttl
        # What never expires is never stale.
        return None if ttl is None else stale_ttl

    # How calls are made, and what becomes of errors

    def _ignores(self, call: str, error: PantlerError) -> bool:
        """Whether an error is only to be logged: all but those that are a mistake of the program's."""
        if not self._service.options.ignore_exceptions or isinstance(error, KeyMissing):
            return False
        if isinstance(error, SerializationError) and not call.removeprefix("a").startswith(("get", "incr", "decr")):
            return False
        self._service.ignored(call, error)
        return True

    def _do(self, call: str, steps: Generator[Request, Answer, T], otherwise: T) -> T:
        try:
            return self._client._run(steps)
        except PantlerError as error:
            if not self._ignores(call, error):
                raise
            return otherwise

    async def _ado(self, call: str, steps: Generator[Request, Answer, T], otherwise: T) -> T:
        try:
            return await self._service.async_client._run(steps)
        except PantlerError as error:
            if not self._ignores(call, error):
                raise
            return otherwise

    # Get

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value, or `default` where there is none."""
        name = self.make_and_validate_key(key, version=version)
        calls = self._calls
        try:
            answer = self._client._exchange(calls.get_start(name), _NO_BODY, safe=True)
            if answer[0] == 200 and _STALE not in answer[1]:
                if _leases.of_context():
                    self._client._run(self._leave_to_get(key, name))
                return calls.got(answer, default)
            if answer[0] == 404 and not self._is_leased(key):
                return default
            return self._client._run(self._not_found(key, name, answer, default, self._wait(name)))
        except PantlerError as error:
            if not self._ignores("get", error):
                raise
            return default

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """As `get`."""
        name = self.make_and_validate_key(key, version=version)
        calls = self._calls
        client = self._service.async_client
        try:
            answer = await client._exchange(calls.get_start(name), _NO_BODY, safe=True)
            if answer[0] == 200 and _STALE not in answer[1]:
                if _leases.of_context():
                    await client._run(self._leave_to_get(key, name))
                return calls.got(answer, default)
            if answer[0] == 404 and not self._is_leased(key):
                return default
            return await self._service.async_fetching._run(
                self._not_found(key, name, answer, default, self._service.options.lease_wait)
            )
        except PantlerError as error:
            if not self._ignores("aget", error):
                raise
            return default

    def _is_leased(self, key: Any) -> bool:
        """Whether a key is got by lease where it is missing."""
        return isinstance(key, str) and key.startswith(self._leases)

    def _wait(self, name: str) -> float:
        """How long a blocking get may wait for another's lease."""
        if asyncio._get_running_loop() is not None:
            # In an event loop (Django's page decorator does that around a coroutine) waiting would stop the very task
            # that is waited for.
            return 0.0
        held = self._service.held_here.get(name)
        if held is not None and held.thread == threading.get_ident():
            # It is this thread that would have to go on, with what another context has begun.
            return 0.0
        return self._service.options.lease_wait

    def _not_found(self, key: Any, name: str, answer: Answer, default: Any, wait: float) -> Steps[Any]:
        """
        What a get says that found nothing, or something stale: where it is to be got by lease, this caller is given
        that, or waits for who has it.
        """
        calls = self._calls
        is_stale = answer[0] == 200
        if not is_stale:
            # Raises for all but a miss.
            calls.got(answer, None)
        held = _leases.of_context().get((self._service.number, name))
        if held is not None and held.is_open:
            # This caller has the lease already: it would wait for itself. Its own set may be kept back.
            return held.kept.value.value if held.kept is not None else default
        options = self._service.options
        yield from self._leave_to_get(key, name)
        outcome = yield from self._service.lease_calls.lease(name, options.lease_ttl, 0.0 if is_stale else wait)
        if isinstance(outcome, Grant):
            _leases.add(self._service, name, outcome, isinstance(key, str) and key.startswith(_PAGES))
            return default
        if isinstance(outcome, Entry) and outcome.value is not ABSENT:
            return outcome.value
        if isinstance(outcome, Unreadable):
            raise outcome.error
        return calls.got(answer, default) if is_stale else default

    def _leave_to_get(self, key: Any, name: str) -> Steps[None]:
        """
        Of a HEAD that asks for its own page: it has looked for the page of the GET before, and will not fill that. Who
        asks by GET next is to get its lease, so it is no failure to have left it unfilled.
        """
        if ".HEAD." in name and isinstance(key, str) and key.startswith(_PAGE):
            other = _leases.take(self._service, name.replace(".HEAD.", ".GET.", 1))
            if other is not None and other.end():
                yield from self._calls.release(other.grant, None)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """The values that are there, by their keys."""
        names = self._names(keys, version)
        found = self._do("get_many", self._get_many(names), {})
        return {key: found[name] for key, name in names.items() if name in found}

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """As `get_many`."""
        names = self._names(keys, version)
        found = await self._ado("aget_many", self._get_many(names), {})
        return {key: found[name] for key, name in names.items() if name in found}

    def _get_many(self, names: Mapping[Any, str]) -> Steps[dict[str, Any]]:
        if not names:
            return {}
        yield from self._settled(names.values())
        return (yield from self._calls.get_many(names.values()))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Whether there is a value under the key."""
        return self._do("has_key", self._has(self.make_and_validate_key(key, version=version)), False)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """As `has_key`."""
        return await self._ado("ahas_key", self._has(self.make_and_validate_key(key, version=version)), False)

    def _has(self, name: str) -> Steps[bool]:
        yield from self._settled((name,))
        return (yield from self._calls.has(name))

    # Set

    def set(  # type: ignore[override]  # django-redis's answer
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
        tags: Tags | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """
        Puts the value; whether it was put. With `nx` only where there is none, with `xx` only where there is one. A
        timeout of 0 or less deletes the key; whether there was one.
        """
        name = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        try:
            if nx or xx or ttl == 0 or _leases.of_context():
                return self._client._run(self._set(key, name, value, ttl, nx, xx, tags, stale_ttl))
            stale = self._stale_ttl if stale_ttl is None else stale_ttl
            # What never expires is never stale.
            request = self._calls.put_request(
                name, value, ttl, None if ttl is None else stale, self._tags if tags is None else self._labels(tags)
            )
            answer = self._client._exchange(request[0], request[1], safe=False)
            if answer[0] in (200, 201):
                return True
            return self._client._run(self._refused(name, answer))
        except PantlerError as error:
            if not self._ignores("set", error):
                raise
            return False

    async def aset(  # type: ignore[override]  # django-redis's answer
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
        tags: Tags | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """As `set`."""
        name = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        value = await self._dumped(value)
        return await self._ado("aset", self._set(key, name, value, ttl, nx, xx, tags, stale_ttl), False)

    async def _dumped(self, value: Any) -> Dumped:
        """
        The value serialized; in Django's thread where that asks the database (a queryset that was not read yet does).
        """
        try:
            return dumped(value, self._service.serializer)
        except SynchronousOnlyOperation:
            return await sync_to_async(dumped)(value, self._service.serializer)

    def _set(
        self,
        key: Any,
        name: str,
        value: Any,
        ttl: float | None,
        nx: bool,
        xx: bool,
        tags: Tags | None,
        stale_ttl: float | None,
    ) -> Steps[bool]:
        calls = self._calls
        # First, so that what cannot be serialized changes nothing.
        value = dumped(value, self._service.serializer)
        arguments = ttl, self._stale(stale_ttl, ttl), self._labels(tags)
        if nx or xx:
            yield from self._settled((name,))
        held = _leases.take(self._service, name) if _leases.of_context() else None
        if nx:
            if ttl == 0:
                return not (yield from calls.has(name))
            condition = Calls.ADD
        elif xx:
            condition = Calls.REPLACE
        else:
            condition = b""
        if ttl == 0:
            deleted = yield from calls.delete(name)
            if held is not None:
                held.end()
            return deleted
        if held is not None and not xx:
            if isinstance(key, str) and key.startswith(_PAGE_HEADERS):
                # Who waits for it would look for the page next, which is not there yet.
                held.kept = _leases.Kept(value, arguments)
                _leases.put_back(held)
                return True
            # First, so that what is no tag or no time leaves the lease to be given up.
            request = calls.put_request(name, value, *arguments, held.grant.token)
            if held.end():
                answer = yield request
                if answer[0] in (200, 201):
                    yield from self._put_headers(key)
                    return True
                if answer[0] != 412:
                    yield from calls.release(held.grant, None)
                    return (yield from self._refused(name, answer))
                if not nx and self._is_leased(key):
                    # Deleted, flushed, invalidated or written since: what was made before that is not to land after it.
                    yield from self._put_headers(key)
                    return False
        answer = yield calls.put_request(name, value, *arguments, None, condition)
        if answer[0] in (200, 201):
            yield from self._put_headers(key)
            return True
        if answer[0] == 412 and condition:
            if not nx:
                return False
            # Its time is over, so to who adds there is none: a lock or a limit that is made by `add` ends when it says.
            stale = yield from _steps.stale_version(calls, name)
            if stale is None:
                return False
            answer = yield calls.put_request(name, value, *arguments, None, calls.of_version(stale))
            if answer[0] in (200, 201):
                return True
            if answer[0] == 412:
                return False
        return (yield from self._refused(name, answer))

    def _refused(self, name: str, answer: Answer) -> Steps[bool]:
        """
        What is too large does not leave what was there before, which the caller takes for replaced (as with Django's
        memcached).
        """
        error = refusal(*answer)
        if answer[0] == 413:
            yield from self._calls.delete(name)
        raise error

    def _put_headers(self, key: Any) -> Steps[None]:
        """Behind a page: the lists of headers that were kept back for it."""
        if not (isinstance(key, str) and key.startswith(_PAGE)):
            return
        for held in _leases.kept(self._service):
            yield from self._put_kept(held)

    def _put_kept(self, held: _leases.Held) -> Steps[None]:
        kept = held.kept
        _leases.take(self._service, held.grant.key)
        if kept is None or not held.end():
            return
        answer = yield self._calls.put_request(held.grant.key, kept.value, *kept.arguments, held.grant.token)
        if answer[0] not in (200, 201, 412):
            yield from self._refused(held.grant.key, answer)

    def _settled(self, names: Iterable[str]) -> Steps[None]:
        """Before a call that is neither get nor set: what was kept back of these keys is put."""
        if _leases.of_context():
            for held in _leases.kept(self._service):
                if held.grant.key in names:
                    yield from self._put_kept(held)

    def _dropped(self, names: Iterable[str] | None) -> None:
        """
        Of keys (None: all) that were written or deleted, which has ended their leases: what was kept back of them is
        not put. Not before: where the call has failed, they are to be given up at the request's end.
        """
        if _leases.of_context():
            if names is None:
                for held in _leases.take_all(self._service):
                    held.end()
            else:
                for name in names:
                    taken = _leases.take(self._service, name)
                    if taken is not None:
                        taken.end()

    def add(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Tags | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """Puts the value where there is none; whether it was put. Atomic."""
        name = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        return self._do("add", self._set(key, name, value, ttl, True, False, tags, stale_ttl), False)

    async def aadd(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Tags | None = None,
        stale_ttl: float | None = None,
    ) -> bool:
        """As `add`."""
        name = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        value = await self._dumped(value)
        return await self._ado("aadd", self._set(key, name, value, ttl, True, False, tags, stale_ttl), False)

    def set_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Tags | None = None,
        stale_ttl: float | None = None,
    ) -> list[Any]:
        """Puts all of them; the keys of those that were not put."""
        names = self._names(data, version)
        return self._do(
            "set_many", self._set_many(names, data, self.get_backend_timeout(timeout), tags, stale_ttl), list(data)
        )

    async def aset_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Tags | None = None,
        stale_ttl: float | None = None,
    ) -> list[Any]:
        """As `set_many`."""
        names = self._names(data, version)
        data = {key: await self._dumped(value) for key, value in data.items()}
        return await self._ado(
            "aset_many", self._set_many(names, data, self.get_backend_timeout(timeout), tags, stale_ttl), list(data)
        )

    def _set_many(
        self,
        names: Mapping[Any, str],
        data: Mapping[Any, Any],
        ttl: float | None,
        tags: Tags | None,
        stale_ttl: float | None,
    ) -> Steps[list[Any]]:
        if not names:
            return []
        if ttl == 0:
            yield from self._delete_many(names.values())
            return []
        values = {name: data[key] for key, name in names.items()}
        failed = set((yield from self._calls.set_many(values, ttl, self._stale(stale_ttl, ttl), self._labels(tags))))
        self._dropped([name for name in values if name not in failed])
        return [key for key, name in names.items() if name in failed] if failed else []

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """The value expires that many seconds from now; whether there is one."""
        return self._do(
            "touch",
            self._touch(self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)),
            False,
        )

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """As `touch`."""
        return await self._ado(
            "atouch",
            self._touch(self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)),
            False,
        )

    def _touch(self, name: str, ttl: float | None) -> Steps[bool]:
        if ttl == 0:
            return (yield from self._delete(name))
        yield from self._settled((name,))
        return (yield from self._calls.touch(name, ttl))

    # Delete

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Deletes the key; whether there was one."""
        return self._do("delete", self._delete(self.make_and_validate_key(key, version=version)), False)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """As `delete`."""
        return await self._ado("adelete", self._delete(self.make_and_validate_key(key, version=version)), False)

    def _delete(self, name: str) -> Steps[bool]:
        deleted = yield from self._calls.delete(name)
        self._dropped((name,))
        return deleted

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Deletes all of them."""
        self._do("delete_many", self._delete_many(self._names_alone(keys, version)), None)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """As `delete_many`."""
        await self._ado("adelete_many", self._delete_many(self._names_alone(keys, version)), None)

    def _delete_many(self, names: Collection[str]) -> Steps[None]:
        yield from self._calls.delete_many(names)
        self._dropped(names)

    def clear(self) -> None:
        """Deletes everything in the namespace, whatever its prefix and version, in constant time."""
        self._do("clear", self._clear(), None)

    async def aclear(self) -> None:
        """As `clear`."""
        await self._ado("aclear", self._clear(), None)

    def _clear(self) -> Steps[None]:
        yield from self._calls.flush(False)
        self._dropped(None)

    # Get or set

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Tags | Callable[[Any], Tags] | None = None,
        stale_ttl: float | None = None,
    ) -> Any:
        """
        The value; where there is none, `default`, or what it returns when it can be called, which is put. It is called
        by one caller among all processes: the others wait for its value (`LEASE_WAIT`), or get the stale one while it
        is called. Where the service is away it is called by each. `tags` may be a function of the value.
        """
        name = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        load = default if callable(default) else lambda: default
        try:
            answer = self._client._exchange(self._calls.get_start(name), _NO_BODY, safe=True)
            if answer[0] == 200 and _STALE not in answer[1]:
                return self._calls.got(answer, None)
            self._calls.got(answer, None)
        except SerializationError:
            pass  # It is loaded anew, and replaced.
        except PantlerError as error:
            self._service.ignored("get_or_set", error)
            return load()
        if ttl == 0:
            return load()
        if (self._service.number, name) in _leases.of_context():
            # A get of this caller has taken the lease: it would wait for itself.
            value = load()
            self.set(key, value, timeout, version, tags=tags(value) if callable(tags) else tags, stale_ttl=stale_ttl)
            return value
        wait = self._wait(name)
        try:
            value = self._service.fetching.fetch(
                name,
                lambda: dumped(load(), self._service.serializer),
                ttl,
                wait=wait,
                **self._fetching(ttl, tags, stale_ttl),
            )
        except SourceFailed:
            value = load()
            if not self._has_labels(tags):
                try:
                    self._client._run(self._set(key, name, value, ttl, True, False, None, stale_ttl))
                except PantlerError as error:
                    self._service.ignored("get_or_set", error)
            return value
        return value.value if type(value) is Dumped else value

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Tags | Callable[[Any], Tags] | None = None,
        stale_ttl: float | None = None,
    ) -> Any:
        """As `get_or_set`; `default` may be a coroutine function too."""
        name = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        client = self._service.async_client

        async def load() -> Any:
            loaded = default() if callable(default) else default
            return await loaded if callable(default) and inspect.isawaitable(loaded) else loaded

        async def load_dumped() -> Dumped:
            return await self._dumped(await load())

        try:
            answer = await client._exchange(self._calls.get_start(name), _NO_BODY, safe=True)
            if answer[0] == 200 and _STALE not in answer[1]:
                return self._calls.got(answer, None)
            self._calls.got(answer, None)
        except SerializationError:
            pass
        except PantlerError as error:
            self._service.ignored("aget_or_set", error)
            return await load()
        if ttl == 0:
            return await load()
        if (self._service.number, name) in _leases.of_context():
            value = await load()
            await self.aset(
                key, value, timeout, version, tags=tags(value) if callable(tags) else tags, stale_ttl=stale_ttl
            )
            return value
        wait = self._service.options.lease_wait
        try:
            value = await self._service.async_fetching.fetch(
                name, load_dumped, ttl, wait=wait, **self._fetching(ttl, tags, stale_ttl)
            )
        except SourceFailed:
            value = await load()
            if not self._has_labels(tags):
                to_put = await self._dumped(value)
                try:
                    await client._run(self._set(key, name, to_put, ttl, True, False, None, stale_ttl))
                except PantlerError as error:
                    self._service.ignored("aget_or_set", error)
            return value
        return value.value if type(value) is Dumped else value

    def _has_labels(self, tags: Tags | Callable[[Any], Tags] | None) -> bool:
        return bool(self._tags) or tags is not None

    def _fetching(
        self, ttl: float | None, tags: Tags | Callable[[Any], Tags] | None, stale_ttl: float | None
    ) -> dict[str, Any]:
        labels: Any
        if callable(tags):
            of_value = tags

            def labels(value: Any) -> tuple[str, ...]:
                return self._labels(of_value(value.value if type(value) is Dumped else value))

        else:
            labels = self._labels(tags)
        return dict(
            tags=labels,
            stale_ttl=self._stale(stale_ttl, ttl),
            lease_ttl=self._service.options.lease_ttl,
            # Where a load has failed, those who wait go on side by side, as with pages: one after the other each would
            # wait for the failures of those before. What they load without a lease may be put, but where it has tags:
            # there only a lease keeps out what was loaded before an invalidation.
            retry_after=None if self._has_labels(tags) else _leases.SECONDS_ALONE,
        )

    # Counting

    def incr(self, key: Any, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False) -> Any:
        """
        Adds to the value; the sum. Raises ValueError where there is none (with `ignore_key_check` it begins with 0),
        TypeError where `delta` cannot be added to it. Atomic; keeps the timeout.
        """
        return self._do(
            "incr", self._incr(key, self.make_and_validate_key(key, version=version), delta, ignore_key_check), None
        )

    async def aincr(
        self, key: Any, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False
    ) -> Any:
        """As `incr`."""
        return await self._ado(
            "aincr", self._incr(key, self.make_and_validate_key(key, version=version), delta, ignore_key_check), None
        )

    def _incr(self, key: Any, name: str, delta: Any, ignore_key_check: bool) -> Steps[Any]:
        yield from self._settled((name,))
        if self._stale_ttl is not None:
            stale = yield from _steps.stale_version(self._calls, name)
            if stale is not None:
                # As to `add`. Whoever has written meanwhile has begun anew, and what follows counts on that.
                if not ignore_key_check:
                    raise ValueError(f"Key {key!r} not found")
                yield from _steps.delete_version(self._calls, name, stale)
        try:
            if ignore_key_check and type(delta) is int:
                return (yield from _steps.incr(self._calls, name, delta, 0, self.get_backend_timeout()))
            return (yield from _steps.incr(self._calls, name, delta))
        except KeyMissing:
            raise ValueError(f"Key {key!r} not found") from None

    def decr(self, key: Any, delta: Any = 1, version: int | None = None) -> Any:
        """Subtracts from the value; see `incr`."""
        return self.incr(key, -delta, version=version)

    async def adecr(self, key: Any, delta: Any = 1, version: int | None = None) -> Any:
        """As `decr`."""
        return await self.aincr(key, -delta, version=version)

    def incr_version(  # type: ignore[override]
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int | None:
        """
        Moves the value to another version of the key, with its timeout and tags; the new version. Raises ValueError
        where there is none.
        """
        return self._do("incr_version", self._incr_version(key, delta, version), None)

    async def aincr_version(  # type: ignore[override]
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int | None:
        """As `incr_version`."""
        return await self._ado("aincr_version", self._incr_version(key, delta, version), None)

    def _incr_version(self, key: Any, delta: int, version: int | None) -> Steps[int | None]:
        if version is None:
            version = self.version
        target = version + delta
        old = self.make_and_validate_key(key, version=version)
        new = self.make_and_validate_key(key, version=target)
        yield from self._settled((old,))
        try:
            yield from _steps.move(self._calls, old, new)
        except KeyMissing:
            raise ValueError(f"Key {key!r} not found") from None
        self._dropped((old, new))
        return target

    def decr_version(  # type: ignore[override]
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int | None:
        """Moves the value to an earlier version; see `incr_version`."""
        return self.incr_version(key, -delta, version)

    async def adecr_version(  # type: ignore[override]
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int | None:
        """As `decr_version`."""
        return await self.aincr_version(key, -delta, version)

    # The end of a request

    def close(self, **kwargs: Any) -> None:
        """
        Gives up what leases this context (thread or task) still holds. Django calls it at the end of each request.
        Connections stay open, for the next one. Raises nothing.
        """
        for held in _leases.take_all(self._service) if _leases.of_context() else ():
            try:
                self._client._run(self._leave(held))
            except PantlerError as error:
                _leases.logger.debug("The lease of %r is not given up: %s", held.grant.key, error)

    async def aclose(self, **kwargs: Any) -> None:
        """As `close`."""
        for held in _leases.take_all(self._service) if _leases.of_context() else ():
            try:
                await self._service.async_client._run(self._leave(held))
            except PantlerError as error:
                _leases.logger.debug("The lease of %r is not given up: %s", held.grant.key, error)

    def _leave(self, held: _leases.Held) -> Steps[None]:
        if held.kept is not None:
            # Its page was not put, but the list of its headers is as good as ever.
            yield from self._put_kept(held)
        elif held.end():
            yield from self._calls.release(held.grant, _leases.SECONDS_ALONE)

    # What django-redis adds

    def ttl(self, key: Any, version: int | None = None) -> int | None:
        """Seconds until the value expires, rounded; None where it never does, 0 where there is none."""
        return _rounded(self._do("ttl", self._left(self.make_and_validate_key(key, version=version)), 0.0), 1)

    async def attl(self, key: Any, version: int | None = None) -> int | None:
        """As `ttl`."""
        return _rounded(await self._ado("attl", self._left(self.make_and_validate_key(key, version=version)), 0.0), 1)

    def pttl(self, key: Any, version: int | None = None) -> int | None:
        """Milliseconds until the value expires; None where it never does, 0 where there is none."""
        return _rounded(self._do("pttl", self._left(self.make_and_validate_key(key, version=version)), 0.0), 1000)

    async def apttl(self, key: Any, version: int | None = None) -> int | None:
        """As `pttl`."""
        return _rounded(
            await self._ado("apttl", self._left(self.make_and_validate_key(key, version=version)), 0.0), 1000
        )

    def _left(self, name: str) -> Steps[float | None]:
        yield from self._settled((name,))
        try:
            return (yield from _steps.seconds_left(self._calls, name))
        except KeyMissing:
            return 0.0

    def expire(self, key: Any, timeout: Any, version: int | None = None) -> bool:
        """The value expires that many seconds from now; whether there is one."""
        return self.touch(key, timeout, version=version)

    async def aexpire(self, key: Any, timeout: Any, version: int | None = None) -> bool:
        """As `expire`."""
        return await self.atouch(key, timeout, version=version)

    def pexpire(self, key: Any, timeout: Any, version: int | None = None) -> bool:
        """The value expires that many milliseconds (or a timedelta) from now; whether there is one."""
        return self.touch(key, _of_milliseconds(timeout), version=version)

    async def apexpire(self, key: Any, timeout: Any, version: int | None = None) -> bool:
        """As `pexpire`."""
        return await self.atouch(key, _of_milliseconds(timeout), version=version)

    def expire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """
        The value expires at that moment: a datetime (local time where it has no zone) or Unix time. Whether there is
        one.
        """
        return self._do(
            "expire_at", self._expire_at(self.make_and_validate_key(key, version=version), _unix_time(when, 1)), False
        )

    async def aexpire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """As `expire_at`."""
        return await self._ado(
            "aexpire_at", self._expire_at(self.make_and_validate_key(key, version=version), _unix_time(when, 1)), False
        )

    def pexpire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """As `expire_at`, with Unix time in milliseconds."""
        return self._do(
            "pexpire_at",
            self._expire_at(self.make_and_validate_key(key, version=version), _unix_time(when, 1000)),
            False,
        )

    async def apexpire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """As `pexpire_at`."""
        return await self._ado(
            "apexpire_at",
            self._expire_at(self.make_and_validate_key(key, version=version), _unix_time(when, 1000)),
            False,
        )

    def _expire_at(self, name: str, moment: float) -> Steps[bool]:
        yield from self._settled((name,))
        return (yield from _steps.expire_at(self._calls, name, moment))

    def persist(self, key: Any, version: int | None = None) -> bool:
        """The value never expires; False where there is none, or it never did."""
        return self._do("persist", self._persist(self.make_and_validate_key(key, version=version)), False)

    async def apersist(self, key: Any, version: int | None = None) -> bool:
        """As `persist`."""
        return await self._ado("apersist", self._persist(self.make_and_validate_key(key, version=version)), False)

    def _persist(self, name: str) -> Steps[bool]:
        yield from self._settled((name,))
        return (yield from _steps.persist(self._calls, name))

    def keys(self, search: str = "*", version: int | None = None) -> list[str]:
        """
        The keys of this prefix and version that match a glob (``*``, ``?``, ``[abc]``, ``\\`` before a character that
        is meant as it is).
        """
        pattern, reverse = self._pattern(search, version)
        return self._do("keys", self._keys(pattern, reverse), [])

    async def akeys(self, search: str = "*", version: int | None = None) -> list[str]:
        """As `keys`."""
        pattern, reverse = self._pattern(search, version)
        return await self._ado("akeys", self._keys(pattern, reverse), [])

    def _keys(self, pattern: _patterns.Pattern, reverse: Callable[[str], str]) -> Steps[list[str]]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            names, cursor = yield from self._calls.page_of_keys(pattern.prefix, cursor)
            found += [reverse(name) for name in names if pattern.matches is None or pattern.matches(name)]
            if cursor is None:
                return found

    def iter_keys(self, search: str = "*", itersize: int | None = None, version: int | None = None) -> Iterator[str]:
        """
        As `keys`, asking for 1,000 at a time as they are needed. `itersize` is taken for django-redis's sake, and means
        nothing.
        """
        pattern, reverse = self._pattern(search, version)
        cursor: str | None = None
        while True:
            names, cursor = self._do("iter_keys", self._calls.page_of_keys(pattern.prefix, cursor), ([], None))
            for name in names:
                if pattern.matches is None or pattern.matches(name):
                    yield reverse(name)
            if cursor is None:
                return

    async def aiter_keys(
        self, search: str = "*", itersize: int | None = None, version: int | None = None
    ) -> AsyncIterator[str]:
        """As `iter_keys`."""
        pattern, reverse = self._pattern(search, version)
        cursor: str | None = None
        while True:
            names, cursor = await self._ado("aiter_keys", self._calls.page_of_keys(pattern.prefix, cursor), ([], None))
            for name in names:
                if pattern.matches is None or pattern.matches(name):
                    yield reverse(name)
            if cursor is None:
                return

    def delete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """
        Deletes the keys that match a glob, see `keys`; how many. `prefix` is in the place of KEY_PREFIX. A glob with a
        single ``*`` at its end is done by the service in one go. `itersize` is taken for django-redis's sake, and means
        nothing.
        """
        return self._do("delete_pattern", self._delete_pattern(self._pattern(pattern, version, prefix)[0]), 0)

    async def adelete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """As `delete_pattern`."""
        return await self._ado("adelete_pattern", self._delete_pattern(self._pattern(pattern, version, prefix)[0]), 0)

    def _delete_pattern(self, pattern: _patterns.Pattern) -> Steps[int]:
        matches = pattern.matches
        ours = [
            name
            for number, name in _leases.of_context()
            if number == self._service.number
            and name.startswith(pattern.prefix)
            and (matches is None or matches(name))
        ]
        if matches is None and pattern.prefix:
            deleted: int = yield from self._calls.invalidate((), pattern.prefix, (), False)
            self._dropped(ours)
            return deleted
        deleted = 0
        cursor: str | None = None
        while True:
            names, cursor = yield from self._calls.page_of_keys(pattern.prefix, cursor)
            deleted += yield from self._calls.delete_many([name for name in names if matches is None or matches(name)])
            if cursor is None:
                break
        # Those have no entry yet, so that nothing above has ended their leases.
        yield from self._calls.delete_many(ours)
        self._dropped(ours)
        return deleted

    def _pattern(
        self, search: str, version: int | None, prefix: str | None = None
    ) -> tuple[_patterns.Pattern, Callable[[str], str]]:
        """The pattern of the service's keys, and what makes Django's of them."""
        if not isinstance(search, str):
            raise TypeError(f"A pattern is a str; this is {search!r}.")
        if prefix is None:
            made: str = self.make_key(_PROBE, version=version)
        else:
            made = self.key_func(_PROBE, prefix, self.version if version is None else version)
        before, probe, after = made.partition(_PROBE)
        if not probe or _PROBE in after:
            # The key function makes something else of the key. What matches is what it makes.
            before = after = ""
        if self._reverse is not None:
            return _patterns.parse(search, before, after), self._reverse
        start, end = len(before), len(after)
        return _patterns.parse(search, before, after), lambda name: name[start : len(name) - end]

    def lock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> CacheLock:
        """
        A lock among all processes, for ``with``. `timeout`: seconds after which it ends when its holder has died (10
        where it is None, and at most 300); while that lives it is prolonged. `blocking_timeout`: seconds to wait for
        it; None waits for ever. `sleep` and `thread_local` mean nothing here.
        """
        name = self.make_and_validate_key(key, version=version)
        return CacheLock(self._client, name, timeout, blocking, blocking_timeout)

    def alock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> AsyncCacheLock:
        """As `lock`, for ``async with``."""
        name = self.make_and_validate_key(key, version=version)
        return AsyncCacheLock(self._service.async_client, name, timeout, blocking, blocking_timeout)


def _rounded(seconds: float | None, scale: int) -> int | None:
    return None if seconds is None else int(seconds * scale + 0.5)


def _of_milliseconds(timeout: Any) -> Any:
    return (
        timeout if timeout is None or timeout is DEFAULT_TIMEOUT or isinstance(timeout, timedelta) else timeout / 1000
    )


def _unix_time(when: datetime | float, scale: int) -> float:
    if isinstance(when, bool) or not isinstance(when, (datetime, int, float)):
        raise TypeError(f"A moment is a datetime or Unix time; this is {when!r}.")
    try:
        moment = when.timestamp() if isinstance(when, datetime) else when / scale
    except (OverflowError, ValueError):
        # The first and the last day that a datetime has, as local time, and integers beyond a float.
        is_past = when.year < 1970 if isinstance(when, datetime) else when < 0
        return -math.inf if is_past else math.inf
    if math.isnan(moment):
        raise ValueError("A moment is a datetime or Unix time; this is not a number (NaN).")
    return moment
