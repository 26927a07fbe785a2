"""Which of several addresses is asked, by a made-up clock."""

from __future__ import annotations

from pantler._address import Address
from pantler._failover import GRACE, LONG_GRACE, Standing, first_up, unreachable


def standings(count: int) -> list[Standing]:
    return [Standing(Address(f"h{index}", 80, None, False, b"h%d" % index)) for index in range(count)]


def test_the_first_one_is_asked_as_long_as_it_is_there() -> None:
    assert first_up(standings(3), 100.0) == (0, float("inf"))


def test_one_that_failed_is_passed_over_for_a_second() -> None:
    some = standings(3)
    some[0].failed(100.0, "refused")
    assert first_up(some, 100.0) == (1, 100.0 + GRACE)
    some[1].failed(100.5, "refused")
    assert first_up(some, 100.5) == (2, 100.0 + GRACE)
    assert first_up(some, 101.0) == (0, float("inf"))


def test_where_all_failed_the_next_look_is_when_the_first_may_be_there_again() -> None:
    some = standings(2)
    some[0].failed(100.0, "refused")
    some[1].failed(100.2, "timed out")
    assert first_up(some, 100.3) == (1, 101.0)
    assert unreachable(some) == "The service cannot be reached: http://h0: refused; http://h1: timed out."


def test_while_somebody_tries_one_that_was_down_the_others_go_on_passing_over_it() -> None:
    some = standings(2)
    some[0].failed(100.0, "refused")
    some[0].trying(101.0, 0.5)
    assert first_up(some, 101.1)[0] == 1
    some[0].reached()
    assert first_up(some, 101.2) == (0, float("inf"))


def test_timeouts_in_a_row_alone_are_counted() -> None:
    place = Standing(Address("a", 1, None, False, b"a"))
    assert not place.timed_out(100, 102, 0, "late") and not place.timed_out(101, 103, 0, "late")
    assert not place.timed_out(105, 107, 104, "late"), "one was answered in between"
    assert not place.timed_out(106, 108, 104, "late") and place.down_until == 0
    assert place.timed_out(107, 109, 104, "late") and place.down_until == 109 + LONG_GRACE
    assert not place.timed_out(1000, 1001, 0, "late") and not place.timed_out(1040, 1041, 0, "late")
    assert not place.timed_out(1080, 1081, 0, "late"), "they lie too far apart"


def test_who_tries_one_that_is_there_keeps_nobody_from_it() -> None:
    some = standings(2)
    some[0].trying(100.0, 0.5)
    assert first_up(some, 100.0) == (0, float("inf"))
