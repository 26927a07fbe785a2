"""How values become bytes and come back."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import math
import pickle
import sys
import uuid
from typing import Any

import pytest

from pantler import Client, SerializationError, Serializer
from pantler._values import JSON, AutoSerializer, JSONSerializer, PickleSerializer, dump, exact_json, is_exact, load, serializer_of


class SafeString(str):
    """As Django's: a string that is marked by its type."""


class Color(enum.IntEnum):
    RED = 1


class Word(str, enum.Enum):
    ONE = "one"


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


EXACT: list[Any] = [
    None, True, False, 0, -1, 2**53, 2**64, -(10**4000), 0.0, -0.0, 1.5, 1e300, 5e-324, 0.1 + 0.2, "", "é\u2028😀\x00\"\\", [], {}, [[]], {"": None},
    {"a": [1, 2.0, True, None, {"b": "c"}]}, [True, 1, 1.0], {"1": 1}, nested(512), {"b": 1, "a": 2}, "\ufeff", ["\x7f\x80"],
]  # fmt: skip

INEXACT: list[Any] = [
    (1, 2), [(1,)], {"a": (1,)}, {1: "a"}, {None: 1}, {True: 1}, {1.5: 1}, {"a": {2: 3}}, SafeString("a"), [SafeString("a")], {SafeString("a"): 1},
    Color.RED, [Color.RED], {"a": Color.RED}, {Color.RED: 1}, Word.ONE, collections.OrderedDict(a=1), collections.defaultdict(list), collections.Counter("a"),
    math.nan, [math.inf], -math.inf, "\ud800", ["a\udfff"], {"\ud800": 1}, 10**5000, [10**5000], {1, 2}, frozenset(), 1j,
    datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2), decimal.Decimal("1.0"), uuid.UUID(int=5), range(3), bytearray(b"a"), [b"a"], {"a": b"b"},
    NotImplemented, Ellipsis,
]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all through; NaN is NaN, and -0.0 is not 0.0."""
    while type(one) is list and type(other) is list and len(one) == len(other) == 1:
        one, other = one[0], other[0]
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.isnan(one) and math.isnan(other) or one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(a, b) for a, b in zip(one, other)) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def short(value: Any) -> str:
    try:
        return ascii(value)[:30]
    except ValueError:
        return "huge"


@pytest.mark.parametrize("value", EXACT, ids=short)
def test_what_json_has_goes_out_as_json_and_comes_back_the_same(value: Any) -> None:
    for serializer in (JSONSerializer(), AutoSerializer()):
        data, media_type = dump(value, serializer)
        assert media_type == JSON
        assert same(load(data, media_type, serializer), value)


@pytest.mark.parametrize("value", INEXACT, ids=short)
def test_what_would_not_come_back_the_same_is_refused_or_pickled(value: Any) -> None:
    with pytest.raises(SerializationError, match="would not come back from JSON as it is"):
        dump(value, JSONSerializer())
    serializer = AutoSerializer()
    data, media_type = dump(value, serializer)
    assert media_type == "application/x-python-pickle"
    assert same(load(data, media_type, serializer), value)


def test_the_judgement_agrees_with_a_round_trip_through_json() -> None:
    # Every value made of these parts, two deep: judged by types, and by what really comes back.
    atoms: list[Any] = [None, True, 1, 1.5, -0.0, "a", SafeString("a"), Color.RED, math.nan, "\ud800", (), b"a", 10**5000]
    values = list(atoms)
    for one in atoms:
        values += [[one], {"k": one}, [[one]], {"k": [one, 1]}, [one, {"k": one}], (one,)]
        if one.__hash__ is not None:
            values.append({one: 1})
    for value in values:
        try:
            text = json.dumps(value, ensure_ascii=False)
            back: Any = json.loads(text.encode())
            expected = same(back, value) and "NaN" not in text
        except (TypeError, ValueError):
            expected = False
        assert (exact_json(value) is not None) == expected, short(value)


def test_nothing_is_json_that_is_deeper_than_the_service_takes() -> None:
    for wrap in (lambda value: [value], lambda value: {"a": value}, lambda value: [1, {"a": value}][1:]):
        value: Any = wrap(wrap(0))
        while json.dumps(value).count("[") + json.dumps(value).count("{") < 512:
            value = wrap(value)
        deeper = [value]
        assert is_exact(value) and not is_exact(deeper)
        with pytest.raises(SerializationError, match="at most 512 deep"):
            dump(deeper, JSONSerializer())


def test_a_list_that_holds_itself_is_neither_json_nor_endless() -> None:
    loop: list[Any] = [1]
    loop += [loop, loop]
    assert not is_exact(loop)
    data, media_type = dump(loop, AutoSerializer())
    back = load(data, media_type, AutoSerializer())
    assert back[1] is back
    with pytest.raises(SerializationError):
        dump(loop, JSONSerializer())


@pytest.mark.parametrize("name", ["json", "auto"])
def test_bytes_go_as_they_are(name: str) -> None:
    serializer = serializer_of(name)
    assert dump(b"\x00\xff", serializer) == (b"\x00\xff", "application/octet-stream")
    assert load(b"\x00\xff", "application/octet-stream", serializer) == b"\x00\xff"


@pytest.mark.parametrize("name", ["json", "auto", "pickle", "msgpack"])
def test_integers_are_json_in_every_serializer_and_only_those(name: str) -> None:
    serializer = serializer_of(name)
    assert dump(41, serializer) == (b"41", JSON)
    assert dump(-(2**70), serializer) == (str(-(2**70)).encode(), JSON)
    if name != "json":
        assert same(load(*dump(True, serializer), serializer), True)
    if name in ("pickle", "auto"):
        assert same(load(*dump(Color.RED, serializer), serializer), Color.RED)
        assert same(load(*dump(10**5000, serializer), serializer), 10**5000)


@pytest.mark.parametrize("name", ["json", "auto", "pickle", "msgpack"])
@pytest.mark.parametrize(
    ("data", "media_type", "value"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b' \n[1, 2]\n', "application/json", [1, 2]),
        (b'"x"', "application/json; charset=utf-8", "x"),
        (b'{"a":1}', "application/problem+json", {"a": 1}),
        ("Grüße".encode(), "text/plain", "Grüße"),
        (b"<p>", "text/html; charset=utf-8", "<p>"),
        (b"\x00", "application/octet-stream", b"\x00"),
    ],
)
def test_what_other_languages_put_reads_everywhere(name: str, data: bytes, media_type: str, value: Any) -> None:
    assert load(data, media_type, serializer_of(name)) == value


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_nothing_is_unpickled_that_was_not_asked_for(name: str) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    data = pickle.dumps(Trap())
    with pytest.raises(SerializationError, match="pickle, which only the serializers 'auto' and 'pickle' read"):
        load(data, "application/x-python-pickle", serializer_of(name))
    # Nor by a name that only looks like it.
    for media_type in ("application/X-Python-Pickle", "application/x-python-pickle; a=b", "APPLICATION/X-PYTHON-PICKLE ;"):
        with pytest.raises(SerializationError):
            load(data, media_type, serializer_of(name))


@pytest.mark.parametrize("name", ["json", "auto", "pickle", "msgpack"])
def test_an_unknown_media_type_is_named(name: str) -> None:
    with pytest.raises(SerializationError, match=f"'image/png', which the serializer '{name}' does not read"):
        load(b"\x89PNG", "image/png", serializer_of(name))


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"{", "application/json"), (b"", "application/json"), (b"1 2", "application/json"), (b"\xff", "application/json"), (b"9" * 5000, "application/json"),
        (b"[" * 100_000, "application/json"), (b"\xff", "text/plain"), (b"junk", "application/x-python-pickle"), (b"", "application/x-python-pickle"),
        (b"\x80\x05cnowhere\nnothing\n.", "application/x-python-pickle"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_serialization_error(data: bytes, media_type: str) -> None:
    with pytest.raises(SerializationError):
        load(data, media_type, AutoSerializer())


def test_broken_messagepack_is_a_serialization_error() -> None:
    with pytest.raises(SerializationError, match="MessagePack"):
        load(b"\xc1", "application/vnd.msgpack", serializer_of("msgpack"))


@pytest.mark.parametrize("value", [{"a": b"\x00", 1: [1.5, None]}, [b""], "x", -0.0, True, {"k": {2: 3}}], ids=short)
def test_messagepack_brings_back_the_same(value: Any) -> None:
    serializer = serializer_of("msgpack")
    data, media_type = dump(value, serializer)
    assert media_type == "application/vnd.msgpack"
    assert same(load(data, media_type, serializer), value)


@pytest.mark.parametrize("value", [(1,), SafeString("a"), [Color.RED], {1, 2}, 2**64 * 1.0j, [2**64], "\ud800", object()], ids=short)
def test_messagepack_refuses_what_would_change(value: Any) -> None:
    with pytest.raises(SerializationError, match="not for MessagePack"):
        dump(value, serializer_of("msgpack"))


def test_what_cannot_be_pickled_is_told() -> None:
    with pytest.raises(SerializationError, match="cannot be pickled"):
        dump(lambda: None, AutoSerializer())

    class Bad:
        def __reduce__(self) -> Any:
            raise RuntimeError("no")

    with pytest.raises(SerializationError, match="Bad cannot be pickled: no"):
        dump(Bad(), PickleSerializer())


def test_a_stack_that_is_nearly_full_is_told_and_loses_nothing() -> None:
    serializer = AutoSerializer()

    def deep(left: int) -> Any:
        if left:
            return deep(left - 1)
        try:
            return load(*dump(nested(400), serializer), serializer)
        except (SerializationError, RecursionError):
            return None

    limit = sys.getrecursionlimit()
    for left in range(0, limit - 200, 50):
        result = deep(left)
        assert result is None or same(result, nested(400))


def test_the_names_are_told_and_own_objects_taken() -> None:
    with pytest.raises(ValueError, match="no serializer 'yaml': there are 'json', 'auto', 'pickle', 'msgpack'"):
        serializer_of("yaml")
    for wrong in (JSONSerializer, 5, None, object()):
        with pytest.raises(TypeError, match="a name or an object with the methods dumps and loads"):
            serializer_of(wrong)  # type: ignore[arg-type]

    class Own:
        def dumps(self, value: Any) -> tuple[bytes, str]:
            return repr(value).encode(), "text/x-own"

        def loads(self, data: bytes, media_type: str) -> Any:
            assert media_type == "text/x-own"
            return eval(data)

    assert isinstance(Own(), Serializer)
    assert serializer_of(own := Own()) is own


def test_one_cannot_be_without_messagepack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ImportError, match="pip install msgpack"):
        serializer_of("msgpack")


# --- through the service


@pytest.fixture(scope="module", params=["json", "auto", "pickle", "msgpack"])
def client(request: pytest.FixtureRequest, service: str) -> Client:
    return Client(f"{service}/v1/namespaces/values-{request.param}", serializer=request.param)


@pytest.mark.parametrize("value", [*EXACT, b"", b"\x00\xff" * 5000, {"value_base64": "AAAA", "content_type": "image/png"}], ids=short)
def test_every_value_comes_back_through_the_service(client: Client, value: Any) -> None:
    if value == nested(512) and client.serializer.name in ("msgpack", "pickle"):  # type: ignore[attr-defined]
        pytest.skip("they nest less deep")
    for ttl in (60, None):
        client.set("one", value, ttl)
        client.set_many({"many": value, "other": 1}, ttl)
        assert same(client.get("one", "nothing"), value)
        assert same(client.get_many(["one", "many", "none"]), {"one": value, "many": value})
        entry = client.entry("one")
        assert entry is not None and same(entry.value, value)
        assert same(client.fetch("one", lambda: pytest.fail("loaded")), value)


def test_what_is_too_deep_for_the_service_never_reaches_it(service: str) -> None:
    # The bound that exact_json has is the service's own.
    raw = Client(f"{service}/v1/namespaces/deep", serializer="json")
    raw.set("k", nested(512))

    class Raw:
        def dumps(self, value: Any) -> tuple[bytes, str]:
            return json.dumps(value).encode(), JSON

        def loads(self, data: bytes, media_type: str) -> Any:
            raise AssertionError

    with pytest.raises(ValueError, match="deep"):
        raw.with_serializer(Raw()).set("k", nested(513))
