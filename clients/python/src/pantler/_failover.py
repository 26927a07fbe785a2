"""Which of several addresses is asked. Nothing of sockets or clocks is in here: the time is told."""

from __future__ import annotations

from collections.abc import Sequence

from ._address import Address

GRACE = 1.0
"""For so many seconds an address that could not be reached is passed over."""


TIMEOUTS = 3
"""After so many requests in a row that were not answered in time an address is passed over ..."""

LONG_GRACE = 5.0
"""... for so many seconds: each look at whether it answers again costs a timeout."""


class Standing:
    """An address, and how things stand with it."""

    __slots__ = ("address", "down_until", "why", "timeouts")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.down_until = 0.0
        """Nobody asks it before; 0 where it was reached when it was last tried."""
        self.why = ""
        self.timeouts: list[float] = []
        """When the last requests were begun that were not answered in time."""

    def timed_out(self, began: float, now: float, answered: float, why: str) -> bool:
        """A request that began then was not answered in time; whether the address is passed over for that. ``answered``:
        when the last one was begun that was."""
        since = max(answered, began - 30.0)
        self.timeouts = [*(moment for moment in self.timeouts if moment > since), began]
        if len(self.timeouts) < TIMEOUTS:
            return False
        self.timeouts = []
        self.down_until = now + LONG_GRACE
        self.why = why
        return True

    def failed(self, now: float, why: str) -> None:
        self.down_until = now + GRACE
        self.why = why

    def trying(self, now: float, budget: float) -> None:
        """Somebody tries to reach it. Where it was down, the others go on passing over it meanwhile."""
        if self.down_until:
            self.down_until = now + budget + GRACE

    def reached(self) -> None:
        self.down_until = 0.0
        self.why = ""


def first_up(standings: Sequence[Standing], now: float) -> tuple[int, float]:
    """The index of the first address that is not passed over (the last one's where all are), and until when."""
    until = float("inf")
    for index, standing in enumerate(standings):
        if standing.down_until <= now:
            return index, until
        until = min(until, standing.down_until)
    return len(standings) - 1, until


def unreachable(standings: Sequence[Standing]) -> str:
    """One sentence about addresses none of which can be reached."""
    whys = "; ".join(f"{standing.address}: {standing.why or 'not tried yet'}" for standing in standings)
    return f"The service cannot be reached: {whys}."
