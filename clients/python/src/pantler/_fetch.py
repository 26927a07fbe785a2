"""Cache-aside by lease, as a state machine without I/O: commands come out, what became of them goes in.

:func:`fetch` is a generator. It yields a :class:`~pantler._calls.Request` and is sent its answer, or is thrown what the exchange
raised; yields :class:`Load` and is sent the loader's value or :class:`Failed`; the other commands are sent None. What it returns is
the value to hand out, or a Failed whose error is to be raised. Both clients drive it, and tests do with answers that they make up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple, TypeAlias

from ._answers import Entry, Grant, Held, Unreadable
from ._arguments import (
    ABSENT,
    DEFAULT,
    LONGEST_WAIT,
    TTL,
    check_tags,
    check_ttl,
    lease_seconds,
    seconds,
    stale_seconds,
    tag_list,
    wait_seconds,
)
from ._calls import Calls, Request
from .errors import Busy, Invalid, PantlerError, SerializationError

log = logging.getLogger("pantler")

Tags: TypeAlias = "Iterable[str] | Callable[[Any], Iterable[str]]"


class SourceFailed(Busy):
    """The source of a key has failed, and is left alone for ``retry_after`` seconds: whoever loaded it said so. There is no stale value."""


class Load(NamedTuple):
    """Run the loader."""

    #: Whether this caller fills the key, so that the loader must not wait for the key itself.
    filling: bool


class Keep(NamedTuple):
    """Prolong the lease from now on."""

    grant: Grant


class Drop(NamedTuple):
    """Prolong the lease no more."""


class Release(NamedTuple):
    """Send this, come what may: also while the caller is being cancelled. What becomes of it is of no interest."""

    request: Request


class Pause(NamedTuple):
    seconds: float


class Failed(NamedTuple):
    """What the loader raised."""

    error: BaseException


Command: TypeAlias = "Request | Load | Keep | Drop | Release | Pause"
Fetching: TypeAlias = Generator[Command, Any, Any]

_DROP = Drop()


class Options(NamedTuple):
    """How a fetch is done; the keyword arguments of ``fetch``."""

    ttl: TTL = DEFAULT
    stale_ttl: float | None = None
    tags: Tags = ()
    negative_ttl: TTL = DEFAULT
    wait: float = 10.0
    lease_ttl: float = 10.0
    stale_if_error: bool = False
    retry_after: float | None = None


def checked(options: Options) -> Options:
    """The options, whose tags may be asked for again and again. Raises TypeError, ValueError or Invalid, before anything is sent or
    loaded: what cannot be is told with every call, not with misses alone."""
    ttl, stale_ttl, tags, negative_ttl, wait, lease_ttl, _, retry_after = options
    if ttl is not DEFAULT:
        check_ttl(ttl)
    if stale_ttl is not None:
        stale_seconds(stale_ttl)
    if negative_ttl is not DEFAULT and negative_ttl != 0:
        check_ttl(negative_ttl)
    wait_seconds(wait)
    if lease_ttl != 10:
        lease_seconds(lease_ttl, "lease_ttl")
    if retry_after is not None:
        seconds(retry_after, "retry_after")
    if tags == () or callable(tags):
        return options
    labels = tuple(tag_list(tags))
    check_tags(labels)
    return options._replace(tags=labels)


class Quiet:
    """A warning at most every ten seconds: a service that is away is met by every call."""

    def __init__(self) -> None:
        self._again = float("-inf")

    def __call__(self, text: str, *values: object) -> None:
        now = time.monotonic()
        if now >= self._again:
            self._again = now + 10
            log.warning(text, *values)


_warn_away = Quiet()
_warn_unreadable = Quiet()
_warn_not_stored = Quiet()


def fetch(
    calls: Calls, key: str, options: Options, filling: bool = False, clock: Callable[[], float] = time.monotonic
) -> Fetching:
    """The steps of one fetch. ``filling``: the caller fills this very key already, so it would wait for itself."""
    options = checked(options)
    if filling:
        return (yield Load(False))
    left = wait_seconds(options.wait)
    deadline = clock() + left
    while True:
        asked = clock()
        try:
            answer = yield calls.lease_request(key, options.lease_ttl, min(left, LONGEST_WAIT))
            value = calls.found(answer)
            if value is not ABSENT:
                return value
            outcome = calls.leased(key, options.lease_ttl, answer)
        except (Invalid, SerializationError):
            raise
        except PantlerError as error:
            _warn_away("Pantler did not help with %r, so it is loaded without: %s: %s", key, type(error).__name__, error)
            return (yield Load(False))
        if type(outcome) is Entry:
            return None if outcome.value is ABSENT else outcome.value
        if type(outcome) is Grant:
            return (yield from _fill(calls, outcome, options))
        if type(outcome) is Unreadable:
            return (yield from _replace(calls, key, outcome, options))
        assert type(outcome) is Held
        if outcome.reason == "failed":
            refused = outcome.refusal
            raise SourceFailed(refused.status, refused.code, refused.detail, refused.retry_after)
        now = clock()
        left = deadline - now
        if left <= 0.001:
            return (yield Load(False))
        if outcome.reason != "filling" or now - asked < 0.05:
            # No room to wait at the service, so the waiting is done here; and also where the answer came at once, without it.
            yield Pause(min(left, max(outcome.retry_after, 0.05), 1.0))
            left = max(deadline - clock(), 0.0)


def _request(calls: Calls, key: str, value: Any, options: Options, lease: str | None, condition: bytes = b"") -> Request | None:
    """What stores the value; None where that it is nothing is not to be remembered."""
    tags = options.tags
    labels = tag_list(tags(value) if callable(tags) else tags)
    if value is not None and value is not ABSENT:
        return calls.put_request(key, value, options.ttl, options.stale_ttl, labels, lease, condition)
    if options.negative_ttl == 0:
        return None
    return calls.put_request(key, ABSENT, options.negative_ttl, None, labels, lease, condition)


def _fill(calls: Calls, grant: Grant, options: Options) -> Fetching:
    yield Keep(grant)
    loaded = yield Load(True)
    yield _DROP
    error: BaseException
    if type(loaded) is Failed:
        error = loaded.error
        failed = isinstance(error, Exception)
        # Who was interrupted or cancelled says nothing about the source.
        yield Release(calls.release_request(grant, options.retry_after if failed else None))
        kept = grant.stale_entry
        if failed and kept is not None and (grant.fresh or options.stale_if_error):
            log.warning("Loading %r failed, so its %s value is handed out: %r", grant.key, "fresh" if grant.fresh else "stale", error)
            return None if kept.value is ABSENT else kept.value
        return loaded
    try:
        request = _request(calls, grant.key, loaded, options, grant.token)
    except Exception:
        # The value cannot be written, or its tags are none: the caller's mistake, who is to hear of it.
        yield Release(calls.release_request(grant, None))
        raise
    if request is None:
        yield Release(calls.release_request(grant, None))
        return None
    yield from _store(calls, grant, request)
    return None if loaded is ABSENT else loaded


def _store(calls: Calls, grant: Grant | None, request: Request) -> Generator[Command, Any, None]:
    """Puts what was loaded. The caller has the value, so that nothing which goes wrong here matters to it."""
    try:
        answer = yield request
    except PantlerError as error:
        _warn_not_stored("A loaded value was not stored: %s: %s", type(error).__name__, error)
        return
    except GeneratorExit:
        raise
    except BaseException:
        if grant is not None:
            yield Release(calls.release_request(grant, None))
        raise
    # 412: written, deleted or invalidated meanwhile. What was loaded before that must not land after it.
    if answer[0] not in (200, 201, 412):
        _warn_not_stored("A loaded value was not stored: %s %s", answer[0], answer[2][:300].decode("utf-8", "replace"))
        if grant is not None:
            # Refused for another reason the lease is as it was: let others know that nothing comes.
            yield Release(calls.release_request(grant, None))


def _replace(calls: Calls, key: str, found: Unreadable, options: Options) -> Fetching:
    """An entry that cannot be read is in the way until it expires: it is loaded anew and replaced, if it is that one still."""
    _warn_unreadable("The entry %r cannot be read, so it is loaded anew: %s", key, found.error)
    loaded = yield Load(False)
    if type(loaded) is not Failed:
        request = _request(calls, key, loaded, options, None, calls.of_version(found.version))
        if request is not None:
            yield from _store(calls, None, request)
        return None if loaded is ABSENT else loaded
    return loaded
