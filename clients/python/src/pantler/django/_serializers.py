"""The serializers of SERIALIZER. They are the client's, but raise what pickle raises, as Django's own backends do."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .. import _values
from .._values import BYTES, JSON, PICKLE, Serializer, dump, exact_json


class Dumped(NamedTuple):
    """
    A value that is serialized already, with its bytes: serializers of this module give these. So None goes out as a
    value like others, which it is to Django, where the client would take it for "the source has nothing".
    """

    value: Any
    data: bytes
    media_type: str


def dumped(value: Any, serializer: Serializer) -> Dumped:
    """The value serialized. Raises what the serializer raises."""
    return value if type(value) is Dumped else Dumped(value, *dump(value, serializer))


def _pickled(value: Any) -> tuple[bytes, str]:
    if type(value) is Dumped:
        return value.data, value.media_type
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL), PICKLE


class AutoSerializer(_values.AutoSerializer):
    """JSON for exactly the types that come back the same, bytes as they are, and pickle for the rest."""

    def dumps(self, value: Any) -> tuple[bytes, str]:
        data = exact_json(value)
        if data is not None:
            return data, JSON
        if type(value) is bytes:
            return value, BYTES
        return _pickled(value)


class PickleSerializer(_values.PickleSerializer):
    """Pickle for all but integers."""

    def dumps(self, value: Any) -> tuple[bytes, str]:
        return _pickled(value)


class _WithDumped:
    """A serializer that takes Dumped besides."""

    def __init__(self, serializer: Serializer) -> None:
        self._dumps = serializer.dumps
        self.loads = serializer.loads

    def dumps(self, value: Any) -> tuple[bytes, str]:
        return (value.data, value.media_type) if type(value) is Dumped else self._dumps(value)


def with_dumped(serializer: Serializer) -> Serializer:
    """The serializer, which takes Dumped besides."""
    return serializer if isinstance(serializer, (AutoSerializer, PickleSerializer)) else _WithDumped(serializer)


def serializer_of(wanted: Any) -> Serializer:
    """
    The serializer that SERIALIZER means: one of the client's by name, the dotted path of a class or object, or a class
    or object. Raises ImproperlyConfigured for anything else.
    """
    if wanted == "auto":
        return AutoSerializer()
    if wanted == "pickle":
        return PickleSerializer()
    try:
        if isinstance(wanted, str) and "." in wanted:
            wanted = import_string(wanted)
        if isinstance(wanted, type):
            wanted = wanted()
        return _values.serializer_of(wanted)
    except (ImportError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(
            f"SERIALIZER {wanted!r}: 'auto', 'json', 'pickle', 'msgpack', or a class or an object (or its dotted path) "
            f"with the methods dumps and loads. {error}"
        ) from error
