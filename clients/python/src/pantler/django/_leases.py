"""The leases that a request holds: what makes an expired page be rendered once with Django's own decorators and tags.

Those get a key, find nothing, compute and set, and know of nothing but get and set. So a get that misses takes a lease,
which is remembered in the context (`contextvars`) of whoever asked; the set of that key ends it; and what is left when
the request ends is given up by `close()`, which Django calls then. asgiref carries contexts between a request's threads
and tasks, so it does not matter on which of them the set comes.

Contexts are copied, never shared, so what a task took that was cancelled is not seen where its request ends. Under ASGI
all of a request's tasks and threads have one ThreadSensitiveContext in common, by which `end_of_request` finds such
leases. Elsewhere (a thread that has ended, a task of a queue) a lease that nobody refers to any more is given up by
itself, by a thread that starts with the process's first lease. A view that streams will not fill its page, and its
request may last for hours: `_notice_streams` ends its leases earlier.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from asgiref.sync import SyncToAsync
from django.core.signals import request_finished
from django.http import StreamingHttpResponse

from .._answers import Grant
from .._keeper import keep
from ..errors import PantlerError

if TYPE_CHECKING:
    from ._serializers import Dumped
    from ._service import Service

logger = logging.getLogger("pantler.django")

#: How many times its length a lease is kept for one who is at work. One who takes longer may hang, and others are let
#: in.
LONGEST_IN_LENGTHS = 10

#: Who leaves a key unfilled (a page that cannot be kept, a view that raised) makes the service give no lease of it so
#: long, so that those who wait go on side by side instead of one after the other. The service doubles it with each
#: failure in a row, up to a minute; a write ends the row.
SECONDS_ALONE = 1.0


class Kept(NamedTuple):
    """A set that waits for another."""

    value: Dumped
    #: TTL, stale TTL and tags.
    arguments: tuple[float | None, float | None, tuple[str, ...]]


class Held:
    """A lease in the hands of a request. Its state is shared by all copies of the context, so that it is ended once."""

    __slots__ = ("service", "grant", "is_page", "thread", "process", "prolonging", "kept", "_open", "__weakref__")

    def __init__(self, service: Service, grant: Grant, is_page: bool) -> None:
        self.service = service
        self.grant = grant
        #: Whether it is for a whole answer: a page, or the list of its headers.
        self.is_page = is_page
        self.thread = threading.get_ident()
        self.process = os.getpid()
        self.prolonging = keep(_prolonging(weakref.ref(self), service, grant), grant.ttl, service.addresses)
        #: The list of a page's headers, which Django sets before the page, and which would wake those who wait too
        #: early.
        self.kept: Kept | None = None
        self._open = [True]

    def end(self) -> bool:
        """
        Whether it is this caller who ends it: once for all contexts, threads and tasks; never in a process that was
        forked off the holder's.
        """
        if self.process != os.getpid():
            return False
        try:
            # Popping is atomic, so two who end it at once do not both.
            self._open.pop()
        except IndexError:
            return False
        self.prolonging.drop()
        return True

    @property
    def is_open(self) -> bool:
        return bool(self._open) and self.process == os.getpid()

    def __del__(self) -> None:
        if self.end():
            _orphans.give_up(self.service, self.grant)


Key = tuple[int, str]

_held: ContextVar[Mapping[Key, Held]] = ContextVar("pantler.django.leases", default={})


#: The leases that this context holds. Not to be changed: contexts share it.
of_context = _held.get


def add(service: Service, key: str, grant: Grant, is_page: bool) -> None:
    held = Held(service, grant, is_page)
    service.held_here[key] = held
    request = _request()
    if request is not None:
        _of_requests.setdefault(request, []).append(held)
    _held.set({**_held.get(), (service.number, key): held})
    _orphans.start()


def take(service: Service, key: str) -> Held | None:
    """Takes a lease out of the context, where it holds one of this key that is not ended yet."""
    mapping = _held.get()
    held = mapping.get((service.number, key))
    if held is None:
        return None
    _held.set({one: other for one, other in mapping.items() if other is not held})
    return held if held.is_open else None


def put_back(held: Held) -> None:
    """Undoes a take."""
    _held.set({**_held.get(), (held.service.number, held.grant.key): held})


def kept(service: Service) -> list[Held]:
    """Those leases of a service in the context whose set waits for another."""
    return [held for held in _held.get().values() if held.kept is not None and held.service is service]


def take_all(service: Service) -> list[Held]:
    """Takes all leases of a service out of the context: those that are not ended yet."""
    mapping = _held.get()
    ours = [held for held in mapping.values() if held.service is service]
    if ours:
        _held.set({one: held for one, held in mapping.items() if held.service is not service})
    return [held for held in ours if held.is_open]


#: What a request under ASGI took, for as long as it runs.
_of_requests: weakref.WeakKeyDictionary[Any, list[Held]] = weakref.WeakKeyDictionary()


def _request() -> Any:
    return SyncToAsync.thread_sensitive_context.get(None)


def end_of_request(**kwargs: Any) -> None:
    """
    Gives up what a request under ASGI holds still, after Django's own call of `close()`: what its cancelled task has
    taken.
    """
    request = _request()
    if request is not None:
        for held in _of_requests.pop(request, ()):
            if held.end():
                _give_up(held.service, held.grant)


request_finished.connect(end_of_request, dispatch_uid="pantler.django.leases")


def _notice_streams() -> None:
    """
    Gives up a request's leases of pages when an answer is made that streams. Django's middleware leaves such an answer
    alone without a word to the cache, and the request ends with the stream: an event source, or a large download, whose
    other visitors would wait for a page that never comes. That the answer is made is the only sign of it that there is.
    """
    djangos = StreamingHttpResponse.__init__

    @wraps(djangos)
    def initialize(self: StreamingHttpResponse, *args: Any, **kwargs: Any) -> None:
        djangos(self, *args, **kwargs)
        for held in list(_held.get().values()):
            if held.is_page and held.end():
                # By the thread, since this may be an event loop.
                _orphans.give_up(held.service, held.grant)

    StreamingHttpResponse.__init__ = initialize  # type: ignore[method-assign]


_notice_streams()


def _prolonging(reference: weakref.ref[Held], service: Service, grant: Grant) -> Callable[[], bool]:
    last = time.monotonic() + LONGEST_IN_LENGTHS * grant.ttl

    def prolong() -> bool:
        held = reference()
        return held is not None and held.is_open and time.monotonic() < last and service.prolong(grant)

    return prolong


class _Orphans:
    """The thread that gives up leases which nobody refers to any more. It does not keep a process from ending."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        # Its put may be called anywhere: in a finalizer, which may run in the midst of another put.
        self._queue: SimpleQueue[tuple[Service, Grant]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=_give_up_each, args=(self._queue,), name="pantler-orphans", daemon=True
                    )
                    try:
                        self._thread.start()
                    except RuntimeError:
                        # No more threads: the process ends, or has its fill. Leases end by their time.
                        self._thread = None

    def give_up(self, service: Service, grant: Grant) -> None:
        self._queue.put((service, grant))


def _give_up_each(queue: SimpleQueue[tuple[Service, Grant]]) -> None:
    while True:
        _give_up(*queue.get())


def _give_up(service: Service, grant: Grant) -> None:
    try:
        service.release(grant, SECONDS_ALONE)
    except PantlerError as error:
        # It ends by itself.
        logger.debug("The lease of %r is not given up: %s", grant.key, error)
    except Exception:
        logger.exception("The lease of %r is not given up", grant.key)


_orphans = _Orphans()
