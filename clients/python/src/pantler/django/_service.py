"""What the cache objects of a process share: Django makes one a thread, and often one a request, of what is one service."""

from __future__ import annotations

import copy
import itertools
import threading
import weakref
from collections.abc import Generator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from .._async_client import AsyncClient
from .._calls import Calls, Entry, Grant, Held, Request, Steps, Unreadable
from .._client import Client
from .._http import Answer
from ..errors import Invalid
from . import _leases, _options
from ._faults import Faults
from ._serializers import with_dumped

T = TypeVar("T")

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
        client = copy.copy(self.async_client)
        client._calls = self.lease_calls
        return client

    def run(self, steps: Generator[Request, Answer, T]) -> T:
        return self.client._run(steps)

    async def arun(self, steps: Generator[Request, Answer, T]) -> T:
        return await self.async_client._run(steps)

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
