"""A backend for dogpile.cache, whose region lock is a lease.

    region = make_region().configure("dogpile.cache.pantler", expiration_time=300, arguments={"url": "http://127.0.0.1:8080"})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex, SerializedReturnType

from ._calls import DEFAULT, TTL, short_key
from ._client import Client
from ._locks import Lock
from .errors import PantlerError

_OF_CLIENT = ("url", "namespace", "token", "timeout", "connect_timeout", "max_idle", "ca_file", "client_certificate")


class PantlerBackend(BytesBackend):
    """Regions of dogpile.cache in a namespace of Pantler. Safe for threads and forks as the client is.

    Arguments, all optional: those of :class:`~pantler.Client` (``url``, ``namespace``, ``token``, ``timeout``, ``connect_timeout``, ``max_idle``,
    ``ca_file``, ``client_certificate``), or a ``client``; ``pantler_expiration_time``: seconds after which the service drops an entry, more
    than the region's ``expiration_time``, which dogpile keeps itself (default: the namespace's ``default_ttl``); ``tags``: labels of
    every entry, to invalidate by; ``distributed_lock``: whether one process among all creates a value (default), instead of one thread of each;
    ``lock_timeout``: the seconds after which the lock of a process that died ends (10); ``lock_blocking_timeout``: seconds to wait for it, None for
    ever. Keys over 1,024 bytes are shortened by a hash. Calls raise PantlerError where the service is away.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        client = arguments.get("client")
        if client is None:
            client = Client(**{name: arguments[name] for name in _OF_CLIENT if name in arguments})
        elif not isinstance(client, Client):
            raise TypeError(f"The argument client is a pantler.Client; this is {client!r}.")
        # The region makes bytes of its values, which go as they are.
        self.client: Client = client.with_serializer("json")
        self._ttl: TTL = arguments.get("pantler_expiration_time") or DEFAULT
        self._tags = tuple(arguments.get("tags") or ())
        self._distributed = bool(arguments.get("distributed_lock", True))
        self._lock_ttl = float(arguments.get("lock_timeout") or 10)
        self._lock_wait = arguments.get("lock_blocking_timeout")

    def key_mangler(self, key: str) -> str:
        return short_key(key)

    def get_mutex(self, key: str) -> CacheMutex | None:
        return _Mutex(self.client, key, self._lock_ttl, self._lock_wait) if self._distributed else None

    def get_serialized(self, key: str) -> SerializedReturnType:
        return _bytes(self.client.get(key))

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[SerializedReturnType]:
        wanted = list(keys)
        found = self.client.get_many(wanted)
        return [_bytes(found.get(key)) for key in wanted]

    def set_serialized(self, key: str, value: bytes) -> None:
        self.client.set(key, value, self._ttl, tags=self._tags)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        failed = self.client.set_many(mapping, self._ttl, tags=self._tags)
        if failed:
            raise PantlerError(f"The service refused {len(failed)} of {len(mapping)} values, {failed[0]!r} among them: too large?")

    def delete(self, key: str) -> None:
        self.client.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        self.client.delete_many(keys)


def _bytes(value: Any) -> SerializedReturnType:
    # What is no bytes was put by somebody else than a region: it is none of dogpile's values.
    return value if type(value) is bytes else NO_VALUE


class _Mutex(CacheMutex):
    """The lock of a key: one creator among all processes. Any thread may release it, as async creators do."""

    def __init__(self, client: Client, key: str, ttl: float, wait: float | None) -> None:
        self._lock = Lock(client, f"dogpile:{key}" if len(key) <= 900 else short_key(f"dogpile:{key}"), ttl, wait)
        self._wait = wait

    def acquire(self, wait: bool = True) -> bool:
        if self._lock.held:
            # By this very object: as a lock of threads, which is not reentrant, but told instead of waited for.
            return False
        return self._lock.acquire(self._wait if wait else 0)

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()
