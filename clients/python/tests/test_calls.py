"""The calls without a service: what goes out, and what answers mean, also those that no honest service gives."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pantler import ABSENT, DEFAULT, BadAnswer, Busy, Invalid, NotAllowed, PantlerError, Refused, SerializationError
from pantler._answers import Entry, Grant, refusal
from pantler._arguments import short_key
from pantler._calls import BATCH_BYTES, Calls, Request, Steps, giving_up
from pantler._values import serializer_of

CALLS = Calls("shop", serializer_of("json"))
PICKLES = Calls("shop", serializer_of("auto"))
GRANT = Grant("k", "Ab3dEfGh5jKlMn7pQrStVw", 10.0)
Answer = tuple[int, bytes, bytes]


def as_head(lines: bytes) -> bytes:
    """A head as the pools give it: with the status line, and without the end of the last one."""
    return b"HTTP/1.1 200 Whatever\r\n" + lines.removesuffix(b"\r\n")


def drive(steps: Steps[Any], *answers: Answer | Callable[[Request], Answer]) -> Any:
    """The call's result, given these answers; the last one is given again and again."""
    remaining = list(answers)
    try:
        request = next(steps)
        for _ in range(10_000):
            answer = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            status, head, body = answer(request) if callable(answer) else answer
            request = steps.send((status, as_head(head), body))
    except StopIteration as done:
        return done.value
    raise AssertionError("it asks for ever")


def body_of(request: Request) -> Any:
    return json.loads(request.rest.partition(b"\r\n\r\n")[2])


def ok(value: Any, head: bytes = b"content-type: application/json\r\n") -> Answer:
    return 200, head, json.dumps(value).encode()


def framed(said: dict[str, Any], data: bytes) -> Answer:
    text = json.dumps(said).encode()
    return 200, b"content-type: application/vnd.pantler.batch\r\n", b"%d\n%b%b" % (len(text), text, data)


# --- requests


def test_a_request_says_what_it_is() -> None:
    request = CALLS.put_request("k", {"a": 1}, 60, 30, ["t"], "Ab3dEfGh5jKlMn7pQrStVw")
    assert request.start == b"PUT /v1/namespaces/shop/entries/k HTTP/1.1\r\n"
    head, _, body = request.rest.partition(b"\r\n\r\n")
    assert head == b"Lease: Ab3dEfGh5jKlMn7pQrStVw\r\nContent-Type: application/json\r\nContent-Length: %d" % len(body)
    assert body == b'{"value":{"a":1},"ttl":60,"stale_ttl":30,"tags":["t"]}'
    assert not request.safe


def test_many_bytes_go_as_they_are_and_few_in_an_envelope() -> None:
    few, many = CALLS.put_request("k", b"x", 1.5, None, ["a"]), CALLS.put_request("k", b"x" * 5000, 1.5, 2, ["a", "b"])
    assert body_of(few) == {"value_base64": "eA==", "content_type": "application/octet-stream", "ttl": 1.5, "tags": ["a"]}
    assert many.start == b"PUT /v1/namespaces/shop/values/k?ttl=1.5&stale_ttl=2 HTTP/1.1\r\n"
    assert many.rest.endswith(b"Cache-Tag: a,b\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
    assert CALLS.put_request("a b", b"x" * 5000, 3).start == b"PUT /v1/namespaces/shop/value?key=a%20b&ttl=3 HTTP/1.1\r\n"
    # What a query or a field cannot say, goes in an envelope: never, and odd tags.
    for request in (CALLS.put_request("k", b"x" * 5000, None), CALLS.put_request("k", b"x" * 5000, 1, None, ["a,b"]), CALLS.put_request("k", b"x" * 5000, 1, None, ["ü"])):
        assert body_of(request)["value_base64"] == base64.b64encode(b"x" * 5000).decode()


@pytest.mark.parametrize("media_type", ["", "text", "text/", "a/b\r\nX: y", "a/b; ü", "x/" + "y" * 300, b"a/b", None, "a/b\n"])
@pytest.mark.parametrize("size", [1, 5000])
def test_a_media_type_that_is_none_goes_nowhere(media_type: Any, size: int) -> None:
    class Odd:
        def dumps(self, value: Any) -> tuple[bytes, str]:
            return b"x" * size, media_type

        def loads(self, data: bytes, media_type: str) -> Any:
            return data

    calls = Calls("shop", Odd())
    with pytest.raises(SerializationError, match="which is none"):
        calls.put_request("k", object(), DEFAULT)
    with pytest.raises(SerializationError, match="which is none"):
        next(calls.set_many({"k": object()}, DEFAULT, None, ()))


@pytest.mark.parametrize("text", ["a\r\nX: y", "a\nb", "\r\n\r\nGET / HTTP/1.1"])
def test_nothing_of_the_callers_becomes_a_field_line(text: str) -> None:
    calls: list[Callable[[], Request]] = [
        lambda: CALLS.put_request(text, 1, 60), lambda: CALLS.put_request("k", b"x" * 5000, 60, None, [text]), lambda: next(CALLS.delete(text)), lambda: next(CALLS.page_of_keys(text, text)),
        lambda: next(CALLS.lease(text, 10, 1)), lambda: next(CALLS.is_leased(text)), lambda: next(CALLS.get_many([text])), lambda: next(CALLS.touch(text, 1)), lambda: Request(CALLS.get_start(text), b"\r\n", True),
    ]  # fmt: skip
    for call in calls:
        request = call()
        assert request.start.count(b"\r\n") == 1 and request.start.endswith(b" HTTP/1.1\r\n") and request.start.count(b" ") == 2
        assert b"\r\nX: y" not in request.rest.partition(b"\r\n\r\n")[0]


def test_long_keys_are_shortened_alike() -> None:
    assert short_key("k" * 1024) == "k" * 1024 and short_key("é" * 512) == "é" * 512
    for long in ("k" * 1025, "é" * 513, "😀" * 400):
        assert len(short_key(long).encode()) <= 1024 and short_key(long) != short_key(long + "x")
        assert short_key(long).startswith(long[:200])


# --- batches


def test_a_framed_batch_is_read() -> None:
    import pickle

    pickled = pickle.dumps((1, 2))
    said = {
        "values": {"a": {"value_base64": "AAAA", "content_type": "x/y"}, "b": None},
        "bytes": {"c": {"content_type": "application/octet-stream", "length": 3}, "d": {"content_type": "application/x-python-pickle", "length": len(pickled)}, "e": {"content_type": "text/plain", "length": 0}},
        "missing": ["f"],
    }  # fmt: skip
    answer = framed(said, b"\n\x00\xff" + pickled)
    assert drive(PICKLES.get_many("abcdef"[i] for i in range(6)), answer) == {**said["values"], "c": b"\n\x00\xff", "d": (1, 2), "e": ""}
    with pytest.raises(SerializationError, match="It is a pickle"):
        drive(CALLS.get_many(["d"]), answer)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"5", b"x\n{}", b"-1\n{}", b"99\n{}", b"2\n[]", b"2\n{}", b'13\n{"values":{}}x', b'13\n{"values": 1}', b"9" * 30 + b"\n", b'\n{"values":{}}', b"1e1\n{}",
        *(b"%d\n%b%b" % (len(text), text, b"abc") for text in (
            b'{"values":{},"bytes":{"k":{"content_type":"text/plain","length":4}}}', b'{"values":{},"bytes":{"k":{"content_type":"text/plain","length":2}}}', b'{"values":{},"bytes":{"k":{"content_type":5,"length":3}}}',
            b'{"values":{},"bytes":{"k":{"content_type":"text/plain","length":-1}}}', b'{"values":{},"bytes":{"k":{"content_type":"text/plain","length":"3"}}}', b'{"values":{},"bytes":{"k":{"length":3}}}', b'{"values":{},"bytes":{"k":3}}',
            b'{"values":{},"bytes":[]}', b'{"values":{},"bytes":{"k":{"content_type":"text/plain","length":3.0}}}', b'{"values":{},"bytes":{"k":{"content_type":"text/plain","length":9,"x":1},"l":{"content_type":"text/plain","length":-6}}}',
        )),
    ],
)  # fmt: skip
def test_a_framed_batch_that_is_none_is_told(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        drive(CALLS.get_many(["k"]), (200, b"content-type: application/vnd.pantler.batch\r\n", body))


def test_what_was_omitted_is_asked_for_again() -> None:
    asked: list[list[str]] = []

    def three_at_a_time(request: Request) -> Answer:
        keys = body_of(request)["keys"]
        asked.append(keys)
        return ok({"values": {key: key for key in keys[:3]}, "missing": [], **({"omitted": keys[3:]} if keys[3:] else {})})

    assert drive(CALLS.get_many(list("abcdefgh")), three_at_a_time) == {key: key for key in "abcdefgh"}
    assert asked == [list("abcdefgh"), list("defgh"), list("gh")]


def test_a_value_that_fits_into_no_batch_comes_by_itself() -> None:
    def none_at_all(request: Request) -> Answer:
        if request.start.startswith(b"GET"):
            return 200, b"content-type: text/plain\r\n", request.start.split(b" ")[1][-1:]
        return ok({"values": {}, "missing": [], "omitted": body_of(request)["keys"]})

    found = drive(CALLS.get_many(list("abc")), none_at_all)
    assert found.keys() == set("abc")


def test_batches_are_cut_by_number_and_by_size() -> None:
    sizes: list[tuple[int, int]] = []

    def take(request: Request) -> Answer:
        entries = body_of(request)["entries"]
        sizes.append((len(entries), len(request.rest)))
        return ok({"entries": [], "errors": []})

    large = "x" * (3 << 20)
    assert drive(CALLS.set_many({f"k{number}": large if number < 5 else 1 for number in range(2600)}, 60, None, ()), take) == []
    assert sum(number for number, _ in sizes) == 2600
    assert all(number <= 1000 and size < BATCH_BYTES + 1000 for number, size in sizes)
    # One that is larger than a batch goes alone.
    sizes.clear()
    drive(CALLS.set_many({"a": 1, "b": "x" * (BATCH_BYTES + 1), "c": 2}, 60, None, ()), take)
    assert [number for number, _ in sizes] == [1, 1, 1]


def test_a_batch_that_is_refused_for_its_size_is_cut_in_halves() -> None:
    order: list[str] = []

    def small(request: Request) -> Answer:
        entries = body_of(request)["entries"]
        if len(entries) > 3 or any(entry["value"] == "large" for entry in entries):
            return 413, b"", b'{"code":"body_too_large"}'
        order.extend(entry["key"] for entry in entries)
        return ok({"entries": [], "errors": [{"key": entry["key"], "code": "x", "detail": ""} for entry in entries if entry["value"] == "bad"]})

    values = {f"k{number}": "bad" if number == 2 else "large" if number == 5 else number for number in range(10)}
    assert drive(CALLS.set_many(values, 60, None, ()), small) == ["k2", "k5"]
    assert order == [key for key in values if key != "k5"]


def test_keys_that_are_refused_for_their_size_are_cut_in_halves_too() -> None:
    asked: list[str] = []

    def small(request: Request) -> Answer:
        keys = body_of(request)["keys"]
        if len(keys) > 3:
            return 413, b"", b'{"code":"body_too_large"}'
        asked.extend(keys)
        return ok({"values": {key: 1 for key in keys}, "missing": []} if b"batch/get" in request.start else {"deleted": len(keys)})

    keys = [f"k{number}" for number in range(1100)]
    assert drive(CALLS.get_many(keys), small) == dict.fromkeys(keys, 1)
    assert asked == keys
    asked.clear()
    assert drive(CALLS.delete_many(keys), small) == 1100
    assert asked == keys
    for call in (CALLS.get_many, CALLS.delete_many):
        with pytest.raises(Invalid):
            drive(call(["a"]), (413, b"", b'{"code":"body_too_large"}'))


def test_a_batch_that_fails_midway_raises() -> None:
    answers = [ok({"entries": [], "errors": []}), (503, b"", b'{"code":"overloaded","retry_after":2}')]
    with pytest.raises(Busy) as raised:
        drive(CALLS.set_many({f"k{number}": 1 for number in range(1500)}, 60, None, ()), *answers)
    assert raised.value.retry_after == 2


# --- answers


@pytest.mark.parametrize(
    ("status", "head", "body", "kind", "retry_after"),
    [
        (401, b"", b'{"code":"token_required","detail":"x"}', NotAllowed, None), (403, b"", b"{}", NotAllowed, None), (429, b"retry-after: 7\r\n", b"", Busy, 7.0), (503, b"Retry-After: soon\r\n", b"<html>", Busy, None),
        (503, b"retry-after: 3\r\n", b'{"retry_after":2.5}', Busy, 2.5), (400, b"", b"[]", Invalid, None), (413, b"", b"", Invalid, None), (422, b"", b"null", Invalid, None), (409, b"", b'{"code":"not_an_integer"}', Invalid, None),
        (500, b"", b"", Refused, None), (302, b"location: /x\r\n", b"", Refused, None), (418, b"", b'{"code":5,"detail":[],"retry_after":"x"}', Refused, None),
    ],
)  # fmt: skip
def test_a_refusal_is_an_error_of_its_kind(status: int, head: bytes, body: bytes, kind: type, retry_after: float | None) -> None:
    error = refusal(status, as_head(head), body)
    assert type(error) is kind
    assert (error.status, error.retry_after) == (status, retry_after)
    assert isinstance(error.code, str) and isinstance(error.detail, str) and str(error)


def every_call() -> list[tuple[str, Callable[[], Generator[Request, Answer, Any]]]]:
    def get() -> Steps[Any]:
        answer = yield Request(CALLS.get_start("k"), b"\r\n", True)
        return CALLS.got(answer, None)

    def put() -> Steps[Any]:
        answer = yield CALLS.put_request("k", 1, 60)
        return CALLS.was_set(answer)

    return [
        ("get", get), ("set", put), ("has", lambda: CALLS.has("k")), ("entry", lambda: CALLS.entry("k", False)), ("ttl", lambda: CALLS.ttl("k")), ("add", lambda: CALLS.set_if(Calls.ADD, "k", 1, 60, None, ())),
        ("delete", lambda: CALLS.delete("k")), ("touch", lambda: CALLS.touch("k", 60)), ("incr", lambda: CALLS.incr("k", 1, 0, 60)), ("get_many", lambda: CALLS.get_many(["k", "l"])), ("set_many", lambda: CALLS.set_many({"k": 1, "l": 2}, 60, None, ())),
        ("delete_many", lambda: CALLS.delete_many(["k"])), ("invalidate", lambda: CALLS.invalidate(["t"], None, (), False)), ("flush", lambda: CALLS.flush(False)), ("page_of_keys", lambda: CALLS.page_of_keys("", None)),
        ("lease", lambda: CALLS.lease("k", 10, 0)), ("fill", lambda: CALLS.fill(GRANT, 1, 60, None, ())), ("prolong", lambda: CALLS.prolong(GRANT, 10)), ("release", lambda: CALLS.release(GRANT, None)), ("is_leased", lambda: CALLS.is_leased("k")),
        ("stats", CALLS.stats),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "call"), every_call(), ids=[name for name, _ in every_call()])
def test_no_answer_whatever_raises_anything_but_our_own_errors(name: str, call: Callable[[], Generator[Request, Answer, Any]]) -> None:
    chosen = random.Random(name)
    words: list[Any] = [None, True, 0, 1, -1, 2.5, "", "k", "2099-11-24T15:49:00.123Z", "AAAA", "AA", [], {}, ["k"], [{}], {"k": 1}, {"k": {}}, [None], 10**30, "application/json", "é"]
    names = [
        "key", "value", "value_base64", "content_type", "version", "expires_at", "tags", "lease", "token", "stale_entry", "fresh", "absent", "entries", "values", "missing", "omitted", "errors", "deleted", "invalidated", "cursor", "leases", "bytes",
        "reason", "retry_after", "code", "detail",
    ]  # fmt: skip
    heads = [b"", b'etag: "5"\r\n', b"etag: x\r\n", b"content-type: text/plain\r\n", b"content-type: application/vnd.pantler.batch\r\n", b"date: x\r\ncontent-type: application/json\r\n", b"cache-status: pantler; hit; ttl=x; detail=\xff\r\n"]
    statuses = [200, 200, 201, 204, 304, 400, 404, 409, 412, 413, 429, 500, 503, 99]
    for _ in range(1500):
        members: dict[str, Any] = {}
        for _ in range(chosen.randrange(6)):
            value = chosen.choice(words)
            if chosen.random() < 0.3:
                value = {chosen.choice(names): chosen.choice(words) for _ in range(3)}
            if chosen.random() < 0.2:
                value = [value]
            members[chosen.choice(names)] = value
        body = chosen.choice([json.dumps(members).encode(), json.dumps(members).encode(), b"", b"[]", b"\xff\xfe", b"{", b"5\n{}"])
        answer = chosen.choice(statuses), b"".join(chosen.sample(heads, 2)), body
        try:
            drive(call(), answer, (503, b"", b""))
        except PantlerError:
            pass


def test_only_a_whole_version_is_one() -> None:
    assert CALLS.was_set((201, as_head(b'date: x\r\netag: "1834"\r\n'), b"")) == 1834
    # A proxy that compresses, or writes field names its own way.
    assert CALLS.was_set((201, as_head(b'ETag: W/"7"\r\n'), b"")) == 7
    for head in (b"", b'etag: ""\r\n', b'etag: "x"\r\n', b"etag: \r\n"):
        with pytest.raises(BadAnswer, match="no version"):
            CALLS.was_set((200, as_head(head), b""))


def test_an_entry_is_plain_data() -> None:
    entry = Entry("k", 1, 2, None)
    assert entry == Entry("k", 1, 2, None) and hash(entry)
    with pytest.raises(AttributeError):
        entry.value = 5  # type: ignore[misc]
    assert repr(ABSENT) == "ABSENT" and repr(DEFAULT) == "DEFAULT" and not ABSENT
    import copy
    import pickle

    for word in (ABSENT, DEFAULT):
        assert copy.deepcopy(word) is word and pickle.loads(pickle.dumps(word)) is word


# --- what a hostile service may say


@pytest.mark.parametrize("token", ["a\r\nX: y", "", "a b", "\u00fc", "x" * 200])
def test_a_leases_token_brings_no_line_of_its_own(token: str) -> None:
    answer = (201, b"", json.dumps({"lease": {"token": token}}).encode())
    with pytest.raises(BadAnswer, match="token is out of form"):
        drive(CALLS.lease("k", 10, 0), answer)
    assert giving_up(CALLS.lease_request("k", 10, 0), answer) is None


def test_a_version_of_endless_digits_is_none() -> None:
    with pytest.raises(BadAnswer, match="version"):
        CALLS.was_set((200, as_head(b'etag: "' + b"9" * 6000 + b'"\r\n'), b""))


@pytest.mark.parametrize("said", ["NaN", "Infinity", "-1", '"x"', "null"])
def test_a_time_to_wait_is_one_or_none(said: str) -> None:
    body = b'{"code":"busy","detail":"full","retry_after":%b}' % said.encode()
    for head in (b"", b"retry-after: nan\r\n", b"retry-after: inf\r\n", b"retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n"):
        assert refusal(503, as_head(head), body).retry_after is None
    assert refusal(503, as_head(b"retry-after: 7\r\n"), b"").retry_after == 7


def test_an_answer_without_a_reason_has_a_text() -> None:
    assert str(refusal(504, as_head(b""), b"")) == "The answer gives no reason (504)"


def test_a_list_of_keys_that_goes_in_a_circle_ends() -> None:
    with pytest.raises(BadAnswer, match="without end"):
        drive(CALLS.page_of_keys("", "abc"), ok({"entries": [], "cursor": "abc"}))


def test_a_service_that_knows_no_peek_is_asked_for_a_lease_without() -> None:
    asked: list[bytes] = []

    def answer(request: Request) -> Answer:
        asked.append(request.start)
        if b"peek" in request.start:
            return 400, b"", b'{"code":"query_invalid"}'
        return 201, b"", json.dumps({"lease": {"token": GRANT.token}}).encode()

    assert drive(CALLS.lease("k", 10, 0, peek=True), answer) == GRANT and len(asked) == 2


@pytest.mark.parametrize("omitted", [["k", "l"], ["other"], [5], [["k"]], ["k", "k"]])
def test_a_batch_that_omits_what_was_not_asked_for_has_an_end(omitted: list[Any]) -> None:
    with pytest.raises(BadAnswer, match="omits"):
        drive(CALLS.get_many(["k"]), ok({"values": {}, "omitted": omitted}))


def test_values_of_bytes_that_the_plain_form_has_no_room_for_come_by_themselves() -> None:
    """By a service that knows no frames."""

    def answer(request: Request) -> Answer:
        if request.start.startswith(b"GET "):
            return 200, b"content-type: application/octet-stream\r\n", request.start.split(b" ")[1][-1:]
        keys = body_of(request)["keys"]
        if b"minimal" in request.rest:
            return ok({"values": {key: {"value_base64": "AA==", "content_type": "application/octet-stream"} for key in keys}})
        return ok({"entries": [], "omitted": keys})

    assert drive(CALLS.get_many(["k", "l"]), answer) == {"k": b"k", "l": b"l"}
