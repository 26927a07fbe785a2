"""What whoever watches the calls is told of each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ._http import Answer, field


class Observation(NamedTuple):
    """One request and what came of it."""

    method: str
    target: str
    status: int
    """0 where no answer came."""
    cache_status: bytes | None
    """What the service says of hit or miss, its reason and the tier: the field ``Cache-Status``."""
    seconds: float
    error: BaseException | None


Observer = Callable[[Observation], None]


def observation(start: bytes, answer: Answer | None, seconds: float, error: BaseException | None) -> Observation:
    method, _, target = start.partition(b" ")
    return Observation(
        method.decode("ascii", "replace"),
        target.partition(b" ")[0].decode("ascii", "replace"),
        answer[0] if answer is not None else 0,
        field(answer[1], b"cache-status") if answer is not None else None,
        seconds,
        error,
    )
