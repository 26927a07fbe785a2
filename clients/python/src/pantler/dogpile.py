"""A backend for dogpile.cache, whose region lock is a lease.

    region = make_region().configure("dogpile.cache.pantler", expiration_time=300, arguments={"url": "http://127.0.0.1:8080"})
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex, SerializedReturnType

from ._arguments import DEFAULT, TTL, check_tags, lease_seconds, seconds, short_key, tag_list, wait_seconds
from ._client import Client
from ._locks import Lock
from .errors import PantlerError

log = logging.getLogger("pantler")

_OF_BACKEND = ("client", "pantler_expiration_time", "tags", "distributed_lock", "lock_timeout", "lock_blocking_timeout")
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
        """Raises TypeError or ValueError for arguments that cannot be."""
        unknown = sorted(set(map(str, arguments)) - {*_OF_BACKEND, *_OF_CLIENT})
        if unknown:
            # dogpile has it that what a backend does not know is left alone; a typo in `url` is to be seen, though.
            known = ", ".join((*_OF_CLIENT, *_OF_BACKEND))
            log.warning("The arguments of a region have %s, which is unknown here. There are %s.", ", ".join(map(repr, unknown)), known)
        client = arguments.get("client")
        if client is None:
            client = Client(**{name: arguments[name] for name in _OF_CLIENT if name in arguments})
        elif not isinstance(client, Client):
            raise TypeError(f"The argument client is a pantler.Client; this is {client!r}.")
        # The region makes bytes of its values, which go as they are.
        self.client: Client = client.with_serializer("json")
        self._ttl: TTL = arguments.get("pantler_expiration_time") or DEFAULT
        tags = arguments.get("tags") or ()
        # In a file of settings it is one text.
        self._tags = tuple(tag.strip() for tag in tags.split(",")) if isinstance(tags, str) else tuple(tags)
        self._distributed = bool(arguments.get("distributed_lock", True))
        if self._ttl is not DEFAULT:
            seconds(self._ttl, "pantler_expiration_time")
        check_tags(tag_list(self._tags))
        self._lock_ttl = lease_seconds(arguments.get("lock_timeout") or 10, "lock_timeout")
        wait = arguments.get("lock_blocking_timeout")
        self._lock_wait = None if wait is None else wait_seconds(wait, "lock_blocking_timeout")

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
    """The lock of a key: one creator among all processes. Any thread may release it, as async creators do.

    A region gives one object to all its threads, so these take turns by a lock of their own, and one of them has the lease.
    """

    def __init__(self, client: Client, key: str, ttl: float, wait: float | None) -> None:
        self._turn = threading.Lock()
        self._lock = Lock(client, f"dogpile:{key}", ttl, wait)
        self._wait = wait

    def acquire(self, wait: bool = True) -> bool:
        begun = time.monotonic()
        if not self._turn.acquire(wait, -1 if self._wait is None or not wait else self._wait):
            return False
        try:
            left = None if self._wait is None else max(0.0, begun + self._wait - time.monotonic())
            if self._lock.acquire(left if wait else 0):
                return True
        except BaseException:
            self._turn.release()
            raise
        self._turn.release()
        return False

    def release(self) -> None:
        try:
            self._lock.release()
        except PantlerError as error:
            # The value is there, and the lease ends by itself: no reason to keep it from the caller.
            log.warning("The lock of a creator was not given back: %s: %s", type(error).__name__, error)
        self._turn.release()

    def locked(self) -> bool:
        return self._turn.locked() or self._lock.locked()
