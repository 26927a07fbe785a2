"""What callers give: times, tags and keys, judged before anything is sent. What is wrong is told by what is allowed."""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Collection, Iterable
from typing import Any, Final, Literal, TypeAlias

from .errors import Invalid


class Default(enum.Enum):
    """The type of :data:`DEFAULT`."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


class Absent(enum.Enum):
    """The type of :data:`ABSENT`."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


#: As a TTL: the namespace's own, ``default_ttl`` (for negative entries ``negative_ttl``).
DEFAULT: Final = Default.DEFAULT
#: In the place of a value: the source has nothing under the key. ``set(key, ABSENT)`` stores a negative entry.
ABSENT: Final = Absent.ABSENT
#: Seconds, with milliseconds as fractions; None never expires; DEFAULT is the namespace's.
TTL: TypeAlias = "float | None | Literal[Default.DEFAULT]"
#: The most tags that an entry has.
MOST_TAGS: Final = 64
#: The longest TTL that the service takes: 100 years. What is longer is as good as that.
LONGEST_TTL: Final = 3_153_600_000
#: The longest that the service lets a caller wait for a lease.
LONGEST_WAIT: Final = 30.0


def seconds(value: Any, name: str = "ttl") -> int | float:
    """A number of seconds, greater than 0. Raises TypeError or ValueError, which say what is allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds; this is {value!r}.")
    if not value > 0 or value == math.inf:
        raise ValueError(f"{name} is a finite number of seconds greater than 0; this is {value!r}.")
    if isinstance(value, int):
        return min(value, LONGEST_TTL)
    # The service counts milliseconds: nothing that was to live at all is to be refused for being shorter than one.
    return min(max(round(value, 3), 0.001), LONGEST_TTL)


def check_ttl(ttl: Any, allowed: str = "None (never expires) and DEFAULT (the namespace's own)") -> int | float | None:
    """A TTL other than DEFAULT. Raises TypeError or ValueError, which say what is allowed."""
    if type(ttl) is int and 0 < ttl <= LONGEST_TTL:
        return ttl
    try:
        return None if ttl is None else seconds(ttl)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} Allowed too: {allowed}.") from None


def stale_seconds(value: Any) -> int | float:
    return 0 if type(value) in (int, float) and value == 0 else seconds(value, "stale_ttl")


def lease_seconds(value: Any, name: str = "ttl") -> int | float:
    number = seconds(value, name)
    if not 0.1 <= number <= 300:
        raise ValueError(f"{name} of a lease is 0.1 to 300 seconds; this is {value!r}.")
    return number


def wait_seconds(value: Any, name: str = "wait") -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"{name} is a number of seconds, 0 or more; this is {value!r}.")
    return float(value)


def tag_list(tags: Iterable[str]) -> list[str]:
    if isinstance(tags, (str, bytes)):
        raise TypeError(f"tags is a sequence of str, not one: [{tags!r}].")
    try:
        listed = list(tags)
    except TypeError:
        raise TypeError(f"tags is a sequence of str; this is {tags!r}.") from None
    for tag in listed:
        if not isinstance(tag, str):
            raise TypeError(f"A tag is a str; this is {tag!r}.")
    return listed


def check_tags(tags: Collection[str]) -> None:
    """Tags of an entry. Raises Invalid as the service would, which in a batch says so of each key instead."""
    if len(tags) > MOST_TAGS:
        raise Invalid(422, "tags_invalid", f"There are {len(tags)} tags; an entry has at most {MOST_TAGS}.")
    for tag in tags:
        try:
            size = len(tag.encode())
        except UnicodeEncodeError:
            size = 0
        if not 1 <= size <= 255 or "\0" in tag:
            raise Invalid(422, "tags_invalid", f"A tag is 1 to 255 bytes of UTF-8 without NUL; this is {tag!r:.80}.")


def key_list(keys: Iterable[str]) -> list[str]:
    """The keys, each once. Raises TypeError for what is none."""
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"keys is a sequence of str, not one: [{keys!r}].")
    try:
        listed = list(dict.fromkeys(keys))
    except TypeError:
        raise TypeError(f"keys is a sequence of str; this is {keys!r:.80}.") from None
    for key in listed:
        if not isinstance(key, str):
            raise TypeError(f"A key is a str; this is {key!r}.")
    return listed


def short_key(key: str) -> str:
    """The key, or where it is longer than the service takes, its start and a hash of all of it."""
    if len(key) * 4 <= 1024:
        return key
    data = key.encode("utf-8", "surrogatepass")
    if len(data) <= 1024:
        return key
    return data[:900].decode(errors="ignore") + "#" + hashlib.sha256(data).hexdigest()


def whole_number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int; this is {value!r}.")
    return value
