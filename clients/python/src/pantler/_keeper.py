"""Prolongs leases while their holders work: by a daemon thread for all of one service, which runs as long as there are any.

Those of another service have a thread of their own: one that does not answer holds up nobody else's.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable

from .errors import PantlerError


class Kept:
    """A lease that is prolonged until it is dropped. ``lost`` may be read from any thread."""

    __slots__ = ("prolong", "ttl", "ends", "dropped", "lost")

    def __init__(self, prolong: Callable[[], bool], ttl: float, now: float) -> None:
        self.prolong = prolong
        self.ttl = ttl
        #: When it runs out by this machine's clock unless it is prolonged.
        self.ends = now + ttl
        self.dropped = False
        self.lost = False

    def drop(self) -> None:
        """Prolong it no more. A prolonging that is under way goes on, and does no harm."""
        self.dropped = True

    def run(self, now: float) -> float | None:
        """Prolongs it; when to do so again, or None where that makes no sense any more."""
        try:
            if self.prolong():
                self.ends = now + self.ttl
                return now + self.ttl / 3
            self.lost = True
            return None
        except PantlerError:
            later = time.monotonic()
            if later < self.ends:
                return later + min(self.ttl / 10, self.ends - later)
            self.lost = True
            return None
        except Exception:
            # Anything else (an interpreter that ends, say) must not end the thread for the other leases.
            self.lost = True
            return None


IDLE = 30.0
"""A thread that had no lease for so long ends."""


class Keeper:
    """The leases of one service, and the thread that prolongs them."""

    def __init__(self) -> None:
        # Of a lock that its own thread may take again: a collection of garbage within may call what holds a lease.
        self._changed = threading.Condition(threading.RLock())
        self._heap: list[tuple[float, int, Kept]] = []
        self._numbers = itertools.count()
        self._wakes = float("inf")
        self._thread: threading.Thread | None = None

    def keep(self, prolong: Callable[[], bool], ttl: float) -> Kept:
        """Prolongs a lease, which ends ``ttl`` seconds from now, every third of that. ``prolong`` returns whether it is held still."""
        now = time.monotonic()
        kept = Kept(prolong, ttl, now)
        due = now + ttl / 3
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._numbers), kept))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="pantler-leases", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    # No more threads: the process ends, or has its fill. A lease that ends by its time is no harm.
                    self._thread = None
            elif due < self._wakes:
                self._changed.notify()
        return kept

    def _run(self) -> None:
        while True:
            with self._changed:
                while True:
                    while self._heap and self._heap[0][2].dropped:
                        heapq.heappop(self._heap)
                    now = time.monotonic()
                    if self._heap and self._heap[0][0] <= now:
                        break
                    self._wakes = self._heap[0][0] if self._heap else float("inf")
                    told = self._changed.wait(self._wakes - now if self._heap else IDLE)
                    self._wakes = float("-inf")
                    if not told and not self._heap:
                        self._thread = None
                        return
                _, number, kept = heapq.heappop(self._heap)
            again = kept.run(now)
            if again is not None and not kept.dropped:
                with self._changed:
                    heapq.heappush(self._heap, (again, number, kept))


_keepers: dict[object, Keeper] = {}


def keep(prolong: Callable[[], bool], ttl: float, service: object) -> Kept:
    """Prolongs a lease; see :meth:`Keeper.keep`. ``service`` is what tells the lease's service from others."""
    keeper = _keepers.get(service)
    if keeper is None:
        keeper = _keepers.setdefault(service, Keeper())
    return keeper.keep(prolong, ttl)


def _after_fork() -> None:
    # The threads are the parent's, as are the leases; their locks may be held for ever here.
    global _keepers
    _keepers = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
