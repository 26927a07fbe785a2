"""How values become bytes with a media type, and come back: serializers.

JSON is what all languages read, so a value goes out as JSON wherever it comes back the same; what happens to the others is
the serializer's to say. A value whose media type is ``application/json`` is always read by the client itself, whoever wrote it:
a serializer is asked for its other media types alone.
"""

from __future__ import annotations

import importlib
import json
import pickle
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, runtime_checkable

from .errors import SerializationError

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
PICKLE: Final = "application/x-python-pickle"
MSGPACK: Final = "application/vnd.msgpack"

#: What the service takes: arrays and objects in each other.
DEEPEST: Final = 512


@runtime_checkable
class Serializer(Protocol):
    """What turns values into bytes and back. One object serves all threads, so its methods keep nothing between calls.

    Integers never come to it (they are JSON, so that ``incr`` finds them), nor does what is read as ``application/json``.
    Whatever its methods raise reaches the caller as it is; :class:`~pantler.SerializationError` is the fitting one.
    """

    def dumps(self, value: Any) -> tuple[bytes, str]:
        """The value's bytes and their media type. With ``application/json`` the bytes have to be JSON in UTF-8."""
        ...

    def loads(self, data: bytes, media_type: str) -> Any:
        """The value of bytes that came with this media type, which is as it was put, with its parameters."""
        ...


_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

def _refuse(value: Any) -> Any:
    raise TypeError(f"{type(value).__qualname__} has no JSON")


def _make_encoder() -> Callable[[Any, int], Iterable[str]]:
    """JSON's own encoder, in pieces of text. Where it is CPython's in C it is made once, which ``JSONEncoder.encode`` does for each call."""
    standard = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=_refuse)
    sample = {"a": [1, -0.5, None, True, "é\"\n"], "b": {}}
    try:
        pieces: Callable[[Any, int], Iterable[str]] = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None, _refuse, json.encoder.encode_basestring, None, ":", ",", False, False, False
        )
        if "".join(pieces(sample, 0)) == standard.encode(sample):
            return pieces
    except (AttributeError, TypeError):
        pass  # another Python, with another encoder inside
    return lambda value, _: (standard.encode(value),)


_pieces = _make_encoder()


def encode_json(value: Any) -> str:
    """JSON as short as it gets. For what is known to be JSON: types are as the standard library takes them."""
    return "".join(_pieces(value, 0))


_decoder = json.JSONDecoder()
_decode_first = _decoder.raw_decode


def is_exact(value: Any, depth: int = DEEPEST) -> bool:
    """Whether JSON has all of the value's types, so that they come back the same.

    Exactly these types: a subclass (``SafeString``, ``IntEnum``, ``OrderedDict``) would come back as its base, a tuple as a
    list, a key that is no string as one. What is nested deeper than the service takes is not exact either, which also bounds this
    for a list that holds itself. Text and numbers that JSON cannot hold (lone surrogates, NaN) are told by the encoder.
    """
    # Plain loops: for values of the usual size they are quicker than anything with sets, and than a round trip in C.
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    elif kind is not list:
        return kind in _SCALARS
    if not depth:
        return False
    depth -= 1
    for item in value:
        if type(item) not in _SCALARS and not is_exact(item, depth):
            return False
    return True


def exact_json(value: Any) -> bytes | None:
    """The value as JSON in UTF-8, or None where it would not come back the same."""
    try:
        return "".join(_pieces(value, 0)).encode() if is_exact(value) else None
    except (ValueError, RecursionError):
        # NaN and the infinities; lone surrogates, which UTF-8 does not have (UnicodeEncodeError is a ValueError); integers of
        # more digits than Python turns into text (sys.set_int_max_str_digits); a stack that is full already.
        return None


def read_json(data: bytes) -> Any:
    """The value of JSON in UTF-8. Raises SerializationError where Python cannot read it."""
    try:
        text = data.decode()
        try:
            value, end = _decode_first(text)
            if end == len(text):
                return value
        except ValueError:
            pass
        # White space around it: it is kept as it was put.
        return _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"The value is no JSON that Python reads: {error}") from error


def load(data: bytes, media_type: str, serializer: Serializer) -> Any:
    """The value of bytes that came with a media type."""
    if media_type == JSON:
        return read_json(data)
    return serializer.loads(data, media_type)


def dump(value: Any, serializer: Serializer) -> tuple[bytes, str]:
    """The value's bytes and media type. Integers are JSON whatever the serializer is, for ``incr``."""
    if type(value) is int:
        try:
            return str(value).encode(), JSON
        except ValueError:
            pass  # of more digits than Python turns into text
    return serializer.dumps(value)


def read_foreign(data: bytes, media_type: str, serializer_name: str, hint: str = "") -> Any:
    """The value of a media type that is no serializer's own but that others write: JSON under another name, text, bytes."""
    essence = media_type.partition(";")[0].strip().lower()
    if essence == JSON or essence.endswith("+json"):
        return read_json(data)
    if essence == BYTES:
        return data
    if essence.startswith("text/"):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise SerializationError(f"The value is {media_type}, but its bytes are no UTF-8: {error}") from error
    if essence == PICKLE:
        hint = "It is a pickle, which only the serializers 'auto' and 'pickle' read."
    elif essence == MSGPACK:
        hint = "Only the serializer 'msgpack' reads it."
    raise SerializationError(
        f"The value has the media type {media_type!r}, which the serializer {serializer_name!r} does not read."
        + (f" {hint}" if hint else "")
    )


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class JSONSerializer:
    """JSON, and bytes as they are. What would not come back the same is refused, so that no type is lost silently."""

    name = "json"

    def dumps(self, value: Any) -> tuple[bytes, str]:
        data = exact_json(value)
        if data is not None:
            return data, JSON
        if type(value) is bytes:
            return value, BYTES
        raise SerializationError(
            f"A value of {_type_name(value)} would not come back from JSON as it is. The serializer 'json' takes None, bool, int, finite "
            f"float, str without lone surrogates, and list and dict of these with str keys, at most {DEEPEST} deep, none of them "
            "a subclass; and bytes. Convert the value, or give the client another serializer: 'auto', 'pickle', 'msgpack' or one of your own."
        )

    def loads(self, data: bytes, media_type: str) -> Any:
        return read_foreign(data, media_type, self.name)


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        # Pickle raises nearly anything: PicklingError, TypeError, AttributeError, RecursionError, and what __reduce__ raises.
        raise SerializationError(f"A value of {_type_name(value)} cannot be pickled: {error}") from error


def _unpickled(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:
        raise SerializationError(f"The pickle cannot be read: {type(error).__name__}: {error}") from error


class AutoSerializer:
    """JSON for exactly the types that come back the same, bytes as they are, and pickle for the rest.

    Pickles run code when they are read: use it where all who may write to the namespace are trusted.
    """

    name = "auto"

    def dumps(self, value: Any) -> tuple[bytes, str]:
        data = exact_json(value)
        if data is not None:
            return data, JSON
        if type(value) is bytes:
            return value, BYTES
        return _pickled(value), PICKLE

    def loads(self, data: bytes, media_type: str) -> Any:
        if media_type == PICKLE:
            return _unpickled(data)
        return read_foreign(data, media_type, self.name)


class PickleSerializer(AutoSerializer):
    """Pickle for all but integers, which stay JSON for ``incr``. Reads JSON and bytes too. See AutoSerializer for its danger."""

    name = "pickle"

    def dumps(self, value: Any) -> tuple[bytes, str]:
        return _pickled(value), PICKLE


class MsgpackSerializer:
    """MessagePack, which other languages read, and which has bytes inside of values; strict about types as JSON is.

    Needs the package ``msgpack``. Keys of dictionaries may be of any type that MessagePack has; bytearrays come back as bytes.
    """

    name = "msgpack"

    def __init__(self) -> None:
        try:
            msgpack = importlib.import_module("msgpack")
        except ImportError as error:
            raise ImportError("The serializer 'msgpack' needs the package msgpack: pip install msgpack") from error
        self._pack = msgpack.packb
        self._unpack = msgpack.unpackb

    def dumps(self, value: Any) -> tuple[bytes, str]:
        try:
            return self._pack(value, strict_types=True), MSGPACK
        except Exception as error:
            raise SerializationError(
                f"A value of {_type_name(value)} is not for MessagePack, which takes None, bool, int of 64 bits, float, str, bytes, and list "
                f"and dict of these, none of them a subclass: {error}"
            ) from error

    def loads(self, data: bytes, media_type: str) -> Any:
        if media_type != MSGPACK:
            return read_foreign(data, media_type, self.name)
        try:
            return self._unpack(data, strict_map_key=False)
        except Exception as error:
            raise SerializationError(f"The MessagePack cannot be read: {type(error).__name__}: {error}") from error


class SerializerOfBytes:
    """Two functions as a serializer: one gives the bytes of a value, the other the value of its bytes. Their media type is their own."""

    name = "custom"
    media_type = "application/x-python-custom"

    def __init__(self, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]) -> None:
        self._dumps = dumps
        self._loads = loads

    def dumps(self, value: Any) -> tuple[bytes, str]:
        data = self._dumps(value)
        if not isinstance(data, bytes):
            raise SerializationError(f"The serializer's dumps gave {_type_name(data)}, not bytes.")
        return data, self.media_type

    def loads(self, data: bytes, media_type: str) -> Any:
        return self._loads(data) if media_type == self.media_type else read_foreign(data, media_type, self.name)


_NAMED: Final[dict[str, Callable[[], Serializer]]] = {
    "json": JSONSerializer,
    "auto": AutoSerializer,
    "pickle": PickleSerializer,
    "msgpack": MsgpackSerializer,
}


def serializer_of(wanted: str | Serializer) -> Serializer:
    """The serializer of a name, or the object itself. Raises ValueError for an unknown name, TypeError for what is none."""
    if isinstance(wanted, str):
        kind = _NAMED.get(wanted)
        if kind is None:
            raise ValueError(f"There is no serializer {wanted!r}: there are {', '.join(map(repr, _NAMED))}, or an object of your own.")
        return kind()
    if isinstance(wanted, type) or not isinstance(wanted, Serializer):
        raise TypeError(f"A serializer is a name or an object with the methods dumps and loads; this is {wanted!r}.")
    return wanted
