"""Pantler for Python: a client of the cache service, blocking and for asyncio.

    import pantler

    client = pantler.Client("http://127.0.0.1:8080/v1/namespaces/shop")
    product = client.fetch("product-42", load_product, ttl=60, tags=["products"])

Needs nothing but the standard library. The backends for Django, cachelib and dogpile.cache are ``pantler.django``,
``pantler.cachelib`` and ``pantler.dogpile``.
"""

from __future__ import annotations

from ._async_client import AsyncClient, AsyncLease
from ._answers import Entry
from ._arguments import ABSENT, DEFAULT
from ._client import Client, Lease
from ._fetch import SourceFailed
from ._locks import AsyncLock, Lock, LockHeld, LockLost
from ._observation import Observation
from ._values import Serializer
from .errors import (
    BadAnswer,
    Busy,
    ConnectionLost,
    Invalid,
    KeyMissing,
    NotAllowed,
    PantlerError,
    Refused,
    SerializationError,
    TimedOut,
    Unavailable,
)

__all__ = [
    "ABSENT",
    "DEFAULT",
    "AsyncClient",
    "AsyncLease",
    "AsyncLock",
    "BadAnswer",
    "Busy",
    "Client",
    "ConnectionLost",
    "Entry",
    "Invalid",
    "KeyMissing",
    "Lease",
    "Lock",
    "LockHeld",
    "LockLost",
    "NotAllowed",
    "Observation",
    "PantlerError",
    "Refused",
    "SerializationError",
    "Serializer",
    "SourceFailed",
    "TimedOut",
    "Unavailable",
]
