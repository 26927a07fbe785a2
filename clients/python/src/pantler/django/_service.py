"""
What the cache objects of a process share: Django makes one a thread, and often one a request, of what is one service.
"""

from __future__ import annotations

import collections
import copy
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .._async_client import AsyncClient
from .._answers import Entry, Grant, Held, Unreadable
from .._calls import Calls, Request, Steps
from .._client import Client
from .._http import Answer
from ..errors import Invalid, PantlerError, TimedOut, Unavailable
from . import _leases, _options
from ._faults import Faults
from ._serializers import with_dumped

_numbers = itertools.count()


class _Peeking(Calls):
    """Calls of a caller who has just been told of the miss: its lease is to count no second one."""

    _peeks = True

    def lease(
        self, key: str, ttl: float, wait: float, *, peek: bool = True
    ) -> Steps[Entry | Grant | Held | Unreadable]:
        outcome = yield from super().lease(key, ttl, wait)
        if type(outcome) is Held and outcome.refusal.code == "query_invalid":
            outcome = yield from super().lease(key, ttl, wait)
        return outcome

    def lease_request(self, key: str, ttl: float, wait: float, peek: bool = True) -> Request:
        return super().lease_request(key, ttl, wait, self._peeks)

    def leased(self, key: str, ttl: float, answer: Answer) -> Entry | Grant | Held | Unreadable:
        try:
            return super().leased(key, ttl, answer)
        except Invalid as error:
            # A service from before there was that. It is asked again without, and counts twice. Another thread may have
            # found out meanwhile.
            if error.code != "query_invalid":
                raise
            self._peeks = False
            return Held("crowded", 0.0, error)


#: After so many timeouts close together the service is left alone, for as long as two of them.
_TIMEOUTS = 3


class Rest:
    """
    Leaves a service alone that takes connections and does not answer: otherwise a page with many calls waits a timeout
    for each. For sites that ignore errors alone, and at no cost while all is well: the clients' way to their pools is
    changed. Safe for threads.
    """

    def __init__(self, timeout: float) -> None:
        self._pause = max(2 * timeout, 1.0)
        self._close_together = _TIMEOUTS * timeout + self._pause
        self._timeouts: collections.deque[float] = collections.deque(maxlen=_TIMEOUTS)
        self._until = 0.0

    def timed_out(self, clients: list[Client | AsyncClient]) -> None:
        """Of one of a service's clients."""
        now = time.monotonic()
        self._timeouts.append(now)
        if len(self._timeouts) == _TIMEOUTS and now - self._timeouts[0] <= self._close_together:
            self._until = now + self._pause
            for client in clients:
                if isinstance(client, Client):
                    client._exchange = self._refusing(client)
                else:
                    client._exchange = self._refusing_async(client)

    def _check(self, client: Client | AsyncClient) -> None:
        if time.monotonic() < self._until:
            raise Unavailable(
                f"The service did not answer {_TIMEOUTS} times, and is left alone for {self._pause:g} seconds."
            )
        if isinstance(client, Client):
            client._exchange = client._pool.exchange
        else:
            client._exchange = client._pool.exchange

    def _refusing(self, client: Client) -> Callable[..., Answer]:
        def exchange(start: bytes, rest: bytes, *, safe: bool, timeout: float | None = None) -> Answer:
            self._check(client)
            return client._pool.exchange(start, rest, safe=safe, timeout=timeout)

        return exchange

    def _refusing_async(self, client: AsyncClient) -> Callable[..., Coroutine[Any, Any, Answer]]:
        async def exchange(start: bytes, rest: bytes, **how: Any) -> Answer:
            self._check(client)
            return await client._pool.exchange(start, rest, **how)

        return exchange


class Service:
    """A namespace of a service as one LOCATION and OPTIONS name it. Safe for threads, tasks and forks."""

    def __init__(self, location: Any, options: _options.Options) -> None:
        self.number = next(_numbers)
        self.options = options
        self._location = location or None
        self.serializer = with_dumped(options.serializer)
        try:
            self.client = Client(self._location, **self._arguments())
        except (OSError, TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"LOCATION and OPTIONS of PantlerCache: {error}") from error
        self.calls: Calls = self.client._calls
        self.lease_calls = _Peeking(self.client.namespace, self.serializer)
        #: The same client, for those whom a get has told of the miss.
        self.fetching = copy.copy(self.client)
        self.fetching._calls = self.lease_calls
        self.addresses = self.client._settings.addresses
        self.faults = Faults(", ".join(map(str, self.addresses)))
        self._rest = Rest(options.timeout)
        #: The leases that this process holds, by key.
        self.held_here: weakref.WeakValueDictionary[str, _leases.Held] = weakref.WeakValueDictionary()

    def _arguments(self) -> dict[str, Any]:
        options = self.options
        return dict(
            namespace=options.namespace,
            token=options.token,
            timeout=options.timeout,
            connect_timeout=options.connect_timeout,
            max_idle=options.max_idle,
            ca_file=options.ca_file,
            client_certificate=options.client_certificate,
            serializer=self.serializer,
        )

    @cached_property
    def async_client(self) -> AsyncClient:
        return AsyncClient(self._location, **self._arguments())

    @cached_property
    def async_fetching(self) -> AsyncClient:
        fetching = copy.copy(self.async_client)
        fetching._calls = self.lease_calls
        # Not what it is while the service is left alone, which goes by the client that it was taken from.
        fetching._exchange = fetching._pool.exchange
        return fetching

    def ignored(self, call: str, error: PantlerError) -> None:
        """Takes note of an error that is ignored."""
        self.faults.ignored(call, error)
        if isinstance(error, TimedOut) and self.options.ignore_exceptions:
            # Those of the two for coroutines that are there.
            others = [self.__dict__[name] for name in ("async_client", "async_fetching") if name in self.__dict__]
            self._rest.timed_out([self.client, self.fetching, *others])

    def prolong(self, grant: Grant) -> bool:
        return self.client._run(self.calls.prolong(grant, grant.ttl))

    def release(self, grant: Grant, retry_after: float | None) -> bool:
        return self.client._run(self.calls.release(grant, retry_after))


_services: dict[tuple[str, str], Service] = {}
_lock = threading.Lock()


def service_of(location: Any, options: Mapping[str, Any] | None) -> Service:
    """
    The service of a LOCATION and OPTIONS: one a process, for as long as the process runs. Raises ImproperlyConfigured.
    """
    # What has no equal text of its own is told apart by where it is; the service's options keep it there.
    name = repr(location), repr(sorted(options.items(), key=repr)) if options else ""
    service = _services.get(name)
    if service is None:
        with _lock:
            service = _services.get(name)
            if service is None:
                service = _services[name] = Service(location, _options.read(options))
    return service
