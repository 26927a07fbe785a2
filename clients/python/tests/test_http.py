"""Answers, read from bytes as they come."""

from __future__ import annotations

import random
import time

import pytest

from pantler import _http
from pantler._http import Answer, Reader, WrongID, field, whole
from pantler.errors import BadAnswer

ECHO = b"\r\nx-request-id: pantler-1234567\r\n"


def read(*pieces: bytes, bodiless: bool = False, ended: bool = False) -> tuple[Answer | None, bool]:
    """The answer, which has to come with the last piece, and whether the connection may be used again."""
    reader = Reader(ECHO, bodiless)
    answer = None
    for piece in pieces:
        assert answer is None, "the answer came before its last piece"
        answer = reader.feed(piece)
    if answer is None and ended:
        answer = reader.end()
    return answer, answer is not None and reader.keep


GOOD = {
    "a length": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello", True),
    "no body": (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201, b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, b"x", True),
    "its id": (b"HTTP/1.1 200 OK\r\nx-request-id: pantler-1234567\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", True),
    "a proxy's id": (b"HTTP/1.1 200 OK\r\nx-request-id: 0b8f67a3-8d6c\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", True),
    "an empty id": (b"HTTP/1.1 200 OK\r\nx-request-id:\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", True),
    "its id, in capitals": (b"HTTP/1.1 200 OK\r\nX-REQUEST-ID:pantler-1234567\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", True),
    "204": (b"HTTP/1.1 204 No Content\r\netag: \"1\"\r\n\r\n", 204, b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", 304, b"", True),
    "100 before it": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, b"x", True),
    "103 before it": (b"HTTP/1.1 103 Early Hints\r\nlink: <>\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx", 404, b"x", True),
    "the end of the connection announced": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx", 200, b"x", False),
    "among others": (b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\ncontent-length: 1\r\n\r\nx", 200, b"x", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, b"x", False),
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n", 200, b"abc0123456789abcdef", True),
    "chunks with a trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n", 200, b"a", True),
    "no chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200, b"", True),
    "one length twice": (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", 200, b"x", True),
    "a body that looks like a head": (b"HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n\r\ncontent-length: 3\r\n\r\nab", 200, b"\r\ncontent-length: 3\r\n\r\nab", True),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_is_the_same_however_it_is_cut_into_pieces(name: str) -> None:
    data, status, body, keep = GOOD[name]
    for cut in range(1, len(data)):
        answer, kept = read(data[:cut], data[cut:])
        assert answer is not None, cut
        assert (answer[0], answer[2], kept) == (status, body, keep), cut
    answer, kept = read(*(data[index : index + 1] for index in range(len(data))))
    assert answer is not None
    assert (answer[0], answer[2], kept) == (status, body, keep)
    for _ in range(3):
        # The quick way says the same as the reader, or nothing; also when it knows the head.
        quick = whole(data, ECHO)
        assert quick is None or quick == answer and keep


def test_large_chunks_are_not_copied_for_each_piece() -> None:
    size, piece = 60_000_000, b"x" * 10_000
    reader = Reader(ECHO, False)
    assert reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % size) is None
    began = time.process_time()
    for _ in range(size // len(piece)):
        assert reader.feed(piece) is None
    answer = reader.feed(b"\r\n0\r\n\r\n")
    assert answer is not None and len(answer[2]) == size and reader.keep
    # Copied each time, it would be minutes.
    assert time.process_time() - began < 5


def test_what_is_behind_an_answer_ends_the_connection() -> None:
    for name, (data, status, body, _) in GOOD.items():
        answer, keep = read(data + b"H")
        assert answer is not None and (answer[0], answer[2], keep) == (status, body, False), name
        assert whole(data + b"HTTP/1.1 200 OK\r\n", ECHO) is None, name


def test_a_head_request_has_no_body() -> None:
    answer, keep = read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", bodiless=True)
    assert answer is not None and (answer[0], answer[2], keep) == (200, b"", True)
    answer, keep = read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", bodiless=True)
    assert answer is not None and (answer[0], answer[2], keep) == (200, b"", True)


def test_an_answer_without_a_length_goes_to_the_end() -> None:
    answer, keep = read(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", ended=True)
    assert answer is not None and (answer[2], keep) == (b"hello", False)


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell", b"HTTP/1.1 2", GOOD["chunks"][0][:-2], b"H"])
def test_a_cut_answer_is_none(data: bytes) -> None:
    assert read(data, ended=True) == (None, False)


BAD = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": b"\x15\x03\x03\x00\x02\x02\x46",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "Redis": b"-ERR unknown command\r\n",
    "an empty line": b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a short status": b"HTTP/1.1 20 OK\r\n\r\n",
    "a long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "a length of letters": b"HTTP/1.1 200 OK\r\ncontent-length: abc\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "a length with a sign": b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\nx",
    "a length with an underscore": b"HTTP/1.1 200 OK\r\ncontent-length: 1_0\r\n\r\n",
    "an empty length": b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy",
    "two lengths in one": b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nxy",
    "a huge length": b"HTTP/1.1 200 OK\r\ncontent-length: 1073741825\r\n\r\n",
    "an endless length": b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    "a field without a colon": b"HTTP/1.1 200 OK\r\ncontent-length\r\n\r\n",
    "a folded field": b"HTTP/1.1 200 OK\r\nx: 1\r\n content-length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
    "an endless line": b"HTTP/1.1 200 " + b"x" * 70_000,
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    "a long head": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"content-length: 0\r\n\r\n",
    "a chunk of letters": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "a negative chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
    "a chunk with 0x": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n",
    "a huge chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n",
    "a chunk that is longer than it says": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
    "an endless chunk line": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 70_000,
    "an endless trailer": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 20_000,
    "compressed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b",
    "another id": b"HTTP/1.1 200 OK\r\nx-request-id: pantler-1234568\r\ncontent-length: 0\r\n\r\n",
    "a longer id": b"HTTP/1.1 200 OK\r\nx-request-id: pantler-12345678\r\ncontent-length: 0\r\n\r\n",
    "a shorter id": b"HTTP/1.1 200 OK\r\nx-request-id: pantler-123456\r\ncontent-length: 0\r\n\r\n",
    "its id and another": b"HTTP/1.1 200 OK\r\nx-request-id: pantler-1234567\r\nx-request-id: pantler-1\r\ncontent-length: 0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_answer_is_told_from_one(name: str) -> None:
    data = BAD[name]
    with pytest.raises(BadAnswer):
        read(data)
    with pytest.raises(BadAnswer):
        read(*(data[index : index + 1000] for index in range(0, len(data), 1000)))
    try:
        assert whole(data, ECHO) is None
    except BadAnswer:
        pass


def test_many_interim_answers_are_passed_over() -> None:
    answer, keep = read(b"HTTP/1.1 100 Continue\r\n\r\n" * 2500 + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert answer is not None and (answer[0], keep) == (200, True)


def test_a_known_head_hides_nothing() -> None:
    def data(id: bytes = b"pantler-1234567", length: bytes = b"3", body: bytes = b"abc", status: bytes = b"200 OK") -> bytes:
        return (
            b"HTTP/1.1 %s\r\ndate: Mon, 30 Nov 2026 18:14:16 GMT\r\nx-request-id: %s\r\ncontent-type: text/plain\r\n"
            b"content-length: %s\r\netag: \"17\"\r\n\r\n%s" % (status, id, length, body)
        )

    assert whole(data(), ECHO) is not None
    assert data().partition(b"\r\n\r\n")[0].translate(_http._WITHOUT_DIGITS) in _http._known
    # The same head but for its digits: now it is known, and every digit that matters still counts.
    answer = whole(data(body=b"xyz"), ECHO)
    assert answer is not None and answer[2] == b"xyz"
    for other in (b"pantler-1234568", b"pantler-7654321"):
        with pytest.raises(WrongID):
            whole(data(other), ECHO)
    assert whole(data(length=b"4"), ECHO) is None
    assert whole(data(length=b"2"), ECHO) is None
    assert whole(data(body=b"ab"), ECHO) is None
    answer = whole(data(status=b"201 OK"), ECHO)
    assert answer is not None and answer[0] == 201
    with pytest.raises(BadAnswer):
        whole(data(status=b"100 OK"), ECHO)
    # A body that goes on like a head is a body.
    answer = whole(data(length=b"29", body=b"\r\ncontent-length: 3\r\n\r\nabcdef"), ECHO)
    assert answer is not None and answer[2] == b"\r\ncontent-length: 3\r\n\r\nabcdef"


def test_what_is_known_does_not_grow_without_end() -> None:
    for number in range(10_000):
        name = "".join(chr(97 + int(digit)) for digit in str(number)).encode()
        assert whole(b"HTTP/1.1 200 OK\r\nx-%s: 1\r\ncontent-length: 0\r\n\r\n" % name, ECHO) is not None
    assert len(_http._known) <= 4096


def test_the_quick_way_and_the_reader_agree_whatever_comes() -> None:
    random.seed(17)
    seeds = [data for data, *_ in GOOD.values()] + list(BAD.values())
    for _ in range(20_000):
        data = bytearray(random.choice(seeds)[:300])
        for _ in range(random.randint(0, 2)):
            at = random.randrange(len(data))
            data[at : at + random.randint(0, 2)] = random.choice([b"", b"1", b"\r\n", b":", b" ", b"x", b"7"])
        sent = bytes(data) or b"x"
        reader = Reader(ECHO, False)
        read: object
        try:
            answer = reader.feed(sent)
            read = answer if answer is not None and reader.keep else None
        except BadAnswer as error:
            read = type(error)
        quick: object
        try:
            quick = whole(sent, ECHO)
        except BadAnswer as error:
            quick = type(error)
        assert quick == read or quick is None, sent


def test_fields_are_found_whatever_their_case() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type:text/plain\r\nx-a:\r\netag: \"1\" \r\nx-etag: no\r\nETAG: \"2\""
    assert field(head, b"content-type") == b"text/plain"
    assert field(head, b"etag") == b'"1"'
    assert field(head, b"x-a") == b""
    assert field(head, b"tag") is None
    assert field(head, b"http/1.1 200 ok") is None
    assert field(head + b"\r\nlast: 1", b"last") == b"1"


def test_no_two_connections_have_requests_of_one_id() -> None:
    starts = {_http.echo_start() for _ in range(1000)}
    assert len(starts) == 1000 and len({len(start) for start in starts}) == 1
