"""From Django's keys, which may be anything, to the service's: 1 to 1,024 bytes of UTF-8 without NUL."""

from __future__ import annotations

import hashlib
import re

#: Between the readable start and the digest of a key that is too long, or has characters in it that the service does
#: not take.
MARK = "~sha256~"

# So much of such a key stays as it is, so that patterns and prefixes find it.
_START = 200

_UNTAKEN = re.compile("[\x00\ud800-\udfff]")


def name_of(key: str, taken: int = 0) -> str:
    """
    The service's key of a whole Django key (with prefix and version). `taken`: how many of the bytes that a key may
    have are spoken for.
    """
    # So few characters have at most 1,016 bytes. Neither NUL nor half a surrogate pair is printable.
    if key and len(key) <= 254 and key.isprintable() and MARK not in key:
        return key
    data = key.encode("utf-8", "surrogatepass")
    # A key that has the mark in it is hashed too: nobody is to choose one that stands for another's.
    if data and len(data) <= 1024 - taken and MARK not in key and not _UNTAKEN.search(key):
        return key
    start = key[:_START]
    untaken = _UNTAKEN.search(start)
    return f"{start[: untaken.start()] if untaken else start}{MARK}{hashlib.sha256(data).hexdigest()}"
