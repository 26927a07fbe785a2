"""
Calls that Django's cache API has and the client has not, as the client's own are: generators of requests, which both
clients drive.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from .._answers import found_at, member_of, moment_of, object_of, refusal, version_of
from .._arguments import DEFAULT, LONGEST_TTL
from .._calls import Calls, Request, Steps, json_body, value_member, with_body
from .._http import Answer
from .._values import dump
from ..errors import Invalid, KeyMissing

_NO_BODY = b"\r\n"
_PATCH = "Content-Type: application/merge-patch+json\r\n"
_JSON = "Content-Type: application/json\r\n"

#: What a counter holds, and what may be added to it at once.
_LARGEST_COUNT = 2**53 - 1


def read(calls: Calls, name: str) -> Steps[tuple[dict[str, Any], bytes] | None]:
    """
    The entry's envelope and the answer's head; its value is not read. None where there is none, or it is stale or
    negative.
    """
    answer = yield Request(calls.target("GET", "entries", name, "peek"), _NO_BODY, True)
    status, head, body = answer
    if status == 404:
        return None
    if status != 200:
        raise refusal(*answer)
    if found_at(head)[0]:
        return None
    return object_of(body), head


def stale_version(calls: Calls, name: str) -> Steps[int | None]:
    """The version of an entry that is stale; None where there is none, or it is fresh."""
    answer = yield Request(calls.target("HEAD", "values", name, "peek"), _NO_BODY, True)
    if answer[0] == 200:
        return version_of(answer[1]) if found_at(answer[1])[0] else None
    if answer[0] == 404:
        return None
    raise refusal(*answer)


def delete_version(calls: Calls, name: str, version: int) -> Steps[None]:
    """Deletes the entry, if nobody has written since."""
    answer = yield Request(calls.target("DELETE", "entries", name), calls.of_version(version) + _NO_BODY, False)
    if answer[0] not in (204, 404, 412):
        raise refusal(*answer)


def incr(calls: Calls, name: str, delta: Any, initial: int | None = None, ttl: Any = DEFAULT) -> Steps[Any]:
    """
    The sum of the value and `delta`. Integers are counted by the service. Where the value is another, or the sum is too
    large for that, it is added here and put by compare-and-set, until nobody wrote in between. Keeps expiry and tags.
    Raises KeyMissing; what `+` raises goes on.
    """
    if type(delta) is int and -_LARGEST_COUNT <= delta <= _LARGEST_COUNT:
        try:
            return (yield from calls.incr(name, delta, initial, ttl))
        except Invalid as error:
            if error.code not in ("not_an_integer", "counter_overflow"):
                raise
    while True:
        found = yield from read(calls, name)
        if found is None:
            raise KeyMissing(name)
        said, _ = found
        value = said["value"] if "value" in said else calls.bytes_of(said)
        total = value + delta
        members = {member: said[member] for member in ("expires_at", "tags") if member in said}
        body = b"{" + value_member(*dump(total, calls.serializer)) + b"," + json_body(members)[1:]
        condition = f'If-Match: "{member_of(said, "version", int)}"\r\n'
        answer = yield Request(calls.target("PUT", "entries", name), with_body(_JSON + condition, body), False)
        if answer[0] in (200, 201):
            return total
        if answer[0] == 412 or (answer[0] == 422 and _is_over(said)):
            # Written or gone meanwhile: look again.
            continue
        raise refusal(*answer)


def move(calls: Calls, name: str, target: str) -> Steps[None]:
    """
    Puts the entry under another key, with its bytes, expiry and tags as they are, and deletes it under this one. Raises
    KeyMissing.
    """
    found = yield from read(calls, name)
    if found is None:
        raise KeyMissing(name)
    said, _ = found
    envelope = {
        member: said[member]
        for member in ("value", "value_base64", "content_type", "expires_at", "tags")
        if member in said
    }
    answer = yield Request(calls.target("PUT", "entries", target), with_body(_JSON, json_body(envelope)), False)
    if answer[0] not in (200, 201):
        if answer[0] == 422 and _is_over(said):
            raise KeyMissing(name)
        raise refusal(*answer)
    yield from calls.delete(name)


def _is_over(said: dict[str, Any]) -> bool:
    """
    Whether an entry that was read a moment ago has expired by now, so that its own expiry is refused as one that is
    past.
    """
    expires_at = moment_of(said.get("expires_at"))
    return expires_at is not None and expires_at.timestamp() <= time.time() + 1


def seconds_left(calls: Calls, name: str) -> Steps[float | None]:
    """
    Seconds until the entry expires, to the millisecond where the clocks agree; None where it never does. Raises
    KeyMissing.
    """
    found = yield from read(calls, name)
    if found is None:
        raise KeyMissing(name)
    said, head = found
    expires_at = moment_of(said.get("expires_at"))
    if expires_at is None:
        return None
    left = found_at(head)[2]
    by_clock = expires_at.timestamp() - time.time()
    if left is None or left - 0.5 <= by_clock <= left + 1.5:
        return max(by_clock, 0.0)
    return float(left)


def persist(calls: Calls, name: str) -> Steps[bool]:
    """Makes the entry never expire. False where there is none, or it never did."""
    found = yield from read(calls, name)
    if found is None or found[0].get("expires_at") is None:
        return False
    return (yield from calls.touch(name, None))


def expire_at(calls: Calls, name: str, moment: float) -> Steps[bool]:
    """The entry expires at that Unix time: at once, if it is past. False where there is none."""
    if moment > time.time() + LONGEST_TTL:
        return (yield from calls.touch(name, None))
    if moment > 0:
        text = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        answer: Answer = yield Request(
            calls.target("PATCH", "entries", name), with_body(_PATCH, json_body({"expires_at": text})), False
        )
        if answer[0] in (200, 404):
            return answer[0] == 200
        problem = refusal(*answer)
        if problem.code != "expires_at_invalid":
            raise problem
    return (yield from calls.delete(name))
