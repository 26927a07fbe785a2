"""What can go wrong, as exceptions. All are :class:`PantlerError`.

The two questions that a caller has are answered by the class: may the change have been applied (only after
:class:`ConnectionLost`, :class:`TimedOut` and :class:`BadAnswer`), and is it worth asking again later
(:class:`Unavailable`, :class:`ConnectionLost`, :class:`TimedOut`, :class:`Busy`).
"""

from __future__ import annotations

__all__ = [
    "PantlerError",
    "Unavailable",
    "ConnectionLost",
    "TimedOut",
    "BadAnswer",
    "Refused",
    "NotAllowed",
    "Busy",
    "Invalid",
    "KeyMissing",
    "SerializationError",
]


class PantlerError(Exception):
    """What all errors of this package have in common."""


class Unavailable(PantlerError, ConnectionError):
    """The service could not be reached at any address. Nothing was sent, so nothing can have been applied."""


class ConnectionLost(PantlerError, ConnectionError):
    """The connection ended before the whole answer was there: a change may have been applied, or not."""


class TimedOut(PantlerError, TimeoutError):
    """The answer was not there in time: a change may have been applied, or not."""


class BadAnswer(PantlerError):
    """What came is no answer as Pantler gives them, or is the answer to another request.

    A change may have been applied, or not. The connection has been closed.
    """


class Refused(PantlerError):
    """The service answered that it does not do this. Nothing was changed.

    ``status`` is the HTTP status, ``code`` the stable word of the problem (``namespace_not_found``, say), ``detail`` a
    sentence for people, and ``retry_after`` the seconds after which the service asks to be asked again, or None.
    """

    def __init__(self, status: int, code: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(status, code, detail, retry_after)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after

    def __str__(self) -> str:
        said = self.detail or "The answer gives no reason"
        return f"{said} ({self.status} {self.code})" if self.code else f"{said} ({self.status})"


class NotAllowed(Refused):
    """401 or 403: no token, one that is worth nothing, or one that does not allow this."""


class Busy(Refused):
    """429 or 503: too many requests of this token, or the service has no room at the moment."""


class Invalid(Refused, ValueError):
    """400, 413, 422 and the like: the request itself is wrong. Asking again changes nothing."""


class KeyMissing(PantlerError, KeyError):
    """There is no entry under a key that has to have one: ``incr`` without ``initial``."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which is a whole sentence here.
        return Exception.__str__(self)


class SerializationError(PantlerError, ValueError, TypeError):
    """A value cannot be written so that the same comes back, or what is stored cannot be read."""
