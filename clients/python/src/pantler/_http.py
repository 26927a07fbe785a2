"""An answer of HTTP/1.1, read from bytes as they come. Nothing of sockets is in here.

A :class:`Reader` takes whatever a peer may send, and is the only judge of it. Almost always, though, an answer comes in
one piece and looks like many before it: :func:`whole` knows such heads again and spares itself the reading.
"""

from __future__ import annotations

import secrets

from .errors import BadAnswer

Answer = tuple[int, bytes, bytes]
"""Status, head (the status line and the fields as they came, without the empty line at the end) and body."""

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024 * 1024


def field(head: bytes, name: bytes) -> bytes | None:
    """The value of a field, whatever the case of its name. The first one, where it is there several times."""
    start = b"\r\n%s:" % name
    at = head.find(start)
    if at < 0:
        # The service writes names in small letters; what stands in between may write them anew.
        at = head.lower().find(start.lower())
        if at < 0:
            return None
    at += len(start)
    end = head.find(b"\r", at)
    return (head[at:] if end < 0 else head[at:end]).strip(b" \t")


# What is known of heads, by what they are with each digit as a 0: the status and how the head begins with it, where the
# echoed id stands (0: nowhere), where the length stands and how its line begins; both with the line's end before them. A
# head that differs from one that was read in digits alone has the same fields in the same places: the length is there
# once, there is no transfer coding, and nothing says that the connection ends. The digits that matter are compared each
# time.
_known: dict[bytes, tuple[int, bytes, int, int, bytes]] = {}
_WITHOUT_DIGITS = bytes.maketrans(b"123456789", b"000000000")


def whole(data: bytes, echo: bytes) -> Answer | None:
    """The answer in ``data``, where it is exactly one whole answer with a body of a known length, behind which the
    connection can be used again, and which echoes ``echo`` (``\\r\\nx-request-id: pantler-NUMBER\\r\\n``) or no id at all.
    None where a Reader has to look. Raises BadAnswer as a Reader does.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    known = _known.get(head.translate(_WITHOUT_DIGITS))
    if known is not None:
        status, beginning, echo_at, length_at, length = known
        if (
            data.startswith(beginning)
            and (not echo_at or data.startswith(echo, echo_at))
            and data.startswith(b"%s%d\r\n" % (length, len(body)), length_at)
        ):
            return status, head, body
    return _learn(data, head, echo)


_MARK = b"pantler-"


def echo_start() -> bytes:
    """What the line of a connection's ids begins with; a count and the line's end follow.

    The mark tells them from ids that proxies put in the place of the caller's (Envoy does, nginx may): those say nothing
    about whose answer it is, and are no fault. Behind it come digits alone, as heads are known again without them, and of
    one length, so that no two connections ever come to the same id: of answers that a proxy mixes up between connections
    each is known for another one's.
    """
    return b"\r\nx-request-id: %s%d" % (_MARK, secrets.randbelow(9 * 10**14) + 10**14)


def _learn(data: bytes, head: bytes, echo: bytes) -> Answer | None:
    if not data or len(head) > 4096:
        return None
    reader = Reader(echo, False)
    answer = reader.feed(data)
    if answer is None or not reader.keep:
        return None
    names = head.lower()
    length_at = names.find(b"\r\ncontent-length:")
    echo_at = max(data.find(echo, 0, len(head) + 2), 0)
    if (
        head != answer[1]
        or names.count(b"content-length") != 1
        or names.count(b"x-request-id") != (echo_at > 0)
        or not data.startswith(b" %d\r\n" % len(answer[2]), length_at + 17)
    ):
        # It is an answer, of a kind that is read each time.
        return answer
    if len(_known) >= 4096:
        _known.clear()
    length = data[length_at : length_at + 18]
    _known[head.translate(_WITHOUT_DIGITS)] = (answer[0], data[:13], echo_at, length_at, length)
    return answer


class Reader:
    """Takes the bytes of a connection as they come, and knows when the answer is there.

    ``feed`` and ``end`` return the answer as soon as it is whole, else None; BadAnswer is raised for what is none.
    ``keep`` says then whether the connection can be used again: the answer was read to its last byte, nothing came
    behind it, and the peer does not close it.
    """

    __slots__ = (
        "begun", "keep", "_echo", "_bodiless", "_buffer", "_status", "_head", "_framing", "_missing",
        "_chunks", "_size", "_pieces", "_short",
    )  # fmt: skip

    def __init__(self, echo: bytes, bodiless: bool) -> None:
        self.begun = False
        self.keep = False
        self._echo = echo
        self._bodiless = bodiless
        self._buffer = b""
        self._status = 0
        self._head = b""
        self._chunks: list[bytes] = []
        self._size = 0
        self._pieces: list[bytes] = []
        self._short = 0
        self._missing = 0
        self._framing = _HEAD

    @property
    def missing(self) -> int:
        """How many bytes of the body are to come, at least; 0 where that is not known."""
        return self._missing if self._framing == _LENGTH else 0

    def feed(self, data: bytes) -> Answer | None:
        """Takes further bytes; ``data`` is not empty."""
        self.begun = True
        if self._framing == _LENGTH:
            return self._length(data)
        if self._framing == _HEAD:
            self._buffer += data
            return self._read_head()
        # Pieces are put together once there are enough of them to go on: each time would copy what is there each time.
        if self._framing == _END:
            return self._until_end(data)
        self._pieces.append(data)
        self._short -= len(data)
        return self._chunked() if self._short <= 0 else None

    def end(self) -> Answer | None:
        """The peer has ended the connection: the answer, where that is how it ends, else None."""
        if self._framing != _END:
            return None
        self.keep = False
        return self._status, self._head, b"".join(self._chunks)

    def _read_head(self) -> Answer | None:
        while True:
            buffer = self._buffer
            if not b"HTTP/1.".startswith(buffer[:7]):
                raise BadAnswer(f"What came is no HTTP/1.1: it begins with {buffer[:40]!r}.")
            end = buffer.find(b"\r\n\r\n")
            if end < 0 or end > MAX_HEAD:
                if len(buffer) > MAX_HEAD:
                    raise BadAnswer(f"The head of the answer is longer than {MAX_HEAD} bytes.")
                return None
            head = buffer[:end]
            line = head.partition(b"\r\n")[0]
            digits = line[9:12]
            if line[7:9] not in (b"0 ", b"1 ") or not digits.isdigit() or line[12:13] not in (b"", b" "):
                raise BadAnswer(f"The answer's first line is none of HTTP/1.1: {line[:80]!r}.")
            status = int(digits)
            self._buffer = buffer[end + 4 :]
            if status >= 200:
                break
            if status < 100 or status == 101:
                raise BadAnswer(f"The answer has the status {status}, which nobody asked for.")
            # An interim answer: the one that counts comes behind it.
            if not self._buffer:
                return None
        self._status, self._head = status, head
        fields = _fields(head)
        self._check_id(fields)
        self.keep = line[7:8] == b"1" and b"close" not in _tokens(fields, b"connection")
        return self._begin_body(fields)

    def _begin_body(self, fields: list[tuple[bytes, bytes]]) -> Answer | None:
        rest, self._buffer = self._buffer, b""
        if self._bodiless or self._status in (204, 304):
            self._framing = _LENGTH
            return self._length(rest)
        if set(_tokens(fields, b"content-encoding")) - {b"", b"identity"}:
            # Nobody asked for it, and its bytes are not the value's.
            raise BadAnswer("The answer's body is in a content coding, which a proxy must have put it into.")
        coding = _tokens(fields, b"transfer-encoding")
        lengths = set(_tokens(fields, b"content-length"))
        if coding:
            if coding != [b"chunked"] or lengths:
                raise BadAnswer("The answer's body is in a transfer coding other than chunked, or has two lengths.")
            self._framing = _CHUNKED
            self._pieces.append(rest)
            return self._chunked()
        if not lengths:
            self.keep = False
            self._framing = _END
            return self._until_end(rest)
        length = lengths.pop()
        if lengths or not length.isdigit() or len(length) > 19:
            raise BadAnswer(f"The length of the answer's body is out of form: {length[:40]!r}.")
        if int(length) > MAX_BODY:
            raise BadAnswer(f"The answer's body is of {int(length)} bytes, more than the {MAX_BODY} that are taken.")
        self._framing = _LENGTH
        self._missing = int(length)
        return self._length(rest)

    def _check_id(self, fields: list[tuple[bytes, bytes]]) -> None:
        expected = self._echo[len(b"\r\nx-request-id: ") : -2]
        for value in _values(fields, b"x-request-id"):
            if value != expected and value.startswith(_MARK):
                raise WrongID(f"The answer is another request's: its X-Request-ID is {value[:64]!r}, not {expected!r}.")

    def _length(self, data: bytes) -> Answer | None:
        if len(data) < self._missing:
            if data:
                self._chunks.append(data)
                self._missing -= len(data)
            return None
        if len(data) > self._missing:
            self.keep = False
            data = data[: self._missing]
        self._missing = 0
        if self._chunks:
            self._chunks.append(data)
            data = b"".join(self._chunks)
        return self._status, self._head, data

    def _chunked(self) -> Answer | None:
        buffer = b"".join(self._pieces)
        at = 0
        while True:
            end = buffer.find(b"\r\n", at)
            if end < 0:
                if len(buffer) - at > MAX_HEAD:
                    raise BadAnswer("A chunk of the answer begins with an endless line.")
                self._wait_for(buffer[at:], 1)
                return None
            digits = buffer[at:end].partition(b";")[0].strip(b" \t")
            if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
                raise BadAnswer(f"A chunk of the answer has no length: {digits[:40]!r}.")
            size = int(digits, 16)
            if size == 0:
                return self._trailer(buffer[at:], end - at)
            if self._size + size > MAX_BODY:
                raise BadAnswer(f"The answer's body is of more than the {MAX_BODY} bytes that are taken.")
            begin = end + 2
            if len(buffer) < begin + size + 2:
                self._wait_for(buffer[at:], begin + size + 2 - len(buffer))
                return None
            if buffer[begin + size : begin + size + 2] != b"\r\n":
                raise BadAnswer("A chunk of the answer is longer than it says.")
            self._chunks.append(buffer[begin : begin + size])
            self._size += size
            at = begin + size + 2

    def _wait_for(self, rest: bytes, short: int) -> None:
        """Goes on where the chunk at the beginning of ``rest`` has ``short`` more bytes."""
        self._pieces = [rest]
        self._short = short

    def _trailer(self, buffer: bytes, end: int) -> Answer | None:
        # Fields may follow the last chunk; an empty line ends them. They say nothing that is asked for here.
        finish = buffer.find(b"\r\n\r\n", end)
        if finish < 0:
            if len(buffer) - end > MAX_HEAD:
                raise BadAnswer("Behind the answer's last chunk there is an endless head.")
            self._wait_for(buffer, 1)
            return None
        if finish + 4 < len(buffer):
            self.keep = False
        return self._status, self._head, b"".join(self._chunks)

    def _until_end(self, data: bytes) -> Answer | None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > MAX_BODY:
            raise BadAnswer(f"The answer's body is of more than the {MAX_BODY} bytes that are taken.")
        return None


class WrongID(BadAnswer):
    """The answer of another request came."""


_HEAD, _LENGTH, _CHUNKED, _END = range(4)


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    fields: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.strip(b" \t") != name:
            raise BadAnswer(f"A field of the answer's head is out of form: {line[:80]!r}.")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def _values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for other, value in fields if other == name]


def _tokens(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [token.strip(b" \t").lower() for value in _values(fields, name) for token in value.split(b",")]
