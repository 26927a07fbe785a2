"""A cache's settings, read once: LOCATION and OPTIONS."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .._arguments import LONGEST_WAIT, lease_seconds, seconds, tag_list
from .._values import Serializer
from ._serializers import serializer_of

#: The keys of Django's page decorators, middleware and `{% cache %}`, as they are before KEY_PREFIX and version.
PAGES_AND_FRAGMENTS = ("views.decorators.cache.", "template.cache.")

# What other backends are told of their bounds, and MigratingCache of the cache before it. Pantler's bounds are the
# namespace's; a site that moves in may leave these where they are, and one that has moved changes BACKEND alone.
_OF_OTHER_BACKENDS = {"MAX_ENTRIES", "CULL_FREQUENCY", "OLD", "FILL_TIMEOUT", "WRITE_OLD"}


@dataclass(frozen=True)
class Options:
    """OPTIONS of a cache in Django's CACHES. Each is the field's name in capitals."""

    #: The token that calls carry; without it PANTLER_TOKEN of the environment.
    token: str | None = None
    #: A file of certificates (PEM) to trust instead of the system's.
    ca_file: str | None = None
    #: A file with certificate and key (PEM), or both files' names.
    client_certificate: Any = None
    #: The namespace, where LOCATION names none; `default` where neither does.
    namespace: str | None = None
    #: Seconds that a call may take in all.
    timeout: float = 2.0
    #: Seconds that connecting may take.
    connect_timeout: float = 0.5
    #: How many idle connections a process keeps.
    max_idle: int = 64
    #: Whether a service that is away, slow or refuses is logged and taken for an empty cache, instead of raising.
    ignore_exceptions: bool = False
    #: How values become bytes: `auto`, `json`, `pickle`, `msgpack`, or one of your own.
    serializer: Serializer = field(default_factory=lambda: serializer_of("auto"))
    #: Tags of every entry that this cache writes.
    tags: tuple[str, ...] = ()
    #: Seconds past its timeout for which an entry may be served while one caller makes it anew.
    stale_ttl: float | None = None
    #: The beginnings of keys (before KEY_PREFIX and version) that are got by lease: one caller makes what is missing,
    #: the others wait. Empty: none.
    leases: tuple[str, ...] = PAGES_AND_FRAGMENTS
    #: Seconds after which a lease ends whose holder has died. One that is at work keeps it, up to ten times as long.
    lease_ttl: float = 10.0
    #: Seconds that others wait for the holder of a lease before they make the value themselves.
    lease_wait: float = 10.0


_KNOWN = {one.name.upper(): one.name for one in fields(Options)}


def read(options: Mapping[str, Any] | None) -> Options:
    """The options of a cache. Raises ImproperlyConfigured, with what is allowed, for anything that is none."""
    values: dict[str, Any] = {}
    for name, value in (options or {}).items():
        known = _KNOWN.get(name)
        if known is not None:
            values[known] = _checked(name, value)
        elif name not in _OF_OTHER_BACKENDS:
            close = difflib.get_close_matches(str(name).upper(), _KNOWN, 1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise ImproperlyConfigured(
                f"PantlerCache has no option {name!r}{meant}. Its OPTIONS are: {', '.join(sorted(_KNOWN))}."
            )
    return Options(**values)


def _checked(name: str, value: Any) -> Any:
    try:
        if name in ("TIMEOUT", "CONNECT_TIMEOUT"):
            return float(seconds(value, name))
        if name == "LEASE_TTL":
            return float(lease_seconds(value, name))
        if name == "LEASE_WAIT":
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_WAIT:
                raise ValueError(f"{name} is 0 to {LONGEST_WAIT:g} seconds; this is {value!r}.")
            return float(value)
        if name == "STALE_TTL":
            return None if value is None or (type(value) in (int, float) and value == 0) else seconds(value, name)
        if name == "MAX_IDLE":
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} is a number of connections, 0 or more; this is {value!r}.")
            return value
        if name == "IGNORE_EXCEPTIONS":
            if not isinstance(value, bool):
                raise ValueError(f"{name} is True or False; this is {value!r}.")
            return value
        if name == "SERIALIZER":
            return serializer_of(value)
        if name in ("TAGS", "LEASES"):
            return tuple(_texts(name, value))
        if name in ("TOKEN", "NAMESPACE", "CA_FILE"):
            # A pathlib.Path is what BASE_DIR / "ca.pem" gives.
            if name == "CA_FILE" and value is not None:
                value = str(value)
            if value is not None and (not isinstance(value, str) or not value):
                raise ValueError(f"{name} is a text, or None; this is {value!r}.")
        return value
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"OPTIONS of PantlerCache: {error}") from error


def _texts(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise ValueError(f"{name} is a list of str; this is {value!r}.")
    listed = tag_list(value)
    if not all(listed):
        raise ValueError(f"{name} has an empty one in it: {value!r}.")
    return listed
