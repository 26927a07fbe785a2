"""Each call to the service as pure functions: the bytes of its request, and what an answer means. Nothing here does I/O.

A call is a generator that yields :class:`Request`, is sent the answer to it, and returns the call's result. Most yield once;
batches yield as often as the service's bounds make it necessary. Both clients drive the same generators, one with blocking
connections and one with asyncio, so that what a call means is written once.
"""

from __future__ import annotations

import re
import time
from binascii import Error as Base64Error, a2b_base64, b2a_base64
from collections.abc import Collection, Generator, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

from ._answers import (
    Entry,
    Grant,
    Held,
    Unreadable,
    found_at,
    member_of,
    member_or,
    moment_of,
    object_of,
    problem,
    refusal,
    version_of,
)
from ._arguments import (
    ABSENT,
    DEFAULT,
    LONGEST_TTL,
    LONGEST_WAIT,
    TTL,
    check_tags,
    check_ttl,
    key_list,
    lease_seconds,
    seconds,
    stale_seconds,
    tag_list,
    wait_seconds,
    whole_number,
)
from ._http import Answer, field
from ._keys import View, checked, path as path_of
from ._values import BYTES, JSON, MSGPACK, PICKLE, Serializer, dump, encode_json as _encode, load, read_json
from .errors import BadAnswer, Invalid, KeyMissing, SerializationError

T = TypeVar("T")


#: The most keys in a batch, which is the service's own bound.
BATCH_KEYS: Final = 1000
#: The most bytes in the body of a batch of ours. The service takes 64 MiB unless it is told otherwise; smaller ones keep a
#: batch within the timeout, and let others in between.
BATCH_BYTES: Final = 8 << 20

#: Bytes from here on go as they are. Fewer go as base64 in an envelope, which the service reads quicker than a query and fields.
_MANY_BYTES: Final = 4096

_NO_BODY: Final = b"\r\n"
_JSON_LINE: Final = b"\r\ncontent-type: application/json\r\n"
_KNOWN_TYPES: Final = frozenset({JSON, BYTES, PICKLE, MSGPACK})
_is_media_type = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+/[A-Za-z0-9!#$%&'*+.^_`|~-]+( ?;[ !-~]*)?").fullmatch
# Tags that a field line carries as they are. Others (with a comma, beyond ASCII) go in an envelope.
_is_plain_tag = re.compile(r"[A-Za-z0-9_.:/@~+=#-]{1,64}").fullmatch
_is_token = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch


class Request(NamedTuple):
    """A request as a pool sends it."""

    start: bytes
    rest: bytes
    #: Whether it may be asked twice, since it changes nothing.
    safe: bool
    #: Seconds that the service may take over it, on top of the client's timeout.
    wait: float = 0.0
    #: Whether its answer may give a lease, which somebody has to give up where the caller has gone meanwhile.
    gives_lease: bool = False


Steps: TypeAlias = Generator[Request, Answer, T]


def json_body(value: object) -> bytes:
    """JSON as a body. Raises Invalid where a key or a tag in it is no UTF-8."""
    try:
        return _encode(value).encode()
    except UnicodeEncodeError as error:
        raise Invalid(400, "key_invalid", f"A key or a tag is UTF-8, and has no half of a surrogate pair: {error.object[error.start]!r}.") from None


def with_body(lines: str, body: bytes) -> bytes:
    """What follows a request's first line: these fields, the body's length, and the body."""
    return f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def giving_up(request: Request, answer: Answer) -> Request | None:
    """What gives up the lease that a request was given, whoever asked for it; None where the answer gives none. Never raises."""
    if not request.gives_lease or answer[0] != 201:
        return None
    try:
        token = member_of(member_of(object_of(answer[2]), "lease", dict), "token", str)
    except BadAnswer:
        return None
    if not _is_token(token):
        return None
    target = request.start.split(b" ")[1].replace(b"?peek", b"").replace(b"&peek", b"")
    return Request(b"DELETE %b HTTP/1.1\r\n" % target, b"Lease: %b\r\n\r\n" % token.encode(), False)


class Calls:
    """The calls of one namespace with one serializer. Immutable: safe for threads, tasks and forks."""

    def __init__(self, namespace: str, serializer: Serializer) -> None:
        self.namespace = namespace
        self.serializer = serializer
        self.prefix = f"/v1/namespaces/{namespace}"

    # --- one value; get stands apart from the generators, since it is what callers wait for most

    def get_start(self, key: str) -> bytes:
        return f"GET {path_of(self.prefix, 'values', key)} HTTP/1.1\r\n".encode()

    def got(self, answer: Answer, default: Any) -> Any:
        """The value of an answer to a get; ``default`` where there is none, or a negative one."""
        status, head, body = answer
        if status == 200:
            if _JSON_LINE in head:
                return read_json(body)
            return self.loaded(body, field(head, b"content-type"))
        if status == 404:
            return default
        raise refusal(status, head, body)

    def loaded(self, data: bytes, media_type: bytes | None) -> Any:
        return load(data, BYTES if media_type is None else media_type.decode("latin-1"), self.serializer)

    def target(self, method: str, view: View, key: str, query: str = "") -> bytes:
        """The first line of a request for a key."""
        path = path_of(self.prefix, view, key)
        if query:
            path += ("&" if "?" in path else "?") + query
        return f"{method} {path} HTTP/1.1\r\n".encode()

    def has(self, key: str) -> Steps[bool]:
        answer = yield Request(self.target("HEAD", "values", key), _NO_BODY, True)
        if answer[0] in (200, 404):
            return answer[0] == 200
        raise refusal(*answer)

    def entry(self, key: str, peek: bool) -> Steps[Entry | None]:
        found, _ = yield from self._entry(key, peek)
        return found

    def _entry(self, key: str, peek: bool) -> Steps[tuple[Entry | None, int | None]]:
        answer = yield Request(self.target("GET", "entries", key, "peek" if peek else ""), _NO_BODY, True)
        status, head, body = answer
        if status == 200:
            return self._entry_of(object_of(body), head), found_at(head)[2]
        if status == 404:
            if field(head, b"etag") is None:
                return None, None
            left = found_at(head)[2]
            # Of a negative entry nothing says the moment, only the whole seconds that are left.
            ends = None if left is None else datetime.now(timezone.utc) + timedelta(seconds=left)
            return Entry(key, ABSENT, version_of(head), ends), left
        raise refusal(status, head, body)

    def _entry_of(self, said: dict[str, Any], head: bytes = b"") -> Entry:
        if "value" in said:
            value = said["value"]
        elif said.get("absent") is True:
            value = ABSENT
        else:
            value = self.bytes_of(said)
        stale, tier, _ = found_at(head)
        tags = member_or(said, "tags", list, [])
        return Entry(
            member_of(said, "key", str), value, member_of(said, "version", int), moment_of(said.get("expires_at")), tuple(tags), stale, tier
        )

    def bytes_of(self, said: dict[str, Any]) -> Any:
        """The value of an envelope that is no JSON."""
        try:
            data = a2b_base64(member_of(said, "value_base64", str))
        except (Base64Error, ValueError) as error:
            raise BadAnswer(f"The answer's bytes are no base64: {error}") from error
        return load(data, member_of(said, "content_type", str), self.serializer)

    def ttl(self, key: str) -> Steps[float | None]:
        found, left = yield from self._entry(key, True)
        if found is None or found.value is ABSENT:
            raise KeyMissing(key)
        if found.expires_at is None:
            return None
        # The service says the moment to the millisecond, but by its clock, and what is left in whole seconds: the moment
        # counts as far as this machine's clock agrees with that.
        # A millisecond less, which the moment may have been rounded up by: nobody is told of more than was asked for.
        by_clock = found.expires_at.timestamp() - time.time() - 0.001
        if left is None or left - 0.5 <= by_clock <= left + 1.5:
            return max(by_clock, 0.0) if left is None or left >= 0 else by_clock
        return float(left)

    # --- writes

    def put_request(
        self,
        key: str,
        value: Any,
        ttl: TTL,
        stale_ttl: float | None = None,
        tags: Iterable[str] = (),
        lease: str | None = None,
        condition: bytes = b"",
    ) -> Request:
        """A put. ``condition`` is a field line with its end, or empty."""
        if lease is not None:
            if not isinstance(lease, str) or not _is_token(lease):
                raise ValueError(f"lease is the token of a lease; this is {lease!r}.")
            condition += f"Lease: {lease}\r\n".encode()
        policy: bytes
        labels: list[str] = []
        if tags == () and stale_ttl is None and (ttl is DEFAULT or type(ttl) is int and 0 < ttl <= LONGEST_TTL):
            # Most puts: said here, so that they need not go through all that others may want.
            policy = b"" if ttl is DEFAULT else b',"ttl":%d' % ttl
        else:
            labels = tag_list(tags)
            policy = _policy_members(ttl, None if value is ABSENT else stale_ttl, labels)
        if value is ABSENT:
            body = b'{"absent":true%b}' % policy
        else:
            data, media_type = dump(value, self.serializer)
            if media_type == JSON:
                body = b'{"value":%b%b}' % (data, policy)
            elif len(data) >= _MANY_BYTES and ttl is not None and all(map(_is_plain_tag, labels)):
                return self._put_bytes(key, data, media_type, ttl, stale_ttl, labels, condition)
            else:
                body = b"{%b%b}" % (value_member(data, media_type), policy)
        return Request(
            f"PUT {path_of(self.prefix, 'entries', key)} HTTP/1.1\r\n".encode(),
            b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (condition, len(body), body),
            False,
        )

    def _put_bytes(
        self, key: str, data: bytes, media_type: str, ttl: TTL, stale_ttl: float | None, tags: list[str], condition: bytes
    ) -> Request:
        if media_type not in _KNOWN_TYPES:
            _check_media_type(media_type)
        lines = f"Content-Type: {media_type}\r\n"
        if tags:
            lines += f"Cache-Tag: {','.join(tags)}\r\n"
        query = []
        if ttl is not DEFAULT:
            query.append(f"ttl={check_ttl(ttl)}")
        if stale_ttl is not None:
            query.append(f"stale_ttl={stale_seconds(stale_ttl)}")
        return Request(
            self.target("PUT", "values", key, "&".join(query)), condition + with_body(lines, data), False
        )

    def was_set(self, answer: Answer) -> int:
        """The version that a put gave."""
        status, head, body = answer
        if status == 200 or status == 201:
            return version_of(head)
        raise refusal(status, head, body)

    def fill(self, grant: Grant, value: Any, ttl: TTL, stale_ttl: float | None, tags: Iterable[str]) -> Steps[bool]:
        """Fills a lease; False where it is lost."""
        answer = yield self.put_request(grant.key, value, ttl, stale_ttl, tags, grant.token)
        if answer[0] in (200, 201):
            return True
        if answer[0] == 412:
            return False
        raise refusal(*answer)

    def set_if(
        self, condition: bytes, key: str, value: Any, ttl: TTL, stale_ttl: float | None, tags: Iterable[str]
    ) -> Steps[int | None]:
        """A put under a condition: its version, or None where the condition does not hold."""
        answer = yield self.put_request(key, value, ttl, stale_ttl, tags, None, condition)
        if answer[0] in (200, 201):
            return version_of(answer[1])
        if answer[0] == 412:
            return None
        raise refusal(*answer)

    ADD: Final = b"If-None-Match: *\r\n"
    REPLACE: Final = b"If-Match: *\r\n"

    @staticmethod
    def of_version(version: int) -> bytes:
        if isinstance(version, bool) or not isinstance(version, int):
            raise TypeError(f"version is the number that a set or an entry gave; this is {version!r}.")
        return f'If-Match: "{version:d}"\r\n'.encode()

    def delete(self, key: str) -> Steps[bool]:
        answer = yield Request(self.target("DELETE", "values", key), _NO_BODY, False)
        if answer[0] in (204, 404):
            return answer[0] == 204
        raise refusal(*answer)

    def touch(self, key: str, ttl: float | None) -> Steps[bool]:
        body = json_body({"ttl": check_ttl(ttl, "None (never expires)")})
        answer = yield Request(
            self.target("PATCH", "entries", key), with_body("Content-Type: application/merge-patch+json\r\n", body), False
        )
        if answer[0] in (200, 404):
            return answer[0] == 200
        raise refusal(*answer)

    def incr(self, key: str, by: int, initial: int | None, ttl: TTL) -> Steps[int]:
        wanted: dict[str, Any] = {"by": whole_number(by, "by")}
        new_ttl = None if ttl is DEFAULT else check_ttl(ttl)
        if initial is not None:
            wanted["initial"] = whole_number(initial, "initial")
            if ttl is not DEFAULT:
                wanted["ttl"] = new_ttl
        answer = yield Request(
            self.target("POST", "counters", key), with_body("Content-Type: application/json\r\n", json_body(wanted)), False
        )
        status, _, body = answer
        if status in (200, 201):
            return member_of(object_of(body), "value", int)
        if status == 404:
            raise KeyMissing(key)
        raise refusal(*answer)

    def decr(self, key: str, by: int, initial: int | None, ttl: TTL) -> Steps[int]:
        return (yield from self.incr(key, -whole_number(by, "by"), initial, ttl))

    # --- batches

    def _post(self, path: str, value: object, safe: bool, lines: str = "", wait: float = 0.0) -> Request:
        return self._post_bytes(path, json_body(value), safe, lines, wait)

    def _post_bytes(self, path: str, body: bytes, safe: bool, lines: str = "", wait: float = 0.0) -> Request:
        return Request(
            f"POST {self.prefix}/{path} HTTP/1.1\r\n".encode(),
            with_body(f"Content-Type: application/json\r\n{lines}", body),
            safe,
            wait,
        )

    def get_many(self, keys: Iterable[str]) -> Steps[dict[str, Any]]:
        wanted = key_list(keys)
        found: dict[str, Any] = {}
        most = BATCH_KEYS
        while wanted:
            asked, rest = wanted[:most], wanted[most:]
            answer = yield self._post("batch/get", {"keys": asked}, True, "Prefer: return=minimal, bytes=raw\r\n")
            if answer[0] == 413 and len(asked) > 1:
                # The service takes less than we thought.
                most = len(asked) // 2
                continue
            if answer[0] != 200:
                raise refusal(*answer)
            wanted = rest
            omitted, unclear = self._read_values(answer, found)
            if omitted:
                yield from self._get_one_where_all_are_omitted(omitted, asked, found)
            if unclear:
                answer = yield self._post("batch/get", {"keys": unclear}, True)
                if answer[0] != 200:
                    raise refusal(*answer)
                still = self._read_entries(answer, found)
                if still:
                    yield from self._get_one_where_all_are_omitted(still, unclear, found)
                omitted += still
            wanted = omitted + wanted
        return found

    def _get_one_where_all_are_omitted(self, omitted: list[str], asked: list[str], found: dict[str, Any]) -> Steps[None]:
        """Where an answer has no room for a single one of the values, the last one comes by itself, so that there is an end."""
        if not all(type(key) is str for key in omitted) or len(set(omitted)) < len(omitted) or not set(omitted) <= set(asked):
            raise BadAnswer(f"The batch omits keys that were not asked for: {omitted!r:.80}.")
        if len(omitted) == len(asked):
            single = omitted.pop()
            value = self.got((yield Request(self.get_start(single), _NO_BODY, True)), ABSENT)
            if value is not ABSENT:
                found[single] = value

    def _read_values(self, answer: Answer, found: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Puts the values of a batch into ``found``; the keys that the answer had no room for, and those whose value is unclear.

        In the plain JSON form a value of bytes is an object of two members, and so may a JSON value be.
        """
        _, head, body = answer
        media_type = field(head, b"content-type") or b""
        if media_type.startswith(b"application/vnd.pantler.batch"):
            return self._read_framed(body, found), []
        said = object_of(body)
        values = member_of(said, "values", dict)
        unclear = [
            key for key, value in values.items() if type(value) is dict and len(value) == 2 and "value_base64" in value
        ]
        found.update(values)
        for key in unclear:
            del found[key]
        return member_or(said, "omitted", list, []), unclear

    def _read_framed(self, body: bytes, found: dict[str, Any]) -> list[str]:
        length, newline, _ = body[:24].partition(b"\n")
        try:
            start = len(length) + 1
            end = start + int(length)
        except ValueError:
            raise BadAnswer(f"The batch begins with {body[:24]!r}, not with the length of its JSON.") from None
        if not newline or not start <= end <= len(body):
            raise BadAnswer("The batch is shorter than it says.")
        said = object_of(body[start:end])
        found.update(member_of(said, "values", dict))
        serializer = self.serializer
        for key, frame in member_or(said, "bytes", dict, {}).items():
            try:
                media_type, size = frame["content_type"], frame["length"]
            except (TypeError, KeyError):
                raise BadAnswer(f"The batch's frame of {key!r} is {frame!r:.80}.") from None
            if type(media_type) is not str or type(size) is not int or not 0 <= size <= len(body) - end:
                raise BadAnswer(f"The batch's frame of {key!r} is {frame!r:.80}, which does not fit.")
            start, end = end, end + size
            found[key] = load(body[start:end], media_type, serializer)
        if end != len(body):
            raise BadAnswer("The batch is longer than it says.")
        return member_or(said, "omitted", list, [])

    def _read_entries(self, answer: Answer, found: dict[str, Any]) -> list[str]:
        said = object_of(answer[2])
        for one in member_of(said, "entries", list):
            if type(one) is not dict:
                raise BadAnswer(f"The batch has the entry {one!r:.80}.")
            found[member_of(one, "key", str)] = one["value"] if "value" in one else self.bytes_of(one)
        return member_or(said, "omitted", list, [])

    def set_many(
        self, mapping: Mapping[str, Any], ttl: TTL, stale_ttl: float | None, tags: Iterable[str]
    ) -> Steps[list[str]]:
        labels = tag_list(tags)
        policy = _policy_members(ttl, stale_ttl, labels)
        negative = _policy_members(ttl, None, labels) if stale_ttl is not None else policy
        # All are serialized before any is sent, so that one that cannot be leaves nothing half done.
        entries: list[tuple[str, bytes]] = []
        failed: list[str] = []
        if not isinstance(mapping, Mapping):
            raise TypeError(f"mapping is a dict or the like, of keys and values; this is {mapping!r:.80}.")
        for key, value in mapping.items():
            if not isinstance(key, str):
                raise TypeError(f"A key is a str; this is {key!r}.")
            try:
                name = b'{"key":' + _encode(key).encode() + b","
            except UnicodeEncodeError:
                # Half a surrogate pair, which no JSON can hold: of other keys that cannot be, the service says so one by one.
                failed.append(key)
                continue
            if value is ABSENT:
                entries.append((key, name + b'"absent":true' + negative + b"}"))
            else:
                entries.append((key, name + value_member(*dump(value, self.serializer)) + policy + b"}"))
        groups = list(_groups(entries))
        groups.reverse()
        while groups:
            group = groups.pop()
            body = b'{"entries":[' + b",".join([text for _, text in group]) + b"]}"
            answer = yield self._post_bytes("batch/set", body, False)
            status, _, text = answer
            if status == 413:
                # The service takes less than we thought. Nothing of it was read.
                if len(group) == 1:
                    failed.append(group[0][0])
                else:
                    middle = len(group) // 2
                    groups += [group[middle:], group[:middle]]
            elif status == 200:
                for error in member_of(object_of(text), "errors", list):
                    failed.append(member_of(error, "key", str) if type(error) is dict else str(error))
            else:
                raise refusal(*answer)
        return failed

    def delete_many(self, keys: Iterable[str]) -> Steps[int]:
        wanted = key_list(keys)
        deleted = 0
        most = BATCH_KEYS
        while wanted:
            answer = yield self._post("batch/delete", {"keys": wanted[:most]}, False)
            if answer[0] == 413 and most > 1 and len(wanted) > 1:
                most = min(most, len(wanted)) // 2
                continue
            if answer[0] != 200:
                raise refusal(*answer)
            deleted += member_of(object_of(answer[2]), "deleted", int)
            wanted = wanted[most:]
        return deleted

    def invalidate(self, tags: Iterable[str], prefix: str | None, keys: Iterable[str], stale: bool) -> Steps[int]:
        labels, names = tag_list(tags), key_list(keys)
        if (len(labels) > 0) + (prefix is not None) + (len(names) > 0) > 1:
            raise ValueError("One of tags, prefix and keys is invalidated at a time.")
        if prefix is not None and (not isinstance(prefix, str) or not prefix):
            raise ValueError("prefix is a str that is not empty; flush() invalidates everything.")
        wanted: list[dict[str, Any]] = []
        if prefix is not None:
            wanted.append({"prefix": prefix})
        wanted += [{"tags": labels[start : start + 64]} for start in range(0, len(labels), 64)]
        wanted += [{"keys": names[start : start + BATCH_KEYS]} for start in range(0, len(names), BATCH_KEYS)]
        count = 0
        for one in wanted:
            said = yield from self._invalidate(one, stale)
            number = said.get("invalidated")
            if number is None:
                number = said.get("tags", 0)
            if type(number) is not int:
                raise BadAnswer(f"The answer's number of what was invalidated is {number!r:.80}.")
            count += number
        return count

    def flush(self, stale: bool) -> Steps[None]:
        yield from self._invalidate({"all": True}, stale)

    def _invalidate(self, what: dict[str, Any], stale: bool) -> Steps[dict[str, Any]]:
        if stale:
            what["mode"] = "stale"
        answer = yield self._post("invalidate", what, False)
        if answer[0] == 200:
            return object_of(answer[2])
        if answer[0] == 404:
            return {}  # no such namespace, so nothing in it
        raise refusal(*answer)

    def page_of_keys(self, prefix: str, cursor: str | None) -> Steps[tuple[list[str], str | None]]:
        """Up to 1,000 keys, and where the next ones begin; None at the end."""
        query = f"limit={BATCH_KEYS}"
        if not isinstance(prefix, str):
            raise TypeError(f"prefix is a str; this is {prefix!r}.")
        if prefix:
            query += f"&prefix={quote(checked(prefix), safe='')}"
        if cursor is not None:
            query += f"&cursor={quote(cursor, safe='')}"
        answer = yield Request(f"GET {self.prefix}/entries?{query} HTTP/1.1\r\n".encode(), _NO_BODY, True)
        if answer[0] == 404:
            return [], None
        if answer[0] != 200:
            raise refusal(*answer)
        said = object_of(answer[2])
        listed = [one for one in member_of(said, "entries", list) if type(one) is dict]
        following = said.get("cursor")
        if cursor is not None and following == cursor:
            raise BadAnswer("The list of keys goes on where it was, without end.")
        return [member_of(one, "key", str) for one in listed if "absent" not in one], following if isinstance(following, str) else None

    # --- leases

    def lease(self, key: str, ttl: float, wait: float, *, peek: bool = False) -> Steps[Entry | Grant | Held | Unreadable]:
        """Asks once; ``wait`` is at most what the service takes. ``peek``: it counts neither as a hit nor as a miss."""
        answer = yield self.lease_request(key, ttl, wait, peek)
        if peek and answer[0] == 400 and problem(*answer).get("code") == "query_invalid":
            # A service from before there was that: it counts.
            answer = yield self.lease_request(key, ttl, wait, False)
        return self.leased(key, ttl, answer)

    def lease_request(self, key: str, ttl: float, wait: float, peek: bool = False) -> Request:
        wanted: dict[str, Any] = {}
        if ttl != 10:
            wanted["ttl"] = lease_seconds(ttl)
        wait = min(wait_seconds(wait), LONGEST_WAIT)
        if wait:
            wanted["wait"] = wait
        return Request(
            self.target("POST", "leases", key, "peek" if peek else ""),
            with_body("Content-Type: application/json\r\n", json_body(wanted)),
            False,
            wait,
            True,
        )

    def found(self, answer: Answer) -> Any:
        """The value of an answer to a request for a lease, where it is a hit of JSON; else ABSENT, and `leased` says more."""
        if answer[0] == 200:
            return object_of(answer[2]).get("value", ABSENT)
        return ABSENT

    def leased(self, key: str, ttl: float, answer: Answer) -> Entry | Grant | Held | Unreadable:
        """What an answer to a request for a lease means."""
        status, head, body = answer
        if status == 200:
            try:
                return self._entry_of(object_of(body), head)
            except SerializationError as error:
                return Unreadable(version_of(head), error)
        if status == 201:
            said = object_of(body)
            given = member_of(said, "lease", dict)
            stale = member_or(said, "stale_entry", dict, {})
            fresh = said.get("fresh") is True
            kept = None
            if stale:
                try:
                    kept = self._entry_of(stale)
                except SerializationError:
                    # It is what this very lease is to replace: nobody has to read it.
                    kept, fresh = None, False
                else:
                    kept = Entry(key, kept.value, kept.version, kept.expires_at, kept.tags, not fresh, None)
            token = member_of(given, "token", str)
            if not _is_token(token):
                # It goes into the fields of requests.
                raise BadAnswer(f"The lease's token is out of form: {token!r:.80}.")
            return Grant(key, token, ttl, kept, fresh)
        if status == 409:
            said = problem(*answer)
            if said.get("code") == "lease_held":
                reason, refused = said.get("reason"), refusal(*answer)
                return Held(reason if isinstance(reason, str) else "filling", refused.retry_after or 0.0, refused)
        raise refusal(*answer)

    def prolong(self, grant: Grant, ttl: float) -> Steps[bool]:
        body = json_body({"ttl": lease_seconds(ttl)})
        answer = yield Request(
            self.target("PATCH", "leases", grant.key),
            with_body(f"Content-Type: application/merge-patch+json\r\nLease: {grant.token}\r\n", body),
            False,
        )
        if answer[0] in (200, 412):
            return answer[0] == 200
        raise refusal(*answer)

    def release_request(self, grant: Grant, retry_after: float | None) -> Request:
        query = ""
        if retry_after is not None:
            query = f"retry_after={min(max(seconds(retry_after, 'retry_after'), 0.1), 60)}"
        return Request(self.target("DELETE", "leases", grant.key, query), f"Lease: {grant.token}\r\n\r\n".encode(), False)

    def release(self, grant: Grant, retry_after: float | None) -> Steps[bool]:
        answer = yield self.release_request(grant, retry_after)
        if answer[0] in (204, 412):
            return answer[0] == 204
        raise refusal(*answer)

    def is_leased(self, key: str) -> Steps[bool]:
        """Whether anybody has the lease of the key. Takes none, and waits for none."""
        answer = yield Request(
            f"GET {self.prefix}/leases?limit=1000&prefix={quote(key, safe='')} HTTP/1.1\r\n".encode(), _NO_BODY, True
        )
        if answer[0] == 404:
            return False
        if answer[0] != 200:
            raise refusal(*answer)
        return any(type(one) is dict and one.get("key") == key for one in member_of(object_of(answer[2]), "leases", list))

    # --- statistics

    def stats(self) -> Steps[dict[str, Any]]:
        answer = yield Request(f"GET {self.prefix}/stats HTTP/1.1\r\n".encode(), _NO_BODY, True)
        if answer[0] == 200:
            return object_of(answer[2])
        raise refusal(*answer)


def value_member(data: bytes, media_type: str) -> bytes:
    """The members of an envelope that say its value."""
    if media_type == JSON:
        return b'"value":' + data
    if media_type not in _KNOWN_TYPES:
        _check_media_type(media_type)
    return b'"value_base64":"%b","content_type":%b' % (b2a_base64(data, newline=False), _encode(media_type).encode())


def _check_media_type(media_type: object) -> None:
    if not isinstance(media_type, str) or len(media_type) > 255 or not _is_media_type(media_type):
        raise SerializationError(f"The serializer gave the media type {media_type!r}, which is none.")


def _policy_members(ttl: TTL, stale_ttl: float | None, tags: Collection[str]) -> bytes:
    """The members of an envelope that follow its value, each with the comma before it."""
    said: dict[str, Any] = {}
    if ttl is not DEFAULT:
        said["ttl"] = check_ttl(ttl)
    if stale_ttl is not None:
        said["stale_ttl"] = stale_seconds(stale_ttl)
    if tags:
        check_tags(tags)
        said["tags"] = list(tags)
    return b"," + json_body(said)[1:-1] if said else b""


def _groups(entries: list[tuple[str, bytes]]) -> Generator[list[tuple[str, bytes]], None, None]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for entry in entries:
        size += len(entry[1]) + 1
        if group and (len(group) == BATCH_KEYS or size > BATCH_BYTES):
            yield group
            group, size = [], len(entry[1]) + 1
        group.append(entry)
    if group:
        yield group
