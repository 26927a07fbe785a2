"""The blocking client: it carries out what _calls and _fetch say, over a pool of connections."""

from __future__ import annotations

import contextvars
import errno
import inspect
import os
import re
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from . import _fetch
from ._address import Address, parse_addresses
from ._answers import Entry, Grant, Held, Unreadable
from ._arguments import DEFAULT, LONGEST_WAIT, TTL, Default, wait_seconds
from ._calls import Calls, Request
from ._decorator import Decorator
from ._fetch import Drop, Failed, Keep, Load, Options, Pause, Release, Tags
from ._http import Answer
from ._keeper import Kept, keep
from ._observation import Observer
from ._pool import Pool
from ._values import Serializer, serializer_of
from .errors import BadAnswer, PantlerError

if TYPE_CHECKING:
    from ._async_client import AsyncClient
    from ._locks import Lock

T = TypeVar("T")

_NO_BODY = b"\r\n"
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

Certificate: TypeAlias = "str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]]"

#: The keys that are being filled in this context (thread or task, and what carries its context on), each with where: a loader that
#: fetches its own key would wait for itself.
filling: contextvars.ContextVar[frozenset[tuple[object, str]]] = contextvars.ContextVar("pantler_filling", default=frozenset())


class Settings(NamedTuple):
    """What a client is made of, once it is read and checked."""

    addresses: tuple[Address, ...]
    namespace: str
    token: str | None
    timeout: float
    connect_timeout: float
    max_idle: int
    tls: ssl.SSLContext | None
    serializer: Serializer
    #: The files that tls was made of.
    ca_file: str | None = None
    client_certificate: tuple[str, str | None] | None = None

    @property
    def where(self) -> object:
        """What tells one namespace of one service from all others."""
        return self.addresses, self.namespace

    def __repr__(self) -> str:
        # Error pages and reports show what variables hold: not the token.
        return f"<settings of {self.namespace!r} at {', '.join(map(str, self.addresses))}>"


def settings_of(
    url: str | Iterable[str] | None,
    namespace: str | None,
    token: str | None,
    timeout: float,
    connect_timeout: float,
    max_idle: int,
    ca_file: str | os.PathLike[str] | None,
    client_certificate: Certificate | None,
    serializer: str | Serializer,
) -> Settings:
    addresses, named = parse_addresses(url if url is not None else os.environ.get("PANTLER_URL") or "http://127.0.0.1:8080")
    if namespace is not None and named is not None and namespace != named:
        raise ValueError(f"The URL names the namespace {named!r}, and namespace is {namespace!r}: give one of them.")
    chosen = namespace if namespace is not None else named if named is not None else "default"
    if not isinstance(chosen, str) or not _NAMESPACE.fullmatch(chosen):
        raise ValueError(
            f"The namespace {chosen!r} is out of form: 1 to 63 of a-z, 0-9, '.', '_' and '-', the first of them a letter or a digit."
        )
    if token is None:
        token = os.environ.get("PANTLER_TOKEN")
    if token and not (isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token):
        raise ValueError(
            "The token is out of form: it is a str, one word of visible ASCII characters without a line's end, as "
            "`pantler token create` shows it."
        )
    for name, value in (("timeout", timeout), ("connect_timeout", connect_timeout)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ValueError(f"{name} is a number of seconds greater than 0; this is {value!r}.")
    if isinstance(max_idle, bool) or not isinstance(max_idle, int) or max_idle < 0:
        raise ValueError(f"max_idle is a number of connections, 0 or more; this is {max_idle!r}.")
    tls = None
    authority = None if ca_file is None else _file(ca_file, "ca_file")
    certificate: tuple[str, str | None] | None = None
    if isinstance(client_certificate, tuple) and len(client_certificate) == 2:
        certificate = _file(client_certificate[0], "client_certificate"), _file(client_certificate[1], "client_certificate")
    elif client_certificate is not None:
        certificate = _file(client_certificate, "client_certificate"), None
    if any(address.tls for address in addresses):
        tls = _tls_of(authority, certificate)
    elif ca_file is not None or client_certificate is not None:
        raise ValueError("ca_file and client_certificate are for https: addresses, and there is none among the URLs.")
    return Settings(
        *(addresses, chosen, token or None, float(timeout), float(connect_timeout), max_idle, tls),
        *(serializer_of(serializer), authority, certificate),
    )


def _file(path: object, name: str) -> str:
    try:
        return os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} is the path of a PEM file; this is {path!r}.") from None


def _tls_of(ca_file: str | None, certificate: tuple[str, str | None] | None) -> ssl.SSLContext:
    """Raises OSError, which names the file."""
    try:
        tls = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise _unreadable("ca_file", ca_file, error) from error
    if certificate is not None:
        try:
            # Without this, OpenSSL would ask for the password of an encrypted key at the terminal, and wait there.
            tls.load_cert_chain(*certificate, password=_no_password)
        except OSError as error:
            raise _unreadable("client_certificate", certificate[0] if certificate[1] is None else certificate, error) from error
    return tls


def _unreadable(name: str, file: object, error: OSError) -> OSError:
    # Python's own errors say neither of the files nor of what they are for.
    code = errno.EINVAL if isinstance(error, ssl.SSLError) or error.errno is None else error.errno
    return OSError(code, f"{name} cannot be used: {error.strerror or error}", str(file))


def _no_password() -> str:
    raise ValueError("The key of client_certificate is encrypted: give one that is not, and whom its file's rights allow to read it.")


def remade(kind: type[Any], settings: Settings) -> Any:
    """A client that comes out of a pickle, with connections of its own."""
    client: Any = object.__new__(kind)
    tls = _tls_of(settings.ca_file, settings.client_certificate) if any(one.tls for one in settings.addresses) else None
    client._set_up(settings._replace(tls=tls))
    return client


class Lease:
    """The right to fill a key, as :meth:`Client.lease` gives it. For one thread at a time.

    It ends after its TTL unless it is prolonged; with that, with a fill, a release, or another's write or invalidation of the key it is
    lost, and the fill of a lost lease is refused: nothing that was loaded before a change lands after it.
    """

    def __init__(self, client: Client, grant: Grant) -> None:
        self._client = client
        self._grant = grant
        self.key = grant.key
        #: Who knows it, has the lease.
        self.token = grant.token
        #: What may be handed out meanwhile, or None.
        self.stale_entry = grant.stale_entry
        #: Whether stale_entry is fresh still, and is only refreshed early.
        self.fresh = grant.fresh

    def fill(self, value: Any, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()) -> bool:
        """Stores the value and ends the lease; False, and nothing is changed, where it is lost. Otherwise as :meth:`Client.set`."""
        return self._client._run(self._client._calls.fill(self._grant, value, ttl, stale_ttl, tags))

    def prolong(self, ttl: float = 10.0) -> bool:
        """The lease ends ``ttl`` seconds (0.1 to 300) from now; False where it is lost."""
        return self._client._run(self._client._calls.prolong(self._grant, ttl))

    def release(self, retry_after: float | None = None) -> bool:
        """Gives the lease up: the next who waits gets it. ``retry_after``: the source failed, and nobody gets a lease of the key for so
        many seconds (0.1 to 60; failures in a row double them). False where it was lost already."""
        return self._client._run(self._client._calls.release(self._grant, retry_after))

    def __repr__(self) -> str:
        return f"<pantler.Lease of {self.key!r}>"


class Client:
    """A namespace of a Pantler service, by blocking calls.

    Times are in seconds, with milliseconds as fractions. A client may be shared by threads, and goes on to work in a forked child,
    which takes connections of its own. Connections are kept and used again; make one client and keep it. Copies share its connections; in a
    pickle, as multiprocessing makes one, are its settings, the token among them, and what comes out has connections of its own.

    Every call may raise :class:`~pantler.PantlerError`: :class:`Unavailable` (no address could be reached, nothing was sent),
    :class:`ConnectionLost` and :class:`TimedOut` (a change may have been applied or not), :class:`BadAnswer`, and
    :class:`Refused` with its kinds :class:`NotAllowed`, :class:`Busy` and :class:`Invalid`. Those that read or write values raise
    :class:`SerializationError` too. Keys are strings of 1 to 1,024 bytes of UTF-8 without NUL.
    """

    def __init__(
        self,
        url: str | Iterable[str] | None = None,
        *,
        namespace: str | None = None,
        token: str | None = None,
        timeout: float = 2.0,
        connect_timeout: float = 0.5,
        max_idle: int = 64,
        ca_file: str | os.PathLike[str] | None = None,
        client_certificate: Certificate | None = None,
        serializer: str | Serializer = "json",
    ) -> None:
        """
        ``url``: where the service listens, ``http://host:port``, ``https://…``, ``unix:/path``, each with or without
        ``/v1/namespaces/NAME`` behind it; several (a list, or one string with commas) are tried in their order: one that cannot be reached is passed
        over for a second, one that takes connections and answers nothing for five, after three timeouts. Without it the environment
        variable PANTLER_URL, else http://127.0.0.1:8080. ``namespace``: ``default`` unless the URL names one. ``token``: else PANTLER_TOKEN.
        ``timeout``: seconds that a whole call may take, of which ``connect_timeout`` for a connection. ``max_idle``: connections that are kept
        while nobody uses them. ``ca_file``: a PEM file of those who sign the service's certificate, in the place of the system's;
        ``client_certificate``: a PEM file with certificate and key, or both as two files. ``serializer``: ``json`` (refuses what would not come
        back the same), ``auto`` (pickles that), ``pickle``, ``msgpack``, or an object with ``dumps`` and ``loads``.

        Nothing is sent before the first call. Raises ValueError for settings that cannot be, OSError for files that cannot be read.
        """
        self._set_up(
            settings_of(url, namespace, token, timeout, connect_timeout, max_idle, ca_file, client_certificate, serializer)
        )

    def _set_up(self, settings: Settings, pool: Pool | None = None) -> None:
        self._settings = settings
        self._calls = Calls(settings.namespace, settings.serializer)
        self._pool = pool or Pool(
            settings.addresses,
            token=settings.token,
            timeout=settings.timeout,
            connect_timeout=settings.connect_timeout,
            max_idle=settings.max_idle,
            tls=settings.tls,
        )
        self._exchange = self._pool.exchange
        self._where = settings.where
        self._other: AsyncClient | None = None

    @property
    def namespace(self) -> str:
        """The namespace's name."""
        return self._settings.namespace

    @property
    def serializer(self) -> Serializer:
        """What turns values into bytes and back."""
        return self._settings.serializer

    def with_serializer(self, serializer: str | Serializer) -> Client:
        """A client of the same namespace with another serializer, over the same connections."""
        other = type(self).__new__(type(self))
        other._set_up(self._settings._replace(serializer=serializer_of(serializer)), self._pool)
        return other

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Functions that are told of each exchange, in the thread that made it. Assign a tuple to change them."""
        return self._pool.observers

    @observers.setter
    def observers(self, observers: Iterable[Observer]) -> None:
        self._pool.observers = tuple(observers)

    def _send(self, request: Request) -> Answer:
        start, rest, safe, wait, _ = request
        return self._exchange(start, rest, safe=safe, timeout=self._settings.timeout + wait if wait else None)

    def _run(self, steps: Generator[Request, Answer, T]) -> T:
        try:
            request = next(steps)
            while True:
                request = steps.send(self._send(request))
        except StopIteration as done:
            result: T = done.value
            return result

    # --- one entry

    def get(self, key: str, default: Any = None) -> Any:
        """The value under the key, stale ones too, or ``default`` where there is none, or a negative entry."""
        calls = self._calls
        return calls.got(self._exchange(calls.get_start(key), _NO_BODY, safe=True), default)

    def entry(self, key: str, peek: bool = False) -> Entry | None:
        """The entry with its version, expiry, tags and tier, or None. A negative entry has the value ABSENT. ``peek`` counts nowhere."""
        return self._run(self._calls.entry(key, peek))

    def has(self, key: str) -> bool:
        """Whether there is a value under the key. It counts as a get."""
        return self._run(self._calls.has(key))

    def ttl(self, key: str) -> float | None:
        """Seconds until the entry expires, negative where it is stale; None where it never does. Raises KeyMissing where there is none.

        To the millisecond where this machine's clock agrees with the service's, else to the second.
        """
        return self._run(self._calls.ttl(key))

    def set(
        self,
        key: str,
        value: Any,
        ttl: TTL = DEFAULT,
        *,
        stale_ttl: float | None = None,
        tags: Iterable[str] = (),
        lease: str | None = None,
    ) -> int:
        """Puts the value under the key, and returns its version.

        ``ttl``: seconds greater than 0; None never expires; DEFAULT is the namespace's. ``stale_ttl``: seconds past that for which it
        may still be handed out, marked stale, while one caller refreshes it; None is the namespace's. ``tags``: up to 64 labels to invalidate
        by. ``lease``: the token of a lease that this fills; Refused (``lease_lost``) where that is lost. The value ABSENT makes a negative
        entry: the source has nothing under the key. Raises ValueError or TypeError for a TTL or tags that cannot be.
        """
        start, rest, *_ = self._calls.put_request(key, value, ttl, stale_ttl, tags, lease)
        return self._calls.was_set(self._exchange(start, rest, safe=False))

    def add(
        self, key: str, value: Any, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """Like :meth:`set` where there is no value under the key; else False, and nothing is changed. Atomic."""
        return self._run(self._calls.set_if(Calls.ADD, key, value, ttl, stale_ttl, tags)) is not None

    def replace(
        self, key: str, value: Any, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """Like :meth:`set` where there is a value under the key; else False, and nothing is changed. Atomic."""
        return self._run(self._calls.set_if(Calls.REPLACE, key, value, ttl, stale_ttl, tags)) is not None

    def compare_and_set(
        self, key: str, value: Any, version: int, ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> int | None:
        """Like :meth:`set` where the entry has this version still, which :meth:`set` and :meth:`entry` tell; else None, and nothing is
        changed. Atomic."""
        return self._run(self._calls.set_if(Calls.of_version(version), key, value, ttl, stale_ttl, tags))

    def delete(self, key: str) -> bool:
        """Deletes the entry, and ends the key's lease; whether there was one."""
        return self._run(self._calls.delete(key))

    def touch(self, key: str, ttl: float | None) -> bool:
        """The entry expires ``ttl`` seconds from now, or never with None; whether there is one. It gets a new version."""
        return self._run(self._calls.touch(key, ttl))

    def incr(self, key: str, by: int = 1, *, initial: int | None = None, ttl: TTL = DEFAULT) -> int:
        """Adds to an integer, and returns the sum. Atomic; keeps the entry's TTL.

        Where there is no entry, ``initial`` makes one that ``by`` is added to, with ``ttl``; without it KeyMissing is raised. Invalid where
        the value is no integer, or the sum would be beyond ±(2**53 - 1). Not repeated after ConnectionLost and TimedOut: it may have been
        applied.
        """
        return self._run(self._calls.incr(key, by, initial, ttl))

    def decr(self, key: str, by: int = 1, *, initial: int | None = None, ttl: TTL = DEFAULT) -> int:
        """Subtracts from an integer; see :meth:`incr`."""
        return self._run(self._calls.decr(key, by, initial, ttl))

    # --- many entries

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values that are there, by their keys. More than 1,000 keys, or 64 MiB, come in several round trips."""
        return self._run(self._calls.get_many(keys))

    def set_many(
        self, mapping: Mapping[str, Any], ttl: TTL = DEFAULT, *, stale_ttl: float | None = None, tags: Iterable[str] = ()
    ) -> list[str]:
        """Puts all of them, each for itself, and returns the keys that the service refused (an invalid key, a value too large).

        More than 1,000, or 8 MiB, go in several round trips. A value that cannot be serialized raises before anything is sent.
        """
        return self._run(self._calls.set_many(mapping, ttl, stale_ttl, tags))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Deletes all of them, 1,000 a round trip; how many there were."""
        return self._run(self._calls.delete_many(keys))

    def invalidate(
        self, *, tags: Iterable[str] = (), prefix: str | None = None, keys: Iterable[str] = (), stale: bool = False
    ) -> int:
        """Drops the entries with any of these tags, or all whose key begins with ``prefix``, or these keys: one of the three.

        With ``stale`` they become stale instead of gone, for their stale TTL. Tags take constant time, however many entries there are.
        Returns how many entries went; by tags, which nobody counts, how many tags.
        """
        return self._run(self._calls.invalidate(tags, prefix, keys, stale))

    def flush(self, *, stale: bool = False) -> None:
        """Drops all entries of the namespace, in constant time; with ``stale`` they become stale instead."""
        self._run(self._calls.flush(stale))

    def iter_keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with ``prefix``, in the order of their bytes, asked for 1,000 at a time as they are needed.

        What is written meanwhile may come or not. Keys of negative entries do not come.
        """
        cursor: str | None = None
        while True:
            keys, cursor = self._run(self._calls.page_of_keys(prefix, cursor))
            yield from keys
            if cursor is None:
                return

    # --- leases

    def lease(self, key: str, ttl: float = 10.0, wait: float = 0.0) -> Entry | Lease | None:
        """The entry (a hit, or stale while somebody else refreshes it), or the lease to fill the key, or None where somebody else has that.

        The lease ends ``ttl`` seconds (0.1 to 300) later unless it is prolonged. ``wait``: seconds to wait for somebody else's fill.
        """
        outcome = self._lease(key, ttl, wait)
        return Lease(self, outcome) if isinstance(outcome, Grant) else outcome

    def _lease(self, key: str, ttl: float, wait: float, peek: bool = False) -> Entry | Grant | None:
        deadline = time.monotonic() + wait_seconds(wait)
        while True:
            asked = time.monotonic()
            outcome = self._run(self._calls.lease(key, ttl, min(wait, LONGEST_WAIT), peek=peek))
            if isinstance(outcome, Unreadable):
                raise outcome.error
            if not isinstance(outcome, Held):
                return outcome
            wait = deadline - time.monotonic()
            # For another reason than that somebody else has it, there is nothing to wait for.
            if wait <= 0.001 or outcome.reason != "filling":
                return None
            if time.monotonic() - asked < 0.05:
                # Whoever answers at once did not wait, as the service does: it is not to be asked without end.
                time.sleep(min(wait, 0.05))

    def lock(self, name: str, ttl: float = 10.0, wait: float | None = None) -> Lock:
        """A lock among all processes that call it by this name, to be used in ``with``.

        By a lease, which ends ``ttl`` seconds (0.1 to 300) after its holder died, and is prolonged while it lives. ``wait``: the seconds
        after which :class:`~pantler.LockHeld` is raised; None waits for ever. See :class:`~pantler.Lock`.
        """
        from ._locks import Lock

        return Lock(self, name, ttl, wait)

    def _keep(self, grant: Grant, ttl: float) -> Kept:
        calls = self._calls
        return keep(lambda: self._run(calls.prolong(grant, ttl)), ttl, self._settings.addresses)

    def fetch(
        self,
        key: str,
        loader: Callable[[], Any],
        ttl: TTL = DEFAULT,
        *,
        stale_ttl: float | None = None,
        tags: Tags = (),
        negative_ttl: TTL | Literal[0] = DEFAULT,
        wait: float = 10.0,
        lease_ttl: float = 10.0,
        stale_if_error: bool = False,
        retry_after: float | None = None,
    ) -> Any:
        """The value under the key; where there is none, ``loader()``'s, which is stored. One loader runs among all processes.

        A hit is returned, and so is a stale value while somebody else refreshes it. Whoever gets the lease runs the loader, in this
        thread; the lease (``lease_ttl`` seconds) is prolonged meanwhile. All others wait for its value, up to ``wait`` seconds; after that they run
        the loader themselves and store nothing. Where the service is away, slow, or refuses, the loader runs and its value is returned.

        A loader that returns None stores a negative entry for ``negative_ttl`` seconds (0: none), for which None comes back. One that raises
        gives the lease up, and the exception goes on; with ``stale_if_error`` the stale value comes instead, if there is one. ``retry_after``:
        seconds for which nobody runs the loader after that; who then finds no value gets :class:`~pantler.SourceFailed`. ``tags`` are a
        sequence, or a function of the value. ``ttl``, ``stale_ttl``: as in :meth:`set`.

        A loader that fetches its own key runs its inner loader at once. Raises what the loader raises, SerializationError where the value cannot
        be stored, Invalid where the service says that the request is wrong; TypeError or ValueError for arguments that cannot be, before
        anything is sent or loaded.
        """
        options = Options(ttl, stale_ttl, tags, negative_ttl, wait, lease_ttl, stale_if_error, retry_after)
        if not callable(loader):
            raise TypeError(f"loader is a function without arguments, to be called here; this is {loader!r}.")
        mine = (self._where, key)
        steps = _fetch.fetch(self._calls, key, options, mine in filling.get())
        kept: Kept | None = None
        try:
            command = next(steps)
            while True:
                result: Any = None
                try:
                    if type(command) is Request:
                        result = self._send(command)
                    elif type(command) is Load:
                        result = _load(loader, mine if command.filling else None)
                    elif type(command) is Keep:
                        kept = self._keep(command.grant, lease_ttl)
                    elif type(command) is Drop:
                        if kept is not None:
                            kept.drop()
                    elif type(command) is Release:
                        try:
                            self._send(command.request)
                        except PantlerError:
                            pass
                    elif type(command) is Pause:
                        time.sleep(command.seconds)
                except BaseException as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(result)
        except StopIteration as done:
            value = done.value
        finally:
            if kept is not None:
                kept.drop()
        if type(value) is Failed:
            raise value.error
        return value

    def cached(
        self,
        ttl: TTL = DEFAULT,
        *,
        key: str | Callable[..., str] | None = None,
        stale_ttl: float | None = None,
        tags: Tags = (),
        negative_ttl: TTL | Literal[0] = DEFAULT,
        wait: float = 10.0,
        lease_ttl: float = 10.0,
        stale_if_error: bool = False,
        retry_after: float | None = None,
    ) -> Decorator:
        """Keeps what a function returns, by :meth:`fetch`: a decorator for functions and, by an :class:`AsyncClient`, coroutine functions.

            @client.cached(ttl=60)
            def product(number: int) -> dict: ...

            product(42)              # the first caller among all processes runs it
            product.invalidate(42)   # whether there was an entry
            product.key(42)          # its key
            product.__wrapped__(42)  # the function itself

        ``key``: a template of the arguments (``"product-{number}"``) or a function of them that returns the key. Without it the key is made of
        the function's module and name and of the arguments, however they are passed; these have to be of types whose value says which they
        are (None, bool, int, float, str, bytes, Decimal, UUID, dates and times, enums, and tuples, lists, sets and dicts of these), else
        TypeError is raised: an object's default ``repr`` is another one in each process. So a method needs ``key``, or ``self`` would have to
        be such a value. The other arguments are those of :meth:`fetch`. A function that returns None is asked again after ``negative_ttl``.
        The decorated function raises what the function raises; safe for threads and forks as the client is.
        """
        options = Options(ttl, stale_ttl, tags, negative_ttl, wait, lease_ttl, stale_if_error, retry_after)
        return Decorator(lambda: self, self._twin, key, options)

    # --- the rest

    def stats(self) -> dict[str, Any]:
        """The service's statistics of the namespace: hits by tier, misses by reason, windows, sizes. Raises Refused
        (``namespace_not_found``) before the first write."""
        return self._run(self._calls.stats())

    def _twin(self) -> AsyncClient:
        """The client for coroutine functions, made when one is decorated."""
        if self._other is None:
            from ._async_client import AsyncClient

            self._other = AsyncClient.__new__(AsyncClient)
            self._other._set_up(self._settings)
        return self._other

    def close(self) -> None:
        """Closes the connections that nobody uses. The client still answers, on connections that it does not keep."""
        self._pool.close()
        if self._other is not None:
            self._other._pool.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        return self.has(key)

    def __copy__(self) -> Client:
        """Another client over the same connections."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle has the settings, the token among them; the client that comes out of it makes connections of its own."""
        return remade, (type(self), self._settings._replace(tls=None))

    def __repr__(self) -> str:
        where = ", ".join(str(address) for address in self._settings.addresses)
        return f"<pantler.{type(self).__name__} of {self.namespace!r} at {where}>"


def _load(loader: Callable[[], Any], mine: tuple[object, str] | None) -> Any:
    token = None if mine is None else filling.set(filling.get() | {mine})
    try:
        value = loader()
    except BaseException as error:
        return Failed(error)
    finally:
        if token is not None:
            filling.reset(token)
    if inspect.iscoroutine(value):
        value.close()
        return Failed(TypeError("The loader is a coroutine function, which AsyncClient.fetch takes."))
    return value
