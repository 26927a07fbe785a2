"""What the cache objects of a process share: Django makes one a thread, and often one a request, of what is one service."""

from __future__ import annotations

import asyncio
import copy
import itertools
import threading
import weakref
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .._async_client import AsyncClient, _begin
from .._calls import Calls, Entry, Grant, Held, Request, Steps, Unreadable
from .._client import Client
from .._http import Answer
from ..errors import Invalid, PantlerError
from . import _leases, _options, _steps
from ._faults import Faults
from ._serializers import with_dumped

_numbers = itertools.count()


class _Peeking(Calls):
    """Calls of a caller who has just been told of the miss: its lease is to count no second one."""

    _peeks = True

    def lease(self, key: str, ttl: float, wait: float, *, peek: bool = True) -> Steps[Entry | Grant | Held | Unreadable]:
        if self._peeks:
            try:
                return (yield from super().lease(key, ttl, wait, peek=True))
            except Invalid as error:
                # A service from before there was that: it counts twice.
                if error.code != "query_invalid":
                    raise
                self._peeks = False
        return (yield from super().lease(key, ttl, wait))


class _Fetching(AsyncClient):
    """The async client for calls that take leases: one that is given when its caller has been cancelled is given up again."""

    @classmethod
    def like(cls, client: AsyncClient, calls: Calls) -> AsyncClient:
        """A client with the same connections."""
        alike = cls.__new__(cls)
        alike.__dict__.update(client.__dict__, _calls=calls)
        return alike

    async def _send(self, request: Request) -> Answer:
        if not (request.start.startswith(b"POST ") and b"/lease" in request.start):
            return await super()._send(request)
        exchange = _begin(super()._send(request))
        try:
            answer: Answer = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            _begin(self._give_back(request, exchange))
            raise
        return answer

    async def _give_back(self, request: Request, exchange: asyncio.Task[Answer]) -> None:
        try:
            answer = await exchange
            if answer[0] == 201:
                release = _steps.given(request, answer)
                if release is not None:
                    await super()._send(release)
        except PantlerError:
            # It ends by itself.
            pass


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
        self.faults = Faults(", ".join(str(address) for address in self.client._settings.addresses))
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
        return _Fetching.like(self.async_client, self.lease_calls)

    def prolong(self, grant: Grant) -> bool:
        return self.client._run(self.calls.prolong(grant, grant.ttl))

    def release(self, grant: Grant, retry_after: float | None) -> bool:
        return self.client._run(self.calls.release(grant, retry_after))


_services: dict[tuple[str, str], Service] = {}
_lock = threading.Lock()


def service_of(location: Any, options: Mapping[str, Any] | None) -> Service:
    """The service of a LOCATION and OPTIONS: one a process, for as long as the process runs. Raises ImproperlyConfigured."""
    # What has no equal text of its own is told apart by where it is; the service's options keep it there.
    name = repr(location), repr(sorted(options.items(), key=repr)) if options else ""
    service = _services.get(name)
    if service is None:
        with _lock:
            service = _services.get(name)
            if service is None:
                service = _services[name] = Service(location, _options.read(options))
    return service
