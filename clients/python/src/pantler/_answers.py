"""What the service says, read. What it does not say as Pantler does is a BadAnswer; what it refuses, a Refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ._http import field
from ._values import read_json
from .errors import BadAnswer, Busy, Invalid, NotAllowed, Refused, SerializationError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """An entry as it was when it was read. Plain data: safe to share between threads."""

    key: str
    #: The value; :data:`ABSENT` where it is a negative entry.
    value: Any
    #: The version that its last write gave it, for compare-and-set.
    version: int
    #: When it expires, in UTC, by the service's clock; None is never.
    expires_at: datetime | None
    tags: tuple[str, ...] = ()
    #: Whether its time is over, and it is handed out while somebody refreshes it.
    stale: bool = False
    #: Where it was found: ``memory``, ``disk`` or ``shared``; None where the service did not say.
    tier: str | None = None


@dataclass(frozen=True)
class Grant:
    """A lease as the service gave it: the right to fill a key."""

    key: str
    token: str
    #: Seconds that it was asked for; it ends then unless it is prolonged.
    ttl: float
    #: What may be handed out meanwhile.
    stale_entry: Entry | None = None
    #: Whether that is fresh still, and is only refreshed early.
    fresh: bool = False


@dataclass(frozen=True)
class Held:
    """Nobody gets a lease of the key now."""

    #: ``filling``: somebody else has it; ``failed``: its source has failed, and is left alone; ``crowded``: no room to wait.
    reason: str
    retry_after: float
    refusal: Refused


@dataclass(frozen=True)
class Unreadable:
    """There is an entry whose value the serializer does not read."""

    version: int
    error: SerializationError


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object that an answer is. Raises BadAnswer, as all do that read answers."""
    try:
        value = read_json(body)
    except SerializationError as error:
        raise BadAnswer(f"The answer is no JSON: {error}") from error
    if type(value) is not dict:
        raise BadAnswer(f"The answer is no JSON object, but {body[:80]!r}.")
    return value


def member_of(holder: dict[str, Any], name: str, kind: type[T]) -> T:
    """A member of an answer, which has to be of this very type."""
    value = holder.get(name)
    if type(value) is not kind:
        raise BadAnswer(f"The answer's member {name!r} should be of {kind.__name__}, and is {value!r:.80}.")
    return value


def member_or(holder: dict[str, Any], name: str, kind: type[T], default: T) -> T:
    return member_of(holder, name, kind) if name in holder else default


def version_of(head: bytes) -> int:
    """The version in an answer's entity tag."""
    _, found, rest = head.partition(b'\r\netag: "')
    digits = rest.partition(b'"')[0]
    if found and digits.isdigit() and len(digits) <= 20:
        return int(digits)
    tag = field(head, b"etag") or b""
    try:
        # A proxy that compresses makes tags weak.
        return int(tag.removeprefix(b"W/").strip(b'"'))
    except ValueError:
        raise BadAnswer(f"The answer has no version, but the entity tag {tag!r}.") from None


def moment_of(text: Any) -> datetime | None:
    """When an entry expires; None is never."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        raise BadAnswer(f"The answer's expiry is {text!r:.80}.") from None


def found_at(head: bytes) -> tuple[bool, str | None, int | None]:
    """Of an answer's Cache-Status: whether the entry is stale, its tier, and the whole seconds that it has left."""
    status = field(head, b"cache-status") or b""
    detail: str | None = None
    left: int | None = None
    # Caches on the way put their own members behind the service's.
    for part in status.partition(b",")[0].split(b";")[1:]:
        name, _, value = part.strip().partition(b"=")
        if name == b"detail":
            detail = value.decode("latin-1")
        elif name == b"ttl":
            try:
                left = int(value)
            except ValueError:
                pass
    stale = detail == "stale"
    return stale, None if stale or detail == "absent" else detail, left


def problem(status: int, head: bytes, body: bytes) -> dict[str, Any]:
    """The members of a problem (RFC 9457); of an answer that has none, its status alone. Never raises."""
    try:
        value = read_json(body)
    except SerializationError:
        value = None
    if type(value) is dict:
        return value
    return {"status": status, "detail": body[:200].decode("utf-8", "replace")}


def refusal(status: int, head: bytes, body: bytes) -> Refused:
    """The error that an answer stands for which is no result of its call."""
    said = problem(status, head, body)
    code, detail = said.get("code"), said.get("detail")
    retry_after = said.get("retry_after")
    if type(retry_after) not in (int, float):
        try:
            retry_after = float(field(head, b"retry-after") or b"")
        except ValueError:
            retry_after = None
    if retry_after is not None and not 0 <= retry_after < math.inf:
        retry_after = None
    kind: type[Refused] = Refused
    if status in (401, 403):
        kind = NotAllowed
    elif status in (429, 503):
        kind = Busy
    elif status in (400, 413, 414, 415, 422) or code in ("not_an_integer", "counter_overflow", "not_json"):
        kind = Invalid
    return kind(
        status,
        code if isinstance(code, str) else "",
        detail if isinstance(detail, str) else "",
        None if retry_after is None else float(retry_after),
    )
