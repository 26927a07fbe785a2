"""How a key goes out: so that neither a library nor a proxy on the way folds it into another."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote

from .errors import Invalid

View = Literal["entries", "values", "counters", "leases"]

MAX_BYTES = 1024
"""A key is 1 to so many bytes of UTF-8, without NUL."""

# What means nothing in a path anywhere. A dot at the beginning is not among it: `.` and `..` are folded away.
_is_plain = re.compile(r"[A-Za-z0-9_:@~-][A-Za-z0-9_:@~.-]{0,1023}\Z").match

_SINGULAR = {"entries": "entry", "values": "value", "counters": "counter", "leases": "lease"}


def path(prefix: str | bytes, view: View, key: str) -> str:
    """The target of a request for a key: ``{prefix}/values/KEY``, or ``{prefix}/value?key=…`` for a key that has any
    character in it which libraries and proxies treat in ways of their own (``/``, ``%``, ``+``, ``..``, a space).

    ``prefix`` is the path of the namespace, ``/v1/namespaces/NAME``. Raises TypeError for a key that is no string, and
    Invalid for one that is empty, longer than 1,024 bytes of UTF-8, or has NUL or half a surrogate pair in it.
    """
    if prefix.__class__ is not str:
        prefix = prefix.decode("ascii") if isinstance(prefix, bytes) else str(prefix)
    try:
        if _is_plain(key):
            return f"{prefix}/{view}/{key}"
    except TypeError:
        raise TypeError(f"A key is a string, not {type(key).__name__}.") from None
    return f"{prefix}/{_SINGULAR[view]}?key={quote(checked(key), safe='')}"


def checked(key: str) -> bytes:
    """The UTF-8 of a key. Raises as :func:`path` does."""
    if not isinstance(key, str):
        raise TypeError(f"A key is a string, not {type(key).__name__}.")
    try:
        data = key.encode("utf-8")
    except UnicodeEncodeError:
        raise _invalid("it holds half a surrogate pair") from None
    if not 1 <= len(data) <= MAX_BYTES:
        raise _invalid(f"it has {len(data)} bytes")
    if 0 in data:
        raise _invalid("it holds NUL")
    return data


def _invalid(why: str) -> Invalid:
    allowed = f"A key is 1 to {MAX_BYTES} bytes of UTF-8 without NUL."
    return Invalid(400, "key_invalid", f"The key is out of form: {why}. {allowed}")
