"""``@client.cached``: a function whose results are kept, by fetch."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import inspect
import string
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from ._arguments import short_key
from ._fetch import Options, checked

if TYPE_CHECKING:
    from ._async_client import AsyncClient
    from ._client import Client

P = ParamSpec("P")
T = TypeVar("T", covariant=True)


class Cached(Protocol[P, T]):
    """A function whose results are kept. It is a function to all else: a method binds its object."""

    @property
    def __wrapped__(self) -> Callable[P, T]: ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T: ...

    def __get__(self, instance: Any, owner: Any = None, /) -> Callable[..., T]: ...

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of this call."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Deletes what is kept of this call; whether there was something. Of a coroutine function it is to be awaited."""
        ...


# Types whose repr is the same in every process for equal values, and different for different ones.
_NAMED_BY_REPR = frozenset(
    {type(None), bool, int, float, complex, str, bytes, decimal.Decimal, uuid.UUID, datetime.date, datetime.time, datetime.timedelta}
)  # fmt: skip


def name_of(value: Any) -> str:
    """A text that is the same for equal values in every process. Raises TypeError for types that have none."""
    kind = type(value)
    if kind in _NAMED_BY_REPR:
        return repr(value)
    if kind is datetime.datetime:
        return f"datetime({value.isoformat()}{'' if value.tzinfo is None else ' ' + str(value.tzinfo)})"
    if isinstance(value, enum.Enum):
        return f"{kind.__module__}.{kind.__qualname__}({name_of(value.value)})"
    if kind is tuple:
        return f"({','.join(map(name_of, value))},)"
    if kind is list:
        return f"[{','.join(map(name_of, value))}]"
    if kind in (set, frozenset):
        return f"set({','.join(sorted(map(name_of, value)))})"
    if kind is dict:
        # The order in which a dictionary was filled makes it no other one.
        return f"{{{','.join(sorted(f'{name_of(key)}:{name_of(item)}' for key, item in value.items()))}}}"
    raise TypeError(
        f"no key can be made of a {kind.__module__}.{kind.__qualname__}, since nothing tells it from others in every process alike. "
        "Give the decorator a key: a template such as \"product-{number}\", or a function of the arguments."
    )


class _Keys:
    """How the key of a call is made."""

    def __init__(self, function: Callable[..., Any], key: str | Callable[..., str] | None) -> None:
        if key is not None and not isinstance(key, str) and not callable(key):
            raise TypeError(f"key is a template or a function that returns the key; this is {key!r}.")
        self._key = key
        self._signature = inspect.signature(function)
        self._name = f"{function.__module__}.{function.__qualname__}"
        if isinstance(key, str):
            for _, field, _, _ in string.Formatter().parse(key):
                name = "" if field is None else field.partition(".")[0].partition("[")[0]
                if name and not name.isdecimal() and name not in self._signature.parameters:
                    raise ValueError(f"The key {key!r} names {name!r}, which is no parameter of {self._name}{self._signature}.")

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        key = self._key
        if callable(key):
            made = key(*args, **kwargs)
            if not isinstance(made, str):
                raise TypeError(f"key of {self._name} is a function that returns a str; this one returned {made!r}.")
            return made
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if key is not None:
            return key.format(*args, **bound.arguments)
        named = []
        for name, value in bound.arguments.items():
            try:
                named.append(f"{name}={name_of(value)}")
            except TypeError as error:
                raise TypeError(f"{self._name}, argument {name!r}: {error}") from None
        return short_key(f"{self._name}({','.join(named)})")


class Decorator:
    """What ``client.cached(…)`` returns."""

    def __init__(
        self,
        client: Callable[[], Client],
        async_client: Callable[[], AsyncClient],
        key: str | Callable[..., str] | None,
        options: Options,
    ) -> None:
        self._client = client
        self._async_client = async_client
        self._key = key
        self._options = checked(options)._asdict()

    def __call__(self, function: Callable[P, T]) -> Cached[P, T]:
        if isinstance(function, (classmethod, staticmethod, property)):
            raise TypeError(f"cached goes below @{type(function).__name__}, next to the function.")
        if not hasattr(function, "__qualname__"):
            raise TypeError(f"cached decorates functions; this is {function!r}. It is called first: @client.cached(ttl=60).")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator function: what it yields cannot be kept. Let it return a list.")
        keys = _Keys(function, self._key)
        make = self._of_coroutines if inspect.iscoroutinefunction(function) else self._of_values
        made = make(function, keys)
        made.key = keys  # type: ignore[attr-defined]
        return cast("Cached[P, T]", made)

    def _of_values(self, function: Callable[..., Any], keys: _Keys) -> Callable[..., Any]:
        client, options = self._client(), self._options

        @functools.wraps(function)
        def cached(*args: Any, **kwargs: Any) -> Any:
            return client.fetch(keys(*args, **kwargs), functools.partial(function, *args, **kwargs), **options)

        def invalidate(*args: Any, **kwargs: Any) -> bool:
            """Deletes what is kept of this call; whether there was something."""
            return client.delete(keys(*args, **kwargs))

        cached.invalidate = invalidate  # type: ignore[attr-defined]
        return cached

    def _of_coroutines(self, function: Callable[..., Any], keys: _Keys) -> Callable[..., Any]:
        client, options = self._async_client(), self._options

        @functools.wraps(function)
        async def cached(*args: Any, **kwargs: Any) -> Any:
            return await client.fetch(keys(*args, **kwargs), functools.partial(function, *args, **kwargs), **options)

        async def invalidate(*args: Any, **kwargs: Any) -> bool:
            """Deletes what is kept of this call; whether there was something."""
            return await client.delete(keys(*args, **kwargs))

        cached.invalidate = invalidate  # type: ignore[attr-defined]
        return cached
