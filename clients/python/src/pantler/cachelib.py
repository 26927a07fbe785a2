"""A backend for cachelib, on which Flask-Caching and Flask-Session stand.

    cache = PantlerCache("http://127.0.0.1:8080/v1/namespaces/shop")

Flask-Caching: ``CACHE_TYPE = "pantler.cachelib.PantlerCache"``, ``CACHE_ARGS = ["http://…"]``; further arguments in ``CACHE_OPTIONS``.
Flask-Session: ``SESSION_TYPE = "cachelib"``, ``SESSION_CACHELIB = PantlerCache("http://…")``.
"""

from __future__ import annotations

import datetime
import logging
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cachelib.base import BaseCache

from ._arguments import short_key
from ._client import Client
from ._fetch import Quiet
from ._values import Serializer, SerializerOfBytes
from .errors import Invalid, PantlerError, SerializationError

log = logging.getLogger("pantler")


class NotPicklable(SerializationError, pickle.PicklingError):
    """A value cannot be serialized. cachelib says that this is a PickleError."""


class PantlerCache(BaseCache):
    """cachelib's cache API on a :class:`~pantler.Client`; safe for threads and forks as that is.

    ``url``: as for the client, or a client. ``default_timeout``: seconds (an int, float or timedelta) where a call names none. In a timeout 0
    never expires, and what is negative is over at once. ``key_prefix``: put before every key, or a function that returns it; ``clear`` drops the keys
    with it alone. Keys over 1,024 bytes are shortened by a hash. ``ignore_delete_many_errors``: whether ``delete_many`` returns what it deleted
    instead of raising RuntimeError where the service is away. ``serializer``: as of the client, here ``auto``; further arguments are the client's:
    ``token``, ``timeout``, ``ca_file`` and so on.

    As cachelib has it, a service that is away raises nothing, but is a miss, or False or None; a warning goes to the log ``pantler``. What cannot be
    serialized raises a PickleError (which is a SerializationError too), a key that cannot be an Invalid.
    """

    def __init__(
        self,
        url: str | Iterable[str] | Client | None = None,
        default_timeout: int | float | datetime.timedelta = 300,
        key_prefix: str | Callable[[], str] | None = None,
        ignore_delete_many_errors: bool = True,
        **options: Any,
    ) -> None:
        if isinstance(default_timeout, Mapping):
            # Flask-Caching before 2.5, the last ones for Python 3.10, calls any class but its own by (app, config, CACHE_ARGS, CACHE_OPTIONS).
            arguments: Any = key_prefix
            named: Any = ignore_delete_many_errors
            PantlerCache.__init__(self, *arguments, **named)
            return
        super().__init__(300)
        self.default_timeout: Any = _seconds(default_timeout)
        self.ignore_delete_many_errors = ignore_delete_many_errors
        self.key_prefix = key_prefix or ""
        if isinstance(url, Client):
            if options:
                raise TypeError(f"With a client of your own there is no room for {', '.join(options)}: give them to the client.")
            self._client = url
        else:
            self._client = Client(url, **{"serializer": "auto", **options})
        self._serializer: Any = self._client.serializer
        if self.serializer is None:
            self.serializer = self._serializer
        self._warn = Quiet()

    #: What turns values into bytes: one of the client's, or one of cachelib's, whose ``dumps`` gives bytes. May be assigned, to an object or in a
    #: class made from this one, as with cachelib's own backends.
    serializer: Any = None

    @property
    def client(self) -> Client:
        """The client beneath, which has what cachelib does not: tags, ``fetch``, locks."""
        if self.serializer is not self._serializer:
            self._client = self._client.with_serializer(_adapted(self.serializer))
            self._serializer = self.serializer
        return self._client

    def get(self, key: str) -> Any:
        try:
            return self.client.get(self._key(key))
        except Invalid:
            raise
        except PantlerError as error:
            return self._failed(error, None)

    def get_many(self, *keys: str) -> list[Any]:
        names = [self._key(key) for key in keys]
        try:
            found = self.client.get_many(names)
        except SerializationError:
            # One that cannot be read hides no other.
            return [self.get(key) for key in keys]
        except Invalid:
            raise
        except PantlerError as error:
            found = self._failed(error, {})
        return [found.get(name) for name in names]

    def set(self, key: str, value: Any, timeout: int | float | datetime.timedelta | None = None) -> bool:
        return self._write(key, value, timeout, False)

    def add(self, key: str, value: Any, timeout: int | float | datetime.timedelta | None = None) -> bool:
        return self._write(key, value, timeout, True)

    def _write(self, key: str, value: Any, timeout: int | float | datetime.timedelta | None, only_new: bool) -> bool:
        ttl = self._ttl(timeout)
        name = self._key(key)
        try:
            if ttl is not None and ttl <= 0:
                if only_new:
                    return not self.client.has(name)
                self.client.delete(name)
                return True
            if only_new:
                return self.client.add(name, value, ttl)
            self.client.set(name, value, ttl)
            return True
        except SerializationError as error:
            raise NotPicklable(*error.args) from error
        except Invalid as error:
            if error.status == 413:
                return bool(self._failed(error, False))
            raise
        except PantlerError as error:
            return bool(self._failed(error, False))

    def set_many(self, mapping: dict[str, Any], timeout: int | float | datetime.timedelta | None = None) -> list[Any]:
        ttl = self._ttl(timeout)
        names = {self._key(key): key for key in mapping}
        try:
            if ttl is not None and ttl <= 0:
                self.client.delete_many(names)
                return list(mapping)
            failed = {names[name] for name in self.client.set_many({name: mapping[key] for name, key in names.items()}, ttl)}
        except SerializationError as error:
            raise NotPicklable(*error.args) from error
        except Invalid:
            raise
        except PantlerError as error:
            return list(self._failed(error, []))
        return [key for key in mapping if key not in failed]

    def delete(self, key: str) -> bool:
        try:
            return self.client.delete(self._key(key))
        except Invalid:
            raise
        except PantlerError as error:
            return bool(self._failed(error, False))

    def delete_many(self, *keys: str) -> list[Any]:
        try:
            self.client.delete_many([self._key(key) for key in keys])
        except Invalid:
            raise
        except PantlerError as error:
            if not self.ignore_delete_many_errors:
                raise RuntimeError(f"Failed to delete keys: {list(keys)}") from error
            return list(self._failed(error, []))
        return list(keys)

    def has(self, key: str) -> bool:
        try:
            return self.client.has(self._key(key))
        except Invalid:
            raise
        except PantlerError as error:
            return bool(self._failed(error, False))

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Adds ``delta``, atomically; a counter that is not there begins at 0, with the default timeout. Invalid where the value is no int."""
        ttl = self._ttl(None)
        try:
            if ttl is not None and ttl <= 0:
                return self.client.incr(self._key(key), delta, initial=0, ttl=0.001)
            return self.client.incr(self._key(key), delta, initial=0, ttl=ttl)
        except Invalid:
            raise
        except PantlerError as error:
            self._failed(error, None)
            return None

    def dec(self, key: str, delta: int = 1) -> int | None:
        return self.inc(key, -delta)

    def clear(self) -> bool:
        prefix = self._prefix()
        try:
            if prefix:
                self.client.invalidate(prefix=prefix)
            else:
                self.client.flush()
            return True
        except Invalid:
            raise
        except PantlerError as error:
            return bool(self._failed(error, False))

    @classmethod
    def factory(cls, app: Any, config: Any, args: list[Any], kwargs: dict[str, Any]) -> PantlerCache:
        """As Flask-Caching makes its own backends: the URL is ``CACHE_ARGS``'s first, else ``CACHE_PANTLER_URL``; and ``CACHE_KEY_PREFIX``."""
        if not args and config.get("CACHE_PANTLER_URL"):
            args = [config["CACHE_PANTLER_URL"]]
        if config.get("CACHE_KEY_PREFIX"):
            kwargs.setdefault("key_prefix", config["CACHE_KEY_PREFIX"])
        return cls(*args, **kwargs)

    def _prefix(self) -> str:
        prefix = self.key_prefix
        return prefix if isinstance(prefix, str) else prefix() or ""

    def _key(self, key: str) -> str:
        return short_key(f"{self._prefix()}{key}")

    def _ttl(self, timeout: int | float | datetime.timedelta | None) -> int | float | None:
        """Seconds; None for never, 0 and less for over at once."""
        seconds = _seconds(self.default_timeout if timeout is None else timeout)
        return None if seconds == 0 else seconds

    def _failed(self, error: PantlerError, result: Any) -> Any:
        self._warn("The cache did not answer, which counts as a miss: %s: %s", type(error).__name__, error)
        return result


def _seconds(timeout: int | float | datetime.timedelta) -> int | float:
    if isinstance(timeout, datetime.timedelta):
        return timeout.total_seconds()
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"A timeout is a number of seconds or a timedelta; this is {timeout!r}.")
    return timeout


def _adapted(serializer: Any) -> str | Serializer:
    if isinstance(serializer, str) or getattr(type(serializer), "__module__", "").startswith("pantler."):
        wanted: str | Serializer = serializer
        return wanted
    # cachelib's, and those made from them: dumps gives bytes, and loads is given nothing but them.
    return SerializerOfBytes(serializer.dumps, serializer.loads)
