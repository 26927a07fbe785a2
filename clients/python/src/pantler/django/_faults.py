"""What becomes of the errors that a site ignores: `IGNORE_EXCEPTIONS`."""

from __future__ import annotations

import logging
import threading
import time

from ..errors import PantlerError

logger = logging.getLogger("pantler.django")

#: Between two lines about ignored errors: a service that is away must not fill the disk with what a page asks of it.
SECONDS_BETWEEN_LINES = 1.0


class Faults:
    """
    Writes ignored errors to the log: the first at once, then at most a line a second, with the count of those in
    between. Safe for threads.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._next_line = 0.0
        self._unwritten = 0

    def ignored(self, call: str, error: PantlerError) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._next_line:
                self._unwritten += 1
                return
            self._next_line = now + SECONDS_BETWEEN_LINES
            unwritten, self._unwritten = self._unwritten, 0
        more = f" ({unwritten} more since the last line)" if unwritten else ""
        logger.error(
            "Ignored in %s of the cache at %s: %s: %s%s",
            call,
            self._where,
            type(error).__name__,
            error,
            more,
            exc_info=error,
        )
